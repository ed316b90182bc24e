"""The matching engine: orders and the market's path in, fills out. Pure.

It knows no clock, disk or chance: moments come in as arguments, ids from a seed and counters, the
path from whoever asks. The result does not depend on how finely time is advanced, because every
event is computed from the whole candle and happens at its own moment.

Rules of execution:

* A taker (market order, marketable limit, triggered stop) fills at once and in full, at the
  path's price then, worsened by the slippage and rounded against it.
* A resting limit order fills as maker at its price when the path goes beyond it, touching is not
  enough; per candle all resting orders of a pair share a part of the volume.
* A stop or target triggers when the path reaches it; where a candle opens beyond it, the opening
  price counts.
* What opens or rests holds its funds: quote with fee for a buy, base for a sell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import TypeAlias

from trader.domain.errors import (
    BelowMinimum,
    InsufficientFunds,
    OrderNotFound,
    OrderRejected,
    UnknownPair,
)
from trader.domain.markets import FeeRates, MarketRules, Pair
from trader.domain.orders import Liquidity, OrderType, Side
from trader.simulation.costs import STABLE_BASES, Costs, fee_of, taker_price
from trader.simulation.orders import (
    LIMIT_TYPES,
    STOP_TYPES,
    TRAILING_TYPES,
    TRIGGERED_LIMIT_TYPES,
    TRIGGERED_TYPES,
    ZERO,
    LedgerEntry,
    OrderRecord,
    OrderSpec,
    TradeRecord,
    record_id,
)
from trader.simulation.path import (
    Knot,
    Stretch,
    crossing,
    first_touch,
    from_us,
    path,
    price_at,
    reaches,
)

Source: TypeAlias = Callable[[Pair, int, int, float, float], Iterable[Stretch]]
"""(pair, after, until, falls_to, rises_to) → the stretches that overlap (after, until], oldest
first; those that neither fall to the one price nor rise to the other may be left out."""

MONTH_US = 30 * 86_400_000_000
INFINITE = float("inf")
ID_TAKEN = "EGeneral:Invalid arguments:cl_ord_id not unique"
LARGEST = Decimal(10) ** 15


@dataclass(slots=True)
class Changes:
    """What has changed since it was last asked for, so that only this need be stored."""

    orders: set[str] = field(default_factory=set)
    trades: list[str] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.orders or self.trades or self.ledger)


@dataclass(frozen=True, slots=True)
class EngineState:
    """Everything needed to go on where an engine stopped.

    Attributes:
        now: microseconds.
        orders: all of them, oldest first; likewise trades and ledger.
        used: pair → start of the candle and base its resting orders already got of it.
    """

    now: int
    orders: tuple[OrderRecord, ...]
    trades: tuple[TradeRecord, ...]
    ledger: tuple[LedgerEntry, ...]
    used: Mapping[Pair, tuple[int, Decimal]]


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happens to one order at one moment."""

    at: int
    rank: int
    seq: int
    order: OrderRecord
    price: Decimal
    stretch: Stretch | None = None

    def __lt__(self, other: _Event) -> bool:
        return (self.at, self.rank, self.seq) < (other.at, other.rank, other.seq)


