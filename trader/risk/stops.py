"""Where a position ends: protective stop, target, trailing and time stops; pure.

Distances are measured in *daily* average true ranges whatever the candle size: a stop inside the
noise of a day is hit by noise.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.markets import MarketRules
from trader.domain.memo import once
from trader.domain.signals import Snapshot

DAY = Timeframe(86400)
ATR_DAYS = 14
# A stop nearer than this is hit by the spread; one farther is none.
NEAREST = Decimal("0.005")
FARTHEST = Decimal("0.5")


def atr_stop(
    entry: Decimal, daily_atr: Decimal, multiple: Decimal, rules: MarketRules
) -> Decimal | None:
    """The protective stop of a purchase: so many daily ATRs below it, on the tick grid.

    The distance is kept between 0.5 % and 50 % of the entry.

    Args:
        entry: expected price, quote per base.
        daily_atr: average true range of a day, quote, ≥ 0.
        multiple: how many of them.
        rules: for the tick.

    Returns:
        The trigger price, below the entry and above 0; None where the tick is so coarse that
        no such price exists.
    """
    distance = min(max(daily_atr * multiple, entry * NEAREST), entry * FARTHEST)
    stop = rules.price_down(entry - distance)
    return stop if 0 < stop < entry else None


def target_price(
    entry: Decimal, stop: Decimal, reward: Decimal, rules: MarketRules
) -> Decimal | None:
    """The target, `reward` stop distances above the entry; None for a reward of 0."""
    if reward <= 0:
        return None
    return rules.price_up(entry + (entry - stop) * reward)


def trailing_stop(
    stop: Decimal, highest_close: Decimal, daily_atr: Decimal, multiple: Decimal,
    rules: MarketRules,
) -> Decimal:  # fmt: skip
    """The stop raised to so many daily ATRs below the highest close since entry; never lowered."""
    return max(stop, rules.price_down(highest_close - daily_atr * multiple))


def time_is_up(opened_at: datetime, now: datetime, longest: timedelta | None) -> bool:
    """Whether a position has been held for the longest time allowed; None allows any."""
    return longest is not None and now - opened_at >= longest


def daily_atr(candles: Candles) -> float | None:
    """Average true range of a day at the last candle's close, quote; None if it is unknown.

    The plain mean over the last 14 whole UTC days (Wilder smooths exponentially; the plain mean
    depends on nothing older, so a longer history gives the same stop). While there are fewer
    days, the range of the candles' own timeframe is scaled up by the square root of time; with
    fewer than 15 candles it is unknown.
    """
    if not len(candles):
        return None
    value = float(daily_atr_series(candles[-_enough(candles.timeframe) :])[-1])
    return None if np.isnan(value) else value


def daily_atr_of(snapshot: Snapshot) -> float | None:
    """`daily_atr` of a snapshot's candles, computed once for the whole of its analysis."""
    analysis = snapshot.analysis
    series = once(analysis, "daily_atr", lambda: daily_atr_series(analysis.candles))
    value = float(series[snapshot.index])
    return None if math.isnan(value) else value


def daily_atr_series(candles: Candles) -> FloatArray:
    """`daily_atr` at every candle's close, one value per candle, NaN while unknown."""
    scaled = _mean_true_range(candles) * math.sqrt(DAY.seconds / candles.timeframe.seconds)
    if DAY.seconds % candles.timeframe.seconds or not len(candles):
        return scaled
    days = candles.resampled(DAY)
    ranges = _mean_true_range(days)
    # The newest day that has ended when each candle closes.
    index = np.searchsorted(days.closed_at_seconds(), candles.closed_at_seconds(), "right") - 1
    known = np.flatnonzero(index >= 0)
    daily = np.full(len(candles), np.nan)
    daily[known] = ranges[index[known]]
    unknown = np.isnan(daily)
    daily[unknown] = scaled[unknown]
    return daily


def _mean_true_range(candles: Candles) -> FloatArray:
    """Mean of the last 14 true ranges, NaN for the first 14 (Wilder 1978 for the range)."""
    result = np.full(len(candles), np.nan)
    if len(candles) <= ATR_DAYS:
        return result
    before = candles.close[:-1]
    high, low = np.maximum(candles.high[1:], before), np.minimum(candles.low[1:], before)
    ranges, count = high - low, len(candles) - ATR_DAYS
    # Added up in one fixed order, so that a part of the history gives the very same floats.
    total = np.zeros(count)
    for offset in range(ATR_DAYS):
        total += ranges[offset : offset + count]
    result[ATR_DAYS:] = total / ATR_DAYS
    return result


def _enough(timeframe: Timeframe) -> int:
    """Candles that reach back over all the days `daily_atr` may look at, absences included."""
    return (ATR_DAYS + 3) * max(1, DAY.seconds // timeframe.seconds) + ATR_DAYS
