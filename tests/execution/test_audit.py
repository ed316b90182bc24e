"""Accounts are compared, and a difference is believed only when it cannot be explained."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.trading_box import BTC, CALM, ETH, hours
from tests.wire_box import WireBox, result
from trader.domain.events import CashAdjusted
from trader.domain.portfolio import Portfolio
from trader.execution.audit import AccountAudit
from trader.execution.desk import OrderDesk
from trader.storage.journal import MemoryJournal

D = Decimal
STOP = (D(2), D(90))
FALLS = [(100, 101, 99, 100)] + [(100, 101, 94, 100)] + [(100, 101, 99, 100)] * 46


def reasons(box):
    return [event.reason for event in box.events(CashAdjusted)]


def test_balances_of_three_seconds_ago_take_no_position_away_after_a_purchase():
    box = WireBox()
    before = {"ZUSD": {"balance": "10000.0", "hold_trade": "0"}}
    box.buy("2", stop="90")
    bought_at = box.now
    box.wire.meddle = lambda call, form, go: (
        result(before)
        if call == "BalanceEx" and box.now < bought_at + timedelta(seconds=3)
        else None
    )
    box.forward(1)
    assert box.executor.audit(box.now) != []
    for _ in range(20):
        box.settle(10)
    assert (box.position.quantity, box.stops()) == (D(2), [STOP])
    assert reasons(box) == ["first deposit"]


def test_what_earns_rewards_by_itself_still_belongs_to_the_position():
    box = WireBox()
    box.buy("2", stop="90")
    box.settle(600)

    def moved(call, form, go):
        rows = {"ZUSD": {"balance": "9798.0"}, "XXBT": {"balance": "0"}, "XBT.F": {"balance": "2"}}
        return result(rows) if call == "BalanceEx" else None

    box.wire.meddle = moved
    assert box.executor.audit(box.now) == []
    assert box.stops() == [STOP]


def test_a_fill_that_is_told_of_twenty_minutes_late_is_booked_as_a_fill_and_guarded():
    box = WireBox(CALM, more={ETH: hours(FALLS)})
    box.buy("2", stop="90")
    order = box.buy("3", stop="80", limit="95", pair=ETH)
    box.forward(5400)
    hidden = True

    def hide(call, form, go):
        if not hidden or call not in ("TradesHistory", "QueryOrders"):
            return None
        status, kind, body = go()
        return status, kind, without(order.exchange_id, body)

    box.wire.meddle = hide
    box.executor.expire_entries(ETH, box.now, box.now)
    for _ in range(6):
        box.settle(10)
    hidden = False
    box.forward(1200)
    box.executor.audit(box.now)
    box.settle(1)
    assert box.portfolio.position(ETH).quantity == 3
    assert (D(3), D(80)) in box.stops()
    assert reasons(box) == ["first deposit"]


def without(exchange_id, body):
    """The answer as if the order had not executed."""
    import json

    found = json.loads(body)
    rows = found["result"]
    if "trades" in rows:
        rows["trades"] = {
            i: row for i, row in rows["trades"].items() if row["ordertxid"] != exchange_id
        }
        rows["count"] = len(rows["trades"])
    elif exchange_id in rows:
        rows[exchange_id] |= {"status": "canceled", "vol_exec": "0", "cost": "0", "fee": "0"}
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("quote", "amount", "is_rounding"),
    [
        ("USD", "0.0099", True),
        ("USD", "0.01", False),
        ("BTC", "0.0099", False),
        ("BTC", "0.00000005", True),
        ("ETH", "0.0001", False),
    ],
)
def test_rounding_explains_a_cent_and_not_a_hundredth_of_a_bitcoin(quote, amount, is_rounding):
    desk = OrderDesk(
        None, MemoryJournal(), Portfolio(quote), doubt=timedelta(), overlap=timedelta(), clock=None
    )
    assert AccountAudit(desk).explains(quote, D(amount)) is is_rounding


def test_a_sale_by_hand_is_believed_half_a_minute_after_it_was_seen():
    box = WireBox()
    box.buy("2", stop="90")
    box.settle(600)
    box.real.cancel_all()
    box.real.engine.account.deposit("BTC", D(-1), box.real.engine.now)
    box.executor.audit(box.now)
    assert box.position.quantity == 2
    box.settle(29)
    assert box.position.quantity == 2
    box.settle(1)
    assert (box.portfolio.position(BTC).quantity, box.stops()) == (D(1), [(D(1), D(90))])
