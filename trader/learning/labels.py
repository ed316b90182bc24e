"""Labels: what came of a candle, and when that was known.

`Labels` is a type of its own and refuses to become an array, so that an outcome cannot slip into
a feature matrix. Every row carries the moment from which its outcome was known; training takes
only rows whose outcome was known before the training, with an embargo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray
from trader.domain.errors import UsageError

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
TOLERATED_GAP = 6
"""Candles that may be absent at either end of a label; beyond that there is no label."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The outcome of each candle.

    Attributes:
        up: 1 where the outcome is what is predicted (a rise, a profit), else 0.
        returns: gross return from the next open to the end of the label, as a fraction.
        decided_at: when the row's features were known, Unix seconds.
        known_at: when the outcome was known, Unix seconds.
        valid: False where there is no outcome (yet).
        horizon_seconds: the longest time a label may take.
    """

    up: FloatArray
    returns: FloatArray
    decided_at: IntArray
    known_at: IntArray
    valid: BoolArray
    horizon_seconds: int

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("labels are outcomes: they cannot be used as features")

    def __len__(self) -> int:
        return len(self.up)

    def known_before(self, moment: int, embargo_seconds: int = 0) -> BoolArray:
        """Rows whose outcome was known an embargo before the moment (Unix seconds)."""
        return self.valid & (self.known_at + embargo_seconds <= moment)

    def uniqueness(self) -> FloatArray:
        """Weight of each row: the mean, over its life, of 1 / number of labels alive.

        Overlapping labels repeat each other; in a regular series of h-candle labels each weighs
        1/h. Rows without an outcome weigh 0. Source: López de Prado (2018), chapter 4.
        """
        weights = np.zeros(len(self))
        rows = np.flatnonzero(self.valid)
        if not len(rows):
            return weights
        moments = np.unique(np.concatenate([self.decided_at[rows], self.known_at[rows]]))
        begins = np.searchsorted(moments, self.decided_at[rows])
        ends = np.searchsorted(moments, self.known_at[rows])
        alive = np.zeros(len(moments))
        np.add.at(alive, begins, 1.0)
        np.add.at(alive, ends, -1.0)
        alive = np.cumsum(alive)
        spans = np.diff(moments, append=moments[-1])
        share = np.concatenate([[0.0], np.cumsum(spans / np.maximum(alive, 1.0))])
        life = moments[ends] - moments[begins]
        weights[rows] = (share[ends] - share[begins]) / np.maximum(life, 1)
        return weights


def horizon_labels(candles: Candles, hours: float, beyond: float = 0.0) -> Labels:
    """Does the price rise by more than `beyond` from the next open to `hours` after the close?

    Args:
        candles: closed candles.
        hours: the horizon; a whole number of candles.
        beyond: fraction that the return must exceed: 0 asks for the sign, the round-trip cost
            asks whether it would have paid.

    Raises:
        UsageError: if the horizon is no whole number of candles.
    """
    step = candles.timeframe.seconds
    horizon = round(hours * 3600)
    if horizon < step or horizon % step:
        raise UsageError(
            f"a horizon of {hours:g} h is no whole number of {step // 60} min candles"
        )
    opened, rows = candles.opened_at, len(candles)
    following = np.minimum(np.arange(rows) + 1, max(rows - 1, 0))
    decided = opened + step
    ends = np.searchsorted(decided, decided + horizon, side="right") - 1
    valid = (np.arange(rows) + 1 < rows) & (decided[-1:] >= decided + horizon)
    valid &= opened[following] - decided <= TOLERATED_GAP * step
    valid &= (decided + horizon) - decided[ends] <= TOLERATED_GAP * step
    valid &= ends > np.arange(rows)
    returns = candles.close[ends] / candles.open[following] - 1.0
    up = (returns > beyond).astype(np.float64)
    return Labels(up, returns, decided, decided + horizon, valid, horizon)


def gain_after(candles: Candles, decided_at: int, hours: float) -> float | None:
    """The `returns` of `horizon_labels` for one candle; None where it has no label.

    Args:
        candles: closed candles.
        decided_at: close of the candle, Unix seconds.
        hours: the horizon.
    """
    step, horizon = candles.timeframe.seconds, round(hours * 3600)
    row = int(np.searchsorted(candles.opened_at, decided_at - step))
    if row + 1 >= len(candles) or int(candles.opened_at[row]) != decided_at - step:
        return None
    end = int(np.searchsorted(candles.opened_at, decided_at + horizon - step, side="right")) - 1
    ended = int(candles.opened_at[end]) + step
    late = int(candles.opened_at[row + 1]) - decided_at
    known = int(candles.opened_at[-1]) + step >= decided_at + horizon
    early = decided_at + horizon - ended
    if not known or end <= row or max(late, early) > TOLERATED_GAP * step:
        return None
    return float(candles.close[end] / candles.open[row + 1] - 1.0)


def barrier_labels(candles: Candles, target: FloatArray, stop: FloatArray, longest: int) -> Labels:
    """Is the target reached before the stop, within so many candles?

    In a candle that touches both, the stop came first. A label that reaches neither ends at the
    close of the last candle and counts as up if it gained anything.

    Args:
        candles: closed candles.
        target: distance of the target above the entry, as a fraction, one a row, > 0.
        stop: distance of the stop below the entry, as a fraction, one a row, > 0.
        longest: candles after which the label ends.

    Source: triple barrier, López de Prado (2018), chapter 3.
    """
    rows = len(candles)
    step = candles.timeframe.seconds
    decided = candles.opened_at + step
    entry = np.append(candles.open[1:], np.nan)
    returns, known = np.full(rows, np.nan), decided + longest * step
    open_rows = np.isfinite(target) & np.isfinite(stop) & np.isfinite(entry)
    open_rows &= np.arange(rows) + longest < rows
    valid = open_rows.copy()
    for ahead in range(1, longest + 1):
        at = np.minimum(np.arange(rows) + ahead, rows - 1)
        stopped = open_rows & (candles.low[at] <= entry * (1 - stop))
        returns[stopped] = (np.minimum(candles.open[at] / entry - 1, -stop))[stopped]
        reached = open_rows & ~stopped & (candles.high[at] >= entry * (1 + target))
        returns[reached] = target[reached]
        ended = stopped | reached
        known[ended] = decided[at][ended]
        open_rows &= ~ended
    last = np.minimum(np.arange(rows) + longest, rows - 1)
    returns[open_rows] = (candles.close[last] / entry - 1)[open_rows]
    known[open_rows] = decided[last][open_rows]
    up = np.where(valid, returns > 0, False).astype(np.float64)
    return Labels(up, returns, decided, known, valid, longest * step)


def trend_labels(candles: Candles, spans: tuple[int, ...]) -> Labels:
    """Is the most significant straight line through the coming closes a rising one?

    For each row and each span the slope of log closes against time is tested; the span with the
    largest |t| decides. The slope begins at the row's own close, the return at the next open,
    where it could have been bought. Known when the longest span has passed: until then another
    span might still have won.

    Source: trend scanning, López de Prado (2019), "Advances in financial machine learning:
    lecture on labelling".
    """
    rows, step = len(candles), candles.timeframe.seconds
    decided = candles.opened_at + step
    log_close = np.log(candles.close)
    best = np.zeros(rows)
    longest = np.minimum(np.arange(rows) + max(spans), rows - 1)
    known = np.maximum(decided[longest], decided + max(spans) * step)
    returns = np.full(rows, np.nan)
    entry = np.append(candles.open[1:], np.nan)
    valid = np.arange(rows) + max(spans) < rows
    for span in spans:
        if rows <= span:
            continue
        t = _slope_t(log_close, span)
        better = valid & (np.abs(t) > np.abs(best))
        best[better] = t[better]
        at = np.minimum(np.arange(rows) + span, rows - 1)
        returns[better] = (candles.close[at] / entry - 1)[better]
    up = (best > 0).astype(np.float64)
    return Labels(up, returns, decided, known, valid, max(spans) * step)


def labels_of(
    kind: str, candles: Candles, hours: float, *, sigma: FloatArray, costs: float
) -> Labels:
    """The labels of one kind over one horizon.

    Args:
        kind: a name of `LABELS`.
        candles: closed candles.
        hours: the horizon, a whole number of candles.
        sigma: volatility per candle, one a row, for barriers.
        costs: of a round trip, as a fraction.

    Raises:
        UsageError: if there is no such kind, or the horizon is no whole number of candles.
    """
    if kind not in LABELS:
        near = get_close_matches(kind, LABELS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(LABELS)}."
        raise UsageError(f"label '{kind}' is not known", hint)
    return LABELS[kind](candles, hours, sigma, costs)


def _direction(candles: Candles, hours: float, _sigma: FloatArray, _costs: float) -> Labels:
    return horizon_labels(candles, hours)


def _beyond_costs(candles: Candles, hours: float, _sigma: FloatArray, costs: float) -> Labels:
    return horizon_labels(candles, hours, costs)


def _barriers(candles: Candles, hours: float, sigma: FloatArray, _costs: float) -> Labels:
    longest = _candles_in(candles, hours)
    distance = sigma * np.sqrt(longest)
    return barrier_labels(candles, distance, np.minimum(distance, 0.99), longest)


def _trend(candles: Candles, hours: float, _sigma: FloatArray, _costs: float) -> Labels:
    longest = max(LEAST_SPAN, _candles_in(candles, hours))
    spans = {max(LEAST_SPAN, longest // part) for part in (4, 2, 1)}
    return trend_labels(candles, tuple(sorted(spans)))


def _candles_in(candles: Candles, hours: float) -> int:
    return max(1, round(hours * 3600 / candles.timeframe.seconds))


LABELS: dict[str, Callable[[Candles, float, FloatArray, float], Labels]] = {
    "direction": _direction,
    "beyond-costs": _beyond_costs,
    "barriers": _barriers,
    "trend": _trend,
}
"""What may be predicted: the sign of the return, a return beyond the costs of a round trip, the
upper of two barriers one standard deviation away, the direction of the clearest trend."""

LEAST_SPAN = 3
"""Candles of the shortest trend whose slope can be tested."""


def _slope_t(values: FloatArray, span: int) -> FloatArray:
    """Student's t of the slope over each row and the `span` that follow it; 0 at the end."""
    windows = np.lib.stride_tricks.sliding_window_view(values, span + 1)
    time = np.arange(span + 1) - span / 2
    centred = windows - windows.mean(axis=1, keepdims=True)
    slope = centred @ time / (time @ time)
    residual = ((centred - slope[:, None] * time) ** 2).sum(axis=1) / max(span - 1, 1)
    error = np.sqrt(residual / (time @ time))
    t = np.divide(slope, error, out=np.zeros_like(slope), where=error > 0)
    return np.concatenate([t, np.zeros(span)])
