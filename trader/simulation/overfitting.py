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
    sums = BlockSums(parts)
    for column in returns.T:
        sums.add(column)
    return sums.probability()


class BlockSums:
    """What the probability of overfitting needs of each variant: sums of a few blocks of days.

    So thousands of variants can be judged without holding their returns.

    Args:
        parts: an even number of blocks.
    """

    def __init__(self, parts: int = 10) -> None:
        self._parts = parts
        self._days: set[int] = set()
        self._total: list[FloatArray] = []
        self._squares: list[FloatArray] = []

    def add(self, returns: FloatArray) -> None:
        """One variant's daily returns; all variants must have the same days."""
        self._days.add(len(returns))
        blocks = np.array_split(returns, self._parts)
        self._total.append(np.array([block.sum() for block in blocks]))
        self._squares.append(np.array([(block**2).sum() for block in blocks]))

    def probability(self) -> float:
        """As `probability_of_overfitting`; NaN too where the days of the variants differ."""
        parts, variants = self._parts, len(self._total)
        if variants < 2 or len(self._days) > 1 or min(self._days) < 4 * parts:
            return math.nan
        days = np.arange(min(self._days))
        count = np.array([len(b) for b in np.array_split(days, parts)], dtype=np.float64)
        total, squares = np.array(self._total).T, np.array(self._squares).T
        worse = 0
        splits = list(itertools.combinations(range(parts), parts // 2))
        for chosen in splits:
            inside = np.isin(np.arange(parts), chosen)
            ours = _sharpes(count[inside], total[inside], squares[inside])
            theirs = _sharpes(count[~inside], total[~inside], squares[~inside])
            rank = (theirs < theirs[int(np.argmax(ours))]).sum() + 1
            worse += rank / (variants + 1) <= 0.5
        return float(worse / len(splits))


def _sharpes(count: FloatArray, total: FloatArray, squares: FloatArray) -> FloatArray:
    n = count.sum()
    mean = total.sum(axis=0) / n
    variance = np.maximum(squares.sum(axis=0) / n - mean**2, 0.0)
    spread = np.sqrt(variance)
    ratio: FloatArray = np.where(spread > 1e-12, mean / np.where(spread > 0, spread, 1), 0.0)
    return ratio
