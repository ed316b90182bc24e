"""A market around one price: best prices, order book and public trades, made up but consistent.

The best prices are those at which the matching engine fills a taker, so that what a client reads
is what it gets. Everything is a pure function of pair, moment and seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from itertools import count, islice

from trader.domain.candles import Candle
from trader.domain.markets import BookLevel, MarketRules, OrderBook, Pair, PublicTrade, Ticker
from trader.domain.orders import Side
from trader.simulation.costs import taker_price
from trader.simulation.orders import OrderRecord
from trader.simulation.path import Stretch, from_us, path, price_at, to_us

LEVEL_STEP = Decimal("0.0002")
MOST_LEVELS = 500
NOISE_UNIT = 256
TRADES_PER_STRETCH = 16


def ticker_around(
    pair: Pair, at: datetime, price: Decimal, slippage: Decimal, rules: MarketRules
) -> Ticker:
    """Best prices at which a taker would fill, and the path's price as the last trade."""
    return Ticker(
        pair,
        at,
        bid=taker_price(Side.SELL, price, slippage, rules),
        ask=taker_price(Side.BUY, price, slippage, rules),
        last=max(rules.price_nearest(price), rules.tick),
    )


def book_around(
    ticker: Ticker, volume_base: Decimal, rules: MarketRules, depth: int, seed: int
) -> OrderBook:
    """Levels outwards from the best prices, quantities growing with the distance.

    Args:
        ticker: the best prices.
        volume_base: a typical candle's volume, which sets the size of the levels.
        rules: of the market.
        depth: levels a side, fewer where the price would reach zero.
        seed: of the made-up quantities; the same second gives the same book.
    """
    bids, asks = (
        tuple(islice(levels(ticker, side, volume_base, rules, seed), depth))
        for side in (Side.SELL, Side.BUY)
    )
    return OrderBook(ticker.pair, ticker.at, bids, asks)


def levels(
    ticker: Ticker, side: Side, volume_base: Decimal, rules: MarketRules, seed: int
) -> Iterator[BookLevel]:
    """What a taker of that side meets, best first; it ends where the price would reach zero.

    Args:
        ticker: the best prices.
        side: of the taker; a buyer meets the asks.
        volume_base: see `book_around`.
        rules: of the market.
        seed: of the made-up quantities.
    """
    noise = _noises(f"{seed}|{ticker.pair}|{int(ticker.at.timestamp())}|{side}")
    size = max(volume_base / 200, rules.order_minimum)
    buys, tick = side is Side.BUY, rules.tick
    best = int((ticker.ask if buys else ticker.bid) / tick)
    ticks_apart = max(ticker.ask * LEVEL_STEP / tick, Decimal(1))
    for k in range(MOST_LEVELS):
        away = int((ticks_apart * k).to_integral_value(ROUND_CEILING))
        price = (best + away if buys else best - away) * tick
        if price <= 0:
            return
        quantity = (size * ((4 + k) * next(noise)) / (4 * NOISE_UNIT)).quantize(rules.lot)
        yield BookLevel(price, max(quantity, rules.lot))


def with_own(book: OrderBook, orders: Iterable[OrderRecord], depth: int) -> OrderBook:
    """The book with what it shows of the account's own resting orders; icebergs in part."""
    mine: dict[Side, dict[Decimal, Decimal]] = {Side.BUY: {}, Side.SELL: {}}
    # Beyond the last level of a full side nothing is shown.
    lowest = book.bids[-1].price if len(book.bids) >= depth else None
    highest = book.asks[-1].price if len(book.asks) >= depth else None
    for order in orders:
        if order.limit is not None:
            buys = order.spec.side is Side.BUY
            edge = lowest if buys else highest
            if edge is not None and (order.limit < edge if buys else order.limit > edge):
                continue
            side = mine[order.spec.side]
            side[order.limit] = side.get(order.limit, Decimal(0)) + order.displayed
    if not any(mine.values()):
        return book
    bids = _merged(book.bids, mine[Side.BUY], depth, falling=True)
    asks = _merged(book.asks, mine[Side.SELL], depth, falling=False)
    return OrderBook(book.pair, book.at, bids, asks)


