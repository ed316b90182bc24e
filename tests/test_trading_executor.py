"""The executor on a real sandbox exchange: every order once, every fill once, every stop in place.

Prices are drawn so that the amounts can be checked in the head: fee 1 %, no slippage.
"""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.trading_box import BTC, CALM, START, Box
from trader.domain.errors import (
    ExchangeBusy,
    InsufficientFunds,
    OrderRejected,
    OutcomeUnknown,
    Unreachable,
)
from trader.domain.events import (
    AmendIntended,
    CashAdjusted,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    Reconciled,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.orders import OrderRequest, OrderState, OrderType, Purpose, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Refusal
from trader.simulation.path import to_us
from trader.storage.journal import MemoryJournal
from trading_executor import TradingExecutor

D = Decimal
FALL = [(100, 101, 99, 100)] * 3 + [(100, 100, 85, 88)] + [(88, 89, 87, 88)] * 40
RISE = [(100, 101, 99, 100)] * 3 + [(100, 121, 99, 118)] + [(118, 119, 117, 118)] * 40


# -- entries and their stops ----------------------------------------------------------------


def test_the_first_deposit_is_journalled_before_anything_else():
    box = Box()
    (deposit,) = box.events(CashAdjusted)
    assert (deposit.asset, deposit.amount, deposit.reason) == ("USD", D(10000), "first deposit")


def test_an_intent_is_journalled_before_the_order_is_sent():
    box = Box()
    seen = []
    place = box.real.place

    def watched(request, now):
        seen.append(type(list(box.journal.events())[-1][1]))
        return place(request, now)

    box.real.place = watched
    box.buy()
    assert seen == [OrderIntended, OrderIntended]


def test_an_entry_is_filled_paid_and_guarded_in_the_same_step():
    box = Box()
    box.buy("2", stop="90")
    assert (box.position.quantity, box.portfolio.cash) == (D(2), D(10000) - 200 - 2)
    assert box.stops() == [(D(2), D("90.0"))]
    box.assert_agrees()


def test_the_same_decision_is_sent_once():
    box = Box()
    assert box.buy() is not None
    assert box.buy() is None
    assert len(box.sent()) == 1


def test_a_refusal_is_journalled_and_sends_nothing():
    box = Box()
    box.executor.carry_out(Refusal(BTC, box.now, "daily-loss", "3.1 %"), box.now)
    assert [e.refusal.rule for e in box.events(TradeRefused)] == ["daily-loss"]
    assert "place" not in box.exchange.calls


def test_an_entry_the_exchange_refuses_is_over_and_the_money_is_untouched():
    box = Box(cash=100)
    order = box.buy("2")
    assert (order.state, box.portfolio.cash, box.stops()) == (OrderState.REJECTED, D(100), [])


def test_a_stop_follows_the_size_of_the_position():
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.buy("1")
    assert box.stops() == [(D(3), D("90.0"))]
    box.pass_hours()
    box.sell("1")
    assert box.stops() == [(D(2), D("90.0"))]
    box.assert_agrees()


def test_a_partly_filled_entry_is_guarded_by_a_stop_of_that_part():
    rows = [(100, 101, 99, 100)] * 2 + [(100, 101, 94, 100)] + [(100, 101, 99, 100)] * 9
    box = Box(rows, volume=100)  # a tenth of the volume, 10, is ours
    box.buy("50", stop="90", limit="95")
    assert (box.position, box.stops()) == (None, [])
    box.pass_hours(2)
    assert box.position.quantity == D(10)
    assert box.stops() == [(D(10), D("90.0"))]
    box.assert_agrees()


def test_an_entry_that_waits_is_cancelled_when_a_newer_candle_is_decided_on():
    box = Box()
    order = box.buy("2", limit="50")
    box.pass_hours()
    box.executor.expire_entries(BTC, box.now, box.now)
    assert (order.state, box.real.open_orders()) == (OrderState.CANCELLED, ())


# -- stops and targets ----------------------------------------------------------------------


def test_a_stop_that_fills_closes_the_position_and_nothing_else_is_sold():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.pass_hours(5)
    assert box.position is None
    assert [t.exit_purpose for t in box.portfolio.trades] == [Purpose.STOP]
    # bought for 202, sold at 90 less 1 %
    assert box.portfolio.cash == D(10000) - 202 + D("180") - D("1.8")
    box.assert_agrees()


def test_a_target_that_is_reached_sells_once_and_leaves_no_stop_behind():
    box = Box(RISE)
    box.buy("2", stop="90", target="115")
    box.pass_hours(5)
    assert [t.exit_purpose for t in box.portfolio.trades] == [Purpose.TARGET]
    assert box.real.open_orders() == ()
    box.assert_agrees()


def test_what_is_too_small_to_be_sold_is_not_looked_after_for_its_target():
    box = Box([CALM[0], (100, 101, 98, 100), *RISE], volume=0.0005)
    box.buy("2", stop="90", target="115", limit="99")
    box.pass_hours(2)
    assert box.position.quantity == D("0.00005")  # half of what the exchange takes
    assert box.executor.watched_targets() == {}
    box.pass_hours(6)
    assert box.real.ticker(BTC).last > 115
    assert box.sent(Purpose.TARGET) == []


def test_before_a_target_is_sold_the_stop_is_cancelled_and_its_end_seen():
    box = Box(RISE)
    box.buy("2", stop="90", target="115")
    box.exchange.calls.clear()
    box.pass_hours(5)
    calls = [c for c in box.exchange.calls if c in ("cancel", "order", "place")]
    assert calls == ["cancel", "order", "place"]


def test_what_a_stop_sold_while_it_was_being_cancelled_is_not_sold_again():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.clock.sleep_until(START + timedelta(hours=5))  # the stop has filled; nobody looked yet
    box.sell("2")
    assert [t.exit_purpose for t in box.portfolio.trades] == [Purpose.STOP]
    assert (box.sent(Purpose.EXIT), box.position) == ([], None)
    box.assert_agrees()


def test_after_half_is_sold_the_rest_keeps_a_stop_of_its_size():
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.sell("0.5")
    assert (box.position.quantity, box.stops()) == (D("1.5"), [(D("1.5"), D("90.0"))])
    box.assert_agrees()


def test_a_rest_too_small_to_sell_later_is_sold_with_the_others():
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.sell("1.99999")
    assert (box.position, box.stops()) == (None, [])


def test_a_stop_the_exchange_refuses_closes_the_position_and_tells_someone():
    box = Box()
    refused = OrderRejected("no stops today")
    original = box.real.place

    def no_stops(request, now):
        if request.type is OrderType.STOP_LOSS:
            raise refused
        return original(request, now)

    box.real.place = no_stops
    box.buy("2", stop="90")
    assert box.position is None
    assert [e.category for e in box.events(Troubled)] == ["unprotected"]
    box.assert_agrees()


def test_a_stop_refused_for_funds_not_yet_booked_is_tried_again():
    box = Box()
    original = box.real.place
    answers = [InsufficientFunds("not booked yet"), InsufficientFunds("not booked yet")]

    def slow_booking(request, now):
        if request.type is OrderType.STOP_LOSS and answers:
            raise answers.pop()
        return original(request, now)

    box.real.place = slow_booking
    box.buy("2", stop="90")
    assert BTC in box.executor.unprotected
    box.pass_hours(0.01)
    box.pass_hours(0.01)
    assert (box.stops(), box.executor.unprotected) == ([(D(2), D("90.0"))], {})


def test_a_position_below_the_minimum_has_a_stated_reason_instead_of_a_stop():
    box = Box()
    box.buy("0.0055", stop="90")
    assert box.stops() == []
    assert "minimum" in box.executor.unprotected[BTC]


def test_a_plan_without_a_stop_says_so():
    box = Box()
    box.buy("2", stop=None)
    assert box.executor.unprotected == {BTC: "its plan has no stop"}


# -- no clear answer ------------------------------------------------------------------------


def test_an_order_whose_answer_was_lost_is_looked_up_and_never_sent_again():
    box = Box()
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), False))
    order = box.buy("2")
    assert order.state is OrderState.UNKNOWN
    box.pass_hours(0.001)
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D("90.0"))])
    assert [r.spec.type for r in box.real.records()] == [OrderType.MARKET, OrderType.STOP_LOSS]
    box.assert_agrees()


