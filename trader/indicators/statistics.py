"""Statistics: the shape of what happened, as plain numbers."""

from __future__ import annotations

import math

from trader.indicators.graph import (
    Value,
    clipped,
    lag,
    larger,
    log,
    magnitude,
    ratio,
    root,
    sign,
    smaller,
    ta,
    window_sum,
)
from trader.indicators.registry import Unit, indicator
from trader.indicators.volatility import log_return

GROUP = "statistics"
OHLC = ("open", "high", "low", "close")


@indicator("log_return_{}", inputs=("close",), over=(1, 5, 20), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION)  # fmt: skip
def log_return_over(close: Value, n: int) -> Value:
    """Logarithm of the close over that of {} candles ago."""
    return log(ratio(close, lag(close, n)))


@indicator("zscore_{}", inputs=("close",), over=(20, 50), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.RATIO)  # fmt: skip
def zscore(close: Value, n: int) -> Value:
    """Close less its mean of {}, in standard deviations; 0 where the price stood still."""
    spread = ta.STDDEV(close, timeperiod=n, nbdev=1.0)
    return ratio(close - ta.SMA(close, timeperiod=n), spread, 0.0)


def _moment(change: Value, n: int, power: int) -> Value:
    product = change
    for _ in range(power - 1):
        product = product * change
    return window_sum(product, n) / float(n)


@indicator("skew_{}", inputs=("close",), over=(60,), warmup=lambda n: n, group=GROUP,
           unit=Unit.RATIO)  # fmt: skip
def skew(close: Value, n: int) -> Value:
    """Skewness of {} returns: negative when falls are the sharper."""
    change = log_return(close)
    mean, second, third = (_moment(change, n, p) for p in (1, 2, 3))
    variance = larger(second - mean * mean, 0.0)
    centred = third - mean * second * 3.0 + mean * mean * mean * 2.0
    limit = math.sqrt(n)
    return clipped(ratio(centred, variance * root(variance), 0.0), -limit, limit)


@indicator("kurtosis_{}", inputs=("close",), over=(60,), warmup=lambda n: n, group=GROUP,
           unit=Unit.RATIO, bounds=(-3, None))  # fmt: skip
def kurtosis(close: Value, n: int) -> Value:
    """Excess kurtosis of {} returns: how much rarer and larger the moves than in a bell curve."""
    change = log_return(close)
    mean, second, third, fourth = (_moment(change, n, p) for p in (1, 2, 3, 4))
    square = mean * mean
    variance = larger(second - square, 0.0)
    centred = fourth - mean * third * 4.0 + square * second * 6.0 - square * square * 3.0
    return clipped(ratio(centred, variance * variance, 3.0) - 3.0, -3.0, float(n))


@indicator("autocorr_{}_{}", inputs=("close",), over=((1, 20), (1, 60), (5, 60)),
           warmup=lambda k, n: n + k, group=GROUP, unit=Unit.RATIO, bounds=(-1, 1))  # fmt: skip
def autocorr(close: Value, k: int, n: int) -> Value:
    """Correlation of returns with those {} candles before, over {}."""
    change = log_return(close)
    return clipped(ta.CORREL(change, lag(change, k), timeperiod=n), -1.0, 1.0)


@indicator("variance_ratio_{}", inputs=("close",), over=(60,), warmup=lambda n: n + 4,
           group=GROUP, unit=Unit.RATIO, bounds=(0, None))  # fmt: skip
def variance_ratio(close: Value, n: int) -> Value:
    """Variance of returns over 5 candles against five times that of one, over {}: 1 is chance."""
    single = ta.VAR(log_return(close), timeperiod=n, nbdev=1.0)
    return ratio(ta.VAR(log_return_over(close, 5), timeperiod=n, nbdev=1.0), single * 5.0, 1.0)


@indicator("hurst_{}", inputs=("close",), over=(100,), warmup=lambda n: n + 15, group=GROUP,
           unit=Unit.RATIO, bounds=(0, 1))  # fmt: skip