class MatchingEngine:
    """One account at a simulated exchange.

    Args:
        rules: the markets and their rules.
        costs: fees and slippage.
        seed: of the ids.
        now: first moment, microseconds.
        stops_hold: whether resting stops and targets hold funds as limit orders do.
    """

    def __init__(
        self,
        rules: Mapping[Pair, MarketRules],
        costs: Costs | None = None,
        *,
        seed: int = 0,
        now: int = 0,
        stops_hold: bool = True,
    ) -> None:
        self.rules = dict(rules)
        self.costs = costs or Costs()
        self.seed = seed
        self.now = now
        self.orders: dict[str, OrderRecord] = {}
        self.trades: dict[str, TradeRecord] = {}
        self.ledger: list[LedgerEntry] = []
        self.changes = Changes()
        self._stops_hold = stops_hold
        self._open: dict[str, OrderRecord] = {}
        self._balances: dict[str, Decimal] = {}
        self._held: dict[str, Decimal] = {}
        self._decimals = _decimals_of(rules)
        self.used: dict[Pair, tuple[int, Decimal]] = {}
        self._volumes: list[tuple[int, Decimal]] = []
        self._orders_made = 0

    def restore(self, state: EngineState) -> None:
        """Take over a stored account in place of this one."""
        self.now = state.now
        self.orders = {record.id: record for record in state.orders}
        self.trades = {trade.id: trade for trade in state.trades}
        self.ledger = list(state.ledger)
        self.changes = Changes()
        self.used = dict(state.used)
        self._open = {record.id: record for record in state.orders if record.is_open}
        self._balances = {entry.asset: entry.balance for entry in state.ledger}
        self._orders_made = max((record.seq for record in state.orders), default=0)
        self._held = {}
        for record in self._open.values():
            if record.held:
                self._held[record.held_asset] = self.held(record.held_asset) + record.held
        self._volumes = [(t.at, t.cost) for t in state.trades if t.pair.base not in STABLE_BASES]

    # ---- the account

    @property
    def open_orders(self) -> tuple[OrderRecord, ...]:
        """Orders that can still fill, oldest first."""
        return tuple(self._open.values())

    def total(self, asset: str) -> Decimal:
        """Balance, held part included."""
        return self._balances.get(asset, ZERO)

    def held(self, asset: str) -> Decimal:
        """Part of the balance bound by open orders."""
        return self._held.get(asset, ZERO)

    def available(self, asset: str) -> Decimal:
        """What a new order may use."""
        return self.total(asset) - self.held(asset)

    def assets(self) -> tuple[str, ...]:
        """Every asset that was ever held, in the order of the first movement."""
        return tuple(self._balances)

    def deposit(self, asset: str, amount: Decimal, at: int) -> LedgerEntry:
        """Bring money in, or take it out with a negative amount.

        Raises:
            InsufficientFunds: if more is taken out than is free.
        """
        if amount + self.available(asset) < 0:
            raise InsufficientFunds(f"only {self.available(asset)} {asset} are free")
        kind = "deposit" if amount >= 0 else "withdrawal"
        refid = record_id("F", self.seed, len(self.ledger) + 1)
        return self._book(asset, amount, ZERO, at, kind, refid)

    def volume_30d(self, at: int) -> Decimal:
        """Traded in the last 30 days, in quote; pairs of stablecoins do not count."""
        return sum((v for t, v in self._volumes if t > at - MONTH_US), ZERO)

    def rates(self, pair: Pair, at: int) -> FeeRates:
        """Fees in force for the account."""
        volume = self.volume_30d(at) if self.costs.tiers_by_volume else ZERO
        return self.costs.rates(from_us(at).date(), pair.base, volume)

    # ---- orders

    def submit(
        self,
        spec: OrderSpec,
        at: int,
        price: Decimal | None,
        *,
        reference: Decimal | None = None,
        validate: bool = False,
    ) -> OrderRecord:
        """Take an order in; what can execute at once does.

        Args:
            spec: the order.
            at: now; the engine must have been advanced to it.
            price: the path's price now, None while the market does not trade (the order waits
                for the next candle then).
            reference: the last known price, for what a waiting order binds.
            validate: only check; nothing is kept.

        Raises:
            OrderRejected: if it breaks a rule of the market (`BelowMinimum`,
                `InsufficientFunds` among them); nothing happened.
            UnknownPair: if there is no such market.
        """
        rules = self._rules_for(spec.pair)
        expected = reference if price is None else price
        check_order(spec, rules, expected)
        _check_times(spec, at)
        self._check_client_id(spec)
        record = self._new_record(spec, at)
        self._set_prices(record, price)
        if spec.post_only and self._is_marketable(record, price):
            raise OrderRejected(
                f"post-only {spec.side} at {spec.price} would trade at once",
                "Place it further from the market.",
                "EOrder:Post only order",
            )
        asset, amount = self._funds_needed(record, expected)
        if amount > self.available(asset):
            raise InsufficientFunds(
                f"{spec.side} {spec.quantity} {spec.pair} needs {amount} {asset}, "
                f"{self.available(asset)} are free",
                "Reduce the quantity, or cancel an order that holds funds.",
                "EOrder:Insufficient funds",
            )
        if not validate:
            self._accept(record, at, price, expected)
        return record

    def cancel(self, order_id: str, at: int, reason: str = "User requested") -> OrderRecord:
        """End an open order.

        Raises:
            OrderNotFound: if it is not open.
        """
        record = self._open.get(order_id)
        if record is None:
            known = order_id in self.orders
            raise OrderNotFound(
                f"order {order_id} is {self.orders[order_id].status if known else 'not known'}",
                "Ask for the order to see how it ended." if known else "",
            )
        self._finish(record, "canceled", at, reason)
        return record

    def cancel_all(self, at: int) -> int:
        """End every open order; how many there were."""
        ended = self.open_orders
        for record in ended:
            self._finish(record, "canceled", at, "User requested")
        return len(ended)

    def amend(
        self,
        order_id: str,
        at: int,
        price: Decimal | None,
        *,
        quantity: Decimal | None = None,
        limit: Decimal | None = None,
        stop: Decimal | None = None,
        post_only: bool | None = None,
    ) -> OrderRecord:
        """Change an open order in place; what is None stays as it is.

        A quantity that is already executed cancels the rest.

        Args:
            order_id: the order.
            at: now; the engine must have been advanced to it.
            price: the path's price now, None while the market does not trade.
            quantity: base, what is executed included.
            limit: limit price.
            stop: trigger price of an order that has not been triggered.
            post_only: whether the amended order must not take liquidity.

        Raises:
            OrderNotFound: if it is not open.
            OrderRejected: if it would break a rule; the order is as before.
        """
        record = self._open.get(order_id)
        if record is None:
            raise OrderNotFound(f"order {order_id} is not open")
        spec = _amended(record, quantity, limit, stop, post_only)
        check_order(spec, self.rules[spec.pair], price)
        if spec.quantity <= record.filled:
            self._finish(record, "canceled", at, "User requested")
            return record
        before = record.spec, record.quantity, record.limit, record.stop
        self._release(record)
        record.spec, record.quantity = spec, spec.quantity
        record.limit = record.limit if limit is None else limit
        record.stop = record.stop if stop is None else stop
        try:
            self._check_amended(record, price)
        except OrderRejected:
            record.spec, record.quantity, record.limit, record.stop = before
            self._hold(record, price)
            raise
        record.amended_at = at
        if "amended" not in record.misc:
            record.misc.append("amended")
        self.changes.orders.add(record.id)
        self._hold(record, price)
        if record.status == "open" and (limit is not None or stop is not None):
            self._activate(record, at, price)
        return record

    def _check_amended(self, record: OrderRecord, price: Decimal | None) -> None:
        spec = record.spec
        if spec.post_only and self._is_marketable(record, price):
            raise OrderRejected(
                f"post-only {spec.side} at {record.limit} would trade at once",
                "Place it further from the market.",
                "EOrder:Post only order",
            )
        asset, amount = self._funds_needed(record, price)
        if amount > self.available(asset):
            raise InsufficientFunds(
                f"the amended order needs {amount} {asset}, {self.available(asset)} are free",
                "Reduce the quantity.",
                "EOrder:Insufficient funds",
            )

    def replace(
        self,
        order_id: str,
        spec: OrderSpec,
        at: int,
        price: Decimal | None,
        *,
        reference: Decimal | None = None,
        validate: bool = False,
    ) -> OrderRecord:
        """Cancel an open order and take in another in its place; both or neither.

        Raises:
            OrderNotFound: if the old one is not open.
            OrderRejected: if the new one breaks a rule; the old one is as before.
        """
        old = self._open.get(order_id)
        if old is None:
            raise OrderNotFound(f"order {order_id} is not open")
        self._release(old)
        try:
            record = self.submit(spec, at, price, reference=reference, validate=True)
        finally:
            self._hold(old, price)
        if validate:
            return record
        self._finish(old, "canceled", at, "Order replaced")
        return self.submit(spec, at, price, reference=reference)

    # ---- time

    def advance(self, until: int, source: Source) -> None:
        """Let the market run to a moment; whatever fills, triggers or expires does so."""
        while self._open:
            event = self._next_event(until, source)
            if event is None:
                break
            self.now = max(self.now, event.at)
            self._happen(event)
        self.now = max(self.now, until)

    def next_moment(self, until: int, source: Source) -> int | None:
        """When the next thing will happen to an open order up to a moment; nothing is changed.

        For a driver that makes time jump. None where nothing will, or where a trailing order is
        open, whose stop depends on how far the path has been followed.
        """
        if any(_is_trailing(record) for record in self._open.values()):
            return None
        event = self._next_event(until, source)
        return None if event is None else event.at

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    # ---- entering an order

    def _rules_for(self, pair: Pair) -> MarketRules:
        rules = self.rules.get(pair)
        if rules is None:
            raise UnknownPair(f"pair {pair} is not traded here")
        return rules

    def _check_client_id(self, spec: OrderSpec) -> None:
        if spec.client_id and any(
            record.spec.client_id == spec.client_id for record in self._open.values()
        ):
            raise OrderRejected(
                f"an open order already bears the id {spec.client_id}",
                "Look it up instead of sending it again.",
                ID_TAKEN,
            )

    def _new_record(self, spec: OrderSpec, at: int, refid: str = "") -> OrderRecord:
        number = self._orders_made + 1
        return OrderRecord(
            record_id("O", self.seed, number),
            number,
            spec,
            at,
            spec.quantity,
            active_from=at,
            refid=refid,
        )

    def _set_prices(self, record: OrderRecord, price: Decimal | None) -> None:
        spec = record.spec
        if spec.type in LIMIT_TYPES:
            record.limit = spec.price
        elif spec.type in STOP_TYPES:
            record.stop = spec.price
            record.limit = spec.price2 if spec.type in TRIGGERED_LIMIT_TYPES else None
        elif spec.type in TRAILING_TYPES and price is not None:
            record.peak, record.peak_at = price, record.opened_at
            record.stop = self._trailing_stop(record)

    def _accept(
        self, record: OrderRecord, at: int, price: Decimal | None, expected: Decimal | None
    ) -> None:
        self._orders_made = record.seq
        self.orders[record.id] = record
        self._open[record.id] = record
        self.changes.orders.add(record.id)
        spec = record.spec
        self._hold(record, expected)
        if spec.starts_at is not None and spec.starts_at > at:
            return
        record.status = "open"
        self._activate(record, at, price)

    def _activate(self, record: OrderRecord, at: int, price: Decimal | None) -> None:
        """Start working the order at a moment at which the path stands at `price`."""
        record.active_from = at
        if price is None:
            record.through = record.limit
            return
        if record.spec.type in TRIGGERED_TYPES and record.triggered_at is None:
            stop = record.stop
            if stop is not None and reaches(price, stop, rising=_rising(record), strict=False):
                self._trigger(record, at, price)
            return
        self._work(record, at, price)

    def _work(self, record: OrderRecord, at: int, price: Decimal) -> None:
        """Execute what takes liquidity, let the rest of a limit order rest."""
        if record.limit is None:
            self._take(record, at, price)
            return
        if self._is_marketable(record, price):
            self._take(record, at, price)
        elif record.spec.time_in_force in ("IOC", "FOK"):
            self._finish(record, "canceled", at, f"{record.spec.time_in_force} not filled")
        else:
            pick = min if record.spec.side is Side.BUY else max
            record.through = pick(record.limit, price)

    def _is_marketable(self, record: OrderRecord, price: Decimal | None) -> bool:
        if record.limit is None or price is None or record.spec.type in TRIGGERED_TYPES:
            return record.triggered_at is not None and self._crosses(record, price)
        return self._crosses(record, price)

    def _crosses(self, record: OrderRecord, price: Decimal | None) -> bool:
        if record.limit is None or price is None:
            return False
        taken = self.taker_price(record.spec.pair, record.spec.side, price)
        return taken <= record.limit if record.spec.side is Side.BUY else taken >= record.limit

    def taker_price(self, pair: Pair, side: Side, price: Decimal) -> Decimal:
        """What a taker pays or gets now that the path stands at `price`."""
        return taker_price(side, price, self.costs.slippage, self.rules[pair])

    # ---- funds

    def _funds_needed(self, record: OrderRecord, price: Decimal | None) -> tuple[str, Decimal]:
        """The asset an order binds and how much of it."""
        spec = record.spec
        rules = self.rules[spec.pair]
        if spec.side is Side.SELL:
            return spec.pair.base, record.remaining
        if spec.quantity_in_quote:
            fee = fee_of(spec.quantity, self.rates(spec.pair, self.now).taker, rules)
            return spec.pair.quote, spec.quantity + fee
        expected = self._expected_price(record, price)
        rates = self.rates(spec.pair, max(self.now, record.opened_at))
        cost = rules.booked_cost(record.remaining * expected)
        fee = fee_of(cost, rates.maker if spec.post_only else rates.taker, rules)
        unit = Decimal(1).scaleb(-rules.quote_decimals)
        fee = ZERO if spec.fee_in_base else fee
        return spec.pair.quote, (cost + fee).quantize(unit, ROUND_CEILING)

    def _expected_price(self, record: OrderRecord, price: Decimal | None) -> Decimal:
        if record.limit is not None:
            if self._is_marketable(record, price) and price is not None:
                return self.taker_price(record.spec.pair, record.spec.side, price)
            return record.limit
        base = record.stop if record.stop is not None else price
        if base is None:
            return ZERO
        return self.taker_price(record.spec.pair, record.spec.side, base)

    def _hold(self, record: OrderRecord, price: Decimal | None) -> None:
        """Bind what the open rest of the order needs, in place of what was bound before."""
        self._release(record)
        idle_stop = record.spec.type in TRIGGERED_TYPES and record.triggered_at is None
        if not record.is_open or (idle_stop and not self._stops_hold):
            return
        asset, amount = self._funds_needed(record, price)
        amount = min(amount, self.available(asset))
        record.held_asset, record.held = asset, amount
        self._held[asset] = self.held(asset) + amount

    def _release(self, record: OrderRecord) -> None:
        if record.held:
            self._held[record.held_asset] -= record.held
            record.held = ZERO

    # ---- execution

    def _take(self, record: OrderRecord, at: int, price: Decimal) -> None:
        """Execute all of it as taker at the path's price; what cannot be paid is cancelled."""
        spec = record.spec
        paid = self.taker_price(spec.pair, spec.side, price)
        if spec.quantity_in_quote:
            record.quantity = self.rules[spec.pair].quantity_down(spec.quantity / paid)
        self._release(record)
        quantity = self._affordable(record, paid, self.rates(spec.pair, at).taker)
        if quantity > 0:
            self._execute(record, quantity, paid, at, Liquidity.TAKER, price)
        if record.is_open:
            self._finish(record, "canceled", at, "Insufficient funds")

    def _affordable(self, record: OrderRecord, price: Decimal, rate: Decimal) -> Decimal:
        spec, rules = record.spec, self.rules[record.spec.pair]
        if spec.side is Side.SELL:
            return min(record.remaining, max(ZERO, self.available(spec.pair.base)))
        free = self.available(spec.pair.quote)
        cost = rules.booked_cost(record.remaining * price)
        if cost + fee_of(cost, rate, rules) <= free:
            return record.remaining
        return min(record.remaining, rules.quantity_down(free / (price * (1 + rate))))

    def _make(self, record: OrderRecord, at: int, stretch: Stretch) -> None:
        """Fill a resting limit order from its share of the candle's volume."""
        quantity = min(record.remaining, self._volume_left(record.spec.pair, stretch))
        if quantity <= 0 or record.limit is None:
            return
        start, used = stretch.start, self._used_in(record.spec.pair, stretch)
        self.used[record.spec.pair] = (start, used + quantity)
        path_price = record.through or record.limit
        self._execute(record, quantity, record.limit, at, Liquidity.MAKER, path_price)

    def _used_in(self, pair: Pair, stretch: Stretch) -> Decimal:
        start, used = self.used.get(pair, (0, ZERO))
        return used if start == stretch.start else ZERO

    def _volume_left(self, pair: Pair, stretch: Stretch) -> Decimal:
        share = Decimal(repr(stretch.volume)) * self.costs.volume_share
        return self.rules[pair].quantity_down(share) - self._used_in(pair, stretch)

    def _execute(
        self,
        record: OrderRecord,
        quantity: Decimal,
        price: Decimal,
        at: int,
        as_: Liquidity,
        path_price: Decimal,
    ) -> None:
        spec, rules = record.spec, self.rules[record.spec.pair]
        rates = self.rates(spec.pair, at)
        cost = rules.booked_cost(price * quantity)
        fee = fee_of(cost, rates.maker if as_ is Liquidity.MAKER else rates.taker, rules)
        trade = self._book_trade(record, quantity, price, cost, fee, at, as_)
        record.filled += quantity
        record.cost += cost
        record.fee += trade.fee_base if spec.fee_in_base else fee
        record.trades.append(trade.id)
        self.changes.orders.add(record.id)
        if spec.pair.base not in STABLE_BASES:
            self._volumes.append((at, cost))
        if record.remaining <= 0:
            self._finish(record, "closed", at, "")
        else:
            if "partial" not in record.misc:
                record.misc.append("partial")
            self._hold(record, record.limit)
        if spec.close is not None:
            self._open_closing_order(record, quantity, path_price, at)

    def _book_trade(
        self,
        record: OrderRecord,
        quantity: Decimal,
        price: Decimal,
        cost: Decimal,
        fee: Decimal,
        at: int,
        as_: Liquidity,
    ) -> TradeRecord:
        spec = record.spec
        self._release(record)
        number = len(self.trades) + 1
        trade_id = record_id("T", self.seed, number)
        sign = 1 if spec.side is Side.BUY else -1
        fee_base = self._rounded(spec.pair.base, fee / price) if spec.fee_in_base else ZERO
        fee_quote = ZERO if spec.fee_in_base else fee
        entries = (
            self._book(spec.pair.base, sign * quantity, fee_base, at, "trade", trade_id),
            self._book(spec.pair.quote, -sign * cost, fee_quote, at, "trade", trade_id),
        )
        trade = TradeRecord(
            trade_id, number, record.id, spec.client_id, spec.pair, spec.side, spec.type, at,
            price, quantity, cost, fee, as_, fee_base, tuple(entry.id for entry in entries),
        )  # fmt: skip
        self.trades[trade_id] = trade
        self.changes.trades.append(trade_id)
        return trade

    def _book(
        self, asset: str, amount: Decimal, fee: Decimal, at: int, kind: str, refid: str
    ) -> LedgerEntry:
        """Move a balance, in the asset's own decimals, half to even."""
        amount, fee = self._rounded(asset, amount), self._rounded(asset, fee)
        balance = self.total(asset) + amount - fee
        self._balances[asset] = balance
        number = len(self.ledger) + 1
        entry = LedgerEntry(
            record_id("L", self.seed, number), refid, at, kind, asset, amount, fee, balance
        )
        self.ledger.append(entry)
        self.changes.ledger.append(entry)
        return entry

    def _rounded(self, asset: str, amount: Decimal) -> Decimal:
        return amount.quantize(Decimal(1).scaleb(-self._decimals.get(asset, 8)), ROUND_HALF_EVEN)

    def _finish(self, record: OrderRecord, status: str, at: int, reason: str) -> None:
        record.status, record.closed_at, record.reason = status, at, reason
        self._release(record)
        self._open.pop(record.id, None)
        self.changes.orders.add(record.id)

    def _open_closing_order(
        self, record: OrderRecord, quantity: Decimal, price: Decimal, at: int
    ) -> None:
        close = record.spec.close
        if close is None:
            return
        side = Side.SELL if record.spec.side is Side.BUY else Side.BUY
        spec = OrderSpec(
            record.spec.pair, side, close.type, quantity, close.price, close.price2,
            percent=close.percent, userref=record.spec.userref, trigger=record.spec.trigger,
        )  # fmt: skip
        closing = self._new_record(spec, at, record.id)
        self._set_prices(closing, price)
        self._accept(closing, at, price, price)

    # ---- triggers

    def _trigger(self, record: OrderRecord, at: int, price: Decimal) -> None:
        loss = record.spec.type not in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
        record.misc.append("stopped" if loss else "touched")
        record.triggered_at = at
        record.active_from = at
        self.changes.orders.add(record.id)
        if record.spec.type is OrderType.TRAILING_STOP_LIMIT and record.stop is not None:
            record.limit = self._trailing_limit(record)
        self._work(record, at, price)
        if record.is_open:
            self._hold(record, price)

    def _trailing_stop(self, record: OrderRecord) -> Decimal | None:
        """The trigger of a trailing stop: its peak less the offset, on the tick grid."""
        spec, peak = record.spec, record.peak
        if peak is None or spec.price is None:
            return None
        offset = peak * spec.price / 100 if spec.percent else spec.price
        rules = self.rules[spec.pair]
        if spec.side is Side.SELL:
            return max(rules.price_down(peak - offset), rules.tick)
        return rules.price_up(peak + offset)

    def _trailing_limit(self, record: OrderRecord) -> Decimal:
        spec, stop = record.spec, record.stop or ZERO
        distance = spec.price2 or ZERO
        shift = stop * distance / 100 if spec.percent else distance
        return self.rules[spec.pair].price_nearest(stop + shift)

    # ---- what comes next

    def _happen(self, event: _Event) -> None:
        record = event.order
        if event.rank == 0:
            self._finish(record, "expired", event.at, "Order expired")
        elif event.rank == 1:
            record.status = "open"
            self.changes.orders.add(record.id)
            price = None if event.stretch is None else event.price
            if record.spec.type in TRAILING_TYPES:
                self._set_prices(record, price)
            self._activate(record, event.at, price)
        elif record.spec.type in TRIGGERED_TYPES and record.triggered_at is None:
            if record.spec.type in TRAILING_TYPES and event.stretch is not None:
                self._walk_trailing(record, event.stretch, event.at)
            self._trigger(record, event.at, event.price)
        elif record.limit is None:
            self._take(record, event.at, event.price)
        elif event.stretch is not None:
            self._make(record, event.at, event.stretch)

    def _next_event(self, until: int, source: Source) -> _Event | None:
        events = [e for r in self._open.values() for e in self._timed(r, until, source)]
        by_pair: dict[Pair, list[OrderRecord]] = {}
        for record in self._open.values():
            if record.status == "open":
                by_pair.setdefault(record.spec.pair, []).append(record)
        for pair, records in by_pair.items():
            event = self._next_on_path(pair, records, until, source)
            if event is not None:
                events.append(event)
        return min(events, default=None)

    def _timed(self, record: OrderRecord, until: int, source: Source) -> Iterable[_Event]:
        """Expiry and delayed start."""
        spec = record.spec
        if spec.expires_at is not None and spec.expires_at <= until:
            yield _Event(spec.expires_at, 0, record.seq, record, ZERO)
        if record.status == "pending" and spec.starts_at is not None and spec.starts_at <= until:
            at = spec.starts_at
            covering = _covering(source(spec.pair, self.now, until, INFINITE, -INFINITE), at)
            price = ZERO if covering is None else price_at(covering, at)
            yield _Event(at, 1, record.seq, record, price, covering)

    def _next_on_path(
        self, pair: Pair, records: list[OrderRecord], until: int, source: Source
    ) -> _Event | None:
        falls_to, rises_to = _watched(records)
        after = min([self.now] + [r.peak_at for r in records if r.peak is not None])
        for stretch in source(pair, after, until, falls_to, rises_to):
            found = [
                _Event(at, 2, record.seq, record, price, stretch)
                for record in records
                for at, price in self._touches(record, stretch)
                if at <= until
            ]
            if found:
                return min(found)
            for record in records:
                if _is_trailing(record):
                    self._walk_trailing(record, stretch, min(until, stretch.end))
        return None

    def _touches(self, record: OrderRecord, stretch: Stretch) -> Iterable[Knot]:
        """The moment the stretch concerns the order next, if it does."""
        if _is_trailing(record):
            yield from self._trailing_touch(record, stretch)
            return
        level, strict = _level(record), record.limit is not None
        if level is None:
            if stretch.start > record.active_from:
                yield path(stretch)[0]
            return
        resting = record.spec.type not in TRIGGERED_TYPES or record.triggered_at is not None
        if resting and self._volume_left(record.spec.pair, stretch) <= 0:
            return
        touch = first_touch(
            stretch,
            level,
            rising=_rising(record),
            strict=strict and resting,
            after=record.active_from,
        )
        if touch is not None:
            yield touch

    def _trailing_touch(self, record: OrderRecord, stretch: Stretch) -> Iterable[Knot]:
        """Follow the peak along the stretch until the path turns back by the offset."""
        if record.peak is None:
            if stretch.start > record.active_from:
                self._begin_trailing(record, stretch)
            else:
                return
        probe = replace(record)
        touch = self._walk_trailing(probe, stretch, stretch.end)
        if touch is not None:
            yield touch

    def _begin_trailing(self, record: OrderRecord, stretch: Stretch) -> None:
        began, opening = path(stretch)[0]
        record.peak, record.peak_at = opening, began
        record.stop = self._trailing_stop(record)

    def _walk_trailing(self, record: OrderRecord, stretch: Stretch, until: int) -> Knot | None:
        rising = _rising(record)
        for start, end in _legs(stretch, record.peak_at, until):
            stop = record.stop
            if stop is not None and reaches(end[1], stop, rising=rising, strict=False):
                if start == end:
                    return start
                return max(crossing(start, end, stop), record.active_from + 1), stop
            self._raise_peak(record, end)
        return None

    def _raise_peak(self, record: OrderRecord, knot: Knot) -> None:
        at, price = knot
        record.peak_at = max(record.peak_at, at)
        better = max if record.spec.side is Side.SELL else min
        if record.peak is not None and better(record.peak, price) != record.peak:
            record.peak = price
            record.stop = self._trailing_stop(record)
            self.changes.orders.add(record.id)


