"""What stands beside a market at one candle: coarser timeframes and the other markets.

Nothing is computed before it is asked for, so that a step which does not look pays nothing. What
is asked for is computed over the same window of candles live and in a test
(`trader.domain.window`), so that both see the same numbers.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.markets import Pair
from trader.domain.memo import once
from trader.domain.signals import Analysis, Snapshot
from trader.domain.window import KEEP, STRIDE, first_row
from trader.indicators.crossmarket import MEANING, cross_market
from trader.indicators.timeframes import NAMES, coarser, on_coarser

Columns = Mapping[str, FloatArray]


class Context(Mapping[str, float]):
    """Name → value at one candle; NaN where it is not known.

    `rsi_14@4h` is an indicator of a coarser timeframe as its newest closed candle showed it
    (`timeframes.NAMES`), `breadth_24` and the like place the market among the others
    (`crossmarket.MEANING`).

    Args:
        analysis: of the candles.
        index: the row that is meant.
        others: gives the cross-market columns, one value per candle of the analysis.
    """

    __slots__ = ("_among", "_analysis", "_index", "_others")

    def __init__(
        self, analysis: Analysis, index: int, others: Callable[[], Columns] | None = None
    ) -> None:
        self._analysis = analysis
        self._index = index
        self._others = others
        self._among: Columns | None = None

    def __getitem__(self, name: str) -> float:
        if name not in names_beside(self._analysis.candles.timeframe):
            raise KeyError(name)
        if name in MEANING:
            return self._place(name)
        begin, columns = self._coarse(Timeframe.parse(name.rpartition("@")[2]))
        return float(columns[name][self._index - begin])

    def __iter__(self) -> Iterator[str]:
        return iter(names_beside(self._analysis.candles.timeframe))

    def __len__(self) -> int:
        return len(names_beside(self._analysis.candles.timeframe))

    def _place(self, name: str) -> float:
        if self._others is None:
            return math.nan
        if self._among is None:
            self._among = self._others()
        return float(self._among[name][self._index])

    def _coarse(self, timeframe: Timeframe) -> tuple[int, Columns]:
        candles, index = self._analysis.candles, self._index
        first = first_row(candles, index)

        def compute() -> tuple[int, Columns]:
            begin = bisect_left(range(index), first, lo=first, key=partial(first_row, candles))
            # What lies beyond a hole is computed too, but looked up under its own first row.
            found = on_coarser(candles[first : first + KEEP + STRIDE], timeframe)
            return begin, {name: v[begin - first :].copy() for name, v in found.items()}

        # The same first candle serves until the window moves on: a stride of candles at once.
        return once(self._analysis, ("coarser", timeframe, first), compute)


@cache
def names_beside(timeframe: Timeframe) -> Mapping[str, None]:
    """Every name of a context beside candles of that length, in order."""
    rungs = [f"{name}@{rung}" for rung in coarser(timeframe) for name in NAMES]
    return dict.fromkeys([*rungs, *MEANING])


def among(pair: Pair, markets: Mapping[Pair, Candles], leader: Pair) -> Columns:
    """The cross-market columns; the order in which the markets are handed in is no matter."""
    ordered = {name: markets[name] for name in sorted(markets, key=str)}
    return cross_market(pair, ordered, leader)


def timeframes_of(snapshot: Snapshot) -> dict[Timeframe, dict[str, float]]:
    """The coarser rungs beside a snapshot: timeframe → indicator → value."""
    rungs = coarser(snapshot.timeframe)
    return {t: {name: snapshot.context[f"{name}@{t}"] for name in NAMES} for t in rungs}


def others_of(snapshot: Snapshot) -> dict[str, float]:
    """The market of a snapshot among the others."""
    return {name: snapshot.context[name] for name in MEANING}
