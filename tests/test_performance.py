"""Figures computed by hand; numbers small enough to check in the head."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader import performance as perf
from trader.domain.markets import Pair
from trader.domain.orders import Purpose
from trader.domain.portfolio import Trade

DAY = 86400
AT = datetime(2024, 3, 1, tzinfo=UTC)
ROOT = math.sqrt(365)


def array(*values):
    return np.array(values, dtype=np.float64)


def days(*numbers):
    """Marks at the end of these days."""
    return np.array(numbers, dtype=np.int64) * DAY


def trade(profit):
    money = Decimal(profit)
    one = Decimal(1)
    return Trade(Pair("BTC", "USD"), AT, one, AT, one, one, one, money, Purpose.EXIT)


def test_daily_returns_go_from_day_end_to_day_end():
    hourly = np.array([DAY // 2, DAY, DAY + 3600, 2 * DAY], dtype=np.int64)
    found = perf.daily_returns(hourly, array(105, 110, 90, 99), 100.0)
    assert found == pytest.approx([0.10, -0.10])


def test_a_mark_at_midnight_ends_the_day_before_and_a_second_later_the_next():
    assert len(perf.daily_returns(np.array([DAY, DAY + 1]), array(100, 100), 100.0)) == 2
    assert len(perf.daily_returns(np.array([1, DAY]), array(100, 100), 100.0)) == 1


def test_a_day_without_a_mark_returned_nothing():
    assert perf.daily_returns(days(1, 3), array(110, 121), 100.0) == pytest.approx([0.1, 0, 0.1])


def test_the_days_of_a_run_count_from_its_start_and_not_from_a_first_mark_days_later():
    found = perf.daily_returns(days(3, 4), array(110, 99), 100.0, began=0)
    assert found == pytest.approx([0, 0, 0.1, -0.1])


def test_a_gain_over_four_days_is_compounded_over_four_though_the_first_mark_is_on_the_third():
    found = perf.measure(days(3, 4), array(100, 110), 100.0, traded_quote=105.0, began=0)
    assert found.cagr == pytest.approx(1.1 ** (365 / 4) - 1)
    assert found.turnover == pytest.approx(1 / 4 * 365)


def test_no_marks_no_returns():
    assert len(perf.daily_returns(days(), array(), 100.0)) == 0


def test_doubling_in_half_a_year_is_four_times_in_a_year():
    assert perf.cagr(100, 200, 0.5) == pytest.approx(3.0)
    assert perf.cagr(100, 0, 1) == -1.0
    assert math.isnan(perf.cagr(100, 200, 0))


def test_sharpe_is_mean_over_deviation_times_the_root_of_365():
    # Mean 1 %, deviations ±2 %: √(8/2)… with n−1: √(0.0004·2/1) = 2.828 %.
    assert perf.sharpe(array(0.03, -0.01)) == pytest.approx(0.01 / 0.0282842712 * ROOT)
    assert perf.volatility(array(0.03, -0.01)) == pytest.approx(0.0282842712 * ROOT)


def test_sortino_divides_by_the_downside_of_all_days():
    # Downside √((0² + 0.02²)/2) = 1.4142 %, mean 1 %.
    assert perf.sortino(array(0.04, -0.02)) == pytest.approx(0.01 / 0.0141421356 * ROOT)


def test_without_swings_or_losses_there_is_no_ratio():
    assert math.isnan(perf.sharpe(array(0.01, 0.01, 0.01)))
    assert math.isnan(perf.sharpe(array(0.01)))
    assert math.isnan(perf.sortino(array(0.01, 0.02)))
    assert math.isnan(perf.sortino(array()))


def test_drawdown_is_the_fall_from_the_highest_so_far():
    assert perf.drawdowns(array(100, 80, 120, 90)) == pytest.approx([0, 0.2, 0, 0.25])
    assert perf.max_drawdown(array(100, 80, 120, 90)) == pytest.approx(0.25)
    assert perf.max_drawdown(array(1, 2, 3)) == 0
    assert perf.max_drawdown(array()) == 0


def test_hits_and_profit_factor_count_after_fees():
    trades = [trade(30), trade(-10), trade(0), trade(-5)]
    assert perf.hit_rate(trades) == 0.25
    assert perf.profit_factor(trades) == 2.0
    assert perf.profit_factor([trade(1)]) == math.inf
    assert math.isnan(perf.profit_factor([]))
    assert math.isnan(perf.hit_rate([]))


def test_breaking_even_takes_more_winners_the_larger_the_losses_are():
    # Mean gain 30, mean loss 10: one winner pays for three losers.
    assert perf.break_even_hit_rate([trade(40), trade(20), trade(-5), trade(-15)]) == 0.25
    assert perf.break_even_hit_rate([trade(10), trade(-10)]) == 0.5
    assert math.isnan(perf.break_even_hit_rate([trade(10)]))
    assert math.isnan(perf.break_even_hit_rate([]))


def test_in_and_out_once_a_year_is_a_turnover_of_two():
    assert perf.turnover(200.0, array(100, 100), 1.0) == 2.0
    assert math.isnan(perf.turnover(200.0, array(), 1.0))


def test_the_probabilistic_sharpe_of_a_symmetric_series_by_hand():
    # Four days of ±: mean 0.5, population deviation √1.25... worked through below.
    returns = array(0.02, -0.01, 0.02, -0.01)
    # Mean 0.005, all deviations 0.015: skew 0, kurtosis 1, so the root is 1.
    # SR = 0.005 / (0.015·√(4/3)) = 0.288675; times √3 = 0.5; Φ(0.5).
    assert perf.probabilistic_sharpe(returns) == pytest.approx(0.6914624612740131)
    assert perf.probabilistic_sharpe(returns, 0.2886751345948129) == pytest.approx(0.5)


def test_the_published_example_of_the_deflated_sharpe_ratio():
    # Bailey & López de Prado (2014), numerical example: annual Sharpe 2.5 on 1250 days, 250 a
    # year, skew −3, kurtosis 10, 100 trials with variance 1/2 a year: threshold 0.1132, 0.9004.
    threshold = perf.expected_best_sharpe(100, 0.5 / 250)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    found = perf.probability_above(2.5 / math.sqrt(250), threshold, 1250, -3.0, 10.0)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_tries_deflate_as_if_none_of_them_had_skill_unless_their_variance_is_given():
    returns = np.random.default_rng(1).normal(0.002, 0.01, 500)
    wanted = perf.probabilistic_sharpe(returns, perf.expected_best_sharpe(413, 1 / 500))
    assert perf.deflated_sharpe(returns, 413) == wanted
    assert perf.deflated_sharpe(returns, 413, 4 / 500) < wanted


def test_one_trial_is_not_deflated_and_more_trials_deflate_more():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 500)
    plain = perf.probabilistic_sharpe(returns)
    assert perf.deflated_sharpe(returns, 1) == plain
    assert plain > perf.deflated_sharpe(returns, 2) > perf.deflated_sharpe(returns, 100)


def test_all_figures_of_a_run_drawn_by_hand():
    found = perf.measure(
        days(1, 2), array(110, 99), 100.0, invested=array(0.5, 0.0), trades=[trade(10), trade(-5)],
        traded_quote=209.0, fees_quote=1.5,
    )  # fmt: skip
    assert found.total_return == pytest.approx(-0.01)
    assert found.cagr == pytest.approx(0.99 ** (365 / 2) - 1)
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.calmar == pytest.approx(found.cagr / 0.1)
    assert (found.trades, found.hit_rate, found.profit_factor) == (2, 0.5, 2.0)
    assert (found.exposure, found.fees_quote) == (0.25, 1.5)
    assert found.turnover == pytest.approx(209 / 104.5 / 2 * 365)
    assert found.sharpe == pytest.approx(0.0, abs=1e-9)


def test_a_run_in_which_nothing_happened_has_no_ratios_and_no_zeros_for_them():
    shown = perf.measure(days(1, 2, 3), array(100, 100, 100), 100.0).as_dict()
    assert shown == {
        "total_return": 0.0, "cagr": 0.0, "volatility": 0.0, "sharpe": None, "sortino": None,
        "calmar": None, "max_drawdown": 0.0, "trades": 0, "hit_rate": None,
        "profit_factor": None, "exposure": 0.0, "turnover": 0.0, "fees_quote": 0.0, "psr": None,
        "dsr": None,
    }  # fmt: skip


def test_a_run_without_a_single_mark_is_measured_without_an_error():
    shown = perf.measure(days(), array(), 100.0).as_dict()
    assert (shown["total_return"], shown["cagr"], shown["turnover"]) == (0.0, None, None)


curves = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=40)


@settings(deadline=None)
@given(curves)
def test_a_drawdown_is_between_nothing_and_everything(curve):
    assert 0 <= perf.max_drawdown(array(*curve)) < 1


@settings(deadline=None)
@given(curves, st.floats(0.01, 1e6))
def test_the_daily_returns_compound_to_the_total(curve, start):
    times = np.arange(1, len(curve) + 1, dtype=np.int64) * (DAY // 3)
    returns = perf.daily_returns(times, array(*curve), start)
    assert np.prod(1 + returns) == pytest.approx(curve[-1] / start, rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=40), st.floats(0.1, 10))
def test_leverage_does_not_change_the_sharpe_ratio(returns, factor):
    one, other = perf.sharpe(array(*returns)), perf.sharpe(array(*returns) * factor)
    if not (math.isnan(one) or math.isnan(other)):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
