"""Importance out of fold finds what moves the market and nothing else."""

import numpy as np
import pytest

from tests.learning.trained import histories, result
from trader.learning.dataset import build_dataset
from trader.learning.importance import _alone, importance_of


def test_the_stored_importance_names_every_feature_most_important_first():
    found = result().model.card.importance
    assert {item.feature for item in found} == set(result().model.card.features)
    lost = [item.lost for item in found]
    assert lost == sorted(lost, reverse=True)
    assert all(0 <= item.folds_helped <= 1 for item in found)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_importance():
    dataset, last = build_dataset(histories()), result().earlier[-1:]
    assert importance_of(last, dataset, 7) == importance_of(last, dataset, 7)
    assert importance_of(last, dataset, 7) != importance_of(last, dataset, 8)


def test_without_folds_there_is_no_importance():
    assert importance_of((), build_dataset(histories()), 1) == ()


@pytest.mark.slow
def test_one_horizon_alone_votes_as_among_the_others():
    vote = result().model.vote
    rows = np.random.default_rng(0).normal(size=(30, len(result().model.low))).astype(np.float32)
    for horizon in range(vote.horizons):
        alone = _alone(vote, horizon).probabilities(rows)[:, 0]
        np.testing.assert_allclose(alone, vote.probabilities(rows)[:, horizon], atol=1e-15)
