"""The strategies as weights over a whole history: quick evidence for the licence.

Decided at each close, held from the next open, costs on every change of weight. It leaves out
stops, lots and partial fills; the backtest has those. Its use is to compare strategies with each
other on the same candles and costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trader.domain.candles import Candles, FloatArray, IntArray
from trader.learning.trend import Trend
from trader.performance import daily_returns, first_day

ENTRY_MARGIN = 1.5
"""So many times the costs of a round trip must a forecast promise for an entry of its own."""
SLEEVE_HOURS = 168
"""How long the model's own entry lasts at most after it last promised as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """What holding the weights brought.

    Attributes:
        returns: one a candle, after costs, as a fraction of the pair's share.
        held: the weight held over each candle.
        outs: rows at whose close it went from in to out.
    """

    returns: FloatArray
    held: FloatArray
    outs: IntArray

    @property
    def trades(self) -> int:
        """How often it went from in to out."""
        return len(self.outs)


def core_targets(
    own: Trend, candles: Candles, leader: Trend | None, leading: Candles | None, target: float
) -> FloatArray:
    """The trend rule's weight at each close; 0 while warming up."""
    regime = own.strength
    if leader is not None and leading is not None and len(leading):
        at = np.searchsorted(leading.opened_at, candles.opened_at, side="right") - 1
        known = np.where(at >= 0, leader.strength[np.maximum(at, 0)], np.nan)
        regime = np.where(np.isnan(known), own.strength, known)
    return np.nan_to_num(own.strength * regime * allowed(own.volatility, target), nan=0.0)


def allowed(volatility: FloatArray, target: float) -> FloatArray:
    """The largest weight the volatility target allows; NaN while warming up."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(1.0, target / volatility))


def sleeve_state(
    expected: FloatArray, probability: FloatArray, needed: float, threshold: float, longest: int
) -> FloatArray:
    """1 while the model's own entry is on, else 0.

    Entered when the forecast beats `needed` with enough probability, left below zero or when the
    last crossing lies more than `longest` candles back.
    """
    state = np.zeros(len(expected))
    last = -(longest + 1)
    for row, (gain, chance) in enumerate(
        zip(expected.tolist(), probability.tolist(), strict=True)
    ):
        if gain > needed and chance >= threshold:
            last = row
        elif gain < 0:
            last = -(longest + 1)
        state[row] = 1.0 if row - last <= longest else 0.0
    return state


def walk(targets: FloatArray, candles: Candles, cost: float, band: float) -> Walked:
    """Hold the targets, moving only when they leave the band.

    Args:
        targets: wanted weight at each close, in [0, 1].
        candles: the candles they were decided on.
        cost: fraction lost on each unit of weight bought or sold.
        band: difference that is left alone; a target of 0 is always carried out.
    """
    held = np.zeros(len(targets))
    now = 0.0
    for row, wanted in enumerate(targets.tolist()):
        if abs(wanted - now) > band or (wanted == 0.0 and now > 0.0):
            now = wanted
        held[row] = now
    moves = np.diff(held, prepend=0.0)
    # Decided at the close of row i, in force from the open of row i + 1 to that of row i + 2.
    gains = np.zeros(len(targets))
    gains[:-2] = candles.open[2:] / candles.open[1:-1] - 1.0
    returns = np.concatenate([[0.0], (held * gains - np.abs(moves) * cost)[:-1]])
    outs = np.flatnonzero((held[1:] == 0.0) & (held[:-1] > 0.0)) + 1
    return Walked(returns, held, outs)


def daily(returns: FloatArray, candles: Candles) -> dict[int, float]:
    """UTC day number → simple return of that day, for every day from the first to the last.

    `performance.daily_returns` of the account: a candle's return falls on the day it closes (one
    that closes at midnight on the day before), and a day without a close returned nothing. With
    candles longer than a day most days are such, so that a year has 365 of them either way.

    Args:
        returns: of `walk`, one a candle.
        candles: those that were walked.
    """
    closed = candles.opened_at + candles.timeframe.seconds
    if not len(closed):
        return {}
    worth = np.asarray(np.cumprod(1.0 + np.maximum(returns, -0.99)), dtype=np.float64)
    first = first_day(closed)
    return dict(enumerate(daily_returns(closed, worth, 1.0).tolist(), first))
