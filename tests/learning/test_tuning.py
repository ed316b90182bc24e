from dataclasses import replace

import pytest

from tests.learning.trained import SETTINGS, histories
from trader.learning.dataset import build_dataset
from trader.learning.learner import DAY
from trader.learning.tuning import tune

FAST = replace(SETTINGS, model_type="logistic_regression", rows_per_fit=700)
DATASET = build_dataset(histories(), horizons=(4.0,))
UNTIL = DATASET.last_known - 100 * DAY


def tuned(trials=6, settings=FAST):
    seen = []
    return tune(DATASET, settings, until=UNTIL, trials=trials, told=seen.append), seen


@pytest.mark.slow
def test_every_variant_that_was_judged_is_told():
    _, seen = tuned()
    assert len(seen) == 6
    assert len({trial.parameters for trial in seen}) == 6


@pytest.mark.slow
def test_the_best_of_the_variants_is_chosen():
    best, seen = tuned()
    highest = max(seen, key=lambda trial: trial.scores.mean_skill)
    assert (*best.parameters, ("features_kept", float(best.features_kept))) == highest.parameters


@pytest.mark.slow
def test_the_given_settings_are_the_first_trial():
    settings = replace(FAST, parameters=(("logistic_regression.strength", 1e-3),))
    assert tuned(1, settings)[0] == settings


@pytest.mark.slow
def test_the_same_seed_tunes_to_the_same_settings():
    assert tuned()[0] == tuned()[0]
