"""Fees of the date and tier, slippage always against the taker."""

from datetime import date
from decimal import Decimal

import pytest

from tests.drawn_market import BTC, START, at, market_of, order
from trader.domain.orders import Side
from trader.exchanges.markets import market, market_named
from trader.simulation.costs import FEE_TABLES, Costs, fee_of, table_rates, taker_price

RULES = market(BTC).rules


@pytest.mark.parametrize(
    ("day", "volume", "maker", "taker"),
    [
        (date(2019, 6, 1), 0, "0.0016", "0.0026"),
        (date(2024, 9, 30), 0, "0.0016", "0.0026"),
        (date(2024, 10, 1), 0, "0.0025", "0.0040"),
        (date(2026, 7, 8), 9_999, "0.0025", "0.0040"),
        (date(2026, 7, 8), 10_000, "0.0020", "0.0035"),
        (date(2026, 7, 9), 0, "0.0040", "0.0080"),
        (date(2026, 7, 9), 2_500, "0.0030", "0.0060"),
        (date(2027, 1, 1), 10_000_000, "0", "0.0010"),
        (date(2005, 1, 1), 0, "0.0016", "0.0026"),
    ],
)
def test_fees_are_those_of_the_day_and_the_volume(day, volume, maker, taker):
    rates = table_rates(day, "BTC", Decimal(volume))
    assert (rates.maker, rates.taker) == (Decimal(maker), Decimal(taker))


def test_stablecoins_had_fees_of_their_own():
    assert table_rates(date(2025, 1, 1), "USDT").maker == Decimal("0.0020")


def test_no_table_charges_a_maker_more_than_a_taker_nor_more_for_more_volume():
    for table in FEE_TABLES:
        for tiers in (table.tiers, table.stable_tiers):
            maker = [Decimal(tier[1]) for tier in tiers]
            taker = [Decimal(tier[2]) for tier in tiers]
            assert maker == sorted(maker, reverse=True)
            assert taker == sorted(taker, reverse=True)
            assert all(m <= t for m, t in zip(maker, taker, strict=True))


def test_the_entry_tier_holds_unless_tiers_are_asked_for():
    day, much = date(2025, 1, 1), Decimal(10**8)
    assert Costs().rates(day, "BTC", much).taker == Decimal("0.0040")
    assert Costs(tiers_by_volume=True).rates(day, "BTC", much).taker == Decimal("0.0008")


def test_fees_that_are_set_stand_above_the_table():
    rates = Costs(maker=Decimal("0.001"), taker=Decimal(0)).rates(date(2025, 1, 1), "BTC")
    assert (rates.maker, rates.taker) == (Decimal("0.001"), 0)


def test_the_accounts_own_volume_lowers_its_fees_and_is_forgotten_after_30_days():
    rows = [(10_000, 10_000, 10_000, 10_000)] * 24 * 32
    exchange, clock = market_of(rows, Costs(tiers_by_volume=True), usd=10**7)
    for _ in range(2):
        exchange.submit(order("buy", "market", 6))
    # 60,000 traded: from the second trade on 24 instead of 26 basis points
    fees = [fill.fee_quote / fill.cost_quote for fill in exchange.fills(START)]
    assert fees == [Decimal("0.0026"), Decimal("0.0024")]
    clock.sleep_until(at(24 * 31))
    assert exchange.fee_rates(BTC).taker == Decimal("0.0026")


@pytest.mark.parametrize(("side", "paid"), [(Side.BUY, "101.3"), (Side.SELL, "99.2")])
def test_slippage_is_rounded_against_the_taker(side, paid):
    # 100.24 × 1.01 = 101.2424 up to the tick, × 0.99 = 99.2376 down to it
    assert taker_price(side, Decimal("100.24"), Decimal("0.01"), RULES) == Decimal(paid)


def test_a_price_never_falls_below_one_tick():
    assert taker_price(Side.SELL, Decimal("0.1"), Decimal("0.5"), RULES) == Decimal("0.1")


def test_a_fee_is_rounded_to_the_nearest_unit_of_the_pair_and_is_at_least_one():
    recorded = market_named("ADA/USD").rules  # costs in 6 decimals
    assert fee_of(Decimal("7.105741"), Decimal("0.0026"), recorded) == Decimal("0.018475")
    assert fee_of(Decimal("0.000001"), Decimal("0.0026"), recorded) == Decimal("0.000001")
    assert fee_of(Decimal(100), Decimal(0), recorded) == 0
