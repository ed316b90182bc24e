"""May this model trade real money? The verdict and its reasons.

Refusing is a success of the program: most strategies do not beat their yardsticks after costs,
and the evidence of a few years seldom proves those that do. Every condition is checked and every
failed one is named with what was found, what was wanted, and what it would take.

The test, all of it out of sample and after costs:

1. two years of days and thirty closed trades at least;
2. the Sharpe ratio, deflated for every variant that was tried, is above luck with 95 %;
3. the strategy earns more than buy-and-hold of the same volatility in 90 % of bootstrap worlds,
   and is not shown to earn less than the trend rule it is built on (90 % interval of the
   difference of their Sharpe ratios not below zero);
4. the forecasts have skill (90 % interval of the log-loss skill above zero), tell rises from
   falls (AUC above what guessing reaches with 95 %) and are calibrated (expected calibration error
   at most one point above the band that true probabilities stay in with 95 %);
5. nothing looks ahead, and nothing is too good to be true.

In a training, 1 to 3 are of the trend rule and the models' own entries, walked on closes by the
forecasts of the longest horizon, and 4 is of that horizon; what shorter ones do, such as choosing
the moment of an order, is not in the evidence, and is said with the verdict. A backtest judges the
very account it traded, with all of that.

How often it errs on worlds with known truth: `python -m campaigns.licence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from trader.bootstrap import sharpe_of, stationary_rows
from trader.domain.candles import FloatArray, IntArray
from trader.learning.evaluation import Scores
from trader.performance import (
    daily_sharpe,
    deflated_sharpe,
    expected_best_sharpe,
    probability_above,
    sharpe,
)

LEAST_DAYS = 730
LEAST_TRADES = 30
WANTED_DSR = 0.95
WANTED_LEAD = 0.90
TOLERATED_ECE = 0.01
"""Calibration error beyond what chance makes of true probabilities that is let pass.

The map to probabilities is itself learned from the outcomes of the past, and cannot be exact: in
worlds with a planted edge (`campaigns.licence`) true forecasters so calibrated lie up to one point
beyond the band, where one point decides no entry."""
TOO_GOOD_AUC = 0.65
TOO_GOOD_SHARPE = 4.0
DESIGN_TRIALS = 569
"""Variants tried on real candles before this design was chosen: 412 of rules and models, 24 of
forecasts and their calibration (docs/decisions/0103), 39 of sizes, stops and limits (0140), 2 of
the forecasts over 24 hours."""
DESIGN_DATA_END = datetime(2023, 1, 1, tzinfo=UTC)
_LONGEST_DAYS = 36_500
_ROUNDS = 500
_ROUNDING = 1e-12
_MEAN_BLOCK_DAYS = 20


@dataclass(frozen=True, slots=True)
class Licence:
    """The verdict: granted, the reasons in plain words, and what a refused one would need.

    `notes` say what the models change and what was not tested; they decide nothing.
    """

    granted: bool
    reasons: tuple[str, ...]
    needed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a licence is judged on: all of it out of sample and after costs.

    Attributes:
        strategy, trend, hold: simple returns of the same UTC days of the strategy with its
            models, of the plain trend rule and of equal-weight buy-and-hold.
        trades: closed trades of the strategy.
        trials: strategies and settings that were tried to get here, this one included.
        scores: of the main horizon's probabilities; None without a calibrated model.
        leaks: features found to change with the future.
    """

    strategy: FloatArray
    trend: FloatArray
    hold: FloatArray
    trades: int
    trials: int
    scores: Scores | None
    leaks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fault:
    """A condition that is not met: what was found and wanted, and what it would take."""

    reason: str
    needed: str


