"""A market around one price: best prices, order book and public trades, made up but consistent.

The best prices are those at which the matching engine fills a taker, so that what a client reads
is what it gets. Everything is a pure function of pair, moment and seed.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from trader.domain.candles import Candle
from trader.domain.markets import BookLevel, MarketRules, OrderBook, Pair, PublicTrade, Ticker
from trader.domain.orders import Side
from trader.simulation.costs import taker_price
from trader.simulation.path import Stretch, from_us, path, price_at, to_us

LEVEL_STEP = Decimal("0.0002")
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
    noise = _noise(f"{seed}|{ticker.pair}|{int(ticker.at.timestamp())}", 2 * depth)
    size = max(volume_base / 200, rules.order_minimum)
    asks, bids = [], []
    for k in range(depth):
        shift = max(ticker.ask * LEVEL_STEP * k, rules.tick * k)
        grown = size * (4 + k) / 4
        asks.append(_level(rules.price_up(ticker.ask + shift), grown * noise[k], rules))
        if ticker.bid - shift >= rules.tick:
            price = rules.price_down(ticker.bid - shift)
            bids.append(_level(price, grown * noise[depth + k], rules))
    return OrderBook(ticker.pair, ticker.at, tuple(bids), tuple(asks))


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


def _level(price: Decimal, quantity: Decimal, rules: MarketRules) -> BookLevel:
    return BookLevel(price, max(quantity.quantize(rules.lot), rules.lot))


def _noise(text: str, count: int) -> list[Decimal]:
    """Numbers from 0.5 to 1.5, fixed by the text."""
    found: list[Decimal] = []
    block = 0
    while len(found) < count:
        digest = hashlib.sha256(f"{text}|{block}".encode()).digest()
        found += [Decimal(128 + byte) / 256 for byte in digest]
        block += 1
    return found[:count]
