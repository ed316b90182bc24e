"""KrakenClient: the spot exchange Kraken, in the words of this program.

Built on krakenex: it signs and sends; this module decides what may be repeated. A read is repeated
with growing, jittered pauses. A request that changes something is sent once: if no clear answer
comes, the outcome is unknown and has to be looked up by the order's own id.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from trader.domain.errors import (
    AuthError,
    ExchangeError,
    NonceError,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    UnexpectedAnswer,
    UsageError,
)
from trader.domain.markets import (
    Balance,
    FeeRates,
    MarketRules,
    OrderBook,
    Pair,
    PublicTrade,
    Ticker,
)
from trader.domain.orders import Fill, Order, OrderRequest, OrderType, Side
from trader.domain.timeframes import KRAKEN_MINUTES, Timeframe
from trader.exchanges import kraken_answers as answers
from trader.exchanges.kraken_calls import KrakenCalls, Retries
from trader.exchanges.kraken_deadline import Deadline
from trader.exchanges.kraken_limits import Tier, TradingBudget
from trader.exchanges.kraken_names import KrakenNames, KrakenPair
from trader.exchanges.kraken_nonces import MemoryNonces, NonceSource
from trader.exchanges.transport import Handler, Timeouts
from trader.simulation.costs import table_rates

if TYPE_CHECKING:
    from trader.domain.candles import Candles

T = TypeVar("T")

KRAKEN_URL = "https://api.kraken.com"
PAGE = 50
NEEDED_PERMISSIONS = frozenset(
    {"query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades"}
)
FORBIDDEN_PERMISSION = "withdraw-funds"

_IDS_KEPT = 2_000
"""Own ids of so many orders are held in memory."""

_LOOKS_S = (0.0, 2.0)
"""Pauses before the looks for a market order, which may show a moment late."""
_MODE_LASTS_S = 30.0
"""A market's mode (`cancel_only` …) is believed so long."""
_UNKNOWN_HINT = "Look the order up by its id; do not send it again."


@dataclass(slots=True)
class _Metadata:
    """What Kraken last said about pairs and assets."""

    names: KrakenNames | None = None
    read_at_s: float = 0.0
    own_ids: dict[str, str] = field(default_factory=dict)


