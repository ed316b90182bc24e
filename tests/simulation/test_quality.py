"""What the journal says of how well orders were executed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from trader.domain.events import OrderEnded, OrderFilled, OrderIntended
from trader.domain.markets import Pair
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from trader.simulation.quality import measured_slippage, order_qualities, summary

D = Decimal
BTC = Pair("BTC", "USD")
AT = datetime(2024, 3, 1, tzinfo=UTC)


def order(name, *prices, side=Side.BUY, expected="100", liquidity=Liquidity.TAKER):
    """One piece at each price, a minute apart."""
    quantity = D(max(1, len(prices)))
    request = OrderRequest(name, BTC, side, OrderType.MARKET, quantity)
    events = [
        OrderIntended(AT, request, Purpose.ENTRY, AT, "test", expected=expected and D(expected))
    ]
    for number, price in enumerate(prices, 1):
        fill = Fill(
            f"{name}{number}", "E", name, BTC, side, D(1), D(price), D(price), D(0), liquidity,
            AT + timedelta(minutes=number),
        )  # fmt: skip
        events.append(OrderFilled(AT, fill, Purpose.ENTRY))
    return [*events, OrderEnded(AT, name, OrderState.FILLED, D(len(prices)), "")]


@pytest.mark.parametrize(
    ("side", "price", "lost"), [(Side.BUY, "101", "0.01"), (Side.SELL, "101", "-0.01")]
)
def test_a_dearer_purchase_is_worse_and_a_dearer_sale_is_better(side, price, lost):
    assert order_qualities(order("a", price, side=side))[0].slippage == D(lost)


def test_several_fills_count_with_their_mean_price_and_the_last_moment():
    found = order_qualities(order("a", "100", "102"))[0]
    assert (found.slippage, found.waited) == (D("0.01"), timedelta(minutes=2))


def test_an_order_without_an_expectation_or_a_fill_says_nothing():
    found = order_qualities([*order("a", "100", expected=None), *order("b")])
    assert [q.slippage for q in found] == [None, None]


def test_thirty_orders_that_took_make_a_cost_model_and_fewer_do_not():
    events = [e for i in range(29) for e in order(f"o{i}", "100.1")]
    assert measured_slippage(order_qualities(events)) == (29, None)
    count, lost = measured_slippage(order_qualities([*events, *order("last", "100.1")]))
    assert (count, lost) == (30, D("0.001"))


def test_luck_is_no_cost_model():
    events = [e for i in range(30) for e in order(f"o{i}", "99")]
    assert measured_slippage(order_qualities(events)) == (30, 0)


def test_makers_do_not_count_towards_what_taking_costs():
    events = [e for i in range(30) for e in order(f"o{i}", "99", liquidity=Liquidity.MAKER)]
    assert measured_slippage(order_qualities(events)) == (0, None)


def test_the_summary_tells_makers_from_takers():
    made = order("m", "99", liquidity=Liquidity.MAKER)
    found = summary(order_qualities([*made, *order("t", "101"), *order("none")]))
    assert found == {
        "orders": 3, "unfilled": 1, "taker_slippage_bp": 100.0, "maker_slippage_bp": -100.0,
        "maker_share": 0.495, "median_wait_s": 60.0,
    }  # fmt: skip
