"""How far luck alone could have moved a figure: the stationary bootstrap.

Source: Politis & Romano (1994), The Stationary Bootstrap. Days are drawn in blocks of random
length, so that runs of good and bad days stay together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray, IntArray


def stationary_rows(
    count: int, samples: int, mean_block: float, generator: np.random.Generator
) -> IntArray:
    """Row numbers of resampled series, shape (samples, count), in [0, count).

    Each day follows the one before it with probability 1 − 1/mean_block, wrapping at the end,
    and else begins a new block anywhere.
    """
    begins = generator.random((samples, count)) < 1 / mean_block
    begins[:, 0] = True
    starts = generator.integers(0, count, size=(samples, count))
    place = np.broadcast_to(np.arange(count), (samples, count))
    block = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    rows: IntArray = (np.take_along_axis(starts, block, axis=1) + place - block) % count
    return rows


def intervals(
    returns: FloatArray,
    figures: dict[str, Callable[[FloatArray], FloatArray]],
    *,
    seed: int,
    samples: int = 1000,
    mean_block: float = 20.0,
    coverage: float = 0.90,
) -> dict[str, tuple[float, float]]:
    """For each figure the range that holds `coverage` of its resampled values.

    Args:
        returns: daily returns, oldest first.
        figures: name → function from (samples, days) to (samples,).
        seed: makes it repeatable.
        samples: how many series to draw.
        mean_block: mean length of a block in days.
        coverage: share of values between the two ends.

    Returns:
        name → (low, high); empty with fewer than 30 days. A figure that the series itself does
        not have, has no range either.
    """
    if len(returns) < 30:
        return {}
    generator = np.random.default_rng(seed)
    drawn = returns[stationary_rows(len(returns), samples, mean_block, generator)]
    tail = (1 - coverage) / 2
    result = {}
    for name, figure in figures.items():
        if np.isnan(_of(figure, returns)):
            continue
        low, high = np.quantile(_of_draws(figure, drawn), [tail, 1 - tail])
        result[name] = (float(low), float(high))
    return result


def _of(figure: Callable[[FloatArray], FloatArray], returns: FloatArray) -> float:
    return float(figure(returns[None, :])[0])


def _of_draws(figure: Callable[[FloatArray], FloatArray], drawn: FloatArray) -> FloatArray:
    """The figure of each draw; 0 for a draw of nothing but still days."""
    found: FloatArray = np.nan_to_num(figure(drawn), nan=0.0)
    return found


def differences(
    returns: FloatArray,
    others: FloatArray,
    figures: dict[str, Callable[[FloatArray], FloatArray]],
    *,
    seed: int,
    samples: int = 1000,
    mean_block: float = 20.0,
    coverage: float = 0.90,
) -> dict[str, dict[str, float]]:
    """How much better one series is than another of the same days, and how sure that is.

    Paired: the same days are drawn for both, so what moves both alike falls out.

    Args:
        returns: daily returns, oldest first.
        others: those it is held against, the same days.
        figures: as for `intervals`.
        seed: makes it repeatable.
        samples: how many pairs of series to draw.
        mean_block: mean length of a block in days.
        coverage: share of the drawn differences between the two ends.

    Returns:
        name → {value, low, high, better}: the difference, its range, and the share of the drawn
        pairs in which the first is better (a fall better when it is less deep), ties as half;
        empty with fewer than 30 days or different lengths. A figure that one of both does not
        have, has no difference.
    """
    if len(returns) < 30 or len(returns) != len(others):
        return {}
    rows = stationary_rows(len(returns), samples, mean_block, np.random.default_rng(seed))
    tail, result = (1 - coverage) / 2, {}
    for name, figure in figures.items():
        value = _of(figure, returns) - _of(figure, others)
        if np.isnan(value):
            continue
        drawn = _of_draws(figure, returns[rows]) - _of_draws(figure, others[rows])
        low, high = np.quantile(drawn, [tail, 1 - tail])
        gain = -drawn if name == "max_drawdown" else drawn
        better = float(np.mean(gain > 0) + np.mean(gain == 0) / 2)
        result[name] = {"value": value, "low": float(low), "high": float(high), "better": better}
    return result


def sharpe_of(returns: npt.NDArray[np.float64]) -> FloatArray:
    """Annualised Sharpe ratio of each row of daily returns; NaN where nothing moved."""
    spread = returns.std(axis=-1, ddof=1)
    flat = spread < 1e-12
    ratio: FloatArray = np.where(flat, np.nan, returns.mean(axis=-1) / np.where(flat, 1.0, spread))
    scaled: FloatArray = ratio * np.sqrt(365.0)
    return scaled


def total_return_of(returns: npt.NDArray[np.float64]) -> FloatArray:
    """Return over the whole row, as a fraction."""
    whole: FloatArray = np.prod(1 + returns, axis=-1) - 1
    return whole


def max_drawdown_of(returns: npt.NDArray[np.float64]) -> FloatArray:
    """Deepest fall of each row, as a fraction ≥ 0."""
    worth = np.cumprod(1 + returns, axis=-1)
    peak = np.maximum(np.maximum.accumulate(worth, axis=-1), 1.0)
    fall: FloatArray = (1 - worth / peak).max(axis=-1)
    return fall


FIGURES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "sharpe": sharpe_of,
    "total_return": total_return_of,
    "max_drawdown": max_drawdown_of,
}
"""What a report shows a range for."""