class KrakenClient:
    """Kraken, or whatever speaks as Kraken does, as a `ports.Exchange`.

    Args:
        key: API key; empty for public reads only.
        secret: its secret, base64.
        url: base address.
        now: the time as the exchange knows it; for deadlines and for the fees of the day.
        nonces: where nonces come from; by default this process alone uses the key.
        timeouts: limits of each call.
        retries: how reads are repeated.
        tier: limits of the account; None for an exchange without limits.
        deadline_s: seconds from `now` within which Kraken must have accepted an order; a delayed
            request cannot execute later, and by the exchange's own clock. None sends none.
        handler: answers in this process instead of the network.
        metadata_s: age at which tick sizes and minima are read again.
        sleep: how to wait between attempts.
        seed: of the jitter.
    """

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        *,
        url: str = KRAKEN_URL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        nonces: NonceSource | None = None,
        timeouts: Timeouts | None = None,
        retries: Retries | None = None,
        tier: Tier | None = None,
        deadline_s: float | None = 30.0,
        handler: Handler | None = None,
        metadata_s: float = 3600.0,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self.name = "kraken"
        self._now = now
        self._sleep = sleep
        self._deadline = Deadline(deadline_s, now, self._time_now)
        self._metadata_s = metadata_s
        self._in_process = handler is not None
        self._calls = KrakenCalls(
            key,
            secret,
            url=url,
            now=now,
            nonces=nonces or MemoryNonces(),
            timeouts=timeouts or Timeouts(),
            retries=retries or Retries(),
            tier=tier,
            handler=handler,
            sleep=sleep,
            seed=seed,
        )
        self._trading_budget = TradingBudget(tier) if tier else None
        self._metadata = _Metadata()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"KrakenClient({self._calls!r})"

    def close(self) -> None:
        """Give the connections back."""
        self._calls.close()

    # ── what everybody may see ─────────────────────────────────────────────────────────────

    def server_time(self) -> datetime:
        """The exchange's clock."""
        return self._calls.public("Time", {}, answers.server_time)

    def _time_now(self) -> datetime:
        """The exchange's clock, asked for once: an order waits for it."""
        return self._calls.public("Time", {}, answers.server_time, repeat=False)

    def system_status(self) -> str:
        """`online`, `maintenance`, `cancel_only` or `post_only`."""
        return self._calls.public("SystemStatus", {}, lambda result: str(result["status"]))

    def market_rules(self, pair: Pair) -> MarketRules:
        """Tick, lot, minima and mode, read again every hour, and sooner in a mode of its own."""
        rules = self._row(pair).rules
        if rules.status == "online":
            return rules
        return self._names(min(self._metadata_s, _MODE_LASTS_S)).of(pair).rules

    def pairs(self) -> tuple[Pair, ...]:
        """Every pair that is listed."""
        return tuple(row.pair for row in self._names().pairs())

    def candles(self, pair: Pair, timeframe: Timeframe, since: datetime | None = None) -> Candles:
        """The newest closed candles, at most 720; the forming one is left out.

        Args:
            pair: of a listed market.
            timeframe: one that Kraken serves.
            since: candles that opened before it may be left out.

        Raises:
            UsageError: if Kraken has no such candles.
        """
        if timeframe.minutes not in KRAKEN_MINUTES or timeframe.seconds % 60:
            known = ", ".join(str(Timeframe(m * 60)) for m in KRAKEN_MINUTES)
            raise UsageError(f"Kraken has no candles of {timeframe}", f"It has {known}.")
        form: dict[str, Any] = {"pair": self._row(pair).id, "interval": timeframe.minutes}
        if since is not None:
            # Whether Kraken counts the candle that opens at this second is not certain.
            form["since"] = int(since.timestamp()) - timeframe.seconds
        return self._calls.public("OHLC", form, lambda result: answers.candles(result, timeframe))

    def candles_of(
        self,
        pairs: Iterable[Pair],
        timeframe: Timeframe,
        since: Mapping[Pair, datetime] | None = None,
    ) -> dict[Pair, Candles]:
        """Candles of several pairs, fetched at the same time.

        Where the exchange answers in this process there is nothing to wait for: one by one then,
        and always in the same order.
        """
        wanted, starts = list(pairs), since or {}
        self._names()
        if self._in_process:
            return {pair: self.candles(pair, timeframe, starts.get(pair)) for pair in wanted}
        with ThreadPoolExecutor(max_workers=max(1, min(8, len(wanted)))) as pool:
            found = pool.map(lambda pair: self.candles(pair, timeframe, starts.get(pair)), wanted)
            return dict(zip(wanted, found, strict=True))

    def ticker(self, pair: Pair) -> Ticker:
        """Best prices and last trade."""
        return self._calls.public(
            "Ticker",
            {"pair": self._row(pair).id},
            lambda result: answers.ticker(result, pair, self._now()),
        )

    def order_book(self, pair: Pair, depth: int = 25) -> OrderBook:
        """The best levels of both sides (1 to 500)."""
        return self._calls.public(
            "Depth",
            {"pair": self._row(pair).id, "count": max(1, min(500, depth))},
            lambda result: answers.order_book(result, pair, self._now()),
        )

    def recent_trades(self, pair: Pair) -> tuple[PublicTrade, ...]:
        """The newest public trades (at most 1,000), oldest first."""
        return self._calls.public("Trades", {"pair": self._row(pair).id}, answers.public_trades)

    def trades_since(self, pair: Pair, since_ns: int) -> answers.TradePage:
        """Public trades after a moment in Unix nanoseconds, oldest first, at most 1,000."""
        return self._calls.public(
            "Trades",
            {"pair": self._row(pair).id, "since": str(since_ns), "count": 1000},
            lambda result: answers.trade_page(result, since_ns),
        )

    # ── the account ────────────────────────────────────────────────────────────────────────

    def balances(self) -> Mapping[str, Balance]:
        """Asset → balance with what open orders hold."""
        names = self._names()
        return self._calls.private("BalanceEx", {}, lambda result: answers.balances(result, names))

    def fee_rates(self, pair: Pair) -> FeeRates:
        """What the account pays, or the entry tier of the day where Kraken does not tell."""
        pair_id = self._row(pair).id
        found: FeeRates | None = None
        if self._calls.has_key:
            found = self._calls.private(
                "TradeVolume", {"pair": pair_id}, lambda result: answers.fee_rates(result, pair_id)
            )
        return found or table_rates(self._now().date(), pair.base)

    def key_permissions(self) -> frozenset[str]:
        """What the key may do, in Kraken's words (`query-funds`, `withdraw-funds`, …)."""
        return self._calls.private(
            "GetApiKeyInfo", {}, lambda result: frozenset(str(p) for p in result["permissions"])
        )

    def check_key(self) -> frozenset[str]:
        """The permissions of a key that is fit for trading.

        Raises:
            AuthError: if it may withdraw, or lacks what trading needs.
        """
        held = self.key_permissions()
        if FORBIDDEN_PERMISSION in held:
            raise AuthError(
                "the Kraken key may withdraw funds",
                "At Kraken, Settings, API: untick 'Withdraw' under Funds permissions, or make a "
                "new key without it.",
            )
        missing = sorted(NEEDED_PERMISSIONS - held)
        if missing:
            raise AuthError(
                f"the Kraken key lacks the permission {', '.join(missing)}",
                "At Kraken, Settings, API: tick Query Funds, and under Orders and Trades: Query "
                "open, Query closed, Create & modify, Cancel & close.",
            )
        return held

    def order(self, exchange_id: str) -> Order:
        """One order as it is now."""
        found = self._orders_by_id([exchange_id])
        if exchange_id not in found:
            raise OrderNotFound(f"Kraken has no order {exchange_id}", "Check the order id.")
        return found[exchange_id]

    def find_order(self, order_id: str, since: datetime) -> Order | None:
        """Our id among open orders, then those that closed at or after `since`, then the trades.

        In this order nothing slips through: what closes between the first two questions is found
        by the second, and an order that has executed shows in the trades whatever the lists of
        orders say.
        """
        wanted = answers.own_id(order_id)
        for found in self._open({"cl_ord_id": order_id}):
            if found.order_id == wanted:
                return found
        mine = [o for o in self._closed(since, {"cl_ord_id": order_id}) if o.order_id == wanted]
        if mine:
            return mine[-1]
        traded = [fill for fill in self.fills(since) if fill.order_id == wanted]
        return self.order(traded[-1].exchange_id) if traded else None

    def open_orders(self) -> tuple[Order, ...]:
        """Every open order of the account, oldest first."""
        return self._open({})

    def closed_orders(self, since: datetime) -> tuple[Order, ...]:
        """Orders that ended at or after that moment, oldest first."""
        return self._closed(since, {})

    def fills(self, since: datetime) -> tuple[Fill, ...]:
        """Every single fill at or after that moment, oldest first; nothing is merged."""
        names = self._names()
        since = self._deadline.earlier(since)
        rows = self._pages(
            "TradesHistory",
            "trades",
            {"start": _start(since), "consolidate_taker": "false", "trades": "false"},
        )
        wanted = answers.read_as(
            "TradesHistory", lambda r: {str(row["ordertxid"]) for row in r.values()}, rows
        )
        own_ids = self._own_ids(wanted)
        found = answers.read_as(
            "TradesHistory", lambda r: list(answers.fills(r, names, own_ids)), rows
        )
        return tuple(fill for fill in found if fill.filled_at >= since)

    # ── requests that change something ─────────────────────────────────────────────────────

    def place(self, request: OrderRequest, now: datetime) -> str:
        """Send an order once.

        An answer that only says the order was not looked at (a nonce overtaken) is followed by a
        look-up of the order's id before it is sent again. A purchase at the market is not: if a
        gateway delivered it twice, the lists may not show yet that the first has filled.
        """
        row = self._row(request.pair)
        if self._trading_budget is not None:
            self._trading_budget.before_add(row.id)
        exchange_id = self._place(request, row, now)
        if self._trading_budget is not None:
            self._trading_budget.added(row.id, exchange_id)
        self._forget_old_ids()
        self._remember(exchange_id, request.order_id)
        return exchange_id

    def _place(self, request: OrderRequest, row: KrakenPair, now: datetime) -> str:
        for _ in range(3):
            try:
                return self._add(request, row)
            except NonceError as fault:
                found = self._look_up(request, now)
                if found is not None:
                    return found
                if request.type is OrderType.MARKET and request.side is Side.BUY:
                    raise OutcomeUnknown(fault.message, fault.hint) from fault
        raise NonceError(
            "Kraken refused the nonce three times in a row",
            "Another program uses this key: give each program a key of its own.",
        )

    def _add(self, request: OrderRequest, row: KrakenPair) -> str:
        def send() -> str:
            form = self._order_form(request, row)
            return self._calls.change("AddOrder", form, answers.new_order_id)

        return self._in_time(send)

    def _in_time(self, send: Callable[[], T]) -> T:
        """Send; once more, by Kraken's clock, where only the deadline was too far away."""
        try:
            return send()
        except (OrderRejected, OutcomeUnknown) as fault:
            if not self._deadline.was_refused(fault) or isinstance(fault, OutcomeUnknown):
                raise
        return send()

    def _look_up(self, request: OrderRequest, now: datetime) -> str | None:
        # An order that rests cannot be doubled: the exchange takes its id once.
        pauses = _LOOKS_S if request.type is OrderType.MARKET else (0.0,)
        try:
            for pause_s in pauses:
                if pause_s:
                    self._sleep(pause_s)
                found = self.find_order(request.order_id, now - timedelta(hours=1))
                if found is not None:
                    return found.exchange_id
        except ExchangeError as fault:
            raise OutcomeUnknown(
                f"Kraken did not say whether order {request.order_id} exists: {fault.message}",
                _UNKNOWN_HINT,
            ) from fault
        return None

    def validate(self, request: OrderRequest) -> str:
        """Let Kraken check an order without placing it; the order in Kraken's words."""
        form = self._order_form(request, self._row(request.pair)) | {"validate": "true"}
        return self._calls.change("AddOrder", form, lambda result: str(result["descr"]["order"]))

    def amend(self, exchange_id: str, request: OrderRequest, now: datetime) -> None:
        """Change an open order in place; one whose nonce was overtaken is safely sent again."""
        form: dict[str, Any] = {"txid": exchange_id, "order_qty": _plain(request.quantity)}
        if request.price is not None:
            resting = request.type in (OrderType.LIMIT, OrderType.ICEBERG)
            form["limit_price" if resting else "trigger_price"] = _plain(request.price)

        def send() -> None:
            dated = form | self._deadline.field()
            self._changed("AmendOrder", dated, lambda result: str(result["amend_id"]))

        self._in_time(send)
        if self._trading_budget is not None:
            self._trading_budget.amended(exchange_id)

    def cancel(self, exchange_id: str) -> None:
        """Cancel one order; a cancel whose nonce was overtaken is safely sent again."""
        self._cancelled("CancelOrder", {"txid": exchange_id})
        if self._trading_budget is not None:
            self._trading_budget.cancelling(exchange_id)

    def cancel_all(self) -> int:
        """Cancel every open order of the account; how many."""
        return self._cancelled("CancelAll", {})

    def _cancelled(self, call: str, form: dict[str, Any]) -> int:
        return self._changed(call, form, _count)

    def _changed(self, call: str, form: dict[str, Any], parse: Callable[[Any], T]) -> T:
        """Send what may be sent twice; again where the nonce was refused."""
        for _ in range(2):
            try:
                return self._calls.change(call, form, parse)
            except NonceError:
                continue
        return self._calls.change(call, form, parse)

    def cancel_all_after(self, seconds: int) -> None:
        """Have Kraken cancel all orders unless called again within so many seconds; 0 is off."""
        self._calls.change(
            "CancelAllOrdersAfter", {"timeout": seconds}, lambda result: str(result["triggerTime"])
        )

    def _order_form(self, request: OrderRequest, row: KrakenPair) -> dict[str, Any]:
        form: dict[str, Any] = {
            "pair": row.id,
            "type": request.side.value,
            "ordertype": request.type.value,
            "volume": _plain(request.quantity),
            "oflags": "fciq,post" if request.post_only else "fciq",
            "cl_ord_id": request.order_id,
        }
        if request.price is not None:
            form["price"] = _plain(request.price)
        if request.side is Side.SELL:
            form["stptype"] = request.self_trade
        return form | self._deadline.field()

    # ── orders, page by page ───────────────────────────────────────────────────────────────

    def _open(self, filters: dict[str, Any]) -> tuple[Order, ...]:
        names = self._names()
        # Asked for one of ours, what cannot be read is a fault; among all it may be another's.
        read = answers.orders if filters else answers.readable_orders
        found = self._calls.private(
            "OpenOrders", filters, lambda result: read(result["open"], names)
        )
        return self._remembered(sorted(found, key=lambda o: (o.opened_at, o.exchange_id)))

    def _closed(self, since: datetime, filters: dict[str, Any]) -> tuple[Order, ...]:
        names = self._names()
        since = self._deadline.earlier(since)
        rows = self._pages(
            "ClosedOrders", "closed", {"start": _start(since), "closetime": "close", **filters}
        )
        found = answers.read_as("ClosedOrders", lambda r: answers.orders(r, names), rows)
        recent = [order for order in found if (order.closed_at or order.opened_at) >= since]
        return self._remembered(
            sorted(recent, key=lambda o: (o.closed_at or o.opened_at, o.exchange_id))
        )

    def _orders_by_id(self, exchange_ids: list[str]) -> dict[str, Order]:
        names = self._names()
        found: dict[str, Order] = {}
        for first in range(0, len(exchange_ids), PAGE):
            some = ",".join(exchange_ids[first : first + PAGE])
            orders = self._calls.private(
                "QueryOrders", {"txid": some}, lambda result: answers.orders(result, names)
            )
            found.update((order.exchange_id, order) for order in self._remembered(orders))
        return found

    def _pages(self, call: str, key: str, form: dict[str, Any]) -> dict[str, Any]:
        """All entries of a paged answer; entries that arrive meanwhile only shift the pages."""
        rows: dict[str, Any] = {}
        seen = 0
        while True:
            found, count = self._calls.private(
                call, {**form, "ofs": seen}, lambda result: answers.page(result, key)
            )
            if found and found.keys() <= rows.keys():
                raise UnexpectedAnswer(
                    f"Kraken's answer to {call} repeats itself from entry {seen} on of {count}"
                )
            rows.update(found)
            seen += len(found)
            if not found or (seen >= count if count is not None else len(found) < PAGE):
                return rows

    def _remembered(self, orders: Iterable[Order]) -> tuple[Order, ...]:
        kept = tuple(orders)
        for order in kept:
            self._remember(order.exchange_id, order.order_id)
        return kept

    def _remember(self, exchange_id: str, order_id: str) -> None:
        self._metadata.own_ids[exchange_id] = answers.own_id(order_id)

    def _forget_old_ids(self) -> None:
        """Own ids of long ago are asked for again where they are wanted."""
        known = self._metadata.own_ids
        if len(known) > _IDS_KEPT:
            for old in list(known)[: _IDS_KEPT // 2]:
                del known[old]

    def _own_ids(self, exchange_ids: Iterable[str]) -> Mapping[str, str]:
        """Our ids of orders: fills do not bear them, so unknown ones are asked for once."""
        known = self._metadata.own_ids
        unknown = sorted({each for each in exchange_ids if each not in known})
        for first in range(0, len(unknown), PAGE):
            some = unknown[first : first + PAGE]
            try:
                self._learn_ids(some)
            except OrderNotFound:
                self._ask_one_by_one(some)
            for exchange_id in some:
                self._metadata.own_ids.setdefault(exchange_id, "")
        return self._metadata.own_ids

    def _learn_ids(self, exchange_ids: list[str]) -> None:
        """Read no more of the orders than their ids: they may be others', of any kind."""
        form = {"txid": ",".join(exchange_ids)}
        self._metadata.own_ids.update(self._calls.private("QueryOrders", form, answers.own_ids))

    def _ask_one_by_one(self, exchange_ids: list[str]) -> None:
        for exchange_id in exchange_ids:
            try:
                self._learn_ids([exchange_id])
            except OrderNotFound:
                self._metadata.own_ids[exchange_id] = ""

    # ── metadata ───────────────────────────────────────────────────────────────────────────

    def _row(self, pair: Pair) -> KrakenPair:
        return self._names().of(pair)

    def _names(self, most_s: float | None = None) -> KrakenNames:
        with self._lock:
            known = self._metadata.names
            age = time.monotonic() - self._metadata.read_at_s
            if known is not None and age < (self._metadata_s if most_s is None else most_s):
                return known
            try:
                found = self._read_names()
            except ExchangeError:
                if known is None:
                    raise
                found = known  # the old rules serve until Kraken answers again
            self._metadata.names = found
            self._metadata.read_at_s = time.monotonic()
            return found

    def _read_names(self) -> KrakenNames:
        assets = self._calls.public("Assets", {}, dict)
        before = self._metadata.names
        return self._calls.public(
            "AssetPairs", {}, lambda pairs: KrakenNames(assets, pairs, before)
        )


def _start(since: datetime) -> int:
    """`start` is exclusive at Kraken, and whole seconds are what it surely takes."""
    return max(0, int(since.timestamp()) - 1)


def _plain(number: Decimal) -> str:
    """A number without an exponent."""
    return format(number, "f")


def _count(result: Any) -> int:
    return int(result["count"])
