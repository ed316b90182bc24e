"""Pairs by any name, prices and quantities on the exchange's grid."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.domain.errors import UsageError
from trader.domain.markets import Balance, MarketRules, Pair, Ticker, to_decimal

D = Decimal
BTC = Pair("BTC", "USD")


def rules(tick="0.1", lot="0.00000001", base_decimals=10, cost_decimals=5):
    return MarketRules(
        BTC, D(tick), D(lot), D("0.0001"), D("0.5"), cost_decimals, base_decimals, 4
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("BTC/USD", "BTC/USD"),
        ("btc-usd", "BTC/USD"),
        ("xbt_eur", "BTC/EUR"),
        (" XBTUSD ", "BTC/USD"),
        ("XBTUSDT", "BTC/USDT"),
        ("ETHBTC", "ETH/BTC"),
        ("xdg/usd", "DOGE/USD"),
        ("USDTUSD", "USDT/USD"),
    ],
)
def test_a_pair_is_read_by_any_of_its_names(text, shown):
    assert str(Pair.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "BTC", "USD", "BTC/", "/USD", "A/B/C", "BT C/USD", "BTC/€"])
def test_what_is_no_pair_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected base and quote"):
        Pair.parse(text)


def test_a_pair_can_be_part_of_a_file_name():
    assert BTC.slug == "BTC-USD"
    assert Pair.parse(BTC.slug) == BTC


def test_prices_go_to_the_tick_below_above_or_nearest():
    grid = rules(tick="0.5")
    assert (grid.price_down(D("10.9")), grid.price_up(D("10.6"))) == (D("10.5"), D("11.0"))
    assert (grid.price_nearest(D("10.74")), grid.price_nearest(D("10.76"))) == (D("10.5"), D(11))


def test_a_price_on_the_grid_stays_and_bears_its_decimals():
    assert str(rules(tick="0.10").price_down(D(10))) == "10.0"
    assert str(rules(tick="1").price_up(D("10.0"))) == "10"


def test_quantities_go_down_to_whole_lots():
    assert rules(lot="0.01").quantity_down(D("1.999")) == D("1.99")
    assert rules(lot="0.01").quantity_down(D("0.009")) == 0


def test_quantities_have_no_more_decimals_than_are_booked():
    assert rules(lot="0.00000001", base_decimals=4).quantity_down(D("1.23456789")) == D("1.2345")


def test_costs_are_booked_half_to_even():
    assert rules(cost_decimals=2).booked_cost(D("1.005")) == D("1.00")
    assert rules(cost_decimals=2).booked_cost(D("1.015")) == D("1.02")


def test_decimals_of_grids():
    assert rules(tick="0.10").price_decimals == 1
    assert rules(lot="0.00100").lot_decimals == 3
    assert rules(tick="10").price_decimals == 0


amounts = st.decimals("0", "1000000", places=12)
steps = st.sampled_from(["1", "0.5", "0.1", "0.05", "0.01", "0.0001", "0.00000001"]).map(D)


@given(amounts, steps)
def test_rounding_down_stays_below_by_less_than_a_step(amount, step):
    price = rules(tick=str(step)).price_down(amount)
    assert price <= amount < price + step
    assert price % step == 0


@given(amounts, steps)
def test_rounding_is_done_once(amount, step):
    grid = rules(tick=str(step), lot=str(step))
    assert grid.price_up(grid.price_up(amount)) == grid.price_up(amount)
    assert grid.quantity_down(grid.quantity_down(amount)) == grid.quantity_down(amount)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_shortest_decimal_that_reads_back(value):
    assert float(to_decimal(value)) == value


def test_what_is_held_by_orders_is_not_available():
    assert Balance("USD", D(100), D(30)).available == 70


def test_the_middle_is_between_bid_and_ask():
    at = datetime(2024, 3, 1, tzinfo=UTC)
    assert Ticker(BTC, at, D(99), D(102), D(100)).mid == D("100.5")
