"""Kraken's private methods that change something, answered by a sandbox."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trader.domain.errors import OrderNotFound, OrderRejected, Unreachable
from trader.domain.orders import OrderType, Side
from trader.exchanges.kraken_limits import Action, DecayingCounter, Tier, trading_cost
from trader.exchanges.markets import Market
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.wire.account import AccountMethods
from trader.exchanges.wire.forms import Form, Refused, invalid, rfc3339, to_number
from trader.exchanges.wire.keys import ApiKey
from trader.exchanges.wire.public import PublicMethods
from trader.exchanges.wire.words import describe, describe_close, fixed
from trader.simulation.orders import (
    TRAILING_TYPES,
    TRIGGERED_LIMIT_TYPES,
    CloseSpec,
    OrderRecord,
    OrderSpec,
    own_id_key,
    record_id,
)
from trader.simulation.path import from_us, to_us

_ORDER_ID = re.compile(r"O[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{6}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_FREE_ID = re.compile(r"[\x21-\x7e]{1,18}")
_FLAGS = frozenset({"post", "fcib", "fciq", "nompp", "viqc"})
_STP = frozenset({"cancel-newest", "cancel-oldest", "cancel-both"})
_MICROSECOND = 1_000_000
_LATEST_DEADLINE = timedelta(seconds=60)
_SHORTEST_LIFE_S = 5
_MONTH_S = 31 * 86400
_LONGEST_SWITCH_S = 86400


class TradingMethods:
    """What the owner of a key may change.

    Args:
        exchange: where orders go.
        public: names of the markets, mode of the exchange.
        account: orders by id.
        tier: limits; None for none.
    """

    def __init__(
        self,
        exchange: SandboxExchange,
        public: PublicMethods,
        account: AccountMethods,
        tier: Tier | None = None,
    ) -> None:
        self._exchange = exchange
        self._public = public
        self._account = account
        self._tier = tier
        self._counters: dict[str, DecayingCounter] = {}
        self._switch_at: datetime | None = None
        self._lock = threading.RLock()
        self.methods: Mapping[str, Callable[[Form, ApiKey], Any]] = {
            "AddOrder": self.add,
            "AddOrderBatch": self.add_batch,
            "EditOrder": self.edit,
            "AmendOrder": self.amend,
            "CancelOrder": self.cancel,
            "CancelOrderBatch": self.cancel_batch,
            "CancelAll": self.cancel_all,
            "CancelAllOrdersAfter": self.cancel_all_after,
        }

    # ── new orders ─────────────────────────────────────────────────────────────────────────

    def add(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """One order, or its check only."""
        market = self._named_market(form)
        self._count(market, Action.ADD)
        self._in_time(form)
        spec = self._spec(form, market)
        validate = form.flag("validate")
        record = self._submit(spec, market, validate=validate)
        found: dict[str, Any] = {"descr": _description(spec, market)}
        if not validate:
            found["txid"] = [record.id]
        return found

    def add_batch(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """2 to 15 orders on one pair; a fault in the form of one refuses them all."""
        market = self._named_market(form)
        orders = form.raw("orders")
        if not isinstance(orders, list) or not 2 <= len(orders) <= 15:
            raise invalid("orders")
        if not all(isinstance(order, dict) for order in orders):
            raise invalid("orders")
        self._count(market, Action.ADD, len(orders) / 2)
        self._in_time(form)
        validate = form.flag("validate")
        specs = [self._spec(Form(order), market) for order in orders]
        for spec in specs:
            self._check_form(spec, market)
        return {"orders": [self._batch_entry(spec, market, validate) for spec in specs]}

    def _batch_entry(self, spec: OrderSpec, market: Market, validate: bool) -> dict[str, Any]:
        try:
            record = self._submit(spec, market, validate=validate)
        except Refused as refusal:
            return {"error": refusal.text}
        description = _description(spec, market)
        entry: dict[str, Any] = {"descr": {"order": description["order"]}}
        if not validate:
            entry = {"txid": record.id, **entry}
        if "close" in description:
            entry["close"] = description["close"]
        return entry

    def _check_form(self, spec: OrderSpec, market: Market) -> None:
        """Refuse the whole batch for what is wrong with an order in itself."""
        try:
            self._submit(spec, market, validate=True)
        except Refused as refusal:
            if not refusal.text.startswith(("EOrder:Insufficient funds", "EOrder:Post only")):
                raise

    def _submit(self, spec: OrderSpec, market: Market, *, validate: bool) -> OrderRecord:
        self._open_for(spec)
        if self._tier and not validate:
            on_pair = len(self._exchange.engine.open_on(spec.pair))
            if on_pair >= self._tier.open_orders_per_pair:
                raise Refused("EOrder:Orders limit exceeded")
        with _refusals(market):
            return self._exchange.submit(spec, validate=validate)

    def _open_for(self, spec: OrderSpec) -> None:
        mode = self._public.status
        if mode == "maintenance":
            raise Refused("EService:Unavailable")
        if mode == "cancel_only" or (mode == "post_only" and not spec.post_only):
            raise Refused(f"EService:Market in {mode} mode")

    def _changes_taken(self) -> None:
        """In `cancel_only` nothing but cancels is taken."""
        if self._public.status == "maintenance":
            raise Refused("EService:Unavailable")
        if self._public.status == "cancel_only":
            raise Refused("EService:Market in cancel_only mode")

    def _named_market(self, form: Form) -> Market:
        if "pair" not in form:
            raise invalid("pair")
        return self._public.market(form.text("pair"))

    # ── changed orders ─────────────────────────────────────────────────────────────────────

    def amend(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Change an open order in place: same id, queue place kept where possible."""
        self._changes_taken()
        record = self._open_record(form)
        market = self._exchange.markets[record.spec.pair]
        self._count(market, Action.AMEND, record=record)
        self._in_time(form)
        side, kind = record.spec.side, record.spec.type
        limit = self._price(form, "limit_price", market, side, kind)
        stop = self._price(form, "trigger_price", market, side, kind)
        quantity = form.decimal("order_qty")
        post_only = form.flag("post_only") if "post_only" in form else None
        display = form.decimal("display_qty")
        if quantity is limit is stop is display is None:
            raise invalid()
        if display is not None and not _may_show(display, quantity or record.quantity):
            raise invalid("display_qty")
        with _refusals(market):
            self._exchange.amend_record(
                record.id,
                quantity=quantity,
                limit=limit,
                stop=stop,
                post_only=post_only,
                display=display,
            )
        return {"amend_id": record_id("T", record.seq, to_us(self._exchange.server_time()))}

    def edit(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Cancel and replace: a new id at the end of the queue; fills stay with the old one."""
        market = self._named_market(form)
        record = self._open_record(form)
        self._count(market, Action.EDIT, record=record)
        self._in_time(form)
        spec = self._edited(record, form, market)
        validate = form.flag("validate")
        with _refusals(market):
            new = self._exchange.replace(record.id, spec, validate=validate)
        found: dict[str, Any] = {
            "status": "ok",
            "txid": new.id,
            "originaltxid": record.id,
            "volume": fixed(spec.quantity, market.rules.lot_decimals),
            "price": fixed(spec.price or Decimal(0), market.rules.price_decimals),
            "price2": fixed(spec.price2 or Decimal(0), market.rules.price_decimals),
            "orders_cancelled": 1,
            "descr": _description(spec, market),
        }
        if validate:
            found = {"status": "ok", "descr": found["descr"]}
        return found

    def _edited(self, record: OrderRecord, form: Form, market: Market) -> OrderSpec:
        old = record.spec
        if old.close is not None or record.triggered_at is not None or old.pair != market.pair:
            raise Refused("EOrder:Invalid order")
        prices = self._prices(form, market, old.side, old.type)
        quantity = form.decimal("volume")
        userref = None
        if "userref" in form:
            userref = form.integer("userref", 0, -(1 << 31), (1 << 31) - 1)
        return replace(
            old,
            quantity=record.remaining if quantity is None else quantity,
            price=old.price if prices.price is None else prices.price,
            price2=old.price2 if prices.price2 is None else prices.price2,
            percent=old.percent if prices.price is None else prices.percent,
            percent2=old.percent2 if prices.price2 is None else prices.percent2,
            post_only="post" in form.names("oflags"),
            client_id="",
            userref=userref,
            starts_at=None,
        )

    def _open_record(self, form: Form) -> OrderRecord:
        """The open order that `txid` (or a unique `userref`) or `cl_ord_id` names."""
        name, own = form.text("txid"), own_id_key(form.text("cl_ord_id"))
        if bool(name) == bool(own):
            raise invalid("txid")
        if name and _ORDER_ID.fullmatch(name):
            found = [self._account.record(name)]
        else:
            found = [
                record
                for record in self._exchange.open_records()
                if (own and own_id_key(record.spec.client_id) == own)
                or (name and str(record.spec.userref) == name)
            ]
        if name and not found and not re.fullmatch(r"-?\d{1,10}", name):
            raise Refused("EOrder:Invalid order")
        if len(found) != 1 or not found[0].is_open:
            raise Refused("EOrder:Unknown order")
        return found[0]

    # ── reading an order ───────────────────────────────────────────────────────────────────

    def _spec(self, form: Form, market: Market) -> OrderSpec:
        side, kind = _word(form, "type", Side), _word(form, "ordertype", OrderType)
        quantity = form.decimal("volume")
        if quantity is None:
            raise invalid("volume")
        _no_margin(form)
        flags = _flags(form)
        prices = self._prices(form, market, side, kind)
        userref, own_id = _references(form)
        in_force = _time_in_force(form)
        starts, expires = self._life(form, in_force)
        return OrderSpec(
            market.pair,
            side,
            kind,
            quantity,
            prices.price,
            prices.price2,
            post_only="post" in flags,
            percent=prices.percent,
            percent2=prices.percent2,
            time_in_force=in_force,
            starts_at=starts,
            expires_at=expires,
            userref=userref,
            client_id=own_id,
            fee_in_base="fcib" in flags,
            quantity_in_quote="viqc" in flags,
            display=_display(form, kind, quantity),
            flags=flags,
            trigger=_trigger(form),
            close=self._close(form, market, side),
            self_trade=_self_trade(form),
        )

    def _prices(self, form: Form, market: Market, side: Side, kind: OrderType) -> _Prices:
        if kind in TRAILING_TYPES:
            return _trailing_prices(form, kind)
        price = self._price(form, "price", market, side, kind)
        price2 = self._price(form, "price2", market, side, kind)
        return _Prices(
            None if kind is OrderType.MARKET else price,
            price2 if kind in TRIGGERED_LIMIT_TYPES else None,
        )

    def _price(
        self, form: Form, name: str, market: Market, side: Side, kind: OrderType
    ) -> Decimal | None:
        """A price; a relative one is counted from the last trade."""
        text = form.price(name)
        if not text:
            return None
        sign, number, percent = _relative(text, name)
        if not sign:
            return number
        try:
            last = self._exchange.ticker(market.pair).last
        except Unreachable:
            raise Refused("EService:Unavailable") from None
        shift = last * number / 100 if percent else number
        upwards = sign == "+" or (sign == "#" and _away_is_up(side, kind))
        return market.rules.price_nearest(last + shift if upwards else last - shift)

    def _life(self, form: Form, in_force: str) -> tuple[int | None, int | None]:
        now = self._exchange.server_time()
        starts, expires = (_moment(form, name, now) for name in ("starttm", "expiretm"))
        if in_force == "GTD" and expires is None:
            raise invalid("expiretm")
        if expires is not None:
            left = expires - to_us(now)
            if not _SHORTEST_LIFE_S * _MICROSECOND <= left <= _MONTH_S * _MICROSECOND:
                raise invalid("expiretm")
        return starts, expires

    def _close(self, form: Form, market: Market, side: Side) -> CloseSpec | None:
        close = form.part("close")
        if not close:
            return None
        kind = _word(close, "ordertype", OrderType, "close[ordertype]")
        if kind is OrderType.MARKET:
            raise invalid("close[ordertype]")
        other = Side.SELL if side is Side.BUY else Side.BUY
        prices = self._prices(close, market, other, kind)
        if prices.price is None:
            raise invalid("close[price]")
        return CloseSpec(kind, prices.price, prices.price2, prices.percent, prices.percent2)

    def _in_time(self, form: Form) -> None:
        if "deadline" not in form:
            return
        deadline, now = rfc3339(form.text("deadline"), "deadline"), self._exchange.server_time()
        if deadline <= now:
            raise Refused("EService:Deadline elapsed")
        if deadline > now + _LATEST_DEADLINE:
            raise invalid("deadline")

    # ── cancels ────────────────────────────────────────────────────────────────────────────

    def cancel(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """By order id, by `userref`, or by the client's own id."""
        self._cancels_taken()
        if "cl_ord_id" in form:
            return {"count": self._cancel_own(form.text("cl_ord_id"))}
        if "txid" not in form:
            raise invalid("txid")
        return {"count": self._cancel_named(form.text("txid"))}

    def cancel_batch(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Up to 50; those that are over are passed by."""
        self._cancels_taken()
        orders, own = form.names("orders"), form.names("cl_ord_ids")
        if not 1 <= len(orders) + len(own) <= 50:
            raise invalid("orders")
        count = 0
        for names, cancel in ((orders, self._cancel_named), (own, self._cancel_own)):
            for name in names:
                try:
                    count += cancel(name)
                except Refused as refusal:
                    if refusal.text != "EOrder:Unknown order":
                        raise
        return {"count": count}

    def _cancel_named(self, name: str) -> int:
        if re.fullmatch(r"-?\d{1,10}", name):
            return self._cancel_records(
                [r for r in self._exchange.open_records() if r.spec.userref == int(name)]
            )
        if not _ORDER_ID.fullmatch(name):
            raise Refused("EOrder:Invalid order")
        return self._cancel_records([self._account.record(name)])

    def _cancel_own(self, own_id: str) -> int:
        wanted = own_id_key(own_id)
        return self._cancel_records(
            [
                record
                for record in self._exchange.open_records()
                if record.spec.client_id and own_id_key(record.spec.client_id) == wanted
            ]
        )

    def _cancel_records(self, records: list[OrderRecord]) -> int:
        open_ones = [record for record in records if record.is_open]
        if not open_ones:
            raise Refused("EOrder:Unknown order")
        for record in open_ones:
            self._count_cancel(record)
            try:
                self._exchange.cancel(record.id)
            except OrderNotFound:
                raise Refused("EOrder:Unknown order") from None
        return len(open_ones)

    def cancel_all(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Every open order."""
        self._cancels_taken()
        return {"count": self._exchange.cancel_all()}

    def cancel_all_after(self, form: Form, key: ApiKey) -> dict[str, Any]:
        """Wind up the switch that cancels all orders when nobody calls again; 0 turns it off."""
        if "timeout" not in form:
            raise invalid("timeout")
        seconds = form.integer("timeout", 0, 0, _LONGEST_SWITCH_S - 1)
        now = self._exchange.server_time()
        with self._lock:
            self._switch_at = now + timedelta(seconds=seconds) if seconds else None
        return {
            "currentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "triggerTime": (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def let_switch_act(self) -> None:
        """Cancel all orders at the moment the switch ran out, if it has."""
        if self._switch_at is None:
            return
        with self._lock:
            due = self._switch_at
            if due is None or self._exchange.server_time() < due:
                return
            self._switch_at = None
            self._exchange.cancel_all_at(due)

    def _cancels_taken(self) -> None:
        if self._public.status == "maintenance":
            raise Refused("EService:Unavailable")

    # ── counters ───────────────────────────────────────────────────────────────────────────

    def _count(
        self,
        market: Market,
        action: Action,
        points: float | None = None,
        record: OrderRecord | None = None,
    ) -> None:
        """Raise the pair's counter, also for an order that is refused afterwards."""
        if self._tier is None:
            return
        now = self._exchange.server_time()
        cost = trading_cost(action, _age_s(record, now)) if points is None else points
        with self._lock:
            counter = self._counter(market.id)
            if counter.add(cost, now.timestamp()) > self._tier.trading_threshold:
                raise Refused("EOrder:Rate limit exceeded")

    def _count_cancel(self, record: OrderRecord) -> None:
        """A cancel raises the counter by the order's youth, and is taken all the same."""
        if self._tier is None:
            return
        now = self._exchange.server_time()
        cost = trading_cost(Action.CANCEL, _age_s(record, now))
        with self._lock:
            market = self._exchange.markets[record.spec.pair]
            self._counter(market.id).add(cost, now.timestamp())

    def _counter(self, market_id: str) -> DecayingCounter:
        decay = self._tier.trading_decay if self._tier else 1.0
        return self._counters.setdefault(market_id, DecayingCounter(decay))


def _age_s(record: OrderRecord | None, now: datetime) -> float:
    if record is None:
        return 0.0
    return (now - from_us(record.amended_at or record.opened_at)).total_seconds()


class _Prices:
    """The two prices of an order; distances of a trailing one may be percent, each for itself."""

    __slots__ = ("percent", "percent2", "price", "price2")

    def __init__(
        self,
        price: Decimal | None,
        price2: Decimal | None = None,
        percent: bool = False,
        percent2: bool = False,
    ) -> None:
        self.price = price
        self.price2 = price2
        self.percent = percent
        self.percent2 = percent2


def _description(spec: OrderSpec, market: Market) -> dict[str, str]:
    found = {"order": describe(spec, market)}
    if spec.close:
        found["close"] = describe_close(spec.close, market.rules)
    return found


@contextmanager
def _refusals(market: Market) -> Iterator[None]:
    """Say in Kraken's words what the exchange refuses."""
    try:
        yield
    except OrderRejected as refusal:
        words = refusal.code or "EOrder:Invalid order"
        # Kraken names the pair by its id in this text.
        shown = words.replace(f"Invalid price:{market.pair} ", f"Invalid price:{market.id} ")
        raise Refused(shown) from refusal
    except OrderNotFound:
        raise Refused("EOrder:Unknown order") from None
    except Unreachable:
        raise Refused("EService:Unavailable") from None


def _word(form: Form, name: str, kind: Any, shown: str = "") -> Any:
    try:
        return kind(form.text(name).lower())
    except ValueError:
        raise invalid(shown or name) from None


def _no_margin(form: Form) -> None:
    if form.text("leverage").lower() not in ("", "none", "0", "1"):
        raise Refused("EOrder:Cannot open position")
    if form.flag("reduce_only"):
        raise Refused("EOrder:Reduce only:No position exists")


def _flags(form: Form) -> tuple[str, ...]:
    flags = form.names("oflags")
    if not set(flags) <= _FLAGS or {"fcib", "fciq"} <= set(flags):
        raise invalid("oflags")
    kept = [flag for flag in dict.fromkeys(flags) if flag != "nompp"]
    return tuple(kept) if {"fcib", "fciq"} & set(kept) else (*kept, "fciq")


def _references(form: Form) -> tuple[int | None, str]:
    own_id = form.text("cl_ord_id")
    userref = None
    if "userref" in form:
        userref = form.integer("userref", 0, -(1 << 31), (1 << 31) - 1)
    if own_id and (
        userref is not None or not (_UUID.fullmatch(own_id) or _FREE_ID.fullmatch(own_id))
    ):
        raise invalid("cl_ord_id")
    return userref, own_id


def _time_in_force(form: Form) -> str:
    word = form.text("timeinforce", "GTC").upper()
    if word not in ("GTC", "IOC", "GTD", "FOK"):
        raise invalid("timeinforce")
    return word


def _self_trade(form: Form) -> str:
    word = form.text("stptype", "cancel-newest")
    if word not in _STP:
        raise invalid("stptype")
    return word


def _trigger(form: Form) -> str:
    word = form.text("trigger", "last")
    if word not in ("last", "index"):
        raise invalid("trigger")
    if word == "index":
        raise Refused("EGeneral:Invalid arguments:Index unavailable")
    return word


def _display(form: Form, kind: OrderType, quantity: Decimal) -> Decimal | None:
    display = form.decimal("displayvol")
    if kind is not OrderType.ICEBERG:
        return None
    if display is None or not _may_show(display, quantity):
        raise invalid("displayvol")
    return display


def _may_show(display: Decimal, quantity: Decimal) -> bool:
    return display.is_finite() and quantity / 15 <= display <= quantity


def _relative(text: str, name: str) -> tuple[str, Decimal, bool]:
    """Sign (`+`, `-`, `#` or none), number and whether it is percent."""
    sign = text[0] if text[0] in "+-#" else ""
    rest = text[len(sign) :]
    percent = rest.endswith("%")
    number = to_number(rest.removesuffix("%"), name)
    if (percent and not sign) or not number.is_finite() or number < 0:
        raise invalid(name)
    return sign, number, percent


def _trailing_prices(form: Form, kind: OrderType) -> _Prices:
    text = form.price("price")
    if not text.startswith("+"):
        raise invalid("price")
    _, offset, percent = _relative(text, "price")
    if kind is not OrderType.TRAILING_STOP_LIMIT:
        return _Prices(offset, None, percent)
    text2 = form.price("price2")
    if text2[:1] not in ("+", "-"):
        raise invalid("price2")
    sign, shift, percent2 = _relative(text2, "price2")
    return _Prices(offset, -shift if sign == "-" else shift, percent, percent2)


def _away_is_up(side: Side, kind: OrderType) -> bool:
    """Whether `#` adds: stops lie behind the market, limits and targets before it."""
    stop = kind in (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
    return (side is Side.BUY) == stop


def _moment(form: Form, name: str, now: datetime) -> int | None:
    """0, a Unix time, or `+seconds`."""
    text = form.price(name)
    if text.startswith("+"):
        seconds = to_number(text[1:], name)
        if not 0 <= seconds <= _MONTH_S:
            raise invalid(name)
        return to_us(now) + int(seconds * _MICROSECOND) if seconds else None
    return form.moment(name)
