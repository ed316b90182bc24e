"""From an approval to an order, its fills, and a position with a stop at the exchange.

What is sent and believed is the business of `trader.execution`: `desk` sends orders once and takes
fills in, `entries` and `exits` buy and sell, `protection` keeps the stops, `audit` compares
accounts. Here stands in which order they come to their turn. A failing read leaves everything as
the journal knows it and is raised; the next `settle` goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.events import (
    Event,
    Reconciled,
    StopMoved,
    TradeApproved,
    TradeRefused,
)
from trader.domain.markets import Pair
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import Order, OrderType, Purpose, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Approval, Refusal
from trader.execution.audit import AccountAudit
from trader.execution.desk import OrderDesk
from trader.execution.entries import Entries
from trader.execution.exits import Exit, Exits
from trader.execution.protection import StopGuard
from trader.execution.sizes import being_sold
from trader.execution.turns import Turns
from trader.ports import Clock, Exchange, Journal

_HURRY = timedelta(seconds=5)
"""A market order younger than this is looked after every second: it may be filling."""
_AFTER_A_FAULT = timedelta(seconds=10)
"""So soon after a pass that failed there is another, with something held or on its way."""


class TradingExecutor:
    """Keeps orders, fills, positions and their stops in step with the exchange.

    Args:
        portfolio: changed in place by every event that is recorded.
        doubt: how long an order without a clear answer may still turn up at the exchange.
        overlap: how far back before the last complete look fills are asked for again.
        clock: tells how late it has become while answers were waited for; without it nothing
            takes time.

    Attributes:
        orders: what the journal says of every order of ours.
        unprotected: held pairs without a live stop of their size, with the reason.
    """

    def __init__(
        self,
        exchange: Exchange,
        journal: Journal,
        portfolio: Portfolio,
        *,
        doubt: timedelta = timedelta(seconds=65),
        overlap: timedelta = timedelta(seconds=120),
        clock: Clock | None = None,
    ) -> None:
        desk = OrderDesk(exchange, journal, portfolio, doubt=doubt, overlap=overlap, clock=clock)
        self._desk = desk
        self._exits = Exits(desk)
        self._entries = Entries(desk, self._exits)
        self._audit = AccountAudit(desk)
        self._guard = StopGuard(desk, self._exits, self._audit)
        self._failed_at: datetime | None = None
        self.exchange = exchange
        self.journal = journal
        self.portfolio = portfolio
        self.orders = desk.orders
        self.unprotected = self._guard.unprotected

    @property
    def foreign(self) -> tuple[Order, ...]:
        """Open orders at the exchange that are not ours."""
        return self._desk.foreign

    @property
    def oddities(self) -> list[str]:
        """Journalled events that could not follow what was known."""
        return self._desk.oddities

    def restore(self, watch: Callable[[Event], None] | None = None) -> int:
        """Replay the journal into orders and portfolio; how many events there were.

        Args:
            watch: called with every event, for others who need to know the past.
        """
        return self._desk.restore(watch)

    def record(self, event: Event) -> None:
        """Journal an event, then let it take effect: never the other way round."""
        self._desk.record(event)

    # -- every cycle -----------------------------------------------------------------------

    def settle(self, now: datetime) -> None:
        """Bring in what happened since the last time, then see that every position is guarded.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        self._failed_at = now
        turns = Turns(whole=True)
        if self._look(turns, now):
            turns.take(self._exits.watch_targets, now)
            turns.take(self._exits.advance_all, now)
            turns.take(self._entries.tend_all, now)
        self._desk.stirred = False
        # Whatever has failed before: what is held is guarded.
        turns.take(self._guard.guard_all, now)
        if self._audit.due and not self._desk.any_in_doubt():
            turns.take(self.audit, now)  # put off while there was a doubt
        turns.end()
        self._failed_at = None

    def _look(self, turns: Turns, now: datetime, *, thorough: bool = False) -> bool:
        """Ask about what had no clear answer, then for news; whether the account could be read."""
        self._desk.set_clock(now)
        turns.take(self._resolve_all, now)
        return turns.take(self._desk.sync, now, thorough=thorough)

    def _resolve_all(self, now: datetime) -> None:
        turns = Turns()
        for order in self.orders.live():
            turns.take(self._desk.resolve, order, now)
        turns.end()

    @property
    def rests(self) -> bool:
        """Whether there is nothing left to do but to wait for orders on their way, if any."""
        return not (self._desk.stirred or self._audit.due)

    def next_look(self, now: datetime) -> datetime | None:
        """When `settle` should run again at the latest for orders on their way, None if idle."""
        live, doubt = self.orders.live(), self._desk.doubt
        moments = [order.changed_at + doubt for order in live if order.in_doubt]
        fresh = now - _HURRY
        filling = any(
            order.request.type is OrderType.MARKET and order.intended_at > fresh for order in live
        )
        moments += [order.amending.at + doubt for order in live if order.amending]
        moments = [moment if moment > now else now + _HURRY for moment in moments]
        if self._failed_at is not None and (live or self.portfolio.positions):
            moments.append(max(now, self._failed_at + _AFTER_A_FAULT))
        if filling:
            moments.append(now + timedelta(seconds=1))
        elif self._exits:
            moments.append(now + _HURRY)
        moments += self._entries.looks(now)
        tries = [self._exits.next_try(now), self._guard.next_try(now)]
        if not self._desk.any_in_doubt():
            tries.append(self._audit.next_look)
        moments += [moment for moment in tries if moment is not None]
        return max(min(moments), now) if moments else None

    def watched_targets(self) -> dict[Pair, Decimal]:
        """Price of the target of each position that has one, can be sold and is not being sold."""
        return self._exits.watched_targets()

    def waits(self, pair: Pair) -> bool:
        """Whether a purchase of the pair waits for its price."""
        return self._entries.waits(pair)

    def waiting_cost(self) -> dict[Pair, Decimal]:
        """Pair → quote that its waiting purchase is still to spend, at the planned price."""
        return self._entries.waiting_cost()

    # -- decisions -------------------------------------------------------------------------

    def carry_out(
        self,
        verdict: Approval | Refusal | None,
        now: datetime,
        purpose: Purpose | None = None,
    ) -> TrackedOrder | None:
        """Turn an approval into an order; a refusal is journalled; None does nothing.

        The same approval for the same candle is sent once, however often this is called.

        Args:
            verdict: what the risk rules said.
            now: the present moment, UTC.
            purpose: `MANUAL` for an order by hand; else entry or exit by its side.

        Returns:
            The order, None if none was sent (yet: a sale first waits for its stop's cancel).
        """
        match verdict:
            case Refusal():
                self.record(TradeRefused(now, verdict))
            case Approval(side=Side.BUY):
                return self._enter(verdict, purpose or Purpose.ENTRY, now)
            case Approval():
                return self._leave(verdict, purpose or Purpose.EXIT, now)
        return None

    def _enter(self, approval: Approval, purpose: Purpose, now: datetime) -> TrackedOrder | None:
        if self._done_or_busy(approval, purpose, now):
            return None
        self.record(TradeApproved(now, approval))
        order = self._entries.buy(approval, purpose, now)
        self._desk.sync(now)
        self._guard.guard(approval.pair, now)
        return order

    def _leave(self, approval: Approval, purpose: Purpose, now: datetime) -> TrackedOrder | None:
        if self._done_or_busy(approval, purpose, now):
            return None
        self.record(TradeApproved(now, approval))
        plan = Exit(
            approval.quantity, purpose, approval.closed_at, approval.in_words(),
            approval.limit_price, approval.entry,
        )  # fmt: skip
        order = self._exits.start(approval.pair, plan, now)
        self._guard.guard(approval.pair, now)
        return order

    def _done_or_busy(self, approval: Approval, purpose: Purpose, now: datetime) -> bool:
        """Whether it has been carried out, or must not be now: that is journalled."""
        pair, side = approval.pair, approval.side
        if self.orders.next_attempt(pair, approval.closed_at, side, purpose):
            return True
        reason = ""
        if self._exits.sells_all(pair) or (side is Side.BUY and pair in self._exits):
            reason = f"a sale of {pair} is on its way"
        elif side is Side.SELL:
            pass  # it waits until doubts are settled, in place of a weaker one that waits
        elif any(order.in_doubt for order in self.orders.live(pair)):
            reason = f"it is not known yet whether an order for {pair} arrived"
        elif being_sold(self.orders, pair):
            reason = f"an order selling {pair} waits at the exchange"
        if reason:
            refusal = Refusal(pair, approval.closed_at, "order_in_flight", reason)
            self.record(TradeRefused(now, refusal))
        return bool(reason)

    def expire_entries(self, pair: Pair, closed_at: datetime, now: datetime) -> None:
        """Cancel entries of the pair that were decided on an older candle and still wait."""
        self._entries.expire(pair, closed_at, now)

    def move_stop(self, pair: Pair, stop: Decimal, reason: str, now: datetime) -> None:
        """Raise the stop of a position: journalled first, then at the exchange."""
        self.record(StopMoved(now, pair, stop, reason))
        self._guard.guard(pair, now)

    def close(self, pair: Pair, decided_for: datetime, reason: str, now: datetime) -> None:
        """Sell all of a position, unless a sale of it is on its way."""
        if not self._exits.sells_all(pair):
            self._exits.start(pair, Exit(None, Purpose.EXIT, decided_for, reason), now)
            self._guard.guard(pair, now)

    def stand_down(self, now: datetime, reason: str, *, flatten: bool) -> bool:
        """Cancel all waiting entries and, if asked, sell all positions; call until it says done.

        Protective stops stay at the exchange as long as there is something to protect.

        Returns:
            True when no entry waits and, with `flatten`, nothing is held.

        Raises:
            ExchangeError: the first fault, when every pair has had its turn.
        """
        turns = Turns(whole=True)
        turns.take(self._entries.give_up_all, reason, now)
        if flatten:
            for pair in tuple(self.portfolio.positions):
                plan = Exit(None, Purpose.FLATTEN, now, reason)
                turns.take(self._exits.ensure, pair, plan, now)
                turns.take(self._guard.guard, pair, now)  # a refused sale must not leave it bare
        turns.end()
        waiting = any(o.request.side is Side.BUY for o in self.orders.live())
        return not waiting and not (flatten and (self._exits or self._exits.anything_saleable()))

    def call_off_flattening(self) -> None:
        """Keep what an emergency stop that has been lifted has not sold."""
        self._exits.call_off(Purpose.FLATTEN)

    # -- accounts --------------------------------------------------------------------------

    def reconcile(self, now: datetime, *, thorough: bool = True) -> Reconciled:
        """Compare journal and exchange, take in every difference, and say what they were.

        Call after `restore` and before anything is decided. Orders and money that are not ours
        are seen, reported and left alone. On the very first call the account's content is
        recorded as the first deposit.

        Args:
            now: the present moment, UTC.
            thorough: read fills and open orders even where nothing of ours is open, as after a
                time away; without, as at the end of a session, only what has changed is read.
        """
        notes: list[str] = list(self.oddities)
        before = frozenset(self.portfolio.trades)
        known = self.orders.fill_count
        turns = Turns(whole=True)
        self._look(turns, now, thorough=thorough)
        missed = self.orders.fill_count - known
        if missed:
            fills = "1 fill" if missed == 1 else f"{missed} fills"
            notes.append(f"{fills} took place since the last look and stand in the journal now")
            notes += [
                f"{t.pair}: sold {t.quantity} at {t.exit_price} ({t.exit_purpose})"
                for t in self.portfolio.trades
                if t not in before
            ]
        notes += [
            f"order {o.exchange_id} ({o.side} {o.remaining} {o.pair}) is not ours: left alone"
            for o in self.foreign
        ]
        turns.take(lambda: notes.extend(self.audit(now)))
        notes += [
            f"order {o.order_id} ({o.request.side} {o.pair}): not known yet whether it arrived"
            for o in self.orders.live()
            if o.in_doubt
        ]
        turns.take(self._guard.guard_all, now)
        turns.end()
        outcome = Reconciled(now, len(self.orders.live()), self.orders.fill_count, tuple(notes))
        self.record(outcome)
        return outcome

    def audit(self, now: datetime) -> list[str]:
        """Compare the exchange's balances with ours to the last decimal; journal differences.

        Returns:
            What differed, in words; the first deposit is no difference.
        """
        events, ended = self._desk.events, self.orders.end_count
        notes = self._audit.compare(now)
        if ended != self.orders.end_count:
            # A stop whose cancel had no answer may turn out to be over only here.
            self._exits.advance_all(now)
        if events != self._desk.events:
            self._guard.guard_all(now)
        return notes
