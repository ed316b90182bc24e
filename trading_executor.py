"""From an approval to an order, its fills, and a position with a stop at the exchange.

The order of things never changes: an intent is journalled before anything leaves the machine, a
fill is applied once by its trade id, and a question without a clear answer is settled by asking
again, never by sending again. `docs/order-life.md` has the states and moves.

A failing read leaves everything as the journal knows it and is raised; the next `settle` goes on
from there. So every method may be interrupted at any line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.errors import (
    ExchangeError,
    InsufficientFunds,
    OrderNotFound,
    OutcomeUnknown,
    UnexpectedAnswer,
    Unreachable,
)
from trader.domain.events import (
    ROUNDING,
    AmendIntended,
    CancelIntended,
    CashAdjusted,
    EmergencyStopped,
    EquityMarked,
    Event,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    Reconciled,
    RiskStateChanged,
    SignalMade,
    StopMoved,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.markets import Balance, Pair
from trader.domain.order_life import DIED_SENDING, OrderBookkeeping, TrackedOrder
from trader.domain.orders import (
    Order,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.domain.portfolio import Portfolio, Position
from trader.domain.signals import GIVEN_UP, Approval, Refusal
from trader.ports import Clock, Exchange, Journal
from trader.risk.entries import LOOK_EVERY, Move, next_step

ZERO = Decimal(0)
ZERO_S = timedelta(0)
_LONGEST_PASS = timedelta(minutes=10)
CENT = Decimal("0.01")
_HURRY = timedelta(seconds=5)
"""A market order younger than this is looked after every second: it may be filling."""
_MOVES_NOTHING = (EquityMarked, RiskStateChanged, SignalMade, TradeRefused)
"""Events after which orders, positions and stops are as they were."""
_NO_CLEAR_ANSWER = (OutcomeUnknown, Unreachable, UnexpectedAnswer)


@dataclass(frozen=True, slots=True)
class _Exit:
    """A sale on its way: `quantity` None means all there is."""

    quantity: Decimal | None
    purpose: Purpose
    decided_for: datetime
    reason: str
    limit_price: Decimal | None = None
    expected: Decimal | None = None


class TradingExecutor:
    """Keeps orders, fills, positions and their stops in step with the exchange.

    Args:
        portfolio: changed in place by every event that is recorded.
        doubt: how long an order without a clear answer may still turn up at the exchange.
        overlap: how far back before the last complete look fills are asked for again.
        clock: tells how late it has become while answers were waited for; without it nothing
            takes time.

    Attributes:
        foreign: open orders at the exchange that are not ours.
        unprotected: held pairs without a live stop of their size, with the reason.
        oddities: journalled events that could not follow what was known.
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
        self.exchange = exchange
        self.journal = journal
        self.portfolio = portfolio
        self.orders = OrderBookkeeping()
        self.foreign: tuple[Order, ...] = ()
        self.unprotected: dict[Pair, str] = {}
        self.oddities: list[str] = []
        self._doubt = doubt
        self._overlap = overlap
        self._clock = clock
        self._last_at: datetime | None = None
        self._stirred = True
        self._audit_due = False
        self._exits: dict[Pair, _Exit] = {}
        self._stop_failures: dict[Pair, tuple[int, datetime]] = {}
        self._complete_until: datetime | None = None
        self._begun = False
        self._patient: dict[Pair, Approval] = {}
        self._looked: dict[Pair, datetime] = {}

    # -- the record ------------------------------------------------------------------------

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

    def _moment(self, now: datetime) -> datetime:
        """Now, or later where waiting for answers has taken its time."""
        return now if self._clock is None else max(now, self._clock.now())

    def _take_in(self, event: Event) -> None:
        self._last_at = event.at
        if not isinstance(event, _MOVES_NOTHING):
            self._stirred = True
        self.orders.apply(event)
        self.portfolio.apply(event)
        if isinstance(event, CashAdjusted):
            self._begun = True
        self._follow_patience(event)

    def _follow_patience(self, event: Event) -> None:
        """Know from the journal alone which purchases wait as makers."""
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

    # -- every cycle -----------------------------------------------------------------------

    def settle(self, now: datetime) -> None:
        """Bring in what happened since the last time, then see that every position is guarded.

        Raises:
            ExchangeError: if the exchange could not be read; call again.
        """
        self._resolve_doubts(now)
        self._sync(now)
        if self._audit_due and not self._any_in_doubt():
            self.audit(now)  # put off while there was a doubt
        self._watch_targets(now)
        for pair in tuple(self._exits):
            self._advance_exit(pair, now)
        for plan in tuple(self._patient.values()):
            self._tend(plan, now)
        self._stirred = False
        self._guard_positions(now)

    @property
    def rests(self) -> bool:
        """Whether there is nothing left to do but to wait for orders on their way, if any."""
        return not (self._stirred or self._audit_due or self._stop_failures)

    def next_look(self, now: datetime) -> datetime | None:
        """When `settle` should run again at the latest for orders on their way, None if idle."""
        live = self.orders.live()
        moments = [order.changed_at + self._doubt for order in live if order.in_doubt]
        fresh = now - _HURRY
        filling = any(
            order.request.type is OrderType.MARKET and order.intended_at > fresh for order in live
        )
        moments += [order.amending.at + self._doubt for order in live if order.amending]
        if filling or self._exits:
            moments.append(now + (timedelta(seconds=1) if filling else _HURRY))
        for plan in self._patient.values():
            if plan.patience is not None:
                moments.append(min(plan.patience.until, now + LOOK_EVERY))
        return max(min(moments), now) if moments else None

    def watched_targets(self) -> dict[Pair, Decimal]:
        """Price of the target of each position that has one, can be sold and is not being sold.

        What is too small to be sold would else be found at its target again and again.
        """
        return {
            pair: position.take_profit
            for pair, position in self.portfolio.positions.items()
            if position.take_profit is not None
            and pair not in self._exits
            and self._sells_for(position, position.take_profit)
        }

    def _sells_for(self, position: Position, price: Decimal) -> bool:
        """Whether the exchange takes an order that sells all of it at that price."""
        minimum = self.exchange.market_rules(position.pair).cost_minimum
        quantity = self._saleable(position, None)
        return quantity > 0 and quantity * price >= minimum

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

    def expire_entries(self, pair: Pair, closed_at: datetime, now: datetime) -> None:
        """Cancel entries of the pair that were decided on an older candle and still wait."""
        plan = self._patient.get(pair)
        if plan is not None and plan.closed_at < closed_at:
            self._give_up(plan, "a newer candle wants it no more", now)
        for order in self.orders.live(pair, Purpose.ENTRY):
            if order.decided_for < closed_at:
                self._cancel(order, "a newer candle has closed", now)

    def move_stop(self, pair: Pair, stop: Decimal, reason: str, now: datetime) -> None:
        """Raise the stop of a position: journalled first, then at the exchange."""
        self.record(StopMoved(now, pair, stop, reason))
        self._guard(pair, now)

    def close(self, pair: Pair, decided_for: datetime, reason: str, now: datetime) -> None:
        """Sell all of a position, unless a sale of it is on its way."""
        if pair not in self._exits:
            self._exits[pair] = _Exit(None, Purpose.EXIT, decided_for, reason)
            self._advance_exit(pair, now)
            self._guard(pair, now)

    def stand_down(self, now: datetime, reason: str, *, flatten: bool) -> bool:
        """Cancel all waiting entries and, if asked, sell all positions; call until it says done.

        Protective stops stay at the exchange as long as there is something to protect.

        Returns:
            True when no entry waits and, with `flatten`, nothing is held.
        """
        for plan in tuple(self._patient.values()):
            self._give_up(plan, reason, now)
        for order in self.orders.live():
            if order.request.side is Side.BUY:
                self._cancel(order, reason, now)
        if flatten:
            for pair in tuple(self.portfolio.positions):
                self._exits.setdefault(pair, _Exit(None, Purpose.FLATTEN, now, reason))
                self._advance_exit(pair, now)
                self._guard(pair, now)  # a sale that is refused must not leave it bare
        waiting = any(o.request.side is Side.BUY for o in self.orders.live())
        return not waiting and not (flatten and (self._exits or self._anything_saleable()))

    # -- at start --------------------------------------------------------------------------

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
        ended_before = self.portfolio.trades_ended
        known = self.orders.fill_count
        self._resolve_doubts(now)
        self._sync(now, thorough=thorough)
        missed = self.orders.fill_count - known
        if missed:
            fills = "1 fill" if missed == 1 else f"{missed} fills"
            notes.append(f"{fills} took place since the last look and stand in the journal now")
            notes += [
                f"{t.pair}: sold {t.quantity} at {t.exit_price} ({t.exit_purpose})"
                for t in self.portfolio.newest_trades(self.portfolio.trades_ended - ended_before)
            ]
        notes += [
            f"order {o.exchange_id} ({o.side} {o.remaining} {o.pair}) is not ours: left alone"
            for o in self.foreign
        ]
        notes += self.audit(now)
        notes += [
            f"order {o.order_id} ({o.request.side} {o.pair}): not known yet whether it arrived"
            for o in self.orders.live()
            if o.in_doubt
        ]
        self._guard_positions(now)
        outcome = Reconciled(now, len(self.orders.live()), self.orders.fill_count, tuple(notes))
        self.record(outcome)
        return outcome

    def audit(self, now: datetime) -> list[str]:
        """Compare the exchange's balances with ours to the last decimal; journal differences.

        While it is not known of an order whether it arrived, or fills are still missing, nothing
        can be said and nothing is done. A difference that
        no rounding explains is believed when a second look shows the same: an answer out of some
        cache must not take away what a position stands on.

        Returns:
            What differed, in words; the first deposit is no difference.
        """
        ended = self.orders.end_count
        notes = self._compare(now)
        if ended != self.orders.end_count:
            # A stop whose cancel had no answer may turn out to be over only here.
            for pair in tuple(self._exits):
                self._advance_exit(pair, now)
            self._guard_positions(now)
        return notes

    def _compare(self, now: datetime) -> list[str]:
        before: dict[str, Decimal] | None = None
        for _ in range(4):
            fills = self.orders.fill_count
            balances = self.exchange.balances()
            complete = self._sync(now, thorough=True)
            if fills != self.orders.fill_count:
                continue
            self._audit_due = not complete or (self._begun and self._any_in_doubt())
            if self._audit_due:
                return []
            found = self._differences(balances)
            if found == before or not self._begun or all(map(self._is_rounding, found.items())):
                return self._adjust(found, now)
            before = found
        return []

    def _any_in_doubt(self) -> bool:
        """Whether an order may have filled without our knowing."""
        return any(order.in_doubt for order in self.orders.live())

    def _differences(self, balances: Mapping[str, Balance]) -> dict[str, Decimal]:
        """Asset → what the exchange has more than we know of."""
        expected = self.portfolio.holdings()
        found = {}
        for asset in sorted({self.portfolio.quote, *balances, *expected}):
            actual = balances[asset].total if asset in balances else ZERO
            amount = actual - expected.get(asset, ZERO)
            if amount or (not self._begun and asset == self.portfolio.quote):
                found[asset] = amount
        return found

    def _is_rounding(self, difference: tuple[str, Decimal]) -> bool:
        asset, amount = difference
        return asset == self.portfolio.quote and abs(amount) < CENT

    def _adjust(self, differences: Mapping[str, Decimal], now: datetime) -> list[str]:
        first = not self._begun
        notes = []
        for asset, amount in differences.items():
            if first:
                at_quote = asset == self.portfolio.quote
                reason = "first deposit" if at_quote else "held before the first start"
            elif self._is_rounding((asset, amount)):
                reason = ROUNDING
            else:
                reason = "a transfer or a trade by hand"
                notes.append(f"{amount:+f} {asset} at the exchange: {reason}")
            self.record(CashAdjusted(now, asset, amount, reason))
        return notes

    # -- asking the exchange ---------------------------------------------------------------

    def _resolve_doubts(self, now: datetime) -> None:
        for order in self.orders.live():
            if not order.in_doubt:
                self._resolve_amend(order, now)
                continue
            if order.exchange_id:
                self._resolve_accepted(order, now)
                continue
            found = self.exchange.find_order(order.order_id, order.intended_at - self._overlap)
            if found is not None:
                self.record(OrderAccepted(now, order.order_id, found.exchange_id))
            elif now - order.changed_at >= self._doubt:
                why = f"the exchange has never heard of it after {self._doubt.seconds} s"
                self.record(OrderRefused(now, order.order_id, "never_arrived", why))
            elif order.state is OrderState.INTENDED:
                # A crash came between the intent and the answer: it may still turn up.
                self.record(OrderUnclear(now, order.order_id, DIED_SENDING))

    def _resolve_accepted(self, order: TrackedOrder, now: datetime) -> None:
        """An order the exchange once took: open still, over, or gone together with its account."""
        try:
            found = self.exchange.order(order.exchange_id)
        except OrderNotFound as fault:
            if now - order.changed_at >= self._doubt:
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
        elif now - wish.at >= self._doubt:
            why = f"the exchange has not changed it after {self._doubt.seconds} s"
            self.record(OrderAmended(now, order.order_id, found.quantity, found.price, why))

    def _sync(self, now: datetime, *, thorough: bool = False) -> bool:
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
            self._take_fills(self._fills_since(), now)
        settled = [self._bring_up_to_date(o, open_now.get(o.exchange_id), now) for o in moved]
        if all(settled):
            self._complete_until = now
        return all(settled)

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

    def _take_fills(self, since: datetime | None, now: datetime) -> None:
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

    def _bring_up_to_date(self, order: TrackedOrder, seen: Order | None, now: datetime) -> bool:
        """Fetch what is missing of a moved order; whether its fills now add up."""
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
            self._take_fills(order.intended_at - self._overlap, now)
        complete = seen.filled_quantity == order.filled
        if complete and seen.state.is_final:
            if order.amending is not None and seen.price is not None:
                why = "it was over before the answer came"
                self.record(OrderAmended(now, order.order_id, seen.quantity, seen.price, why))
            self.record(OrderEnded(now, order.order_id, seen.state, order.filled, seen.reason))
        return complete

    # -- sending ---------------------------------------------------------------------------

    def _send(self, intent: OrderIntended) -> tuple[TrackedOrder, ExchangeError | None]:
        """Journal the intent, send it once, journal the answer; the order and what was wrong."""
        order_id = intent.request.order_id
        # How long an order may be in doubt counts from when it was really sent.
        intent = replace(intent, at=self._moment(intent.at))
        self.record(intent)
        order = self.orders.get(order_id)
        if order is None:  # pragma: no cover - recording an intent makes it known
            raise OrderNotFound(f"order {order_id} was not recorded")
        try:
            exchange_id = self.exchange.place(intent.request, intent.at)
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self._moment(intent.at), order_id, fault.message))
            return order, fault
        except ExchangeError as fault:
            self.record(OrderRefused(intent.at, order_id, fault.category, fault.message))
            return order, fault
        self.record(OrderAccepted(intent.at, order_id, exchange_id))
        return order, None

    def _cancel(self, order: TrackedOrder, reason: str, now: datetime) -> bool:
        """Cancel and see how it ended; False while that is not certain."""
        if order.state.is_final:
            return True
        if order.in_doubt:
            return False
        if not order.cancelling:
            self.record(CancelIntended(now, order.order_id, reason))
        try:
            self.exchange.cancel(order.exchange_id)
        except OrderNotFound:
            pass  # over already: the look below tells how
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self._moment(now), order.order_id, fault.message))
            return False
        self._sync(now)
        return order.state.is_final

    def _amend(
        self, order: TrackedOrder, remaining: Decimal, price: Decimal, now: datetime
    ) -> bool | None:
        """Change a live order in place: it lives on all the while.

        Returns:
            True if it was changed, False while that is not certain, None if it can't be: it is
            over, or the exchange refuses.
        """
        request = replace(order.request, quantity=order.filled + remaining, price=price)
        wish = AmendIntended(
            self._moment(now), order.order_id, request.quantity, price,
            "its size or price no longer fits",
        )  # fmt: skip
        self.record(wish)
        try:
            self.exchange.amend(order.exchange_id, request, now)
        except OrderNotFound:
            self._sync(now)  # over already: this look tells how
            return None
        except _NO_CLEAR_ANSWER as fault:
            self.record(OrderUnclear(self._moment(now), order.order_id, fault.message))
            return False
        except ExchangeError as fault:
            old = order.request
            self.record(OrderAmended(
                now, order.order_id, old.quantity, old.price or ZERO, fault.message
            ))  # fmt: skip
            return None
        self.record(OrderAmended(now, order.order_id, request.quantity, price))
        self._sync(now)
        return True

    # -- in and out of positions -----------------------------------------------------------

    def _enter(self, approval: Approval, purpose: Purpose, now: datetime) -> TrackedOrder | None:
        pair, decided_for = approval.pair, approval.closed_at
        attempt = self.orders.next_attempt(pair, decided_for, Side.BUY, purpose)
        if attempt:
            return None  # this decision has been carried out
        if self._refuse_if_busy(approval, now):
            return None
        self.record(TradeApproved(now, approval))
        order = self._buy(approval, purpose, approval.quantity, approval.limit_price, now)
        self._sync(now)
        self._guard(pair, now)
        return order

    def _buy(
        self, plan: Approval, purpose: Purpose, quantity: Decimal, limit: Decimal | None,
        now: datetime,
    ) -> TrackedOrder:  # fmt: skip
        """Send the next order of a purchase: waiting at a limit, or taking without one."""
        attempt = self.orders.next_attempt(plan.pair, plan.closed_at, Side.BUY, purpose)
        request = OrderRequest(
            make_order_id(plan.pair, plan.closed_at, Side.BUY, purpose, attempt),
            plan.pair, Side.BUY, OrderType.MARKET if limit is None else OrderType.LIMIT,
            quantity, limit, post_only=limit is not None and plan.patience is not None,
        )  # fmt: skip
        order, _ = self._send(OrderIntended(
            now, request, purpose, plan.closed_at, _in_words(plan),
            plan.stop, plan.take_profit, plan.entry,
        ))  # fmt: skip
        return order

    # -- purchases that wait as makers -----------------------------------------------------

    def waits(self, pair: Pair) -> bool:
        """Whether a purchase of the pair waits for its price."""
        return pair in self._patient

    def _tend(self, plan: Approval, now: datetime) -> None:
        """Follow the market with a purchase that waits, take the rest, or give it up."""
        pair, orders = plan.pair, self._orders_of(plan)
        if any(order.in_doubt for order in self.orders.live(pair)) or plan.patience is None:
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
            plan.patience, now, self.exchange.ticker(pair), resting, len(orders),
            self.exchange.market_rules(pair),
        )  # fmt: skip
        if step.move is Move.GIVE_UP:
            self._give_up(plan, step.reason, now)
        elif step.move is not Move.WAIT and self._cancel_all_of(orders, step.reason, now):
            left = self._left(plan, orders)
            if left:
                self._buy(plan, Purpose.ENTRY, left, step.price, now)
                self._sync(now)

    def _orders_of(self, plan: Approval) -> list[TrackedOrder]:
        """The orders of one purchase so far, oldest first."""
        key = (plan.pair, plan.closed_at, Side.BUY, Purpose.ENTRY)
        ids = [make_order_id(*key, number) for number in range(self.orders.next_attempt(*key))]
        return [order for i in ids if (order := self.orders.get(i)) is not None]

    def _left(self, plan: Approval, orders: list[TrackedOrder]) -> Decimal:
        """Base still to be bought, 0 where the exchange would not take so little."""
        rules = self.exchange.market_rules(plan.pair)
        left = rules.quantity_down(plan.quantity - sum((o.filled for o in orders), ZERO))
        small = left < rules.order_minimum or left * plan.entry < rules.cost_minimum
        return ZERO if small else left

    def _sold_since(self, plan: Approval) -> bool:
        """Whether a stop or another sale has filled since the purchase was decided."""
        return any(
            trade.exit_at >= plan.closed_at and trade.pair == plan.pair
            for trade in self.portfolio.newest_trades(4)
        )

    def _cancel_all_of(self, orders: list[TrackedOrder], reason: str, now: datetime) -> bool:
        """Whether none of them lives any more."""
        # Each is asked, not only up to the first that lives.
        done = [o.state.is_final or self._cancel(o, reason, now) for o in orders]
        return all(done)

    def _give_up(self, plan: Approval, reason: str, now: datetime) -> None:
        """Cancel what waits and buy no more of it; said where `why` looks."""
        if self._cancel_all_of(self._orders_of(plan), reason, now):
            self.record(TradeRefused(now, Refusal(plan.pair, plan.closed_at, GIVEN_UP, reason)))

    def _leave(self, approval: Approval, purpose: Purpose, now: datetime) -> TrackedOrder | None:
        pair, decided_for = approval.pair, approval.closed_at
        if self.orders.next_attempt(pair, decided_for, Side.SELL, purpose):
            return None
        if self._refuse_if_busy(approval, now):
            return None
        self.record(TradeApproved(now, approval))
        self._exits[pair] = _Exit(
            approval.quantity,
            purpose,
            decided_for,
            _in_words(approval),
            approval.limit_price,
            approval.entry,
        )
        order = self._advance_exit(pair, now)
        self._guard(pair, now)
        return order

    def _refuse_if_busy(self, approval: Approval, now: datetime) -> bool:
        pair = approval.pair
        reason = ""
        if pair in self._exits:
            reason = f"a sale of {pair} is on its way"
        elif any(order.in_doubt for order in self.orders.live(pair)):
            reason = f"it is not known yet whether an order for {pair} arrived"
        elif approval.side is Side.BUY and self._selling(pair):
            reason = f"an order selling {pair} waits at the exchange"
        if reason:
            refusal = Refusal(pair, approval.closed_at, "order_in_flight", reason)
            self.record(TradeRefused(now, refusal))
        return bool(reason)

    def _selling(self, pair: Pair) -> Decimal:
        """Base that live orders other than the stop are about to sell."""
        return sum(
            (
                order.remaining
                for order in self.orders.live(pair)
                if order.request.side is Side.SELL and order.purpose is not Purpose.STOP
            ),
            ZERO,
        )

    def _watch_targets(self, now: datetime) -> None:
        for pair, target in self.watched_targets().items():
            price = self.exchange.ticker(pair).last
            if price >= target:
                reason = f"target {target} reached at {price}"
                decided_for = self.orders.entry_decided_for(pair) or now
                self._exits[pair] = _Exit(
                    None, Purpose.TARGET, decided_for, reason, expected=target
                )

    def _advance_exit(self, pair: Pair, now: datetime) -> TrackedOrder | None:
        """One step of a sale: clear the way, confirm that it is clear, then sell.

        The stop is cancelled and its end confirmed first, or made smaller where only a part is
        sold; what it sold meanwhile is not sold again. Kraken has no one-cancels-other, so this
        order of things is what keeps stop and exit from both filling.
        """
        plan = self._exits.get(pair)
        if plan is None or not self._clear_the_way(pair, plan, now):
            return None
        position = self.portfolio.position(pair)
        quantity = ZERO if position is None else self._saleable(position, plan.quantity)
        if not quantity:
            del self._exits[pair]
            return None
        attempt = self.orders.next_attempt(pair, plan.decided_for, Side.SELL, plan.purpose)
        kind = OrderType.MARKET if plan.limit_price is None else OrderType.LIMIT
        request = OrderRequest(
            make_order_id(pair, plan.decided_for, Side.SELL, plan.purpose, attempt),
            pair, Side.SELL, kind, quantity, plan.limit_price,
        )  # fmt: skip
        order, fault = self._send(
            OrderIntended(
                now, request, plan.purpose, plan.decided_for, plan.reason, expected=plan.expected
            )
        )
        if fault is None or not fault.retryable:
            del self._exits[pair]
        self._sync(now)
        return order

    def _clear_the_way(self, pair: Pair, plan: _Exit, now: datetime) -> bool:
        for order in self.orders.live(pair):
            selling = order.request.side is Side.SELL and order.request.type is OrderType.MARKET
            if plan.purpose is Purpose.FLATTEN and order.in_doubt and not order.exchange_id:
                if not selling:
                    continue  # it may never have arrived; what is held is sold without it
                return False
            if selling:
                return False
            smaller = self._made_smaller(order, plan, now)
            if smaller is None:
                smaller = self._cancel(order, f"to sell: {plan.reason}", now)
            if not smaller:
                return False
        return True

    def _made_smaller(self, order: TrackedOrder, plan: _Exit, now: datetime) -> bool | None:
        """Let the stop go on guarding what a sale of a part leaves.

        Returns:
            True if it does, False while that is not certain, None if it has to be cancelled.
        """
        position = self.portfolio.position(order.pair)
        stops = self.orders.live(order.pair, Purpose.STOP)
        if plan.quantity is None or position is None or stops != (order,):
            return None
        if order.in_doubt or order.cancelling or order.amending is not None:
            return None
        wanted = self._wanted_stop(order.pair, less=self._saleable(position, plan.quantity))
        if wanted is None or wanted == (order.remaining, order.request.price):
            return None if wanted is None else True
        return self._amend(order, *wanted, now)

    def _saleable(self, position: Position, wanted: Decimal | None) -> Decimal:
        """How much of a position can be sold; a rest too small to sell later goes with it."""
        rules = self.exchange.market_rules(position.pair)
        whole = rules.quantity_down(position.quantity)
        part = whole if wanted is None else min(rules.quantity_down(wanted), whole)
        if whole - part < rules.order_minimum:
            part = whole
        return part if part >= rules.order_minimum else ZERO

    def _anything_saleable(self) -> bool:
        return any(self._saleable(p, None) for p in self.portfolio.positions.values())

    # -- protection ------------------------------------------------------------------------

    def _guard_positions(self, now: datetime) -> None:
        """Hold the invariant: what is held has a live stop of its size, or a stated reason."""
        stopped = (order.pair for order in self.orders.live(None, Purpose.STOP))
        for pair in sorted({*self.portfolio.positions, *stopped}):
            self._guard(pair, now)
        for pair in [p for p in self.unprotected if p not in self.portfolio.positions]:
            self._protected(pair)

    def _guard(self, pair: Pair, now: datetime) -> None:
        if any(order.in_doubt for order in self.orders.live(pair)):
            stops = self.orders.live(pair, Purpose.STOP)
            if self.portfolio.position(pair) and not any(s.exchange_id for s in stops):
                self.unprotected[pair] = "an order of the pair is in doubt"
            return
        wanted, covered = self._wanted_stop(pair), False
        for stop in self.orders.live(pair, Purpose.STOP):
            # Where it is not known which terms it has, a cancel is certain whatever they are.
            settled = not stop.cancelling and stop.amending is None
            if wanted is not None and not covered and settled:
                fits = wanted == (stop.remaining, stop.request.price)
                changed = True if fits else self._amend(stop, *wanted, now)
                if changed is False:
                    return
                wanted = self._wanted_stop(pair)  # it may have filled at once
                covered = bool(changed) and not stop.state.is_final
                if covered:
                    self._protected(pair)
                    continue
            if not self._cancel(stop, "its size or price no longer fits", now):
                return
            wanted = self._wanted_stop(pair)
        if wanted is not None and not covered:
            self._place_stop(pair, *wanted, now)

    def _protected(self, pair: Pair) -> None:
        self.unprotected.pop(pair, None)
        self._stop_failures.pop(pair, None)

    def _wanted_stop(self, pair: Pair, less: Decimal = ZERO) -> tuple[Decimal, Decimal] | None:
        """Quantity and price of the stop the pair should have, None if it should have none.

        `less` is about to be sold by something else than the orders that are live.
        """
        position = self.portfolio.position(pair)
        if position is None:
            return None
        if position.stop is None:
            self.unprotected[pair] = "its plan has no stop"
            return None
        rules = self.exchange.market_rules(pair)
        quantity = rules.quantity_down(position.quantity - self._selling(pair) - less)
        price = rules.price_down(position.stop)
        if quantity <= 0:
            self.unprotected[pair] = "an order selling all of it is on its way"
            return None
        if quantity < rules.order_minimum or quantity * price < rules.cost_minimum:
            self.unprotected[pair] = f"{quantity} {pair.base} is below the exchange's minimum"
            return None
        return quantity, price

    def _place_stop(self, pair: Pair, quantity: Decimal, price: Decimal, now: datetime) -> None:
        failures, again_at = self._stop_failures.get(pair, (0, now))
        if now < again_at:
            return
        decided_for = self.orders.entry_decided_for(pair) or now
        attempt = self.orders.next_attempt(pair, decided_for, Side.SELL, Purpose.STOP)
        request = OrderRequest(
            make_order_id(pair, decided_for, Side.SELL, Purpose.STOP, attempt),
            pair, Side.SELL, OrderType.STOP_LOSS, quantity, price,
        )  # fmt: skip
        order, fault = self._send(
            OrderIntended(
                now,
                request,
                Purpose.STOP,
                decided_for,
                f"protects {quantity} {pair}",
                expected=price,
            )
        )
        if fault is None:
            self._protected(pair)
            return
        self.unprotected[pair] = f"the stop could not be placed: {fault.message}"
        if order.state is not OrderState.REJECTED:
            return
        failures += 1
        self._stop_failures[pair] = (failures, now + _pause(failures))
        patience = 3 if fault.retryable or isinstance(fault, InsufficientFunds) else 1
        if failures >= patience:
            self._give_up_position(pair, fault, now)

    def _give_up_position(self, pair: Pair, fault: ExchangeError, now: datetime) -> None:
        """No stop can be had: tell someone and sell what cannot be guarded."""
        message = f"{pair} has no stop ({fault.message}): the position is closed"
        self.record(Troubled(now, "unprotected", message))
        decided_for = self.orders.entry_decided_for(pair) or now
        self._exits.setdefault(
            pair, _Exit(None, Purpose.EXIT, decided_for, "its stop could not be placed")
        )
        self._advance_exit(pair, now)


def _pause(failures: int) -> timedelta:
    """How long to wait before the next try: 1, 2, 4 … up to 60 seconds."""
    return timedelta(seconds=min(60, 2 ** (failures - 1)))


def _in_words(approval: Approval) -> str:
    return "; ".join(approval.reasons) or f"{approval.side} approved"
