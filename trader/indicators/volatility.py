"""Volatility: how far the price moves. Returns are logarithmic, volatilities are per candle."""

from __future__ import annotations

import math

from trader.indicators.graph import (
    Value,
    above,
    lag,
    larger,
    log,
    ratio,
    root,
    smaller,
    ta,
    window_sum,
)
from trader.indicators.registry import Unit, indicator

GROUP = "volatility"
HLC = ("high", "low", "close")
OHLC = ("open", "high", "low", "close")


def log_return(close: Value) -> Value:
    """Logarithm of close over the close before; NaN at the first candle."""
    return log(ratio(close, lag(close, 1)))


@indicator("true_range", inputs=HLC, warmup=1, group=GROUP, unit=Unit.PRICE, bounds=(0, None))
def true_range(high: Value, low: Value, close: Value) -> Value:
    """Range of the candle, the gap from the close before included."""
    return ta.TRANGE(high, low, close)


@indicator("atr_{}", inputs=HLC, over=(7, 14, 21), warmup=lambda n: n, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def atr(high: Value, low: Value, close: Value, n: int) -> Value:
    """Wilder's mean of the true range over {}."""
    return ta.ATR(high, low, close, timeperiod=n)


@indicator("natr_{}", inputs=HLC, over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, None))  # fmt: skip
def natr(high: Value, low: Value, close: Value, n: int) -> Value:
    """Mean true range over {} in percent of the close."""
    return ratio(atr(high, low, close, n), close) * 100.0


