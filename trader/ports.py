"""Every outside thing on one screen.

Backtest, paper and live differ in three of these only: exchange, clock and journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trader.domain.events import Event
from trader.domain.markets import (
    Balance,
    FeeRates,
    MarketRules,
    OrderBook,
    Pair,
    PublicTrade,
    Ticker,
)
from trader.domain.orders import Fill, Order, OrderRequest
from trader.domain.timeframes import Timeframe

if TYPE_CHECKING:
    from trader.domain.candles import Candles


class Clock(Protocol):
    """The only reader of the time."""

    def now(self) -> datetime:
        """The current moment, aware, UTC."""
        ...

    def sleep_until(self, moment: datetime) -> None:
        """Return at that moment or earlier when woken; at once if it has passed."""
        ...


class Exchange(Protocol):
    """A spot exchange and one account there.

    Reads raise `Unreachable` and the like, and may be repeated. `place`, `amend` and `cancel`
    raise `OutcomeUnknown` when the request may or may not have been carried out.
    """

    name: str

    def server_time(self) -> datetime:
        """The exchange's clock."""
        ...

    def market_rules(self, pair: Pair) -> MarketRules:
        """Tick, lot and minima now in force.

        Raises:
            UnknownPair: if there is no such market.
        """
        ...

    def fee_rates(self, pair: Pair) -> FeeRates:
        """What this account pays on the pair now."""
        ...

    def candles(self, pair: Pair, timeframe: Timeframe, since: datetime | None = None) -> Candles:
        """The newest closed candles the exchange serves (Kraken: at most 720).

        With `since`, those that opened before it may be left out: the answer is short then.
        """
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

    def balances(self) -> Mapping[str, Balance]:
        """Asset (BTC, USD, …) → balance; an asset that is absent is zero."""
        ...

    def place(self, request: OrderRequest, now: datetime) -> str:
        """Send an order once; the exchange's id.

        Raises:
            OrderRejected: the exchange refused it; nothing happened.
            OutcomeUnknown: it may or may not live; ask `find_order`.
        """
        ...

    def amend(self, exchange_id: str, request: OrderRequest, now: datetime) -> None:
        """Change quantity and price of an open order in place; asking twice is asking once.

        Args:
            exchange_id: the order.
            request: the order as it is to be; its quantity counts what has executed already.
            now: the present moment, UTC.

        Raises:
            OrderNotFound: it is already over; ask `order` how it ended.
            OrderRejected: the exchange refused the change, or changes no order of this type; it
                is as before.
            OutcomeUnknown: it may or may not be changed; ask `order`.
        """
        ...

    def cancel(self, exchange_id: str) -> None:
        """Cancel one order.

        Raises:
            OrderNotFound: it is already over; ask `order` how it ended.
            OutcomeUnknown: it may or may not be cancelled.
        """
        ...

    def cancel_all(self) -> int:
        """Cancel every open order of the account; how many."""
        ...

    def order(self, exchange_id: str) -> Order:
        """One order as it is now.

        Raises:
            OrderNotFound: if the exchange never had it.
        """
        ...

    def find_order(self, order_id: str, since: datetime) -> Order | None:
        """Look our id up among open orders and those closed since then."""
        ...

    def open_orders(self) -> tuple[Order, ...]:
        """Every open order of the account, ours and others', oldest first."""
        ...

    def closed_orders(self, since: datetime) -> tuple[Order, ...]:
        """Orders that ended at or after that moment, oldest first."""
        ...

    def fills(self, since: datetime) -> tuple[Fill, ...]:
        """Every fill of the account at or after that moment, oldest first."""
        ...


class Journal(Protocol):
    """The append-only record of one account; the portfolio is its replay."""

    def append(self, event: Event) -> None:
        """Write one event; on return it is durable.

        Raises:
            JournalError: if it could not be written.
        """
        ...

    def events(self, after: int = 0) -> Iterable[tuple[int, Event]]:
        """(sequence number, event) of all events with a number above `after`, in order."""
        ...

    def digest(self) -> str:
        """sha256 over all events, in hex."""
        ...


class HistoryStore(Protocol):
    """Closed candles on disk."""

    def load(
        self,
        pair: Pair,
        timeframe: Timeframe,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Candles:
        """Candles opening in [start, end), made from a finer timeframe where needed.

        Raises:
            HistoryError: if there is nothing stored for the pair, or it is damaged.
        """
        ...

    def append(self, pair: Pair, candles: Candles, source: str) -> int:
        """Add what is not there yet; how many candles were new."""
        ...

    def pairs(self) -> tuple[tuple[Pair, Timeframe], ...]:
        """What is stored."""
        ...


class ModelSource(Protocol):
    """Hands out the model that would have been in use at a moment."""

    def model_for(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Any | None:
        """The newest model whose training data was fully known at `now`, None if there is none."""
        ...


class AlertChannel(Protocol):
    """A way to reach a person; `name` tells receivers apart and is no secret."""

    name: str

    def send(self, title: str, body: str, severity: str) -> None:
        """Send, or raise; the caller keeps it for later then."""
        ...


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """What an exchange of the user's own is made with: `Class.from_settings(ExchangeSettings)`.

    Attributes:
        key: KRAKEN_API_KEY; empty for public reads only.
        secret: KRAKEN_API_SECRET.
        url: KRAKEN_API_URL, whatever is behind it.
        data_dir: where it may keep files of its own.
    """

    key: str
    secret: str
    url: str
    data_dir: Path

    def __repr__(self) -> str:
        return f"ExchangeSettings(url={self.url!r})"


def methods_of(port: type) -> tuple[str, ...]:
    """The methods a port asks for, by name."""
    return tuple(name for name, part in vars(port).items() if callable(part) and name[0] != "_")