def hurst(close: Value, n: int) -> Value:
    """Hurst exponent over {}: above 0.5 moves continue, below they return.

    Half the slope of log variance against log horizon, fitted to horizons of 1, 2, 4, 8 and 16
    candles (the scaling of squared increments).
    """
    price = log(close)
    total = 0.0
    for power in range(5):
        step = price - lag(price, 2**power)
        # A floor far below any real move keeps the logarithm finite where the price stood still.
        scale = log(window_sum(step * step, n) / float(n) + 1e-18)
        total = total + scale * (power - 2.0)
    return clipped(total / (20.0 * math.log(2.0)), 0.0, 1.0)


@indicator("price_rank_{}", inputs=("close",), over=(100,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def price_rank(close: Value, n: int) -> Value:
    """Percentage of the last {} closes below this one."""
    return ta.PERCENTRANK(close, timeperiod=n)


@indicator("median_{}", inputs=("close",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def median(close: Value, n: int) -> Value:
    """The middle one of {} closes (the lower of two)."""
    return ta.PERCENTILE(close, timeperiod=n, percentile=50.0)


@indicator("avgdev_{}", inputs=("close",), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def avgdev(close: Value, n: int) -> Value:
    """Mean distance of {} closes from their mean."""
    return ta.AVGDEV(close, timeperiod=n)


@indicator("drawdown_{}", inputs=("high", "close"), over=(55, 200), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(-1, 0))  # fmt: skip
def drawdown(high: Value, close: Value, n: int) -> Value:
    """Close below the highest high of {} candles, as a fraction."""
    return ratio(close, ta.MAX(high, timeperiod=n)) - 1.0


@indicator("runup_{}", inputs=("low", "close"), over=(55, 200), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def runup(low: Value, close: Value, n: int) -> Value:
    """Close above the lowest low of {} candles, as a fraction."""
    return ratio(close, ta.MIN(low, timeperiod=n)) - 1.0


@indicator("since_high_{0}", inputs=("high", "low"), over=(55,), warmup=lambda n: n,
           group=GROUP, unit=Unit.CANDLES, bounds=(0, 55))  # fmt: skip
def since_high(high: Value, low: Value, n: int) -> Value:
    """Candles since the highest high of {}."""
    _, up = ta.AROON(high, low, timeperiod=n)
    return clipped((100.0 - up) * (n / 100.0), 0.0, float(n))


@indicator("since_low_{0}", inputs=("high", "low"), over=(55,), warmup=lambda n: n, group=GROUP,
           unit=Unit.CANDLES, bounds=(0, 55))  # fmt: skip
def since_low(high: Value, low: Value, n: int) -> Value:
    """Candles since the lowest low of {}."""
    down, _ = ta.AROON(high, low, timeperiod=n)
    return clipped((100.0 - down) * (n / 100.0), 0.0, float(n))


@indicator("body_fraction", inputs=OHLC, warmup=0, group=GROUP, unit=Unit.FRACTION,
           bounds=(0, 1))  # fmt: skip
def body_fraction(open_: Value, high: Value, low: Value, close: Value) -> Value:
    """Body of the candle as a share of its range; 0 where there is no range."""
    return ratio(magnitude(close - open_), high - low, 0.0)


@indicator("upper_shadow", inputs=OHLC, warmup=0, group=GROUP, unit=Unit.FRACTION,
           bounds=(0, 1))  # fmt: skip
def upper_shadow(open_: Value, high: Value, low: Value, close: Value) -> Value:
    """Part of the range above the body."""
    return ratio(high - larger(open_, close), high - low, 0.0)


@indicator("lower_shadow", inputs=OHLC, warmup=0, group=GROUP, unit=Unit.FRACTION,
           bounds=(0, 1))  # fmt: skip
def lower_shadow(open_: Value, high: Value, low: Value, close: Value) -> Value:
    """Part of the range below the body."""
    return ratio(smaller(open_, close) - low, high - low, 0.0)


@indicator("gap", inputs=("open", "close"), warmup=1, group=GROUP, unit=Unit.FRACTION,
           bounds=(-1, None))  # fmt: skip
def gap(open_: Value, close: Value) -> Value:
    """Open above the close before, as a fraction."""
    return ratio(open_, lag(close, 1)) - 1.0


@indicator("up_share_{}", inputs=("close",), over=(20,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, 1))  # fmt: skip
def up_share(close: Value, n: int) -> Value:
    """Share of rising closes among {}; unchanged ones count half."""
    change = close - lag(close, 1)
    return (window_sum(sign(change), n) / float(n) + 1.0) / 2.0