def _merged(
    others: tuple[BookLevel, ...], own: dict[Decimal, Decimal], depth: int, *, falling: bool
) -> tuple[BookLevel, ...]:
    found = {level.price: level.quantity for level in others}
    for price, quantity in own.items():
        found[price] = found.get(price, Decimal(0)) + quantity
    prices = sorted(found, reverse=falling)[:depth]
    return tuple(BookLevel(price, found[price]) for price in prices)


def trades_in(
    pair: Pair, stretch: Stretch, until: int, rules: MarketRules, seed: int
) -> tuple[PublicTrade, ...]:
    """Public trades along the path of a candle up to a moment, oldest first.

    The sides follow the direction of the path, more or less; the quantities add up to the
    candle's volume.
    """
    trades = _all_trades_in(pair, stretch, rules, seed)
    if until >= stretch.end:
        return trades
    return tuple(trade for trade in trades if to_us(trade.at) <= until)


@lru_cache(maxsize=2048)
def _all_trades_in(
    pair: Pair, stretch: Stretch, rules: MarketRules, seed: int
) -> tuple[PublicTrade, ...]:
    n = TRADES_PER_STRETCH
    noise = _noise(f"{seed}|{pair}|{stretch.start}|trades", 2 * n)
    total = sum(noise[:n], Decimal(0))
    volume = Decimal(repr(stretch.volume))
    trades = []
    before = price_at(stretch, stretch.start)
    for k in range(n):
        at = stretch.start + (stretch.end - stretch.start) * (2 * k + 1) // (2 * n)
        price = price_at(stretch, at)
        rises = price > before if price != before else noise[n + k] > 1
        side = Side.BUY if rises != (noise[n + k] < Decimal("0.7")) else Side.SELL
        quantity = max((volume * noise[k] / total).quantize(rules.lot), rules.lot)
        number = stretch.start // (stretch.end - stretch.start) * n + k
        trades.append(
            PublicTrade(
                from_us(at), max(rules.price_nearest(price), rules.tick), quantity, side, number
            )
        )
        before = price
    return tuple(trades)


def candles_in(stretch: Stretch, step: int, until: int, rules: MarketRules) -> list[Candle]:
    """Finer candles along the path of a coarse one, oldest first, the last as far as it has come.

    Args:
        stretch: the coarse candle.
        step: length of the finer ones, microseconds; a part of the coarse one's.
        until: what happens after this moment is not shown.
        rules: of the market, for the rounding.
    """
    corners = path(stretch)
    share = Decimal(repr(stretch.volume)) * step / (stretch.end - stretch.start)
    found = []
    for start in range(stretch.start, min(stretch.end, until + 1), step):
        end = min(start + step, until)
        first, last = price_at(stretch, start), price_at(stretch, end)
        inside = [price for at, price in corners if start <= at <= end]
        prices = (first, max(first, last, *inside), min(first, last, *inside), last)
        opened, highest, lowest, closed = (max(rules.price_nearest(p), rules.tick) for p in prices)
        volume = (share * (end - start) / step).quantize(rules.lot)
        made = Candle(from_us(start), opened, highest, lowest, closed, volume, 1)
        found.append(made)
    return found


def _noise(text: str, size: int) -> list[Decimal]:
    """Numbers from 0.5 to 1.5, fixed by the text."""
    return [Decimal(part) / NOISE_UNIT for part in islice(_noises(text), size)]


def _noises(text: str) -> Iterator[int]:
    """Numbers from 0.5 to 1.5 in units of 1/256, fixed by the text."""
    for block in count():
        digest = hashlib.sha256(f"{text}|{block}".encode()).digest()
        yield from (128 + byte for byte in digest)
