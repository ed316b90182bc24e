"""Trend: averages, lines and channels that say where the price is going."""

from __future__ import annotations

import math

from trader.indicators.graph import (
    Value,
    above,
    from_candle,
    lag,
    larger,
    log,
    magnitude,
    ratio,
    smaller,
    ta,
    where,
)
from trader.indicators.registry import Unit, indicator

GROUP = "trend"
HLC = ("high", "low", "close")


@indicator("sma_{}", inputs=("close",), over=(5, 10, 20, 50, 100, 200), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def sma(close: Value, n: int) -> Value:
    """Mean of the last {} closes."""
    return ta.SMA(close, timeperiod=n)


@indicator("ema_{}", inputs=("close",), over=(9, 12, 20, 26, 50, 100, 200),
           warmup=lambda n: n - 1, group=GROUP, unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def ema(close: Value, n: int) -> Value:
    """Exponential mean of the closes, span {}, begun with the plain mean."""
    return ta.EMA(close, timeperiod=n)


@indicator("wma_{}", inputs=("close",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def wma(close: Value, n: int) -> Value:
    """Mean of the last {} closes, the newest weighing most."""
    return ta.WMA(close, timeperiod=n)


@indicator("dema_{}", inputs=("close",), over=(20,), warmup=lambda n: 2 * (n - 1), group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def dema(close: Value, n: int) -> Value:
    """Double exponential mean, span {}: twice the mean less its mean, for less delay."""
    return ta.DEMA(close, timeperiod=n)


@indicator("tema_{}", inputs=("close",), over=(20,), warmup=lambda n: 3 * (n - 1), group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def tema(close: Value, n: int) -> Value:
    """Triple exponential mean, span {}."""
    return ta.TEMA(close, timeperiod=n)


@indicator("trima_{}", inputs=("close",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def trima(close: Value, n: int) -> Value:
    """Mean of the last {} closes, the middle weighing most."""
    return ta.TRIMA(close, timeperiod=n)


@indicator("hma_{}", inputs=("close",), over=(20,), warmup=22, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def hma(close: Value, n: int) -> Value:
    """Hull's mean over {} closes: quick and smooth."""
    return ta.HMA(close, timeperiod=n)


@indicator("zlema_{}", inputs=("close",), over=(20,), warmup=28, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def zlema(close: Value, n: int) -> Value:
    """Exponential mean, span {}, of closes pushed forward by their own delay."""
    return ta.ZLEMA(close, timeperiod=n)


@indicator("kama_{}", inputs=("close",), over=(10, 30), warmup=lambda n: n, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def kama(close: Value, n: int) -> Value:
    """Kaufman's mean over {}: fast in a trend, slow in noise."""
    return ta.KAMA(close, timeperiod=n)


@indicator("t3_{}", inputs=("close",), over=(5,), warmup=24, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def t3(close: Value, n: int) -> Value:
    """Tillson's T3 over {}, volume factor 0.7."""
    return ta.T3(close, timeperiod=n, vfactor=0.7)


@indicator("mama", "fama", inputs=("close",), warmup=32, group=GROUP, unit=Unit.PRICE)
def mama(close: Value) -> Value:
    """Ehlers' adaptive mean and the one that follows it, limits 0.5 and 0.05."""
    return ta.MAMA(close, fastlimit=0.5, slowlimit=0.05)


@indicator("ht_trendline", inputs=("close",), warmup=63, group=GROUP, unit=Unit.PRICE)
def ht_trendline(close: Value) -> Value:
    """Ehlers' instantaneous trend line (Hilbert transform)."""
    return ta.HT_TRENDLINE(close)


@indicator("midpoint_{}", inputs=("close",), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def midpoint(close: Value, n: int) -> Value:
    """Half-way between the highest and lowest of {} closes."""
    return ta.MIDPOINT(close, timeperiod=n)


@indicator("midprice_{}", inputs=("high", "low"), over=(14,), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def midprice(high: Value, low: Value, n: int) -> Value:
    """Half-way between the highest high and lowest low of {} candles."""
    return ta.MIDPRICE(high, low, timeperiod=n)


@indicator("close_to_sma_{}", inputs=("close",), over=(20, 50, 200), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(-1, None))  # fmt: skip
def close_to_sma(close: Value, n: int) -> Value:
    """How far the close is above its mean of {}, as a fraction of the mean."""
    return ratio(close, sma(close, n)) - 1.0


@indicator("ema_gap_{}_{}", inputs=("close",), over=((12, 26), (20, 50), (50, 200)),
           warmup=lambda _, slow: slow - 1, group=GROUP, unit=Unit.FRACTION)  # fmt: skip
def ema_gap(close: Value, fast: int, slow: int) -> Value:
    """How far the exponential mean of {} is above that of {}, as a fraction."""
    return ratio(ema(close, fast), ema(close, slow)) - 1.0


@indicator("macd", "macd_signal", "macd_hist", inputs=("close",), warmup=33, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def macd(close: Value) -> Value:
    """MACD 12/26/9: fast less slow exponential mean, its signal line, and their difference."""
    return ta.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)


@indicator("ppo", inputs=("close",), warmup=25, group=GROUP, unit=Unit.POINTS)
def ppo(close: Value) -> Value:
    """Fast less slow exponential mean (12, 26) in percent of the slow one."""
    return ratio(apo(close), ema(close, 26)) * 100.0


@indicator("apo", inputs=("close",), warmup=25, group=GROUP, unit=Unit.PRICE)
def apo(close: Value) -> Value:
    """Fast less slow exponential mean (12, 26)."""
    return ta.APO(close, fastperiod=12, slowperiod=26, matype=1)


@indicator("adx_{}", inputs=HLC, over=(14,), warmup=lambda n: 2 * n - 1, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def adx(high: Value, low: Value, close: Value, n: int) -> Value:
    """Wilder's ADX over {}: strength of the trend, whatever its direction."""
    return ta.ADX(high, low, close, timeperiod=n)


@indicator("adxr_{}", inputs=HLC, over=(14,), warmup=lambda n: 3 * n - 2, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def adxr(high: Value, low: Value, close: Value, n: int) -> Value:
    """Mean of today's ADX and that of {} candles before, less one."""
    strength = adx(high, low, close, n)
    return (strength + lag(strength, n - 1)) / 2.0


@indicator("dx_{}", inputs=HLC, over=(14,), warmup=lambda n: n, group=GROUP, unit=Unit.POINTS,
           bounds=(0, 100))  # fmt: skip
def dx(high: Value, low: Value, close: Value, n: int) -> Value:
    """Directional movement index over {}, not smoothed."""
    plus, minus = plus_di(high, low, close, n), minus_di(high, low, close, n)
    return ratio(magnitude(plus - minus), plus + minus, 0.0) * 100.0


@indicator("plus_di_{}", inputs=HLC, over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def plus_di(high: Value, low: Value, close: Value, n: int) -> Value:
    """Upward share of the movement over {}."""
    return ta.PLUS_DI(high, low, close, timeperiod=n)


@indicator("minus_di_{}", inputs=HLC, over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def minus_di(high: Value, low: Value, close: Value, n: int) -> Value:
    """Downward share of the movement over {}."""
    return ta.MINUS_DI(high, low, close, timeperiod=n)


@indicator("di_difference_{}", inputs=HLC, over=(14, 40), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(-100, 100))  # fmt: skip
def di_difference(high: Value, low: Value, close: Value, n: int) -> Value:
    """Upward less downward share of the movement over {}."""
    return plus_di(high, low, close, n) - minus_di(high, low, close, n)


@indicator("aroon_down_{0}", "aroon_up_{0}", inputs=("high", "low"), over=(25,),
           warmup=lambda n: n, group=GROUP, unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def aroon(high: Value, low: Value, n: int) -> Value:
    """How recent the lowest low and the highest high of {} candles are; 100 is now."""
    return ta.AROON(high, low, timeperiod=n)


@indicator("aroon_osc_{}", inputs=("high", "low"), over=(25,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(-100, 100))  # fmt: skip
def aroon_osc(high: Value, low: Value, n: int) -> Value:
    """Aroon up less Aroon down over {}."""
    down, up = aroon(high, low, n)
    return up - down


@indicator("vortex_plus_{0}", "vortex_minus_{0}", inputs=HLC, over=(14,), warmup=lambda n: n,
           group=GROUP, unit=Unit.RATIO, bounds=(0, None))  # fmt: skip
def vortex(high: Value, low: Value, close: Value, n: int) -> Value:
    """Upward and downward vortex movement over {}, as shares of the true range."""
    return ta.VORTEX(high, low, close, timeperiod=n)


@indicator("psar", inputs=("high", "low"), warmup=1, group=GROUP, unit=Unit.PRICE)
def psar(high: Value, low: Value) -> Value:
    """Wilder's parabolic stop and reverse, step 0.02, at most 0.2."""
    return ta.SAR(high, low, acceleration=0.02, maximum=0.2)


@indicator("psar_side", inputs=("high", "low", "close"), warmup=1, group=GROUP, unit=Unit.STATE,
           bounds=(-1, 1))  # fmt: skip
def psar_side(high: Value, low: Value, close: Value) -> Value:
    """1 while the close is above the parabolic stop, -1 while below."""
    return where(above(close, psar(high, low)), 1.0, -1.0)


@indicator("supertrend", "supertrend_side", inputs=HLC, warmup=10, group=GROUP,
           unit=(Unit.PRICE, Unit.STATE))  # fmt: skip
def supertrend(high: Value, low: Value, close: Value) -> Value:
    """SuperTrend 10/3: a trailing line three true ranges away, and the side it is on (1 or -1)."""
    line, side = ta.SUPERTREND(high, low, close, timeperiod=10, multiplier=3.0)
    return line, from_candle(side, 10)


@indicator("ichimoku_tenkan", inputs=("high", "low"), warmup=8, group=GROUP, unit=Unit.PRICE)
def ichimoku_tenkan(high: Value, low: Value) -> Value:
    """Ichimoku conversion line: middle of 9 candles."""
    return midprice(high, low, 9)


@indicator("ichimoku_kijun", inputs=("high", "low"), warmup=25, group=GROUP, unit=Unit.PRICE)
def ichimoku_kijun(high: Value, low: Value) -> Value:
    """Ichimoku base line: middle of 26 candles."""
    return midprice(high, low, 26)


@indicator("ichimoku_senkou_a", inputs=("high", "low"), warmup=51, group=GROUP, unit=Unit.PRICE)
def ichimoku_senkou_a(high: Value, low: Value) -> Value:
    """Ichimoku cloud, first edge under this candle: drawn 26 candles ago."""
    return lag((midprice(high, low, 9) + midprice(high, low, 26)) / 2.0, 26)


@indicator("ichimoku_senkou_b", inputs=("high", "low"), warmup=77, group=GROUP, unit=Unit.PRICE)
def ichimoku_senkou_b(high: Value, low: Value) -> Value:
    """Ichimoku cloud, second edge under this candle: middle of 52, drawn 26 candles ago."""
    return lag(midprice(high, low, 52), 26)


@indicator("ichimoku_side", inputs=("high", "low", "close"), warmup=77, group=GROUP,
           unit=Unit.STATE, bounds=(-1, 1))  # fmt: skip
def ichimoku_side(high: Value, low: Value, close: Value) -> Value:
    """1 above the Ichimoku cloud, -1 below it, 0 inside."""
    a, b = ichimoku_senkou_a(high, low), ichimoku_senkou_b(high, low)
    return above(close, larger(a, b)) - above(smaller(a, b), close)


@indicator("donchian_upper_{0}", "donchian_middle_{0}", "donchian_lower_{0}",
           inputs=("high", "low"), over=(20, 55), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE, bounds=(0, None))  # fmt: skip
def donchian(high: Value, low: Value, n: int) -> Value:
    """Donchian channel: highest high, middle and lowest low of {} candles."""
    return ta.DONCHIAN(high, low, timeperiod=n)


@indicator("donchian_position_{}", inputs=HLC, over=(20, 55), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, 1))  # fmt: skip
def donchian_position(high: Value, low: Value, close: Value, n: int) -> Value:
    """Where the close is in the channel of {} candles: 0 at the bottom, 1 at the top."""
    upper, _, lower = donchian(high, low, n)
    return ratio(close - lower, upper - lower, 0.5)


@indicator("linreg_{}", inputs=("close",), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def linreg(close: Value, n: int) -> Value:
    """End of the straight line fitted to {} closes."""
    return ta.LINEARREG(close, timeperiod=n)


@indicator("linreg_slope_{}", inputs=("close",), over=(14,), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.PRICE)  # fmt: skip
def linreg_slope(close: Value, n: int) -> Value:
    """Slope of the straight line fitted to {} closes, per candle."""
    return ta.LINEARREG_SLOPE(close, timeperiod=n)


@indicator("tsf_{}", inputs=("close",), over=(14,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def tsf(close: Value, n: int) -> Value:
    """The straight line fitted to {} closes, one candle further."""
    return linreg(close, n) + linreg_slope(close, n)


@indicator("linreg_r2_{}", inputs=("close",), over=(20, 60), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(0, 1))  # fmt: skip
def linreg_r2(close: Value, n: int) -> Value:
    """Share of the variance of {} closes that a straight line explains."""
    slope = ta.LINEARREG_SLOPE(close, timeperiod=n)
    explained = slope * slope * ((n * n - 1) / 12.0)
    return smaller(ratio(explained, ta.VAR(close, timeperiod=n, nbdev=1.0), 0.0), 1.0)


@indicator("mass_index", inputs=("high", "low"), warmup=40, group=GROUP, unit=Unit.POINTS,
           bounds=(0, None))  # fmt: skip
def mass_index(high: Value, low: Value) -> Value:
    """Mass index 9/25: widening of the range; above 27 a reversal is near."""
    return ta.MASSI(high, low, fastperiod=9, slowperiod=25)


@indicator("vhf_{}", inputs=("close",), over=(28,), warmup=lambda n: n, group=GROUP,
           unit=Unit.RATIO, bounds=(0, None))  # fmt: skip
def vhf(close: Value, n: int) -> Value:
    """Vertical horizontal filter over {}: large in a trend, small in a range."""
    return ta.VHF(close, timeperiod=n)


@indicator("efficiency_{}", inputs=("close",), over=(10, 30), warmup=lambda n: n, group=GROUP,
           unit=Unit.FRACTION, bounds=(0, 1))  # fmt: skip
def efficiency(close: Value, n: int) -> Value:
    """Kaufman's efficiency ratio over {}: net movement as a share of all movement."""
    return ta.ER(close, timeperiod=n)


@indicator("choppiness_{}", inputs=HLC, over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def choppiness(high: Value, low: Value, close: Value, n: int) -> Value:
    """Choppiness over {}: 100 when the price goes nowhere with much movement."""
    span = ta.MAX(high, timeperiod=n) - ta.MIN(low, timeperiod=n)
    paths = ratio(ta.SUM(ta.TRANGE(high, low, close), timeperiod=n), span, 1.0)
    return smaller(larger(log(larger(paths, 1.0)) * (100.0 / math.log(n)), 0.0), 100.0)


@indicator("ht_period", inputs=("close",), warmup=32, group=GROUP, unit=Unit.CANDLES)
def ht_period(close: Value) -> Value:
    """Length of the dominant cycle in candles (Ehlers, Hilbert transform)."""
    return ta.HT_DCPERIOD(close)
