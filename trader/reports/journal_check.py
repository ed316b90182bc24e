"""An independent check of a journal: were the rules kept, does the money add up. Pure.

It shares no arithmetic with the portfolio, the order life or the risk manager: everything is
counted again from the events alone, so that a fault there cannot hide itself here.

1. Events are numbered 1, 2, 3 … and times never run back by more than a clock's correction.
2. An order is intended once, before anything else is told of it; what follows fits its intent.
3. A fill counts once, fits its order, and an order never fills beyond its quantity.
4. A purchase follows an approval of the same size, has a stop below its price, and breaks no
   limit: emergency stop, daily loss, drawdown, positions, size, risk, cash.
5. Cash, holdings and equity are what fills and transfers make them, to the last decimal.
6. At every mark each position has live orders that sell all of it, or a reason was journalled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal

from trader.domain.events import (
    AmendIntended,
    CashAdjusted,
    DustLeft,
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
    Resumed,
    RiskStateChanged,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.markets import Pair
from trader.domain.orders import Fill, OrderState, Purpose, Side
from trader.domain.portfolio import ZERO
from trader.domain.signals import Approval
from trader.risk.limits import RiskLimits

# The rules weigh at the live price, a mark at the candle's close: they may differ by so much.
_SLACK = Decimal("0.002")
_CLOCK_SLACK = timedelta(seconds=5)
_MIDNIGHT_UNTIL = time(0, 5)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be in a journal, at the event of that number."""

    number: int
    what: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was read and what was wrong with it."""

    events: int
    orders: int
    fills: int
    marks: int
    problems: tuple[Problem, ...]

    @property
    def clean(self) -> bool:
        """Nothing was wrong."""
        return not self.problems


@dataclass(slots=True)
class _Order:
    """What the checker remembers of an order."""

    intent: OrderIntended
    filled: Decimal = ZERO
    unclear: bool = True
    told: Decimal | None = None
    quantity: Decimal = ZERO

    def __post_init__(self) -> None:
        self.quantity = self.intent.request.quantity

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled


@dataclass(slots=True)
class _Account:
    """Money and limits, counted again from the events alone.

    Attributes:
        held: base assets, whoever they came from.
        ours: base assets that came from our own fills.
        bought: pairs in which we ever bought.
        dust: of these, the ones of which too little to be sold is left.
        excused: a trouble was journalled since the last mark.
        paused_at: since when a drawdown forbids purchases, None if none does.
        paid: price of the newest fill or mark of each pair.
        compared: since the last mark, by the moment of comparing accounts: the marks before it,
            what came in quote, and the worth of what left positions.
    """

    cash: Decimal = ZERO
    held: dict[str, Decimal] = field(default_factory=dict)
    ours: dict[str, Decimal] = field(default_factory=dict)
    bought: set[Pair] = field(default_factory=set)
    dust: set[Pair] = field(default_factory=set)
    peak: Decimal = ZERO
    day: str = ""
    day_start: Decimal = ZERO
    day_before: tuple[Decimal, Decimal] = (ZERO, ZERO)
    equity: Decimal = ZERO
    prices: dict[Pair, Decimal] = field(default_factory=dict)
    stopped: bool = False
    excused: bool = False
    paused_at: datetime | None = None
    approvals: dict[tuple[Pair, datetime, Side], Approval] = field(default_factory=dict)
    paid: dict[Pair, Decimal] = field(default_factory=dict)
    compared: tuple[datetime, tuple[Decimal, ...], Decimal, Decimal] | None = None


class JournalCheck:
    """Reads events one by one; `report` says what was wrong.

    Args:
        quote: currency of the account.
        limits: those that were in force; None leaves the limits unchecked.
        dust_quote: positions worth less may be without a stop, exchanges take no smaller one.
    """

    def __init__(
        self, quote: str, limits: RiskLimits | None = None, dust_quote: Decimal = Decimal(20)
    ) -> None:
        self._quote = quote
        self._limits = limits
        self._dust = dust_quote
        self._number = 0
        self._last_at: datetime | None = None
        self._marks = 0
        self._fills: set[str] = set()
        self._orders: dict[str, _Order] = {}
        self._live: dict[str, _Order] = {}
        self._waiting: dict[tuple[Pair, datetime], tuple[Approval, list[_Order]]] = {}
        self._account = _Account()
        self._problems: list[Problem] = []

    def read(self, events: Iterable[tuple[int, Event]]) -> JournalCheck:
        """Take in numbered events, oldest first."""
        for number, event in events:
            if number != self._number + 1:
                self._blame(f"event {number} follows event {self._number}")
            self._number = number
            self._time(event.at)
            self._take(event)
        return self

    def report(self) -> CheckReport:
        """Everything found so far; ended orders must have told of all their fills by now."""
        found = list(self._problems)
        for order_id, order in self._orders.items():
            if order.told is not None and order.told != order.filled:
                text = f"order {order_id} ended with {order.told}, its fills make {order.filled}"
                found.append(Problem(self._number, text))
        return CheckReport(
            self._number, len(self._orders), len(self._fills), self._marks, tuple(found)
        )

    def _blame(self, what: str) -> None:
        self._problems.append(Problem(self._number, what))

    def _time(self, at: datetime) -> None:
        if self._last_at is not None and at < self._last_at - _CLOCK_SLACK:
            self._blame(f"time runs back from {self._last_at} to {at}")
        self._last_at = at if self._last_at is None else max(at, self._last_at)

    def _take(self, event: Event) -> None:
        match event:
            case OrderIntended():
                self._intended(event)
            case OrderFilled():
                self._filled(event)
            case OrderAccepted() | OrderRefused() | OrderUnclear() | OrderEnded():
                self._told(event)
            case AmendIntended() | OrderAmended():
                self._amended(event)
            case EquityMarked():
                self._marked(event)
            case _:
                self._state(event)

    def _state(self, event: Event) -> None:
        account = self._account
        match event:
            case CashAdjusted():
                self._transfer(event)
            case TradeApproved(approval=a):
                account.approvals[a.pair, a.closed_at, a.side] = a
            case TradeRefused(refusal=r):
                account.approvals.pop((r.pair, r.closed_at, Side.BUY), None)
            case EmergencyStopped():
                account.stopped = True
            case Resumed():
                account.stopped, account.peak = False, account.equity
                account.compared = None
            case RiskStateChanged(recovering_to=half_way) if half_way is not None:
                self._pause_over(event, half_way)
            case RiskStateChanged(state=state, at=at):
                account.paused_at = at if state == "reduce only" else None
            case Troubled():
                account.excused = True
            case DustLeft():
                self._left_over(event)

    def _left_over(self, event: DustLeft) -> None:
        value = self._exposed(event.pair)
        if value > self._dust:
            self._blame(f"{event.quantity} {event.pair} worth {value} is called dust")
        self._account.dust.add(event.pair)

    def _transfer(self, event: CashAdjusted) -> None:
        """Money and coins that moved beside our orders: a sale by hand, or paid in and out."""
        account, asset = self._account, event.asset
        came = gone = ZERO
        if asset == self._quote:
            came = event.amount
            account.cash += came
        else:
            before = account.held.get(asset, ZERO)
            account.held[asset] = before + event.amount
            gone = self._left(asset, before) * self._price(asset)
        marks: tuple[Decimal, ...] = (account.peak, account.day_start, account.equity)
        if account.compared is not None and account.compared[0] == event.at:
            _, marks, earlier, lost = account.compared
            came, gone = came + earlier, gone + lost
        account.compared = (event.at, marks, came, gone)
        paid_in = came - gone
        if 0 < gone <= 2 * came:
            paid_in = max(ZERO, paid_in)  # a sale: only what is above the worth was paid in
        account.peak, account.day_start = (max(ZERO, mark + paid_in) for mark in marks[:2])
        account.equity = max(ZERO, marks[2] + came - gone)

    def _left(self, asset: str, before: Decimal) -> Decimal:
        """How much of what we bought has just left; what the user keeps beside goes first."""
        ours, after = self._account.ours.get(asset, ZERO), self._account.held[asset]
        return max(ZERO, min(ours, before) - max(ZERO, min(ours, after)))

    def _price(self, asset: str) -> Decimal:
        return next((p for pair, p in self._account.paid.items() if pair.base == asset), ZERO)

    def _pause_over(self, event: RiskStateChanged, half_way: Decimal) -> None:
        account = self._account
        days = 0 if self._limits is None else self._limits.drawdown_pause_days
        began = account.paused_at
        if self._limits is not None and (
            not days or began is None or (event.at - began).days < days
        ):
            self._blame(f"the pause since {began} was ended too early")
        account.peak, account.paused_at, account.compared = account.equity, None, None

    # -- orders ----------------------------------------------------------------------------

    def _intended(self, event: OrderIntended) -> None:
        request = event.request
        if request.order_id in self._orders:
            self._blame(f"order {request.order_id} was intended twice")
            return
        if request.quantity <= 0:
            self._blame(f"order {request.order_id} is for {request.quantity}")
        self._orders[request.order_id] = self._live[request.order_id] = _Order(event)
        if request.side is Side.BUY:
            self._purchase(event)

    def _told(self, event: OrderAccepted | OrderRefused | OrderUnclear | OrderEnded) -> None:
        order = self._orders.get(event.order_id)
        if order is None:
            self._blame(f"{type(event).__name__} of order {event.order_id}, never intended")
            return
        order.unclear = isinstance(event, OrderUnclear)
        if isinstance(event, OrderRefused | OrderEnded):
            self._live.pop(event.order_id, None)
        match event:
            case OrderAccepted():
                self._live[event.order_id], order.told = order, None
            case OrderEnded(state=state, filled_quantity=filled):
                if order.told is not None:
                    self._blame(f"order {event.order_id} ended twice")
                order.told = filled
                if state is OrderState.FILLED and filled != order.quantity:
                    self._blame(f"order {event.order_id} is called filled with {filled} of "
                                f"{order.quantity}")  # fmt: skip

    def _amended(self, event: AmendIntended | OrderAmended) -> None:
        order = self._live.get(event.order_id)
        if order is None:
            self._blame(f"{type(event).__name__} of order {event.order_id}, which does not live")
        elif order.intent.request.side is Side.BUY and event.quantity > order.quantity:
            self._blame(f"purchase {event.order_id} was made larger than approved")
        elif event.quantity < order.filled or event.price <= 0:
            self._blame(f"order {event.order_id}: {event.quantity} at {event.price}")
        elif isinstance(event, OrderAmended):
            order.quantity = event.quantity

    def _filled(self, event: OrderFilled) -> None:
        fill = event.fill
        if fill.trade_id in self._fills:
            self._blame(f"fill {fill.trade_id} was told twice")
            return
        self._fills.add(fill.trade_id)
        order = self._orders.get(fill.order_id)
        if order is None:
            self._blame(f"fill {fill.trade_id} belongs to no order of ours")
        else:
            self._fits(event, order)
        self._book(fill, own=order is not None)

    def _book(self, fill: Fill, *, own: bool) -> None:
        account, base = self._account, fill.pair.base
        buying = fill.side is Side.BUY
        moved = fill.quantity if buying else -fill.quantity
        account.paid[fill.pair] = fill.price
        account.cash += (-fill.cost_quote if buying else fill.cost_quote) - fill.fee_quote
        account.held[base] = account.held.get(base, ZERO) + moved
        if own:
            account.ours[base] = account.ours.get(base, ZERO) + moved
        if buying:
            account.bought.add(fill.pair)
            account.dust.discard(fill.pair)

    def _fits(self, event: OrderFilled, order: _Order) -> None:
        fill, request = event.fill, order.intent.request
        if (fill.pair, fill.side, event.purpose) != (
            request.pair, request.side, order.intent.purpose
        ):  # fmt: skip
            self._blame(f"fill {fill.trade_id} does not fit order {request.order_id}")
        order.filled += fill.quantity
        if order.filled > order.quantity:
            self._blame(f"order {request.order_id} filled {order.filled} of {order.quantity}")

    # -- limits ----------------------------------------------------------------------------

    def _purchase(self, event: OrderIntended) -> None:
        request = event.request
        key = (request.pair, event.decided_for)
        plan = self._account.approvals.pop((*key, Side.BUY), None)
        if plan is None and key in self._waiting:
            self._another_part(event, *self._waiting[key])
            return
        if plan is None:
            self._blame(f"purchase {request.order_id} was never approved")
            return
        if plan.patience is not None:
            self._waiting[key] = (plan, [self._orders[request.order_id]])
        if request.quantity != plan.quantity:
            self._blame(f"purchase of {request.quantity}, approved were {plan.quantity}")
        if event.stop is None or not 0 < event.stop < plan.entry:
            self._blame(f"purchase at {plan.entry} with the stop {event.stop}")
        if self._account.stopped:
            self._blame(f"purchase {request.order_id} during an emergency stop")
        if self._limits is not None:
            for rule in _LIMITS:
                words = rule(self, plan, self._limits)
                if words:
                    self._blame(f"purchase {request.order_id}: {words}")

    def _another_part(self, event: OrderIntended, plan: Approval, parts: list[_Order]) -> None:
        """A purchase that waits is made in parts: never two at a time, never more than planned."""
        request = event.request
        if any(part.intent.request.order_id in self._live for part in parts):
            self._blame(f"purchase {request.order_id} while another part of it may live")
        bought = sum((part.filled for part in parts), ZERO)
        if bought + request.quantity > plan.quantity:
            self._blame(
                f"purchase of {request.quantity} after {bought}, approved were {plan.quantity}"
            )
        if self._account.stopped:
            self._blame(f"purchase {request.order_id} during an emergency stop")
        parts.append(self._orders[request.order_id])

    def _exposed(self, pair: Pair) -> Decimal:
        """Held and still to be bought of the pair before this purchase, at the last price."""
        amount = max(ZERO, self._account.held.get(pair.base, ZERO))
        return amount * self._account.prices.get(pair, ZERO)

    def _pairs_taken(self, pair: Pair) -> set[Pair]:
        account = self._account
        held = {p for p in account.bought - account.dust if account.ours.get(p.base, ZERO) > 0}
        requests = [order.intent.request for order in self._live.values()]
        return held | {r.pair for r in requests if r.side is Side.BUY} | {pair}

    # -- money -----------------------------------------------------------------------------

    def _marked(self, event: EquityMarked) -> None:
        self._marks += 1
        account = self._account
        account.prices.update(event.prices)
        account.paid.update(event.prices)
        account.compared = None
        if event.cash != account.cash:
            self._blame(f"cash is marked {event.cash}, fills and transfers make {account.cash}")
        if event.at.date().isoformat() != account.day:
            at_midnight = event.at.time() <= _MIDNIGHT_UNTIL
            account.day_before = (account.day_start, event.equity if account.day else ZERO)
            account.day_start = account.equity or event.equity
            if account.day and at_midnight:
                account.day_start = event.equity
            account.day = event.at.date().isoformat()
        account.equity = event.equity
        account.peak = max(account.peak, event.equity)
        self._holdings(event)
        account.excused = False

    def _holdings(self, event: EquityMarked) -> None:
        account = self._account
        worth = ZERO
        for pair in account.bought:
            amount = max(ZERO, account.held.get(pair.base, ZERO))
            value = amount * account.prices.get(pair, ZERO)
            worth += value
            if value > self._dust and not account.excused:
                self._guarded(pair, amount)
        # What the user keeps beside is in the holdings but never in the equity: then only an
        # upper bound is known.
        mixed = any(account.held.get(b, ZERO) != amount for b, amount in account.ours.items())
        found, right = event.equity, event.cash + worth
        if found > right or (found != right and not mixed):
            self._blame(f"equity is marked {found}, cash and positions make {right}")

    def _guarded(self, pair: Pair, amount: Decimal) -> None:
        live = [o for o in self._live.values() if o.intent.request.pair == pair]
        if any(o.unclear for o in live):
            return
        selling = sum((o.left for o in live if o.intent.request.side is Side.SELL), ZERO)
        if not any(o.intent.purpose is Purpose.STOP for o in live) and selling < amount:
            self._blame(f"{amount} {pair.base} held without a stop")
        elif (amount - selling) * self._account.prices.get(pair, ZERO) > self._dust:
            self._blame(f"{amount} {pair.base} held, orders sell only {selling}")


_LimitRule = Callable[[JournalCheck, Approval, RiskLimits], str]


def _loss_of_day(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    account = check._account
    left = 1 - limits.max_daily_loss - _SLACK
    if account.equity < account.day_start * left:
        return f"after a loss to {account.equity} today"
    if plan.closed_at.date().isoformat() != account.day:
        return ""
    began, closed = account.day_before
    return f"after a day from {began} to {closed}" if closed and closed < began * left else ""


def _depth(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    account = check._account
    floor = account.peak * (1 - limits.max_drawdown - _SLACK)
    return f"{account.equity} is too far below {account.peak}" if account.equity < floor else ""


def _places(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    taken = check._pairs_taken(plan.pair)
    return f"{len(taken)} positions" if len(taken) > limits.max_open_positions else ""


def _risk(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    if plan.stop is None:
        return ""
    lost = plan.quantity * (plan.entry - plan.stop)
    most = check._account.equity * (limits.risk_per_trade + _SLACK * limits.risk_per_trade)
    return f"{lost} at risk of {check._account.equity}" if lost > most else ""


def _size(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    value = check._exposed(plan.pair) + plan.quantity * plan.entry
    most = check._account.equity * (limits.max_position_fraction + _SLACK)
    return f"a position of {value} in {check._account.equity}" if value > most else ""


def _money(check: JournalCheck, plan: Approval, limits: RiskLimits) -> str:
    value = plan.quantity * plan.entry
    return f"{value} of {check._account.cash} cash" if value > check._account.cash else ""


_LIMITS: tuple[_LimitRule, ...] = (_loss_of_day, _depth, _places, _risk, _size, _money)


def check_journal(
    events: Iterable[tuple[int, Event]], quote: str, limits: RiskLimits | None = None
) -> CheckReport:
    """Check a whole journal at once.

    Args:
        events: numbered from 1, oldest first.
        quote: currency of the account.
        limits: those that were in force; None leaves the limits unchecked.
    """
    return JournalCheck(quote, limits).read(events).report()