def _legs(stretch: Stretch, after: int, until: int) -> Iterable[tuple[Knot, Knot]]:
    """The straight pieces of the path in (after, until], the opening as a piece of no length."""
    knots = path(stretch)
    # What has seen the last candle's close at this moment has not yet seen the opening.
    if after <= stretch.start <= until:
        yield knots[0], knots[0]
    for start, end in pairwise(knots):
        if end[0] <= after or start[0] >= until:
            continue
        yield start, end if end[0] <= until else (until, price_at(stretch, until))


def _covering(stretches: Iterable[Stretch], at: int) -> Stretch | None:
    return next((s for s in stretches if s.start <= at < s.end), None)


def _is_trailing(record: OrderRecord) -> bool:
    return record.spec.type in TRAILING_TYPES and record.triggered_at is None


def _rising(record: OrderRecord) -> bool:
    """Whether the order waits for the price to rise (or for it to fall)."""
    sells = record.spec.side is Side.SELL
    if record.triggered_at is not None or record.spec.type not in TRIGGERED_TYPES:
        return sells
    profit = record.spec.type in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
    return sells if profit else not sells


def _level(record: OrderRecord) -> Decimal | None:
    """The price the order waits for; None takes any."""
    if record.spec.type in TRIGGERED_TYPES and record.triggered_at is None:
        return record.stop
    return record.through if record.through is not None else record.limit


