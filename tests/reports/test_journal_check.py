"""The checker finds nothing in what the program wrote, and every fault that is put in."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from risk_manager import RiskLimits
from tests.test_main import Floor
from tests.trading_box import BTC, ETH
from trader.domain.events import (
    CashAdjusted,
    EmergencyStopped,
    EquityMarked,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    TradeApproved,
)
from trader.domain.orders import OrderState, Purpose, Side
from trader.domain.signals import Action
from trader.reports.journal_check import check_journal

D = Decimal
LIMITS = RiskLimits(stop_atr_multiple=D(1), max_open_positions=1, max_daily_loss=D("0.04"))


def walk(seed, count):
    """A random walk with days wild enough to hit stops."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.exp(np.abs(rng.normal(0, 0.01, (2, count))))
    high, low = np.maximum(opened, close) * wick[0], np.minimum(opened, close) / wick[1]
    return [tuple(np.round(row, 1)) for row in zip(opened, high, low, close, strict=True)]


def traded(seed, limits=LIMITS, hours=90, **more):
    """The journal of a trader that wants random things in two markets."""
    rng = np.random.default_rng(seed)
    choices = list(rng.choice(["buy", "sell", "hold"], size=(2, hours)))
    script = {
        (pair, hour): Action(str(choices[k][hour]))
        for k, pair in enumerate((BTC, ETH))
        for hour in range(hours)
    }
    floor = Floor(walk(seed, hours + 5), script, eth=walk(seed + 1, hours + 5), limits=limits)
    floor.run(hours)
    floor.trader.settle()
    floor.box.assert_agrees()
    return [event for _, event in floor.box.journal.events()]


def check(events, limits=LIMITS):
    return check_journal(enumerate(events, 1), "USD", limits)


@pytest.fixture(scope="module")
def events():
    found = traded(3)
    assert sum(isinstance(e, OrderFilled) for e in found) > 10
    return found


@pytest.mark.parametrize("seed", [3, 5, 8])
@pytest.mark.parametrize("reward", [0, 1])
def test_what_the_program_writes_is_clean(seed, reward):
    limits = replace(LIMITS, risk_reward=D(reward))
    report = check(traded(seed, limits), limits)
    assert report.problems == ()
    assert min(report.orders, report.fills, report.marks) >= 10


def words(events, limits=LIMITS):
    return " | ".join(problem.what for problem in check(events, limits).problems)


def first(events, kind, *, where=lambda _: True):
    return next(i for i, e in enumerate(events) if isinstance(e, kind) and where(e))


def changed(events, index, **fields):
    return [*events[:index], replace(events[index], **fields), *events[index + 1 :]]


def without(events, index):
    return events[:index] + events[index + 1 :]


def is_purchase(event):
    return event.request.side is Side.BUY


def test_a_hole_in_the_numbers_is_found(events):
    numbered = list(enumerate(events, 1))
    report = check_journal(numbered[:4] + numbered[5:], "USD")
    assert "event 6 follows event 4" in report.problems[0].what


def test_time_that_runs_back_is_found(events):
    index = first(events, EquityMarked)
    early = changed(events, index + 1, at=events[index].at - timedelta(hours=1))
    assert "time runs back" in words(early)


def test_a_lost_fill_is_found(events):
    told = words(without(events, first(events, OrderFilled)))
    assert "its fills make 0" in told
    assert "cash is marked" in told


def test_a_doubled_fill_is_found(events):
    index = first(events, OrderFilled)
    assert "told twice" in words([*events[: index + 1], events[index], *events[index + 1 :]])


def test_the_same_fill_under_another_name_is_found(events):
    index = first(events, OrderFilled)
    other = replace(events[index], fill=replace(events[index].fill, trade_id="other"))
    told = words([*events[: index + 1], other, *events[index + 1 :]])
    assert "cash is marked" in told
    assert "filled" in told


def test_a_fill_of_an_order_that_is_not_ours_is_found(events):
    index = first(events, OrderFilled)
    other = replace(events[index].fill, order_id="nobody")
    assert "no order of ours" in words(changed(events, index, fill=other))


