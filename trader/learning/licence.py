"""May this model trade real money? The verdict and its reasons.

Refusing is a success of the program: most strategies do not beat their yardsticks after costs,
and the evidence of a few years seldom proves those that do. Every condition is checked and every
failed one is named with what was found and what was wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from trader.bootstrap import sharpe_of, stationary_rows
from trader.domain.candles import FloatArray, IntArray
from trader.learning.evaluation import Scores
from trader.performance import daily_sharpe, deflated_sharpe

LEAST_DAYS = 730
LEAST_TRADES = 30
WANTED_DSR = 0.95
WANTED_LEAD = 0.90
TOO_GOOD_AUC = 0.65
TOO_GOOD_SHARPE = 4.0
DESIGN_TRIALS = 412
"""Variants that were tried on real candles before this design was chosen."""
DESIGN_DATA_END = datetime(2023, 1, 1, tzinfo=UTC)
_ROUNDS = 500
_ROUNDING = 1e-12
_MEAN_BLOCK_DAYS = 20


@dataclass(frozen=True, slots=True)
class Licence:
    """The verdict: granted, and the reasons in plain words."""

    granted: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a licence is judged on: all of it out of sample and after costs.

    Attributes:
        strategy, trend, hold: simple returns of the same UTC days of the strategy with its
            models, of the plain trend rule and of equal-weight buy-and-hold.
        trades: closed trades of the strategy.
        trials: strategies and settings that were tried to get here, this one included.
        scores: of the main horizon's probabilities; None without a calibrated model.
    """

    strategy: FloatArray
    trend: FloatArray
    hold: FloatArray
    trades: int
    trials: int
    scores: Scores | None


def judge(evidence: Evidence, *, seed: int = 0) -> Licence:
    """The verdict on the evidence; deterministic."""
    if evidence.scores is None or len(evidence.strategy) == 0:
        return Licence(False, ("too little history to test the model out of sample",))
    failed = [*_amount(evidence), *_returns(evidence, seed), *_forecasts(evidence.scores)]
    failed += _suspicions(evidence)
    if failed:
        return Licence(False, tuple(failed))
    years = len(evidence.strategy) / 365
    return Licence(
        True,
        (
            f"{years:.1f} years out of sample after costs: Sharpe "
            f"{_yearly(evidence.strategy):.2f}, buy-and-hold {_yearly(evidence.hold):.2f}; "
            f"holds after {evidence.trials} counted trials",
        ),
    )


def trials_behind(source: str, tested_from: datetime, recorded: int = 0) -> int:
    """How many variants luck had to choose from.

    The design itself was chosen among many on real candles up to the end of 2022; a test that
    reaches into that span inherits them. Made-up markets and later candles do not.

    Args:
        source: where the candles are from.
        tested_from: beginning of the test.
        recorded: variants in the trial ledger for this data.
    """
    return max(1, recorded) + inherited_trials(source, tested_from)


def inherited_trials(source: str, tested_from: datetime) -> int:
    """The part of `trials_behind` that lies in the design: tried before the user's first try."""
    inherited = tested_from < DESIGN_DATA_END and not source.startswith("simulated")
    return DESIGN_TRIALS if inherited else 0


def trials_in_words(total: int, inherited: int) -> str:
    """How many tries were counted, and whose they were.

    >>> trials_in_words(413, 412)
    '413 tries: 1 of yours on this data and 412 in which the built-in design was chosen on it'
    >>> trials_in_words(1, 0)
    '1 try of yours on this data'
    """
    own = total - inherited
    yours = f"{own:,} {'try' if own == 1 else 'tries'} of yours on this data"
    if not inherited:
        return yours
    return (
        f"{total:,} tries: {own:,} of yours on this data and {inherited:,} in which the "
        "built-in design was chosen on it"
    )


