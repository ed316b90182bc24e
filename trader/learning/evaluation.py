"""How good are forecasts? Scores of probabilities against outcomes, with their noise.

All scores are of out-of-sample predictions. The yardstick is the base rate known at the time of
each prediction: a model has skill only if it beats that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import FloatArray, IntArray
from trader.learning.chance import Places, luck_in_bins

BINS = 10
_BLOCK_OVERLAPS = 6
_SMALL = 1e-6
_ONE_IN_TWENTY = NormalDist().inv_cdf(0.95)


def _average_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, equal values sharing their mean rank (SciPy's takes a second to import).

    >>> _average_ranks(np.array([0.2, 0.1, 0.2])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return ranks


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one horizon's predictions.

    Attributes:
        n: predictions.
        effective_n: predictions that do not overlap.
        base_rate: share of rises.
        auc: chance that a rise was given a higher probability than a fall; 0.5 is guessing.
        brier: mean squared error of the probability.
        brier_skill: 1 − brier / brier of the base rate.
        log_loss_skill: 1 − log loss / log loss of the base rate.
        skill_low, skill_high: 90 % interval of the log-loss skill, bootstrapped in blocks.
        ece: expected calibration error, 10 equal bins (Guo et al. 2017).
        ece_noise_95: the ECE that perfect probabilities would show in 95 of 100 such samples.
    """

    n: int
    effective_n: int
    base_rate: float
    auc: float
    brier: float
    brier_skill: float
    log_loss_skill: float
    skill_low: float
    skill_high: float
    ece: float
    ece_noise_95: float

    @property
    def auc_low(self) -> float:
        """The AUC less what guessing reaches in 5 of 100 such samples.

        Above 0.5 the forecasts tell rises from falls. The log-loss skill alone does not show it:
        a level nearer to the truth than the base rate known at the time earns skill as well.

        1.645 standard deviations of the statistic of guesses, √((n + 1) / 12 n₁ n₀), of
        predictions that do not overlap.

        Source: Mann & Whitney (1947), On a Test of Whether one of Two Random Variables is
        Stochastically Larger than the Other.
        """
        rises = self.effective_n * self.base_rate
        falls = self.effective_n - rises
        if rises <= 0 or falls <= 0:
            return float("nan")
        error = math.sqrt((self.effective_n + 1) / (12 * rises * falls))
        return self.auc - _ONE_IN_TWENTY * error

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def score(
    probabilities: FloatArray,
    up: FloatArray,
    base_rates: FloatArray,
    *,
    overlap: int = 1,
    seed: int = 0,
    places: Places | None = None,
) -> Scores:
    """Score predictions in their order of time.

    Args:
        probabilities: calibrated, of a rise.
        up: outcomes, 0 or 1.
        base_rates: the base rate known at each prediction.
        overlap: predictions whose outcomes share candles (horizon / candle × pairs); blocks of
            this many neighbours count as one piece of evidence.
        seed: of the bootstrap and the noise band.
        places: where they lie in time; without, they are taken for one market's, one a candle.
    """
    p = np.clip(probabilities, _SMALL, 1 - _SMALL)
    base = np.clip(base_rates, _SMALL, 1 - _SMALL)
    ours, theirs = _log_loss(p, up), _log_loss(base, up)
    low, high = _skill_interval(ours, theirs, overlap, seed)
    brier, brier_base = np.mean((p - up) ** 2), np.mean((base - up) ** 2)
    return Scores(
        n=len(up),
        effective_n=max(1, len(up) // max(overlap, 1)),
        base_rate=float(up.mean()),
        auc=auc(p, up),
        brier=float(brier),
        brier_skill=float(1 - brier / brier_base),
        log_loss_skill=float(1 - ours.mean() / theirs.mean()),
        skill_low=low,
        skill_high=high,
        ece=ece(p, up),
        ece_noise_95=ece_noise(p, up, places or Places.in_a_row(len(up), overlap), seed),
    )


def auc(probabilities: FloatArray, up: FloatArray) -> float:
    """Area under the ROC curve, ties counting half; NaN if only one outcome occurs."""
    rises = float(up.sum())
    falls = len(up) - rises
    if rises == 0 or falls == 0:
        return float("nan")
    ranks = _average_ranks(probabilities)
    return float((ranks[up > 0.5].sum() - rises * (rises + 1) / 2) / (rises * falls))


def ece(probabilities: FloatArray, up: FloatArray) -> float:
    """Expected calibration error in 10 equally filled bins."""
    gaps = np.bincount(_bins(probabilities), probabilities - up)
    return float(np.abs(gaps).sum() / len(up))


def ece_noise(probabilities: FloatArray, up: FloatArray, places: Places, seed: int) -> float:
    """95th percentile of the ECE if the probabilities were exactly true; see `chance`."""
    if len(up) < BINS:
        return 1.0
    return luck_in_bins(probabilities, up, _bins(probabilities), places, seed)


def _bins(probabilities: FloatArray) -> IntArray:
    """The number of each prediction's bin: 10 equally filled ones, the lowest first."""
    bins = np.empty(len(probabilities), dtype=np.int64)
    order = np.argsort(probabilities, kind="stable")
    for number, part in enumerate(np.array_split(order, BINS)):
        bins[part] = number
    return bins


@dataclass(frozen=True, slots=True)
class Part:
    """How good the predictions of a part of the test were: a year, or a state of the market.

    Attributes:
        name: of the part.
        n: predictions in it.
        auc: NaN if only one outcome occurs.
        log_loss_skill: against the base rate known at the time.
        predicted, observed: mean probability and share of rises: equal if it is reliable there.
        ece, ece_noise_95: as in `Scores`.
    """

    name: str
    n: int
    auc: float
    log_loss_skill: float
    predicted: float
    observed: float
    ece: float
    ece_noise_95: float


LEAST_IN_PART = 200
"""Predictions below which a part is not judged."""


def part_of(
    name: str,
    probabilities: FloatArray,
    up: FloatArray,
    base_rates: FloatArray,
    *,
    overlap: int = 1,
    seed: int = 0,
    places: Places | None = None,
) -> Part | None:
    """Score a part of the predictions; None if they are too few. Arguments as in `score`."""
    if len(up) < LEAST_IN_PART:
        return None
    p = np.clip(probabilities, _SMALL, 1 - _SMALL)
    base = np.clip(base_rates, _SMALL, 1 - _SMALL)
    skill = 1 - _log_loss(p, up).mean() / _log_loss(base, up).mean()
    return Part(
        name, len(up), auc(p, up), float(skill), float(p.mean()), float(up.mean()), ece(p, up),
        ece_noise(p, up, places or Places.in_a_row(len(up), overlap), seed),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions of similar probability and how often they came true."""

    predicted: float
    observed: float
    count: int


def reliability(probabilities: FloatArray, up: FloatArray) -> tuple[ReliabilityBin, ...]:
    """The curve behind the ECE: 10 equally filled bins, lowest first."""
    order = np.argsort(probabilities, kind="stable")
    return tuple(
        ReliabilityBin(float(probabilities[part].mean()), float(up[part].mean()), len(part))
        for part in np.array_split(order, BINS)
        if len(part)
    )


def _log_loss(p: FloatArray, up: FloatArray) -> FloatArray:
    return np.asarray(-np.where(up > 0.5, np.log(p), np.log(1 - p)))


def _skill_interval(
    ours: FloatArray, theirs: FloatArray, overlap: int, seed: int
) -> tuple[float, float]:
    """90 % interval of the skill, resampling blocks six times as long as the overlap.

    Shorter blocks cut what hangs together: of twice the overlap, the interval held the truth in
    85 of 100 worlds. Few blocks spread less among themselves than the truth does around them: it
    is widened by √(k / (k − 1)) and by Student's quantile over the normal one.
    """
    block = min(max(1, _BLOCK_OVERLAPS * overlap, len(ours) // 1000), max(1, len(ours) // 8))
    starts = np.arange(0, len(ours), block)
    mine, base = np.add.reduceat(ours, starts), np.add.reduceat(theirs, starts)
    rng = np.random.default_rng(seed)
    picks: npt.NDArray[np.int64] = rng.integers(0, len(starts), (500, len(starts)))
    skills = 1 - mine[picks].sum(axis=1) / base[picks].sum(axis=1)
    freedom = max(1, len(starts) - 1)
    wider = math.sqrt(1 + 1 / freedom) * student_95(freedom) / _ONE_IN_TWENTY
    found = 1 - ours.sum() / theirs.sum()
    low, high = found + (np.quantile(skills, [0.05, 0.95]) - found) * wider
    return float(low), float(high)


def student_95(freedom: int) -> float:
    """95 % quantile of Student's t, to 0.01 from 14 degrees of freedom on (1.761 there).

    Source: Abramowitz & Stegun (1964), 26.7.5, first correction of the normal quantile.

    >>> round(student_95(14), 3)
    1.754
    """
    z = _ONE_IN_TWENTY
    return z + (z**3 + z) / (4 * freedom)
