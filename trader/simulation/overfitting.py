"""How likely it is that the best of several variants was only the luckiest."""

from __future__ import annotations

import itertools
import math

import numpy as np

from trader.domain.candles import FloatArray


def probability_of_overfitting(returns: FloatArray, parts: int = 10) -> float:
    """Share of splits in which the variant best in one half is below the median in the other.

    Combinatorially symmetric cross-validation: the days are cut into `parts` blocks, and every
    choice of half of them is one split. Near 0.5 choosing the best is worth nothing.

    Args:
        returns: daily returns, shape (days, variants).
        parts: an even number of blocks.

    Returns:
        A probability, NaN with fewer than two variants or fewer than four days for each block.

    Source: Bailey, Borwein, López de Prado & Zhu (2017), The Probability of Backtest
    Overfitting.
    """
    days, variants = returns.shape
    if variants < 2 or days < 4 * parts:
        return math.nan
    blocks = np.array_split(np.arange(days), parts)
    # Sums per block make each of the many splits a few additions.
    count = np.array([len(block) for block in blocks], dtype=np.float64)
    total = np.array([returns[block].sum(axis=0) for block in blocks])
    squares = np.array([(returns[block] ** 2).sum(axis=0) for block in blocks])
    worse = 0
    splits = list(itertools.combinations(range(parts), parts // 2))
    for chosen in splits:
        inside = np.isin(np.arange(parts), chosen)
        ours = _sharpes(count[inside], total[inside], squares[inside])
        theirs = _sharpes(count[~inside], total[~inside], squares[~inside])
        rank = (theirs < theirs[int(np.argmax(ours))]).sum() + 1
        worse += rank / (variants + 1) <= 0.5
    return worse / len(splits)


def _sharpes(count: FloatArray, total: FloatArray, squares: FloatArray) -> FloatArray:
    n = count.sum()
    mean = total.sum(axis=0) / n
    variance = np.maximum(squares.sum(axis=0) / n - mean**2, 0.0)
    spread = np.sqrt(variance)
    ratio: FloatArray = np.where(spread > 1e-12, mean / np.where(spread > 0, spread, 1), 0.0)
    return ratio
