"""What a run was worth: every figure defined once, for backtest, monitor and dashboard. Pure.

Returns are simple returns of whole UTC days; a year has 365 of them, for this market never
closes. Ratios are annualised with √365 unless their name says daily. A figure that cannot be
computed (no days, no swings, no trades) is NaN, never a zero that looks like a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from statistics import NormalDist
from typing import Any, Protocol

import numpy as np

from trader.domain.candles import FloatArray, IntArray

DAY = 86400
DAYS_PER_YEAR = 365
EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()


class Closed(Protocol):
    """What the figures want to know of a closed trade."""

    @property
    def profit_quote(self) -> Decimal | float:
        """After fees."""
        ...


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of one run; fractions are fractions (0.1 is 10 %).

    Attributes:
        max_drawdown: largest fall from a peak, ≥ 0.
        hit_rate: share of closed trades that earned money.
        profit_factor: gains / losses of closed trades; infinite without a loss.
        exposure: mean share of equity in positions.
        turnover: bought and sold value a year, in mean equities.
        psr: probability that the true Sharpe ratio is above 0.
        dsr: probability that it is above what the best of all trials gets by luck.
    """

    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    trades: int
    hit_rate: float
    profit_factor: float
    exposure: float
    turnover: float
    fees_quote: float
    psr: float
    dsr: float

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures by name; None where there is no finite number."""
        plain: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value if math.isfinite(value) else None for name, value in plain.items()}


def measure(
    times: IntArray,
    equity: FloatArray,
    start_equity: float,
    *,
    invested: FloatArray | None = None,
    trades: Sequence[Closed] = (),
    traded_quote: float = 0.0,
    fees_quote: float = 0.0,
    trials: int = 1,
    returns: FloatArray | None = None,
    began: int | None = None,
) -> Metrics:
    """All figures of a run.

    Args:
        times: Unix seconds of the marks, rising.
        equity: the account's worth at each mark, quote, shape of `times`.
        start_equity: what it began with, quote.
        invested: share of equity in positions at each mark; None counts as nothing.
        trades: closed trades.
        traded_quote: value of all fills, both sides.
        fees_quote: all fees paid.
        trials: how many variants were tried to get here, this one included.
        returns: the run's `daily_returns`, if they are known already.
        began: as for `daily_returns`.
    """
    if returns is None:
        returns = daily_returns(times, equity, start_equity, began)
    last = float(equity[-1]) if len(equity) else start_equity
    years = len(returns) / DAYS_PER_YEAR
    yearly = cagr(start_equity, last, years)
    depth = max_drawdown(np.concatenate([[start_equity], equity]))
    luck = expected_best_sharpe(trials, 1.0 / max(len(returns), 1))
    moments = _moments(returns)
    return Metrics(
        total_return=float(last / start_equity - 1) if start_equity > 0 else math.nan,
        cagr=yearly,
        volatility=volatility(returns),
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        calmar=yearly / depth if depth > 0 else math.nan,
        max_drawdown=depth,
        trades=len(trades),
        hit_rate=hit_rate(trades),
        profit_factor=profit_factor(trades),
        exposure=float(invested.mean()) if invested is not None and len(invested) else 0.0,
        turnover=turnover(traded_quote, equity, years),
        fees_quote=fees_quote,
        psr=_above(moments, 0.0),
        dsr=_above(moments, luck),
    )


def first_day(times: IntArray, began: int | None = None) -> int:
    """The UTC day on which a run begins, in days since 1970: that of its start, or of a mark.

    A mark at midnight ends the day before.
    """
    return (int(times[0]) - 1 if began is None else began) // DAY


def daily_returns(
    times: IntArray, equity: FloatArray, start_equity: float, began: int | None = None
) -> FloatArray:
    """Simple returns of the UTC days from the run's first to the last mark's, one each.

    A mark at midnight ends the day before. A day without a mark returned nothing; the first day
    counts from the start equity, the last is whole or not.

    Args:
        times: Unix seconds of the marks, rising.
        equity: the account's worth at each of them.
        start_equity: what it began with.
        began: Unix seconds of the moment at which it had that; the first mark may be days later.
            None takes the day of the first mark.
    """
    if not len(times):
        return np.empty(0)
    last = int(times[-1] - 1) // DAY
    midnights = np.arange(first_day(times, began) + 1, last + 2) * DAY
    known = np.concatenate([[start_equity], np.asarray(equity, dtype=np.float64)])
    ends = np.searchsorted(times, midnights, side="right")
    worth = np.concatenate([[start_equity], known[ends]])
    before = np.where(worth[:-1] > 0, worth[:-1], np.nan)
    result: FloatArray = np.nan_to_num(worth[1:] / before - 1, nan=0.0)
    return result


def cagr(start: float, end: float, years: float) -> float:
    """Growth a year, compounded: (end / start)^(1 / years) − 1; −1 when all is lost."""
    if start <= 0 or years <= 0:
        return math.nan
    if end <= 0:
        return -1.0
    exponent = math.log(end / start) / years
    return math.expm1(exponent) if exponent < 700 else math.inf


def volatility(returns: FloatArray) -> float:
    """Standard deviation of daily returns (n − 1), annualised."""
    if len(returns) < 2:
        return math.nan
    return float(np.std(returns, ddof=1)) * math.sqrt(DAYS_PER_YEAR)


def daily_sharpe(returns: FloatArray) -> float:
    """Mean over standard deviation (n − 1) of daily returns, not annualised; cash earns nothing.

    Source: Sharpe (1994), The Sharpe Ratio.
    """
    if len(returns) < 2:
        return math.nan
    spread = float(np.std(returns, ddof=1))
    # Equal returns differ by rounding only: that is no risk, and the ratio has no meaning.
    if spread <= 1e-14 * max(1.0, float(np.abs(returns).max())):
        return math.nan
    return float(np.mean(returns)) / spread


def sharpe(returns: FloatArray) -> float:
    """`daily_sharpe` × √365."""
    return daily_sharpe(returns) * math.sqrt(DAYS_PER_YEAR)


def sortino(returns: FloatArray) -> float:
    """Mean daily return over its downside deviation, × √365.

    The downside deviation is √(mean of min(r, 0)²) over *all* days, target 0; dividing by the
    losing days only, as some tools do, gives smaller figures.

    Source: Sortino & van der Meer (1991), Downside Risk.
    """
    if not len(returns):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    if downside == 0:
        return math.nan
    return float(np.mean(returns)) / downside * math.sqrt(DAYS_PER_YEAR)


def drawdowns(equity: FloatArray) -> FloatArray:
    """How far below its peak so far the account is at each mark, a fraction ≥ 0."""
    peak = np.maximum.accumulate(equity)
    if len(peak) and peak[0] > 0 and not math.isnan(peak[-1]):
        return np.asarray(1 - equity / peak)
    result: FloatArray = 1 - equity / np.where(peak > 0, peak, np.nan)
    return np.nan_to_num(result, nan=0.0)


def max_drawdown(equity: FloatArray) -> float:
    """The deepest of `drawdowns`; 0 for an account that never fell."""
    return float(drawdowns(equity).max()) if len(equity) else 0.0


def hit_rate(trades: Sequence[Closed]) -> float:
    """Share of closed trades that earned money after fees."""
    if not trades:
        return math.nan
    return sum(t.profit_quote > 0 for t in trades) / len(trades)


def profit_factor(trades: Sequence[Closed]) -> float:
    """Sum of gains over sum of losses, after fees; infinite without a loss."""
    gains = float(sum(t.profit_quote for t in trades if t.profit_quote > 0))
    losses = -float(sum(t.profit_quote for t in trades if t.profit_quote < 0))
    if losses == 0:
        return math.inf if gains > 0 else math.nan
    return gains / losses


def break_even_hit_rate(trades: Sequence[Closed]) -> float:
    """Share of trades that must earn money for the account to keep its worth, after all costs.

    loss / (gain + loss), with the mean gain and the mean loss of the closed trades as they were
    paid, fees and slippage included; NaN without a winner or without a loser.
    """
    gains = [float(t.profit_quote) for t in trades if t.profit_quote > 0]
    losses = [-float(t.profit_quote) for t in trades if t.profit_quote <= 0]
    if not gains or not losses:
        return math.nan
    gain, loss = sum(gains) / len(gains), sum(losses) / len(losses)
    return loss / (gain + loss)


def turnover(traded_quote: float, equity: FloatArray, years: float) -> float:
    """Value bought and sold a year over mean equity: in and out once a year is 2."""
    mean = float(equity.mean()) if len(equity) else 0.0
    return traded_quote / mean / years if mean > 0 and years > 0 else math.nan


def probabilistic_sharpe(returns: FloatArray, benchmark: float = 0.0) -> float:
    """Probability that the true daily Sharpe ratio is above a benchmark.

    The moments are those of the daily returns; see `probability_above` for the formula.

    Args:
        returns: daily returns.
        benchmark: SR*, a *daily* Sharpe ratio.
    """
    return _above(_moments(returns), benchmark)


def _moments(returns: FloatArray) -> tuple[float, int, float, float]:
    """Daily Sharpe ratio, days, skew and kurtosis; the ratio is NaN where there is none."""
    ratio = daily_sharpe(returns)
    if math.isnan(ratio):
        return ratio, len(returns), math.nan, math.nan
    centred = returns - returns.mean()
    square = centred * centred
    second = float(square.mean())
    skew = float((square * centred).mean()) / second**1.5
    return ratio, len(returns), skew, float((square * square).mean()) / second**2


def _above(moments: tuple[float, int, float, float], benchmark: float) -> float:
    ratio, count, skew, kurtosis = moments
    if math.isnan(ratio):
        return math.nan
    return probability_above(ratio, benchmark, count, skew, kurtosis)


def probability_above(
    ratio: float, benchmark: float, count: int, skew: float, kurtosis: float
) -> float:
    """PSR = Φ((SR − SR*) √(T − 1) / √(1 − skew · SR + (kurtosis − 1) / 4 · SR²)).

    Args:
        ratio: SR, the Sharpe ratio found, of one period (not annualised).
        benchmark: SR*, in the same unit.
        count: T, periods.
        skew: third standardised moment of the returns.
        kurtosis: fourth one; 3 for the normal distribution.

    Returns:
        A probability; NaN where the moments allow no variance.

    Source: Bailey & López de Prado (2012), The Sharpe Ratio Efficient Frontier.
    """
    variance = 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2
    if variance <= 0 or count < 2:
        return math.nan
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(count - 1) / math.sqrt(variance))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio the best of so many trials gets by luck alone, in the unit of √variance.

    √V · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ Euler's constant; 0 for a single trial.

    Source: Bailey & López de Prado (2014), The Deflated Sharpe Ratio.
    """
    if trials < 2 or not variance > 0:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER_GAMMA) * first + EULER_GAMMA * second)


def deflated_sharpe(returns: FloatArray, trials: int, variance: float | None = None) -> float:
    """`probabilistic_sharpe` against what the best of all trials gets by luck.

    Args:
        returns: daily returns of the run that was chosen.
        trials: variants tried, the chosen one among them; with one this is the plain
            probability.
        variance: of the *daily* Sharpe ratios of the trials. None takes that of ratios without
            any skill, 1 / days. The one seen among the trials, which the source takes, is too
            small where they are alike and counts the winner's own skill as luck where they are
            few.

    Source: Bailey & López de Prado (2014), The Deflated Sharpe Ratio.
    """
    spread = 1.0 / max(len(returns), 1) if variance is None else variance
    return probabilistic_sharpe(returns, expected_best_sharpe(trials, spread))