def _watched(records: list[OrderRecord]) -> tuple[float, float]:
    """The highest price some order waits to fall to, and the lowest one waits to rise to."""
    falls_to, rises_to = -INFINITE, INFINITE
    for record in records:
        level = _level(record)
        if level is None or _is_trailing(record):
            return INFINITE, -INFINITE
        if _rising(record):
            rises_to = min(rises_to, float(level))
        else:
            falls_to = max(falls_to, float(level))
    return falls_to, rises_to


def _decimals_of(rules: Mapping[Pair, MarketRules]) -> dict[str, int]:
    found: dict[str, int] = {}
    for pair, rule in rules.items():
        found[pair.base], found[pair.quote] = rule.base_decimals, rule.quote_decimals
    return found


def _amended(
    record: OrderRecord,
    quantity: Decimal | None,
    limit: Decimal | None,
    stop: Decimal | None,
    post_only: bool | None,
) -> OrderSpec:
    """What the order would have looked like had it been given so at first."""
    spec = record.spec
    changed: dict[str, object] = {"quantity": record.quantity if quantity is None else quantity}
    if stop is not None:
        if spec.type not in STOP_TYPES or record.triggered_at is not None:
            raise OrderRejected(
                "only a stop or target that waits has a trigger to amend",
                "",
                "EGeneral:Invalid arguments:trigger_price",
            )
        changed["price"] = stop
    if limit is not None:
        if spec.type not in LIMIT_TYPES and spec.type not in TRIGGERED_LIMIT_TYPES:
            raise OrderRejected(
                f"a {spec.type} order has no limit to amend",
                "",
                "EGeneral:Invalid arguments:limit_price",
            )
        changed["price" if spec.type in LIMIT_TYPES else "price2"] = limit
    if post_only is not None:
        changed["post_only"] = post_only
    return replace(spec, **changed)  # type: ignore[arg-type]


