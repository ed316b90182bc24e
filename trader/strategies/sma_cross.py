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
    return _cross(situation, "sma-cross", _sma)


@strategy("ema-cross", f"in while the EMA of {FAST} closes is above the EMA of {SLOW}")
def ema_cross(situation: Situation) -> Signal:
    """Exponential moving averages, in candles."""
    return _cross(situation, "ema-cross", _ema)


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


def _sma(close: FloatArray, window: int) -> FloatArray:
    mean = np.full(len(close), np.nan)
    if len(close) >= window:
        windows = np.lib.stride_tricks.sliding_window_view(close, window)
        mean[window - 1 :] = windows.mean(axis=1)
    return mean


def _ema(close: FloatArray, window: int) -> FloatArray:
    mean = ewma(close, window)
    mean[: window - 1] = np.nan
    return mean