def test_an_order_that_never_arrived_is_given_up_only_after_the_time_of_doubt():
    box = Box()
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), True))
    order = box.buy("2")
    box.pass_hours(64 / 3600)
    assert order.state is OrderState.UNKNOWN
    box.pass_hours(1 / 3600)
    assert order.state is OrderState.REJECTED
    assert [e.category for e in box.events(OrderRefused)] == ["never_arrived"]


def test_orders_the_exchange_no_longer_knows_are_given_up_after_the_time_of_doubt():
    box = Box()
    box.buy("2")
    box.pass_hours(0.1)
    fresh = Box()  # a new account, as after its file was moved away
    fresh.clock.sleep_until(box.now)
    box.real, box.clock, box.exchange = fresh.real, fresh.clock, fresh.exchange
    box.restart()
    box.pass_hours(0.1)
    assert box.events(OrderRefused)[0].category == "lost"
    box.pass_hours(0.1)
    assert box.position is None
    assert box.portfolio.positions == {}
    assert len(box.events(OrderUnclear)) == 1
    assert box.restart().orders.live() == ()


def test_while_an_order_is_in_doubt_nothing_more_is_sent_for_its_pair():
    box = Box()
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), True))
    box.buy("2")
    box.pass_hours(0.001)
    assert box.buy("1") is None
    assert [e.refusal.rule for e in box.events(TradeRefused)] == ["order_in_flight"]
    assert len(box.events(TradeApproved)) == 1