def chance_of_lead(ours: FloatArray, theirs: FloatArray, *, seed: int = 0) -> float:
    """Share of bootstrap worlds in which ours earns more a day than theirs.

    Theirs is first scaled to our volatility, so that a mere difference of size proves nothing.
    Paired stationary bootstrap, mean block 20 days. Source: Politis & Romano (1994).
    """
    spread = float(theirs.std())
    scaled = theirs * (float(ours.std()) / spread) if spread > 0 else theirs
    gap = ours - scaled
    means = gap[_drawn(len(gap), seed)].mean(axis=1)
    return float(np.mean(means > _ROUNDING))


def lead_interval(
    ours: FloatArray, theirs: FloatArray, *, seed: int = 0
) -> tuple[float, float, float]:
    """Difference of the yearly Sharpe ratios and its paired 90 % bootstrap interval."""
    rows = _drawn(len(ours), seed)
    drawn = sharpe_of(ours[rows]) - sharpe_of(theirs[rows])
    low, high = np.quantile(drawn, [0.05, 0.95])
    return _yearly(ours) - _yearly(theirs), float(low), float(high)


@lru_cache(maxsize=2)
def _drawn(days: int, seed: int) -> IntArray:
    """Row numbers of the bootstrap worlds: rounds × days."""
    rows = stationary_rows(days, _ROUNDS, _MEAN_BLOCK_DAYS, np.random.default_rng(seed))
    rows.setflags(write=False)
    return rows


def _amount(evidence: Evidence) -> list[str]:
    days, failed = len(evidence.strategy), []
    if days < LEAST_DAYS:
        failed.append(f"{days} days out of sample, {LEAST_DAYS} are needed")
    if evidence.trades < LEAST_TRADES:
        failed.append(f"{evidence.trades} trades out of sample, {LEAST_TRADES} are needed")
    return failed


def _returns(evidence: Evidence, seed: int) -> list[str]:
    failed = []
    dsr = deflated_sharpe(evidence.strategy, evidence.trials)
    if not dsr >= WANTED_DSR:
        failed.append(
            f"Sharpe {_yearly(evidence.strategy):.2f} after costs: deflated for "
            f"{evidence.trials} trials it is above luck with {dsr:.0%}, {WANTED_DSR:.0%} is needed"
        )
    lead = chance_of_lead(evidence.strategy, evidence.hold, seed=seed)
    if lead < WANTED_LEAD:
        failed.append(
            f"it beats buy-and-hold of the same volatility with {lead:.0%}, "
            f"{WANTED_LEAD:.0%} is needed"
        )
    gap, low, high = lead_interval(evidence.strategy, evidence.trend, seed=seed)
    if high < 0:
        failed.append(
            f"the models cost the trend rule {-gap:.2f} of Sharpe ({low:.2f} to {high:.2f})"
        )
    return failed


def _forecasts(scores: Scores) -> list[str]:
    failed = []
    if scores.skill_low <= 0:
        failed.append(
            f"log-loss skill {scores.log_loss_skill:+.2%} ({scores.skill_low:+.2%} to "
            f"{scores.skill_high:+.2%}): its interval must lie above zero"
        )
    if scores.ece > scores.ece_noise_95:
        failed.append(
            f"calibration error {scores.ece:.3f} is above what chance explains "
            f"({scores.ece_noise_95:.3f})"
        )
    return failed


def _suspicions(evidence: Evidence) -> list[str]:
    failed = []
    if evidence.scores is not None and evidence.scores.auc > TOO_GOOD_AUC:
        failed.append(
            f"AUC {evidence.scores.auc:.3f} is too good to be true: look for a leak of the future"
        )
    if _yearly(evidence.strategy) > TOO_GOOD_SHARPE:
        failed.append(
            f"Sharpe {_yearly(evidence.strategy):.1f} is too good to be true: look for a leak "
            "of the future"
        )
    return failed


def _yearly(returns: FloatArray) -> float:
    return float(daily_sharpe(returns) * np.sqrt(365))
