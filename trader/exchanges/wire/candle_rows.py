"""Rows of OHLC as JSON text.

A candle that has closed does not change, so that its row is written once; of an answer of 721 rows
only the one still forming is written each time.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.errors import UsageError
from trader.exchanges.markets import Market
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.wire.forms import invalid
from trader.simulation.book import candles_in
from trader.simulation.path import to_us
from trader.simulation.waiting import INFINITE

NEWEST = 720
_MICROSECOND = 1_000_000


class _Traded(NamedTuple):
    """The figures of a row."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


@dataclass(frozen=True, slots=True)
class _Finished:
    """The rows of finished candles as they stand at one moment.

    Attributes:
        state: what they were made of; other candles make other rows.
        times: openings, oldest first, and `texts` the rows beside them.
        joined: all of them.
        close: the last price before the forming candle, None before the first.
        begins: no row may open earlier.
        whole: something was traded in each interval.
    """

    state: tuple[int, ...]
    times: list[int]
    texts: list[str]
    joined: str
    close: float | None
    begins: int
    whole: bool


class CandleRows:
    """What OHLC answers of each pair and timeframe."""

    def __init__(self, exchange: SandboxExchange) -> None:
        self._exchange = exchange
        self._held: dict[tuple[str, int, int], _Finished] = {}

    def after(self, market: Market, timeframe: Timeframe, since: int) -> tuple[str, int]:
        """Rows that open later than `since` as a JSON array, and where the newest opens.

        At most 720 finished candles and the one still forming; an interval in which nothing was
        traded repeats the close before it.

        Raises:
            Refused: if there are no candles of that length.
        """
        opened = int(timeframe.floor(self._exchange.server_time()).timestamp())
        finer = timeframe.seconds < self._exchange.feed.base_timeframe(market.pair).seconds
        if finer:
            held, forming = self._of_the_path(market, timeframe, opened)
        else:
            held, forming = self._of_the_feed(market, timeframe, opened)
        parts = held.joined
        if held.times and since >= held.times[0]:
            parts = ",".join(held.texts[bisect_right(held.times, since) :])
        newest = held.times[-1] if held.times else 0
        if opened >= held.begins and (forming is not None or held.close is not None):
            newest = opened
            if opened > since:
                row = _row(opened, forming, held.close or 0.0, market.rules.price_decimals)
                parts += ("," if parts else "") + row
        return f"[{parts}]", newest

    def _of_the_feed(
        self, market: Market, timeframe: Timeframe, opened: int
    ) -> tuple[_Finished, _Traded | None]:
        try:
            candles = self._exchange.candles(market.pair, timeframe)
            forming = self._exchange.forming(market.pair, timeframe)
        except UsageError:
            raise invalid("interval") from None
        key = (market.id, timeframe.seconds, market.rules.price_decimals)
        size = len(candles)
        state = (opened, size, int(candles.opened_at[-1]) if size else 0)
        held = self._held.get(key)
        if held is None or held.state != state:
            first = opened - NEWEST * timeframe.seconds
            newer = held.times[-1] if held is not None and held.whole and held.times else first
            index = int(np.searchsorted(candles.opened_at, newer))
            known = _columns(candles[index if newer < opened else 0 :])
            starts = [int(candles.opened_at[0])] if size else []
            if forming is not None:
                starts.append(int(forming.opened_at.timestamp()))
            begins = max(min(starts, default=2**62), first)
            before = _close_before(candles, first)
            held = _finished(key, held, state, known, before, begins, opened)
            self._held[key] = held
        return held, None if forming is None else _traded(forming)

    def _of_the_path(
        self, market: Market, timeframe: Timeframe, opened: int
    ) -> tuple[_Finished, _Traded | None]:
        """Candles finer than those of the feed, cut out of the path that orders fill on."""
        feed, pair = self._exchange.feed, market.pair
        key = (market.id, timeframe.seconds, market.rules.price_decimals)
        held = self._held.get(key)
        first, step = opened - NEWEST * timeframe.seconds, timeframe.seconds * _MICROSECOND
        if held is not None and held.state == (opened,):
            first = opened
        until = to_us(self._exchange.server_time())
        stretches = feed.stretches(pair, first * _MICROSECOND, until, INFINITE, -INFINITE)
        cut = [c for s in stretches for c in candles_in(s, step, until, market.rules)]
        known = {int(c.opened_at.timestamp()): _traded(c) for c in cut}
        forming = known.pop(opened, None)
        if held is None or held.state != (opened,):
            base = self._exchange.candles(pair, feed.base_timeframe(pair))
            starts = [int(base.opened_at[0])] if len(base) else [*known, opened][:1]
            begins = max(min(starts, default=2**62), first)
            before = _close_before(base, first)
            held = _finished(key, held, (opened,), known, before, begins, opened)
            self._held[key] = held
        return held, forming


def _finished(
    key: tuple[str, int, int],
    earlier: _Finished | None,
    state: tuple[int, ...],
    known: dict[int, _Traded],
    before: float | None,
    begins: int,
    opened: int,
) -> _Finished:
    """Rows from `begins` to before `opened`; those written earlier are taken over."""
    _, step, decimals = key
    times: list[int] = []
    texts: list[str] = []
    whole = True
    if earlier is not None and _continues(earlier, begins, opened, step):
        passed = (begins - earlier.times[0]) // step
        times, texts = earlier.times[passed:], earlier.texts[passed:]
        before = earlier.close
    for time in range(times[-1] + step if times else begins, opened, step):
        traded = known.get(time)
        whole = whole and traded is not None
        if traded is not None or before is not None:
            times.append(time)
            texts.append(_row(time, traded, before or 0.0, decimals))
        before = before if traded is None else traded.close
    return _Finished(state, times, texts, ",".join(texts), before, begins, whole)


def _continues(earlier: _Finished, begins: int, opened: int, step: int) -> bool:
    """Whether the rows written earlier still stand, and only newer ones are missing.

    A quiet interval may turn out to be one whose candle was late: then all are written again.
    """
    if not earlier.whole or not earlier.times:
        return False
    return earlier.times[0] <= begins <= earlier.times[-1] < opened


def _columns(candles: Candles) -> dict[int, _Traded]:
    opened, *columns = (column.tolist() for column in candles.columns())
    return dict(zip(opened, map(_Traded, *columns), strict=True))


def _traded(candle: Candle) -> _Traded:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    opened, high, low, close, volume = map(float, prices)
    return _Traded(opened, high, low, close, volume, candle.trades)


def _close_before(candles: Candles, time: int) -> float | None:
    index = int(np.searchsorted(candles.opened_at, time)) - 1
    return float(candles.close[index]) if index >= 0 else None


def _row(time: int, traded: _Traded | None, before: float, decimals: int) -> str:
    """One row; an interval in which nothing traded repeats the close before it."""
    row: list[Any]
    if traded is None or not (traded.volume or traded.trades):
        row = [time, *[f"{before:.{decimals}f}"] * 4, f"{0:.{decimals}f}", "0.00000000", 0]
    else:
        opened, high, low, close, volume, trades = traded
        prices = (opened, high, low, close, (high + low + close) / 3)
        row = [time, *[f"{p:.{decimals}f}" for p in prices], f"{volume:.8f}", trades]
    return json.dumps(row, separators=(",", ":"))
