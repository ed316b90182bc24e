"""The training domain: what a model has seen, and how far a row lies outside of it.

A model that is asked about a market unlike any it learned from answers as if it had seen one. A
row's strangeness is the share of its features beyond the range that nearly all training rows had;
above a limit set by the training rows themselves the model abstains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trader.domain.candles import FloatArray
from trader.learning.features import Matrix

_QUANTILES = (0.001, 0.999)
_STRANGE_QUANTILE = 0.995
_LEAST_LIMIT = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Ranges of the features, and how much may lie outside.

    Attributes:
        low, high: range of each feature in the training rows, their outermost thousandth cut off.
        limit: share of features outside their range above which a row is strange.
    """

    low: Matrix
    high: Matrix
    limit: float

    def strangeness(self, rows: Matrix) -> FloatArray:
        """Share of known features outside their training range, one a row."""
        known = np.isfinite(rows)
        outside = (rows < self.low) | (rows > self.high)
        return np.asarray((outside & known).sum(axis=1) / np.maximum(known.sum(axis=1), 1))

    def holds(self, rows: Matrix) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which rows are of the kind that was learned from."""
        return np.asarray(self.strangeness(rows) <= self.limit)


def domain_of(sample: Matrix) -> Domain:
    """The domain of training rows: twice what all but one in two hundred of them show."""
    low, high = np.nanquantile(sample, _QUANTILES, axis=0).astype(np.float32)
    inside = Domain(low, high, 1.0)
    usual = float(np.quantile(inside.strangeness(sample), _STRANGE_QUANTILE))
    return Domain(low, high, max(_LEAST_LIMIT, 2 * usual))
