"""The life of an order: which event may follow which, and what is known of each order by now.

The table `MOVES` is the whole state machine; `docs/order-life.md` shows it to people and a test
holds the two together. `OrderBookkeeping` is what you get by replaying the journal through it.
Orders that have been over for `fading.KEPT_FOR` are forgotten; the journal has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from trader.domain.errors import JournalError
from trader.domain.events import (
    AmendIntended,
    CancelIntended,
    CancelRefused,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
)
from trader.domain.fading import Fading
from trader.domain.markets import Pair
from trader.domain.orders import Fill, OrderRequest, OrderState, Purpose, Side

INTENDED, OPEN, UNKNOWN = OrderState.INTENDED, OrderState.OPEN, OrderState.UNKNOWN
FILLED, CANCELLED, EXPIRED, REJECTED = (
    OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED
)  # fmt: skip

# (state before, kind of event) -> state after; None stands for "not known before", and an
# OrderEnded carries the final state itself. What is not here cannot happen.
MOVES: dict[tuple[OrderState | None, type], OrderState | None] = {
    (None, OrderIntended): INTENDED,
    (INTENDED, OrderAccepted): OPEN,
    (INTENDED, OrderRefused): REJECTED,
    (INTENDED, OrderUnclear): UNKNOWN,
    (UNKNOWN, OrderAccepted): OPEN,
    (UNKNOWN, OrderRefused): REJECTED,
    (UNKNOWN, OrderUnclear): UNKNOWN,
    (UNKNOWN, OrderFilled): UNKNOWN,
    (UNKNOWN, OrderEnded): None,
    (OPEN, OrderFilled): OPEN,
    (OPEN, CancelIntended): OPEN,
    (OPEN, CancelRefused): OPEN,
    (OPEN, AmendIntended): OPEN,
    (OPEN, OrderAmended): OPEN,
    (UNKNOWN, OrderAmended): UNKNOWN,
    (OPEN, OrderUnclear): UNKNOWN,
    (OPEN, OrderEnded): None,
    # A fill is the truth whenever it is told of, even after the order was reported over.
    (FILLED, OrderFilled): FILLED,
    (CANCELLED, OrderFilled): CANCELLED,
    (EXPIRED, OrderFilled): EXPIRED,
    # Given up as never arrived, and then it turned up after all.
    (REJECTED, OrderAccepted): OPEN,
}
DIED_SENDING = "the program ended while sending"
"""Why an order is in doubt that the process before had written down and not heard of."""
_ORDER_EVENTS = tuple({kind for _, kind in MOVES})
_BUYS = (Purpose.ENTRY, Purpose.MANUAL)


@dataclass(slots=True)
class TrackedOrder:
    """One of our orders, as the journal knows it.

    Attributes:
        filled: base executed, the sum of the fills seen; likewise `cost_quote`, `fee_quote`.
        cancelling: a cancel has been sent, its outcome is not known yet.
        amending: a change that has been sent and whose outcome is not known yet. The order may
            have the terms of `request` or these.
        refusal: the exchange's words, where it refused.
        changed_at: when the journal last told of it.
        trade_ids: of the fills seen.
    """

    request: OrderRequest
    purpose: Purpose
    decided_for: datetime
    intended_at: datetime
    reason: str
    changed_at: datetime
    state: OrderState = INTENDED
    exchange_id: str = ""
    filled: Decimal = Decimal(0)
    cost_quote: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    cancelling: bool = False
    amending: AmendIntended | None = None
    refusal: str = ""
    trade_ids: list[str] = field(default_factory=list)

    @property
    def order_id(self) -> str:
        """Our id."""
        return self.request.order_id

    @property
    def pair(self) -> Pair:
        """What it trades."""
        return self.request.pair

    @property
    def remaining(self) -> Decimal:
        """Base still to be executed."""
        return self.request.quantity - self.filled

    @property
    def in_doubt(self) -> bool:
        """The exchange must be asked whether it lives."""
        return self.state in (INTENDED, UNKNOWN)

    @property
    def is_settled(self) -> bool:
        """Nothing that was sent about it still waits for its answer."""
        return not (self.in_doubt or self.cancelling or self.amending is not None)

    def has_terms(self, remaining: Decimal, price: Decimal) -> bool:
        """Whether this much of it is left, at this price."""
        return (remaining, price) == (self.remaining, self.request.price)


class OrderBookkeeping:
    """Our orders, all that live and those lately over: the replay of the journal's order events.

    `check` refuses an event that cannot happen, so that a fault shows before it is journalled.

    Attributes:
        fill_count: how many fills were applied; `intent_count` how many orders intended,
            `end_count` how many ended.
    """

    def __init__(self) -> None:
        self._orders: dict[str, TrackedOrder] = {}
        self._live: dict[str, TrackedOrder] = {}
        self._by_exchange_id: dict[str, str] = {}
        self._attempts: Counter[tuple[Pair, datetime, Side, Purpose]] = Counter()
        self._entries: dict[Pair, datetime] = {}
        self._trade_ids: set[str] = set()
        self._over: Fading[str] = Fading()
        self._old_attempts: Fading[tuple[Pair, datetime, Side, Purpose]] = Fading()
        self.fill_count = 0
        self.intent_count = 0
        self.end_count = 0
        self.newest_fill_at: datetime | None = None
        self.first_intended_at: datetime | None = None

    def allows(self, event: Event) -> bool:
        """Whether the event may follow what is known."""
        if not isinstance(event, _ORDER_EVENTS):
            return True
        return (self._state_before(event), type(event)) in MOVES

    def check(self, event: Event) -> None:
        """Demand that the event may follow what is known.

        Raises:
            JournalError: if it cannot.
        """
        if not self.allows(event):
            before = self._state_before(event)
            raise JournalError(
                f"order {_id_of(event)}: {type(event).__name__} cannot follow the state "
                f"'{before or 'never heard of'}'",
                "The journal and the program disagree; see docs/order-life.md.",
            )

    def apply(self, event: Event) -> None:
        """Take in one event; those that are not about orders pass.

        Raises:
            JournalError: if the event cannot follow what is known.
        """
        if not isinstance(event, _ORDER_EVENTS):
            return
        self.check(event)
        if isinstance(event, OrderIntended):
            self._begin(event)
            return
        order = self._orders[_id_of(event)]
        move = MOVES[order.state, type(event)]
        if isinstance(event, OrderEnded):
            move = event.state
        self._change(order, event)
        order.state = move or order.state
        order.changed_at = event.at
        if order.state.is_final:
            order.cancelling, order.amending = False, None
            self.end_count += 1
            if self._live.pop(order.order_id, None) is not None:
                self._over.over(order.order_id, event.at)

    def _change(self, order: TrackedOrder, event: Event) -> None:
        match event:
            case OrderFilled(fill=fill):
                self._fill(order, fill)
            case OrderAccepted(exchange_id=exchange_id):
                order.exchange_id = exchange_id
                order.cancelling = False
                self._by_exchange_id[exchange_id] = order.order_id
                self._live[order.order_id] = order
            case CancelIntended():
                order.cancelling = True
            case CancelRefused():
                order.cancelling = False
            case AmendIntended():
                order.amending = event
            case OrderAmended(quantity=quantity, price=price):
                order.request = replace(order.request, quantity=quantity, price=price)
                order.amending = None
            case OrderRefused(reason=reason):
                order.refusal = reason

    def wait_anew(self, now: datetime) -> None:
        """Let waits that began after `now`, by a clock that was set back since, begin at `now`."""
        for order in self._live.values():
            order.changed_at = min(order.changed_at, now)
            order.intended_at = min(order.intended_at, now)
            if order.amending is not None and order.amending.at > now:
                order.amending = replace(order.amending, at=now)

    def get(self, order_id: str) -> TrackedOrder | None:
        """The order with our id."""
        return self._orders.get(order_id)

    def of_exchange(self, exchange_id: str) -> TrackedOrder | None:
        """The order with the exchange's id, None if it is not ours."""
        order_id = self._by_exchange_id.get(exchange_id)
        return None if order_id is None else self._orders[order_id]

    def live(self, pair: Pair | None = None, *purposes: Purpose) -> tuple[TrackedOrder, ...]:
        """Orders that are not over, oldest first, of one pair and some purposes if given."""
        if not self._live:
            return ()
        # A list first: this is asked a dozen times a step, and a generator costs twice as much.
        found = [
            order
            for order in self._live.values()
            if (pair is None or order.pair is pair) and (not purposes or order.purpose in purposes)
        ]
        return tuple(found)

    def all_orders(self) -> Iterator[TrackedOrder]:
        """Every order that is known, oldest first."""
        return iter(self._orders.values())

    def next_attempt(self, pair: Pair, decided_for: datetime, side: Side, purpose: Purpose) -> int:
        """How many such orders there have been: the number of the next one."""
        return self._attempts[pair, decided_for, side, purpose]

    def entry_decided_for(self, pair: Pair) -> datetime | None:
        """The candle on which the newest entry of the pair was decided."""
        return self._entries.get(pair)

    def knows_fill(self, trade_id: str) -> bool:
        """Whether the fill was applied, as far back as orders are known."""
        return trade_id in self._trade_ids

    def _state_before(self, event: Any) -> OrderState | None:
        order = self._orders.get(_id_of(event))
        return None if order is None else order.state

    def _begin(self, event: OrderIntended) -> None:
        request = event.request
        order = TrackedOrder(
            request, event.purpose, event.decided_for, event.at, event.reason, event.at
        )
        self.intent_count += 1
        self.first_intended_at = self.first_intended_at or event.at
        self._orders[request.order_id] = self._live[request.order_id] = order
        attempt = request.pair, event.decided_for, request.side, event.purpose
        if not self._attempts[attempt]:
            self._old_attempts.over(attempt, event.at)
        self._attempts[attempt] += 1
        if request.side is Side.BUY and event.purpose in _BUYS:
            self._entries[request.pair] = event.decided_for
        self._forget(event.at)

    def _forget(self, now: datetime) -> None:
        for order_id in self._over.due(now):
            order = self._orders.get(order_id)
            if order is None or order_id in self._live:
                continue  # it has come back since
            del self._orders[order_id]
            self._by_exchange_id.pop(order.exchange_id, None)
            self._trade_ids.difference_update(order.trade_ids)
        for attempt in tuple(self._old_attempts.due(now)):
            pair, decided_for, _, _ = attempt
            if self._entries.get(pair) == decided_for:
                # What is held was bought then: its stops are numbered on from here.
                self._old_attempts.over(attempt, now)
            else:
                del self._attempts[attempt]

    def _fill(self, order: TrackedOrder, fill: Fill) -> None:
        if fill.trade_id in self._trade_ids:
            return
        self._trade_ids.add(fill.trade_id)
        order.trade_ids.append(fill.trade_id)
        self.fill_count += 1
        order.filled += fill.quantity
        order.cost_quote += fill.cost_quote
        order.fee_quote += fill.fee_quote
        self.newest_fill_at = max(fill.filled_at, self.newest_fill_at or fill.filled_at)


def _id_of(event: Any) -> str:
    match event:
        case OrderIntended(request=request):
            return request.order_id
        case OrderFilled(fill=fill):
            return fill.order_id
        case _:
            return str(event.order_id)