def check_order(spec: OrderSpec, rules: MarketRules, price: Decimal | None) -> None:
    """Refuse what breaks a rule of the market.

    Args:
        spec: the order.
        rules: of its market.
        price: the price now, for the minimum of a market order's cost; None if unknown.

    Raises:
        OrderRejected: with the exchange's own words in `code`.
    """
    _check_numbers(spec)
    _check_status(spec, rules)
    _check_type(spec)
    _check_price(spec, rules)
    _check_quantity(spec, rules, price)


def _check_numbers(spec: OrderSpec) -> None:
    named = {"volume": spec.quantity, "price": spec.price, "price2": spec.price2}
    for name, value in named.items():
        if value is not None and not (value.is_finite() and abs(value) < LARGEST):
            raise OrderRejected(
                f"{name} {value}: expected a number below {LARGEST}",
                "",
                f"EGeneral:Invalid arguments:{name}",
            )


def _check_times(spec: OrderSpec, at: int) -> None:
    begins = max(at, spec.starts_at or at)
    if spec.expires_at is not None and spec.expires_at <= begins:
        raise OrderRejected(
            "the order would expire before it begins", "", "EGeneral:Invalid arguments:expiretm"
        )


def _check_status(spec: OrderSpec, rules: MarketRules) -> None:
    status = rules.status
    refused = (
        status in ("cancel_only", "reduce_only")
        or (status == "post_only" and not spec.post_only)
        or (status == "limit_only" and spec.type not in LIMIT_TYPES)
    )
    if refused:
        raise OrderRejected(
            f"{spec.pair} is in {status} mode", "Try later.", f"EService:Market in {status} mode"
        )


