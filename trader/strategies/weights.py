"""Rule strategies as one weight a candle, for the compiled engine: the same rules over arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from trader.domain.candles import Candles, FloatArray
from trader.learning.trend import trend_of, volatility_of
from trader.strategies.registry import StrategySettings
from trader.strategies.sma_cross import FAST, SLOW, ema

Means: TypeAlias = Callable[[FloatArray, int], FloatArray]
"""(values, window) → the mean of the last `window` values at each, NaN for the first ones."""


@dataclass(frozen=True, slots=True)
class WeightRule:
    """A strategy as arrays.

    Attributes:
        weights: the wanted fraction of the pair's share after each candle, NaN for nothing to
            say; it gets a quick `Means` to use.
        once: whether it only ever buys, once, and then holds.
    """

    weights: Callable[[Candles, StrategySettings, Means], FloatArray]
    once: bool = False


def _sma_cross(candles: Candles, settings: StrategySettings, means: Means) -> FloatArray:
    return _above(means(candles.close, FAST), means(candles.close, SLOW))


def _ema_cross(candles: Candles, settings: StrategySettings, means: Means) -> FloatArray:
    return _above(ema(candles.close, FAST), ema(candles.close, SLOW))


def _above(fast: FloatArray, slow: FloatArray) -> FloatArray:
    return np.where(np.isnan(slow), np.nan, (fast > slow).astype(np.float64))


def _trend(candles: Candles, settings: StrategySettings, means: Means) -> FloatArray:
    trend = trend_of(candles)
    known = np.isnan(trend.strength) | np.isnan(trend.volatility)
    weight = trend.strength * trend.strength * _scale(trend.volatility, settings)
    return np.where(known, np.nan, weight)


def _vol_target_hold(candles: Candles, settings: StrategySettings, means: Means) -> FloatArray:
    volatility = volatility_of(candles)
    return np.where(np.isnan(volatility), np.nan, _scale(volatility, settings))


def _scale(volatility: FloatArray, settings: StrategySettings) -> FloatArray:
    with np.errstate(divide="ignore"):
        scale = np.minimum(1.0, settings.volatility_target / volatility)
    return np.where(volatility > 0, scale, 1.0)


def _buy_and_hold(candles: Candles, settings: StrategySettings, means: Means) -> FloatArray:
    return np.ones(len(candles))


WEIGHTS: dict[str, WeightRule] = {
    "sma-cross": WeightRule(_sma_cross),
    "ema-cross": WeightRule(_ema_cross),
    "trend": WeightRule(_trend),
    "vol-target-hold": WeightRule(_vol_target_hold),
    "buy-and-hold": WeightRule(_buy_and_hold, once=True),
}
"""By the strategy's name. A strategy without a line here is traded step by step."""
