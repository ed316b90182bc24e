"""The matching engine: orders and the market's path in, fills out. Pure.

It knows no clock, disk or chance: moments come in as arguments, ids from a seed and counters, the
path from whoever asks. The result does not depend on how finely time is advanced, because every
event is computed from the whole candle and happens at its own moment.

Rules of execution:

* A taker (market order, marketable limit, triggered stop) fills at once at the path's price then,
  worsened by the slippage and rounded against it: in full, or, where the costs say so, level by
  level of the book.
* An order never meets another one of its own account: one of them ends, as it wished.
* A resting limit order fills as maker at its price when the path goes beyond it, touching is not
  enough; per candle all resting orders of a pair share a part of the volume.
* A stop or target triggers when the path reaches it; where a candle opens beyond it, the opening
  price counts.
* What opens or rests holds its funds: quote with fee for a buy, base for a sell.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TypeAlias

from trader.domain.errors import InsufficientFunds, OrderNotFound, OrderRejected, UnknownPair
from trader.domain.markets import BookLevel, MarketRules, Pair, unit_of
from trader.domain.orders import Liquidity, OrderType, Side
from trader.simulation.account import Account
from trader.simulation.costs import Costs, fee_of, taker_price
from trader.simulation.order_rules import amended, check_order, check_times
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
    own_id_key,
    record_id,
)
from trader.simulation.path import Knot, Stretch, price_at, reaches
from trader.simulation.waiting import (
    INFINITE,
    begin_trailing,
    is_rising,
    is_trailing,
    next_touch,
    trailing_limit,
    trailing_stop,
    waits_for_trigger,
    walk_trailing,
    watched,
)

Source: TypeAlias = Callable[[Pair, int, int, float, float], Iterable[Stretch]]
"""(pair, after, until, falls_to, rises_to) → the stretches that overlap (after, until], oldest
first; those that neither fall to the one price nor rise to the other may be left out."""

Levels: TypeAlias = Callable[[Pair, Side, int, Decimal], Iterator[BookLevel]]
"""(pair, side of the taker, moment, path's price) → what the taker meets, best first."""

Impact: TypeAlias = Callable[[Pair, int, Decimal], Decimal]
"""(pair, moment, base) → by how much an order of that size worsens its own price, a fraction."""

OWN_ORDER = "Self trade prevention"
ID_TAKEN = "EGeneral:Invalid arguments:cl_ord_id not unique"


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since it was last asked for, so that only this need be stored.

    Attributes:
        orders: new and changed ones.
        trades: new ones.
        ledger: new entries with their numbers, counted from 1.
    """

    orders: tuple[OrderRecord, ...]
    trades: tuple[TradeRecord, ...]
    ledger: tuple[tuple[int, LedgerEntry], ...]

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
class Past:
    """What an engine has let go of, oldest first: orders by their end."""

    orders: tuple[OrderRecord, ...] = ()
    trades: tuple[TradeRecord, ...] = ()
    ledger: tuple[LedgerEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happens to one order at one moment."""

    at: int
    rank: int
    seq: int
    order: OrderRecord
    price: Decimal
    stretch: Stretch | None = None

    @property
    def _turn(self) -> tuple[int, int, int, int]:
        """At one moment the one that has waited longer is first."""
        return self.at, self.rank, self.order.active_from, self.seq

    def __lt__(self, other: _Event) -> bool:
        return self._turn < other._turn


@dataclass(slots=True)
class _Watch:
    """What the orders of a pair wait for.

    While orders come, change and go the bounds are only widened, which is quick and safe; they
    are drawn anew when something lies within them.

    Attributes:
        records: open orders that are awake, as of the last drawing.
        falls_to: no order waits to fall to more than this.
        rises_to: none waits to rise to less.
        due: none expires or wakes earlier; None for never.
        fresh: ids of orders that have changed since.
        loose: whether the bounds may be wider than they need be.
    """

    records: list[OrderRecord]
    falls_to: float
    rises_to: float
    due: int | None
    fresh: set[str] = field(default_factory=set)
    loose: bool = False

    @classmethod
    def of(cls, records: Iterable[OrderRecord]) -> _Watch:
        """Drawn from all open orders of a pair."""
        everything = list(records)
        awake = [record for record in everything if record.status == "open"]
        due = [moment for record in everything if (moment := _due(record)) is not None]
        return cls(awake, *watched(awake), min(due, default=None))

    def widen(self, records: Mapping[str, OrderRecord]) -> None:
        """Take what has changed into account, as far as it is still open."""
        if not self.fresh:
            return
        other = _Watch.of(records[name] for name in self.fresh if name in records)
        self.falls_to = max(self.falls_to, other.falls_to)
        self.rises_to = min(self.rises_to, other.rises_to)
        self.due = min((d for d in (self.due, other.due) if d is not None), default=None)
        self.fresh.clear()
        self.loose = True


class MatchingEngine:
    """One account at a simulated exchange.

    Args:
        rules: the markets and their rules.
        costs: fees and slippage.
        seed: of the ids.
        now: first moment, microseconds.
        stops_hold: whether resting stops and targets hold funds as limit orders do.
        levels: what a taker finds in the book; without it everything at the best price.
        impact: what its own size costs a taker beside the slippage; without it nothing.
    """

    def __init__(
        self,
        rules: Mapping[Pair, MarketRules],
        costs: Costs | None = None,
        *,
        seed: int = 0,
        now: int = 0,
        stops_hold: bool = True,
        levels: Levels | None = None,
        impact: Impact | None = None,
    ) -> None:
        self._levels = levels
        self._impact = impact
        self.rules = dict(rules)
        self.costs = costs or Costs()
        self.seed = seed
        self.now = now
        self.orders: dict[str, OrderRecord] = {}
        self.trades: list[TradeRecord] = []
        self.account = Account(rules, self.costs, seed)
        self.used: dict[Pair, tuple[int, Decimal]] = {}
        self._stops_hold = stops_hold
        self._open: dict[str, OrderRecord] = {}
        self._open_on: dict[Pair, dict[str, OrderRecord]] = {}
        self._watches: dict[Pair, _Watch] = {}
        self._calm_until = -1
        """Up to here nothing happens to the open orders as they are."""
        self._ended: list[OrderRecord] = []
        self._named: dict[str, list[OrderRecord]] = {}
        self._changed: set[str] = set()
        self._orders_made = 0
        self._taken = (0, 0)
        self._trades_forgotten = 0

    def restore(self, state: EngineState) -> None:
        """Take over a stored account in place of this one."""
        self.now = state.now
        self.orders = {record.id: record for record in state.orders}
        self.trades = list(state.trades)
        self.used = dict(state.used)
        self._open = {record.id: record for record in state.orders if record.is_open}
        self._open_on, self._watches, self._calm_until = {}, {}, -1
        for record in self._open.values():
            self._open_on.setdefault(record.spec.pair, {})[record.id] = record
        self.account.restore(state.ledger, self._open.values(), state.trades)
        ended = [record for record in state.orders if record.closed_at is not None]
        self._ended = sorted(ended, key=lambda record: (record.closed_at or 0, record.seq))
        self._named = {}
        for record in state.orders:
            self._name(record)
        self._orders_made = max((record.seq for record in state.orders), default=0)
        self._changed = set()
        self._taken = (len(self.trades), len(self.account.ledger))
        self._trades_forgotten = 0

    def forget(self, before: int) -> Past:
        """Let go of what has been over since a moment, and hand it over.

        For runs of years in one process: orders, trades and entries of long ago are not asked
        for any more. Balances, fees and numbers go on as if nothing had been forgotten.
        """
        first = bisect_left(self._ended, before, key=lambda record: record.closed_at or 0)
        orders = self._ended[:first]
        del self._ended[:first]
        for record in orders:
            del self.orders[record.id]
            self._unname(record)
            self._changed.discard(record.id)
        number = bisect_left(self.trades, before, key=lambda trade: trade.at)
        trades = self.trades[:number]
        del self.trades[:number]
        self._trades_forgotten += number
        ledger = self.account.forget(before)
        taken_trades, taken_entries = self._taken
        self._taken = (max(0, taken_trades - number), max(0, taken_entries - len(ledger)))
        return Past(tuple(orders), tuple(trades), tuple(ledger))

    # ---- what there is

    @property
    def open_orders(self) -> tuple[OrderRecord, ...]:
        """Orders that can still fill, oldest first."""
        return tuple(self._open.values())

    def open_on(self, pair: Pair) -> tuple[OrderRecord, ...]:
        """Open orders of one pair, oldest first."""
        return tuple(self._open_on.get(pair, {}).values())

    def ended_since(self, moment: int) -> list[OrderRecord]:
        """Orders that ended at or after a moment, in the order of their end."""
        first = bisect_left(self._ended, moment, key=lambda record: record.closed_at or 0)
        return self._ended[first:]

    def trades_since(self, moment: int) -> list[TradeRecord]:
        """Trades at or after a moment, oldest first."""
        return self.trades[bisect_left(self.trades, moment, key=lambda trade: trade.at) :]

    def named(self, client_id: str) -> tuple[OrderRecord, ...]:
        """Orders that bear an id of the client's, oldest first."""
        return tuple(self._named.get(own_id_key(client_id), ()))

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
        check_times(spec, at)
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
        if amount > self.account.available(asset):
            raise InsufficientFunds(
                f"{spec.side} {spec.quantity} {spec.pair} needs {amount} {asset}, "
                f"{self.account.available(asset)} are free",
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
        display: Decimal | None = None,
    ) -> OrderRecord:
        """Change an open order in place; what is None stays as it is.

        A quantity that is already executed cancels the rest. A new price or a larger quantity
        puts the order at the end of the queue.

        Args:
            order_id: the order.
            at: now; the engine must have been advanced to it.
            price: the path's price now, None while the market does not trade.
            quantity: base, what is executed included.
            limit: limit price.
            stop: trigger price of an order that has not been triggered.
            post_only: whether the amended order must not take liquidity.
            display: what an iceberg shows.

        Raises:
            OrderNotFound: if it is not open.
            OrderRejected: if it would break a rule; the order is as before.
        """
        record = self._open.get(order_id)
        if record is None:
            raise OrderNotFound(f"order {order_id} is not open")
        spec = amended(record, quantity, limit, stop, post_only, display)
        check_order(spec, self.rules[spec.pair], price)
        if spec.quantity <= record.filled:
            self._finish(record, "canceled", at, "User requested")
            return record
        before = record.spec, record.quantity, record.limit, record.stop
        self.account.release(record)
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
        if limit is not None or spec.quantity > before[1]:
            record.active_from, record.ahead, record.shown = at, None, None
        if "amended" not in record.misc:
            record.misc.append("amended")
        self._change(record)
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
        if amount > self.account.available(asset):
            raise InsufficientFunds(
                f"the amended order needs {amount} {asset}, "
                f"{self.account.available(asset)} are free",
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
        self.account.release(old)
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

    def stand_still(self, until: int) -> None:
        """Let time pass without matching: what the path does meanwhile concerns no order."""
        for record in self._open.values():
            record.active_from = max(record.active_from, until)
            record.peak_at = max(record.peak_at, until)
        self._calm_until = -1
        self.now = max(self.now, until)

    def next_moment(self, until: int, source: Source) -> int | None:
        """When the next thing will happen to an open order up to a moment; nothing is changed.

        For a driver that makes time jump. None where nothing will, or where a trailing order is
        open, whose stop depends on how far the path has been followed.
        """
        if any(is_trailing(record) for record in self._open.values()):
            return None
        event = self._next_event(until, source)
        return None if event is None else event.at

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        trades, entries = self._taken
        changes = Changes(
            tuple(self.orders[name] for name in sorted(self._changed)),
            tuple(self.trades[trades:]),
            tuple(enumerate(self.account.ledger[entries:], self.account.forgotten + entries + 1)),
        )
        self._changed = set()
        self._taken = (len(self.trades), len(self.account.ledger))
        return changes

    def _change(self, record: OrderRecord) -> None:
        """An order is not what it was: it must be stored, and its pair looked at anew."""
        self._changed.add(record.id)
        self._calm_until = -1
        watch = self._watches.get(record.spec.pair)
        if watch is not None:
            watch.fresh.add(record.id)

    # ---- entering an order

    def _rules_for(self, pair: Pair) -> MarketRules:
        rules = self.rules.get(pair)
        if rules is None:
            raise UnknownPair(f"pair {pair} is not traded here")
        return rules

    def _check_client_id(self, spec: OrderSpec) -> None:
        if any(record.is_open for record in self.named(spec.client_id)):
            raise OrderRejected(
                f"an open order already bears the id {spec.client_id}",
                "Look it up instead of sending it again.",
                ID_TAKEN,
            )

    def _name(self, record: OrderRecord) -> None:
        if record.spec.client_id:
            self._named.setdefault(own_id_key(record.spec.client_id), []).append(record)

    def _unname(self, record: OrderRecord) -> None:
        key = own_id_key(record.spec.client_id)
        left = [other for other in self._named.pop(key, ()) if other is not record]
        if left:
            self._named[key] = left

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
            # What the price did before the order woke is nothing to it.
            record.peak, record.peak_at = price, max(record.opened_at, spec.starts_at or 0)
            record.stop = trailing_stop(record, self.rules[record.spec.pair])

    def _accept(
        self, record: OrderRecord, at: int, price: Decimal | None, expected: Decimal | None
    ) -> None:
        self._orders_made = record.seq
        self.orders[record.id] = record
        self._open[record.id] = record
        self._open_on.setdefault(record.spec.pair, {})[record.id] = record
        self._name(record)
        self._change(record)
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
        if waits_for_trigger(record):
            stop = record.stop
            if stop is not None and reaches(price, stop, rising=is_rising(record), strict=False):
                self._trigger(record, at, price)
            return
        self._work(record, at, price)

    def _work(self, record: OrderRecord, at: int, price: Decimal) -> None:
        """Execute what takes liquidity, let the rest of a limit order rest."""
        if record.limit is None or self._is_marketable(record, price):
            self._take(record, at, price)
        if not record.is_open or record.limit is None:
            return
        if self._meets_own(record, record.limit, at, price):
            return
        if record.spec.time_in_force in ("IOC", "FOK"):
            self._finish(record, "canceled", at, f"{record.spec.time_in_force} not filled")
            return
        pick = min if record.spec.side is Side.BUY else max
        record.through = pick(record.limit, price)

    def _is_marketable(self, record: OrderRecord, price: Decimal | None) -> bool:
        if record.limit is None or price is None or record.spec.type in TRIGGERED_TYPES:
            return record.triggered_at is not None and self._crosses(record, price)
        return self._crosses(record, price)

    def _crosses(self, record: OrderRecord, price: Decimal | None) -> bool:
        if record.limit is None or price is None:
            return False
        taken = self._price_taken(record, price)
        return taken <= record.limit if record.spec.side is Side.BUY else taken >= record.limit

    def _price_taken(self, record: OrderRecord, price: Decimal) -> Decimal:
        """What the order pays or gets as a taker now that the path stands at `price`."""
        spec, slippage = record.spec, self.costs.slippage
        if self._impact is not None:
            at = max(self.now, record.active_from)
            base = spec.quantity / price if spec.quantity_in_quote else record.remaining
            slippage += self._impact(spec.pair, at, base)
        return taker_price(spec.side, price, slippage, self.rules[spec.pair])

    # ---- funds

    def _funds_needed(self, record: OrderRecord, price: Decimal | None) -> tuple[str, Decimal]:
        """The asset an order binds and how much of it."""
        spec = record.spec
        rules = self.rules[spec.pair]
        if spec.side is Side.SELL:
            rate = self.account.rates(spec.pair, self.now).taker if spec.fee_in_base else ZERO
            unit = unit_of(rules.base_decimals)
            # Not rounded without a fee: a quantity finer than the balance must not fit.
            needed = record.remaining * (1 + rate)
            return spec.pair.base, needed.quantize(unit, ROUND_CEILING) if rate else needed
        if spec.quantity_in_quote:
            fee = fee_of(spec.quantity, self.account.rates(spec.pair, self.now).taker, rules)
            return spec.pair.quote, spec.quantity + fee
        expected = self._expected_price(record, price)
        rates = self.account.rates(spec.pair, max(self.now, record.opened_at))
        cost = rules.booked_cost(record.remaining * expected)
        fee = fee_of(cost, rates.maker if spec.post_only else rates.taker, rules)
        unit = unit_of(rules.quote_decimals)
        fee = ZERO if spec.fee_in_base else fee
        return spec.pair.quote, (cost + fee).quantize(unit, ROUND_CEILING)

    def _expected_price(self, record: OrderRecord, price: Decimal | None) -> Decimal:
        if record.limit is not None:
            if self._is_marketable(record, price) and price is not None:
                return self._price_taken(record, price)
            return record.limit
        base = record.stop if record.stop is not None else price
        if base is None:
            return ZERO
        return self._price_taken(record, base)

    def _hold(self, record: OrderRecord, price: Decimal | None) -> None:
        """Bind what the open rest of the order needs, in place of what was bound before."""
        self.account.release(record)
        idle_stop = waits_for_trigger(record)
        if not record.is_open or (idle_stop and not self._stops_hold):
            return
        asset, amount = self._funds_needed(record, price)
        self.account.hold(record, asset, amount)

    # ---- execution

    def _take(self, record: OrderRecord, at: int, price: Decimal) -> None:
        """Execute as taker from the path's price on.

        What cannot be paid, and what a market order no longer finds in the book, is cancelled;
        what a limit order may not pay is left.
        """
        spec = record.spec
        wanted = self._walk(record, at, price)
        if spec.quantity_in_quote:
            record.quantity = sum((quantity for _, quantity in wanted), ZERO)
        if spec.time_in_force == "FOK" and sum(q for _, q in wanted) < record.remaining:
            self._finish(record, "canceled", at, "FOK not filled")
            return
        for paid, quantity in wanted:
            if self._meets_own(record, paid, at, price):
                return
            self.account.release(record)
            rate = self.account.rates(spec.pair, at).taker
            payable = self._affordable(spec, quantity, paid, rate)
            if payable > 0:
                self._execute(record, payable, paid, at, Liquidity.TAKER, price)
            if payable < quantity:
                self._finish(record, "canceled", at, "Insufficient funds")
            if not record.is_open:
                return
        if record.limit is None:
            self._finish(record, "canceled", at, "Insufficient liquidity")

    def _walk(self, record: OrderRecord, at: int, price: Decimal) -> list[tuple[Decimal, Decimal]]:
        """Prices and quantities that a taker meets, as far as its limit allows."""
        spec, rules = record.spec, self.rules[record.spec.pair]
        best = self._price_taken(record, price)
        if self._levels is None:
            in_quote = spec.quantity_in_quote
            whole = rules.quantity_down(spec.quantity / best) if in_quote else record.remaining
            return [(best, whole)]
        found: list[tuple[Decimal, Decimal]] = []
        left = spec.quantity if spec.quantity_in_quote else record.remaining
        for level in self._levels(spec.pair, spec.side, at, price):
            if self._beyond_limit(record, level.price):
                break
            whole = rules.quantity_down(left / level.price) if spec.quantity_in_quote else left
            quantity = min(whole, level.quantity)
            if quantity > 0:
                found.append((level.price, quantity))
            left -= quantity * level.price if spec.quantity_in_quote else quantity
            if quantity >= whole:
                break
        return found

    @staticmethod
    def _beyond_limit(record: OrderRecord, price: Decimal) -> bool:
        if record.limit is None:
            return False
        return price > record.limit if record.spec.side is Side.BUY else price < record.limit

    def _meets_own(self, record: OrderRecord, reach: Decimal, at: int, price: Decimal) -> bool:
        """Whether the order ends because as far as it reaches it meets one of the same account.

        One that the path has passed, and that only lacked volume, is not there to be met.
        """
        met = [
            other
            for other in self.resting(record.spec.pair)
            if other.spec.side is not record.spec.side and _lies_between(other, price, reach)
        ]
        if not met:
            return False
        wish = record.spec.self_trade
        if wish != "cancel-newest":
            for other in met:
                self._finish(other, "expired", at, OWN_ORDER)
        if wish == "cancel-oldest":
            return False
        self._finish(record, "expired", at, OWN_ORDER)
        return True

    def resting(self, pair: Pair) -> Iterator[OrderRecord]:
        """Limit orders of the account that are in the book of a pair, oldest first."""
        for record in self._open_on.get(pair, {}).values():
            if record.status == "open" and record.through is not None:
                yield record

    def _affordable(
        self, spec: OrderSpec, quantity: Decimal, price: Decimal, rate: Decimal
    ) -> Decimal:
        """The part of a quantity that what is free pays for, fee included."""
        account, rules = self.account, self.rules[spec.pair]
        in_base = 1 + rate if spec.fee_in_base else Decimal(1)
        if spec.side is Side.SELL:
            free = max(ZERO, account.available(spec.pair.base))
            return quantity if quantity * in_base <= free else rules.quantity_down(free / in_base)
        free = max(ZERO, account.available(spec.pair.quote))
        if self._booked(spec, quantity, price, rate) <= free:
            return quantity
        most = rules.quantity_down(free / (price if spec.fee_in_base else price * (1 + rate)))
        if self._booked(spec, most, price, rate) > free:
            # Rounding of cost and fee: what two units of the quote asset buy is left out.
            unit = Decimal(2).scaleb(-rules.quote_decimals) / price
            most -= rules.quantity_down(unit) + rules.lot
        return max(ZERO, most)

    def _booked(
        self, spec: OrderSpec, quantity: Decimal, price: Decimal, rate: Decimal
    ) -> Decimal:
        """Cost and fee of a buy as they would be booked, in quote."""
        rules, quote = self.rules[spec.pair], spec.pair.quote
        cost = rules.booked_cost(quantity * price)
        fee = ZERO if spec.fee_in_base else fee_of(cost, rate, rules)
        return self.account.rounded(quote, cost) + self.account.rounded(quote, fee)

    def _make(self, record: OrderRecord, at: int, stretch: Stretch) -> None:
        """Fill a resting limit order from its share of the candle's volume."""
        pair = record.spec.pair
        self._let_others_pass(record, stretch)
        quantity = min(record.displayed, self._volume_left(pair, stretch))
        if quantity <= 0 or record.limit is None:
            return
        rate = self.account.rates(pair, at).maker
        self.account.release(record)
        quantity = self._affordable(record.spec, quantity, record.limit, rate)
        if quantity <= 0:
            self._finish(record, "canceled", at, "Insufficient funds")
            return
        if record.spec.display is not None:
            # What an iceberg shows anew stands at the end of the queue.
            left = record.displayed - quantity
            record.shown, record.ahead = (left, record.ahead) if left else (None, None)
        self._use(pair, stretch, quantity)
        path_price = record.through or record.limit
        self._execute(record, quantity, record.limit, at, Liquidity.MAKER, path_price)

    def _let_others_pass(self, record: OrderRecord, stretch: Stretch) -> None:
        """Spend the candle's volume on those who stand before the order at its level."""
        share = self.costs.queue_share
        if not share:
            return
        pair = record.spec.pair
        if record.ahead is None:
            record.ahead = self.rules[pair].quantity_down(Decimal(repr(stretch.volume)) * share)
        passed = min(record.ahead, self._volume_left(pair, stretch))
        if passed > 0:
            record.ahead -= passed
            self._use(pair, stretch, passed)
            self._change(record)

    def _use(self, pair: Pair, stretch: Stretch, quantity: Decimal) -> None:
        self.used[pair] = (stretch.start, self._used_in(pair, stretch) + quantity)

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
        rates = self.account.rates(spec.pair, at)
        cost = rules.booked_cost(price * quantity)
        fee = fee_of(cost, rates.maker if as_ is Liquidity.MAKER else rates.taker, rules)
        trade = self._book_trade(record, quantity, price, cost, fee, at, as_)
        record.filled += quantity
        record.cost += cost
        record.fee += trade.fee_base if spec.fee_in_base else fee
        record.trades.append(trade.id)
        self._change(record)
        self.account.count_volume(spec.pair, at, cost)
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
        self.account.release(record)
        number = self._trades_forgotten + len(self.trades) + 1
        trade_id = record_id("T", self.seed, number)
        sign = 1 if spec.side is Side.BUY else -1
        fee_base = self.account.rounded(spec.pair.base, fee / price) if spec.fee_in_base else ZERO
        fee_quote = ZERO if spec.fee_in_base else fee
        entries = (
            self.account.book(spec.pair.base, sign * quantity, fee_base, at, "trade", trade_id),
            self.account.book(spec.pair.quote, -sign * cost, fee_quote, at, "trade", trade_id),
        )
        trade = TradeRecord(
            trade_id, number, record.id, spec.client_id, spec.pair, spec.side, spec.type, at,
            price, quantity, cost, fee, as_, fee_base, tuple(entry.id for entry in entries),
        )  # fmt: skip
        self.trades.append(trade)
        return trade

    def _finish(self, record: OrderRecord, status: str, at: int, reason: str) -> None:
        record.status, record.closed_at, record.reason = status, at, reason
        self.account.release(record)
        if self._open.pop(record.id, None) is not None:
            del self._open_on[record.spec.pair][record.id]
            self._ended.append(record)
        self._change(record)

    def _open_closing_order(
        self, record: OrderRecord, quantity: Decimal, price: Decimal, at: int
    ) -> None:
        close = record.spec.close
        if close is None:
            return
        side = Side.SELL if record.spec.side is Side.BUY else Side.BUY
        spec = OrderSpec(
            record.spec.pair, side, close.type, quantity, close.price, close.price2,
            percent=close.percent, percent2=close.percent2, userref=record.spec.userref,
            trigger=record.spec.trigger,
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
        self._change(record)
        if record.spec.type is OrderType.TRAILING_STOP_LIMIT and record.stop is not None:
            record.limit = trailing_limit(record, self.rules[record.spec.pair])
        self._work(record, at, price)
        if record.is_open:
            self._hold(record, price)

    # ---- what comes next

    def _happen(self, event: _Event) -> None:
        record = event.order
        if event.rank == 0:
            self._finish(record, "expired", event.at, "Order expired")
        elif event.rank == 1:
            record.status = "open"
            self._change(record)
            price = None if event.stretch is None else event.price
            if record.spec.type in TRAILING_TYPES:
                self._set_prices(record, price)
            self._activate(record, event.at, price)
        elif waits_for_trigger(record):
            if record.spec.type in TRAILING_TYPES and event.stretch is not None:
                self._follow([record], event.stretch, event.at)
            self._trigger(record, event.at, event.price)
        elif record.limit is None:
            self._take(record, event.at, event.price)
        elif event.stretch is not None:
            self._make(record, event.at, event.stretch)

    def _next_event(self, until: int, source: Source) -> _Event | None:
        if until <= self._calm_until:
            return None
        event = self._look_for_event(until, source)
        if event is None:
            self._calm_until = until
        return event

    def _look_for_event(self, until: int, source: Source) -> _Event | None:
        events = []
        for pair, records in self._open_on.items():
            if not records:
                continue
            watch = self._watch(pair, records)
            last = until
            if watch.due is not None and watch.due <= until:
                timed = [e for r in records.values() for e in self._timed(r, until, source)]
                self._watches.pop(pair)
                events += timed
                # Nobody follows the price to where it may have expired before.
                last = min((event.at for event in timed), default=until)
            event = self._next_on_path(pair, watch, last, source)
            if event is not None:
                events.append(event)
        return min(events, default=None)

    def _watch(self, pair: Pair, records: Mapping[str, OrderRecord]) -> _Watch:
        found = self._watches.get(pair)
        if found is None:
            found = self._watches[pair] = _Watch.of(records.values())
        found.widen(records)
        return found

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
        self, pair: Pair, watch: _Watch, until: int, source: Source
    ) -> _Event | None:
        if watch.loose:
            bounds = watch.falls_to, watch.rises_to
            # Infinite bounds belong to a trailing order, which must see every stretch.
            if bounds[0] < INFINITE and not any(source(pair, self.now, until, *bounds)):
                return None
            watch = self._watches[pair] = _Watch.of(self._open_on[pair].values())
        if not watch.records:
            return None
        trailing = [record for record in watch.records if is_trailing(record)]
        after = min([self.now] + [r.peak_at for r in trailing if r.peak is not None])
        for stretch in source(pair, after, until, watch.falls_to, watch.rises_to):
            found = []
            for record in watch.records:
                touch = self._touch(record, stretch)
                if touch is not None and touch[0] <= until:
                    found.append(_Event(touch[0], 2, record.seq, record, touch[1], stretch))
            if found:
                return min(found)
            self._follow(trailing, stretch, until)
        return None

    def _follow(self, records: Iterable[OrderRecord], stretch: Stretch, until: int) -> None:
        """Bring the peaks of trailing stops up to the moment."""
        for record in records:
            if is_trailing(record):
                peak = record.peak
                rules = self.rules[record.spec.pair]
                begin_trailing(record, stretch, rules)
                walk_trailing(record, stretch, min(until, stretch.end), rules)
                if record.peak != peak:
                    self._change(record)

    def _touch(self, record: OrderRecord, stretch: Stretch) -> Knot | None:
        """The moment the stretch concerns the order next, if it does."""
        pair = record.spec.pair
        rests = record.limit is not None and not waits_for_trigger(record)
        if rests and self._volume_left(pair, stretch) <= 0:
            return None
        return next_touch(record, stretch, self.rules[pair])


def _covering(stretches: Iterable[Stretch], at: int) -> Stretch | None:
    return next((s for s in stretches if s.start <= at < s.end), None)


def _due(record: OrderRecord) -> int | None:
    """When the order expires or wakes, whichever is first."""
    starts = record.spec.starts_at if record.status == "pending" else None
    moments = [moment for moment in (record.spec.expires_at, starts) if moment is not None]
    return min(moments, default=None)


def _lies_between(resting: OrderRecord, price: Decimal, reach: Decimal) -> bool:
    """Whether a taker on its way from the path's price to its own comes upon a resting order."""
    limit = resting.limit
    if limit is None:
        return False
    sells = resting.spec.side is Side.SELL
    return price <= limit <= reach if sells else reach <= limit <= price