def _check_type(spec: OrderSpec) -> None:
    if spec.post_only and spec.type not in LIMIT_TYPES:
        raise OrderRejected("only limit orders can be post-only", "", "EOrder:Invalid order")
    if spec.quantity_in_quote and (spec.type is not OrderType.MARKET or spec.side is Side.SELL):
        raise OrderRejected(
            "only a market buy can be given in quote", "", "EGeneral:Invalid arguments:viqc"
        )


def _check_price(spec: OrderSpec, rules: MarketRules) -> None:
    if spec.type is OrderType.MARKET:
        return
    wanted = [("price", spec.price)]
    if spec.type in TRIGGERED_LIMIT_TYPES:
        wanted.append(("price2", spec.price2))
    for name, price in wanted:
        trailing = spec.type in TRAILING_TYPES
        if price is None or (price <= 0 and not (trailing and name == "price2")):
            raise OrderRejected(
                f"a {spec.type} order needs a {name} above 0",
                "",
                f"EGeneral:Invalid arguments:{name}",
            )
        if trailing:
            continue
        if price != price.quantize(Decimal(1).scaleb(-rules.price_decimals)):
            raise OrderRejected(
                f"{name} {price} has more than {rules.price_decimals} decimals",
                f"The tick of {spec.pair} is {rules.tick}.",
                f"EOrder:Invalid price:{spec.pair} price can only be specified up to "
                f"{rules.price_decimals} decimals.",
            )
        if price % rules.tick:
            raise OrderRejected(
                f"{name} {price} is off the tick {rules.tick}", "", "EOrder:Tick size check failed"
            )


