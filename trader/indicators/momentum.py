"""Momentum: how fast the price moves, and whether it has gone too far."""

from __future__ import annotations

from trader.indicators.graph import Value, clipped, from_candle, lag, ratio, ta
from trader.indicators.registry import Unit, indicator

GROUP = "momentum"
# A running mean can leave its range by a rounding error; `clipped` below is for that alone.
HLC = ("high", "low", "close")


@indicator("rsi_{}", inputs=("close",), over=(7, 14, 21), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def rsi(close: Value, n: int) -> Value:
    """Wilder's relative strength over {}: share of the gains in all movement."""
    return ta.RSI(close, timeperiod=n)


@indicator("stochf_k", "stochf_d", inputs=HLC, warmup=15, group=GROUP, unit=Unit.POINTS,
           bounds=(0, 100))  # fmt: skip
def stochf(high: Value, low: Value, close: Value) -> Value:
    """Fast stochastic 14/3: where the close is in the range of 14 candles, and its mean."""
    k, d = ta.STOCHF(high, low, close, fastk_period=14, fastd_period=3)
    return clipped(k, 0.0, 100.0), clipped(d, 0.0, 100.0)


@indicator("stoch_k", "stoch_d", inputs=HLC, warmup=17, group=GROUP, unit=Unit.POINTS,
           bounds=(0, 100))  # fmt: skip
def stoch(high: Value, low: Value, close: Value) -> Value:
    """Stochastic 14/3/3: where the close is in the range of 14 candles, smoothed, and its mean."""
    # The slow line is the mean of the fast one; it begins with its own mean, as people know it.
    _, k = stochf(high, low, close)
    return from_candle(k, 17), clipped(ta.SMA(k, timeperiod=3), 0.0, 100.0)


@indicator("stochrsi_k", "stochrsi_d", inputs=("close",), warmup=29, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def stochrsi(close: Value) -> Value:
    """Where the RSI 14 is in its own range of 14 candles, and its mean of 3."""
    strength = rsi(close, 14)
    k, d = ta.STOCHF(strength, strength, strength, fastk_period=14, fastd_period=3)
    return clipped(k, 0.0, 100.0), clipped(d, 0.0, 100.0)


@indicator("kdj_k", "kdj_d", "kdj_j", inputs=HLC, warmup=12, group=GROUP, unit=Unit.POINTS)
def kdj(high: Value, low: Value, close: Value) -> Value:
    """KDJ 9/3/3: smoothed stochastic, its mean, and three times the one less twice the other."""
    return ta.KDJ(high, low, close, fastk_period=9, slowk_period=3, slowd_period=3)


@indicator("willr_{}", inputs=HLC, over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.POINTS, bounds=(-100, 0))  # fmt: skip
def willr(high: Value, low: Value, close: Value, n: int) -> Value:
    """Williams %R over {}: 0 at the top of the range, -100 at the bottom."""
    return ta.WILLR(high, low, close, timeperiod=n)


@indicator("cci_{}", inputs=HLC, over=(14, 20), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.POINTS)  # fmt: skip
def cci(high: Value, low: Value, close: Value, n: int) -> Value:
    """Commodity channel index over {}: distance from the mean in mean deviations, times 66.7."""
    return ta.CCI(high, low, close, timeperiod=n)


@indicator("cmo_{}", inputs=("close",), over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(-100, 100))  # fmt: skip
def cmo(close: Value, n: int) -> Value:
    """Chande momentum over {}: gains less losses as a share of all movement (Wilder's means)."""
    return ta.CMO(close, timeperiod=n)


@indicator("mom_{}", inputs=("close",), over=(10,), warmup=lambda n: n, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def mom(close: Value, n: int) -> Value:
    """Close less the close {} candles ago."""
    return close - lag(close, n)


@indicator("roc_{}", inputs=("close",), over=(1, 5, 10, 20, 60, 120), warmup=lambda n: n,
           group=GROUP, unit=Unit.POINTS, bounds=(-100, None))  # fmt: skip
def roc(close: Value, n: int) -> Value:
    """Change over {} candles in percent."""
    return (ratio(close, lag(close, n)) - 1.0) * 100.0


@indicator("ultosc", inputs=HLC, warmup=28, group=GROUP, unit=Unit.POINTS, bounds=(0, 100))
def ultosc(high: Value, low: Value, close: Value) -> Value:
    """Ultimate oscillator 7/14/28: buying pressure over three spans."""
    return ta.ULTOSC(high, low, close, timeperiod1=7, timeperiod2=14, timeperiod3=28)


@indicator("ao", inputs=("high", "low"), warmup=33, group=GROUP, unit=Unit.PRICE)
def ao(high: Value, low: Value) -> Value:
    """Awesome oscillator: mean of 5 less mean of 34 middle prices."""
    return ta.AO(high, low, fastperiod=5, slowperiod=34)


@indicator("ac", inputs=("high", "low"), warmup=37, group=GROUP, unit=Unit.PRICE)
def ac(high: Value, low: Value) -> Value:
    """Accelerator: awesome oscillator less its mean of 5."""
    return ta.AC(high, low, fastperiod=5, slowperiod=34, signalperiod=5)


@indicator("bop", inputs=("open", "high", "low", "close"), warmup=0, group=GROUP,
           unit=Unit.FRACTION, bounds=(-1, 1))  # fmt: skip
def bop(open_: Value, high: Value, low: Value, close: Value) -> Value:
    """Balance of power: close less open as a share of the range."""
    return ta.BOP(open_, high, low, close)


@indicator("tsi", inputs=("close",), warmup=37, group=GROUP, unit=Unit.POINTS,
           bounds=(-100, 100))  # fmt: skip
def tsi(close: Value) -> Value:
    """True strength 25/13: twice smoothed change as a share of twice smoothed movement."""
    return ta.TSI(close, firstperiod=25, secondperiod=13)


@indicator("tsi_signal", inputs=("tsi",), warmup=49, group=GROUP, unit=Unit.POINTS,
           bounds=(-100, 100))  # fmt: skip
def tsi_signal(strength: Value) -> Value:
    """Exponential mean of the true strength, span 13."""
    return ta.EMA(strength, timeperiod=13)


@indicator("trix_{}", inputs=("close",), over=(15, 30), warmup=lambda n: 3 * (n - 1) + 1,
           group=GROUP, unit=Unit.POINTS)  # fmt: skip
def trix(close: Value, n: int) -> Value:
    """Change of the triple exponential mean, span {}, in percent per candle."""
    return ta.TRIX(close, timeperiod=n)


@indicator("kst", inputs=("close",), warmup=44, group=GROUP, unit=Unit.POINTS)
def kst(close: Value) -> Value:
    """Pring's Know Sure Thing: four smoothed changes (10, 15, 20, 30), weights 1 to 4."""
    parts = ((10, 10, 1.0), (15, 10, 2.0), (20, 10, 3.0), (30, 15, 4.0))
    total = 0.0
    for change, smooth, weight in parts:
        total = total + ta.SMA(roc(close, change), timeperiod=smooth) * weight
    return total


@indicator("kst_signal", inputs=("kst",), warmup=52, group=GROUP, unit=Unit.POINTS)
def kst_signal(line: Value) -> Value:
    """Mean of the last 9 values of KST."""
    return ta.SMA(line, timeperiod=9)


@indicator("coppock", inputs=("close",), warmup=23, group=GROUP, unit=Unit.POINTS)
def coppock(close: Value) -> Value:
    """Coppock curve: weighted mean (10) of the changes over 11 and 14, in percent."""
    return ta.COPPOCK(close, wmaperiod=10, roc1period=11, roc2period=14)


@indicator("dpo_{}", inputs=("close",), over=(20,), warmup=19, group=GROUP, unit=Unit.PRICE)
def dpo(close: Value, n: int) -> Value:
    """Detrended price over {}: a past close less the mean, without looking ahead."""
    return lag(close, n // 2 + 1) - ta.SMA(close, timeperiod=n)


@indicator("imi_{}", inputs=("open", "close"), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def imi(open_: Value, close: Value, n: int) -> Value:
    """Intraday momentum over {}: gains within candles as a share of all movement."""
    return ta.IMI(open_, close, timeperiod=n)


@indicator("smi", "smi_signal", inputs=HLC, warmup=45, group=GROUP, unit=Unit.POINTS,
           bounds=(-100, 100))  # fmt: skip
def smi(high: Value, low: Value, close: Value) -> Value:
    """Stochastic momentum 13/25/2: distance from the middle of the range, and its mean of 9."""
    return ta.SMI(high, low, close, timeperiod=13, fastperiod=2, slowperiod=25, signalperiod=9)


@indicator("qstick_{}", inputs=("open", "close"), over=(10,), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.PRICE)  # fmt: skip
def qstick(open_: Value, close: Value, n: int) -> Value:
    """Mean of close less open over {}."""
    return ta.QSTICK(open_, close, timeperiod=n)


@indicator("elder_bull", "elder_bear", inputs=HLC, warmup=12, group=GROUP, unit=Unit.PRICE)
def elder_ray(high: Value, low: Value, close: Value) -> Value:
    """Elder ray: high and low less the exponential mean of 13 closes."""
    return ta.ERI(high, low, close, timeperiod=13)


@indicator("forecast_osc_{}", inputs=("close",), over=(14,), warmup=14, group=GROUP,
           unit=Unit.POINTS)  # fmt: skip
def forecast_osc(close: Value, n: int) -> Value:
    """Close less what the straight line of {} closes forecast for it, in percent."""
    return ta.FOSC(close, timeperiod=n)