def judge(evidence: Evidence, *, seed: int = 0) -> Licence:
    """The verdict on the evidence; deterministic."""
    if evidence.scores is None or len(evidence.strategy) == 0:
        return Licence(
            False, ("too little history to test the model out of sample",),
            (f"history for {LEAST_DAYS} days of tested forecasts, beside what training needs",),
        )  # fmt: skip
    faults = [
        *_amount(evidence), *_returns(evidence, seed),
        *_forecasts(evidence.scores, len(evidence.strategy)), *_suspicions(evidence),
    ]  # fmt: skip
    if faults:
        needed = dict.fromkeys(fault.needed for fault in faults)
        reasons = tuple(fault.reason for fault in faults)
        return Licence(False, reasons, tuple(needed), (_difference(evidence, seed),))
    years = len(evidence.strategy) / 365
    return Licence(
        True,
        (
            f"{years:.1f} years out of sample after costs: Sharpe "
            f"{sharpe(evidence.strategy):.2f}, buy-and-hold {sharpe(evidence.hold):.2f}; "
            f"holds after {evidence.trials} counted trials",
        ),
        notes=(_difference(evidence, seed),),
    )


def _difference(evidence: Evidence, seed: int) -> str:
    """What the models change of the trend rule alone, in words."""
    alone = f"the trend rule alone: Sharpe {sharpe(evidence.trend):.2f}"
    if np.array_equal(evidence.strategy, evidence.trend):
        return f"{alone}; the models changed nothing of it in the test, the returns are its own"
    gap, low, high = lead_interval(evidence.strategy, evidence.trend, seed=seed)
    return f"{alone}; the models change it by {gap:+.2f} ({low:+.2f} to {high:+.2f})"


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
    return sharpe(ours) - sharpe(theirs), float(low), float(high)


@lru_cache(maxsize=2)
def _drawn(days: int, seed: int) -> IntArray:
    """Row numbers of the bootstrap worlds: rounds × days."""
    rows = stationary_rows(days, _ROUNDS, _MEAN_BLOCK_DAYS, np.random.default_rng(seed))
    rows.setflags(write=False)
    return rows


def _amount(evidence: Evidence) -> list[_Fault]:
    days, found = len(evidence.strategy), []
    if days < LEAST_DAYS:
        found.append(
            _Fault(
                f"{days} days out of sample, {LEAST_DAYS} are needed",
                f"{LEAST_DAYS - days} more days out of sample",
            )
        )
    if evidence.trades < LEAST_TRADES:
        more = LEAST_TRADES - evidence.trades
        pace = (
            f", {days * more / evidence.trades:,.0f} days at this pace" if evidence.trades else ""
        )
        found.append(
            _Fault(
                f"{evidence.trades} trades out of sample, {LEAST_TRADES} are needed",
                f"{more} more closed trade{'s' if more > 1 else ''}{pace}",
            )
        )
    return found


def _returns(evidence: Evidence, seed: int) -> list[_Fault]:
    found = []
    dsr = deflated_sharpe(evidence.strategy, evidence.trials)
    if not dsr >= WANTED_DSR:
        found.append(
            _Fault(
                f"Sharpe {sharpe(evidence.strategy):.2f} after costs: deflated for "
                f"{evidence.trials} trials it is above luck with {dsr:.0%}, {WANTED_DSR:.0%} is "
                "needed",
                _more_days_for_luck(evidence),
            )
        )
    lead = chance_of_lead(evidence.strategy, evidence.hold, seed=seed)
    if lead < WANTED_LEAD:
        found.append(
            _Fault(
                f"it beats buy-and-hold of the same volatility with {lead:.0%}, "
                f"{WANTED_LEAD:.0%} is needed",
                _more_days_for_lead(lead, len(evidence.strategy)),
            )
        )
    gap, low, high = lead_interval(evidence.strategy, evidence.trend, seed=seed)
    if high < 0:
        found.append(
            _Fault(
                f"the models cost the trend rule {-gap:.2f} of Sharpe ({low:.2f} to {high:.2f})",
                "models that cost the trend rule nothing",
            )
        )
    return found


def _more_days_for_luck(evidence: Evidence) -> str:
    """Days at the present Sharpe ratio after which it would be above luck, in words."""
    days = len(evidence.strategy)
    ratio = sharpe(evidence.strategy)
    wanted = days_to_prove(evidence)
    if wanted is None:
        return f"a Sharpe ratio well above zero after costs (it is {ratio:.2f}); time alone is not"
    return f"{wanted - days:,} more days at this Sharpe ratio ({wanted / 365:.1f} years in all)"


