"""A small version of the campaign of significance."""

import math

import numpy as np
import pytest

from campaigns.output import Pace
from campaigns.significance import COST, Lab, earned, edge_for, market, states
from trader import performance

YEARS = Lab(8 * 365, 7)


def test_the_planted_edge_earns_the_sharpe_ratio_it_is_said_to_earn() -> None:
    generator = np.random.default_rng(3)
    found = []
    for _ in range(40):
        rows = states(YEARS.days, 1, generator)
        candles = market(YEARS.days, edge_for(1.5, COST) * (2 * rows[0] - 1), generator)
        found.append(performance.sharpe(earned(candles, rows[0], COST)))
    # One ratio of eight years scatters by 1 / √8; the mean of forty by 0.056.
    assert np.mean(found) == pytest.approx(1.5, abs=3 / math.sqrt(8 * 40))


@pytest.mark.slow
def test_luck_is_seldom_taken_for_skill_and_skill_mostly_recognised() -> None:
    luck = YEARS.without_edge(80, 5, 0.0, Pace())
    assert luck["all_counted"] <= 0.05
    assert luck["best_shown"] <= 0.05
    assert YEARS.with_edge(40, 1.5, 5, Pace())["significant"] >= 0.8
