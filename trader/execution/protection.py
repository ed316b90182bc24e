"""What is held has a live stop of its size at the exchange, or a stated reason why not."""

from __future__ import annotations

from datetime import datetime, timedelta

from trader.domain.errors import ExchangeError, InsufficientFunds
from trader.domain.events import OrderIntended, Troubled
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
from trader.execution.desk import OrderDesk
from trader.execution.exits import Exit, Exits
from trader.execution.sizes import NoStop, StopTerms, being_sold, wanted_stop

_NO_LONGER_FITS = "its size or price no longer fits"


class StopGuard:
    """Places, changes and removes protective stops as positions change.

    Attributes:
        unprotected: held pairs without a live stop of their size, with the reason.
    """

    def __init__(self, desk: OrderDesk, exits: Exits) -> None:
        self.unprotected: dict[Pair, str] = {}
        self._desk = desk
        self._exits = exits
        self._failures: dict[Pair, tuple[int, datetime]] = {}

    @property
    def tries_again(self) -> bool:
        """Whether a stop that was refused is to be placed again later."""
        return bool(self._failures)

    def guard_all(self, now: datetime) -> None:
        """See to every pair that is held or has a stop."""
        held = self._desk.portfolio.positions
        stopped = (order.pair for order in self._desk.orders.live(None, Purpose.STOP))
        for pair in sorted({*held, *stopped}):
            self.guard(pair, now)
        for pair in [p for p in self.unprotected if p not in held]:
            self._protected(pair)

    def guard(self, pair: Pair, now: datetime) -> None:
        """Bring the stop of one pair to what is held of it.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        desk = self._desk
        if any(order.in_doubt for order in desk.orders.live(pair)):
            stops = desk.orders.live(pair, Purpose.STOP)
            if desk.portfolio.position(pair) and not any(s.exchange_id for s in stops):
                self.unprotected[pair] = "an order of the pair is in doubt"
            return
        covered = False
        for stop in desk.orders.live(pair, Purpose.STOP):
            fits = None if covered else self._made_to_fit(pair, stop, now)
            if fits is False:
                return
            if fits:
                covered = True
                self._protected(pair)
            elif not desk.cancel(stop, _NO_LONGER_FITS, now):
                return
        wanted = None if covered else self._wanted(pair)
        if wanted is not None:
            self._place(pair, wanted, now)

    def _made_to_fit(self, pair: Pair, stop: TrackedOrder, now: datetime) -> bool | None:
        """Let a stop have the terms that are wanted.

        Returns:
            True if it lives and has them, False while that is not certain, None if it has to be
            cancelled, or is over.
        """
        wanted = self._wanted(pair)
        # Where it is not known which terms it has, a cancel is certain whatever they are.
        if wanted is None or not stop.is_settled:
            return None
        if stop.has_terms(wanted.quantity, wanted.price):
            return True
        changed = self._desk.amend(stop, wanted.quantity, wanted.price, now)
        return None if changed and stop.state.is_final else changed  # it may fill at once

    def _wanted(self, pair: Pair) -> StopTerms | None:
        """The terms the pair's stop should have, None if it should have none."""
        desk = self._desk
        position = desk.portfolio.position(pair)
        if position is None:
            return None
        rules = desk.exchange.market_rules(pair)
        found = wanted_stop(rules, position, being_sold(desk.orders, pair))
        if isinstance(found, NoStop):
            self.unprotected[pair] = found.reason
            return None
        return found

    def _protected(self, pair: Pair) -> None:
        self.unprotected.pop(pair, None)
        self._failures.pop(pair, None)

    def _place(self, pair: Pair, terms: StopTerms, now: datetime) -> None:
        _, again_at = self._failures.get(pair, (0, now))
        if now < again_at:
            return
        order, fault = self._desk.send(self._intent(pair, terms, now))
        if fault is None:
            self._protected(pair)
            return
        self.unprotected[pair] = f"the stop could not be placed: {fault.message}"
        if order.state is OrderState.REJECTED:
            self._refused(pair, fault, now)

    def _intent(self, pair: Pair, terms: StopTerms, now: datetime) -> OrderIntended:
        orders = self._desk.orders
        decided_for = orders.entry_decided_for(pair) or now
        key = (pair, decided_for, Side.SELL, Purpose.STOP)
        request = OrderRequest(
            make_order_id(*key, orders.next_attempt(*key)),
            pair, Side.SELL, OrderType.STOP_LOSS, terms.quantity, terms.price,
        )  # fmt: skip
        return OrderIntended(
            now, request, Purpose.STOP, decided_for, f"protects {terms.quantity} {pair}",
            expected=terms.price,
        )  # fmt: skip

    def _refused(self, pair: Pair, fault: ExchangeError, now: datetime) -> None:
        """Try again after a pause; without hope, sell what cannot be guarded and tell someone."""
        failures = self._failures.get(pair, (0, now))[0] + 1
        self._failures[pair] = (failures, now + _pause(failures))
        patience = 3 if fault.retryable or isinstance(fault, InsufficientFunds) else 1
        if failures < patience:
            return
        message = f"{pair} has no stop ({fault.message}): the position is closed"
        self._desk.record(Troubled(now, "unprotected", message))
        decided_for = self._desk.orders.entry_decided_for(pair) or now
        plan = Exit(None, Purpose.EXIT, decided_for, "its stop could not be placed")
        self._exits.ensure(pair, plan, now)


def _pause(failures: int) -> timedelta:
    """How long to wait before the next try: 1, 2, 4 … up to 60 seconds."""
    return timedelta(seconds=min(60, 2 ** (failures - 1)))
