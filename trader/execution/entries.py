"""Purchases: sent once, followed while they wait as makers, and given up with a reason."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from trader.domain.errors import UnknownPair
from trader.domain.events import (
    EmergencyStopped,
    Event,
    OrderIntended,
    TradeApproved,
    TradeRefused,
)
from trader.domain.markets import Pair
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import (
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.domain.signals import GIVEN_UP, Approval, Refusal
from trader.execution.desk import Change, OrderDesk
from trader.execution.exits import Exits
from trader.execution.sizes import ZERO
from trader.execution.turns import Turns
from trader.risk.entries import LOOK_EVERY, Move, next_step


class Entries:
    """Orders that buy, and the plans of those that wait for their price.

    Which purchases wait is known from the journal alone, so a restart goes on with them.
    """

    def __init__(self, desk: OrderDesk, exits: Exits) -> None:
        self._desk = desk
        self._exits = exits
        self._patient: dict[Pair, Approval] = {}
        self._looked: dict[Pair, datetime] = {}
        self._unwanted: dict[str, str] = {}
        self._ending: dict[Pair, tuple[Approval, str]] = {}
        desk.follow(self._follow)

    def _follow(self, event: Event) -> None:
        match event:
            case TradeApproved(approval=plan) if plan.side is Side.BUY and plan.patience:
                self._patient[plan.pair] = plan
                self._looked.pop(plan.pair, None)
            case TradeApproved(approval=plan):
                self._patient.pop(plan.pair, None)
            case TradeRefused(refusal=refusal) if refusal.rule == GIVEN_UP:
                self._patient.pop(refusal.pair, None)
            case OrderIntended(request=request) if request.type is OrderType.MARKET:
                self._patient.pop(request.pair, None)
            case EmergencyStopped():
                self._patient.clear()

    def waits(self, pair: Pair) -> bool:
        """Whether a purchase of the pair waits for its price."""
        return pair in self._patient

    def waiting_cost(self) -> dict[Pair, Decimal]:
        """Pair → quote that its waiting purchase is still to spend, at the planned price."""
        found = {}
        for pair, plan in self._patient.items():
            with suppress(UnknownPair):  # delisted: it is given up at the next look
                left = self._left(plan, self._orders_of(plan))
                if left:
                    found[pair] = left * (plan.limit_price or plan.entry)
        return found

    def looks(self, now: datetime) -> list[datetime]:
        """When each waiting purchase is to be looked at again at the latest."""
        return [
            min(plan.patience.until, now + LOOK_EVERY)
            for plan in self._patient.values()
            if plan.patience is not None
        ]

    def buy(self, plan: Approval, purpose: Purpose, now: datetime) -> TrackedOrder:
        """Send the first order of a purchase that has been approved."""
        return self._send(plan, purpose, plan.quantity, plan.limit_price, now)

    def tend_all(self, now: datetime) -> None:
        """Follow the market with every purchase that waits, whatever is wrong with another.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        turns = Turns()
        for order_id, reason in tuple(self._unwanted.items()):
            turns.take(self._drop, order_id, reason, now)
        for plan in tuple(self._patient.values()):
            turns.take(self._tend, plan, now)
        turns.end()

    def expire(self, pair: Pair, closed_at: datetime, now: datetime) -> None:
        """Give up what was decided on an older candle of the pair and still waits."""
        plan = self._patient.get(pair)
        if plan is not None and plan.closed_at < closed_at:
            self._give_up(plan, "a newer candle wants it no more", now)
        for order in self._desk.orders.live(pair, Purpose.ENTRY):
            if order.decided_for < closed_at:
                self._drop(order.order_id, "a newer candle has closed", now)

    def give_up_all(self, reason: str, now: datetime) -> None:
        """Cancel everything that waits to buy, whatever is wrong with one of them.

        Raises:
            ExchangeError: if a cancel was refused; call again.
        """
        turns = Turns()
        for plan in tuple(self._patient.values()):
            turns.take(self._give_up, plan, reason, now)
        for order in self._desk.orders.live():
            if order.request.side is Side.BUY:
                turns.take(self._drop, order.order_id, reason, now)
        turns.end()

    def _drop(self, order_id: str, reason: str, now: datetime) -> None:
        """Cancel an order, and keep at it while that is refused or not certain."""
        order = self._desk.orders.get(order_id)
        self._unwanted[order_id] = reason
        if order is None or self._desk.cancel(order, reason, now)[0] is Change.MADE:
            del self._unwanted[order_id]

    # -- one purchase ----------------------------------------------------------------------

    def _send(
        self, plan: Approval, purpose: Purpose, quantity: Decimal, limit: Decimal | None,
        now: datetime,
    ) -> TrackedOrder:  # fmt: skip
        """Send the next order of a purchase: waiting at a limit, or taking without one."""
        key = (plan.pair, plan.closed_at, Side.BUY, purpose)
        request = OrderRequest(
            make_order_id(*key, self._desk.orders.next_attempt(*key)),
            plan.pair, Side.BUY, OrderType.MARKET if limit is None else OrderType.LIMIT,
            quantity, limit, post_only=limit is not None and plan.patience is not None,
        )  # fmt: skip
        order, _ = self._desk.send(OrderIntended(
            now, request, purpose, plan.closed_at, plan.in_words(),
            plan.stop, plan.take_profit, plan.entry,
        ))  # fmt: skip
        return order

    def _tend(self, plan: Approval, now: datetime) -> None:
        """Follow the market with a purchase that waits, take the rest, or give it up."""
        try:
            self._follow_market(plan, now)
        except UnknownPair as fault:
            self._give_up(plan, fault.message, now)

    def _follow_market(self, plan: Approval, now: datetime) -> None:
        pair, desk, orders = plan.pair, self._desk, self._orders_of(plan)
        ending, reason = self._ending.get(pair, (None, ""))
        if ending is plan:
            self._give_up(plan, reason, now)
            return
        if any(order.in_doubt for order in desk.orders.live(pair)) or plan.patience is None:
            return
        if pair in self._exits or not orders or self._sold_since(plan):
            self._give_up(plan, "the position it was to add to is being sold", now)
            return
        if not self._left(plan, orders):
            self._patient.pop(pair, None)
            return
        if now < min(plan.patience.until, self._looked.get(pair, now - LOOK_EVERY) + LOOK_EVERY):
            return
        self._looked[pair] = now
        resting = next((o.request.price for o in orders if not o.state.is_final), None)
        step = next_step(
            plan.patience, now, desk.exchange.ticker(pair), resting, len(orders),
            desk.exchange.market_rules(pair),
        )  # fmt: skip
        if step.move is Move.GIVE_UP:
            self._give_up(plan, step.reason, now)
        elif step.move is not Move.WAIT and desk.cancel_all(orders, step.reason, now):
            left = self._left(plan, orders)
            if left:
                order = self._send(plan, Purpose.ENTRY, left, step.price, now)
                if step.price is None and order.state is OrderState.REJECTED:
                    self._give_up(plan, "the exchange refused the rest", now)
                desk.sync(now)

    def _orders_of(self, plan: Approval) -> list[TrackedOrder]:
        """The orders of one purchase so far, oldest first."""
        orders = self._desk.orders
        key = (plan.pair, plan.closed_at, Side.BUY, Purpose.ENTRY)
        ids = [make_order_id(*key, number) for number in range(orders.next_attempt(*key))]
        return [order for i in ids if (order := orders.get(i)) is not None]

    def _left(self, plan: Approval, orders: list[TrackedOrder]) -> Decimal:
        """Base still to be bought, 0 where the exchange would not take so little."""
        rules = self._desk.exchange.market_rules(plan.pair)
        left = rules.quantity_down(plan.quantity - sum((o.filled for o in orders), ZERO))
        small = left < rules.order_minimum or left * plan.entry < rules.cost_minimum
        return ZERO if small else left

    def _sold_since(self, plan: Approval) -> bool:
        """Whether a stop or another sale has filled since the purchase was decided."""
        return any(
            trade.exit_at >= plan.closed_at and trade.pair == plan.pair
            for trade in self._desk.portfolio.newest_trades(4)
        )

    def _give_up(self, plan: Approval, reason: str, now: datetime) -> None:
        """Cancel what waits and buy no more of it; said where `why` looks.

        While a cancel is refused or not certain it stays given up, and is tried again.
        """
        self._ending[plan.pair] = (plan, reason)
        if self._desk.cancel_all(self._orders_of(plan), reason, now):
            del self._ending[plan.pair]
            refusal = Refusal(plan.pair, plan.closed_at, GIVEN_UP, reason)
            self._desk.record(TradeRefused(now, refusal))
