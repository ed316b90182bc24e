"""A purchase that waits as a maker: each of its edges, and what the executor makes of it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from risk_manager import RiskLimits
from tests.risk.drawn import MARKET, NOW, RULES, limited, verdict
from tests.trading_box import BTC, Box
from trader.domain.events import OrderEnded, TradeRefused
from trader.domain.markets import FeeRates, Ticker
from trader.domain.orders import Liquidity, OrderType, Purpose, Side
from trader.domain.signals import Approval, Patience
from trader.risk.entries import MOST_ORDERS, Move, next_step, patience

D = Decimal
FEES = FeeRates(D("0.004"), D("0.008"))
HOURS = timedelta(hours=4)
PLAN = Patience(NOW + HOURS, D("101"), D("102"))
SECOND = timedelta(seconds=1)


def ticker(bid, ask):
    return Ticker(BTC, NOW, D(bid), D(ask), D(bid))


def step(bid, ask, *, now=NOW, resting="100", orders=1):
    return next_step(PLAN, now, ticker(bid, ask), resting and D(resting), orders, RULES)


def test_a_purchase_may_follow_as_far_as_taking_would_have_cost():
    # 0.8 % and 0.05 % instead of 0.4 %: 0.45 % are saved; a round trip costs 1.7 %.
    found = patience(D(100), FEES, D("0.0005"), NOW, HOURS)
    assert found == Patience(NOW + HOURS, D("100.45"), D("101.7"))


@pytest.mark.parametrize(
    ("fees", "longest"),
    [(FeeRates(D("0.008"), D("0.008")), HOURS), (FEES, timedelta(0))],
)
def test_where_nothing_is_saved_or_no_time_given_nobody_waits(fees, longest):
    assert patience(D(100), fees, D(0), NOW, longest) is None


def test_it_waits_while_the_bid_is_not_above_its_price():
    assert step("100", "100.5").move is Move.WAIT


def test_it_follows_a_bid_that_has_risen():
    found = step("100.3", "100.8")
    assert (found.move, found.price) == (Move.FOLLOW, D("100.3"))


def test_it_follows_no_further_than_its_budget():
    assert step("103", "104").price == D("101")
    assert step("103", "104", resting="101").move is Move.WAIT


def test_an_order_that_the_exchange_ended_is_made_again():
    assert step("99", "99.5", resting=None).price == D("99")


def test_after_so_many_orders_it_follows_no_more():
    assert step("100.3", "101", orders=MOST_ORDERS - 1).move is Move.FOLLOW
    assert step("100.3", "101", orders=MOST_ORDERS).move is Move.WAIT


def test_when_its_time_is_up_it_takes_and_not_a_second_before():
    assert step("100", "102", now=NOW + HOURS - SECOND).move is Move.WAIT
    assert step("100", "102", now=NOW + HOURS).move is Move.TAKE


def test_a_price_that_has_run_away_is_not_taken():
    assert step("101", "102.1", now=NOW + HOURS).move is Move.GIVE_UP


def test_the_plan_waits_at_the_bid_and_keeps_the_size_of_a_purchase_at_once():
    market = replace(MARKET, fees=FEES, slippage=D("0.0005"), bid=D("99.9"), ask=D(100))
    at_once = verdict(market=market)
    plan = verdict(limits=limited(entry_patience_minutes=240), market=market)
    assert (plan.order_type, plan.limit_price) == (OrderType.LIMIT, D("99.9"))
    assert plan.patience == Patience(NOW + HOURS, D("100.45"), D("101.7"))
    assert (plan.quantity, plan.stop) == (at_once.quantity, at_once.stop)


def test_without_a_known_bid_it_buys_at_once():
    assert verdict(limits=limited(entry_patience_minutes=240)).order_type is OrderType.MARKET


# ---- in the executor: a taker pays 1 %, a maker nothing; the market is drawn hour by hour


def begun(rows, *, quantity="2", hours=3, follow="101", give_up="110", **box):
    """A box with a purchase at 100 that waits."""
    box = Box(rows, **box)
    until = box.now + timedelta(hours=hours)
    plan = Approval(
        BTC, box.now, Side.BUY, OrderType.LIMIT, D(quantity), D(100), D(90), None, D(100), D(0),
        D(0), None, ("test",), Patience(until, D(follow), D(give_up)),
    )  # fmt: skip
    box.executor.carry_out(plan, box.now)
    return box


def passing(box, hours):
    """Let time pass as the loop does: waking when the executor or a fill asks for it."""
    end = box.now + timedelta(hours=hours)
    while box.now < end:
        moments = [box.executor.next_look(box.now), box.real.alarm(box.now, end, {}), end]
        box.clock.sleep_until(min(m for m in moments if m is not None and m > box.now))
        box.executor.settle(box.now)


def fills(box):
    return [(e.fill.price, e.fill.liquidity) for e in box.events_of_fills()]


FLAT = (101, 102, 100.5, 101)
DIP = (101, 102, 98, 101)
RISING = [(101 + i, 102 + i, 101 + i, 102 + i) for i in range(20)]


def test_a_price_that_trades_through_fills_as_a_maker_and_is_guarded_at_once():
    box = begun([FLAT, FLAT, DIP, *[FLAT] * 20], follow="100")
    passing(box, 3)
    assert fills(box) == [(D(100), Liquidity.MAKER)]
    assert box.stops() == [(D(2), D(90))]
    assert not box.executor.waits(BTC)


def test_a_price_that_is_only_touched_does_not_fill():
    box = begun([FLAT, (101, 102, 100, 101), *[FLAT] * 20], follow="100")
    passing(box, 2)
    assert fills(box) == []
    assert box.executor.waits(BTC)


def test_in_vain_it_takes_the_rest_when_its_time_is_up():
    box = begun([FLAT] * 24, follow="100")
    passing(box, 4)
    assert [liquidity for _, liquidity in fills(box)] == [Liquidity.TAKER]
    assert box.position.quantity == 2
    assert [o.request.type for o in box.sent()] == [OrderType.LIMIT, OrderType.MARKET]
    assert box.stops() == [(D(2), D(90))]
    box.assert_agrees()


def test_it_follows_a_rising_market_and_gives_up_one_that_ran_away():
    box = begun([FLAT, *RISING], follow="101.5", give_up="102", hours=5)
    passing(box, 6)
    prices = [o.request.price for o in box.sent()]
    assert prices == sorted(prices)
    assert max(prices) <= D("101.5")
    assert all(o.request.post_only for o in box.sent())
    refusal = box.events(TradeRefused)[-1].refusal
    assert (refusal.rule, box.position) == ("entry-given-up", None)
    assert box.real.open_orders() == ()


def test_a_part_that_filled_is_not_bought_again():
    # A tenth of the hour's volume may fill a resting order: 1 of 2.
    box = begun([FLAT, DIP, *[FLAT] * 20], follow="100", volume=10.0)
    passing(box, 1.5)
    assert box.position.quantity == 1
    assert box.stops() == [(D(1), D(90))]
    passing(box, 3)
    assert box.position.quantity == 2
    assert box.stops() == [(D(2), D(90))]
    box.assert_agrees()


def test_a_restart_while_waiting_changes_nothing():
    box = begun([FLAT] * 24, follow="100")
    passing(box, 1)
    box.restart()
    assert box.executor.waits(BTC)
    passing(box, 3)
    assert box.position.quantity == 2
    assert len(box.events_of_fills()) == 1
    box.assert_agrees()


def test_an_emergency_stop_cancels_what_waits_and_it_does_not_come_back():
    box = begun([FLAT] * 24, follow="100")
    assert box.executor.stand_down(box.now, "test", flatten=False)
    passing(box, 5)
    assert (fills(box), box.real.open_orders()) == ([], ())
    assert len(box.events(OrderEnded)) == 1


def test_a_newer_candle_that_wants_nothing_cancels_what_waits():
    box = begun([FLAT] * 24, follow="100")
    box.executor.expire_entries(BTC, box.now + HOURS, box.now)
    passing(box, 5)
    assert (fills(box), box.executor.waits(BTC)) == ([], False)


def test_patience_is_a_limit_of_the_owner():
    assert RiskLimits().entry_patience_minutes == 0


def test_a_stop_that_follows_is_raised_at_the_exchange_and_survives_a_restart():
    box = Box([FLAT] * 24)
    box.buy("2", stop="90")
    box.executor.move_stop(BTC, D(95), "test", box.now)
    assert box.stops() == [(D(2), D(95))]
    box.executor.move_stop(BTC, D(93), "test", box.now)  # never lowered
    box.restart()
    assert (box.stops(), box.position.stop) == ([(D(2), D(95))], D(95))


def test_a_time_stop_sells_all_once_and_leaves_no_stop_behind():
    box = Box([FLAT] * 24)
    box.buy("2", stop="90")
    box.executor.close(BTC, box.now, "held for 2 days", box.now)
    passing(box, 1)
    assert (box.position, box.real.open_orders()) == (None, ())
    assert [o.request.quantity for o in box.sent(Purpose.EXIT)] == [D(2)]
    box.assert_agrees()
