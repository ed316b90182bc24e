"""Claims about the stationary bootstrap."""

import numpy as np
import pytest

from trader import bootstrap
from trader.bootstrap import (
    intervals,
    max_drawdown_of,
    sharpe_of,
    stationary_rows,
    total_return_of,
)

DAYS = np.random.default_rng(5).normal(0.001, 0.02, 400)


def test_days_stay_together_in_blocks_of_the_wanted_mean_length() -> None:
    rows = stationary_rows(1000, 200, 20, np.random.default_rng(1))
    follows = (rows[:, 1:] - rows[:, :-1]) % 1000 == 1
    assert 1 / (1 - follows.mean()) == pytest.approx(20, rel=0.05)


def test_every_day_is_drawn_equally_often() -> None:
    rows = stationary_rows(50, 4000, 10, np.random.default_rng(2))
    counts = np.bincount(rows.ravel(), minlength=50) / rows.size
    assert counts == pytest.approx(np.full(50, 0.02), rel=0.1)


@pytest.mark.slow
def test_the_true_sharpe_lies_in_the_ninety_percent_range_about_nine_times_in_ten() -> None:
    generator = np.random.default_rng(3)
    true = 0.05
    hits = 0
    for seed in range(100):
        returns = generator.normal(true * 0.02, 0.02, 500)
        low, high = intervals(returns, {"s": sharpe_of}, seed=seed, samples=300)["s"]
        hits += low <= true * np.sqrt(365) <= high
    assert 80 <= hits <= 97


def test_the_same_seed_gives_the_same_range() -> None:
    returns = np.random.default_rng(4).normal(0, 0.02, 200)
    first = intervals(returns, {"s": sharpe_of}, seed=5)
    assert first == intervals(returns, {"s": sharpe_of}, seed=5)
    assert first != intervals(returns, {"s": sharpe_of}, seed=6)


def test_a_month_is_too_short_for_a_range() -> None:
    assert intervals(np.zeros(29), {"s": sharpe_of}, seed=1) == {}


def test_figures_of_a_few_days_are_right() -> None:
    returns = np.array([[0.1, -0.5, 0.2]])
    assert total_return_of(returns)[0] == pytest.approx(1.1 * 0.5 * 1.2 - 1)
    assert max_drawdown_of(returns)[0] == pytest.approx(0.5)


def test_where_nothing_moved_there_is_no_sharpe_ratio_no_range_and_no_difference() -> None:
    still = np.zeros(400)
    assert np.isnan(sharpe_of(still[None, :])[0])
    assert set(intervals(still, bootstrap.FIGURES, seed=1)) == {"total_return", "max_drawdown"}
    lead = bootstrap.differences(still, DAYS, bootstrap.FIGURES, seed=1)
    assert set(lead) == {"total_return", "max_drawdown"}


def test_a_draw_of_nothing_but_still_days_has_a_ratio_of_nothing() -> None:
    """One day of 400 earned something: more than one draw in twenty misses it."""
    once = np.zeros(400)
    once[200] = 0.01
    assert intervals(once, {"sharpe": sharpe_of}, seed=1)["sharpe"][0] == 0


def test_a_difference_of_a_series_with_itself_is_nothing_in_every_draw():
    found = bootstrap.differences(DAYS, DAYS, bootstrap.FIGURES, seed=1)
    assert {k: (v["value"], v["low"], v["high"], v["better"]) for k, v in found.items()} == (
        dict.fromkeys(bootstrap.FIGURES, (0.0, 0.0, 0.0, 0.5))
    )


def test_a_small_steady_lead_is_sure_though_each_series_alone_is_not():
    found = bootstrap.differences(DAYS + 0.0005, DAYS, bootstrap.FIGURES, seed=1)["sharpe"]
    alone = bootstrap.intervals(DAYS, bootstrap.FIGURES, seed=1)["sharpe"]
    assert 0 < found["low"] < found["value"] < found["high"]
    assert found["better"] == 1.0
    assert alone[1] - alone[0] > 5 * (found["high"] - found["low"])


def test_a_shallower_fall_is_the_better_one():
    found = bootstrap.differences(DAYS / 2, DAYS, bootstrap.FIGURES, seed=1)["max_drawdown"]
    assert found["value"] < 0
    assert found["better"] == 1.0


def test_series_of_different_days_are_not_held_against_each_other():
    assert bootstrap.differences(DAYS, DAYS[1:], bootstrap.FIGURES, seed=1) == {}