def test_an_order_given_up_that_turns_up_later_is_taken_back_with_its_fills():
    box = Box()
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), True))
    order = box.buy("2")
    box.pass_hours(1)
    assert order.state is OrderState.REJECTED
    box.real.place(order.request, box.now)  # it had only been slow
    box.executor.audit(box.now)
    box.executor.settle(box.now)
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D("90.0"))])
    box.assert_agrees()


def test_a_stop_whose_answer_was_lost_is_found_and_not_doubled():
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.real.cancel_all()
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), False))
    box.pass_hours(0.001)  # notices that the stop is gone, places one, hears nothing
    box.pass_hours(0.001)
    assert (box.stops(), box.executor.unprotected) == ([(D(2), D("90.0"))], {})


def test_a_stop_is_changed_in_place_and_never_away():
    box = Box()
    box.buy("2", stop="90")
    (before,) = box.sent(Purpose.STOP)
    box.executor.move_stop(BTC, D(95), "the price has risen", box.now)
    box.pass_hours()
    box.buy("1", stop="90")
    assert box.stops() == [(D(3), D("95.0"))]
    assert [o.exchange_id for o in box.sent(Purpose.STOP)] == [before.exchange_id]
    assert [(e.quantity, e.price, e.reason) for e in box.events(OrderAmended)] == [
        (D(2), D("95.0"), ""), (D(3), D("95.0"), "")
    ]  # fmt: skip
    assert "cancel" not in box.exchange.calls
    box.assert_agrees()


@pytest.mark.parametrize("lost", [True, False])
def test_a_change_without_an_answer_ends_with_one_stop_of_the_right_terms(lost):
    box = Box()
    box.buy("2", stop="90")
    box.exchange.breaks.append(("amend", OutcomeUnknown("time-out"), lost))
    box.executor.move_stop(BTC, D(95), "the price has risen", box.now)
    assert box.executor.orders.live(BTC, Purpose.STOP)[0].in_doubt
    box.pass_hours(0.001)
    assert (box.stops(), box.executor.unprotected) == ([(D(2), D("95.0"))], {})
    # Seen as changed it stays; seen as it was it gave way to a new one.
    assert len(box.sent(Purpose.STOP)) == (2 if lost else 1)
    assert not any(order.amending for order in box.executor.orders.all_orders())
    box.assert_agrees()


def test_a_change_the_exchange_refuses_is_a_cancel_and_a_new_stop():
    box = Box()
    box.buy("2", stop="90")
    box.exchange.breaks.append(("amend", OrderRejected("not this one"), True))
    box.executor.move_stop(BTC, D(95), "the price has risen", box.now)
    assert box.stops() == [(D(2), D("95.0"))]
    assert len(box.sent(Purpose.STOP)) == 2
    box.assert_agrees()


def test_a_stop_that_fills_before_it_is_changed_has_closed_the_position():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.clock.sleep_until(START + timedelta(hours=5))  # the stop has filled; nobody looked yet
    box.executor.move_stop(BTC, D(95), "late", box.now)
    assert (box.position, box.stops()) == (None, [])
    assert [t.exit_purpose for t in box.portfolio.trades] == [Purpose.STOP]
    box.assert_agrees()


