"""Claims about the probability of backtest overfitting."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from trader.simulation.overfitting import BlockSums, probability_of_overfitting


def noise(seed: int, days: int = 1000, variants: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.02, (days, variants))


@pytest.mark.slow
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


def test_of_two_equal_ones_beside_a_worse_one_the_chosen_is_above_the_median() -> None:
    good = np.abs(noise(3, days=40, variants=1))
    assert probability_of_overfitting(np.hstack([good, good, -good])) == 0


def test_where_the_chosen_one_only_equals_all_others_elsewhere_it_counts_half() -> None:
    """Chosen in the first half the best is as good as the others in the second, where nobody
    traded: a half. Chosen in the second any may be it: of the three, two are not above the median
    of the first."""
    returns = np.zeros((8, 3))
    returns[:2] = [0.03, 0.02, 0.01], [-0.01, -0.01, -0.01]
    assert probability_of_overfitting(returns, 2) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_variants_that_are_all_the_same_have_no_probability_and_it_is_said_why() -> None:
    same = BlockSums(10)
    for _ in range(3):
        same.add(noise(1)[:, 0])
    assert math.isnan(same.probability())
    assert "nothing to choose" in same.unknown()


def test_the_order_of_the_variants_does_not_matter_where_some_are_equal() -> None:
    returns = noise(4, variants=3)[:, [0, 0, 1, 2]]
    assert probability_of_overfitting(returns) == probability_of_overfitting(returns[:, ::-1])


def test_it_needs_two_variants_and_enough_days() -> None:
    assert math.isnan(probability_of_overfitting(noise(1, variants=1)))
    assert math.isnan(probability_of_overfitting(noise(1, days=39)))


# -- against what is published --------------------------------------------------------------------


def normals_of_r(seed: int, count: int) -> np.ndarray:
    """What `set.seed(seed); rnorm(count)` draws in R: Mersenne Twister, by inversion.

    Source of the steps: R's documentation of `RNGkind`; checked below against numbers that
    every R session prints.
    """
    state, word = [], seed
    for _ in range(50):
        word = (69069 * word + 1) % 2**32
    for _ in range(625):
        word = (69069 * word + 1) % 2**32
        state.append(word)
    twister = np.random.MT19937()
    made = twister.state
    made["state"] = {"key": np.array(state[1:], dtype=np.uint32), "pos": 624}
    twister.state = made
    uniform = np.asarray(twister.random_raw(2 * count)) / 2.0**32
    coarse, fine = uniform[0::2], uniform[1::2]
    return np.asarray(ndtri((np.floor(2**27 * coarse) + fine) / 2**27))


def test_the_numbers_of_r_are_those_of_r() -> None:
    assert normals_of_r(123, 3) == pytest.approx([-0.56047565, -0.23017749, 1.55870831])
    assert normals_of_r(42, 2) == pytest.approx([1.37095845, -0.56469817])


RISK_FREE = 0.03 / 252


def test_it_is_that_of_the_published_example_of_the_r_package() -> None:
    """The vignette of `pbo` (Barry) prints p_bo 1.0 for 100 variants of the same worth."""
    drawn = normals_of_r(765, 100 * 2400).reshape(100, 2400).T
    drawn = drawn / drawn.std(axis=0, ddof=1) / math.sqrt(252)
    assert probability_of_overfitting(drawn - drawn.mean(axis=0) - RISK_FREE, 8) == 1.0


def test_it_is_that_of_the_published_test_of_the_r_package() -> None:
    """The tests of `pbo` (Barry) demand 0.49 < p_bo < 0.51 of 40 variants and six splits."""
    drawn = normals_of_r(852, 40 * 200).reshape(200, 40)
    assert probability_of_overfitting(drawn - RISK_FREE, 4) == 0.5
