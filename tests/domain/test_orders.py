"""The id of an order, and what is left of it."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trader.domain.markets import Pair
from trader.domain.orders import Order, OrderState, OrderType, Purpose, Side, make_order_id

AT = datetime(2024, 3, 1, tzinfo=UTC)
BTC = Pair("BTC", "USD")
DECISIONS = st.tuples(
    st.sampled_from([BTC, Pair("ETH", "USD")]),
    st.integers(0, 5).map(lambda h: AT + timedelta(hours=h)),
    st.sampled_from(Side),
    st.sampled_from(Purpose),
    st.integers(0, 3),
)


@given(DECISIONS, DECISIONS)
def test_two_decisions_have_one_id_only_if_they_are_the_same(one, other):
    assert (make_order_id(*one) == make_order_id(*other)) == (one == other)


@given(DECISIONS)
def test_an_id_is_a_uuid_in_hex(decision):
    assert re.fullmatch(r"[0-9a-f]{12}5[0-9a-f]{3}[89ab][0-9a-f]{15}", make_order_id(*decision))


def test_the_id_of_a_decision_is_the_same_in_every_version():
    # A restart with a newer version must find the orders an older one has sent.
    found = make_order_id(BTC, AT, Side.BUY, Purpose.ENTRY)
    assert found == "1bdcbd244e33586299fc8265af3c344d"


def test_only_what_is_over_is_final():
    assert {s for s in OrderState if s.is_final} == {
        OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED
    }  # fmt: skip


def test_what_is_not_filled_remains():
    order = Order(
        "X", "", BTC, Side.BUY, OrderType.LIMIT, Decimal(3), Decimal(100), OrderState.OPEN, AT,
        filled_quantity=Decimal("0.5"),
    )  # fmt: skip
    assert order.remaining == Decimal("2.5")
