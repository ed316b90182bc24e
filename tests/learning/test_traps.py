"""The known ways to fool oneself, set on purpose: each must be caught."""

from dataclasses import replace

import numpy as np
import pytest

from tests.learning.trained import BTC, FOUR_HOURS, SETTINGS
from tests.market_making import candles_of, random_walk
from trader.learning.calibration import fit_platt
from trader.learning.dataset import build_dataset
from trader.learning.estimators import fit_member
from trader.learning.evaluation import auc, score
from trader.learning.features import feature_table
from trader.learning.labels import horizon_labels
from trader.learning.learner import DAY, Learner
from trader.learning.licence import Evidence, judge

WALK = candles_of(random_walk(3600, 21, sigma=0.01), FOUR_HOURS)
LONG = 24.0 * 5
DATASET = build_dataset({BTC: WALK}, horizons=(LONG,))


def rows_and_outcomes():
    labels = DATASET.labels[LONG][0]
    rows = np.flatnonzero(labels.valid & DATASET.warm[0])
    return DATASET.tables[0].matrix[rows], labels.up[rows], rows


def shuffled_auc():
    """Random folds over overlapping labels: the classic way to an impressive figure."""
    features, up, rows = rows_and_outcomes()
    fold = np.random.default_rng(0).integers(0, 4, len(rows))
    votes = np.empty(len(rows))
    for held in range(4):
        member = fit_member("random_forest", 1, features[fold != held], up[fold != held])
        votes[fold == held] = member.predict_proba(features[fold == held])[:, 1]
    return auc(votes, up), votes, up


@pytest.fixture(scope="module")
def shuffled():
    return shuffled_auc()


def test_shuffled_folds_over_overlapping_labels_look_brilliant_on_pure_chance(shuffled):
    assert shuffled[0] > 0.8


def test_the_walk_forward_finds_nothing_in_the_same_rows(shuffled):
    settings = replace(SETTINGS, model_type="random_forest")
    first = DATASET.first_known + 350 * DAY
    learner = Learner(DATASET, settings, tuple(range(first, DATASET.last_known, 40 * DAY)))
    while not learner.finished:
        learner.step()
    seen = learner.known(LONG)
    assert len(seen) > 500
    assert auc(seen.vote, seen.up) < shuffled[0] - 0.15


def test_the_shuffled_result_is_refused_as_too_good_to_be_true(shuffled):
    _, votes, up = shuffled
    scores = score(votes, up, np.full(len(up), 0.5))
    returns = np.random.default_rng(1).normal(0.002, 0.01, 1500)
    verdict = judge(Evidence(returns, returns, returns / 2, 90, 1, scores))
    assert not verdict.granted
    assert any("look for a leak" in reason for reason in verdict.reasons)


def test_without_a_purge_the_fit_would_see_outcomes_of_the_tested_span():
    labels = DATASET.labels[LONG][0]
    moment = DATASET.first_known + 200 * DAY
    careless = labels.valid & (labels.decided_at < moment)
    purged = labels.known_before(moment, 24 * 3600)
    assert labels.known_at[careless].max() > moment
    assert labels.known_at[purged].max() <= moment - 24 * 3600
    assert careless.sum() - purged.sum() >= 5 * 6  # five days of four-hour candles


def test_calibrating_on_what_is_scored_looks_better_than_it_is():
    rng = np.random.default_rng(2)
    votes, up = np.clip(rng.normal(0.5, 0.2, 400), 0.02, 0.98), rng.integers(0, 2, 400) * 1.0
    half, ones = np.full(200, 0.5), np.ones(200)
    honest = fit_platt(votes[:200], half, up[:200], ones)(votes[200:], 0.5)
    cheat = fit_platt(votes[200:], half, up[200:], ones)(votes[200:], 0.5)
    assert (
        score(cheat, up[200:], half).log_loss_skill > score(honest, up[200:], half).log_loss_skill
    )


def test_a_feature_scaled_by_the_whole_sample_is_not_among_ours():
    doubled = candles_of(
        np.concatenate([WALK.close, WALK.close[-1] * np.ones(50) * 3]), FOUR_HOURS
    )
    ours, theirs = (feature_table(BTC, c, None).matrix for c in (WALK, doubled))
    np.testing.assert_array_equal(ours, theirs[: len(WALK)])


def test_the_candle_still_open_cannot_be_in_a_decision():
    moment = WALK.closed_at - FOUR_HOURS.delta / 2
    assert WALK.known_at(moment).closed_at <= moment


def test_an_outcome_has_no_place_in_a_matrix():
    with pytest.raises(TypeError):
        np.asarray(horizon_labels(WALK, 24))