def _check_quantity(spec: OrderSpec, rules: MarketRules, price: Decimal | None) -> None:
    quantity = spec.quantity
    if quantity <= 0:
        raise OrderRejected(
            f"quantity {quantity}: expected a number above 0",
            "",
            "EGeneral:Invalid arguments:volume",
        )
    if spec.quantity_in_quote:
        if quantity < rules.cost_minimum:
            raise _too_small(f"{quantity} {spec.pair.quote}", rules)
        return
    if quantity != quantity.quantize(Decimal(1).scaleb(-rules.lot_decimals)):
        raise OrderRejected(
            f"quantity {quantity} has more than {rules.lot_decimals} decimals",
            f"The lot of {spec.pair} is {rules.lot}.",
            "EGeneral:Invalid arguments:volume",
        )
    if quantity < rules.order_minimum:
        raise BelowMinimum(
            f"quantity {quantity} {spec.pair.base} is below the minimum {rules.order_minimum}",
            "",
            "EGeneral:Invalid arguments:volume minimum not met",
        )
    priced = price if spec.type is OrderType.MARKET or spec.type in TRAILING_TYPES else spec.price
    if priced is not None and priced * quantity < rules.cost_minimum:
        raise _too_small(f"{priced * quantity:f} {spec.pair.quote}", rules)


def _too_small(cost: str, rules: MarketRules) -> BelowMinimum:
    return BelowMinimum(
        f"a cost of {cost} is below the minimum {rules.cost_minimum}",
        "",
        "EOrder:Cost minimum not met",
    )
