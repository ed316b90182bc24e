"""The candles a decision sees: a few thousand, closed, none from the future.

Two sources of the same kind: `HeldCandles` for a market that goes on, `WholeHistory` for one
whose future is on disk already (replays and backtests), where a view of shared arrays is enough.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import ExchangeError, HistoryError
from trader.domain.markets import Pair
from trader.domain.window import KEEP, STRIDE, window
from trader.ports import Exchange, HistoryStore


class CandleSource(Protocol):
    """Hands out the candles that were known at a moment."""

    def fetch(self, pairs: Iterable[Pair], now: datetime) -> None:
        """Make ready what will be asked for next, all at the same time; never fails."""
        ...

    def candles(self, pair: Pair, now: datetime) -> Candles:
        """Closed candles of the pair at `now`, oldest first; may be empty.

        Raises:
            ExchangeError: if the exchange is needed and does not answer.
        """
        ...


class WholeHistory:
    """Views of histories that lie in memory as a whole."""

    def __init__(self, histories: Mapping[Pair, Candles]) -> None:
        self.histories = dict(histories)

    def fetch(self, pairs: Iterable[Pair], now: datetime) -> None:
        """Everything is here already."""

    def candles(self, pair: Pair, now: datetime) -> Candles:
        """The prefix that had closed at `now`; arrays are shared with the whole."""
        return self.histories[pair].known_at(now)


@runtime_checkable
class ManyCandles(Protocol):
    """An exchange that is quicker when asked for several pairs at once."""

    def candles_of(
        self,
        pairs: Iterable[Pair],
        timeframe: Timeframe,
        since: Mapping[Pair, datetime] | None = None,
    ) -> Mapping[Pair, Candles]:
        """The newest closed candles of each pair; see `Exchange.candles` for `since`."""
        ...


class HeldCandles:
    """History from the store, continued with the exchange's newest candles.

    The exchange is asked only while the newest closed candle is not here yet. What it adds goes
    into the store too, if asked to, so that the history grows while the bot runs.

    Args:
        exchange: serves the newest closed candles (Kraken: at most 720).
        store: the history on disk, None for none.
        timeframe: of the candles.
        keep: how many candles are held for a pair, at least (`trader.domain.window`).
        stride: how many more may gather before the first ones are let go.
        remember: where new candles come from, in the words of the store's provenance; they are
            added to the store under it. Empty: they are not stored.
    """

    def __init__(
        self,
        exchange: Exchange,
        store: HistoryStore | None,
        timeframe: Timeframe,
        *,
        keep: int = KEEP,
        stride: int = STRIDE,
        remember: str = "",
    ) -> None:
        self._exchange = exchange
        self._store = store
        self._timeframe = timeframe
        self._keep = keep
        self._stride = stride
        self._remember = remember
        self._held: dict[Pair, Candles] = {}
        self._fetched: dict[Pair, Candles] = {}

    def fetch(self, pairs: Iterable[Pair], now: datetime) -> None:
        """Fetch what is missing of several pairs at the same time, where the exchange can.

        What fails here is asked for again, pair by pair, and says then what is wrong.
        """
        missing = [pair for pair in pairs if self._lacks(self._held.get(pair), now)]
        if len(missing) > 1 and isinstance(self._exchange, ManyCandles):
            with contextlib.suppress(ExchangeError):
                since = {pair: start for pair in missing if (start := self._newest(pair))}
                self._fetched = dict(self._exchange.candles_of(missing, self._timeframe, since))

    def candles(self, pair: Pair, now: datetime) -> Candles:
        """What had closed at `now`, without a hole worth naming."""
        held = self._held.get(pair)
        if held is None:
            held = self._from_store(pair, now)
        fetched = self._fetched.pop(pair, None)
        if self._lacks(held, now):
            if not fetched:
                start = held.last_opened_at if len(held) else None
                fetched = self._exchange.candles(pair, self._timeframe, start)
            held = self._continued(pair, held, fetched.known_at(now))
        self._held[pair] = held
        return held.known_at(now)

    def _newest(self, pair: Pair) -> datetime | None:
        """The opening of the newest candle held; earlier ones need not be sent again."""
        held = self._held.get(pair)
        return None if held is None or not len(held) else held.last_opened_at

    def _lacks(self, held: Candles | None, now: datetime) -> bool:
        """Whether a candle has closed that is not held."""
        if held is None or not len(held):
            return True
        return held.closed_at < self._timeframe.last_closed_at(now)

    def _from_store(self, pair: Pair, now: datetime) -> Candles:
        if self._store is None:
            return Candles.empty(self._timeframe)
        start = now - (self._keep + self._stride + 1) * self._timeframe.delta
        try:
            stored = self._store.load(pair, self._timeframe, start=start)
        except HistoryError:
            return Candles.empty(self._timeframe)
        return self._window(stored.known_at(now))

    def _continued(self, pair: Pair, held: Candles, newest: Candles) -> Candles:
        whole = held.followed_by(newest)
        if len(whole) == len(held):
            return held
        if self._remember and self._store is not None:
            self._store.append(pair, newest, self._remember)
        return self._window(whole)

    def _window(self, candles: Candles) -> Candles:
        return window(candles, self._keep, self._stride)
