"""What a feed offers, and the part that feeds made of candles share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import numpy as np

from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.errors import UnknownPair, UsageError
from trader.domain.markets import OrderBook, Pair, PublicTrade, Ticker, to_decimal
from trader.simulation.path import Stretch, from_us, price_at, to_us

US = 1_000_000


class Feed(Protocol):
    """Prices of some pairs, of which only what is past at a given moment is ever shown.

    Attributes:
        name: `replay`, `simulated` or `kraken`.
        label: what a person should know about these prices.
        pairs: what can be traded.
    """

    name: str
    label: str
    pairs: tuple[Pair, ...]

    def base_timeframe(self, pair: Pair) -> Timeframe:
        """The finest timeframe of the pair."""
        ...

    def history(
        self, pair: Pair, timeframe: Timeframe, now: datetime, count: int | None = None
    ) -> Candles:
        """The newest `count` candles that have closed at `now` (all without `count`).

        Raises:
            UnknownPair: if the feed does not have the pair.
            UsageError: if the timeframe is finer than what the feed has.
        """
        ...

    def forming(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Candle | None:
        """The candle still open at `now`, as far as it has come; None while nothing trades."""
        ...

    def stretches(
        self, pair: Pair, after: int, until: int, falls_to: float, rises_to: float
    ) -> Iterator[Stretch]:
        """The path in (after, until], oldest first, moments in microseconds.

        Stretches that neither fall to `falls_to` nor rise to `rises_to` may be left out.
        """
        ...

    def price(self, pair: Pair, at: int) -> Decimal | None:
        """The path's price at a moment, None while the market does not trade."""
        ...

    def last_price(self, pair: Pair, at: int) -> Decimal | None:
        """The price now, or the last one while nothing trades; None before the first candle."""
        ...

    def ticker(self, pair: Pair, now: datetime) -> Ticker | None:
        """Best prices, where there are real ones."""
        ...

    def order_book(self, pair: Pair, depth: int, now: datetime) -> OrderBook | None:
        """The order book, where there is a real one."""
        ...

    def recent_trades(self, pair: Pair, now: datetime) -> tuple[PublicTrade, ...] | None:
        """The newest public trades, where there are real ones."""
        ...

    def poll(self, now: datetime) -> None:
        """Fetch what is new; a feed that has everything does nothing."""
        ...