@pytest.mark.parametrize("arrived", [True, False])
def test_a_kill_while_a_stop_is_changed_leaves_one_stop_of_the_right_terms(arrived):
    box = Box()
    box.buy("2", stop="90")
    real = box.real.amend

    def killed(*words):
        if arrived:
            real(*words)
        raise KeyboardInterrupt

    box.real.amend = killed
    with pytest.raises(KeyboardInterrupt):
        box.executor.move_stop(BTC, D(95), "the price has risen", box.now)
    box.real.amend = real
    box.restart()
    assert box.stops() == [(D(2), D("95.0"))]
    assert box.events(AmendIntended)
    box.assert_agrees()


def test_a_stop_that_was_made_larger_and_filled_before_that_was_known_is_booked_in_order():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.pass_hours()
    real = box.real.amend

    def killed(*words):
        real(*words)
        raise KeyboardInterrupt

    box.real.amend = killed
    with pytest.raises(KeyboardInterrupt):
        box.buy("1", stop="90")
    box.clock.sleep_until(START + timedelta(hours=5))
    box.restart()
    assert (box.position, box.stops()) == (None, [])
    order = box.executor.orders.get(box.sent(Purpose.STOP)[0].order_id)
    assert (order.filled, order.request.quantity) == (D(3), D(3))
    kinds = [type(e) for _, e in box.journal.events() if isinstance(e, OrderAmended | OrderFilled)]
    assert kinds[-2:] == [OrderAmended, OrderFilled]
    box.assert_agrees()


def test_of_two_stops_one_is_too_many():
    box = Box()
    box.buy("2", stop="90")
    box.real.engine.account.deposit("BTC", D(1), to_us(box.now))
    box.pass_hours()
    twin = OrderIntended(
        box.now, OrderRequest("f" * 32, BTC, Side.SELL, OrderType.STOP_LOSS, D(1), D(80)),
        Purpose.STOP, box.now, "a second one",
    )  # fmt: skip
    box.executor.record(twin)
    box.executor.record(OrderAccepted(box.now, "f" * 32, box.real.place(twin.request, box.now)))
    box.pass_hours(0.001)
    assert box.stops() == [(D(2), D("90.0"))]


@pytest.mark.parametrize("lost", [True, False])
def test_a_cancel_without_an_answer_is_asked_about_before_anything_is_sold(lost):
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.exchange.breaks.append(("cancel", OutcomeUnknown("time-out"), lost))
    box.sell("2")
    assert box.sent(Purpose.EXIT) == []
    box.pass_hours(0.001)
    box.pass_hours(0.001)
    assert (box.position, box.real.open_orders()) == (None, ())
    assert len(box.sent(Purpose.EXIT)) == 1
    box.assert_agrees()


@pytest.mark.parametrize("wanted", ["a sale", "another stop"])
def test_a_stop_that_turns_out_to_be_cancelled_while_accounts_are_compared_is_no_hole(wanted):
    """The cancel had no answer; the look that finds it done comes after the guard's round."""
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.exchange.breaks += [
        ("amend", OrderRejected("not this one"), True),
        ("cancel", OutcomeUnknown("time-out"), False),
    ]
    if wanted == "a sale":
        box.exchange.breaks.popleft()
        box.sell("2")
    else:
        box.executor.move_stop(BTC, D(95), "the price has risen", box.now)
    assert (box.stops(), box.executor.orders.live(BTC, Purpose.STOP)[0].in_doubt) == ([], True)
    box.executor.audit(box.now)
    if wanted == "a sale":
        assert box.position is None
    else:
        assert box.stops() == [(D(2), D("95.0"))]
    box.assert_agrees()


def test_a_sale_the_exchange_is_too_busy_for_leaves_the_stop_in_place_and_is_tried_again():
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.exchange.breaks.append(("place", ExchangeBusy("overload"), True))
    box.sell("2")
    assert box.stops() == [(D(2), D("90.0"))]
    box.pass_hours(0.001)
    assert (box.position, box.real.open_orders()) == (None, ())
    box.assert_agrees()


