"""How likely it is that the best of several variants was only the luckiest."""

from __future__ import annotations

import itertools
import math

import numpy as np

from trader.domain.candles import FloatArray


def probability_of_overfitting(returns: FloatArray, parts: int = 10) -> float:
    """Share of splits in which the variant best in one half is not above the median in the other.

    Combinatorially symmetric cross-validation: the days are cut into `parts` blocks, and every
    choice of half of them is one split. Near 0.5 choosing the best is worth nothing. Variants
    that are equal share the middle one of their ranks: at the median for being equal counts half,
    and of several that are best each counts its part.

    Args:
        returns: daily returns, shape (days, variants).
        parts: an even number of blocks.

    Returns:
        A probability; NaN with fewer than two variants, with fewer than four days for each
        block, and where all variants are the same.

    Source: Bailey, Borwein, López de Prado & Zhu (2017), The Probability of Backtest
    Overfitting.
    """
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

    def unknown(self) -> str:
        """Why there is no probability, in words; empty if there is one."""
        least = 4 * self._parts
        if len(self._total) < 2:
            return "a single variant was not chosen among any"
        if len(self._days) > 1:
            return "the variants do not have the same days"
        if min(self._days) < least:
            return f"{min(self._days)} days are too few to be split, {least} are needed"
        if all(self._same_as_first(variant) for variant in range(1, len(self._total))):
            return "all variants came to the same on every day: there was nothing to choose"
        return ""

    def _same_as_first(self, variant: int) -> bool:
        return all(np.array_equal(sums[0], sums[variant]) for sums in (self._total, self._squares))

    def probability(self) -> float:
        """As `probability_of_overfitting`; NaN too where the days of the variants differ."""
        if self.unknown():
            return math.nan
        parts = self._parts
        days = np.arange(min(self._days))
        count = np.array([len(b) for b in np.array_split(days, parts)], dtype=np.float64)
        total, squares = np.array(self._total).T, np.array(self._squares).T
        worse = 0.0
        splits = list(itertools.combinations(range(parts), parts // 2))
        for chosen in splits:
            inside = np.isin(np.arange(parts), chosen)
            ours = _sharpes(count[inside], total[inside], squares[inside])
            theirs = _sharpes(count[~inside], total[~inside], squares[~inside])
            best = np.flatnonzero(ours == ours.max()).tolist()
            worse += sum(_not_above_median(theirs, variant) for variant in best) / len(best)
        return float(worse / len(splits))


def _not_above_median(ratios: FloatArray, variant: int) -> float:
    """1 if the variant's rank among all is not above the median, 0.5 if equals put it there."""
    below = int((ratios < ratios[variant]).sum())
    equal = int((ratios == ratios[variant]).sum())
    twice_rank, twice_middle = 2 * below + equal + 1, len(ratios) + 1
    if twice_rank == twice_middle and equal > 1:
        return 0.5
    return float(twice_rank <= twice_middle)


def _sharpes(count: FloatArray, total: FloatArray, squares: FloatArray) -> FloatArray:
    n = count.sum()
    mean = total.sum(axis=0) / n
    variance = np.maximum(squares.sum(axis=0) / n - mean**2, 0.0)
    spread = np.sqrt(variance)
    ratio: FloatArray = np.where(spread > 1e-12, mean / np.where(spread > 0, spread, 1), 0.0)
    return ratio
