"""From a member's vote to a probability one may believe, and on to an expected return.

Both maps are fitted on earlier out-of-sample predictions whose outcome is known, never on
training rows. Probability: Platt's logistic map on log-odds (Platt 1999). Expected return: a line
through the outcomes in units of volatility, most of its mean left out: means do not last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trader.domain.candles import FloatArray

FEWEST = 500
"""Out-of-sample predictions below which nothing is calibrated."""

PRIOR_ROWS = 200.0
EQUAL_ROWS = 300.0
"""With the force of so many rows the members of a vote are held to equal weights."""
MEAN_KEPT = 0.25
"""Share of a past mean that is believed: how often, or how far, prices rose hardly lasts."""
_EDGE = 1e-4


@dataclass(frozen=True, slots=True)
class Platt:
    """probability = logistic(slope × (logit vote − logit base) + level)."""

    slope: float
    level: float

    def __call__(self, votes: FloatArray, base_rate: FloatArray | float) -> FloatArray:
        """Calibrated probabilities of raw votes made with that base rate."""
        return logistic(self.slope * (logit(votes) - logit(np.asarray(base_rate))) + self.level)


@dataclass(frozen=True, slots=True)
class ReturnMap:
    """expected return = (mean + slope × (logit vote − logit base)) × volatility of the horizon."""

    mean: float
    slope: float

    def __call__(self, votes: FloatArray, base_rate: float, sigma: FloatArray) -> FloatArray:
        """Gross expected returns, as fractions; sigma is the horizon's volatility."""
        return np.asarray(
            (self.mean + self.slope * (logit(votes) - logit(np.array(base_rate)))) * sigma
        )


def logit(p: FloatArray) -> FloatArray:
    """Log-odds, away from certainty."""
    clipped = np.clip(p, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(clipped / (1 - clipped)))


def logistic(x: FloatArray) -> FloatArray:
    """The inverse of `logit`."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def fit_platt(
    votes: FloatArray,
    base_rates: FloatArray,
    up: FloatArray,
    weights: FloatArray,
    level_kept: float = MEAN_KEPT,
) -> Platt:
    """Fit the level, then a slope ≥ 0 by weighted, ridged Newton steps.

    Args:
        votes: raw out-of-sample votes.
        base_rates: the base rate each vote was made with.
        up: outcomes, 0 or 1.
        weights: effective weight of each row (overlapping outcomes weigh less).
        level_kept: share of the outcomes' log-odds that is believed: all of it where the label
            itself is lopsided (a profit beyond the costs is rarer than none).

    A vote counts as what it says beyond its own base rate. The level it is set against is a
    quarter of the log-odds of the outcomes seen: how often prices rose in one span says little
    about the next, and carried over whole it costs more rank and calibration than it brings. The
    ridge pulls the slope towards 0 with the force of `PRIOR_ROWS` rows: little evidence gives
    humble probabilities.
    """
    level = level_kept * float(logit(np.asarray(np.average(up, weights=weights))))
    x = logit(votes) - logit(base_rates)
    ridge = PRIOR_ROWS * 0.25 * max(float(np.average(x**2, weights=weights)), 1e-6)
    slope = 0.0
    for _ in range(25):
        p = logistic(slope * x + level)
        gradient = float((weights * x * (up - p)).sum()) - ridge * slope
        step = gradient / (float((weights * x**2 * p * (1 - p)).sum()) + ridge)
        slope += step
        if abs(step) < 1e-10:
            break
    return Platt(max(slope, 0.0), level)


def fit_weights(
    members: FloatArray,
    base_rates: FloatArray,
    up: FloatArray,
    weights: FloatArray,
    level_kept: float = MEAN_KEPT,
) -> FloatArray:
    """What each member's voice should count in the vote: at least 0, together 1.

    Stacking (Wolpert 1992; Breiman 1996, with slopes ≥ 0): the likelihood of what came of earlier
    out-of-sample votes, a slope for each member. A ridge pulls the slopes towards each other with
    the force of `EQUAL_ROWS` rows: little evidence leaves the voices equal.

    Args:
        members: raw out-of-sample votes, rows × members.
        base_rates: the base rate each row was voted on with.
        up: outcomes, 0 or 1.
        weights: effective weight of each row.
        level_kept: as in `fit_platt`.
    """
    from scipy.optimize import minimize

    count = members.shape[1]
    if count < 2:
        return np.ones(count)
    level = level_kept * float(logit(np.asarray(np.average(up, weights=weights))))
    base = logit(base_rates)
    columns = [logit(members[:, place]) - base for place in range(count)]
    ridge = (
        EQUAL_ROWS * 0.25 * float(np.mean([np.average(x**2, weights=weights) for x in columns]))
    )

    def loss(slopes: FloatArray) -> tuple[float, FloatArray]:
        # Sums in one fixed order: a matrix product's would depend on the number of threads.
        odds = level + sum(slope * x for slope, x in zip(slopes, columns, strict=True))
        missed = weights * (logistic(odds) - up)
        apart = slopes - slopes.mean()
        value = (weights * (np.logaddexp(0.0, odds) - up * odds)).sum()
        pull = np.array([(missed * x).sum() for x in columns]) + ridge * apart
        return float(value + 0.5 * ridge * (apart**2).sum()), pull

    found = minimize(
        loss, np.full(count, 1.0 / count), jac=True, method="L-BFGS-B", bounds=[(0, None)] * count
    )
    slopes = np.round(found.x, 4)
    return slopes / slopes.sum() if slopes.sum() > 0 else np.full(count, 1.0 / count)


def fit_returns(
    votes: FloatArray, base_rates: FloatArray, scaled: FloatArray, weights: FloatArray
) -> ReturnMap:
    """Least squares of outcomes in units of volatility on the vote's log-odds.

    Args:
        votes: raw out-of-sample votes.
        base_rates: the base rate each vote was made with.
        scaled: return / volatility of the horizon, clipped by the caller if wanted.
        weights: effective weight of each row.

    The slope is at least 0 and shrunk by its own uncertainty: slope × t² / (1 + t²).
    """
    x = logit(votes) - logit(base_rates)
    total = float(weights.sum())
    mean_x = float((weights * x).sum() / total)
    mean_y = float((weights * scaled).sum() / total)
    varied = float((weights * (x - mean_x) ** 2).sum())
    slope = float((weights * (x - mean_x) * (scaled - mean_y)).sum() / max(varied, 1e-12))
    residual = scaled - mean_y - slope * (x - mean_x)
    error = np.sqrt(float((weights * residual**2).sum()) / total / max(varied, 1e-12))
    t_squared = (slope / max(float(error), 1e-12)) ** 2
    slope = max(slope, 0.0) * t_squared / (1.0 + t_squared)
    return ReturnMap(MEAN_KEPT * (mean_y - slope * mean_x), slope)
