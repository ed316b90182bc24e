"""Candles of other exchanges through the package ccxt, which is optional.

They are another market's candles: who stores them stores them under that exchange's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import numpy as np

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import UnexpectedAnswer, UnknownPair, Unreachable, UsageError
from trader.domain.markets import Pair

PAGE = 500


class CcxtCandles:
    """One exchange as ccxt knows it.

    Args:
        name: ccxt's id of it, such as binance.
        client: a ccxt exchange; by default one is made.

    Raises:
        UsageError: if ccxt is not installed, or knows no such exchange.
    """

    def __init__(self, name: str, client: Any = None) -> None:
        self.name = name
        self._client = _client(name) if client is None else client

    def pages(
        self, pair: Pair, timeframe: Timeframe, start: datetime, now: datetime
    ) -> Iterator[tuple[Candles, tuple[int, int]]]:
        """(closed candles, span they cover in Unix seconds), page by page from `start` on.

        Raises:
            UnknownPair: if the exchange does not have the pair.
            UsageError: if it does not have the timeframe.
            Unreachable: if it does not answer.
        """
        symbol = self._symbol(pair)
        words = str(timeframe)
        if words not in (self._client.timeframes or {}):
            known = ", ".join(self._client.timeframes or ())
            raise UsageError(f"{self.name} has no candles of {words}", f"It has {known}.")
        since = -int(-start.timestamp() // timeframe.seconds) * timeframe.seconds
        closed = int(now.timestamp()) // timeframe.seconds * timeframe.seconds
        while since < closed:
            rows = self._rows(symbol, words, since)
            times = [int(row[0]) // 1000 for row in rows]
            fresh = [row for row, at in zip(rows, times, strict=True) if since <= at < closed]
            if not fresh:
                return
            last = int(fresh[-1][0]) // 1000 + timeframe.seconds
            yield _candles(fresh, timeframe), (int(fresh[0][0]) // 1000, last)
            since = last

    def _rows(self, symbol: str, timeframe: str, since: int) -> list[list[float]]:
        import ccxt

        try:
            return list(self._client.fetch_ohlcv(symbol, timeframe, since * 1000, PAGE))
        except ccxt.NetworkError as fault:
            raise Unreachable(
                f"{self.name} does not answer: {_short(fault)}", "Check the network, try again."
            ) from fault
        except ccxt.BaseError as fault:
            raise UnexpectedAnswer(f"{self.name} refuses: {_short(fault)}") from fault

    def _symbol(self, pair: Pair) -> str:
        import ccxt

        try:
            markets = self._client.load_markets()
        except ccxt.BaseError as fault:
            raise Unreachable(
                f"{self.name} does not answer: {_short(fault)}", "Check the network, try again."
            ) from fault
        if str(pair) in markets:
            return str(pair)
        near = sorted(m for m in markets if m.startswith(f"{pair.base}/") and ":" not in m)
        hint = f"It has {', '.join(near[:6])}." if near else ""
        raise UnknownPair(f"{self.name} has no {pair}", hint)


def _client(name: str) -> Any:
    try:
        import ccxt
    except ImportError:
        raise UsageError(
            "candles of other exchanges need the package ccxt, which is not installed",
            "Install it: pip install ccxt",
        ) from None
    if name not in ccxt.exchanges:
        near = get_close_matches(name, ccxt.exchanges, 1)
        raise UsageError(
            f"ccxt knows no exchange '{name}'", f"Did you mean {near[0]}?" if near else ""
        )
    return getattr(ccxt, name)({"enableRateLimit": True, "timeout": 15_000})


def _candles(rows: list[list[float]], timeframe: Timeframe) -> Candles:
    """Candles with a trade in them; some exchanges fill the others up with the last price.

    Raises:
        UnexpectedAnswer: if they are none.
    """
    traded = [row for row in rows if row[5] or row[2] != row[3]]
    if not traded:
        return Candles.empty(timeframe)
    table = np.array(traded, dtype=np.float64)
    times = table[:, 0].astype(np.int64) // 1000
    counts = np.zeros(len(times), dtype=np.int64)
    opens, highs, lows, closes, volumes = (np.ascontiguousarray(table[:, i]) for i in range(1, 6))
    return Candles(timeframe, times, opens, highs, lows, closes, volumes, counts)


def _short(fault: Exception) -> str:
    return (str(fault).splitlines() or [type(fault).__name__])[0][:160]
