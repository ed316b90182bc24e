"""What a hostile exchange did to an earlier executor, one by one, and must not do again."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.trading_box import BTC, CALM, ETH, hours
from tests.wire_box import WireBox, refusal, refuses, result
from trader.domain.events import (
    CashAdjusted,
    OrderEnded,
    OrderIntended,
    TradeRefused,
    Troubled,
)
from trader.domain.orders import OrderState, OrderType, Purpose, Side
from trader.domain.signals import GIVEN_UP, Approval, Patience

D = Decimal
STOP = (D(2), D(90))
FALLS = [(100, 101, 99, 100)] + [(100, 101, 94, 100)] + [(100, 101, 99, 100)] * 46


def patient(box, limit="95", minutes=60):
    """A purchase of 2 that waits at a limit the market does not reach."""
    now = box.now
    plan = Approval(
        BTC, now, Side.BUY, OrderType.LIMIT, D(2), D(100), D(90), None, D(limit), D(0), D(0),
        None, ("test",), Patience(now + timedelta(minutes=minutes), D(limit), D(110)),
    )  # fmt: skip
    return box.executor.carry_out(plan, now)


def pass_time(box, seconds, step=10):
    for _ in range(seconds // step):
        box.settle(step)


@pytest.mark.parametrize("text", ["EAPI:Feature disabled", "EOrder:Rate limit exceeded"])
def test_a_sale_of_a_part_that_cannot_be_made_gives_way_to_one_of_all(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = refuses(text, "AmendOrder")
    box.sell("1")
    pass_time(box, 60)
    assert (box.position.quantity, box.stops()) == (D(2), [STOP])
    assert box.flatten(seconds=5)
    assert box.portfolio.positions == {}


def test_a_public_price_that_is_down_keeps_no_stop_from_its_place():
    box = WireBox(CALM, more={ETH: hours(FALLS)})
    box.buy("2", stop="90", target="150")
    box.buy("3", stop="80", limit="95", pair=ETH)
    box.wire.meddle = refuses("EService:Timeout", "Ticker")
    box.forward(5400)
    assert "Ticker" in box.settle()
    assert (D(3), D(80)) in box.stops()


def test_one_order_that_cannot_be_read_keeps_no_other_pair_from_its_stop():
    box = WireBox(CALM, more={ETH: hours(FALLS)})
    box.buy("2", stop="90")
    box.buy("3", stop="80", limit="95", pair=ETH)
    box.wire.meddle = lambda call, form, go: (
        (502, "text/html", b"") if call == "QueryOrders" else None
    )
    box.forward(5400)
    box.settle()
    assert (D(3), D(80)) in box.stops()


@pytest.mark.parametrize(
    "text", ["EOrder:Order minimum not met", "EGeneral:Invalid arguments:volume minimum not met"]
)
def test_a_refusal_for_size_that_cannot_be_about_the_size_is_not_remembered(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = refuses(text, "AddOrder", times=1)
    box.sell("2")
    assert box.flatten(seconds=5)
    assert box.portfolio.positions == {}


def test_a_mode_of_the_market_is_read_again_after_half_a_minute(monkeypatch):
    import time

    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    box = WireBox()
    box.buy("2", stop="90")
    box.real.change_rules(BTC, status="cancel_only")
    clock[0] += 3601
    exchange = box.executor.exchange
    assert exchange.market_rules(BTC).status == "cancel_only"
    box.real.change_rules(BTC, status="online")
    clock[0] += 29
    assert exchange.market_rules(BTC).status == "cancel_only"
    clock[0] += 2
    assert exchange.market_rules(BTC).status == "online"


@pytest.mark.parametrize(
    "text",
    ["EOrder:Insufficient funds", "EOrder:Orders limit exceeded", "ETrade:Locked"],
)
def test_a_live_stop_outlasts_refusals_that_are_the_accounts(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = refuses(text, "AmendOrder")
    box.executor.move_stop(BTC, D(92), "trails", box.now)
    pass_time(box, 20, step=1)
    assert box.stops() == [STOP]
    box.wire.meddle = None
    pass_time(box, 60, step=1)
    assert box.stops() == [(D(2), D(92))]


@pytest.mark.parametrize("text", ["EOrder:Rate limit exceeded", "EService:Busy"])
def test_a_purchase_that_was_given_up_is_not_made_after_all(text):
    box = WireBox()
    patient(box)
    box.forward(600)
    box.wire.meddle = refuses(text, "CancelOrder", times=1)
    box.executor.expire_entries(BTC, box.now, box.now)
    pass_time(box, 7200, step=60)
    assert box.position is None
    assert box.real.open_orders() == ()
    assert [e.refusal.rule for e in box.events(TradeRefused)] == [GIVEN_UP]


@pytest.mark.parametrize("text", ["EService:Busy", "EService:Deadline elapsed", "EFoo:New words"])
def test_a_sale_without_a_clear_answer_that_never_arrived_is_made_later(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = refuses(text, "AddOrder", times=1)
    box.sell("2")
    pass_time(box, 90)
    assert box.portfolio.positions == {}
    assert len([o for o in box.real.closed_orders(box.now - timedelta(hours=1))
                if o.side is Side.SELL and o.filled_quantity]) == 1  # fmt: skip


def test_a_sale_without_a_clear_answer_that_did_arrive_is_not_made_again():
    box = WireBox()
    box.buy("3", stop="90")
    box.forward(60)
    done = []

    def lose(call, form, go):
        if call == "AddOrder" and form["ordertype"] == "market" and not done:
            done.append(go())
            return refusal("EService:Busy")
        return None

    box.wire.meddle = lose
    box.sell("1")
    pass_time(box, 120)
    assert (box.position.quantity, box.stops()) == (D(2), [STOP])


def test_a_sale_is_decided_once_doubts_about_the_pair_are_settled():
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = refuses("EService:Busy", "AmendOrder", times=1)
    box.executor.move_stop(BTC, D(92), "trails", box.now)
    box.sell("2")
    pass_time(box, 90)
    assert box.portfolio.positions == {}


def test_a_cancel_that_was_refused_does_not_mark_the_stop_for_ever():
    box = WireBox()
    box.buy("2", stop="90")
    box.wire.meddle = refuses("EOrder:Rate limit exceeded", "CancelOrder", times=2)
    assert not box.executor.stand_down(box.now, "drill", flatten=True)
    box.executor.call_off_flattening()
    box.wire.meddle = refuses("EService:Market in cancel_only mode", "AddOrder")
    pass_time(box, 120)
    assert box.stops() == [STOP]


def test_a_delisted_market_ends_the_purchase_that_waits_there_and_nothing_else():
    box = WireBox(CALM, metadata_s=0, more={ETH: hours(CALM)})
    patient(box)

    def delist(call, form, go):
        if call != "AssetPairs":
            return None
        import json

        pairs = json.loads(go()[2])["result"]
        return result({i: row for i, row in pairs.items() if row["wsname"] != "XBT/USD"})

    box.wire.meddle = delist
    assert box.settle(10) == ""
    assert not box.executor.waits(BTC)
    assert box.executor.waiting_cost() == {}


def test_fills_of_another_pair_do_not_keep_a_sale_by_hand_unbooked():
    box = WireBox(CALM, more={ETH: hours(CALM)})
    box.buy("2", stop="90")
    box.forward(120)
    box.real.cancel_all()
    box.real.engine.account.deposit("BTC", D(-1), box.real.engine.now)
    box.executor.audit(box.now)
    for _ in range(3):
        box.forward(25)
        box.buy("0.1", stop="80", pair=ETH)
        box.settle()
    assert (box.portfolio.position(BTC).quantity, (D(1), D(90)) in box.stops()) == (D(1), True)


def test_small_deposits_do_not_keep_a_withdrawal_unbooked():
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(120)
    box.real.engine.account.deposit("USD", D(-5000), box.real.engine.now)
    box.executor.audit(box.now)
    for _ in range(3):
        box.forward(15)
        box.real.engine.account.deposit("USD", D(1), box.real.engine.now)
        box.settle()
    assert box.events(CashAdjusted)[-1].amount < -4900


def test_a_stop_that_is_no_longer_wanted_is_not_tried_again_and_again():
    box = WireBox()
    box.wire.meddle = lambda call, form, go: (
        refusal("EAPI:Feature disabled") if form.get("ordertype") == "stop-loss" else None
    )
    box.buy("2", stop="90")
    box.sell("2", limit="150")
    box.wire.meddle = None
    box.settle(10)
    assert box.executor.next_look(box.now) is None


def test_a_refused_cancel_of_a_stop_that_does_not_fit_is_said_and_told():
    box = WireBox()
    box.buy("2", stop="90")
    box.forward(60)
    box.wire.meddle = lambda call, form, go: (
        refusal("EOrder:Invalid price") if call == "AmendOrder"
        else refusal("ETrade:User Locked") if call == "CancelOrder" else None
    )  # fmt: skip
    box.buy("1", stop="90")
    pass_time(box, 30, step=1)
    assert "stays at 2" in box.executor.unprotected[BTC]
    assert [e.category for e in box.events(Troubled)] == ["unprotected"]
    assert box.executor.orders.live(BTC, Purpose.STOP)[0].is_settled


def test_a_stop_that_meets_a_purchase_of_ours_sells_and_ends_the_purchase():
    falls = [(100, 101, 99, 100)] * 2 + [(100, 100, 80, 85)] + [(85, 86, 84, 85)] * 20
    box = WireBox(falls)
    engine = box.real.engine
    engine.costs = replace(engine.costs, slippage=D("0.01"))  # a sale reaches down to 89.1
    box.buy("2", stop="90")
    box.forward(60)
    box.buy("1", stop="90", limit="89.9")
    pass_time(box, 7200, step=600)
    assert box.portfolio.positions == {}
    assert [str(t.exit_purpose) for t in box.portfolio.trades] == ["stop"]
    assert [e.state for e in box.events(OrderEnded) if e.reason] == [OrderState.EXPIRED]
    assert len([e for e in box.events(OrderIntended) if e.purpose is Purpose.STOP]) == 1