@pytest.mark.parametrize("call", ["open_orders", "order", "fills", "balances", "market_rules"])
def test_a_read_that_fails_anywhere_loses_nothing(call):
    box = Box(FALL)
    box.exchange.breaks.append((call, Unreachable("no answer"), True))
    for step in (lambda: box.buy("2", stop="90"), lambda: box.executor.audit(box.now)):
        try:
            step()
        except Unreachable:
            box.pass_hours(0.001)
    box.pass_hours(6)
    assert box.position is None
    box.assert_agrees()


def test_an_order_is_over_only_when_its_fills_add_up():
    box = Box()
    real, box.real.fills = box.real.fills, lambda since: ()
    order = box.buy("2")
    assert (order.state, box.position) == (OrderState.OPEN, None)
    box.real.fills = real
    box.pass_hours(0.001)
    assert (order.state, box.position.quantity) == (OrderState.FILLED, D(2))
    assert box.stops() == [(D(2), D("90.0"))]
    box.assert_agrees()


def test_a_fill_told_of_hours_late_is_looked_for_further_back():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.pass_hours(1)
    shown = box.real.open_orders()
    open_orders, box.real.open_orders = box.real.open_orders, lambda: shown
    box.pass_hours(5)  # the exchange shows an old picture, in which the stop still stands
    box.real.open_orders = open_orders
    box.pass_hours(1)
    assert box.position is None
    box.assert_agrees()


def test_what_a_resting_sale_by_hand_will_sell_is_not_sold_by_a_stop_as_well():
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.sell("0.5", limit="150", purpose=Purpose.MANUAL)
    assert box.stops() == [(D("1.5"), D("90.0"))]


def test_a_resting_sale_of_everything_is_the_stated_reason_for_no_stop():
    box = Box()
    box.buy("2", stop="90")
    box.pass_hours()
    box.sell("2", limit="150", purpose=Purpose.MANUAL)
    assert box.stops() == []
    assert "selling all of it" in box.executor.unprotected[BTC]
    assert len(box.real.open_orders()) == 1


# -- emergency ------------------------------------------------------------------------------


def test_a_position_whose_sale_is_refused_in_an_emergency_gets_its_stop_back_at_once():
    box = Box()
    box.buy("2", stop="90")
    box.exchange.breaks.append(("place", InsufficientFunds("not now"), True))
    assert not box.executor.stand_down(box.now, "drill", flatten=True)
    assert box.stops() == [(D(2), D("90.0"))]
    box.clock.sleep_until(box.now + timedelta(seconds=1))
    box.executor.settle(box.now)
    assert box.executor.stand_down(box.now, "drill", flatten=True)
    assert (box.position, box.stops()) == (None, [])


def test_standing_down_cancels_what_waits_to_buy_and_keeps_the_stops():
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.buy("1", limit="50")
    assert box.executor.stand_down(box.now, "test", flatten=False)
    assert box.stops() == [(D(2), D("90.0"))]
    assert len(box.real.open_orders()) == 1


def test_standing_down_flat_sells_everything_and_leaves_no_order():
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.buy("1", limit="50")
    assert box.executor.stand_down(box.now, "test", flatten=True)
    assert (box.position, box.real.open_orders()) == (None, ())
    assert [t.exit_purpose for t in box.portfolio.trades] == [Purpose.FLATTEN]
    box.assert_agrees()


# -- start and reconciliation ---------------------------------------------------------------


def test_a_restart_finds_the_same_portfolio_and_no_difference():
    box = Box()
    box.buy("2")
    before = (box.portfolio.cash, box.portfolio.positions)
    box.restart()
    assert (box.portfolio.cash, box.portfolio.positions) == before
    assert box.events(Reconciled)[-1].differences == ()


def test_a_stop_that_filled_while_the_program_was_away_is_taken_in_at_the_start():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.clock.sleep_until(START + timedelta(hours=6))
    box.restart()
    assert box.position is None
    box.assert_agrees()


def test_an_order_sent_by_a_program_that_died_before_the_answer_is_found_at_the_start():
    box = Box()
    box.journal.append(intent(box))
    box.real.place(intent(box).request, box.now)
    box.restart()
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D("90.0"))])
    box.assert_agrees()


def test_an_intent_of_a_program_that_died_before_sending_is_never_sent():
    box = Box()
    box.journal.append(intent(box))
    box.restart()
    assert len(box.events(OrderUnclear)) == 1
    box.pass_hours(1)
    assert [e.category for e in box.events(OrderRefused)] == ["never_arrived"]
    assert (box.position, box.real.records()) == (None, ())


