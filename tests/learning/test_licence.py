from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tests.market_making import Timeframe, candles_of, random_walk
from trader.learning.evaluation import Scores, score
from trader.learning.licence import (
    DESIGN_TRIALS,
    Evidence,
    chance_of_lead,
    days_to_prove,
    judge,
    lead_interval,
    trials_behind,
)
from trader.learning.papertrade import core_targets, daily, sleeve_state, walk
from trader.learning.trend import trend_of
from trader.performance import deflated_sharpe, sharpe

DAYS = 8 * 365
GOOD = Scores(20_000, 800, 0.5, 0.55, 0.247, 0.01, 0.008, 0.002, 0.014, 0.008, 0.02)


def world(seed, sharpe, days=DAYS):
    """A strategy with a true Sharpe ratio beside a market that earns nothing."""
    rng = np.random.default_rng(seed)
    strategy = rng.normal(sharpe / np.sqrt(365) * 0.01, 0.01, days)
    trend = strategy + rng.normal(0, 0.003, days)
    return Evidence(strategy, trend, rng.normal(0, 0.03, days), 200, 5, GOOD)


@pytest.mark.slow
def test_a_licence_is_granted_to_a_planted_edge_in_four_of_five_worlds():
    granted = sum(judge(world(seed, 1.5)).granted for seed in range(40))
    assert granted >= 32


@pytest.mark.slow
def test_a_licence_is_refused_in_worlds_without_an_edge():
    granted = sum(judge(world(seed, 0.0)).granted for seed in range(60))
    assert granted <= 3


def test_every_failed_condition_is_named():
    poor = replace(GOOD, skill_low=-0.001, auc=0.52, ece=0.05)
    verdict = judge(Evidence(np.zeros(100), np.zeros(100), np.zeros(100), 3, 1, poor))
    text = "\n".join(verdict.reasons)
    assert not verdict.granted
    for part in (
        "100 days", "3 trades", "deflated", "log-loss skill", "AUC 0.520: guesses reach 0.534",
        "calibration error",
    ):  # fmt: skip
        assert part in text


def test_a_better_level_that_tells_no_rise_from_a_fall_is_no_licence():
    """Skill against the base rate known at the time can be earned by the level alone."""
    rng = np.random.default_rng(5)
    up = (rng.random(9_000) < 0.5).astype(float)
    scores = score(0.5 + rng.normal(0, 0.002, 9_000), up, np.full(9_000, 0.54))
    assert scores.skill_low > 0
    assert scores.auc_low < 0.5
    verdict = judge(replace(world(1, 1.5), scores=scores))
    assert [r for r in verdict.reasons if "guesses reach" in r]


def test_guesses_tell_rises_from_falls_in_one_sample_of_twenty():
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(400):
        up = (rng.random(300) < 0.55).astype(float)
        found += score(rng.random(300), up, np.full(300, 0.55)).auc_low > 0.5
    assert 8 <= found <= 36


def test_too_good_to_be_true_is_refused_as_a_leak():
    verdict = judge(replace(world(1, 9.0), scores=replace(GOOD, auc=0.75)))
    assert not verdict.granted
    assert sum("too good to be true" in reason for reason in verdict.reasons) == 2


def test_models_that_cost_the_trend_rule_are_refused():
    evidence = world(2, 1.5)
    better = evidence.strategy + 0.003
    verdict = judge(replace(evidence, trend=better))
    assert any("cost the trend rule" in reason for reason in verdict.reasons)


def test_without_tested_forecasts_there_is_no_licence():
    verdict = judge(replace(world(3, 1.5), scores=None))
    assert verdict.reasons == ("too little history to test the model out of sample",)


