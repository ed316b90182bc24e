"""From candles to a decision, as values: Snapshot → Signal → Approval or Refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from trader.domain.markets import Pair
from trader.domain.orders import OrderType, Side
from trader.domain.timeframes import Timeframe

if TYPE_CHECKING:
    from trader.domain.candles import Candles, FloatArray


class Action(StrEnum):
    """What a strategy wants."""

    BUY = "buy"
    SELL = "sell"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Analysis:
    """Every indicator and pattern over a run of candles, one array each, NaN while warming up.

    The value at index i depends on candles 0…i only; the leak fuzzer holds that. Compared by
    identity, so that what is derived from a whole history is computed once (`domain.memo`).
    """

    pair: Pair
    candles: Candles
    indicators: Mapping[str, FloatArray]
    patterns: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What was known of one pair at the close of one candle.

    Attributes:
        index: the row of `analysis` this snapshot stands on; later rows are not for looking at.
            Use `history` and `indicators`, which end here.
        sentiment: name → value in [-1, 1] or a plain number; None where unknown.
        leader: the snapshot of the leading market (BTC) at the same moment, if there is one.
        context: name → value of coarser timeframes (`rsi_14@4h`) and of this market among the
            others (`breadth_24`), computed when asked for; NaN where unknown.
    """

    analysis: Analysis
    index: int
    sentiment: Mapping[str, float | None] = field(default_factory=dict)
    leader: Snapshot | None = None
    context: Mapping[str, float] = field(default_factory=dict)

    @property
    def pair(self) -> Pair:
        """The pair this is about."""
        return self.analysis.pair

    @property
    def timeframe(self) -> Timeframe:
        """Length of the candles."""
        return self.analysis.candles.timeframe

    @property
    def candles(self) -> Candles:
        """The candles up to and including this one."""
        return self.analysis.candles[: self.index + 1]

    @property
    def closed_at(self) -> datetime:
        """When the candle closed and all of this was known."""
        opened = int(self.analysis.candles.opened_at[self.index])
        return datetime.fromtimestamp(opened + self.timeframe.seconds, UTC)

    @property
    def price(self) -> float:
        """The close, quote per base."""
        return float(self.analysis.candles.close[self.index])

    @property
    def indicators(self) -> dict[str, float]:
        """The newest value of every indicator; NaN while it warms up."""
        return {name: float(v[self.index]) for name, v in self.analysis.indicators.items()}

    @property
    def patterns(self) -> dict[str, float]:
        """The newest strength of every pattern, in [-1, 1], negative for bearish."""
        return {name: float(v[self.index]) for name, v in self.analysis.patterns.items()}

    def indicator(self, name: str) -> float:
        """One indicator's newest value."""
        return float(self.analysis.indicators[name][self.index])

    def history(self, name: str) -> FloatArray:
        """An indicator's values up to and including this candle."""
        return self.analysis.indicators[name][: self.index + 1]

    @property
    def digest(self) -> str:
        """A short fingerprint of all that was seen, for the journal."""
        rows = _packed.get(self.analysis)
        if rows is None:
            rows = _packed[self.analysis] = _PackedRows(self.analysis)
        # Built by hand: this is asked for at every candle, and JSON would take most of the time.
        sentiment = sorted(self.sentiment.items())
        seen = f"{self.pair}|{self.closed_at.isoformat()[:19]}|{self.price!r}|{sentiment!r}"
        held = rows.digests.get(self.index)
        if held is not None and held[0] == seen:
            return held[1]
        digest = hashlib.sha256(seen.encode())
        digest.update(rows.names)
        digest.update(rows.row(self.index))
        short = digest.hexdigest()[:16]
        rows.digests[self.index] = seen, short
        return short


