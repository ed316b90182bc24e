from dataclasses import replace

import numpy as np
import pytest

from tests.learning.trained import BTC, FOUR_HOURS, SETTINGS, histories
from tests.market_making import candles_of, random_walk
from trader.domain.errors import ModelError, UsageError
from trader.learning.crossvalidation import (
    combinatorial_folds,
    cross_validate,
    groups_of,
    paths_of,
)
from trader.learning.dataset import build_dataset

HOUR = 3600
DECIDED = np.arange(120) * HOUR
KNOWN = DECIDED + 5 * HOUR
LINE = replace(SETTINGS, model_type="logistic_regression")


def folds(groups=6, held=2, embargo=3 * HOUR):
    return list(
        combinatorial_folds(DECIDED, KNOWN, groups=groups, held=held, embargo_seconds=embargo)
    )


def test_every_combination_of_groups_is_held_out_once():
    assert len({fold.held for fold in folds()}) == 15


def test_every_row_is_predicted_once_in_each_path():
    counts = np.zeros(len(DECIDED), dtype=int)
    for fold in folds():
        counts[fold.test] += 1
    assert counts.tolist() == [paths_of(6, 2)] * len(DECIDED)


def test_no_life_of_a_training_row_meets_that_of_a_held_out_row():
    for fold in folds():
        meets = (DECIDED[fold.train, None] <= KNOWN[fold.test]) & (
            KNOWN[fold.train, None] >= DECIDED[fold.test]
        )
        assert not meets.any()


def test_training_waits_an_embargo_after_a_held_out_group():
    fold = folds(held=1)[0]
    assert DECIDED[fold.train].min() == KNOWN[fold.test].max() + 4 * HOUR


def test_rows_decided_at_one_moment_stay_together():
    group = groups_of(np.repeat(DECIDED, 2), 7)
    assert (group[::2] == group[1::2]).all()
    assert len(set(group.tolist())) == 7


@pytest.mark.parametrize("held", [0, 6])
def test_holding_out_nothing_or_everything_is_refused(held):
    with pytest.raises(UsageError, match="groups held out"):
        folds(held=held)


def test_a_planted_edge_is_seen_in_every_path():
    dataset = build_dataset(histories(), horizons=(4.0,))
    scores = cross_validate(dataset, 4.0, LINE, until=dataset.last_known)
    assert len(scores.auc) == 5
    assert min(scores.auc) > 0.55
    assert min(scores.skill) > 0


def test_nothing_is_seen_where_nothing_is():
    blind = {BTC: candles_of(random_walk(2600, 5, sigma=0.01), FOUR_HOURS)}
    dataset = build_dataset(blind, horizons=(24.0,))
    scores = cross_validate(dataset, 24.0, LINE, until=dataset.last_known)
    assert np.mean(scores.auc) == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_what_was_not_known_at_the_moment_changes_nothing():
    dataset = build_dataset(histories(), horizons=(4.0,))
    until = dataset.last_known - 200 * 86400
    cut = {pair: candles[:1900] for pair, candles in histories().items()}
    assert cut[BTC].opened_at[-1] > until
    early = build_dataset(cut, horizons=(4.0,))
    same = [cross_validate(each, 4.0, LINE, until=until) for each in (dataset, early)]
    assert same[0] == same[1]


def test_too_little_to_choose_on_is_said():
    dataset = build_dataset(histories(), horizons=(4.0,))
    with pytest.raises(ModelError, match="too little history to choose settings"):
        cross_validate(dataset, 4.0, LINE, until=dataset.first_known + 20 * 86400)