def test_a_test_on_the_data_of_the_design_inherits_its_trials():
    old, new = datetime(2019, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    assert trials_behind("kraken", old, 5) == DESIGN_TRIALS + 5
    assert trials_behind("kraken", new, 5) == 5
    assert trials_behind("simulated", old) == 1


def test_more_trials_make_the_same_result_worth_less():
    returns = world(4, 1.0).strategy
    by_count = [deflated_sharpe(returns, trials) for trials in (1, 50, 400)]
    assert by_count == sorted(by_count, reverse=True)
    assert by_count[0] - by_count[2] > 0.05


def test_a_mere_difference_of_size_proves_no_lead():
    returns = world(5, 0.5).strategy
    assert chance_of_lead(returns, 3 * returns) < 0.9
    gap, low, high = lead_interval(returns, 3 * returns)
    assert gap == pytest.approx(0.0, abs=1e-9)
    assert low == pytest.approx(high)


def test_walking_buys_at_the_next_open_and_pays_for_every_change():
    candles = candles_of([100, 100, 110, 110, 110])
    walked = walk(np.array([1.0, 1.0, 0.0, 0.0, 0.0]), candles, 0.01, 0.1)
    # Decided at the first close: in from the second candle's open (100) on.
    assert walked.held.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert walked.returns.tolist() == pytest.approx([0.0, -0.01, 0.10, -0.01, 0.0])
    assert walked.trades == 1


def test_small_changes_of_weight_are_not_traded():
    candles = candles_of(random_walk(100))
    walked = walk(np.linspace(0.5, 0.55, 100), candles, 0.01, 0.1)
    assert set(walked.held.tolist()) == {0.5}


def test_the_sleeve_enters_on_a_strong_forecast_and_leaves_on_a_negative_one():
    expected = np.array([0.0, 0.03, 0.01, 0.005, -0.001, 0.01])
    state = sleeve_state(expected, np.full(6, 0.6), 0.02, 0.55, 100)
    assert state.tolist() == [0, 1, 1, 1, 0, 0]
    unsure = sleeve_state(expected, np.full(6, 0.5), 0.02, 0.55, 100)
    assert unsure.tolist() == [0] * 6


def test_the_core_is_out_while_its_leader_falls():
    own, leading = (
        candles_of(random_walk(3000, 1, 0.001)),
        candles_of(random_walk(3000, 2, -0.001)),
    )
    alone = core_targets(trend_of(own), own, None, None, 0.4)
    led = core_targets(trend_of(own), own, trend_of(leading), leading, 0.4)
    assert alone[-1] > 0.2
    assert led[-1] == 0.0


def test_daily_returns_compound_the_candles_of_each_utc_day():
    candles = candles_of(np.full(48, 100.0))
    days = daily(np.full(48, 0.01), candles)
    assert list(days.values()) == pytest.approx([1.01**24 - 1] * 2)


def test_candles_of_two_days_make_days_of_one_day():
    rng = np.random.default_rng(3)
    candles = candles_of(
        np.full(400, 100.0), Timeframe.parse("2d"), datetime(2020, 1, 1, tzinfo=UTC)
    )
    returns = rng.normal(0.002, 0.02, 400)
    days = daily(returns, candles)
    assert len(days) == 799  # the first candle closes on the second of its days
    assert list(days.values())[::2] == pytest.approx(returns.tolist())
    assert sharpe(np.array(list(days.values()))) == pytest.approx(
        returns.mean() / returns.std() * np.sqrt(365 / 2), rel=0.01
    )


def test_a_refusal_says_what_it_would_take():
    thin = world(8, 0.8)
    verdict = judge(replace(thin, trades=10, scores=replace(GOOD, skill_low=-0.004)))
    assert not verdict.granted
    text = "\n".join(verdict.needed)
    assert "20 more closed trades, 5,840 days at this pace" in text
    assert "more days of the same skill" in text


def test_the_days_that_are_needed_are_those_that_would_do():
    thin = replace(world(8, 0.9), trials=412)
    days = days_to_prove(thin)
    assert days > DAYS
    # The same returns over and over keep mean, spread, skew and kurtosis.
    whole = -(-days // DAYS)
    assert deflated_sharpe(np.tile(thin.strategy, whole), 412) >= 0.95
    assert deflated_sharpe(np.tile(thin.strategy, whole - 1), 412) < 0.95


def test_no_number_of_days_proves_a_strategy_that_loses():
    losing = world(9, -1.0)
    assert days_to_prove(losing) is None
    assert any("time alone is not" in need for need in judge(losing).needed)


def test_a_feature_that_sees_the_future_is_refused_by_name():
    verdict = judge(replace(world(1, 1.5), leaks=("tomorrow",)))
    assert not verdict.granted
    assert any("tomorrow" in reason for reason in verdict.reasons)


def test_the_verdict_shows_what_the_models_change_of_the_trend_rule():
    same = world(3, 1.5)
    (note,) = judge(replace(same, trend=same.strategy)).notes
    assert "the models changed nothing of it" in note
    (note,) = judge(same).notes
    gap, low, high = lead_interval(same.strategy, same.trend)
    assert f"the models change it by {gap:+.2f} ({low:+.2f} to {high:+.2f})" in note
