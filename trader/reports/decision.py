"""Why: the way of one decision through the gates, read from the journal.

signal → risk rules → order → fills; and where it ended, also when it ended in doing nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trader.domain.account import AccountView, OrderRecord
from trader.domain.events import (
    CancelIntended,
    EmergencyStopped,
    Event,
    ForecastMade,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    SessionEnded,
    SessionStarted,
    SignalMade,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.markets import Pair
from trader.domain.orders import Fill, OrderState
from trader.domain.signals import Action, Approval, Refusal

_FORECAST_NEAR = 50
"""Events before a signal among which its forecast lies."""

_INTERRUPTIONS = (SessionEnded, EmergencyStopped, Troubled)
_ORDER_EVENTS = (
    OrderIntended, OrderAccepted, OrderRefused, OrderUnclear, CancelIntended, OrderFilled,
    OrderAmended, OrderEnded,
)  # fmt: skip


class ReadableJournal(Protocol):
    """What is needed of a journal here."""

    def events(
        self, after: int = 0, kinds: Collection[type[Event]] = ()
    ) -> Iterable[tuple[int, Event]]:
        """Events above a number, oldest first."""
        ...

    def backwards(self, kinds: Collection[type[Event]] = ()) -> Iterator[tuple[int, Event]]:
        """Events, the newest first."""
        ...


@dataclass(frozen=True, slots=True)
class OrderStory:
    """An order that came of the decision, with its fills."""

    record: OrderRecord
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True)
class DecisionStory:
    """One decision, gate by gate.

    Attributes:
        made: the signal as journalled, with price and snapshot digest.
        orders: orders decided for this candle, protective ones included.
        interruption: what the journal tells after this decision when a later candle was asked
            for that nobody decided on.
        forecast: what the model said of the candle, None if none spoke.
    """

    session: SessionStarted | None
    made: SignalMade
    approval: Approval | None
    refusals: tuple[Refusal, ...]
    orders: tuple[OrderStory, ...]
    interruption: Event | None = None
    forecast: ForecastMade | None = None

    @property
    def verdict(self) -> str:
        """`approved`, `refused` or `held`."""
        if self.approval is not None:
            return "approved"
        return "held" if all(refusal.holds for refusal in self.refusals) else "refused"

    @property
    def outcome(self) -> str:
        """Where it ended, in one sentence."""
        if self.approval is None and self.refusals and self.verdict == "held":
            return "nothing was done: the position already is as large as it may be"
        if self.refusals and self.approval is None:
            return f"nothing was done: the rule {self.refusals[0].rule} forbade it"
        if self.approval is None:
            return _held_because(self.made.signal.action)
        return _order_outcome(self.orders)


def _held_because(action: Action) -> str:
    if action is Action.HOLD:
        return "nothing was done: the strategy wanted no change"
    return "nothing was done: there was nothing to buy or sell for this signal"


def _order_outcome(orders: tuple[OrderStory, ...]) -> str:
    if not orders:
        return "approved, but no order is in the journal: the bot was stopped in between"
    first = orders[0].record
    done = f"{first.filled_quantity} of {first.request.quantity}"
    match first.state:
        case OrderState.FILLED:
            return f"done: {first.request.side} {done} filled"
        case OrderState.REJECTED:
            return f"nothing was done: the exchange refused the order ({first.detail})"
        case OrderState.UNKNOWN:
            return "the exchange has given no clear answer about the order yet"
        case OrderState.CANCELLED | OrderState.EXPIRED:
            return f"the order ended {first.state} with {done} filled ({first.detail})"
    return f"the order is {first.state}, {done} filled"


def explain(
    journal: ReadableJournal, pair: Pair, moment: datetime | None = None
) -> DecisionStory | None:
    """The newest decision on the pair whose candle had closed at `moment` (None: the newest).

    Returns:
        None if there is no such decision.
    """
    found = _signal(journal, pair, moment)
    if found is None:
        return None
    number, made = found
    approval, refusals = _verdict(journal, number, made)
    return DecisionStory(
        _session(journal, number), made, approval, refusals, _orders(journal, number, made),
        _interruption(journal, number, moment), _forecast(journal, number, made),
    )  # fmt: skip


def _signal(
    journal: ReadableJournal, pair: Pair, moment: datetime | None
) -> tuple[int, SignalMade] | None:
    for number, event in journal.backwards(kinds=(SignalMade,)):
        assert isinstance(event, SignalMade)  # noqa: S101 - for the type checker
        signal = event.signal
        if signal.pair == pair and (moment is None or signal.closed_at <= moment):
            return number, event
    return None


def _verdict(
    journal: ReadableJournal, number: int, made: SignalMade
) -> tuple[Approval | None, tuple[Refusal, ...]]:
    key = (made.signal.pair, made.signal.closed_at)
    approval: Approval | None = None
    refusals: list[Refusal] = []
    for _, event in journal.events(number, kinds=(SignalMade, TradeApproved, TradeRefused)):
        match event:
            case SignalMade(signal=signal) if signal.pair == key[0]:
                break
            case TradeApproved(approval=found) if (found.pair, found.closed_at) == key:
                approval = found
            case TradeRefused(refusal=refusal) if (refusal.pair, refusal.closed_at) == key:
                refusals.append(refusal)
    return approval, tuple(refusals)


def _orders(journal: ReadableJournal, number: int, made: SignalMade) -> tuple[OrderStory, ...]:
    """Orders decided for the candle; what became of them is read to the end of the journal."""
    view = AccountView(quote=made.signal.pair.quote)
    for _, event in journal.events(number, kinds=_ORDER_EVENTS):
        view.apply(event)
    key = (made.signal.pair, made.signal.closed_at)
    return tuple(
        OrderStory(record, tuple(f for f in view.fills if f.order_id == order_id))
        for order_id, record in view.orders.items()
        if (record.request.pair, record.decided_for) == key
    )


def _forecast(journal: ReadableJournal, number: int, made: SignalMade) -> ForecastMade | None:
    """It is written just before the signal."""
    for _, event in journal.events(max(0, number - _FORECAST_NEAR), kinds=(ForecastMade,)):
        assert isinstance(event, ForecastMade)  # noqa: S101 - for the type checker
        if (event.pair, event.closed_at) == (made.signal.pair, made.signal.closed_at):
            return event
        if event.closed_at > made.signal.closed_at:
            break
    return None


def _session(journal: ReadableJournal, number: int) -> SessionStarted | None:
    for before, event in journal.backwards(kinds=(SessionStarted,)):
        if before < number and isinstance(event, SessionStarted):
            return event
    return None


def _interruption(journal: ReadableJournal, number: int, moment: datetime | None) -> Event | None:
    """The first thing after the decision that explains why there is no newer one."""
    if moment is None:
        return None
    for _, event in journal.events(number, kinds=_INTERRUPTIONS):
        return event if event.at <= moment else None
    return None
