"""Every order sent once, every fill booked once: what is said to the exchange about orders.

The order of things never changes: an intent is journalled before anything leaves the machine, a
fill is applied once by its trade id, and a question without a clear answer is settled by asking
again, never by sending again. `docs/order-life.md` has the states and moves.

A failing read leaves everything as the journal knows it and is raised; the next look goes on from
there. So every method may be interrupted at any line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from trader.domain.errors import (
    AccountLimited,
    ExchangeError,
    InsufficientFunds,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    UnexpectedAnswer,
    Unreachable,
)
from trader.domain.events import (
    AmendIntended,
    CancelIntended,
    CancelRefused,
    EquityMarked,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    RiskStateChanged,
    SignalMade,
    TradeRefused,
)
from trader.domain.order_life import DIED_SENDING, OrderBookkeeping, TrackedOrder
from trader.domain.orders import Order, OrderState
from trader.domain.portfolio import Portfolio
from trader.execution.turns import Turns
from trader.ports import Clock, Exchange, Journal

ZERO = Decimal(0)
ZERO_S = timedelta(0)
_LONGEST_PASS = timedelta(minutes=10)
_SET_BACK = timedelta(seconds=60)
"""The clock was set back by more than answers may have taken."""
_MOVES_NOTHING = (EquityMarked, RiskStateChanged, SignalMade, TradeRefused)
"""Events after which orders, positions and stops are as they were."""
_NO_CLEAR_ANSWER = (OutcomeUnknown, Unreachable, UnexpectedAnswer)


class Change(Enum):
    """What came of asking for other terms of an open order, or for its end."""

    MADE = "made"
    UNCERTAIN = "uncertain"
    """No clear answer: the exchange has to be asked which terms it has."""
    NOT_NOW = "not now"
    """Refused for a reason that is not the order's (busy, limits, key): it lives on as it was."""
    IMPOSSIBLE = "impossible"
    """It is over, or the exchange does not make this change."""


def is_about_the_order(fault: ExchangeError) -> bool:
    """Whether the exchange refuses this very order, and not this account or this moment."""
    passing = isinstance(fault, AccountLimited | InsufficientFunds)
    return isinstance(fault, OrderRejected) and not passing


