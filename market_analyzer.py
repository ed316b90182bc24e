"""MarketAnalyzer: closed candles → Snapshot. Pure: the same input gives the same bits."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import OrderBook, Pair, PublicTrade
from trader.domain.signals import Analysis, Snapshot
from trader.indicators.context import Columns, Context, among
from trader.indicators.crossmarket import LEADER
from trader.indicators.plan import evaluate
from trader.indicators.registry import INDICATORS, Indicator, inputs_of
from trader.indicators.stream import IndicatorStream
from trader.patterns import PATTERNS
from trader.sentiment import sentiment

_ENTRIES: Mapping[str, Indicator] = ChainMap({}, PATTERNS, INDICATORS)  # type: ignore[arg-type]
"""What is computed; a view, because modules of the user's own may register later."""
_ROOM = 1024
"""Candles for which room is made at a time."""


class MarketAnalyzer:
    """Runs every registered indicator and pattern over the candles of a pair.

    A history can be prepared once; analysing the beginning of a prepared history is then a look-up
    instead of a computation. And when candles go on from those of the last time, only the new ones
    are computed. Neither changes a bit of the result.

    Args:
        threads: how many may prepare a long history at once.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._prepared: dict[Pair, Analysis] = {}
        self._followed: dict[tuple[Pair, Timeframe], _Followed] = {}
        self._beside: dict[Pair, tuple[list[Analysis], Columns]] = {}

    def prepare(self, pair: Pair, candles: Candles) -> Analysis:
        """Compute every column of a whole history once.

        Any `candles[:n]` of it is afterwards analysed without computing. One history per pair is
        kept, the newest prepared.
        """
        analysis = compute_analysis(pair, candles, self._threads)
        self._prepared[pair] = analysis
        return analysis

    def analyze(
        self,
        pair: Pair,
        candles: Candles,
        *,
        book: OrderBook | None = None,
        trades: Sequence[PublicTrade] = (),
        leader: Snapshot | None = None,
        outside: Mapping[str, float | None] | None = None,
        markets: Mapping[Pair, Candles] | None = None,
    ) -> Snapshot:
        """What is known of the pair at the close of its newest candle.

        Args:
            pair: the market.
            candles: closed candles, oldest first.
            book: the order book now, if it is known.
            trades: recent public trades, oldest first.
            leader: the snapshot of the leading market at the same moment.
            outside: sentiment from outside sources, name → value.
            markets: closed candles of the markets this one is placed among, itself or not; the
                leading one is that of `LEADER` in the same quote currency.

        Raises:
            HistoryError: if there are no candles.
        """
        if not len(candles):
            raise HistoryError(
                f"{pair}: there is no closed candle to analyse",
                "Import or download a history first: python run_trader.py history --help",
            )
        analysis = self._analysis(pair, candles)
        index = len(candles) - 1
        newest = {
            name: float(analysis.indicators[name][index])
            for name in ("signed_volume_24", "vol_rank_100")
        }
        beside = partial(self._among, analysis, candles, markets or {})
        return Snapshot(
            analysis, index, sentiment(book, trades, newest, outside), leader,
            Context(analysis, index, beside),
        )  # fmt: skip

    def _among(
        self, analysis: Analysis, candles: Candles, markets: Mapping[Pair, Candles]
    ) -> Columns:
        """The cross-market columns beside an analysis; once for histories that are prepared."""
        pair = analysis.pair
        leader = Pair(LEADER, pair.quote)
        known = {**markets, pair: candles}
        whole = [self._whole(name, part) for name, part in known.items()]
        prepared = [found for found in whole if found is not None]
        if len(prepared) < len(known):
            return among(pair, {**markets, pair: analysis.candles}, leader)
        held = self._beside.get(pair)
        if held is None or not _same(held[0], prepared):
            columns = among(pair, {found.pair: found.candles for found in prepared}, leader)
            held = self._beside[pair] = prepared, columns
        return held[1]

    def _whole(self, pair: Pair, candles: Candles) -> Analysis | None:
        """The prepared analysis whose beginning these candles are."""
        prepared = self._prepared.get(pair)
        if prepared is None or not _is_beginning(candles, prepared.candles):
            return None
        return prepared

    def _analysis(self, pair: Pair, candles: Candles) -> Analysis:
        whole = self._whole(pair, candles)
        if whole is not None:
            return whole
        followed = self._followed.setdefault((pair, candles.timeframe), _Followed(pair))
        return followed.analysis(candles)


class _Followed:
    """A market whose candles are analysed again and again, each time with a few more.

    The first analysis is a computation. When the next candles go on from it, a stream takes over,
    and from then on a candle costs the same whatever the length of the history.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._seen: Candles | None = None
        self._stream: IndicatorStream | None = None
        self._table: FloatArray = np.empty((0, 0))

    def analysis(self, candles: Candles) -> Analysis:
        """Every column over these candles."""
        seen, self._seen = self._seen, candles
        if seen is None or not _goes_on(seen, candles):
            self._stream = None
            return compute_analysis(self._pair, candles)
        if self._stream is None:
            self._stream = IndicatorStream(candles, _ENTRIES)
            self._table = np.stack([self._stream.history[name] for name in self._stream.names])
        else:
            self._take(self._stream, candles, len(seen))
        return self._as_analysis(self._stream.names, candles)

    def _take(self, stream: IndicatorStream, candles: Candles, first: int) -> None:
        if len(candles) > self._table.shape[1]:
            # Room to grow; analyses handed out earlier keep the table they were made from.
            room = np.full((len(stream.names), len(candles) + _ROOM), np.nan)
            room[:, :first] = self._table[:, :first]
            self._table = room
        columns = [column.tolist() for column in candles[first:].columns()]
        for place, row in enumerate(zip(*columns, strict=True), start=first):
            self._table[:, place] = stream.push(*row)

    def _as_analysis(self, names: tuple[str, ...], candles: Candles) -> Analysis:
        known = self._table[:, : len(candles)]
        known.setflags(write=False)
        columns = dict(zip(names, known, strict=True))
        patterns = {name: columns.pop(name) for name in PATTERNS}
        return Analysis(self._pair, candles, columns, patterns)


def _goes_on(seen: Candles, candles: Candles) -> bool:
    """True if the candles begin with those seen before."""
    return len(seen) <= len(candles) and candles[: len(seen)] == seen


def compute_analysis(pair: Pair, candles: Candles, threads: int = 1) -> Analysis:
    """Every indicator and pattern over these candles; long ones by so many threads."""
    roots = {name: entry.node() for name, entry in _ENTRIES.items()}
    values = evaluate(roots, inputs_of(candles), threads)
    for array in values.values():
        array.setflags(write=False)
    return Analysis(
        pair,
        candles,
        {name: values[name] for name in INDICATORS},
        {name: values[name] for name in PATTERNS},
    )


def _same(some: list[Analysis], others: list[Analysis]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _is_beginning(part: Candles, whole: Candles) -> bool:
    """True if `part` is a view of the whole's first candles: the same memory, no copy."""
    if part is whole:
        return True
    # Opening times never repeat: views of one memory that begin at the same time begin together.
    return (
        part.timeframe == whole.timeframe
        and len(part) <= len(whole)
        and (not len(part) or part.opened_at[0] == whole.opened_at[0])
        and all(map(_same_memory, part.columns(), whole.columns()))
    )


def _same_memory(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> bool:
    return part.base is whole or (whole.base is not None and part.base is whole.base)
