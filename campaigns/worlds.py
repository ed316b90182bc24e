"""Made-up markets in which the truth about a strategy is known: what its forecasts are worth.

A hidden signal with a half-life of two days moves the drift of the market a little; forecasters
see it through their own raw, over-confident votes. What is made up ends there. From the votes on
everything is the program's own: prequential calibration, expected returns, entries that must beat
the costs, weights by volatility, costs on every change, scores, yardsticks, and the licence.

The strength of the signal decides what the strategy truly earns after costs. `EDGES` holds the
strengths and the yearly Sharpe ratios that they were measured to give over thousands of years.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.learning.calibration import FEWEST, fit_platt, fit_returns, logistic
from trader.learning.evaluation import Scores, score
from trader.learning.licence import Evidence, trials_behind
from trader.learning.papertrade import allowed, core_targets, daily, sleeve_state, walk
from trader.learning.settings import LearningSettings
from trader.learning.trend import Trend, trend_of
from trader.performance import daily_sharpe

FOUR_HOURS = Timeframe.parse("4h")
HORIZON = 6
"""Candles a forecast looks ahead: one day."""
PER_YEAR = 2190
LEAD_YEARS = 1
STRATEGIES = 5
"""Strategies tried in each world; the best of them is put up for the licence."""

_HALF_LIFE = 12.0
_YEARLY_VOLATILITY = 0.70
_OVERCONFIDENCE = 1.7
_VOTE_SPREAD = 0.22
_BEGIN = int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
SETTINGS = LearningSettings(round_trip_cost=0.009, confidence_threshold=0.5)
"""Entry-tier maker fees and slippage: 45 bp a side."""
MARGIN = 0.5
"""Entries need this much of a round trip as expected return: less than is wise, so that there are
trades to judge also where they earn nothing."""

BARREN = 0.0
EDGES = ((0.018, 0.0), (0.08, 1.31), (0.0905, 1.5), (0.12, 2.0))
"""(strength of the signal, yearly Sharpe ratio after costs that it truly gives)."""


def strengths_for(sharpe: float, *, barren: bool = False) -> tuple[float, ...]:
    """Strengths of the signals of a world: one truly earns that Sharpe ratio, the others nothing.

    Args:
        sharpe: yearly, after costs.
        barren: no signal says anything at all.
    """
    if barren:
        return (BARREN,) * STRATEGIES
    strengths, ratios = zip(*EDGES, strict=True)
    planted = float(np.interp(sharpe, ratios, strengths))
    return (planted, *((strengths[0],) * (STRATEGIES - 1)))


@dataclass(frozen=True, slots=True)
class World:
    """One market and the forecasts made on it.

    Attributes:
        candles: the market.
        votes: raw votes, one row a strategy.
        truth: the true chance of a rise over the next day, as far as the signals know it.
        drift: of the market itself, as a yearly Sharpe ratio of holding.
    """

    candles: Candles
    votes: FloatArray
    truth: FloatArray
    drift: float


def world(seed: int, years: int, strengths: tuple[float, ...], drift: float = 0.0) -> World:
    """A market in which each strategy's signal has the strength given.

    Args:
        seed: makes it repeatable.
        years: after the first, in which the calibration begins.
        strengths: of each strategy's signal: the part of a candle's volatility that one standard
            deviation of it adds to the drift.
        drift: yearly Sharpe ratio of holding the market.
    """
    rng = np.random.default_rng([seed, 41])
    rows = (years + LEAD_YEARS) * PER_YEAR + HORIZON + 2
    keep = 0.5 ** (1 / _HALF_LIFE)
    signals = np.stack([_autoregressive(rng, rows, keep) for _ in strengths])
    sigma = (
        _YEARLY_VOLATILITY
        / np.sqrt(PER_YEAR)
        * np.exp(0.3 * _autoregressive(rng, rows, 0.5 ** (1 / 180)) - 0.045)
    )
    push = np.asarray(strengths) @ signals
    noise = rng.standard_t(5, rows) / np.sqrt(5 / 3)
    returns = np.zeros(rows)
    returns[1:] = sigma[1:] * (push[:-1] + noise[1:] + drift / np.sqrt(PER_YEAR))
    # The next day's mean as the signals know it, in units of its volatility.
    ahead = (1 - keep**HORIZON) / (1 - keep) / np.sqrt(HORIZON)
    truth = _normal_cdf(push * ahead + drift * np.sqrt(HORIZON / PER_YEAR))
    own = signals * _VOTE_SPREAD + 0.05 * rng.standard_normal(signals.shape)
    return World(_candles(returns, sigma, rng), logistic(_OVERCONFIDENCE * own), truth, drift)


def _autoregressive(rng: np.random.Generator, rows: int, keep: float) -> FloatArray:
    from scipy.signal import lfilter

    noise = rng.standard_normal(rows + 500) * np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise)[500:])


def _normal_cdf(x: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))


def _candles(returns: FloatArray, sigma: FloatArray, rng: np.random.Generator) -> Candles:
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    reach = sigma * np.abs(rng.standard_normal((2, len(close)))) * 0.5
    high = np.maximum(opened, close) * (1 + reach[0])
    low = np.minimum(opened, close) * np.exp(-reach[1])
    times = _BEGIN + np.arange(len(close), dtype=np.int64) * FOUR_HOURS.seconds
    ones = np.ones(len(close))
    return Candles(
        FOUR_HOURS, times, opened, high, low, close, ones, ones.astype(np.int64), checked=True
    )


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Calibrated on what was known at each year's beginning; NaN in the lead."""

    chance: FloatArray
    expected: FloatArray
    up: FloatArray
    base: FloatArray