def test_a_missing_stop_is_placed_at_the_start():
    box = Box()
    box.buy("2")
    box.real.cancel_all()
    box.restart()
    assert box.stops() == [(D(2), D("90.0"))]


def test_orders_money_and_coins_that_are_not_ours_are_seen_reported_and_left_alone():
    box = Box()
    box.buy("2")
    by_hand = OrderRequest("", BTC, Side.BUY, OrderType.LIMIT, D(1), D(50))
    box.real.place(by_hand, box.now)
    box.real.place(OrderRequest("", BTC, Side.BUY, OrderType.MARKET, D(1)), box.now)
    box.restart()
    notes = "\n".join(box.events(Reconciled)[-1].differences)
    assert "is not ours" in notes
    assert "+1" in notes
    assert "-101" in notes
    box.pass_hours(0.02)
    assert (box.position.quantity, len(box.real.open_orders())) == (D(2), 2)
    balances = {a: b.total for a, b in box.real.balances().items()}
    assert box.portfolio.holdings() == balances


def test_a_hand_sale_of_half_the_position_shrinks_it_and_its_stop():
    box = Box()
    box.buy("2")
    box.real.cancel_all()
    box.real.place(OrderRequest("", BTC, Side.SELL, OrderType.MARKET, D(1)), box.now)
    box.restart()
    box.pass_hours(0.02)
    assert (box.position.quantity, box.stops()) == (D(1), [(D(1), D("90.0"))])


def test_every_order_has_one_intent_one_answer_and_one_end():
    box = Box(FALL)
    box.buy("2", stop="90")
    box.pass_hours(6)
    counts = [len(box.events(k)) for k in (OrderIntended, OrderAccepted, OrderFilled, OrderEnded)]
    assert counts == [2, 2, 2, 2]


def test_settling_with_nothing_open_asks_nothing():
    box = Box(CALM)
    box.exchange.calls.clear()
    box.pass_hours()
    assert box.exchange.calls == []


def intent(box):
    request = OrderRequest("ab" * 16, BTC, Side.BUY, OrderType.MARKET, D(2))
    return OrderIntended(box.now, request, Purpose.ENTRY, box.now, "test", D(90), None)


def test_a_balance_out_of_a_cache_takes_nothing_away_from_a_position():
    box = Box()
    before = box.real.balances()
    box.buy("2")
    held = box.position
    answers = [before]
    true = box.real.balances
    box.real.balances = lambda: answers.pop() if answers else true()
    box.executor.audit(box.now)
    assert box.position == held
    assert [e.reason for e in box.events(CashAdjusted)] == ["first deposit"]
    assert box.stops() == [(D(2), D(90))]


def test_a_difference_that_looks_the_same_half_a_minute_later_is_booked():
    box = Box()
    box.buy("2")
    box.pass_hours()
    box.real.engine.account.deposit("USD", D(-50), box.real.engine.now)
    (note,) = box.executor.audit(box.now)
    assert note.endswith("looked at again before it is believed")
    assert box.executor.next_look(box.now) == box.now + timedelta(seconds=30)
    box.clock.sleep_until(box.now + timedelta(seconds=30))
    (note,) = box.executor.audit(box.now)
    assert note.endswith("USD at the exchange: a transfer or a trade by hand")
    assert box.events(CashAdjusted)[-1].amount == -50


def test_an_order_of_the_same_id_from_a_lost_journal_is_not_taken_for_this_one():
    box = Box()
    box.buy("2")
    box.journal = MemoryJournal()
    box.real.cancel_all()
    box.executor = box.new_executor()
    box.executor.reconcile(box.now)
    box.buy("1")
    assert box.position.quantity == 1
    assert box.stops() == [(D(1), D(90))]


def test_doubt_counts_from_when_the_order_was_really_sent():
    box = Box()
    box.executor = TradingExecutor(box.exchange, box.journal, Portfolio("USD"), clock=box.clock)
    box.executor.restore()
    began = box.now

    append = box.journal.append

    def slow(event):
        if isinstance(event, TradeApproved):
            box.clock.sleep_until(box.now + timedelta(seconds=60))
        return append(event)

    box.journal.append = slow
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), True))
    plan = box.buy("2")
    assert plan.state is OrderState.UNKNOWN
    assert plan.changed_at == began + timedelta(seconds=60)
    box.clock.sleep_until(began + timedelta(seconds=70))
    box.executor.settle(box.now)
    assert plan.state is OrderState.UNKNOWN


