"""Crossings of two moving averages: the simplest trend strategies, as yardsticks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from trader.domain.candles import FloatArray
from trader.domain.memo import once
from trader.domain.signals import Signal
from trader.learning.trend import ewma
from trader.strategies.registry import Situation, strategy, towards, waiting

FAST = 20
SLOW = 50


@strategy("sma-cross", f"in while the mean of {FAST} closes is above the mean of {SLOW}")
def sma_cross(situation: Situation) -> Signal:
    """Simple moving averages, in candles."""
    return _cross(situation, "sma-cross", sma)


@strategy("ema-cross", f"in while the EMA of {FAST} closes is above the EMA of {SLOW}")
def ema_cross(situation: Situation) -> Signal:
    """Exponential moving averages, in candles."""
    return _cross(situation, "ema-cross", ema)


def _cross(
    situation: Situation, name: str, mean: Callable[[FloatArray, int], FloatArray]
) -> Signal:
    snapshot = situation.snapshot
    close = snapshot.analysis.candles.close
    both = once(snapshot.analysis, name, lambda: (mean(close, FAST), mean(close, SLOW)))
    fast, slow = float(both[0][snapshot.index]), float(both[1][snapshot.index])
    if math.isnan(slow):
        text = f"warming up: {snapshot.index + 1} of {SLOW} candles seen"
        return waiting(situation, text, name=name)
    side = "above" if fast > slow else "below"
    text = f"mean of {FAST} closes {fast:,.6g} is {side} the mean of {SLOW}, {slow:,.6g}"
    return towards(situation, 1.0 if fast > slow else 0.0, 1.0, (text,), name=name)


def sma(close: FloatArray, window: int) -> FloatArray:
    """Mean of the last `window` closes, NaN for the first ones.

    Added up in one fixed order, the oldest first, so that the compiled engine and a part of the
    history give the very same floats.
    """
    mean = np.full(len(close), np.nan)
    count = len(close) - window + 1
    if count > 0:
        total = np.zeros(count)
        for offset in range(window):
            total += close[offset : offset + count]
        mean[window - 1 :] = total / window
    return mean


def ema(close: FloatArray, window: int) -> FloatArray:
    """Exponential mean of the closes with that span, NaN while fewer were seen."""
    mean = ewma(close, window)
    mean[: window - 1] = np.nan
    return mean
