"""Indicators of coarser timeframes beside finer candles, each visible only when it has closed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import UsageError
from trader.indicators.registry import compute

HOUR, FOUR_HOURS, DAY, WEEK = (Timeframe.parse(text) for text in ("1h", "4h", "1d", "1w"))
LADDER = (HOUR, FOUR_HOURS, DAY, WEEK)
NAMES = ("rsi_14", "adx_14", "di_difference_14", "close_to_sma_50", "donchian_position_55",
         "natr_14", "macd_hist", "roc_5")  # fmt: skip
"""What is shown of every timeframe."""


def coarser(timeframe: Timeframe) -> tuple[Timeframe, ...]:
    """The rungs of hour, four hours, day and week that can be made of these candles."""
    return tuple(t for t in LADDER if t > timeframe and t.seconds % timeframe.seconds == 0)


def on_coarser(
    candles: Candles, timeframe: Timeframe, names: Iterable[str] = NAMES
) -> dict[str, FloatArray]:
    """Indicators of a coarser timeframe, one value per finer candle.

    At each finer candle it is the value of the newest coarse candle whose interval had ended when
    the finer one closed; NaN before the first. The coarse candle that is still open is never
    looked at.

    Args:
        candles: the finer candles.
        timeframe: the coarser length, a multiple of theirs.
        names: indicators of the registry.

    Returns:
        `name@timeframe` → values, one per finer candle.

    Raises:
        UsageError: if the timeframe is not a multiple of the candles' own.
    """
    if timeframe <= candles.timeframe:
        raise UsageError(f"{timeframe} is not coarser than {candles.timeframe}")
    coarse = candles.resampled(timeframe)
    newest = np.searchsorted(coarse.closed_at_seconds(), candles.closed_at_seconds(), "right") - 1
    found = {}
    for name, values in compute(coarse, names).items():
        aligned = np.full(len(candles), np.nan)
        known = newest >= 0
        aligned[known] = values[newest[known]]
        found[f"{name}@{timeframe}"] = aligned
    return found