@indicator("adr_{}", inputs=("high", "low"), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def adr(high: Value, low: Value, n: int) -> Value:
    """Mean of high less low over {}."""
    return ta.ADR(high, low, timeperiod=n)


@indicator("bb_upper", "bb_middle", "bb_lower", inputs=("close",), warmup=19, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def bollinger(close: Value) -> Value:
    """Bollinger bands 20/2: mean of 20 closes, and two standard deviations above and below."""
    return ta.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)


@indicator("bb_width", inputs=("bb_upper", "bb_middle", "bb_lower"), warmup=19, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def bb_width(upper: Value, middle: Value, lower: Value) -> Value:
    """Width of the Bollinger bands as a fraction of their middle."""
    return ratio(upper - lower, middle)


@indicator("bb_percent", inputs=("close", "bb_upper", "bb_lower"), warmup=19, group=GROUP,
           unit=Unit.RATIO)  # fmt: skip
def bb_percent(close: Value, upper: Value, lower: Value) -> Value:
    """Where the close is between the Bollinger bands: 0 at the lower, 1 at the upper."""
    return ratio(close - lower, upper - lower, 0.5)


@indicator("keltner_upper", "keltner_middle", "keltner_lower", inputs=HLC, warmup=19,
           group=GROUP, unit=Unit.PRICE)  # fmt: skip
def keltner(high: Value, low: Value, close: Value) -> Value:
    """Keltner channel 20/10/2: mean of the typical price, two mean true ranges above and below."""
    return ta.KC(high, low, close, timeperiod=20, atrperiod=10, nbdev=2.0)


@indicator("keltner_position", inputs=("close", "keltner_upper", "keltner_lower"), warmup=19,
           group=GROUP, unit=Unit.RATIO)  # fmt: skip
def keltner_position(close: Value, upper: Value, lower: Value) -> Value:
    """Where the close is in the Keltner channel: 0 at the bottom, 1 at the top."""
    return ratio(close - lower, upper - lower, 0.5)


@indicator("squeeze", inputs=("bb_upper", "bb_lower", *HLC), warmup=20, group=GROUP,
           unit=Unit.STATE, bounds=(0, 1))  # fmt: skip
def squeeze(upper: Value, lower: Value, high: Value, low: Value, close: Value) -> Value:
    """1 while the Bollinger bands lie inside a Keltner channel of 1.5 true ranges: the calm."""
    middle, reach = ta.SMA(close, timeperiod=20), atr(high, low, close, 20) * 1.5
    return above(middle + reach, upper) * above(lower, middle - reach)


@indicator("stddev_{}", inputs=("close",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def stddev(close: Value, n: int) -> Value:
    """Standard deviation of {} closes (divided by their number)."""
    return ta.STDDEV(close, timeperiod=n, nbdev=1.0)


@indicator("realised_vol_{}", inputs=("close",), over=(10, 20, 60, 120), warmup=lambda n: n,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def realised_vol(close: Value, n: int) -> Value:
    """Standard deviation of {} returns, per candle."""
    return ta.STDDEV(log_return(close), timeperiod=n, nbdev=1.0)


@indicator("parkinson_{}", inputs=("high", "low"), over=(20,), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def parkinson(high: Value, low: Value, n: int) -> Value:
    """Volatility from the ranges of {} candles (Parkinson 1980), per candle."""
    span = log(ratio(high, low))
    return root(ta.SMA(span * span, timeperiod=n) / (4.0 * math.log(2.0)))


@indicator("garman_klass_{}", inputs=OHLC, over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def garman_klass(open_: Value, high: Value, low: Value, close: Value, n: int) -> Value:
    """Volatility from ranges and bodies of {} candles (Garman and Klass 1980), per candle."""
    span, body = log(ratio(high, low)), log(ratio(close, open_))
    daily = span * span * 0.5 - body * body * (2.0 * math.log(2.0) - 1.0)
    return root(ta.SMA(daily, timeperiod=n))


def _rogers_satchell(open_: Value, high: Value, low: Value, close: Value) -> Value:
    up, down, body = log(ratio(high, open_)), log(ratio(low, open_)), log(ratio(close, open_))
    return up * (up - body) + down * (down - body)


@indicator("rogers_satchell_{}", inputs=OHLC, over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def rogers_satchell(open_: Value, high: Value, low: Value, close: Value, n: int) -> Value:
    """Volatility of {} candles that a drift does not inflate (Rogers and Satchell 1991)."""
    return root(ta.SMA(_rogers_satchell(open_, high, low, close), timeperiod=n))


@indicator("yang_zhang_{}", inputs=OHLC, over=(20,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def yang_zhang(open_: Value, high: Value, low: Value, close: Value, n: int) -> Value:
    """Volatility of {} candles with the jumps between them (Yang and Zhang 2000), per candle."""
    jump, body = log(ratio(open_, lag(close, 1))), log(ratio(close, open_))
    # Unbiased variances, as in the paper; TA-Lib divides by n.
    unbiased = n / (n - 1.0)
    k = 0.34 / (1.34 + (n + 1.0) / (n - 1.0))
    between = ta.VAR(jump, timeperiod=n, nbdev=1.0) * unbiased
    within = ta.VAR(body, timeperiod=n, nbdev=1.0) * unbiased
    drift_free = ta.SMA(_rogers_satchell(open_, high, low, close), timeperiod=n)
    return root(between + within * k + drift_free * (1.0 - k))


@indicator("har_{}", inputs=("close",), over=(1, 5, 22), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def har(close: Value, n: int) -> Value:
    """Root mean square of {} returns: a component of the HAR model (Corsi 2009), per candle."""
    change = log_return(close)
    return root(window_sum(change * change, n) / float(n))


@indicator("ewma_vol_{}", inputs=("close",), over=(30,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def ewma_vol(close: Value, n: int) -> Value:
    """Root of the exponential mean of squared returns, span {}, per candle."""
    change = log_return(close)
    return root(ta.EMA(change * change, timeperiod=n))


@indicator("vol_ratio", inputs=("realised_vol_10", "realised_vol_60"), warmup=60, group=GROUP,
           unit=Unit.RATIO, bounds=(0, None))  # fmt: skip
def vol_ratio(short: Value, long: Value) -> Value:
    """Volatility of 10 candles over that of 60: above 1 the market is waking up."""
    return ratio(short, long, 1.0)


@indicator("vol_rank_{}", inputs=("natr_14",), over=(100,), warmup=lambda n: 14 + n,
           group=GROUP, unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def vol_rank(ranges: Value, n: int) -> Value:
    """Percentage of the last {} candles with a smaller mean true range than now."""
    return ta.PERCENTRANK(ranges, timeperiod=n)


@indicator("vol_of_vol_{}", inputs=("realised_vol_20",), over=(20,), warmup=lambda n: 19 + n,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def vol_of_vol(volatility: Value, n: int) -> Value:
    """Standard deviation of the last {} volatilities."""
    return ta.STDDEV(volatility, timeperiod=n, nbdev=1.0)


@indicator("downside_vol_{}", inputs=("close",), over=(20,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def downside_vol(close: Value, n: int) -> Value:
    """Root mean square of the negative among {} returns, per candle."""
    fall = smaller(log_return(close), 0.0)
    return root(window_sum(fall * fall, n) / float(n))


@indicator("downside_share_{}", inputs=("close",), over=(20,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, 1))  # fmt: skip
def downside_share(close: Value, n: int) -> Value:
    """Share of the falls in the squared movement of {} returns."""
    change = log_return(close)
    fall = smaller(change, 0.0)
    return ratio(window_sum(fall * fall, n), window_sum(change * change, n), 0.5)


@indicator("ulcer_{}", inputs=("close",), over=(14,), warmup=lambda n: 2 * (n - 1), group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def ulcer(close: Value, n: int) -> Value:
    """Ulcer index over {}: root mean square of the depths below the highest close, in percent."""
    depth = (ratio(close, ta.MAX(close, timeperiod=n)) - 1.0) * 100.0
    return root(window_sum(depth * depth, n) / float(n))


@indicator("chaikin_vol", inputs=("high", "low"), warmup=19, group=GROUP, unit=Unit.POINTS)
def chaikin_vol(high: Value, low: Value) -> Value:
    """Chaikin's volatility 10/10: change of the mean range over 10 candles, in percent."""
    return ta.CVI(high, low, timeperiod=10, rocperiod=10)


@indicator("rvi_{}", inputs=("close",), over=(14,), warmup=22, group=GROUP, unit=Unit.POINTS,
           bounds=(0, 100))  # fmt: skip
def rvi(close: Value, n: int) -> Value:
    """Relative volatility over {}: share of the volatility that came with rising closes."""
    return ta.RVI(close, timeperiod=n, stddevperiod=10)


@indicator("range_fraction", inputs=HLC, warmup=0, group=GROUP, unit=Unit.FRACTION,
           bounds=(0, None))  # fmt: skip
def range_fraction(high: Value, low: Value, close: Value) -> Value:
    """High less low as a fraction of the close."""
    return ratio(high - low, close)


@indicator("largest_move_{}", inputs=("close",), over=(24,), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, None))  # fmt: skip
def largest_move(close: Value, n: int) -> Value:
    """The largest rise or fall of one candle among {} returns, as a logarithm."""
    change = log_return(close)
    return larger(ta.MAX(change, timeperiod=n), 0.0 - ta.MIN(change, timeperiod=n))


@indicator("chandelier_long", "chandelier_short", inputs=HLC, warmup=22, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def chandelier(high: Value, low: Value, close: Value) -> Value:
    """Chandelier exits 22/3: three mean true ranges below the high, and above the low."""
    reach = atr(high, low, close, 22) * 3.0
    return ta.MAX(high, timeperiod=22) - reach, ta.MIN(low, timeperiod=22) + reach
