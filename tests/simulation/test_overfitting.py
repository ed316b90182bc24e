"""Claims about the probability of backtest overfitting."""

import math

import numpy as np
import pytest

from trader.simulation.overfitting import probability_of_overfitting


def noise(seed: int, days: int = 1000, variants: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, (days, variants))


def test_the_best_of_pure_noise_is_below_the_median_elsewhere_half_of_the_time() -> None:
    found = [probability_of_overfitting(noise(seed)) for seed in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_a_variant_that_is_truly_better_is_chosen_and_stays_better() -> None:
    returns = noise(1)
    returns[:, 7] += 0.006
    assert probability_of_overfitting(returns) == 0


def test_variants_that_trade_turns_are_found_out() -> None:
    """Each variant is good in its own tenth of the time and bad elsewhere: the best was luck."""
    returns = noise(2, variants=10) * 0.01
    for variant, block in enumerate(np.array_split(np.arange(1000), 10)):
        returns[block, variant] += 0.01
        returns[:, variant] -= 0.001
    assert probability_of_overfitting(returns) > 0.9


def test_it_needs_two_variants_and_enough_days() -> None:
    assert math.isnan(probability_of_overfitting(noise(1, variants=1)))
    assert math.isnan(probability_of_overfitting(noise(1, days=39)))
