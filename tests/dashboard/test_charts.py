"""What the market chart marks."""

import numpy as np

from trader.dashboard.charts import pattern_marks
from trader.domain.candles import Candles, Timeframe
from trader.patterns import NEUTRAL, compute_patterns

NAMES = {"gravestone_doji", "dragonfly_doji"}


def dojis() -> Candles:
    """Ordinary candles, among them shapes that open and close at one end of their range."""
    rng = np.random.default_rng(3)
    count = 200
    close = np.round(100 + np.cumsum(rng.normal(0, 1, count)), 2)
    opens = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(opens, close) + 0.5, np.minimum(opens, close) - 0.5
    for place, up in ((60, True), (120, False)):
        opens[place] = close[place]
        high[place] = close[place] + (5.0 if up else 0.0)
        low[place] = close[place] - (0.0 if up else 5.0)
    opened = 3600 * np.arange(count, dtype=np.int64)
    return Candles(
        Timeframe.parse("1h"), opened, opens, high, low, close, np.full(count, 1.0),
        np.full(count, 1, dtype=np.int64),
    )  # fmt: skip


def test_a_shape_without_a_direction_is_marked_as_neutral() -> None:
    candles = dojis()
    for name, strength in compute_patterns(candles, sorted(NAMES)).items():
        assert np.nanmax(strength) == 1.0, f"no {name} in the sample"
    marks = pattern_marks(candles, len(candles))
    told = {name: mark["direction"] for mark in marks for name in mark["names"]}
    assert {told[name.replace("_", " ")] for name in NAMES} == {"neutral"}
    assert {name for name, way in told.items() if way == "neutral"} <= {
        name.replace("_", " ") for name in NEUTRAL
    }
    assert {mark["direction"] for mark in marks} == {"bullish", "bearish", "neutral"}
