"""Prices from stored candles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.exchanges.feeds.base import CandleFeed
from trader.ports import HistoryStore


class ReplayFeed(CandleFeed):
    """Real candles of the past, shown as the clock allows.

    Args:
        candles: pair → candles at the finest timeframe to be used for the path.
    """

    def __init__(self, candles: Mapping[Pair, Candles]) -> None:
        super().__init__("replay", "real prices of the past, simulated fills", candles)

    @classmethod
    def from_store(
        cls, store: HistoryStore, pairs: Iterable[Pair], timeframe: Timeframe
    ) -> ReplayFeed:
        """All stored candles of the pairs.

        Args:
            store: where the candles lie.
            pairs: what to replay.
            timeframe: of the candles whose path is followed.

        Raises:
            HistoryError: if nothing is stored for a pair.
        """
        return cls({pair: store.load(pair, timeframe) for pair in pairs})

    def span(self) -> tuple[datetime, datetime]:
        """From the first candle's opening to the last one's close, over all pairs.

        Raises:
            HistoryError: if there is not a single candle.
        """
        filled = [c for c in (self.base(pair) for pair in self.pairs) if len(c)]
        if not filled:
            raise HistoryError("there is no candle to replay", "Import a history first.")
        return min(c.first_opened_at for c in filled), max(c.closed_at for c in filled)