def test_the_times_of_the_journal_never_run_back_within_a_pass():
    box = Box()
    late = box.now + timedelta(seconds=50)
    box.executor.record(Troubled(late, "test", "an answer took long"))
    box.executor.record(Troubled(box.now, "test", "same pass"))
    assert [e.at for e in box.events(Troubled)] == [late, late]


def test_a_sale_of_which_nobody_knows_yet_is_not_booked_as_a_trade_by_hand():
    box = Box()
    box.buy("2")
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), False))
    box.clock.sleep_until(box.now + timedelta(seconds=1))
    box.sell("1")
    seen = box.real.fills
    box.real.fills = lambda since: [f for f in seen(since) if f.quantity != 1]
    assert box.executor.audit(box.now) == []
    del box.real.fills
    box.pass_hours(1)
    box.executor.audit(box.now)
    assert {e.reason for e in box.events(CashAdjusted)} <= {
        "first deposit", "rounding of amounts at the exchange"
    }  # fmt: skip
    assert box.position.quantity == 1
    box.assert_agrees()


# -- sales of a part -------------------------------------------------------------------------


def test_what_a_sale_leaves_is_guarded_all_the_while():
    box = Box()
    box.buy("3", stop="90")
    box.pass_hours()
    place, seen = box.real.place, []

    def watched(request, now):
        seen.append(box.stops())
        return place(request, now)

    box.real.place = watched
    box.sell("1")
    assert seen == [[(D(2), D("90.0"))]]
    assert box.stops() == [(D(2), D("90.0"))]
    assert "cancel" not in box.exchange.calls
    assert len(box.sent(Purpose.STOP)) == 1
    box.assert_agrees()


@pytest.mark.parametrize("lost", [True, False])
def test_a_part_is_sold_once_even_if_its_stops_change_has_no_answer(lost):
    box = Box()
    box.buy("3", stop="90")
    box.pass_hours()
    box.exchange.breaks.append(("amend", OutcomeUnknown("time-out"), lost))
    assert box.sell("1") is None
    assert box.position.quantity == 3
    box.pass_hours(0.001)
    box.pass_hours(0.001)
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D("90.0"))])
    assert len(box.sent(Purpose.EXIT)) == 1
    assert box.executor.unprotected == {}
    box.assert_agrees()


@pytest.mark.parametrize(("refused", "left", "stops_sent"), [("amend", 2, 2), ("place", 3, 1)])
def test_whatever_is_refused_of_a_sale_of_a_part_the_rest_has_its_stop(refused, left, stops_sent):
    """A stop that cannot be made smaller is replaced; one of an unsold whole is made whole."""
    box = Box()
    box.buy("3", stop="90")
    box.pass_hours()
    box.exchange.breaks.append((refused, OrderRejected("not this one"), True))
    box.sell("1")
    assert (box.position.quantity, box.stops()) == (D(left), [(D(left), D("90.0"))])
    assert len(box.sent(Purpose.STOP)) == stops_sent
    assert box.executor.unprotected == {}
    box.assert_agrees()


@pytest.mark.parametrize("arrived", [True, False])
def test_a_kill_before_a_part_is_sold_leaves_a_stop_of_the_whole(arrived):
    box = Box()
    box.buy("3", stop="90")
    box.pass_hours()
    real = box.real.amend

    def killed(*words):
        if arrived:
            real(*words)
        raise KeyboardInterrupt

    box.real.amend = killed
    with pytest.raises(KeyboardInterrupt):
        box.sell("1")
    box.real.amend = real
    box.restart()
    assert (box.position.quantity, box.stops()) == (D(3), [(D(3), D("90.0"))])
    box.assert_agrees()


def test_a_stop_that_fills_while_it_is_made_smaller_sells_the_rest_with_it():
    box = Box(FALL)
    box.buy("3", stop="90")
    box.clock.sleep_until(START + timedelta(hours=5))  # the stop has filled; nobody looked yet
    box.sell("1")
    assert (box.position, box.stops()) == (None, [])
    assert not box.sent(Purpose.EXIT)
    box.assert_agrees()
