import numpy as np
import pytest

from trader.learning.calibration import (
    MEAN_KEPT,
    Platt,
    ReturnMap,
    fit_platt,
    fit_returns,
    fit_weights,
    logistic,
    logit,
)

RNG = np.random.default_rng(11)
N = 20_000
TRUE = logistic(RNG.normal(0, 0.4, N))
UP = (RNG.random(N) < TRUE).astype(float)
ONE = np.ones(N)
HALF = np.full(N, 0.5)


def test_votes_that_are_twice_too_sure_are_brought_back():
    votes = logistic(2 * logit(TRUE))
    platt = fit_platt(votes, HALF, UP, ONE)
    assert platt.slope == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(platt(votes, 0.5), TRUE, atol=0.03)


def test_votes_that_mean_nothing_become_the_base_rate():
    platt = fit_platt(logistic(RNG.normal(0, 0.4, N)), HALF, UP, ONE)
    assert platt.slope < 0.1


def test_votes_that_are_wrong_are_not_turned_around():
    assert fit_platt(1 - TRUE, HALF, UP, ONE).slope == 0.0


def test_little_evidence_gives_humble_probabilities():
    few = slice(0, 60)
    much = fit_platt(TRUE, HALF, UP, ONE).slope
    little = fit_platt(TRUE[few], HALF[few], UP[few], ONE[few]).slope
    assert little < 0.6 * much


def test_a_vote_that_says_nothing_beyond_its_base_rate_gets_the_level():
    platt = Platt(1.0, float(logit(np.array(0.52))))
    assert platt(np.array([0.56]), 0.56)[0] == pytest.approx(0.52)


def test_a_quarter_of_what_past_outcomes_say_of_the_level_is_believed():
    up = (RNG.random(N) < 0.58).astype(float)
    level = fit_platt(np.full(N, 0.6), np.full(N, 0.6), up, ONE).level
    assert level == pytest.approx(MEAN_KEPT * float(logit(up.mean())))


def test_a_lopsided_label_keeps_its_level():
    up = (RNG.random(N) < 0.3).astype(float)
    level = fit_platt(np.full(N, 0.3), np.full(N, 0.3), up, ONE, 1.0).level
    assert level == pytest.approx(float(logit(up.mean())))


def test_a_member_that_knows_nothing_loses_its_voice_and_equals_share():
    noise = logistic(RNG.normal(0, 0.4, N))
    once, again = (logistic(logit(TRUE) + RNG.normal(0, 0.3, N)) for _ in range(2))
    voices = fit_weights(np.stack([once, noise, again], axis=1), HALF, UP, ONE)
    assert voices.sum() == pytest.approx(1.0)
    assert voices[1] < 0.1
    assert voices[0] == pytest.approx(voices[2], abs=0.2)


def test_little_evidence_leaves_the_voices_nearly_equal():
    members = np.stack([TRUE, logistic(RNG.normal(0, 0.4, N))], axis=1)[:200]
    few = fit_weights(members, HALF[:200], UP[:200], ONE[:200] / 24)
    assert few == pytest.approx([0.5, 0.5], abs=0.15)


def test_where_no_member_is_right_the_voices_are_equal():
    wrong = np.stack([1 - TRUE, 1 - TRUE], axis=1)
    assert fit_weights(wrong, HALF, UP, ONE).tolist() == [0.5, 0.5]


def test_a_lone_member_has_the_whole_voice():
    assert fit_weights(TRUE[:, None], HALF, UP, ONE).tolist() == [1.0]


def test_certain_votes_do_not_become_infinite():
    assert np.isfinite(Platt(1.0, 0.0)(np.array([0.0, 1.0]), 0.5)).all()


def test_expected_returns_follow_the_outcomes_in_units_of_volatility():
    x = logit(TRUE)
    outcomes = 0.3 * x + RNG.normal(0, 1, N)
    found = fit_returns(TRUE, HALF, outcomes, ONE)
    assert found.slope == pytest.approx(0.3, abs=0.05)
    assert found.mean == pytest.approx(0.0, abs=0.02)
    assert found(np.array([0.5]), 0.5, np.array([0.02]))[0] == pytest.approx(found.mean * 0.02)


def test_a_quarter_of_the_mean_return_is_believed():
    found = fit_returns(TRUE, HALF, np.full(N, 0.2) + RNG.normal(0, 0.1, N), ONE)
    assert found.mean == pytest.approx(0.2 * MEAN_KEPT, abs=0.01)


def test_a_slope_against_the_vote_is_not_used():
    assert fit_returns(TRUE, HALF, -logit(TRUE), ONE).slope == 0.0


def test_expected_returns_grow_with_volatility():
    both = ReturnMap(0.0, 0.5)(np.array([0.6, 0.6]), 0.5, np.array([0.01, 0.03]))
    assert both[1] == pytest.approx(3 * both[0])
