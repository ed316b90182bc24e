"""Claims about the calibration error that chance makes of true probabilities."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtr

from trader.learning.chance import Places, _agreement, _fast_length, _lagged
from trader.learning.evaluation import ece, score

WORLDS = 200


def true_forecasts(seed, count, span, pairs):
    """Forecasts that are exactly true, of outcomes over the coming candles, and their places.

    Each candle moves by a drift that fades by a half-life of two days' worth of candles and is
    known at its beginning, and by noise, six tenths of which all pairs share.
    """
    rng = np.random.default_rng(seed)
    rows, keep, strength = count + span + 1, np.exp(-1 / 24), 0.05
    common = rng.normal(size=rows)
    chances, outcomes = [], []
    for _ in range(pairs):
        drift = strength * lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.normal(size=rows))
        noise = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.normal(size=rows)
        path = np.concatenate([[0.0], np.cumsum(drift[:-1] + noise[1:])])
        ahead = (1 - keep**span) / (1 - keep)
        later = ((1 - keep ** np.arange(1, span)) / (1 - keep)) ** 2
        spread = np.sqrt(span + strength**2 * (1 - keep**2) * later.sum())
        chances.append(ndtr(drift[:count] * ahead / spread))
        outcomes.append((path[span : span + count] > path[:count]) * 1.0)
    places = Places(np.repeat(np.arange(count), pairs), np.tile(np.arange(pairs), count), span)
    return np.stack(chances, 1).ravel(), np.stack(outcomes, 1).ravel(), places


@pytest.mark.parametrize(("span", "pairs"), [(1, 2), (24, 1), (24, 2)])
def test_true_probabilities_exceed_the_band_in_one_world_of_twenty(span, pairs):
    beyond = 0
    for seed in range(WORLDS):
        chance, up, places = true_forecasts(seed, 4000, span, pairs)
        found = score(chance, up, np.full(len(up), 0.5), overlap=span * pairs, places=places)
        beyond += found.ece > found.ece_noise_95
    # Five of a hundred, give or take three standard errors of so many worlds: 0.4 to 9.6 %.
    assert 0.004 <= beyond / WORLDS <= 0.096


def test_the_band_is_that_of_all_rows_and_not_of_a_thinned_sample():
    """A day ahead, two pairs, four years of hours: true ones show .020 in 95 of 100 worlds."""
    chance, up, places = true_forecasts(1, 35_040, 24, 2)
    found = score(chance, up, np.full(len(up), 0.5), overlap=48, places=places)
    assert 0.017 < found.ece_noise_95 < 0.024
    assert score(
        np.clip(chance + 0.03, 0.001, 0.999), up, np.full(len(up), 0.5), overlap=48, places=places
    ).ece > 0.024  # fmt: skip


def test_outcomes_agree_as_often_as_drawn_ones_do():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 400_000))
    second = 0.6 * first + 0.8 * second
    for mean in (0.5, 0.15):
        cut = np.quantile(first, mean)
        drawn = np.corrcoef(first < cut, second < cut)[0, 1]
        assert _agreement(np.array([0.6]), mean)[0] == pytest.approx(drawn, abs=0.01)


def test_lagged_sums_by_transform_are_the_plain_ones():
    rng = np.random.default_rng(1)
    table, weights = rng.normal(size=(3, 50)), np.array([1.0, 0.5, 0.2])
    far = np.abs(np.subtract.outer(np.arange(50), np.arange(50)))
    matrix = np.where(far < 3, weights[np.minimum(far, 2)], 0.0)
    np.testing.assert_allclose(
        _lagged(table, weights, _fast_length(53)), table @ matrix @ table.T, rtol=1e-9, atol=1e-9
    )


def test_the_ece_is_the_mean_gap_of_the_bins():
    chance, up, _ = true_forecasts(2, 500, 1, 1)
    order = np.argsort(chance, kind="stable")
    gaps = [abs((chance[p] - up[p]).sum()) for p in np.array_split(order, 10)]
    assert ece(chance, up) == pytest.approx(sum(gaps) / 500)