class CandleFeed:
    """A feed over candles at the finest timeframe there is.

    Args:
        name: `replay` or `simulated`.
        label: what a person should know about these prices.
        candles: pair → all its candles, future ones included.
    """

    def __init__(self, name: str, label: str, candles: Mapping[Pair, Candles]) -> None:
        self.name = name
        self.label = label
        self.pairs = tuple(candles)
        self._base = dict(candles)
        self._coarse: dict[tuple[Pair, Timeframe], Candles] = {}

    def base(self, pair: Pair) -> Candles:
        """The candles the path is made of.

        Raises:
            UnknownPair: if the feed does not have the pair.
        """
        found = self._base.get(pair)
        if found is None:
            known = ", ".join(str(p) for p in self.pairs)
            raise UnknownPair(f"the {self.name} feed has no {pair}", f"It has {known}.")
        return found

    def base_timeframe(self, pair: Pair) -> Timeframe:
        """See `Feed.base_timeframe`."""
        return self.base(pair).timeframe

    def history(
        self, pair: Pair, timeframe: Timeframe, now: datetime, count: int | None = None
    ) -> Candles:
        """See `Feed.history`."""
        candles = self._at(pair, timeframe)
        known = candles.count_known_at(now)
        return candles[0 if count is None else max(0, known - count) : known]

    def forming(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Candle | None:
        """See `Feed.forming`."""
        base = self.base(pair)
        opened = timeframe.floor(now)
        known = base.between(opened, None).known_at(now)
        parts = [(c.open, c.high, c.low, c.close, c.volume, c.trades) for c in known.rows()]
        at = to_us(now)
        running = self._stretch_at(pair, at)
        if running is not None:
            parts.append(_so_far(running, at))
        if not parts:
            return None
        return Candle(
            opened,
            parts[0][0],
            max(p[1] for p in parts),
            min(p[2] for p in parts),
            parts[-1][3],
            sum((p[4] for p in parts), Decimal(0)),
            sum(p[5] for p in parts),
        )

    def stretches(
        self, pair: Pair, after: int, until: int, falls_to: float, rises_to: float
    ) -> Iterator[Stretch]:
        """See `Feed.stretches`."""
        base = self.base(pair)
        span = base.timeframe.seconds
        # A candle overlaps (after, until] if it ends after `after` and opens by `until`.
        first = int(base.opened_at.searchsorted(after // US - span, side="right"))
        last = int(base.opened_at.searchsorted(until // US, side="right"))
        if last - first > 8:
            low, high = base.low[first:last], base.high[first:last]
            wanted = np.flatnonzero((low <= falls_to) | (high >= rises_to)) + first
            yield from (stretch_of(base, int(i)) for i in wanted)
            return
        for i in range(first, last):
            if base.low[i] <= falls_to or base.high[i] >= rises_to:
                yield stretch_of(base, i)

    def price(self, pair: Pair, at: int) -> Decimal | None:
        """See `Feed.price`."""
        stretch = self._stretch_at(pair, at)
        return None if stretch is None else price_at(stretch, at)

    def last_price(self, pair: Pair, at: int) -> Decimal | None:
        """See `Feed.last_price`."""
        now = self.price(pair, at)
        if now is not None:
            return now
        base = self.base(pair)
        known = base.count_known_at(from_us(at))
        return to_decimal(base.close[known - 1]) if known else None

    def ticker(self, pair: Pair, now: datetime) -> None:
        """Candles tell of no best prices."""

    def order_book(self, pair: Pair, depth: int, now: datetime) -> None:
        """Candles tell of no order book."""

    def recent_trades(self, pair: Pair, now: datetime) -> None:
        """Candles tell of no single trades."""

    def poll(self, now: datetime) -> None:
        """Everything is here already."""

    def _at(self, pair: Pair, timeframe: Timeframe) -> Candles:
        base = self.base(pair)
        if timeframe == base.timeframe:
            return base
        key = (pair, timeframe)
        if key not in self._coarse:
            if timeframe.seconds % base.timeframe.seconds:
                raise UsageError(
                    f"{self.name} feed: no {timeframe} candles of {pair}, "
                    f"the finest are {base.timeframe}",
                    f"Use {base.timeframe} or a multiple of it.",
                )
            self._coarse[key] = base.resampled(timeframe)
        return self._coarse[key]

    def _stretch_at(self, pair: Pair, at: int) -> Stretch | None:
        base = self.base(pair)
        index = int(base.opened_at.searchsorted(at // US, side="right")) - 1
        if index < 0 or at >= (int(base.opened_at[index]) + base.timeframe.seconds) * US:
            return None
        return stretch_of(base, index)


def stretch_of(base: Candles, index: int) -> Stretch:
    """One candle as a piece of the path."""
    start = int(base.opened_at[index]) * US
    return Stretch(
        start,
        start + base.timeframe.seconds * US,
        float(base.open[index]),
        float(base.high[index]),
        float(base.low[index]),
        float(base.close[index]),
        float(base.volume[index]),
    )


def _so_far(stretch: Stretch, at: int) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal, int]:
    """Open, high, low, price, volume and trades of a candle as far as its path has come."""
    third = (stretch.end - stretch.start) // 3
    price = price_at(stretch, at)
    corners = (stretch.open, stretch.low, stretch.high)
    seen = [to_decimal(p) for p in corners[: 1 + (at - stretch.start) // third]] + [price]
    share = Decimal(at - stretch.start) / (stretch.end - stretch.start)
    volume = (to_decimal(stretch.volume) * share).quantize(Decimal("0.00000001"))
    return seen[0], max(seen), min(seen), price, volume, 0
