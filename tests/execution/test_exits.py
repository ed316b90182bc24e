"""Sales in an emergency and otherwise: tried with pauses, called off, never at the stop's cost."""

from decimal import Decimal

import pytest

from tests.trading_box import BTC, CALM, ETH, hours
from tests.wire_box import WireBox, refuses, result
from trader.domain.orders import Purpose

D = Decimal


@pytest.mark.parametrize(
    "text", ["EGeneral:Temporary lockout", "EAPI:Invalid key", "EAPI:Rate limit exceeded"]
)
def test_a_sale_that_is_refused_is_tried_again_after_pauses_that_grow(text):
    box = WireBox()
    box.buy("2", stop="90")
    box.wire.meddle = refuses(text, "AddOrder")
    box.wire.calls.clear()
    assert not box.flatten(seconds=120)
    assert box.wire.calls.count("AddOrder") <= 2 * 8  # sale and stop after 1, 3, 7, 15, 31, 63 s
    box.wire.meddle = None
    assert box.flatten(seconds=61)
    assert box.portfolio.positions == {}


def test_a_stop_that_is_lifted_ends_the_sales_it_has_not_made():
    box = WireBox()
    box.buy("2", stop="90")
    box.wire.meddle = refuses("EService:Market in cancel_only mode", "AddOrder", "AmendOrder")
    assert not box.flatten(seconds=5)
    box.executor.call_off_flattening()
    box.wire.meddle = None
    for _ in range(61):
        box.settle(1)
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D(90))])


def test_where_a_market_is_known_to_take_no_orders_the_stop_is_not_cancelled_for_a_sale():
    box = WireBox(metadata_s=0)
    box.buy("2", stop="90")
    box.real.change_rules(BTC, status="cancel_only")
    assert not box.flatten(seconds=5)
    assert box.stops() == [(D(2), D(90))]
    box.real.change_rules(BTC, status="online")
    assert box.flatten(seconds=61)
    assert box.portfolio.positions == {}


def test_a_position_worth_less_than_the_exchange_sells_does_not_keep_an_emergency_stop_busy():
    box = WireBox()
    box.buy("0.02", stop="90")
    box.wire.meddle = refuses("EOrder:Cost minimum not met", "AddOrder")
    box.wire.calls.clear()
    assert box.flatten(seconds=30)
    assert box.wire.calls.count("AddOrder") <= 3


def test_one_pair_whose_market_is_gone_does_not_keep_another_from_being_guarded_and_sold():
    box = WireBox(CALM, metadata_s=0, more={ETH: hours(CALM)})
    box.buy("2", stop="90")
    box.buy("3", stop="80", pair=ETH)

    def delist(call, form, go):
        if call != "AssetPairs":
            return None
        import json

        pairs = json.loads(go()[2])["result"]
        return result({i: row for i, row in pairs.items() if row["wsname"] != "XBT/USD"})

    box.wire.meddle = delist
    box.executor = box.new_executor()
    box.executor.restore()
    box.executor.reconcile(box.now)
    assert "no market BTC/USD" in box.executor.unprotected[BTC]
    assert box.flatten(seconds=5)
    assert set(box.portfolio.positions) == {BTC}
    assert [o.purpose for o in box.executor.orders.live(ETH)] == []


def test_a_price_that_cannot_be_read_keeps_no_other_pair_from_its_stop():
    box = WireBox(CALM, more={ETH: hours(CALM)})
    box.buy("2", stop="90", target="150")
    box.buy("3", stop="80", pair=ETH)
    box.real.cancel(box.executor.orders.live(ETH, Purpose.STOP)[0].exchange_id)
    box.wire.meddle = lambda call, form, go: (
        result({}) if call == "Ticker" and form["pair"] == "XXBTZUSD" else None
    )
    assert "Ticker" in box.settle(1)
    assert (D(3), D(80)) in box.stops()


def test_an_exit_the_key_is_refused_for_is_made_when_it_is_taken_again():
    box = WireBox()
    box.buy("2", stop="90")
    box.wire.meddle = refuses("EAPI:Invalid signature", "AddOrder", times=2)
    box.sell("2")
    for _ in range(10):
        box.settle(1)
    assert box.portfolio.positions == {}
