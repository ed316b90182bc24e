"""The models of execution beyond the usual: size, latency, tiers by volume. Numbers by hand."""

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tests.drawn_market import FREE, START, at, market_of, order
from trader.simulation.costs import Costs, market_impact, range_volatility

FLAT = (100, 100, 100, 100)
# Each hour spans e^0.02: (0.02)² / (4 ln 2) an hour, times 24, under the root: 5.885 % a day.
WIDE = (100, 100 * math.exp(0.01), 100 * math.exp(-0.01), 100)
PAID = 0.02 * math.sqrt(24 / (4 * math.log(2)))


def prices(exchange) -> list[Decimal]:
    return [fill.price for fill in exchange.fills(START)]


def test_an_order_of_a_hundredth_of_a_day_costs_a_tenth_of_its_volatility() -> None:
    assert market_impact(Decimal(1), 0.04, Decimal(1), 100) == Decimal("0.004")
    assert market_impact(Decimal("0.5"), 0.04, Decimal(1), 100) == Decimal("0.002")
    assert market_impact(Decimal(1), 0.04, Decimal(4), 100) == Decimal("0.008")
    assert market_impact(Decimal(0), 0.04, Decimal(4), 100) == 0


def test_in_a_market_without_volume_an_order_counts_as_a_whole_day_of_it() -> None:
    assert market_impact(Decimal(1), 0.04, Decimal(1), 0.0) == Decimal("0.04")


def test_the_volatility_of_a_day_is_that_of_the_ranges_of_its_hours() -> None:
    high, low = np.full(24, WIDE[1]), np.full(24, WIDE[2])
    assert range_volatility(high, low, 24) == pytest.approx(PAID)
    assert range_volatility(high[:0], low[:0], 24) == 0.0


def test_a_taker_pays_for_its_size_by_the_day_before() -> None:
    costs = replace(FREE, impact=Decimal(1))
    exchange, _ = market_of([WIDE] * 24 + [FLAT], costs, usd=10**6, hour=24)
    exchange.submit(order("buy", "market", 240))  # of 24,000 a day: a tenth of the volatility
    exchange.submit(order("sell", "market", 240))
    # A tenth of 5.885 % is 0.5885 %; ticks of 0.1 round against the taker.
    assert prices(exchange) == [Decimal("100.6"), Decimal("99.4")]


def test_a_small_order_pays_next_to_nothing_more() -> None:
    costs = replace(FREE, impact=Decimal(1))
    exchange, _ = market_of([WIDE] * 24 + [FLAT], costs, hour=24)
    exchange.submit(order("buy", "market", "0.01"))
    assert prices(exchange) == [Decimal("100.1")]


def test_an_order_on_its_way_gets_the_price_of_its_arrival() -> None:
    falling = (100, 100, 70, 70)  # reaches 70 after twenty minutes on a straight line
    costs = replace(FREE, latency_ms=10 * 60_000)
    exchange, clock = market_of([FLAT, falling, FLAT], costs, hour=1)
    exchange.submit(order("buy", "market", 1))
    assert prices(exchange) == []
    clock.sleep_until(at(1.5))
    assert prices(exchange) == [Decimal("85.0")]


def test_a_stop_on_its_way_does_not_protect_yet() -> None:
    # Down to 70 after twenty minutes, up to 100 after forty.
    costs = replace(FREE, latency_ms=30 * 60_000)
    exchange, clock = market_of([FLAT, (100, 100, 70, 100), FLAT], costs, hour=1)
    exchange.submit(order("sell", "stop-loss", 1, 80))
    clock.sleep_until(at(2))
    assert prices(exchange) == []


def test_fees_fall_with_the_volume_of_thirty_days_only_on_request() -> None:
    table = Costs(slippage=Decimal(0))
    for costs, second in ((table, "0.0026"), (replace(table, tiers_by_volume=True), "0.0024")):
        exchange, _ = market_of([FLAT] * 3, costs, usd=10**6, hour=2)
        # The market is drawn for 2024-01: 26 basis points, 24 from 50,000 on.
        exchange.submit(order("buy", "market", 600))
        exchange.submit(order("sell", "market", 100))
        fees = [fill.fee_quote / fill.cost_quote for fill in exchange.fills(START)]
        assert fees == [Decimal("0.0026"), Decimal(second)]