def forecasts(of: World, strategy: int, volatility: FloatArray) -> Forecasts:
    """The program's own prequential calibration of one strategy's votes, refit each half-year."""
    candles, votes = of.candles, of.votes[strategy]
    rows = len(votes)
    gained = np.full(rows, np.nan)
    gained[: rows - HORIZON - 1] = (
        candles.close[HORIZON : rows - 1] / candles.open[1 : rows - HORIZON] - 1
    )
    up = (gained > 0).astype(np.float64)
    over = volatility * np.sqrt(HORIZON / PER_YEAR)
    chance, expected = np.full(rows, np.nan), np.full(rows, np.nan)
    base = np.full(rows, 0.5)
    start = LEAD_YEARS * PER_YEAR
    for begin in range(start, rows, PER_YEAR // 2):
        known = slice(max(FEWEST // 4, begin - 4 * PER_YEAR), begin - 2 * HORIZON)
        rate = float(up[: begin - 2 * HORIZON].mean())
        weights = np.full(known.stop - known.start, 1 / HORIZON)
        bases = np.full(len(weights), rate)
        platt = fit_platt(votes[known], bases, up[known], weights)
        scaled = np.clip(np.log1p(gained[known]) / over[known], -4, 4)
        returns = fit_returns(votes[known], bases, np.nan_to_num(scaled), weights)
        now = slice(begin, min(begin + PER_YEAR // 2, rows))
        base[now] = rate
        chance[now] = platt(votes[now], rate)
        expected[now] = returns(votes[now], rate, over[now])
    return Forecasts(chance, expected, up, base)


@dataclass(frozen=True, slots=True)
class Walked:
    """One strategy's way through a world: daily returns after costs, and its forecasts."""

    returns: FloatArray
    trades: int
    made: Forecasts


def walked(of: World, strategy: int, trend: Trend) -> Walked:
    """Enter where the forecast beats the costs, leave where it turns negative."""
    made = forecasts(of, strategy, np.nan_to_num(trend.volatility, nan=_YEARLY_VOLATILITY))
    cost = SETTINGS.round_trip_cost
    state = sleeve_state(
        np.nan_to_num(made.expected), np.nan_to_num(made.chance, nan=0.5), MARGIN * cost,
        SETTINGS.confidence_threshold, 42,
    )  # fmt: skip
    weight = np.nan_to_num(allowed(trend.volatility, SETTINGS.volatility_target)) * state
    gone = walk(weight, of.candles, cost / 2, SETTINGS.rebalance_band)
    return Walked(_days(gone.returns, of.candles), gone.trades, made)


def evidence_of(of: World) -> tuple[Evidence, float]:
    """What is put before the judge: the best of all strategies tried.

    Returns:
        The evidence, and the yearly Sharpe ratio that the first strategy came to, put up or not.
    """
    trend = trend_of(of.candles)
    tried = [walked(of, number, trend) for number in range(len(of.votes))]
    sharpes = [float(np.nan_to_num(daily_sharpe(w.returns))) for w in tried]
    best = int(np.argmax(sharpes))
    core = core_targets(trend, of.candles, None, None, SETTINGS.volatility_target)
    side = (SETTINGS.round_trip_cost / 2, SETTINGS.rebalance_band)
    rule = _days(walk(core, of.candles, *side).returns, of.candles)
    hold = _days(walk(np.ones(len(core)), of.candles, *side).returns, of.candles)
    begin = datetime.fromtimestamp(_BEGIN, UTC)
    return Evidence(
        tried[best].returns, rule, hold, tried[best].trades,
        trials_behind("simulated", begin, len(tried)), _scores(tried[best].made),
    ), sharpes[0] * float(np.sqrt(365))  # fmt: skip


def _scores(made: Forecasts) -> Scores:
    known = np.isfinite(made.chance)
    known[-HORIZON - 1 :] = False
    return score(made.chance[known], made.up[known], made.base[known], overlap=HORIZON)


def _days(returns: FloatArray, candles: Candles) -> FloatArray:
    lead = candles.opened_at[0] // 86400 + LEAD_YEARS * 365
    return np.array([r for day, r in daily(returns, candles).items() if day >= lead])


def leaning_candles(seed: int, pull: float, rows: int = 2600) -> Candles:
    """Four-hour candles whose next move takes back a part of the last one.

    The chance of a rise over the next candle is known: Φ(−pull · last move / σ).

    Args:
        seed: makes it repeatable.
        pull: the part, in [0, 1); 0 for a market that cannot be forecast.
        rows: how many candles.
    """
    rng = np.random.default_rng([seed, 7])
    noise = rng.normal(0, 0.01, rows)
    returns = np.empty(rows)
    last = 0.0
    for row in range(rows):
        last = returns[row] = -pull * last + noise[row]
    return _candles(returns, np.full(rows, 0.01), rng)


def short_settings() -> LearningSettings:
    """Settings under which a short history is walked through in seconds."""
    return LearningSettings(refit_days=60, least_days=90, rows_per_fit=900)
