"""Live prices of the real exchange; what is bought with them here is simulated."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.errors import ExchangeError, UnknownPair
from trader.domain.markets import OrderBook, Pair, PublicTrade, Ticker
from trader.exchanges.feeds.base import US, stretch_of
from trader.simulation.path import Stretch, from_us, to_us

MINUTE = Timeframe(60)
LADDER = tuple(Timeframe(60 * minutes) for minutes in (1, 5, 15, 60, 1440))
"""Of each the exchange keeps 720: half a day, two and a half, a week, a month, two years."""
FRESH_US = 1_000_000
STALE_US = 120_000_000
RECHECK_US = 5_000_000


class PublicReader(Protocol):
    """What is read of the real exchange; `KrakenClient` offers it."""

    def candles(self, pair: Pair, timeframe: Timeframe) -> Candles:
        """The newest closed candles."""
        ...

    def ticker(self, pair: Pair) -> Ticker:
        """Best prices and last trade."""
        ...

    def order_book(self, pair: Pair, depth: int = 25) -> OrderBook:
        """The best levels of both sides."""
        ...

    def recent_trades(self, pair: Pair) -> tuple[PublicTrade, ...]:
        """The newest public trades, oldest first."""
        ...


@dataclass(slots=True)
class _Watched:
    """What has been seen of one pair.

    Attributes:
        walked: the moment up to which the path was asked for.
        read_at: the moment up to which the other exchange's trades are in it.
        path: the stretches so far.
    """

    ticker: Ticker | None = None
    ticker_at: int = 0
    walked: int = 0
    read_at: int = 0
    path: list[Stretch] = field(default_factory=list)
    candles: dict[Timeframe, tuple[int, Candles]] = field(default_factory=dict)


class KrakenFeed:
    """Prices as the real exchange shows them now.

    The path that resting orders meet is made of the public trades since the last look; after a
    longer pause, of candles for the part of it that the trades do not reach, the finest there are.
    While the exchange cannot be reached, nothing trades here and orders wait.

    Args:
        reader: the public side of the real exchange.
        pairs: what can be traded.
    """

    def __init__(self, reader: PublicReader, pairs: Iterable[Pair]) -> None:
        self.name = "kraken"
        self.label = "live prices of Kraken, simulated fills"
        self.pairs = tuple(pairs)
        self._reader = reader
        self._watched = {pair: _Watched() for pair in self.pairs}
        self._lock = threading.RLock()

    def base_timeframe(self, pair: Pair) -> Timeframe:
        """Minutes are the finest candles there are."""
        return MINUTE

    def history(
        self, pair: Pair, timeframe: Timeframe, now: datetime, count: int | None = None
    ) -> Candles:
        """See `Feed.history`; reaches 720 candles back."""
        with self._lock:
            candles = self._candles(pair, timeframe, now).known_at(now)
            return candles if count is None else candles[max(0, len(candles) - count) :]

    def forming(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Candle | None:
        """See `Feed.forming`; made of minute candles as far as they reach, and the price now."""
        price = self.price(pair, to_us(now))
        opened = timeframe.floor(now)
        if price is None:
            return None
        minutes = list(self.history(pair, MINUTE, now).between(opened, None).rows())
        begun = minutes[0].open if minutes else price
        return Candle(
            opened,
            begun,
            max([price, *(c.high for c in minutes)]),
            min([price, *(c.low for c in minutes)]),
            price,
            sum((c.volume for c in minutes), Decimal(0)),
            sum(c.trades for c in minutes),
        )

    def stretches(
        self, pair: Pair, after: int, until: int, falls_to: float, rises_to: float
    ) -> Iterator[Stretch]:
        """See `Feed.stretches`."""
        with self._lock:
            seen = self._of(pair)
            # While no order waited nobody looked: the path begins with the first that does.
            if seen.walked < after:
                seen.walked = seen.read_at = after
            if until > seen.walked:
                if until - seen.read_at >= FRESH_US:
                    self._walk(pair, seen, until)
                seen.walked = until
            seen.path = [s for s in seen.path if s.end >= after - STALE_US]
            found = [s for s in seen.path if s.end > after and s.start <= until]
        return iter(found)

    def price(self, pair: Pair, at: int) -> Decimal | None:
        """See `Feed.price`: the last trade, None while the exchange cannot be reached."""
        seen = self._look(pair, at)
        fresh = seen.ticker is not None and abs(at - seen.ticker_at) <= STALE_US
        return seen.ticker.last if seen.ticker is not None and fresh else None

    def last_price(self, pair: Pair, at: int) -> Decimal | None:
        """See `Feed.last_price`."""
        seen = self._look(pair, at)
        return None if seen.ticker is None else seen.ticker.last

    def ticker(self, pair: Pair, now: datetime) -> Ticker:
        """Best prices and last trade of the real exchange."""
        self._of(pair)
        return self._reader.ticker(pair)

    def order_book(self, pair: Pair, depth: int, now: datetime) -> OrderBook:
        """The real order book."""
        self._of(pair)
        return self._reader.order_book(pair, depth)

    def recent_trades(self, pair: Pair, now: datetime) -> tuple[PublicTrade, ...]:
        """The real trades."""
        self._of(pair)
        return self._reader.recent_trades(pair)

    def poll(self, now: datetime) -> None:
        """What is needed is fetched when it is asked for."""

    def _of(self, pair: Pair) -> _Watched:
        found = self._watched.get(pair)
        if found is None:
            known = ", ".join(str(p) for p in self.pairs)
            raise UnknownPair(f"the {self.name} feed has no {pair}", f"It has {known}.")
        return found

    def _look(self, pair: Pair, at: int) -> _Watched:
        with self._lock:
            seen = self._of(pair)
            if seen.ticker is None or abs(at - seen.ticker_at) >= FRESH_US:
                try:
                    seen.ticker, seen.ticker_at = self._reader.ticker(pair), at
                except UnknownPair:
                    raise
                except ExchangeError:
                    # Without a new price the old one holds until it is stale.
                    return seen
            return seen

    def _candles(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Candles:
        seen, at = self._of(pair), to_us(now)
        read_at, held = seen.candles.get(timeframe, (0, Candles.empty(timeframe)))
        current = len(held) > 0 and held.closed_at >= timeframe.last_closed_at(now)
        if not current and at - read_at >= RECHECK_US:
            held = self._reader.candles(pair, timeframe)
            seen.candles[timeframe] = (at, held)
        return held

    def _walk(self, pair: Pair, seen: _Watched, until: int) -> None:
        """Add what was traded since the last look to the path."""
        try:
            trades = self._reader.recent_trades(pair)
            older = self._missed(pair, seen.read_at, trades)
        except UnknownPair:
            raise
        except ExchangeError:
            # Nothing is skipped: the next look begins where this one would have.
            return
        new = [t for t in trades if seen.read_at < to_us(t.at) <= until]
        prices = [float(trade.price) for trade in new]
        volume = float(sum((trade.quantity for trade in new), Decimal(0)))
        pieces = [(s.open, s.high, s.low, s.close, s.volume) for s in older]
        if new:
            pieces.append((prices[0], max(prices), min(prices), prices[-1], volume))
        seen.path += _in_turn(seen.walked + 1, until, pieces)
        seen.read_at = until

    def _missed(self, pair: Pair, since: int, trades: tuple[PublicTrade, ...]) -> list[Stretch]:
        """Candles for the time after `since` that the trades do not reach back to."""
        if not trades or to_us(trades[0].at) <= since:
            return []
        reach = to_us(trades[0].at)
        found: list[Stretch] = []
        for timeframe in LADDER:
            found = _between(self._reader.candles(pair, timeframe), since, reach) + found
            reach = found[0].start if found else reach
            if reach - since < timeframe.seconds * US:
                break
        return found


def _between(candles: Candles, since: int, until: int) -> list[Stretch]:
    """The whole candles between two moments."""
    inside = candles.between(from_us(since), from_us(until))
    found = [stretch_of(inside, i) for i in range(len(inside))]
    return [s for s in found if s.start >= since and s.end <= until]


def _in_turn(
    since: int, until: int, pieces: list[tuple[float, float, float, float, float]]
) -> list[Stretch]:
    """The pieces one after the other in the time that has passed since the last look.

    Time at the sandbox never runs backwards, so that what was missed happens now.
    """
    span = (until - since) // max(1, len(pieces))
    return [
        Stretch(since + i * span, since + (i + 1) * span, *piece) for i, piece in enumerate(pieces)
    ]
