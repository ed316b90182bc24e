"""A run over history: set the clock, step, until the history ends.

What is stepped is the same object that trades on paper and live; it is handed in, together with
the exchange in the box, a clock that stands still and a journal in memory. Nothing here decides
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import numpy as np

from trader.domain.candles import Candles, IntArray, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.ports import HistoryStore
from trader.simulation.runs import AccountRun

_PROGRESS_EVERY = 256


class Stepper(Protocol):
    """The loop body: one pass over all pairs at the clock's present moment."""

    def step(self) -> object:
        """Settle fills, decide on candles that have newly closed, mark the account."""
        ...

    def approach(self, moment: datetime) -> None:
        """Let time pass up to the moment, acting on what happens in between."""
        ...

    def mark(self) -> None:
        """Settle and mark the account without deciding anything."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """The part of history a run trades in.

    Attributes:
        start: the first moment at which something may be decided.
        end: the moment after the last: its candle is the last that counts.
    """

    start: datetime
    end: datetime

    @property
    def last(self) -> datetime:
        """A moment of its last day: the end itself belongs to the next."""
        return self.end - timedelta(seconds=1)

    def in_days(self) -> str:
        """Its first and its last day, in words."""
        return f"{self.start:%Y-%m-%d} to {self.last:%Y-%m-%d}"

    def whole_candles(self, timeframe: Timeframe) -> Span:
        """The part of it that is made of whole candles.

        Raises:
            UsageError: if not a single one lies inside.
        """
        inside = Span(timeframe.ceil(self.start), timeframe.floor(self.end))
        if inside.start >= inside.end:
            raise UsageError(
                f"no {timeframe} candle opens and closes between {self.start:%Y-%m-%d %H:%M} and "
                f"{self.end:%Y-%m-%d %H:%M} UTC",
                "Choose a longer span or a shorter timeframe.",
            )
        return inside

    def within(self, other: Span) -> Span:
        """The part that both have; all of this one where they have none."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else self

    def moments(self, timeframe: Timeframe) -> IntArray:
        """Every moment, in Unix seconds, at which a candle may have closed: start … end."""
        first = int(timeframe.ceil(self.start).timestamp())
        return np.arange(first, int(self.end.timestamp()) + 1, timeframe.seconds, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One out-of-sample forecast and what came of it.

    Attributes:
        label: 1 if it came true, 0 if not, None while it is not known.
        label_known_at: when the outcome is known.
        taken: a position was opened or held on it.
    """

    pair: Pair
    time: datetime
    probability: float
    label: int | None
    label_known_at: datetime
    taken: bool


@dataclass(frozen=True, slots=True, eq=False)
class BacktestResult:
    """Everything a report needs.

    Attributes:
        histories: the candles inside the span, by pair.
        run: the account of the strategy.
        baselines: the accounts of the yardsticks, by name.
        document: what `--json` prints.
        slippage_quote: what takers paid more, or got less, than the market's price.
    """

    pairs: tuple[Pair, ...]
    timeframe: Timeframe
    span: Span
    strategy: str
    histories: Mapping[Pair, Candles]
    run: AccountRun
    baselines: Mapping[str, AccountRun]
    document: dict[str, Any]
    slippage_quote: float = 0.0
    predictions: tuple[Prediction, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def quote(self) -> str:
        """Currency of the account."""
        return self.pairs[0].quote

    @property
    def cash(self) -> Decimal:
        """What the account began with."""
        return Decimal(str(self.run.cash))


def stored_span(store: HistoryStore, pairs: Iterable[Pair], timeframe: Timeframe) -> Span:
    """From the oldest candle of any of the pairs to the newest.

    Raises:
        HistoryError: if nothing is stored of a pair, or no candle of this length can be made.
    """
    histories = {pair: store.load(pair, timeframe) for pair in pairs}
    known = [candles for candles in histories.values() if len(candles)]
    if not known:
        raise HistoryError(
            f"what is stored of {', '.join(map(str, histories))} makes no {timeframe} candle",
            "Choose a shorter --timeframe, or import more history.",
        )
    return Span(min(c.first_opened_at for c in known), max(c.closed_at for c in known))


def load_histories(
    store: HistoryStore, pairs: Iterable[Pair], timeframe: Timeframe, span: Span
) -> dict[Pair, Candles]:
    """Each pair's candles up to the end of the span, with all that came before for warming up.

    A pair that was listed later joins when it exists.

    Raises:
        HistoryError: if a pair has no history, or none inside the span.
    """
    histories = {}
    for pair in pairs:
        candles = store.load(pair, timeframe, None, span.end)
        if not len(candles.between(span.start, span.end)):
            raise HistoryError(
                f"no {timeframe} candles of {pair} from {span.in_days()}; "
                f"stored: {_extent(store, pair, timeframe)}",
                "Choose another --start and --end, or import more history.",
            )
        histories[pair] = candles
    return histories


def load_paths(
    store: HistoryStore, histories: Mapping[Pair, Candles], start: datetime, end: datetime
) -> dict[Pair, Candles]:
    """The candles whose path prices follow inside each pair's own: the finest there are.

    Finer candles are taken where they make exactly the candles of the run in [start, end); a
    source that differs, begins later or has holes of its own would tell of another market.
    """
    stored = store.pairs()
    return {
        pair: _finest(store, pair, candles, [t for p, t in stored if p == pair], start, end)
        for pair, candles in histories.items()
    }


def _finest(
    store: HistoryStore,
    pair: Pair,
    candles: Candles,
    stored: Iterable[Timeframe],
    start: datetime,
    end: datetime,
) -> Candles:
    own = candles.timeframe
    wanted = candles.between(start, end)
    for finer in sorted(t for t in stored if t < own and own.seconds % t.seconds == 0):
        fine = store.load(pair, finer, None, end)
        made = fine.between(start, None).resampled(own)
        if _same_prices(made, wanted):
            return fine
    return candles


def _same_prices(some: Candles, others: Candles) -> bool:
    """Whether time and the four prices agree; volumes are summed in another order."""
    ours, theirs = some.columns()[:5], others.columns()[:5]
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _extent(store: HistoryStore, pair: Pair, timeframe: Timeframe) -> str:
    whole = store.load(pair, timeframe)
    return Span(whole.first_opened_at, whole.closed_at).in_days() if len(whole) else "none"


def drive(
    stepper: Stepper, moments: IntArray, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Step at every moment but the last, in order; at the last only mark the account.

    What is decided at the close of a candle trades in the next one, so after the last close
    there is nothing left to decide.

    Args:
        stepper: what trades, on a clock that stands still.
        moments: Unix seconds, rising.
        progress: called now and then with how many steps are done.
    """
    for count, second in enumerate(moments[:-1].tolist()):
        stepper.approach(datetime.fromtimestamp(second, UTC))
        stepper.step()
        if count % _PROGRESS_EVERY == 0:
            progress(count)
    if len(moments):
        stepper.approach(datetime.fromtimestamp(int(moments[-1]), UTC))
        stepper.mark()
    progress(len(moments))
