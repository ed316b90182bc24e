"""Days and weeks of an account: what was earned, not what was paid in."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from trader.domain.account import AccountView
from trader.domain.events import CashAdjusted, EquityMarked, OrderFilled, SessionStarted
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, Purpose, Side
from trader.periods import account_figures, account_metrics, first_day, periods

BTC = Pair("BTC", "USD")
# A Thursday.
T0 = datetime(2024, 2, 29, tzinfo=UTC)


def account(*days: tuple[int, int, int]) -> AccountView:
    """Days after T0, equity, price."""
    view = AccountView()
    view.apply(SessionStarted(T0, "PAPER", "simulated", (BTC,), "1h", "trend", "0"))
    view.apply(CashAdjusted(T0, "USD", Decimal(100), "first deposit"))
    for day, equity, price in days:
        at = T0 + timedelta(days=day, hours=12)
        view.apply(EquityMarked(at, Decimal(equity), Decimal(equity), ((BTC, Decimal(price)),)))
    return view


def test_each_day_has_its_profit_and_the_holders() -> None:
    found = periods(account((0, 100, 10), (1, 110, 11), (2, 99, 22)), "day")
    assert [(p.begins.day, p.profit, round(p.profit_fraction, 4)) for p in found] == [
        (29, 0, 0.0),
        (1, 10, 0.1),
        (2, -11, -0.1),
    ]
    assert [round(p.hold_return, 4) for p in found] == [0.0, 0.1, 1.0]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    assert first_day(date(2024, 2, 29), "week") == date(2024, 2, 26)
    assert first_day(date(2024, 2, 29), "month") == date(2024, 2, 1)
    view = account((0, 100, 10), (3, 105, 10), (4, 110, 10))
    assert [p.profit for p in periods(view, "week")] == [5, 5]


def test_money_paid_in_is_no_profit() -> None:
    view = account((0, 100, 10))
    view.apply(CashAdjusted(T0 + timedelta(days=1), "USD", Decimal(900), "transfer"))
    at = T0 + timedelta(days=1, hours=12)
    view.apply(EquityMarked(at, Decimal(1010), Decimal(1010), ((BTC, Decimal(10)),)))
    assert [p.profit for p in periods(view, "day")] == [0, 10]
    metrics = account_metrics(view)
    assert metrics is not None
    assert round(metrics.total_return, 6) == 0.01


def test_a_sale_by_hand_is_no_money_paid_in() -> None:
    view = account((0, 100, 10))
    at = T0 + timedelta(hours=13)
    fill = Fill(
        "T1", "X", "o", BTC, Side.BUY, Decimal(5), Decimal(10), Decimal(50), Decimal(0),
        Liquidity.TAKER, at,
    )  # fmt: skip
    view.apply(OrderFilled(at, fill, Purpose.ENTRY))
    at = T0 + timedelta(days=1)
    view.apply(CashAdjusted(at, "BTC", Decimal(-5), "by hand"))
    view.apply(CashAdjusted(at, "USD", Decimal(49), "by hand"))
    view.apply(EquityMarked(at, Decimal(99), Decimal(99), ((BTC, Decimal(10)),)))
    metrics = account_metrics(view)
    assert metrics is not None
    assert (view.marks[-1].paid_in, round(metrics.total_return, 6)) == (100, -0.01)


def test_before_the_second_mark_there_are_no_figures() -> None:
    assert account_metrics(account((0, 100, 10))) is None
    assert periods(AccountView(), "day") == []


def test_two_days_are_not_stretched_to_a_year() -> None:
    days = [(day, 100 + day % 3, 10) for day in range(40)]
    short, long = account_figures(account(*days[:20])), account_figures(account(*days))
    assert short is not None
    assert long is not None
    assert (short["cagr"], short["sharpe"], short["psr"]) == (None, None, None)
    assert short["total_return"] == account_metrics(account(*days[:20])).total_return
    assert long == account_metrics(account(*days)).as_dict()
