"""MarketAnalyzer: closed candles → Snapshot. Pure: the same input gives the same bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trader.domain.candles import Candles
from trader.domain.errors import HistoryError
from trader.domain.markets import OrderBook, Pair, PublicTrade
from trader.domain.signals import Analysis, Snapshot
from trader.indicators.graph import evaluate
from trader.indicators.registry import INDICATORS, inputs_of
from trader.patterns import PATTERNS
from trader.sentiment import sentiment


class MarketAnalyzer:
    """Runs every registered indicator and pattern over the candles of a pair.

    A history can be prepared once; analysing the beginning of a prepared history is then a look-up
    instead of a computation, with the same result.
    """

    def __init__(self) -> None:
        self._prepared: dict[Pair, Analysis] = {}

    def prepare(self, pair: Pair, candles: Candles) -> Analysis:
        """Compute every column of a whole history once.

        Any `candles[:n]` of it is afterwards analysed without computing. One history per pair is
        kept, the newest prepared.
        """
        self._prepared[pair] = compute_analysis(pair, candles)
        return self._prepared[pair]

    def analyze(
        self,
        pair: Pair,
        candles: Candles,
        *,
        book: OrderBook | None = None,
        trades: Sequence[PublicTrade] = (),
        leader: Snapshot | None = None,
        outside: Mapping[str, float | None] | None = None,
    ) -> Snapshot:
        """What is known of the pair at the close of its newest candle.

        Args:
            pair: the market.
            candles: closed candles, oldest first.
            book: the order book now, if it is known.
            trades: recent public trades, oldest first.
            leader: the snapshot of the leading market at the same moment.
            outside: sentiment from outside sources, name → value.

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
        return Snapshot(analysis, index, sentiment(book, trades, newest, outside), leader)

    def _analysis(self, pair: Pair, candles: Candles) -> Analysis:
        prepared = self._prepared.get(pair)
        if prepared is not None and _is_beginning(candles, prepared.candles):
            return prepared
        return compute_analysis(pair, candles)


def compute_analysis(pair: Pair, candles: Candles) -> Analysis:
    """Every indicator and pattern over these candles."""
    roots = {name: entry.node() for name, entry in (*INDICATORS.items(), *PATTERNS.items())}
    values = evaluate(roots, inputs_of(candles))
    for array in values.values():
        array.setflags(write=False)
    return Analysis(
        pair,
        candles,
        {name: values[name] for name in INDICATORS},
        {name: values[name] for name in PATTERNS},
    )


def _is_beginning(part: Candles, whole: Candles) -> bool:
    """True if `part` is a view of the first candles of `whole`: the same memory, no copy."""
    return (
        part.timeframe == whole.timeframe
        and len(part) <= len(whole)
        and all(
            a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
            for a, b in zip(part.columns(), whole.columns(), strict=True)
        )
    )