def days_to_prove(evidence: Evidence) -> int | None:
    """Days of the same daily returns that would pass the deflated Sharpe ratio.

    The same mean, spread, skew and kurtosis, the same trials; None if `_LONGEST_DAYS` are not
    enough.
    """
    returns = evidence.strategy
    ratio = daily_sharpe(returns)
    if not ratio > 0:
        return None
    centred = returns - returns.mean()
    second = float(np.mean(centred**2))
    skew = float(np.mean(centred**3)) / second**1.5
    kurtosis = float(np.mean(centred**4)) / second**2

    def passes(days: int) -> bool:
        luck = expected_best_sharpe(evidence.trials, 1 / days)
        return probability_above(ratio, luck, days, skew, kurtosis) >= WANTED_DSR

    grid = np.unique(np.geomspace(len(returns), _LONGEST_DAYS, 2000).astype(int)).tolist()
    return next((days for days in grid if passes(days)), None)


def _more_days_for_lead(lead: float, days: int) -> str:
    """From the share of bootstrap worlds: the lead in standard errors grows with √days."""
    if lead <= 0.5:
        return "a lead over buy-and-hold of the same volatility: there is none yet"
    now = NormalDist().inv_cdf(lead)
    wanted = days * (NormalDist().inv_cdf(WANTED_LEAD) / now) ** 2
    if wanted > _LONGEST_DAYS:
        return "a larger lead over buy-and-hold of the same volatility"
    return f"about {wanted - days:,.0f} more days of the same lead over buy-and-hold"


def _forecasts(scores: Scores, days: int) -> list[_Fault]:
    found = []
    if scores.skill_low <= 0:
        found.append(
            _Fault(
                f"log-loss skill {scores.log_loss_skill:+.2%} ({scores.skill_low:+.2%} to "
                f"{scores.skill_high:+.2%}): its interval must lie above zero",
                _more_days_for_skill(scores, days),
            )
        )
    if not scores.auc_low > 0.5:
        luck = scores.auc - scores.auc_low
        found.append(
            _Fault(
                f"AUC {scores.auc:.3f}: guesses reach {0.5 + luck:.3f} in 5 of 100 such samples",
                "forecasts that give rises a higher chance than falls",
            )
        )
    if scores.ece > scores.ece_noise_95 + TOLERATED_ECE:
        found.append(
            _Fault(
                f"calibration error {scores.ece:.3f} is above what chance explains "
                f"({scores.ece_noise_95:.3f}) by more than {TOLERATED_ECE:g}",
                "probabilities that come true as often as they say",
            )
        )
    return found


def _more_days_for_skill(scores: Scores, days: int) -> str:
    """The lower half of the interval shrinks with √days."""
    skill, half = scores.log_loss_skill, scores.log_loss_skill - scores.skill_low
    if skill <= 0 or days * (half / skill) ** 2 > _LONGEST_DAYS:
        return "forecasts that beat the base rate"
    return f"about {days * ((half / skill) ** 2 - 1) + 1:,.0f} more days of the same skill"


def _suspicions(evidence: Evidence) -> list[_Fault]:
    found = []
    remedy = "an explanation: run `python run_trader.py features check` and look for the future"
    if evidence.leaks:
        named = ", ".join(evidence.leaks[:3])
        found.append(_Fault(f"{len(evidence.leaks)} features see the future ({named})", remedy))
    if evidence.scores is not None and evidence.scores.auc > TOO_GOOD_AUC:
        found.append(
            _Fault(
                f"AUC {evidence.scores.auc:.3f} is too good to be true: look for a leak of the "
                "future",
                remedy,
            )
        )
    if sharpe(evidence.strategy) > TOO_GOOD_SHARPE:
        found.append(
            _Fault(
                f"Sharpe {sharpe(evidence.strategy):.1f} is too good to be true: look for a leak "
                "of the future",
                remedy,
            )
        )
    return found
