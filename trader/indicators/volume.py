"""Volume: whether money follows the price. Volume is in base, flows of money in quote."""

from __future__ import annotations

from trader.indicators.graph import (
    Value,
    clipped,
    day_sum,
    lag,
    magnitude,
    ratio,
    sign,
    ta,
    where,
    window_sum,
)
from trader.indicators.registry import Unit, indicator
from trader.indicators.volatility import log_return

GROUP = "volume"
HLCV = ("high", "low", "close", "volume")


def typical(high: Value, low: Value, close: Value) -> Value:
    """A third of high, low and close."""
    return (high + low + close) / 3.0


@indicator("obv", inputs=("close", "volume"), warmup=0, group=GROUP, unit=Unit.VOLUME,
           anchored=True)  # fmt: skip
def obv(close: Value, volume: Value) -> Value:
    """On-balance volume: volume added on rises, taken off on falls, since the first candle."""
    return ta.OBV(close, volume)


@indicator("obv_flow_{}", inputs=("close", "volume"), over=(20,), warmup=lambda n: n,
           group=GROUP, unit=Unit.FRACTION, bounds=(-1, 1))  # fmt: skip
def obv_flow(close: Value, volume: Value, n: int) -> Value:
    """Change of the on-balance volume over {} as a share of the volume traded."""
    signed = sign(close - lag(close, 1)) * volume
    return ratio(window_sum(signed, n), window_sum(volume, n), 0.0)


@indicator("ad", inputs=HLCV, warmup=0, group=GROUP, unit=Unit.VOLUME, anchored=True)
def ad(high: Value, low: Value, close: Value, volume: Value) -> Value:
    """Accumulation/distribution: volume weighed by the close's place in the range, summed."""
    return ta.AD(high, low, close, volume)


@indicator("adosc", inputs=HLCV, warmup=9, group=GROUP, unit=Unit.VOLUME)
def adosc(high: Value, low: Value, close: Value, volume: Value) -> Value:
    """Chaikin oscillator 3/10: fast less slow mean of accumulation/distribution."""
    return ta.ADOSC(high, low, close, volume, fastperiod=3, slowperiod=10)


@indicator("cmf_{}", inputs=HLCV, over=(20, 60), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.FRACTION, bounds=(-1, 1))  # fmt: skip
def cmf(high: Value, low: Value, close: Value, volume: Value, n: int) -> Value:
    """Chaikin money flow over {}: volume at the top of the range less volume at the bottom."""
    place = ratio((close - low) - (high - close), high - low, 0.0)
    return ratio(window_sum(place * volume, n), window_sum(volume, n), 0.0)


@indicator("mfi_{}", inputs=HLCV, over=(14,), warmup=lambda n: n, group=GROUP,
           unit=Unit.POINTS, bounds=(0, 100))  # fmt: skip
def mfi(high: Value, low: Value, close: Value, volume: Value, n: int) -> Value:
    """Money flow index over {}: share of the money that flowed on rises."""
    return ta.MFI(high, low, close, volume, timeperiod=n)


@indicator("force_{}", inputs=("close", "volume"), over=(13,), warmup=lambda n: n, group=GROUP,
           unit=Unit.QUOTE)  # fmt: skip
def force(close: Value, volume: Value, n: int) -> Value:
    """Elder's force over {}: exponential mean of change times volume."""
    return ta.EFI(close, volume, timeperiod=n)


@indicator("eom_{}", inputs=("high", "low", "volume"), over=(14,), warmup=lambda n: n,
           group=GROUP, unit=Unit.OTHER)  # fmt: skip
def eom(high: Value, low: Value, volume: Value, n: int) -> Value:
    """Ease of movement over {}: how far the middle moves per volume; 0 without volume."""
    middle = (high + low) / 2.0
    moved = (middle - lag(middle, 1)) * (high - low) * 1e8
    return ta.SMA(ratio(moved, volume, 0.0), timeperiod=n)


@indicator("nvi", inputs=("close", "volume"), warmup=0, group=GROUP, unit=Unit.OTHER,
           anchored=True)  # fmt: skip
def nvi(close: Value, volume: Value) -> Value:
    """Negative volume index: changes on falling volume, compounded since the first candle."""
    return ta.NVI(close, volume)


@indicator("pvi", inputs=("close", "volume"), warmup=0, group=GROUP, unit=Unit.OTHER,
           anchored=True)  # fmt: skip
def pvi(close: Value, volume: Value) -> Value:
    """Positive volume index: changes on rising volume, compounded since the first candle."""
    return ta.PVI(close, volume)


@indicator("pvt", inputs=("close", "volume"), warmup=0, group=GROUP, unit=Unit.VOLUME,
           anchored=True)  # fmt: skip
