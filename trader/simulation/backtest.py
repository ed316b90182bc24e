"""A run over history: set the clock, step, until the history ends.

What is stepped is the same object that trades on paper and live; it is handed in, together with
the exchange in the box, a clock that stands still and a journal in memory. Nothing here decides
anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
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

    @classmethod
    def of_days(cls, first: datetime, last: datetime) -> Span:
        """From the first day's beginning to the end of the last day, or to a given time of day.

        Raises:
            UsageError: if the end is before the start.
        """
        if last < first:
            raise UsageError(
                f"the end {last:%Y-%m-%d} is before the start {first:%Y-%m-%d}",
                "Give --start before --end.",
            )
        whole_day = (last.hour, last.minute, last.second) == (0, 0, 0)
        end = datetime.fromtimestamp(last.timestamp() + (86400 if whole_day else 0), UTC)
        return cls(first, end)

    def moments(self, timeframe: Timeframe) -> IntArray:
        """Every moment, in Unix seconds, at which a candle may have closed: start … end."""
        step = timeframe.seconds
        first = -(-int(self.start.timestamp()) // step) * step
        return np.arange(first, int(self.end.timestamp()) + 1, step, dtype=np.int64)


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
                f"no {timeframe} candles of {pair} from {span.start:%Y-%m-%d} to "
                f"{span.end:%Y-%m-%d}; stored: {_extent(store, pair, timeframe)}",
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
    if not len(whole):
        return "none"
    return f"{whole.first_opened_at:%Y-%m-%d} to {whole.closed_at:%Y-%m-%d}"


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
