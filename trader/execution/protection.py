"""What is held has a live stop of its size at the exchange, or a stated reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trader.domain.errors import ExchangeError, InsufficientFunds, UnknownPair
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
from trader.execution.audit import AccountAudit
from trader.execution.desk import Change, OrderDesk, is_about_the_order
from trader.execution.exits import Exit, Exits
from trader.execution.sizes import ZERO, NoStop, StopTerms, being_sold, wanted_stop
from trader.execution.turns import LONGEST_PAUSE, Turns, pause_after

_PATIENCE = 3
"""So often a stop is tried for which the exchange says there are no funds."""
_TOLD_AT = 3
"""So many refusals in a row are told to a person."""
_NO_LONGER_FITS = "its size or price no longer fits"


@dataclass(frozen=True, slots=True)
class _Refused:
    """So many times in a row a stop with these terms was refused, the next try not before then."""

    times: int
    again_at: datetime
    terms: StopTerms


class StopGuard:
    """Places, changes and removes protective stops as positions change.

    Attributes:
        unprotected: held pairs without a live stop of their size, with the reason.
    """

    def __init__(self, desk: OrderDesk, exits: Exits, audit: AccountAudit) -> None:
        self.unprotected: dict[Pair, str] = {}
        self._desk = desk
        self._exits = exits
        self._audit = audit
        self._refused: dict[Pair, _Refused] = {}
        self._told: set[Pair] = set()

    def next_try(self, now: datetime) -> datetime | None:
        """When a stop that was refused is to be tried again, None where none was."""
        return min((self._waits_until(pair, now) for pair in self._refused), default=None)

    def guard_all(self, now: datetime) -> None:
        """See to every pair that is held or has a stop, whatever is wrong with another.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        held = self._desk.portfolio.positions
        stopped = (order.pair for order in self._desk.orders.live(None, Purpose.STOP))
        turns = Turns(whole=True)
        for pair in sorted({*held, *stopped}):
            turns.take(self.guard, pair, now)
        for pair in [p for p in self.unprotected if p not in held]:
            self._protected(pair)
        turns.end()

    def guard(self, pair: Pair, now: datetime) -> None:
        """Bring the stop of one pair to what is held of it.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        try:
            self._guard(pair, now)
        except UnknownPair as fault:  # delisted: no use in asking again and again
            self._refused.pop(pair, None)
            self.unprotected[pair] = fault.message
        except ExchangeError as fault:
            if self._desk.portfolio.position(pair) is not None and not self._stopped(pair):
                self.unprotected[pair] = fault.message
            raise

    def _stopped(self, pair: Pair) -> bool:
        """Whether a stop of the pair lives for certain, whatever its size."""
        return any(stop.is_settled for stop in self._desk.orders.live(pair, Purpose.STOP))

    def _guard(self, pair: Pair, now: datetime) -> None:
        desk = self._desk
        if any(order.in_doubt for order in desk.orders.live(pair)):
            stops = desk.orders.live(pair, Purpose.STOP)
            if desk.portfolio.position(pair) and not any(s.exchange_id for s in stops):
                self.unprotected[pair] = "an order of the pair is in doubt"
            return
        covered = False
        for stop in desk.orders.live(pair, Purpose.STOP):
            change = Change.IMPOSSIBLE if covered else self._made_to_fit(pair, stop, now)
            if change in (Change.UNCERTAIN, Change.NOT_NOW):
                return
            if change is Change.MADE:
                covered = True
                self._protected(pair)
                self._tell_what_is_for_sale(pair)
            elif not self._cancelled(pair, stop, now):
                return
        wanted = None if covered else self._wanted(pair)
        if isinstance(wanted, StopTerms):
            self._place(pair, wanted, now)
        elif not covered:
            self._refused.pop(pair, None)  # none is wanted, so none is to be tried again

    def _cancelled(self, pair: Pair, stop: TrackedOrder, now: datetime) -> bool:
        """Whether a stop that does not fit is over; if not, it is said why."""
        terms = StopTerms(stop.remaining, stop.request.price or ZERO)
        if now < self._waits_until(pair, now, terms):
            return False
        change, why = self._desk.cancel(stop, _NO_LONGER_FITS, now)
        if change is Change.NOT_NOW:
            self._stays(pair, stop, terms, why, now)
        return change is Change.MADE

    def _stays(
        self, pair: Pair, stop: TrackedOrder, terms: StopTerms, why: str, now: datetime
    ) -> None:
        failures = self._failed(pair, terms, now)
        words = f"its stop stays at {stop.remaining} for {stop.request.price}: {why}"
        self.unprotected[pair] = words
        if failures == _TOLD_AT:
            self._tell(pair, words, now)

    def _tell(self, pair: Pair, words: str, now: datetime) -> None:
        self._desk.record(Troubled(now, "unprotected", f"{pair}: {words}"))

    def _made_to_fit(self, pair: Pair, stop: TrackedOrder, now: datetime) -> Change:
        """Let a stop have the terms that are wanted; `IMPOSSIBLE` where it has to be cancelled."""
        wanted = self._wanted(pair)
        terms = wanted.terms if isinstance(wanted, NoStop) else wanted
        # Where it is not known which terms it has, a cancel is certain whatever they are.
        if terms is None or not stop.is_settled:
            return Change.IMPOSSIBLE
        if stop.has_terms(terms.quantity, terms.price):
            return Change.MADE
        if isinstance(wanted, NoStop):
            return Change.IMPOSSIBLE
        if now < self._waits_until(pair, now, terms):
            return Change.NOT_NOW
        change, why = self._desk.amend(stop, terms.quantity, terms.price, now)
        if change is Change.NOT_NOW:
            # It guards on as it is: to cancel it for a better one that may be refused as well
            # would leave the position bare.
            self._stays(pair, stop, terms, why, now)
        if change is Change.MADE and stop.state.is_final:
            return Change.IMPOSSIBLE  # it filled at once
        return change

    def _wanted(self, pair: Pair) -> StopTerms | NoStop | None:
        """The stop the pair should have, None where nothing is held."""
        desk = self._desk
        position = desk.portfolio.position(pair)
        if position is None:
            return None
        rules = desk.exchange.market_rules(pair)
        found = wanted_stop(rules, position, being_sold(desk.orders, pair))
        if isinstance(found, NoStop):
            self.unprotected[pair] = found.reason
        return found

    def _protected(self, pair: Pair) -> None:
        self.unprotected.pop(pair, None)
        self._refused.pop(pair, None)
        self._told.discard(pair)

    def _tell_what_is_for_sale(self, pair: Pair) -> None:
        """What an order waits to sell has no stop: the exchange lends it to one order only."""
        sold = being_sold(self._desk.orders, pair)
        if sold:
            self.unprotected[pair] = (
                f"{sold} {pair.base} wait for sale in another order and have no stop"
            )

    # -- placing ---------------------------------------------------------------------------

    def _place(self, pair: Pair, terms: StopTerms, now: datetime) -> None:
        if now < self._waits_until(pair, now, terms):
            return
        order, fault = self._desk.send(self._intent(pair, terms, now))
        if fault is None:
            self._protected(pair)
            self._tell_what_is_for_sale(pair)
            return
        self.unprotected[pair] = f"the stop could not be placed: {fault.message}"
        failures = self._failed(pair, terms, now)
        if order.state is OrderState.REJECTED and self._is_hopeless(fault, failures):
            self._give_up(pair, fault, now)
        elif failures == _TOLD_AT:
            self._tell(pair, f"no stop after {failures} tries: {fault.message}", now)

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

    def _waits_until(self, pair: Pair, now: datetime, terms: StopTerms | None = None) -> datetime:
        """When the next try is due: at once for other terms, or where the clock was set back."""
        refused = self._refused.get(pair)
        if refused is None or (terms is not None and terms != refused.terms):
            return now
        return refused.again_at if refused.again_at - now <= LONGEST_PAUSE else now

    def _failed(self, pair: Pair, terms: StopTerms, now: datetime) -> int:
        """Count a refusal; how many there were in a row."""
        before = self._refused.get(pair)
        times = 1 + (before.times if before is not None and before.terms == terms else 0)
        self._refused[pair] = _Refused(times, now + pause_after(times), terms)
        return times

    def _is_hopeless(self, fault: ExchangeError, failures: int) -> bool:
        """Whether the exchange will never take this very stop.

        What it refuses for now (busy, limits, the key) says nothing about the stop, and a sale
        would be refused as well: that is tried again.
        """
        if not isinstance(fault, InsufficientFunds):
            return is_about_the_order(fault)
        # Perhaps it is not there any more: accounts are compared before each further try.
        compared, self._audit.due = not self._audit.due, True
        return compared and failures >= _PATIENCE

    def _give_up(self, pair: Pair, fault: ExchangeError, now: datetime) -> None:
        """Sell what cannot be guarded, and tell someone."""
        if pair not in self._told:
            self._told.add(pair)
            self._tell(pair, f"no stop ({fault.message}): the position is sold", now)
        decided_for = self._desk.orders.entry_decided_for(pair) or now
        plan = Exit(None, Purpose.EXIT, decided_for, "its stop could not be placed")
        self._exits.ensure(pair, plan, now)
