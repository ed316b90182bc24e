"""Explanations add up exactly, and are those of the reference implementation."""

from functools import cache

import numpy as np
import pytest

from tests.learning.trained import result
from trader.learning.compiled import compile_vote
from trader.learning.estimators import MODEL_TYPES, fit_member
from trader.learning.shapley import VoteAccount

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(900, 12)).astype(np.float32)
ROWS[RNG.random(ROWS.shape) < 0.05] = np.nan
UP = (np.nan_to_num(ROWS[:, 0]) + RNG.normal(size=900) > 0).astype(float)
MEMBERS = ("random_forest", "gradient_boosting", "logistic_regression")


@cache
def fitted(*names):
    members = {name: fit_member(name, 1, ROWS, UP) for name in names}
    vote = compile_vote([members])
    return members, vote, VoteAccount(vote, 0, ROWS.shape[1])


@pytest.mark.parametrize("name", MEMBERS)
def test_start_and_moves_add_up_to_the_vote(name):
    _, vote, explains = fitted(name)
    for row in ROWS[:20]:
        account = explains.of(row)
        assert account.start + account.moved.sum() == pytest.approx(account.vote, abs=1e-12)
        assert account.vote == pytest.approx(vote.probabilities(row[None])[0, 0], abs=1e-12)


def test_the_votes_account_is_the_mean_of_its_members():
    together = fitted(*MODEL_TYPES["ensemble"])[2].of(ROWS[5])
    alone = [fitted(name)[2].of(ROWS[5]) for name in MODEL_TYPES["ensemble"]]
    np.testing.assert_allclose(together.moved, np.mean([a.moved for a in alone], axis=0))
    assert together.start == pytest.approx(np.mean([a.start for a in alone]))


def test_members_of_unequal_voices_are_accounted_for_by_them():
    names, voices = MODEL_TYPES["ensemble"], (0.6, 0.3, 0.1)
    members, _, _ = fitted(*names)
    vote = compile_vote([members], [dict(zip(names, voices, strict=True))])
    account = VoteAccount(vote, 0, ROWS.shape[1]).of(ROWS[5])
    assert account.vote == pytest.approx(vote.probabilities(ROWS[5:6])[0, 0], abs=1e-12)
    assert account.start + account.moved.sum() == pytest.approx(account.vote, abs=1e-12)
    alone = [fitted(name)[2].of(ROWS[5]).moved for name in names]
    np.testing.assert_allclose(account.moved, np.average(alone, axis=0, weights=voices))


@pytest.mark.slow
def test_a_forest_is_explained_as_tree_shap_explains_it():
    shap = pytest.importorskip("shap")
    members, _, explains = fitted("random_forest")
    rows = ROWS[~np.isnan(ROWS).any(axis=1)][:15]
    theirs = shap.TreeExplainer(
        members["random_forest"], feature_perturbation="tree_path_dependent"
    )
    values = theirs.shap_values(rows, check_additivity=False)[..., 1]
    for row, expected in zip(rows, values, strict=True):
        np.testing.assert_allclose(explains.of(row).moved, expected, atol=1e-6)
    assert explains.of(rows[0]).start == pytest.approx(theirs.expected_value[1], abs=1e-6)


@pytest.mark.slow
def test_boosting_is_explained_as_tree_shap_explains_it_in_log_odds():
    shap = pytest.importorskip("shap")
    members, _, explains = fitted("gradient_boosting")
    rows = ROWS[~np.isnan(ROWS).any(axis=1)][:15]
    theirs = shap.TreeExplainer(
        members["gradient_boosting"], feature_perturbation="tree_path_dependent"
    )
    values = theirs.shap_values(rows, check_additivity=False)
    ((_, leaves),) = explains._trees
    for row, expected in zip(rows, values, strict=True):
        np.testing.assert_allclose(leaves.values_of(row), expected, atol=1e-6)


def test_the_feature_that_made_the_outcome_moves_it_most():
    explains = fitted(*MODEL_TYPES["ensemble"])[2]
    strongest = [int(np.argmax(np.abs(explains.of(row).moved))) for row in ROWS[:50]]
    assert strongest.count(0) > 35


def test_a_feature_no_tree_asks_about_moves_nothing():
    _, vote, explains = fitted("random_forest")
    wider = np.append(ROWS[0], np.float32(1.0))
    assert explains.of(wider).moved[-1] == 0.0
    assert set(vote.forest.feature) <= set(range(12))


def test_a_model_accounts_for_its_deciding_forecast():
    model = result().model
    row = np.zeros(len(model.low), dtype=np.float32)
    place = len(model.card.horizons) - 1
    told = model._accounted(row, place, 0.5)
    named = sum(move.moved for move in told.moves)
    assert told.start + named + told.rest == pytest.approx(told.vote, abs=1e-12)
    expected = model.vote.probabilities(row[None])[0, place]
    assert told.vote == pytest.approx(expected, abs=1e-12)
    sizes = [abs(move.moved) for move in told.moves]
    assert sizes == sorted(sizes, reverse=True)
