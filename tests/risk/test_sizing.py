from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.risk import sizing
from trader.risk.sizing import RoundTrip

D = Decimal
chances = st.decimals(0, 1, places=4)
amounts = st.decimals("0.01", 1000, places=2)


def test_a_round_trip_costs_fee_and_slippage_on_both_sides():
    costs = RoundTrip(D("0.01"), D("0.02"), D("0.1"), D("0.2"))
    assert costs.paid(D(100)) == D("111.1")
    assert costs.received(D(100)) == D("78.4")
    assert costs.loss(D(100), D(100)) == D("32.7")
    assert costs.gain(D(100), D(200)) == D("45.7")


def test_no_budget_buys_nothing():
    assert sizing.risk_quantity(D(-5), D(1)) == 0


def test_a_weight_already_reached_buys_nothing():
    assert sizing.weight_quantity(D("0.5"), D(1000), D(600), D(100)) == 0


def test_debts_afford_nothing():
    assert sizing.affordable_quantity(D(-1), D(100)) == 0


def test_calm_markets_get_no_more_than_everything():
    assert sizing.volatility_weight(D("0.4"), D("0.1")) == 1


@pytest.mark.parametrize(
    ("chance", "gain", "loss", "expected"),
    [("0.5", 1, 1, 0), ("0.5", 2, 1, "0.125"), ("0.9", 1, 1, "0.3"), ("0.9", -1, 1, 0)],
)
def test_half_kelly_capped_at_three_tenths(chance, gain, loss, expected):
    found = sizing.kelly_risk_fraction(D(chance), D(gain), D(loss), D("0.5"), D("0.3"))
    assert found == D(expected)


@given(chances, amounts, amounts)
def test_kelly_bets_only_above_break_even(chance, gain, loss):
    bet = sizing.kelly_risk_fraction(chance, gain, loss, D(1), D(1))
    edge = chance * gain - (1 - chance) * loss
    assert (bet > D("1e-20")) == (edge > D("1e-18"))


@given(amounts, amounts)
def test_at_break_even_nothing_is_earned_or_lost(gain, loss):
    chance = sizing.break_even_probability(gain, loss)
    assert abs(chance * gain - (1 - chance) * loss) < D("1e-20")


def test_a_target_that_does_not_pay_its_costs_never_breaks_even():
    assert sizing.break_even_probability(D(0), D(1)) == 1
