"""Do the features still look like those the model learned from?

Each feature's training values are cut into tenths. Live values fall into the same tenths in the
same shares while the market is like the past; the population stability index says how far they
do not: Σ (live − trained) · ln(live / trained). Slow features never fill all tenths in a month,
so the yardstick is not a fixed number but what months of the training span themselves showed.

Source: Siddiqi (2006), Credit Risk Scorecards, chapter 6, for the index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray

TENTHS = 10
UNKNOWN = "-"
WINDOW_DAYS = 30
_FLOOR = 0.005
_SIGNS = np.frombuffer(b"0123456789", dtype=np.uint8)
Rows = npt.NDArray[np.float32]
Tenths = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class DriftReference:
    """The training values of each feature, in tenths.

    Attributes:
        edges: 9 × features, the values between the tenths.
        shares: 10 × features, how much of the training rows each tenth holds (a feature with few
            different values fills them unevenly).
        usual: mean drift of all features in each month of the training span, ascending.
    """

    edges: Rows
    shares: FloatArray
    usual: FloatArray

    def tenths(self, rows: Rows) -> Tenths:
        """0 … 9 for each value, −1 where it is not known: rows × features."""
        found = np.zeros(rows.shape, dtype=np.int8)
        for edge in self.edges:
            found += rows > edge
        found[~np.isfinite(rows)] = -1
        return found

    def buckets(self, row: Rows) -> str:
        """One sign a feature, for the journal."""
        places = self.tenths(row[None, :])[0]
        signs = np.where(places < 0, ord(UNKNOWN), _SIGNS[np.maximum(places, 0)])
        return signs.astype(np.uint8).tobytes().decode("ascii")

    def indices(self, tenths: Tenths) -> FloatArray:
        """The stability index of each feature over some rows; NaN where none is known."""
        known = (tenths >= 0).sum(axis=0)
        live = np.stack([(tenths == k).sum(axis=0) for k in range(TENTHS)])
        found = np.maximum(live / np.maximum(known, 1), _FLOOR)
        trained = np.maximum(self.shares, _FLOOR)
        index = ((found - trained) * np.log(found / trained)).sum(axis=0)
        return np.where(known > 0, index, np.nan)

    @property
    def limit(self) -> float:
        """The highest mean drift of any month of the training span; infinite if there is none.

        If a live month is like any of the n months before it, it is above all of them with a
        chance of 1 in n + 1.
        """
        return float(self.usual[-1]) if len(self.usual) else float("inf")


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far the features of the last month are from those of the training.

    Attributes:
        rows: candles looked at.
        mean: mean stability index of all features.
        limit: the highest of any month of the training span.
        furthest: the features that moved most, with their index, furthest first.
    """

    rows: int
    mean: float
    limit: float
    furthest: tuple[tuple[str, float], ...]

    @property
    def unusual(self) -> bool:
        """No month of the training span was that far from the whole."""
        return self.mean > self.limit

    def in_words(self) -> str:
        """For people: how far, how far is usual, and which features moved most."""
        names = ", ".join(name for name, _ in self.furthest[:3])
        far = f"drift of the features over {WINDOW_DAYS} days {self.mean:.2f}"
        return f"{far}, in no month of the training above {self.limit:.2f}; most moved: {names}"


def reference_of(sample: Rows, months: Iterable[Rows] = ()) -> DriftReference:
    """The reference of a fit.

    Args:
        sample: the rows it learned from.
        months: the rows of each month of the training span, all pairs together.
    """
    with np.errstate(invalid="ignore"):
        edges = np.nanquantile(sample, np.arange(1, TENTHS) / TENTHS, axis=0)
    bare = DriftReference(
        edges.astype(np.float32), np.full((TENTHS, sample.shape[1]), 1 / TENTHS), np.empty(0)
    )
    places = bare.tenths(sample)
    known = np.maximum((places >= 0).sum(axis=0), 1)
    shares = np.stack([(places == k).sum(axis=0) for k in range(TENTHS)]) / known
    trained = DriftReference(bare.edges, shares, np.empty(0))
    usual = [float(np.nanmean(trained.indices(trained.tenths(rows)))) for rows in months]
    return DriftReference(bare.edges, shares, np.sort(np.array(usual)))


def drift_of(
    buckets: Sequence[str], reference: DriftReference, names: Sequence[str], shown: int = 8
) -> FeatureDrift | None:
    """The drift of some rows as journalled; None if there are none of this model's shape."""
    width = reference.edges.shape[1]
    fitting = [text for text in buckets if len(text) == width]
    if not fitting:
        return None
    signs = np.frombuffer("".join(fitting).encode("ascii"), dtype=np.uint8).reshape(-1, width)
    tenths = np.where(signs == ord(UNKNOWN), -1, signs.astype(np.int16) - ord("0"))
    index = reference.indices(tenths.astype(np.int8))
    order = np.argsort(-np.nan_to_num(index), kind="stable")[:shown]
    furthest = tuple((names[i], float(index[i])) for i in order)
    return FeatureDrift(len(fitting), float(np.nanmean(index)), reference.limit, furthest)
