"""A new indicator: where closes have lain in their candles, on average.

    INDICATORS=examples.close_location

One decorated function. Because it has two bounds it is a feature for the models too, and the
registry gives it its warm-up test, its bounds test and its place in `analyze`.
`python run_trader.py features check examples.close_location:close_location` looks for the future.
"""

from trader.indicators.graph import Value, ratio, ta
from trader.indicators.registry import Unit, indicator


@indicator("close_location_10", inputs=("high", "low", "close"), warmup=9, group="volume",
           unit=Unit.RATIO, bounds=(-1, 1))  # fmt: skip
def close_location(high: Value, low: Value, close: Value) -> Value:
    """Mean over 10 of the close's place in its candle: 1 at the high, -1 at the low."""
    middle = (high + low) / 2
    return ta.SMA(ratio(close - middle, (high - low) / 2), timeperiod=10)
