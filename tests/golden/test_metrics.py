"""Our figures beside an independent library's and beside published ones."""

import itertools
import math

import numpy as np
import pytest

from trader import performance
from trader.simulation.overfitting import probability_of_overfitting

empyrical = pytest.importorskip("empyrical")

DAY = 86400
RETURNS = np.random.default_rng(11).standard_t(4, 1461) * 0.02 + 0.001
EQUITY = 10_000 * np.cumprod(1 + RETURNS)
TIMES = DAY * np.arange(1, len(RETURNS) + 1)
METRICS = performance.measure(TIMES, EQUITY, 10_000.0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (METRICS.total_return, empyrical.cum_returns_final(RETURNS)),
        (METRICS.cagr, empyrical.annual_return(RETURNS, annualization=365)),
        (METRICS.volatility, empyrical.annual_volatility(RETURNS, annualization=365)),
        (METRICS.sharpe, empyrical.sharpe_ratio(RETURNS, annualization=365)),
        (METRICS.sortino, empyrical.sortino_ratio(RETURNS, annualization=365)),
        (METRICS.max_drawdown, -empyrical.max_drawdown(RETURNS)),
        (METRICS.calmar, empyrical.calmar_ratio(RETURNS, annualization=365)),
    ],
    ids=["total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar"],
)
def test_it_equals_empyrical(ours: float, theirs: float) -> None:
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("skew", "kurtosis", "published"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)]
)
def test_the_published_example_of_the_probabilistic_sharpe_ratio(
    skew: float, kurtosis: float, published: float
) -> None:
    # Bailey & López de Prado (2012): two years of monthly returns with a ratio of 0.458.
    found = performance.probability_above(0.458, 0.0, 24, skew, kurtosis)
    assert found == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(("trials", "published"), [(10, 1.5746), (100, 2.5306), (1000, 3.2551)])
def test_the_expected_best_of_so_many_normal_tries(trials: int, published: float) -> None:
    # The formula of Bailey & López de Prado (2014) against the exact expectation of the largest
    # of N standard normal numbers (1.5388, 2.5076, 3.2414), which it exceeds by a few per cent.
    found = performance.expected_best_sharpe(trials, 1.0)
    assert found == pytest.approx(published, abs=5e-5)
    exact = {10: 1.5388, 100: 2.5076, 1000: 3.2414}[trials]
    assert exact < found < 1.03 * exact


def cscv(returns: np.ndarray, parts: int) -> float:
    """The algorithm as Bailey et al. (2017) write it down, step by step, without any shortcut."""
    variants = returns.shape[1]
    blocks = np.array_split(returns, parts)
    logits = []
    for chosen in itertools.combinations(range(parts), parts // 2):
        inside = np.concatenate([blocks[i] for i in chosen])
        outside = np.concatenate([blocks[i] for i in range(parts) if i not in chosen])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0)))
        ratios = outside.mean(axis=0) / outside.std(axis=0)
        relative = (ratios.argsort().argsort()[best] + 1) / (variants + 1)
        logits.append(math.log(relative / (1 - relative)))
    return float(np.mean([logit <= 0 for logit in logits]))


@pytest.mark.parametrize("seed", range(6))
def test_the_probability_of_overfitting_is_that_of_the_published_algorithm(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0005, 0.02, (480, 9))
    assert probability_of_overfitting(returns, 8) == cscv(returns, 8)
