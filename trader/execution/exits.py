"""Sales of what is held: the way cleared first, so that stop and exit never both fill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.errors import (
    BelowMinimum,
    ExchangeError,
    InsufficientFunds,
    UnknownPair,
)
from trader.domain.events import OrderIntended
from trader.domain.markets import MarketRules, Pair
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import (
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.domain.portfolio import Position
from trader.execution.desk import Change, OrderDesk, is_about_the_order
from trader.execution.sizes import ZERO, StopTerms, being_sold, saleable, wanted_stop
from trader.execution.turns import LONGEST_PAUSE, Turns, pause_after

_FORGOTTEN_AFTER = timedelta(minutes=10)
"""Refusals of so long ago say nothing about the next try."""
_PATIENCE = 3
"""So often a sale is tried for which the exchange says there are no funds."""


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

    @property
    def sells_all(self) -> bool:
        """Whether it sells all there is, at the market."""
        return self.quantity is None and self.limit_price is None


class Exits:
    """The sales on their way, one a pair, each advanced until its order is sent."""

    def __init__(self, desk: OrderDesk) -> None:
        self._desk = desk
        self._pending: dict[Pair, Exit] = {}
        self._refused: dict[Pair, tuple[int, datetime]] = {}
        self._sent: dict[Pair, tuple[TrackedOrder, Exit]] = {}
        self._too_small: dict[Pair, tuple[Decimal, datetime]] = {}

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._pending

    def __bool__(self) -> bool:
        return bool(self._pending)

    def sells_all(self, pair: Pair) -> bool:
        """Whether the sale of all that is held of a pair, at the market, is on its way."""
        plan = self._pending.get(pair)
        return plan is not None and plan.sells_all

    def start(self, pair: Pair, plan: Exit, now: datetime) -> TrackedOrder | None:
        """Begin a sale, in place of one that is on its way already and has not been sent."""
        self._pending[pair] = plan
        self._refused.pop(pair, None)
        return self.advance(pair, now)

    def ensure(self, pair: Pair, plan: Exit, now: datetime) -> None:
        """See that all is sold: by a sale of all that is on its way, or by this one."""
        if self.sells_all(pair):
            self.advance(pair, now)
        else:
            self.start(pair, plan, now)

    def call_off(self, purpose: Purpose) -> None:
        """Forget the sales of one purpose that have not been sent."""
        for pair in [p for p, plan in self._pending.items() if plan.purpose is purpose]:
            del self._pending[pair]

    def next_try(self, now: datetime) -> datetime | None:
        """When a sale that was refused for now is to be tried again, None where none was."""
        waiting = [pair for pair in self._pending if pair in self._refused]
        return min((self._waits_until(pair, now) for pair in waiting), default=None)

    def advance_all(self, now: datetime) -> None:
        """A step of every sale on its way, whatever is wrong with another.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        turns = Turns()
        for pair in tuple(self._pending):
            turns.take(self.advance, pair, now)
        turns.end()

    def advance(self, pair: Pair, now: datetime) -> TrackedOrder | None:
        """One step of a sale: clear the way, confirm that it is clear, then sell.

        The stop is cancelled and its end confirmed first, or made smaller where only a part is
        sold; what it sold meanwhile is not sold again. Kraken has no one-cancels-other, so this
        order of things is what keeps stop and exit from both filling. Where the market takes no
        orders the stop stays.
        """
        if pair not in self._pending or now < self._waits_until(pair, now):
            return None
        if not self._answered(pair):
            return None
        plan = self._pending.get(pair)
        if plan is None:
            return None
        if not self._takes_sales(pair, plan):
            self._pause(pair, now)
            return None
        if not self._clear_the_way(pair, plan, now):
            return None
        position = self._desk.portfolio.position(pair)
        quantity = ZERO if position is None else self.saleable(position, plan.quantity, now)
        if not quantity:
            del self._pending[pair]
            return None
        order, fault = self._desk.send(self._intent(pair, plan, quantity, now))
        self._note(order, fault, now)
        self._desk.sync(now)
        return order

    def _answered(self, pair: Pair) -> bool:
        """Whether it is known what came of the last try; a sale that arrived ends its plan."""
        if pair not in self._sent:
            return True
        order, plan = self._sent[pair]
        if order.in_doubt:
            return False
        del self._sent[pair]
        if order.state is not OrderState.REJECTED and self._pending.get(pair) is plan:
            del self._pending[pair]
        return True

    def _note(self, order: TrackedOrder, fault: ExchangeError | None, now: datetime) -> None:
        """Keep a sale that was refused for now, to be tried again after a pause that grows."""
        pair = order.pair
        if fault is None:
            self._refused.pop(pair, None)
            del self._pending[pair]
            return
        if order.in_doubt:
            self._sent[pair] = (order, self._pending[pair])
            return
        failures = self._pause(pair, now)
        if isinstance(fault, BelowMinimum):
            self._too_small[pair] = (order.request.quantity, now)
        # What a cancelled stop sets free may take a moment to be booked.
        no_funds = isinstance(fault, InsufficientFunds) and failures >= _PATIENCE
        if is_about_the_order(fault) or no_funds:
            del self._pending[pair]

    def _rules(self, pair: Pair) -> MarketRules | None:
        """What the market demands, None where it is gone."""
        try:
            return self._desk.exchange.market_rules(pair)
        except UnknownPair:
            return None

    def _takes_sales(self, pair: Pair, plan: Exit) -> bool:
        """Whether the market's mode allows it: if not, the stop must not be cancelled for it."""
        rules = self._rules(pair)  # delisted: given up where it finds nothing to sell
        return rules is None or rules.takes(buy=False, limit=plan.limit_price is not None)

    def _pause(self, pair: Pair, now: datetime) -> int:
        failures, again_at = self._refused.get(pair, (0, now))
        failures = 1 if now - again_at > _FORGOTTEN_AFTER else failures + 1
        self._refused[pair] = (failures, now + pause_after(failures))
        return failures

    def _waits_until(self, pair: Pair, now: datetime) -> datetime:
        """When the next try is due; a clock that was set back makes it due at once."""
        _, again_at = self._refused.get(pair, (0, now))
        return again_at if again_at - now <= LONGEST_PAUSE else now

    def saleable(
        self, position: Position, wanted: Decimal | None = None, now: datetime | None = None
    ) -> Decimal:
        """Base of a position that the exchange would let us sell.

        What it has just called too small is not offered again for ten minutes, unless it is many
        times its minimum: then the refusal was about something else.
        """
        rules = self._rules(position.pair)
        if rules is None:
            return ZERO
        part = saleable(rules, position, wanted)
        refused, at = self._too_small.get(position.pair, (ZERO, position.opened_at))
        forgotten = now is not None and abs(now - at) > _FORGOTTEN_AFTER
        if part > refused or forgotten:
            return part
        worth = part * position.entry_price
        small = part < 10 * rules.order_minimum or worth < 10 * rules.cost_minimum
        return ZERO if small else part

    def anything_saleable(self) -> bool:
        """Whether a position is large enough to be sold."""
        held = self._desk.portfolio.positions.values()
        return any(self.saleable(position) for position in held)

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
        """Plan the sale of every position whose target the market has reached.

        Raises:
            ExchangeError: if a price could not be read; call again.
        """
        turns = Turns()
        for pair, target in self.watched_targets().items():
            turns.take(self._watch_target, pair, target, now)
        turns.end()

    def _watch_target(self, pair: Pair, target: Decimal, now: datetime) -> None:
        price = self._desk.exchange.ticker(pair).last
        if price >= target:
            decided_for = self._desk.orders.entry_decided_for(pair) or now
            self._pending[pair] = Exit(
                None, Purpose.TARGET, decided_for, f"target {target} reached at {price}",
                expected=target,
            )  # fmt: skip

    def _sells_for(self, position: Position, price: Decimal) -> bool:
        """Whether the exchange takes an order that sells all of it at that price."""
        quantity = self.saleable(position)
        if not quantity:
            return False
        return quantity * price >= self._desk.exchange.market_rules(position.pair).cost_minimum

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
            change = self._made_smaller(order, plan, now)
            if change is Change.MADE:
                continue
            if change is not Change.IMPOSSIBLE:
                return False
            change, _ = self._desk.cancel(order, f"to sell: {plan.reason}", now)
            if change is Change.NOT_NOW:
                self._pause(pair, now)
            if change is not Change.MADE:
                return False
        return True

    def _made_smaller(self, order: TrackedOrder, plan: Exit, now: datetime) -> Change:
        """Let the stop go on guarding what a sale of a part leaves.

        Returns:
            `IMPOSSIBLE` where it has to be cancelled.
        """
        desk, pair = self._desk, order.pair
        position = desk.portfolio.position(pair)
        if plan.quantity is None or position is None:
            return Change.IMPOSSIBLE
        if desk.orders.live(pair, Purpose.STOP) != (order,) or not order.is_settled:
            return Change.IMPOSSIBLE
        sold = being_sold(desk.orders, pair) + self.saleable(position, plan.quantity)
        rules = self._rules(pair)
        wanted = None if rules is None else wanted_stop(rules, position, sold)
        if not isinstance(wanted, StopTerms):
            return Change.IMPOSSIBLE
        if order.has_terms(wanted.quantity, wanted.price):
            return Change.MADE
        change, _ = desk.amend(order, wanted.quantity, wanted.price, now)
        if change is Change.NOT_NOW:
            self._pause(pair, now)
        return change
