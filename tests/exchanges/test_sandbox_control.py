"""Modes, faults and time of a sandbox that runs, by its control path."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.exchanges.box import Box
from trader.exchanges.faults import FaultRule, FaultyWire
from trader.exchanges.sandbox_control import ControlledWire
from trader.exchanges.sandbox_server import MODES

BUY = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"}


@pytest.fixture
def box():
    return Box(minutes=300)


def control(box, method, name, document=None, rules=()):
    wire = ControlledWire(FaultyWire(box.wire, rules), box.clock.sleep_until)
    body = b"" if document is None else json.dumps(document).encode()
    status, _, content = wire.handle(method, f"/sandbox/{name}", "", {}, body)
    return status, json.loads(content)


def refused_by(wire, box, call, form):
    """The errors of a private request that goes through another wire than the box's."""
    whole, box.wire = box.wire, wire
    try:
        return box.post(call, **form)["error"]
    finally:
        box.wire = whole


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_can_be_entered_and_is_told(box, mode):
    status, state = control(box, "POST", "mode", {"mode": mode})
    assert (status, state["mode"]) == (200, mode)
    assert box.read("SystemStatus")["status"] == mode


def test_one_market_can_be_put_into_a_mode_of_its_own(box):
    status, state = control(box, "POST", "mode", {"mode": "cancel_only", "pair": "XBTUSD"})
    assert (status, state["pairs"]["BTC/USD"]) == (200, "cancel_only")
    assert box.refusal("AddOrder", **BUY) == "EService:Market in cancel_only mode"
    assert box.read("SystemStatus")["status"] == "online"


def test_time_that_stands_is_moved_on(box):
    before = box.clock.now()
    assert control(box, "POST", "advance", {"seconds": 90})[0] == 200
    assert box.clock.now() - before == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("name", "document", "word"),
    [
        ("mode", {"mode": "asleep"}, "cancel_only"),
        ("mode", {"mode": "online", "pair": "XXX"}, "Unknown asset pair"),
        ("mode", {}, "mode"),
        ("mode", [], "object"),
        ("advance", {"seconds": -5}, "forward"),
        ("advance", {"to": "2020-01-01T00:00:00"}, "zone"),
        ("faults", {"rules": [{"rate": 2}]}, "0 to 1"),
    ],
)
def test_nonsense_is_refused_in_words(box, name, document, word):
    status, answer = control(box, "POST", name, document)
    assert status == 400
    assert word in answer["error"]


def test_what_does_not_exist_says_what_there_is(box):
    status, answer = control(box, "GET", "nothing")
    assert (status, "/sandbox/mode" in answer["error"]) == (404, True)


@pytest.mark.parametrize("mode", MODES)
def test_only_an_exchange_that_is_online_matches(mode):
    box = Box(closes=[40_000.0] * 10 + [39_000.0] * 10 + [40_000.0] * 80, at=5)
    order = box.order(price="39500")
    box.wire.set_mode(mode)
    box.forward(minutes=40)
    box.wire.set_mode("online")
    box.forward(minutes=20)
    filled = box.ask("QueryOrders", txid=order)[order]["vol_exec"]
    assert (Decimal(filled) > 0) == (mode == "online")


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_fault_can_bring_maintenance_that_passes(box, mode):
    rule = FaultRule(1.0, (f"mode_{mode}",), times=1)
    wire = FaultyWire(box.wire, [rule])
    box.order(price="30000")
    assert refused_by(wire, box, "AddOrder", BUY) != []
    assert box.wire.mode == mode
    box.clock.sleep_until(box.clock.now() + timedelta(seconds=30))
    wire.handle("GET", "/0/public/Time", "", {}, b"")
    assert box.wire.mode == "online"
