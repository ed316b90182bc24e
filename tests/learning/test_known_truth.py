"""On a market whose true chances are known the calibrated ones are those, within their noise."""

from functools import cache

import numpy as np
import pytest
from scipy.special import ndtr

from tests.learning.trained import BTC, FOUR_HOURS, SETTINGS, leaning
from tests.market_making import candles_of
from trader.learning.dataset import build_dataset
from trader.learning.evaluation import score
from trader.learning.learner import Learner, refit_moments

PULL, SIGMA = 0.35, 0.01


@cache
def forecasts():
    """Out-of-sample forecasts of the next candle, and the true chances of the same candles."""
    candles = candles_of(leaning(3200, 21, PULL, SIGMA), FOUR_HOURS)
    dataset = build_dataset({BTC: candles}, horizons=(4.0,))
    moments = refit_moments(dataset.first_known, dataset.last_known, SETTINGS)
    learner = Learner(dataset, SETTINGS, moments)
    while not learner.finished:
        learner.step()
    seen = learner.known(4.0)
    seen = seen.where(np.isfinite(seen.chance))
    last = np.diff(np.log(candles.close), prepend=np.log(candles.close[0]))[seen.row]
    return seen, ndtr(-PULL * last / SIGMA)


@pytest.mark.slow
def test_the_calibration_error_is_within_what_chance_explains():
    seen, _ = forecasts()
    scores = score(seen.chance, seen.up, seen.base)
    assert scores.n > 1000
    assert scores.ece <= scores.ece_noise_95
    assert scores.skill_low > 0


@pytest.mark.slow
def test_stated_chances_are_the_true_ones_on_average_and_in_each_fifth():
    seen, truth = forecasts()
    for part in np.array_split(np.argsort(seen.chance), 5):
        # Half of the noise that outcomes would have: the truth is known, not drawn.
        assert abs(seen.chance[part].mean() - truth[part].mean()) < 0.06


@pytest.mark.slow
def test_higher_chances_are_said_where_they_are_higher():
    seen, truth = forecasts()
    assert np.corrcoef(seen.chance, truth)[0, 1] > 0.6
