"""A position keeps its stop whatever the exchange refuses, or says why it has none."""

from decimal import Decimal

import pytest

from tests.trading_box import BTC
from tests.wire_box import WireBox, refuses
from trader.domain.events import Troubled

D = Decimal
STOP = (D(2), D(90))
PASSING = [
    "EService:Market in cancel_only mode",
    "EAPI:Rate limit exceeded",
    "EOrder:Rate limit exceeded",
    "EGeneral:Temporary lockout",
    "EGeneral:Permission denied",
    "EAPI:Invalid key",
    "EAPI:Invalid nonce",
]


def refuses_stops(text):
    """Refuses every new stop with these words."""
    refuse = refuses(text, "AddOrder")

    def meddle(call, form, go):
        return refuse(call, form, go) if form.get("ordertype") == "stop-loss" else None

    return meddle


@pytest.mark.parametrize("text", PASSING)
def test_a_stop_whose_change_is_refused_for_now_stays_and_is_changed_later(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.wire.meddle = refuses(text, "AmendOrder", "AddOrder")
    box.executor.move_stop(BTC, D(92), "trails", box.now)
    for _ in range(30):
        box.settle(1)
        assert box.stops() == [STOP]
    assert "stays at 2" in box.executor.unprotected[BTC]
    box.wire.meddle = None
    for _ in range(60):
        box.settle(1)
    assert box.stops() == [(D(2), D(92))]
    assert box.executor.unprotected == {}


@pytest.mark.parametrize("text", [*PASSING, "EAccount:Invalid permissions"])
def test_a_stop_refused_for_a_reason_that_is_not_its_own_is_tried_again_and_nothing_is_sold(text):
    box = WireBox()
    box.wire.meddle = refuses_stops(text)
    box.buy("2", stop="90")
    for _ in range(40):
        box.settle(1)
    assert box.position.quantity == 2
    assert [e.category for e in box.events(Troubled)] == ["unprotected"]
    box.wire.meddle = None
    for _ in range(61):
        box.settle(1)
    assert box.stops() == [STOP]


def test_a_stop_that_was_refused_names_the_moment_of_the_next_try():
    box = WireBox()
    box.wire.meddle = refuses_stops("EAPI:Feature disabled")
    box.buy("2", stop="90")
    waits = []
    for _ in range(3):
        waits.append((box.executor.next_look(box.now) - box.now).total_seconds())
        box.settle(waits[-1])
    assert waits == [1, 2, 4]


def test_a_clock_that_is_set_back_does_not_put_off_the_next_try():
    box = WireBox([(100, 101, 99, 100)] * 72)
    box.forward(8 * 3600)
    box.wire.meddle = refuses_stops("EAPI:Feature disabled")
    box.buy("2", stop="90")
    box.wire.meddle = None
    box.skew_s = -6 * 3600
    for _ in range(4):  # the first try still bears a deadline of the old clock
        box.settle(60)
    assert box.stops() == [STOP]


def test_a_live_stop_is_kept_when_the_exchange_raises_its_minimum_above_it():
    box = WireBox(metadata_s=0)
    box.buy("0.01", stop="90")
    box.real.change_rules(BTC, order_minimum=D("0.05"))
    box.settle(60)
    assert box.stops() == [(D("0.01"), D(90))]


def test_what_a_waiting_sale_will_sell_is_named_as_having_no_stop():
    box = WireBox()
    box.buy("2", stop="90")
    box.sell("1", limit="150")
    assert box.stops() == [(D(1), D(90))]
    assert "1.00000000 BTC wait for sale" in box.executor.unprotected[BTC]
