"""The state of one account as its journal tells it: what `status` and the dashboard show.

A fold over events, like the portfolio inside it; reading further events brings it up to date.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from trader.domain.events import (
    CancelIntended,
    CashAdjusted,
    EmergencyStopped,
    EquityMarked,
    Event,
    HealthChanged,
    ModelAdopted,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    Reconciled,
    Resumed,
    SessionEnded,
    SessionStarted,
    SignalMade,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.markets import Pair
from trader.domain.orders import Fill, OrderRequest, OrderState, Purpose
from trader.domain.portfolio import ZERO, Portfolio
from trader.domain.signals import Approval, Refusal, Signal

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one closed candle, and what the risk rules made of it."""

    at: datetime
    signal: Signal
    price: float
    approval: Approval | None = None
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One of our orders, from the intent on."""

    intended_at: datetime
    request: OrderRequest
    purpose: Purpose
    decided_for: datetime
    reason: str
    state: OrderState = OrderState.INTENDED
    exchange_id: str = ""
    filled_quantity: Decimal = ZERO
    ended_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """The account's worth at one moment, in quote.

    Attributes:
        hold: what 1 would be worth, had it been put in equal parts into the pairs at the first
            mark and left alone.
        paid_in: paid in less taken out until then, quote.
    """

    at: datetime
    equity: Decimal
    cash: Decimal
    hold: float = 1.0
    paid_in: Decimal = ZERO


@dataclass(slots=True)
class AccountView:
    """Everything the journal says about an account, up to event number `seen`.

    Args:
        quote: the account's currency; taken from the first session's pairs when empty.
        keep: how many decisions and troubles to remember.
    """

    quote: str = ""
    keep: int = 5000
    seen: int = 0
    portfolio: Portfolio = field(default_factory=lambda: Portfolio(""))
    session: SessionStarted | None = None
    ended: SessionEnded | None = None
    decisions: deque[Decision] = field(default_factory=deque)
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    prices: dict[Pair, Decimal] = field(default_factory=dict)
    first_prices: dict[Pair, Decimal] = field(default_factory=dict)
    models: dict[Pair, ModelAdopted] = field(default_factory=dict)
    health: dict[str, HealthChanged] = field(default_factory=dict)
    troubles: deque[Troubled] = field(default_factory=deque)
    stopped: EmergencyStopped | None = None
    reconciled: Reconciled | None = None

    def read(self, events: Iterable[tuple[int, Event]]) -> int:
        """Take in numbered events; how many were new."""
        count = 0
        for number, event in events:
            if number > self.seen:
                self.apply(event)
                self.seen = number
                count += 1
        return count

    @property
    def equity(self) -> Decimal:
        """Cash and positions at the last known prices; at cost where no price is known yet."""
        held = self.portfolio.positions
        prices = {pair: self.prices.get(pair, p.entry_price) for pair, p in held.items()}
        return self.portfolio.equity(prices)

    @property
    def last_decision(self) -> Decision | None:
        """The newest decision of any pair."""
        return self.decisions[-1] if self.decisions else None

    def open_orders(self) -> list[OrderRecord]:
        """Our orders that are not over, oldest first."""
        return [order for order in self.orders.values() if not order.state.is_final]

    def decision_for(self, pair: Pair, moment: datetime | None = None) -> Decision | None:
        """The newest decision on the pair whose candle had closed at `moment`."""
        for decision in reversed(self.decisions):
            if decision.signal.pair == pair and (
                moment is None or decision.signal.closed_at <= moment
            ):
                return decision
        return None

    def apply(self, event: Event) -> None:
        """Take in one event."""
        if isinstance(event, SessionStarted) and not self.portfolio.quote:
            self.quote = self.quote or event.pairs[0].quote
            self.portfolio.quote = self.quote
        if isinstance(event, CashAdjusted) and not self.portfolio.quote:
            self.quote = self.portfolio.quote = self.quote or event.asset
        self.portfolio.apply(event)
        self._decision(event)
        self._order(event)
        self._state(event)

    def _decision(self, event: Event) -> None:
        match event:
            case SignalMade(at=at, signal=signal, price=price):
                self._remember(self.decisions, Decision(at, signal, price))
            case TradeApproved(approval=approval):
                self._amend(approval.pair, approval.closed_at, approval=approval)
            case TradeRefused(refusal=refusal):
                self._amend(refusal.pair, refusal.closed_at, refusal=refusal)

    def _amend(
        self,
        pair: Pair,
        closed_at: datetime,
        approval: Approval | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        # A verdict follows its signal closely: it is among the newest few.
        for back in range(1, min(len(self.decisions), 200) + 1):
            decision = self.decisions[-back]
            if (decision.signal.pair, decision.signal.closed_at) == (pair, closed_at):
                more = () if refusal is None else (refusal,)
                self.decisions[-back] = replace(
                    decision,
                    approval=approval or decision.approval,
                    refusals=decision.refusals + more,
                )
                return

    def _order(self, event: Event) -> None:
        match event:
            case OrderIntended(at=at, request=request, purpose=purpose):
                self.orders[request.order_id] = OrderRecord(
                    at, request, purpose, event.decided_for, event.reason
                )
            case OrderAccepted(order_id=key, exchange_id=exchange_id):
                self._change(key, state=OrderState.OPEN, exchange_id=exchange_id)
            case OrderRefused(at=at, order_id=key, reason=reason):
                self._change(key, state=OrderState.REJECTED, ended_at=at, detail=reason)
            case OrderUnclear(order_id=key, reason=reason):
                self._change(key, state=OrderState.UNKNOWN, detail=reason)
            case OrderAmended(order_id=key, quantity=quantity, price=price) if key in self.orders:
                request = replace(self.orders[key].request, quantity=quantity, price=price)
                self._change(key, request=request)
            case CancelIntended(order_id=key, reason=reason):
                self._change(key, detail=reason)
            case OrderFilled(fill=fill):
                self._filled(fill)
            case OrderEnded(at=at, order_id=key, state=state, reason=reason):
                self._change(key, state=state, ended_at=at, detail=reason)

    def _filled(self, fill: Fill) -> None:
        self.fills.append(fill)
        order = self.orders.get(fill.order_id)
        if order is not None:
            self._change(fill.order_id, filled_quantity=order.filled_quantity + fill.quantity)

    def _change(self, order_id: str, **fields: object) -> None:
        if order_id in self.orders:
            self.orders[order_id] = replace(self.orders[order_id], **fields)  # type: ignore[arg-type]

    def _state(self, event: Event) -> None:
        match event:
            case SessionStarted():
                self.session, self.ended = event, None
            case SessionEnded():
                self.ended = event
            case EquityMarked(at=at, equity=equity, cash=cash, prices=prices):
                self.prices.update(prices)
                for pair, price in prices:
                    self.first_prices.setdefault(pair, price)
                paid_in = self.portfolio.transfers_quote
                self.marks.append(Mark(at, equity, cash, self._hold(), paid_in))
            case EmergencyStopped():
                self.stopped = event
            case Resumed():
                self.stopped = None
            case _:
                self._condition(event)

    def _condition(self, event: Event) -> None:
        match event:
            case ModelAdopted(pair=pair):
                self.models[pair] = event
            case HealthChanged(check=check):
                self.health[check] = event
            case Troubled():
                self._remember(self.troubles, event)
            case Reconciled():
                self.reconciled = event

    def _hold(self) -> float:
        grown = [float(self.prices[p] / first) for p, first in self.first_prices.items()]
        return sum(grown) / len(grown) if grown else 1.0

    def _remember(self, kept: deque[_Item], item: _Item) -> None:
        kept.append(item)
        if len(kept) > self.keep:
            kept.popleft()
