"""Sentiment: what the order book and the takers say, and how nervous the market is.

Directions are numbers in [-1, 1], above zero for buyers; what is not known is None, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from trader.domain.markets import BookLevel, OrderBook, PublicTrade

NAMES = (
    "book_imbalance",
    "depth_imbalance",
    "depth_quote",
    "spread_bp",
    "taker_flow",
    "taker_count",
    "trades_per_minute",
    "volume_flow",
    "volatility_regime",
    "mood",
)
"""Every name `sentiment` gives, known or not."""

MEANING = {
    "book_imbalance": "bids less asks in the best 10 levels, as a share",
    "depth_imbalance": "bids less asks within 1 % of the middle, as a share",
    "depth_quote": "quote currency waiting within 1 % of the middle",
    "spread_bp": "best ask less best bid, in basis points of the middle",
    "taker_flow": "money of taking buyers less that of taking sellers, as a share",
    "taker_count": "taking buyers less taking sellers, as a share of the trades",
    "trades_per_minute": "public trades per minute",
    "volume_flow": "volume of rising less that of falling candles, last 24, as a share",
    "volatility_regime": "-1 the calmest of the last 100 candles, 1 the wildest",
    "mood": "mean of the known directions",
}

RECALLED = {
    "trade_flow": "base bought by takers less sold in the last closed hour, as a share",
    "breadth": "stored pairs risen less fallen over 24 hours, as a share",
    "fear_and_greed": "the Fear and Greed Index, -1 fear to 1 greed",
    "news": "mean score of the day's headlines, -1 to 1",
}
"""What comes from stored history or outside sources, where there is any."""

_LEVELS = 10
_NEAR = 0.01
_DIRECTIONS = ("book_imbalance", "depth_imbalance", "taker_flow", "volume_flow")
_SHORTEST = timedelta(seconds=1)


def sentiment(
    book: OrderBook | None,
    trades: Sequence[PublicTrade],
    indicators: Mapping[str, float],
    outside: Mapping[str, float | None] | None = None,
) -> dict[str, float | None]:
    """Name → value; every one of `NAMES` is there, None where nothing is known.

    Args:
        book: the order book, None if it was not asked for.
        trades: recent public trades, oldest first.
        indicators: the newest values; `signed_volume_24` and `vol_rank_100` are used.
        outside: values from outside sources and from the recorded history, added under their own
            names; one of `NAMES` is used where the market itself does not show it now.
    """
    found: dict[str, float | None] = dict.fromkeys(NAMES)
    if book is not None and book.bids and book.asks:
        found.update(_of_book(book))
    if trades:
        found.update(_of_trades(trades))
    found["volume_flow"] = _known(indicators.get("signed_volume_24"))
    rank = _known(indicators.get("vol_rank_100"))
    found["volatility_regime"] = None if rank is None else rank / 50.0 - 1.0
    beside = dict(outside or {})
    for name in NAMES:
        # What was recorded at the time stands in for what cannot be seen any more.
        recorded = beside.pop(name, None)
        found[name] = recorded if found[name] is None else found[name]
    directions = [value for n in _DIRECTIONS if (value := found[n]) is not None]
    found["mood"] = sum(directions) / len(directions) if directions else None
    return {**found, **beside}


def _known(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _share(plus: float, minus: float) -> float | None:
    return (plus - minus) / (plus + minus) if plus + minus > 0 else None


def _of_book(book: OrderBook) -> dict[str, float | None]:
    bid, ask = float(book.bids[0].price), float(book.asks[0].price)
    middle = (bid + ask) / 2
    near_bids = [level for level in book.bids if float(level.price) >= middle * (1 - _NEAR)]
    near_asks = [level for level in book.asks if float(level.price) <= middle * (1 + _NEAR)]
    return {
        "book_imbalance": _share(_quantity(book.bids[:_LEVELS]), _quantity(book.asks[:_LEVELS])),
        "depth_imbalance": _share(_money(near_bids), _money(near_asks)),
        "depth_quote": _money(near_bids) + _money(near_asks),
        "spread_bp": (ask - bid) / middle * 1e4,
    }


def _quantity(levels: Sequence[BookLevel]) -> float:
    return float(sum(level.quantity for level in levels))


def _money(levels: Sequence[BookLevel]) -> float:
    return float(sum(level.price * level.quantity for level in levels))


def _of_trades(trades: Sequence[PublicTrade]) -> dict[str, float | None]:
    bought = [t for t in trades if t.side == "buy"]
    sold = [t for t in trades if t.side == "sell"]
    span = trades[-1].at - trades[0].at
    minutes = max(span, _SHORTEST) / timedelta(minutes=1)
    return {
        "taker_flow": _share(_paid(bought), _paid(sold)),
        "taker_count": _share(len(bought), len(sold)),
        "trades_per_minute": len(trades) / minutes if len(trades) > 1 else None,
    }


def _paid(trades: Sequence[PublicTrade]) -> float:
    return float(sum(t.price * t.quantity for t in trades))