def test_a_fill_on_the_wrong_side_is_found(events):
    index = first(events, OrderFilled)
    other = replace(events[index].fill, side=Side.SELL)
    assert "does not fit" in words(changed(events, index, fill=other))


def test_a_cent_too_much_in_the_cash_is_found(events):
    index = first(events, EquityMarked)
    told = words(changed(events, index, cash=events[index].cash + D("0.01")))
    assert "cash is marked" in told


def test_a_cent_too_much_in_the_equity_is_found(events):
    index = first(events, EquityMarked, where=lambda e: e.equity != e.cash)
    told = words(changed(events, index, equity=events[index].equity + D("0.01")))
    assert "equity is marked" in told


def test_an_order_sent_before_it_was_written_down_is_found(events):
    index = first(events, OrderIntended)
    assert "never intended" in words(without(events, index))


def test_an_order_intended_twice_is_found(events):
    index = first(events, OrderIntended)
    assert "intended twice" in words([*events[: index + 1], *events[index:]])


def test_a_purchase_nobody_approved_is_found(events):
    assert "never approved" in words(without(events, first(events, TradeApproved)))


def test_a_purchase_larger_than_approved_is_found(events):
    index = first(events, OrderIntended, where=is_purchase)
    request = events[index].request
    larger = replace(request, quantity=request.quantity * 2)
    assert "approved were" in words(changed(events, index, request=larger))


def test_a_purchase_without_a_stop_is_found(events):
    index = first(events, OrderIntended, where=is_purchase)
    assert "with the stop None" in words(changed(events, index, stop=None))


def test_a_purchase_during_an_emergency_stop_is_found(events):
    index = first(events, OrderIntended, where=is_purchase)
    stop = EmergencyStopped(events[index].at, "test", False, "me")
    assert "during an emergency stop" in words([*events[:index], stop, *events[index:]])


def test_an_order_called_filled_that_is_not_is_found(events):
    index = first(
        events, OrderEnded, where=lambda e: e.state is OrderState.FILLED and e.filled_quantity > 0
    )
    less = events[index].filled_quantity / 2
    assert "is called filled" in words(changed(events, index, filled_quantity=less))


def standing_stop(events):
    """Where a stop was accepted that outlived the next mark."""
    stops = {e.request.order_id for e in events
             if isinstance(e, OrderIntended) and e.purpose is Purpose.STOP}  # fmt: skip
    for index, event in enumerate(events):
        if isinstance(event, OrderAccepted) and event.order_id in stops:
            mark = first(events[index:], EquityMarked) + index
            ended = {e.order_id for e in events[index:mark] if isinstance(e, OrderEnded)}
            if event.order_id not in ended:
                return index
    raise AssertionError("no stop stood long enough")


def test_a_position_whose_stop_is_gone_is_found(events):
    index = standing_stop(events)
    order_id = events[index].order_id
    gone = OrderEnded(events[index].at, order_id, OrderState.CANCELLED, D(0), "vanished")
    told = words([*events[: index + 1], gone, *events[index + 1 :]])
    assert "held without a stop" in told
    assert "ended twice" in told


@pytest.mark.parametrize(
    ("tighter", "found"),
    [
        ({"risk_per_trade": D("0.001")}, "at risk of"),
        ({"max_position_fraction": D("0.01")}, "a position of"),
        ({"max_open_positions": 0}, "1 positions"),
        ({"max_daily_loss": D("0.0001")}, "after a loss"),
        ({"max_drawdown": D("0.0001")}, "too far below"),
    ],
)
def test_orders_that_broke_a_limit_are_found(events, tighter, found):
    assert found in words(events, replace(LIMITS, **tighter))


def test_spending_more_than_there_is_is_found(events):
    taken = CashAdjusted(events[0].at, "USD", D(-9990), "taken out")
    at = first(events, CashAdjusted)
    assert "cash" in words([*events[: at + 1], taken, *events[at + 1 :]])