def pvt(close: Value, volume: Value) -> Value:
    """Price volume trend: volume times relative change, summed since the first candle."""
    return ta.PVT(close, volume)


@indicator("pvo", inputs=("volume",), warmup=25, group=GROUP, unit=Unit.POINTS)
def pvo(volume: Value) -> Value:
    """Fast less slow exponential mean of the volume (12, 26) in percent of the slow one."""
    return ta.PVO(volume, fastperiod=12, slowperiod=26, matype=1)


@indicator("vwap_day", inputs=("opened_at", *HLCV), warmup=0, group=GROUP, unit=Unit.PRICE)
def vwap_day(opened_at: Value, high: Value, low: Value, close: Value, volume: Value) -> Value:
    """Volume-weighted price since midnight UTC; the typical price before the first volume."""
    middle = typical(high, low, close)
    traded = day_sum(volume, opened_at)
    return where(traded, ratio(day_sum(middle * volume, opened_at), traded, 0.0), middle)


@indicator("vwap_{}", inputs=HLCV, over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.PRICE)  # fmt: skip
def vwap(high: Value, low: Value, close: Value, volume: Value, n: int) -> Value:
    """Volume-weighted typical price of {} candles; their plain mean without volume."""
    middle = typical(high, low, close)
    traded = window_sum(volume, n)
    plain = ta.SMA(middle, timeperiod=n)
    return where(traded, ratio(window_sum(middle * volume, n), traded, 0.0), plain)


@indicator("vwap_gap_{}", inputs=("close", "vwap_20"), over=(20,), warmup=lambda n: n - 1,
           group=GROUP, unit=Unit.FRACTION, bounds=(-1, None))  # fmt: skip
def vwap_gap(close: Value, weighted: Value, _: int) -> Value:
    """How far the close is above the volume-weighted price of {} candles, as a fraction."""
    return ratio(close, weighted) - 1.0


@indicator("volume_sma_{}", inputs=("volume",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.VOLUME, bounds=(0, None))  # fmt: skip
def volume_sma(volume: Value, n: int) -> Value:
    """Mean volume of {} candles."""
    return window_sum(volume, n) / float(n)


@indicator("rvol_{}", inputs=("volume",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.RATIO, bounds=(0, None))  # fmt: skip
def rvol(volume: Value, n: int) -> Value:
    """Volume over the mean of {} candles, this one included; 1 where nothing was traded."""
    return ratio(volume, volume_sma(volume, n), 1.0)


@indicator("volume_z_{}", inputs=("volume",), over=(20,), warmup=lambda n: n - 1, group=GROUP,
           unit=Unit.RATIO)  # fmt: skip
def volume_z(volume: Value, n: int) -> Value:
    """Volume less its mean of {}, in standard deviations."""
    return ratio(volume - volume_sma(volume, n), ta.STDDEV(volume, timeperiod=n, nbdev=1.0), 0.0)


@indicator("market_fi", inputs=("high", "low", "volume"), warmup=0, group=GROUP,
           unit=Unit.OTHER, bounds=(0, None))  # fmt: skip
def market_fi(high: Value, low: Value, volume: Value) -> Value:
    """Market facilitation: range per volume; 0 without volume."""
    return ratio(high - low, volume, 0.0)


@indicator("amihud_{}", inputs=("close", "volume"), over=(20,), warmup=lambda n: n, group=GROUP,
           unit=Unit.OTHER, bounds=(0, None))  # fmt: skip
def amihud(close: Value, volume: Value, n: int) -> Value:
    """Amihud's illiquidity over {}: movement per million of quote traded (2002)."""
    moved = magnitude(log_return(close))
    return window_sum(ratio(moved * 1e6, close * volume, 0.0), n) / float(n)


@indicator("signed_volume_{}", inputs=("open", "close", "volume"), over=(24,),
           warmup=lambda n: n - 1, group=GROUP, unit=Unit.FRACTION, bounds=(-1, 1))  # fmt: skip
def signed_volume(open_: Value, close: Value, volume: Value, n: int) -> Value:
    """Volume of rising less volume of falling candles, as a share, over {}."""
    signed = sign(close - open_) * volume
    return ratio(window_sum(signed, n), window_sum(volume, n), 0.0)


@indicator("price_volume_corr_{}", inputs=("close", "volume"), over=(20,), warmup=lambda n: n,
           group=GROUP, unit=Unit.RATIO, bounds=(-1, 1))  # fmt: skip
def price_volume_corr(close: Value, volume: Value, n: int) -> Value:
    """Correlation of the size of a move with the volume over {}."""
    moved = magnitude(log_return(close))
    return clipped(ta.CORREL(moved, volume, timeperiod=n), -1.0, 1.0)
