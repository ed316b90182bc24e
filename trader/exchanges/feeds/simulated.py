"""Prices of a made-up market."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.exchanges.feeds.base import CandleFeed
from trader.exchanges.markets import market
from trader.simulation.market import BLOCK_DAYS, DAY, SimulatedMarket, blocks_until
from trader.simulation.path import Stretch, from_us

QUARTER_HOUR = Timeframe(900)
AHEAD = timedelta(days=3 * BLOCK_DAYS)


class SimulatedFeed(CandleFeed):
    """Seeded prices that are nobody's: the same for the same seed, pair and base timeframe.

    Args:
        seed: of the market.
        pairs: what can be traded.
        timeframe: of the candles the path is made of; must divide a day.

    Raises:
        UnknownPair: if a pair has no market rules.
        UsageError: if the timeframe does not divide a day.
    """

    def __init__(
        self, seed: int, pairs: Iterable[Pair], timeframe: Timeframe = QUARTER_HOUR
    ) -> None:
        if DAY % timeframe.seconds:
            raise UsageError(f"simulated candles of {timeframe}: expected a part of a day")
        self._market = SimulatedMarket(seed, timeframe)
        self._blocks: dict[Pair, int] = {}
        self._rules = {pair: market(pair).rules for pair in pairs}
        empty = {pair: Candles.empty(timeframe) for pair in self._rules}
        label = f"a made-up market, not real prices (seed {seed})"
        super().__init__("simulated", label, empty)

    def history(
        self, pair: Pair, timeframe: Timeframe, now: datetime, count: int | None = None
    ) -> Candles:
        """See `Feed.history`."""
        self._grow(pair, now)
        return super().history(pair, timeframe, now, count)

    def forming(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Candle | None:
        """See `Feed.forming`."""
        self._grow(pair, now)
        return super().forming(pair, timeframe, now)

    def stretches(
        self, pair: Pair, after: int, until: int, falls_to: float, rises_to: float
    ) -> Iterator[Stretch]:
        """See `Feed.stretches`."""
        self._grow(pair, from_us(until))
        return super().stretches(pair, after, until, falls_to, rises_to)

    def price(self, pair: Pair, at: int) -> Decimal | None:
        """See `Feed.price`."""
        self._grow(pair, from_us(at))
        return super().price(pair, at)

    def _grow(self, pair: Pair, now: datetime) -> None:
        """Make the market up to the moment; some days more, so that this is rare."""
        base = self.base(pair)
        have = self._blocks.get(pair, 0)
        if have >= blocks_until(now):
            return
        wanted = blocks_until(now + AHEAD)
        more = self._market.candles(pair, self._rules[pair], have, wanted)
        self._base[pair] = base.followed_by(more)
        self._blocks[pair] = wanted
        self._coarse = {key: c for key, c in self._coarse.items() if key[0] != pair}