class _PackedRows:
    """All indicators and patterns of one candle as bytes, made for many candles at a time."""

    BLOCK = 2048

    def __init__(self, analysis: Analysis) -> None:
        names = [*analysis.indicators, "|", *analysis.patterns]
        self.names = hashlib.sha256("\n".join(names).encode()).digest()
        self._columns = [*analysis.indicators.values(), *analysis.patterns.values()]
        self._length = len(analysis.candles)
        self._start = -1
        self._block: list[bytes] = []
        self._asked = False
        # Several accounts on one history ask for the same ones.
        self.digests: dict[int, tuple[str, str]] = {}

    def row(self, index: int) -> bytes:
        """The values at one candle; NaN and zero in one form each."""
        if not self._asked:
            # Live, an analysis is asked once: a whole block would be wasted.
            self._asked = True
            return self._rows(index, index + 1)[0]
        start = index - index % self.BLOCK
        if start != self._start:
            self._block = self._rows(start, min(start + self.BLOCK, self._length))
            self._start = start
        return self._block[index - start]

    def _rows(self, start: int, stop: int) -> list[bytes]:
        import numpy as np  # whoever has an analysis has it; an emergency stop does without

        values = np.empty((stop - start, len(self._columns)), dtype="<f8")
        for number, column in enumerate(self._columns):
            values[:, number] = column[start:stop]
        values[np.isnan(values)] = np.nan
        values += 0.0  # -0.0 becomes 0.0
        return [row.tobytes() for row in values]


# Keeps the columns alive no longer than the analysis: it holds them, not the analysis itself.
_packed: WeakKeyDictionary[Analysis, _PackedRows] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Signal:
    """What a strategy says about one candle of one pair.

    Attributes:
        confidence: calibrated probability that the action pays, in [0, 1]; for rules without a
            model, how much of the rule agrees.
        target_weight: the fraction of equity the strategy wants in the pair, in [0, 1]; None when
            it only names a direction.
        reasons: plain words, the most important first.
        model_id: the model that spoke, empty for a rule.
        probability: calibrated chance of a rise, where a model's own forecast is what is
            followed; None where a rule leads. The risk rules hold it against the threshold.
    """

    pair: Pair
    closed_at: datetime
    action: Action
    confidence: float
    reasons: tuple[str, ...]
    strategy: str
    target_weight: float | None = None
    model_id: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How a purchase waits as a maker before it takes.

    Attributes:
        until: then the rest is bought at the market price.
        follow_to: the highest price at which it waits.
        give_up_above: an ask above this is not taken any more.
    """

    until: datetime
    follow_to: Decimal
    give_up_above: Decimal


@dataclass(frozen=True, slots=True)
class Approval:
    """An order the risk rules allow, with its protection: the plan.

    Attributes:
        quantity: base, whole lots.
        entry: expected price, quote per base.
        stop: protective stop for a buy, None for a sell.
        take_profit: target, None if there is none.
        limit_price: price of a limit order, None for a market order.
        risk_quote: loss if the stop is hit, fees and slippage included.
        cost_quote: quote needed or freed, fee included.
        break_even_probability: the chance of the target before the stop at which nothing is
            earned or lost after costs; None without a target.
        patience: for a purchase that begins as a post-only order at `limit_price`.
    """

    pair: Pair
    closed_at: datetime
    side: Side
    order_type: OrderType
    quantity: Decimal
    entry: Decimal
    stop: Decimal | None
    take_profit: Decimal | None
    limit_price: Decimal | None
    risk_quote: Decimal
    cost_quote: Decimal
    break_even_probability: float | None
    reasons: tuple[str, ...] = ()
    patience: Patience | None = None

    def in_words(self) -> str:
        """Why it was allowed, for the journal."""
        return "; ".join(self.reasons) or f"{self.side} approved"


GIVEN_UP = "entry-given-up"
"""The rule that ends a purchase which waited for its price in vain."""
HELD_AT_LIMIT = "smallest-addition"
"""The rule that leaves a position as it is because hardly anything may be added to it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that said no, and why."""

    pair: Pair
    closed_at: datetime
    rule: str
    reason: str

    @property
    def holds(self) -> bool:
        """Whether nothing was forbidden: the position is as large as it may be, and is held."""
        return self.rule == HELD_AT_LIMIT
