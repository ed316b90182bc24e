"""Kraken's private methods that only read, answered from a sandbox's account."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import Any, Protocol, TypeVar

from trader.domain.errors import Unreachable
from trader.domain.markets import Pair
from trader.domain.orders import Liquidity
from trader.exchanges.markets import Asset, asset_named
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.wire.forms import Form, Refused, invalid, to_number
from trader.exchanges.wire.keys import ApiKey, KeyRing
from trader.exchanges.wire.public import PublicMethods
from trader.exchanges.wire.words import fixed, ledger_object, order_object, trade_object
from trader.simulation.costs import fee_tier
from trader.simulation.orders import LedgerEntry, OrderRecord, TradeRecord, own_id_key


class _Dated(Protocol):
    @property
    def at(self) -> int:
        """Its moment, microseconds."""
        ...


T = TypeVar("T")
E = TypeVar("E", bound=_Dated)

PAGE = 50
MOST_ORDERS = 50
MOST_TRADES = 20
_TRADE_TYPES = frozenset(
    {"all", "any position", "closed position", "closing position", "no position"}
)
_MICROSECOND = 1_000_000
_LATEST_S = 10**12


class AccountMethods:
    """What the owner of a key may read."""

    def __init__(self, exchange: SandboxExchange, public: PublicMethods, keys: KeyRing) -> None:
        self._exchange = exchange
        self._public = public
        self._keys = keys
        self._trades_by_id: dict[str, TradeRecord] = {}
        self._lock = threading.Lock()
        self.methods: Mapping[str, Callable[[Form, ApiKey], Any]] = {
            "Balance": self.balance,
            "BalanceEx": self.balance_ex,
            "TradeBalance": self.trade_balance,
            "OpenOrders": self.open_orders,
            "ClosedOrders": self.closed_orders,
            "QueryOrders": self.query_orders,
            "TradesHistory": self.trades_history,
            "QueryTrades": self.query_trades,
            "OpenPositions": self.open_positions,
            "Ledgers": self.ledgers,
            "QueryLedgers": self.query_ledgers,
            "TradeVolume": self.trade_volume,
            "GetApiKeyInfo": self.key_info,
            "GetWebSocketsToken": self.token,
        }

    # ── balances and fees ──────────────────────────────────────────────────────────────────

    def balance(self, form: Form, key: ApiKey) -> dict[str, str]:
        """Totals, what orders hold included."""
        return {a.id: fixed(b.total, a.decimals) for a, b in self._balances()}

    def balance_ex(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Totals and what orders hold."""
        return {
            asset.id: {
                "balance": fixed(balance.total, asset.decimals),
                "hold_trade": fixed(balance.held, asset.decimals),
            }
            for asset, balance in self._balances()
        }

    def _balances(self) -> list[tuple[Asset, Any]]:
        named = ((asset_named(name), b) for name, b in self._exchange.balances().items())
        return [(asset, balance) for asset, balance in named if asset is not None]

    def trade_balance(self, form: Form, key: ApiKey) -> dict[str, str]:
        """Worth of all balances in one currency; there is no margin here."""
        wanted = asset_named(form.text("asset", "ZUSD"))
        if wanted is None:
            raise Refused("EQuery:Unknown asset")
        parts = (self._worth(a.name, b.total, wanted.name) for a, b in self._balances())
        equity = fixed(sum(parts, Decimal(0)), 4)
        nothing = "0.0000"
        return {
            "eb": equity, "tb": equity, "m": nothing, "uv": nothing, "n": nothing, "c": nothing,
            "v": nothing, "e": equity, "mf": equity, "mfo": equity,
        }  # fmt: skip

    def _worth(self, asset: str, amount: Decimal, currency: str) -> Decimal:
        if asset == currency:
            return amount
        pair, back = Pair(asset, currency), Pair(currency, asset)
        try:
            if pair in self._exchange.markets:
                return amount * self._exchange.ticker(pair).last
            if back in self._exchange.markets:
                return amount / self._exchange.ticker(back).last
        except Unreachable:
            pass
        return Decimal(0)

    def trade_volume(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """30-day volume and the fees of the pairs asked for."""
        volume = self._exchange.volume_30d()
        names = form.names("pair")
        found: dict[str, Any] = {
            "currency": "ZUSD", "volume": fixed(volume, 4), "fees": None, "fees_maker": None,
        }  # fmt: skip
        if names:
            markets = [self._public.market(name) for name in names]
            found["fees"] = {m.id: self._fee(m.pair, volume, maker=False) for m in markets}
            found["fees_maker"] = {m.id: self._fee(m.pair, volume, maker=True) for m in markets}
        return found

    def _fee(self, pair: Pair, volume: Decimal, *, maker: bool) -> dict[str, str | None]:
        rates = self._exchange.fee_rates(pair)
        rate = (rates.maker if maker else rates.taker) * 100
        day = self._exchange.server_time().date()
        tier, following = fee_tier(day, pair.base, volume)
        highest, lowest = fee_tier(day, pair.base)[0], fee_tier(day, pair.base, Decimal(10**12))[0]
        column = 1 if maker else 2
        nextfee = None if following is None else fixed(Decimal(following[column]), 4)
        return {
            "fee": fixed(rate, 4),
            "minfee": fixed(min(rate, Decimal(lowest[column])), 4),
            "maxfee": fixed(max(rate, Decimal(highest[column])), 4),
            "nextfee": nextfee,
            "tiervolume": fixed(Decimal(tier[0]), 4),
            "nextvolume": None if following is None else fixed(Decimal(following[0]), 4),
        }

    # ── orders ─────────────────────────────────────────────────────────────────────────────

    def open_orders(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """All open orders, newest first."""
        found = _chosen(form, self._exchange.open_records())
        return {"open": self._orders(reversed(found), form)}

    def closed_orders(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Orders that are over, newest first, 50 a page."""
        which = form.text("closetime", "both")
        if which not in ("open", "close", "both"):
            raise invalid("closetime")
        ended = [r for r in self._candidates(form) if r.closed_at is not None]
        orders = self._exchange.engine.orders
        start, end = _bounds(form, lambda txid: orders[txid].closed_at or 0)

        def moments(record: OrderRecord) -> Iterable[int]:
            both = {"open": record.opened_at, "close": record.closed_at or 0}
            return both.values() if which == "both" else (both[which],)

        chosen = [r for r in _chosen(form, ended) if _any_within(moments(r), start, end)]
        chosen.sort(key=lambda r: (r.closed_at or 0, r.seq), reverse=True)
        return self._page("closed", form, chosen, PAGE, lambda part: self._orders(part, form))

    def query_orders(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Orders by id, or by the client's own id."""
        wanted = form.names("txid")
        if not wanted and "cl_ord_id" in form:
            return self._orders(_chosen(form, self._candidates(form)), form)
        if not 1 <= len(wanted) <= MOST_ORDERS:
            raise invalid("txid")
        return self._orders(_chosen(form, [self.record(txid) for txid in wanted]), form)

    def record(self, txid: str) -> OrderRecord:
        """An order by its id.

        Raises:
            Refused: if it was never issued.
        """
        found = self._exchange.engine.orders.get(txid)
        if found is None:
            raise Refused("EOrder:Invalid order")
        return self._exchange.record(txid)

    def _candidates(self, form: Form) -> Iterable[OrderRecord]:
        """All orders, or those with the client's own id where one is given."""
        own = form.text("cl_ord_id")
        return self._exchange.named(own) if own else self._exchange.records()

    def _orders(self, records: Iterable[OrderRecord], form: Form) -> dict[str, Any]:
        markets = self._exchange.markets
        found = {r.id: order_object(r, markets[r.spec.pair], trades=False) for r in records}
        if form.flag("trades"):
            known = self._known_trades()
            merge = form.flag("consolidate_taker", default=True)
            for txid, shown in found.items():
                own = [known[name] for name in self._exchange.engine.orders[txid].trades]
                if own:
                    shown["trades"] = [t.id for t in (merged_takers(own) if merge else own)]
        return found

    def _known_trades(self) -> dict[str, TradeRecord]:
        everything = self._exchange.trades()
        with self._lock:
            self._trades_by_id |= {t.id: t for t in everything[len(self._trades_by_id) :]}
            return self._trades_by_id

    # ── trades and ledger ──────────────────────────────────────────────────────────────────

    def trades_history(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Fills, newest first; those of one taker order are one unless asked otherwise."""
        kind = form.text("type", "all")
        if kind not in _TRADE_TYPES:
            raise invalid("type")
        everything = self._exchange.trades() if kind in ("all", "no position") else ()
        if form.flag("consolidate_taker", default=True):
            everything = tuple(merged_takers(everything))
        start, end = _bounds(form, lambda txid: {t.id: t.at for t in everything}[txid])
        wanted = {self._public.market(name).pair for name in form.names("pair")}
        chosen = [
            trade
            for trade in _newest(everything, start)
            if _within(trade.at, start, end) and (not wanted or trade.pair in wanted)
        ]
        size = form.integer("limit", PAGE, 1, 100)
        return self._page("trades", form, chosen, size, lambda part: self._trades(part, form))

    def query_trades(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Fills by id."""
        wanted = form.names("txid")
        if not 1 <= len(wanted) <= MOST_TRADES:
            raise invalid("txid")
        known = self._known_trades()
        if any(txid not in known for txid in wanted):
            raise Refused("EQuery:Invalid trade")
        return self._trades([known[txid] for txid in wanted], form)

    def _trades(self, trades: Iterable[TradeRecord], form: Form) -> dict[str, Any]:
        ledgers = form.flag("ledgers")
        markets = self._exchange.markets
        return {t.id: trade_object(t, markets[t.pair], ledgers=ledgers) for t in trades}

    def open_positions(self, form: Form, key: ApiKey) -> Any:
        """None: there is no margin here. Kraken answers an array when asked by market."""
        return [] if form.text("consolidation") == "market" else {}

    def ledgers(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Movements of balances, newest first, 50 a page."""
        everything = self._exchange.ledger()
        start, end = _bounds(form, lambda name: {e.id: e.at for e in everything}[name])
        kind = form.text("type", "all")
        wanted = {self._asset_name(name) for name in form.names("asset") if name != "all"}
        chosen = [
            entry
            for entry in _newest(everything, start)
            if _within(entry.at, start, end)
            and kind in ("all", entry.type)
            and (not wanted or entry.asset in wanted)
        ]
        return self._page("ledger", form, chosen, PAGE, self._entries)

    def query_ledgers(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Movements by id."""
        wanted = form.names("id")
        if not 1 <= len(wanted) <= MOST_TRADES:
            raise invalid("id")
        known = {entry.id: entry for entry in self._exchange.ledger()}
        if any(name not in known for name in wanted):
            raise Refused("EQuery:Unknown ledger")
        return self._entries([known[name] for name in wanted])

    def _asset_name(self, name: str) -> str:
        found = asset_named(name)
        if found is None:
            raise Refused("EQuery:Unknown asset")
        return found.name

    def _entries(self, entries: Iterable[LedgerEntry]) -> dict[str, Any]:
        named = ((entry, asset_named(entry.asset)) for entry in entries)
        return {entry.id: ledger_object(entry, asset) for entry, asset in named if asset}

    # ── pages ──────────────────────────────────────────────────────────────────────────────

    def _page(
        self,
        key: str,
        form: Form,
        chosen: list[T],
        size: int,
        render: Callable[[list[T]], dict[str, Any]],
    ) -> dict[str, Any]:
        first = form.integer("ofs", 0, 0, 10**9)
        found: dict[str, Any] = {key: render(chosen[first : first + size])}
        if not form.flag("without_count"):
            found["count"] = len(chosen)
        return found

    # ── the key ────────────────────────────────────────────────────────────────────────────

    def key_info(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """What the key may do."""
        return {
            "api_key_name": key.name,
            "api_key": key.key,
            "nonce": str(max(0, self._keys.highest_nonce(key.key))),
            "nonce_window": str(key.nonce_window),
            "permissions": sorted(key.permissions),
            "iban": "",
            "valid_until": "0",
            "query_from": "0",
            "query_to": "0",
            "created_time": str(key.created_at_s),
            "modified_time": str(key.created_at_s),
            "ip_allowlist": [],
            "last_used": str(int(self._exchange.server_time().timestamp())),
        }

    def token(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """A token for the WebSocket interface."""
        return {"token": secrets.token_urlsafe(32), "expires": 900}


def merged_takers(trades: Iterable[TradeRecord]) -> Iterator[TradeRecord]:
    """Fills, those in which an order took several levels at once made into one.

    It bears the id and number of the first, and the mean price.
    """
    for _, group in groupby(trades, key=_one_taking):
        parts = list(group)
        cost, quantity = sum(t.cost for t in parts), sum(t.quantity for t in parts)
        yield (
            parts[0]
            if len(parts) == 1
            else replace(
                parts[0],
                price=Decimal(cost / quantity),
                quantity=Decimal(quantity),
                cost=Decimal(cost),
                fee=Decimal(sum(t.fee for t in parts)),
                fee_base=Decimal(sum(t.fee_base for t in parts)),
                ledgers=tuple(name for t in parts for name in t.ledgers),
            )
        )


def _one_taking(trade: TradeRecord) -> tuple[object, ...]:
    maker = trade.liquidity is Liquidity.MAKER
    return (trade.id,) if maker else (trade.order_id, trade.at)


def _chosen(form: Form, records: Iterable[OrderRecord]) -> list[OrderRecord]:
    """Those that bear the wanted `userref` and `cl_ord_id`."""
    userref = form.integer("userref", 0, -(1 << 31), (1 << 31) - 1) if "userref" in form else None
    own = own_id_key(form.text("cl_ord_id"))
    return [
        record
        for record in records
        if (userref is None or record.spec.userref == userref)
        and (not own or own_id_key(record.spec.client_id) == own)
    ]


def _bounds(form: Form, moment_of: Callable[[str], int]) -> tuple[int | None, int | None]:
    """`start` (exclusive) and `end` (inclusive): Unix times, or ids of entries."""
    return _bound(form, "start", moment_of), _bound(form, "end", moment_of)


def _bound(form: Form, name: str, moment_of: Callable[[str], int]) -> int | None:
    text = form.text(name)
    if not text:
        return None
    if "-" in text[1:]:
        try:
            return moment_of(text)
        except KeyError:
            raise invalid(name) from None
    number = to_number(text, name)
    if not 0 <= number < _LATEST_S:
        raise invalid(name)
    return int(number * _MICROSECOND)


def _newest(entries: tuple[E, ...], start: int | None) -> Iterator[E]:
    """Entries later than `start`, newest first; they are kept in the order of their moments."""
    for entry in reversed(entries):
        if start is not None and entry.at <= start:
            return
        yield entry


def _within(at: int, start: int | None, end: int | None) -> bool:
    return (start is None or at > start) and (end is None or at <= end)


def _any_within(moments: Iterable[int], start: int | None, end: int | None) -> bool:
    return any(_within(at, start, end) for at in moments)
