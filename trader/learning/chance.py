"""How large a calibration error (ECE) chance alone makes of perfectly true probabilities.

Forecasts of a day made each hour share 23 of their 24 hours with their neighbours, and pairs move
alike: their outcomes come together, and the error of a bin averages out more slowly than that of
as many separate forecasts, but faster than if only every 24th were there. Here all rows count,
with the dependence they have:

- the outcome of a row is whether a normal variable falls below the quantile of its probability;
  two rows of a pair whose outcomes lie k of h candles apart have variables that correlate by
  1 − k / h, the share of candles they have in common; two pairs' by ρ times that;
- ρ is what the errors of pairs at the same moment show;
- the errors of the bins are then sums of many dependent zeros and ones: normal, with covariances
  summed over all pairs of rows. What is drawn are those ten errors, not the outcomes.

In worlds where the probabilities are true, 5 to 6 of 100 exceed the band so found.

Sources: Gaussian copula with the overlap's correlation, Hansen & Hodrick (1980) for the overlap;
Sheppard (1899) for zeros and ones cut from normal variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from trader.domain.candles import FloatArray, IntArray

_ROUNDS = 4000
_ANGLES = (np.arange(64) + 0.5) / 64
_SMALL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where predictions lie in time, so that it is known which of their outcomes come together.

    Attributes:
        candle: number of the candle each was made on; equal numbers are the same moment.
        pair: number of its pair, from 0.
        span: candles until an outcome is known.
    """

    candle: IntArray
    pair: IntArray
    span: int

    @classmethod
    def in_a_row(cls, count: int, overlap: int) -> Places:
        """Of one market, one prediction a candle, so many neighbours sharing candles."""
        return cls(np.arange(count), np.zeros(count, dtype=np.int64), max(overlap, 1))

    def where(self, mask: np.typing.NDArray[np.bool_]) -> Places:
        """The predictions of the mask."""
        return Places(self.candle[mask], self.pair[mask], self.span)


def luck_in_bins(
    probabilities: FloatArray, up: FloatArray, bins: IntArray, places: Places, seed: int
) -> float:
    """95th percentile of the sum over bins of |outcomes − probabilities|, per prediction.

    Args:
        probabilities: taken to be true, in (0, 1).
        up: outcomes, 0 or 1; only how alike the pairs' errors are is taken from them.
        bins: number of each prediction's bin, from 0.
        places: where the predictions lie in time.
        seed: of the draws.
    """
    spread = np.sqrt(probabilities * (1 - probabilities))
    mean = float(np.clip(probabilities.mean(), _SMALL, 1 - _SMALL))
    alike = _alike((up - probabilities) / spread, places, mean)
    shared = 1 - np.arange(places.span) / places.span
    together = _covariance(
        spread, bins, places, _agreement(shared, mean), _agreement(alike * shared, mean)
    )
    sizes, axes = np.linalg.eigh(together)
    drawn = np.random.default_rng(seed).standard_normal((_ROUNDS, len(sizes)))
    errors = drawn @ (axes * np.sqrt(np.maximum(sizes, 0.0))).T
    return float(np.quantile(np.abs(errors).sum(axis=1), 0.95) / len(up))


def _agreement(correlation: FloatArray, mean: float) -> FloatArray:
    """Correlation of two outcomes of equal probability, cut from normal variables that correlate.

    At one half that is 2/π · arcsin ρ. Source: the integral of the bivariate normal density over
    its correlation, Plackett (1954).

    >>> _agreement(np.array([0.0, 0.5, 1.0]), 0.5).round(3).tolist()
    [0.0, 0.333, 1.0]
    """
    cut = NormalDist().inv_cdf(mean)
    angle = np.arcsin(np.clip(correlation, 0.0, 1.0))
    height = np.exp(-(cut**2) / (1 + np.sin(angle[:, None] * _ANGLES))).mean(axis=1)
    return np.asarray(height * angle / (2 * np.pi) / (mean * (1 - mean)))


def _alike(errors: FloatArray, places: Places, mean: float) -> float:
    """The correlation of the pairs' variables at the same moment, in [0, 1]."""
    moment = places.candle - places.candle.min()
    count = np.bincount(moment).astype(np.float64)
    met = float((count * (count - 1)).sum())
    if met == 0:
        return 0.0
    total, squares = np.bincount(moment, errors), np.bincount(moment, errors**2)
    found = float((total**2 - squares).sum() / met / np.mean(errors**2))
    grid = np.linspace(0.0, 1.0, 201)
    return float(np.interp(found, _agreement(grid, mean), grid))


def _covariance(
    spread: FloatArray, bins: IntArray, places: Places, own: FloatArray, across: FloatArray
) -> FloatArray:
    """Covariance of the bins' summed errors.

    Args:
        spread: standard deviation of each outcome.
        bins: of each prediction.
        places: where the predictions lie in time.
        own: correlation of outcomes of one pair by their distance in candles, from 0.
        across: the same of two pairs.
    """
    moment = places.candle - places.candle.min()
    rows, count = int(moment.max()) + 1, int(bins.max()) + 1
    size = _fast_length(rows + places.span)
    total, found = np.zeros((count, rows)), np.zeros((count, count))
    for pair in np.unique(places.pair):
        mine = places.pair == pair
        flat = np.bincount(bins[mine] * rows + moment[mine], spread[mine], count * rows)
        table = np.asarray(flat.reshape(count, rows), dtype=np.float64)
        total += table
        found += _lagged(table, own - across, size)
    return found + _lagged(total, across, size)


def _lagged(table: FloatArray, weights: FloatArray, size: int) -> FloatArray:
    """Σ over rows i, j of weights[|i − j|] · table[a, i] · table[b, j], by Fourier transform."""
    ring = np.zeros(size)
    ring[: len(weights)] = weights
    ring[size - len(weights) + 1 :] += weights[1:][::-1]
    power = np.fft.rfft(ring).real / size
    power[1 : size // 2] *= 2  # the mirrored half of the spectrum
    waves = np.fft.rfft(table, size, axis=1)
    return np.asarray(((waves * power) @ waves.conj().T).real)


def _fast_length(least: int) -> int:
    """An even length at which the transform is quick, little longer than the least.

    >>> _fast_length(35_088)
    36864
    """
    power = 1 << max(4, (least - 1).bit_length())
    return next(n for n in (power * 9 // 16, power * 5 // 8, power * 3 // 4, power) if n >= least)
