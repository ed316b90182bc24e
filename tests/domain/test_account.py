"""The account view is a fold of the journal."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trader.domain.account import AccountView
from trader.domain.events import (
    CashAdjusted,
    EmergencyStopped,
    EquityMarked,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    Resumed,
    SessionStarted,
    SignalMade,
    TradeRefused,
)
from trader.domain.markets import Pair
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from trader.domain.signals import Action, Refusal, Signal

BTC = Pair("BTC", "USD")
T0 = datetime(2024, 3, 1, tzinfo=UTC)


def started() -> AccountView:
    view = AccountView()
    view.apply(SessionStarted(T0, "PAPER", "simulated", (BTC,), "1h", "trend", "0"))
    view.apply(CashAdjusted(T0, "USD", Decimal(1000), "deposit"))
    return view


def bought(view: AccountView) -> None:
    request = OrderRequest("a" * 32, BTC, Side.BUY, OrderType.MARKET, Decimal(2))
    view.apply(OrderIntended(T0, request, Purpose.ENTRY, T0, "trend up", stop=Decimal(90)))
    view.apply(OrderAccepted(T0, request.order_id, "O1"))
    fill = Fill(
        "T1", "O1", request.order_id, BTC, Side.BUY, Decimal(2), Decimal(100), Decimal(200),
        Decimal(1), Liquidity.TAKER, T0,
    )  # fmt: skip
    view.apply(OrderFilled(T0, fill, Purpose.ENTRY))
    view.apply(OrderEnded(T0, request.order_id, OrderState.FILLED, Decimal(2), ""))


def test_equity_is_cash_and_positions_at_the_last_price() -> None:
    view = started()
    bought(view)
    assert view.equity == 999
    view.apply(EquityMarked(T0, Decimal(1019), Decimal(799), ((BTC, Decimal(110)),)))
    assert view.equity == 1019


def test_a_filled_order_is_no_longer_open() -> None:
    view = started()
    bought(view)
    assert view.open_orders() == []
    assert view.orders["a" * 32].filled_quantity == 2


def test_a_refusal_is_found_with_its_decision() -> None:
    view = started()
    for hour in range(2):
        closed = T0 + timedelta(hours=hour)
        signal = Signal(BTC, closed, Action.BUY, 0.6, ("up",), "trend")
        view.apply(SignalMade(closed, signal, 100.0, "d"))
    view.apply(TradeRefused(T0, Refusal(BTC, T0, "daily-loss", "3 % lost today")))
    first = view.decision_for(BTC, T0 + timedelta(minutes=30))
    assert first is not None
    assert [r.rule for r in first.refusals] == ["daily-loss"]
    newest = view.decision_for(BTC)
    assert newest is not None
    assert newest.refusals == ()


def test_events_already_seen_are_not_taken_in_twice() -> None:
    view = AccountView()
    events = [(1, CashAdjusted(T0, "USD", Decimal(5), "deposit"))]
    assert view.read(events) == 1
    assert view.read(events) == 0
    assert view.portfolio.cash == 5


def test_a_stop_lasts_until_it_is_lifted() -> None:
    view = started()
    view.apply(EmergencyStopped(T0, "test", False, "me"))
    assert view.stopped is not None
    view.apply(Resumed(T0, "me"))
    assert view.stopped is None
