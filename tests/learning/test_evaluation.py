import numpy as np
import pytest
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from trader.learning.calibration import logistic
from trader.learning.chance import Places
from trader.learning.evaluation import auc, ece, ece_noise, reliability, score

RNG = np.random.default_rng(4)
N = 6000
TRUE = logistic(RNG.normal(0, 0.5, N))
UP = (RNG.random(N) < TRUE).astype(float)
BASE = np.full(N, UP.mean())


def test_auc_is_scikit_learns_with_ties_counting_half():
    assert auc(TRUE, UP) == pytest.approx(roc_auc_score(UP, TRUE), abs=1e-12)
    assert auc(np.array([0.5, 0.5]), np.array([0.0, 1.0])) == 0.5
    assert np.isnan(auc(TRUE, np.ones(N)))


def test_true_probabilities_have_skill_and_lie_within_the_noise():
    scores = score(TRUE, UP, BASE)
    assert scores.log_loss_skill > 0.02
    assert scores.skill_low > 0
    assert scores.ece <= scores.ece_noise_95


def test_the_base_rate_has_no_skill():
    scores = score(BASE, UP, BASE)
    assert (scores.log_loss_skill, scores.brier_skill) == (0.0, 0.0)


def test_probabilities_five_points_too_high_are_outside_the_noise():
    scores = score(np.clip(TRUE + 0.05, 0, 1), UP, BASE)
    assert scores.ece > scores.ece_noise_95


def test_noise_in_place_of_probabilities_has_negative_skill():
    scores = score(RNG.permutation(TRUE), UP, BASE)
    assert scores.log_loss_skill < 0


def test_overlapping_predictions_widen_interval_and_noise():
    alone, together = score(TRUE, UP, BASE), score(TRUE, UP, BASE, overlap=24)
    assert together.ece_noise_95 > 2 * alone.ece_noise_95
    assert together.effective_n == N // 24


def test_the_noise_band_is_that_of_simulated_truth():
    rng = np.random.default_rng(0)
    drawn = [ece(TRUE, (rng.random(N) < TRUE).astype(float)) for _ in range(200)]
    alone = Places.in_a_row(N, 1)
    assert ece_noise(TRUE, UP, alone, 0) == pytest.approx(np.quantile(drawn, 0.95), rel=0.1)


def test_reliability_bins_hold_all_predictions_in_order():
    bins = reliability(TRUE, UP)
    assert sum(b.count for b in bins) == N
    assert [b.predicted for b in bins] == sorted(b.predicted for b in bins)


def test_scores_are_the_same_for_the_same_seed():
    assert score(TRUE, UP, BASE, seed=3) == score(TRUE, UP, BASE, seed=3)


def worth_nothing(seed, count=4000, span=12):
    """Forecasts and base rates equally far from the truth: skill of exactly zero."""
    rng = np.random.default_rng(seed)
    path = np.concatenate([[0.0], np.cumsum(rng.normal(size=count + span))])
    up = (path[span : span + count] > path[:count]) * 1.0
    keep = np.exp(-1 / 48)
    signal = lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.normal(size=count)) * 0.06
    lean = np.clip(signal, -0.2, 0.2)
    return score(0.5 + lean, up, 0.5 - lean, overlap=span)


def test_the_interval_of_the_skill_holds_the_truth_in_nine_worlds_of_ten():
    found = [worth_nothing(seed) for seed in range(200)]
    held = np.mean([s.skill_low <= 0 <= s.skill_high for s in found])
    assert held >= 0.90 - 3 * 0.021  # three standard errors of 200 worlds


def test_a_handful_of_blocks_proves_no_skill():
    scores = score(TRUE[:300], UP[:300], BASE[:300], overlap=120)
    assert scores.skill_low < scores.log_loss_skill < scores.skill_high
