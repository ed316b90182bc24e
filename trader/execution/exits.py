"""Sales of what is held: the way cleared first, so that stop and exit never both fill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trader.domain.events import OrderIntended
from trader.domain.markets import Pair
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import OrderRequest, OrderType, Purpose, Side, make_order_id
from trader.domain.portfolio import Position
from trader.execution.desk import OrderDesk
from trader.execution.sizes import ZERO, StopTerms, being_sold, saleable, wanted_stop


@dataclass(frozen=True, slots=True)
class Exit:
    """A sale on its way.

    Attributes:
        quantity: base to sell, None for all there is.
        limit_price: None sells at the market.
        expected: the price the decision reckoned with, for the report.
    """

    quantity: Decimal | None
    purpose: Purpose
    decided_for: datetime
    reason: str
    limit_price: Decimal | None = None
    expected: Decimal | None = None


class Exits:
    """The sales on their way, one a pair, each advanced until its order is sent."""

    def __init__(self, desk: OrderDesk) -> None:
        self._desk = desk
        self._pending: dict[Pair, Exit] = {}

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._pending

    def __bool__(self) -> bool:
        return bool(self._pending)

    def start(self, pair: Pair, plan: Exit, now: datetime) -> TrackedOrder | None:
        """Begin a sale, in place of one that is on its way already."""
        self._pending[pair] = plan
        return self.advance(pair, now)

    def ensure(self, pair: Pair, plan: Exit, now: datetime) -> None:
        """Begin a sale, or go on with the one that is on its way."""
        self._pending.setdefault(pair, plan)
        self.advance(pair, now)

    def advance_all(self, now: datetime) -> None:
        """A step of every sale on its way."""
        for pair in tuple(self._pending):
            self.advance(pair, now)

    def advance(self, pair: Pair, now: datetime) -> TrackedOrder | None:
        """One step of a sale: clear the way, confirm that it is clear, then sell.

        The stop is cancelled and its end confirmed first, or made smaller where only a part is
        sold; what it sold meanwhile is not sold again. Kraken has no one-cancels-other, so this
        order of things is what keeps stop and exit from both filling.
        """
        plan = self._pending.get(pair)
        if plan is None or not self._clear_the_way(pair, plan, now):
            return None
        position = self._desk.portfolio.position(pair)
        quantity = ZERO if position is None else self.saleable(position, plan.quantity)
        if not quantity:
            del self._pending[pair]
            return None
        order, fault = self._desk.send(self._intent(pair, plan, quantity, now))
        if fault is None or not fault.retryable:
            del self._pending[pair]
        self._desk.sync(now)
        return order

    def saleable(self, position: Position, wanted: Decimal | None = None) -> Decimal:
        """Base of a position that the exchange would let us sell."""
        return saleable(self._desk.exchange.market_rules(position.pair), position, wanted)

    def anything_saleable(self) -> bool:
        """Whether a position is large enough to be sold."""
        return any(map(self.saleable, self._desk.portfolio.positions.values()))

    # -- targets ---------------------------------------------------------------------------

    def watched_targets(self) -> dict[Pair, Decimal]:
        """Price of the target of each position that has one, can be sold and is not being sold.

        What is too small to be sold would else be found at its target again and again.
        """
        return {
            pair: position.take_profit
            for pair, position in self._desk.portfolio.positions.items()
            if position.take_profit is not None
            and pair not in self._pending
            and self._sells_for(position, position.take_profit)
        }

    def watch_targets(self, now: datetime) -> None:
        """Plan the sale of every position whose target the market has reached."""
        for pair, target in self.watched_targets().items():
            price = self._desk.exchange.ticker(pair).last
            if price >= target:
                decided_for = self._desk.orders.entry_decided_for(pair) or now
                self._pending[pair] = Exit(
                    None, Purpose.TARGET, decided_for, f"target {target} reached at {price}",
                    expected=target,
                )  # fmt: skip

    def _sells_for(self, position: Position, price: Decimal) -> bool:
        """Whether the exchange takes an order that sells all of it at that price."""
        minimum = self._desk.exchange.market_rules(position.pair).cost_minimum
        quantity = self.saleable(position)
        return quantity > 0 and quantity * price >= minimum

    # -- the way ---------------------------------------------------------------------------

    def _intent(self, pair: Pair, plan: Exit, quantity: Decimal, now: datetime) -> OrderIntended:
        key = (pair, plan.decided_for, Side.SELL, plan.purpose)
        kind = OrderType.MARKET if plan.limit_price is None else OrderType.LIMIT
        request = OrderRequest(
            make_order_id(*key, self._desk.orders.next_attempt(*key)),
            pair, Side.SELL, kind, quantity, plan.limit_price,
        )  # fmt: skip
        return OrderIntended(
            now, request, plan.purpose, plan.decided_for, plan.reason, expected=plan.expected
        )

    def _clear_the_way(self, pair: Pair, plan: Exit, now: datetime) -> bool:
        for order in self._desk.orders.live(pair):
            selling = order.request.side is Side.SELL and order.request.type is OrderType.MARKET
            if plan.purpose is Purpose.FLATTEN and order.in_doubt and not order.exchange_id:
                if not selling:
                    continue  # it may never have arrived; what is held is sold without it
                return False
            if selling:
                return False
            smaller = self._made_smaller(order, plan, now)
            if smaller is None:
                smaller = self._desk.cancel(order, f"to sell: {plan.reason}", now)
            if not smaller:
                return False
        return True

    def _made_smaller(self, order: TrackedOrder, plan: Exit, now: datetime) -> bool | None:
        """Let the stop go on guarding what a sale of a part leaves.

        Returns:
            True if it does, False while that is not certain, None if it has to be cancelled.
        """
        desk, pair = self._desk, order.pair
        position = desk.portfolio.position(pair)
        if plan.quantity is None or position is None:
            return None
        if desk.orders.live(pair, Purpose.STOP) != (order,) or not order.is_settled:
            return None
        sold = being_sold(desk.orders, pair) + self.saleable(position, plan.quantity)
        wanted = wanted_stop(desk.exchange.market_rules(pair), position, sold)
        if not isinstance(wanted, StopTerms):
            return None
        if order.has_terms(wanted.quantity, wanted.price):
            return True
        return desk.amend(order, wanted.quantity, wanted.price, now)