class OrderDesk:
    """Keeps our orders and fills in step with the exchange, and the journal ahead of both.

    Args:
        portfolio: changed in place by every event that is recorded.
        doubt: how long an order without a clear answer may still turn up at the exchange.
        overlap: how far back before the last complete look fills are asked for again.
        clock: tells how late it has become while answers were waited for; without it nothing
            takes time.

    Attributes:
        orders: what the journal says of every order of ours.
        foreign: open orders at the exchange that are not ours.
        oddities: journalled events that could not follow what was known.
        events: how many have taken effect.
        stirred: whether anything was recorded that may call for a look at orders or positions.
    """

    def __init__(
        self,
        exchange: Exchange,
        journal: Journal,
        portfolio: Portfolio,
        *,
        doubt: timedelta,
        overlap: timedelta,
        clock: Clock | None,
    ) -> None:
        self.exchange = exchange
        self.journal = journal
        self.portfolio = portfolio
        self.doubt = doubt
        self.orders = OrderBookkeeping()
        self.foreign: tuple[Order, ...] = ()
        self.oddities: list[str] = []
        self.stirred = True
        self.events = 0
        self._overlap = overlap
        self._clock = clock
        self._last_at: datetime | None = None
        self._complete_until: datetime | None = None
        self._followers: list[Callable[[Event], None]] = []

    # -- the record ------------------------------------------------------------------------

    def follow(self, follower: Callable[[Event], None]) -> None:
        """Have every event told, past and present, after it has taken effect."""
        self._followers.append(follower)

    def restore(self, watch: Callable[[Event], None] | None = None) -> int:
        """Replay the journal into orders and portfolio; how many events there were.

        Args:
            watch: called with every event, for others who need to know the past.
        """
        count = 0
        for _, event in self.journal.events():
            count += 1
            if not self.orders.allows(event):
                # Left out and remembered: the exchange is asked about every order anyway before
                # anything is decided, and a line too many must not keep a bot from starting.
                self.oddities.append(f"event {count} ({type(event).__name__}) cannot follow")
                continue
            self._take_in(event)
            if watch is not None:
                watch(event)
        return count

    def record(self, event: Event) -> None:
        """Journal an event, then let it take effect: never the other way round.

        A pass over all pairs has one moment, but waiting for answers takes time: an event that is
        told with the earlier moment after one with a later gets the later.
        """
        if self._last_at is not None and ZERO_S < self._last_at - event.at < _LONGEST_PASS:
            event = replace(event, at=self._last_at)
        self.orders.check(event)
        self.journal.append(event)
        self._take_in(event)

    def moment(self, now: datetime) -> datetime:
        """Now, or later where waiting for answers has taken its time."""
        return now if self._clock is None else max(now, self._clock.now())

    def _take_in(self, event: Event) -> None:
        self._last_at = event.at
        self.events += 1
        if not isinstance(event, _MOVES_NOTHING):
            self.stirred = True
        self.orders.apply(event)
        self.portfolio.apply(event)
        for follower in self._followers:
            follower(event)

    # -- asking ----------------------------------------------------------------------------

    def set_clock(self, now: datetime) -> None:
        """Begin a look at this moment; waits that began later, by a clock set back, begin anew."""
        if self._last_at is not None and now < self._last_at - _SET_BACK:
            self._last_at = now
            self.orders.wait_anew(now)

    def resolve(self, order: TrackedOrder, now: datetime) -> None:
        """Ask about an order or change that had no clear answer; what is seen is believed."""
        if not order.in_doubt:
            self._resolve_amend(order, now)
            return
        if order.exchange_id:
            self._resolve_accepted(order, now)
            return
        found = self.exchange.find_order(order.order_id, order.intended_at - self._overlap)
        if found is not None:
            self.record(OrderAccepted(now, order.order_id, found.exchange_id))
        elif now - order.changed_at >= self.doubt:
            why = f"the exchange has never heard of it after {self.doubt.seconds} s"
            self.record(OrderRefused(now, order.order_id, "never_arrived", why))
        elif order.state is OrderState.INTENDED:
            # A crash came between the intent and the answer: it may still turn up.
            self.record(OrderUnclear(now, order.order_id, DIED_SENDING))

    def _resolve_accepted(self, order: TrackedOrder, now: datetime) -> None:
        """An order the exchange once took: open still, over, or gone together with its account."""
        try:
            found = self.exchange.order(order.exchange_id)
        except OrderNotFound as fault:
            if now - order.changed_at >= self.doubt:
                why = f"the exchange does not know it any more ({fault.message})"
                self.record(OrderRefused(now, order.order_id, "lost", why))
            return
        if not found.state.is_final:
            self.record(OrderAccepted(now, order.order_id, order.exchange_id))
            self._see_terms(order, found, now)

    def _resolve_amend(self, order: TrackedOrder, now: datetime) -> None:
        """A change without a clear answer: the exchange is asked which terms the order has."""
        if order.amending is not None:
            found = self.exchange.order(order.exchange_id)
            if not found.state.is_final:
                self._see_terms(order, found, now)

    def _see_terms(self, order: TrackedOrder, found: Order, now: datetime) -> None:
        """Believe new terms when they are seen, old ones when the change can come no more."""
        wish = order.amending
        if wish is None or found.price is None:
            return
        if (found.quantity, found.price) == (wish.quantity, wish.price):
            self.record(OrderAmended(now, order.order_id, wish.quantity, wish.price))
        elif now - wish.at >= self.doubt:
            why = f"the exchange has not changed it after {self.doubt.seconds} s"
            self.record(OrderAmended(now, order.order_id, found.quantity, found.price, why))

    def sync(self, now: datetime, *, thorough: bool = False) -> bool:
        """Take in new fills and the ends of orders; whether they add up to what was executed.

        Statuses only say where to look: an order whose executed quantity differs from the fills
        we have makes us read the fills, and it is over only when its fills add up.
        """
        mine = [order for order in self.orders.live() if order.exchange_id]
        if not mine and not thorough:
            return True
        open_now = {order.exchange_id: order for order in self.exchange.open_orders()}
        self._sort_out_strangers(open_now, now)
        moved = [
            order
            for order in mine
            if order.exchange_id not in open_now
            or open_now[order.exchange_id].filled_quantity != order.filled
        ]
        if moved or thorough:
            self.take_fills(self._fills_since(), now)
        settled: list[TrackedOrder] = []
        turns = Turns()
        for order in moved:
            seen = open_now.get(order.exchange_id)
            turns.take(self._bring_up_to_date, order, seen, settled, now)
        turns.end()
        complete = len(settled) == len(moved)
        if complete and (moved or thorough):
            # Only where fills were read: what lists show later than they should is found then.
            self._complete_until = now
        return complete

    def _sort_out_strangers(self, open_now: Mapping[str, Order], now: datetime) -> None:
        strangers = []
        for order in open_now.values():
            ours = self.orders.of_exchange(order.exchange_id) or self.orders.get(order.order_id)
            if ours is None:
                strangers.append(order)
            elif ours.state is OrderState.REJECTED:
                self.record(OrderAccepted(now, ours.order_id, order.exchange_id))
        self.foreign = tuple(strangers)

    def _fills_since(self) -> datetime | None:
        known = self._complete_until or self.orders.newest_fill_at or self.orders.first_intended_at
        return None if known is None else known - self._overlap

    def take_fills(self, since: datetime | None, now: datetime) -> None:
        """Book fills of ours since a moment that are not known yet; None: there can be none."""
        if since is None:
            return
        for fill in self.exchange.fills(since):
            if self.orders.knows_fill(fill.trade_id):
                continue
            order = self.orders.of_exchange(fill.exchange_id) or self.orders.get(fill.order_id)
            if order is None or order.state is OrderState.INTENDED:
                continue
            if order.exchange_id not in ("", fill.exchange_id):
                continue  # another order of the same id: of an account book that is gone
            if order.state is OrderState.REJECTED:
                self.record(OrderAccepted(now, order.order_id, fill.exchange_id))
            wish = order.amending
            if wish is not None and fill.quantity > order.remaining:
                why = "more has filled than it was for before"
                self.record(OrderAmended(now, order.order_id, wish.quantity, wish.price, why))
            ours = replace(fill, order_id=order.order_id)
            self.record(OrderFilled(now, ours, order.purpose))

    def _bring_up_to_date(
        self, order: TrackedOrder, seen: Order | None, settled: list[TrackedOrder], now: datetime
    ) -> None:
        """Fetch what is missing of a moved order; it is `settled` if its fills now add up."""
        if self._adds_up(order, seen, now):
            settled.append(order)

    def _adds_up(self, order: TrackedOrder, seen: Order | None, now: datetime) -> bool:
        if order.state.is_final:
            return True
        if seen is None and order.remaining == 0 and order.amending is None:
            self.record(OrderEnded(now, order.order_id, OrderState.FILLED, order.filled, ""))
            return True
        if seen is None:
            try:
                seen = self.exchange.order(order.exchange_id)
            except OrderNotFound as fault:
                if not order.in_doubt:
                    self.record(OrderUnclear(now, order.order_id, fault.message))
                return False
        if seen.filled_quantity != order.filled:
            self.take_fills(order.intended_at - self._overlap, now)
        complete = seen.filled_quantity == order.filled
        if complete and seen.state.is_final:
            if order.amending is not None and seen.price is not None:
                why = "it was over before the answer came"
                self.record(OrderAmended(now, order.order_id, seen.quantity, seen.price, why))
            self.record(OrderEnded(now, order.order_id, seen.state, order.filled, seen.reason))
        return complete

    # -- sending ---------------------------------------------------------------------------

    def send(self, intent: OrderIntended) -> tuple[TrackedOrder, ExchangeError | None]:
        """Journal the intent, send it once, journal the answer; the order and what was wrong."""
        order_id = intent.request.order_id
        # How long an order may be in doubt counts from when it was really sent.
        intent = replace(intent, at=self.moment(intent.at))
        self.record(intent)
        order = self.orders.get(order_id)
        if order is None:  # pragma: no cover - recording an intent makes it known
            raise OrderNotFound(f"order {order_id} was not recorded")
        try:
            exchange_id = self.exchange.place(intent.request, intent.at)
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self.moment(intent.at), order_id, fault.message))
            return order, fault
        except ExchangeError as fault:
            self.record(OrderRefused(intent.at, order_id, fault.category, fault.message))
            return order, fault
        self.record(OrderAccepted(intent.at, order_id, exchange_id))
        return order, None

    def any_in_doubt(self) -> bool:
        """Whether an order may have filled without our knowing."""
        return any(order.in_doubt for order in self.orders.live())

    def cancel(self, order: TrackedOrder, reason: str, now: datetime) -> tuple[Change, str]:
        """Cancel and see how it ended; what came of it, and why it did not come to its end."""
        if order.state.is_final:
            return Change.MADE, ""
        if order.in_doubt:
            return Change.UNCERTAIN, "it is not known yet whether it arrived"
        if not order.cancelling:
            self.record(CancelIntended(now, order.order_id, reason))
        try:
            self.exchange.cancel(order.exchange_id)
        except OrderNotFound:
            pass  # over already: the look below tells how
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self.moment(now), order.order_id, fault.message))
            return Change.UNCERTAIN, fault.message
        except ExchangeError as fault:
            self.record(CancelRefused(self.moment(now), order.order_id, fault.message))
            return Change.NOT_NOW, fault.message
        self.sync(now)
        return (Change.MADE if order.state.is_final else Change.UNCERTAIN), ""

    def cancel_all(self, orders: Iterable[TrackedOrder], reason: str, now: datetime) -> bool:
        """Whether none of them lives any more."""
        # Each is asked, not only up to the first that lives.
        done = [self.cancel(order, reason, now)[0] is Change.MADE for order in orders]
        return all(done)

    def amend(
        self, order: TrackedOrder, remaining: Decimal, price: Decimal, now: datetime
    ) -> tuple[Change, str]:
        """Change a live order in place: it lives on all the while; what came of it, and why."""
        request = replace(order.request, quantity=order.filled + remaining, price=price)
        wish = AmendIntended(
            self.moment(now), order.order_id, request.quantity, price,
            "its size or price no longer fits",
        )  # fmt: skip
        self.record(wish)
        try:
            self.exchange.amend(order.exchange_id, request, now)
        except OrderNotFound as fault:
            self.sync(now)  # over already: this look tells how
            return Change.IMPOSSIBLE, fault.message
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self.moment(now), order.order_id, fault.message))
            return Change.UNCERTAIN, fault.message
        except ExchangeError as fault:
            old = order.request
            self.record(OrderAmended(
                now, order.order_id, old.quantity, old.price or ZERO, fault.message
            ))  # fmt: skip
            change = Change.IMPOSSIBLE if is_about_the_order(fault) else Change.NOT_NOW
            return change, fault.message
        self.record(OrderAmended(now, order.order_id, request.quantity, price))
        self.sync(now)
        return Change.MADE, ""
