"""Does a feature change when only the future does? Asked at every training, of every column.

A stretch of the history is analysed twice, the second time with other candles after a point: up to
that point every value of every column must be the same to the bit. The leak fuzzer
(`features check`) does the same to indicators, thoroughly; this is the last look, at exactly what
the model was given.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.learning.features import analysis_for_features, feature_names, table_of

KNOWN_ROWS = 1500
FUTURE_ROWS = 300


def columns_that_see_ahead(histories: Mapping[Pair, Candles], seed: int = 0) -> tuple[str, ...]:
    """Features whose values change with candles that come after them.

    Args:
        histories: closed candles of each pair; the longest is looked at. Too short a history
            shows nothing.
        seed: of the other future.
    """
    if not histories:
        return ()
    pair, candles = max(histories.items(), key=lambda item: len(item[1]))
    known = min(KNOWN_ROWS, len(candles) - FUTURE_ROWS)
    if known < FUTURE_ROWS:
        return ()
    whole = candles[: known + FUTURE_ROWS]
    changed = np.zeros(len(feature_names()), dtype=bool)
    first = _matrix(pair, whole)[:known]
    second = _matrix(pair, _with_another_future(whole, known, seed))[:known]
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    changed |= ~same.all(axis=0)
    return tuple(name for name, moved in zip(feature_names(), changed, strict=True) if moved)


def _matrix(pair: Pair, candles: Candles) -> np.typing.NDArray[np.float32]:
    """All columns; the market is its own leader, so that the leader's columns are asked too."""
    analysis = analysis_for_features(pair, candles)
    return table_of(analysis, analysis_for_features(pair, candles)).matrix


def _with_another_future(candles: Candles, known: int, seed: int) -> Candles:
    rng = np.random.default_rng(seed)
    times, opens, highs, lows, closes, volumes, trades = (np.array(c) for c in candles.columns())
    factor = np.exp(np.cumsum(rng.normal(0, 0.03, len(times) - known)))
    for prices in (opens, highs, lows, closes):
        prices[known:] *= factor
    volumes[known:] *= rng.uniform(0.2, 5.0, len(factor))
    return Candles(
        candles.timeframe, times, opens, highs, lows, closes, volumes, trades, checked=True
    )
