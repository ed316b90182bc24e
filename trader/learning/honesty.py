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
from trader.learning.features import LEADER, analysis_for_features, feature_names, table_of

KNOWN_ROWS = 1500
FUTURE_ROWS = 300


def columns_that_see_ahead(
    histories: Mapping[Pair, Candles], leader: Candles | None = None, seed: int = 0
) -> tuple[str, ...]:
    """Features whose values change with candles that come after them.

    Two markets are looked at: the longest, as its own leader, so that all columns are asked; and
    the longest beside the real leader, whose candles are joined to its own by time.

    Args:
        histories: closed candles of each pair. Too short a history shows nothing.
        leader: the leader's candles where it is not among the pairs.
        seed: of the other future.
    """
    if not histories:
        return ()
    longest = max(histories.items(), key=_length)
    moved = _moved(*longest, longest[1], seed)
    leading = next((c for pair, c in histories.items() if pair.base == LEADER), leader)
    others = [item for item in histories.items() if item[0].base != LEADER]
    if leading is not None and others:
        moved |= _moved(*max(others, key=_length), leading, seed)
    return tuple(name for name, seen in zip(feature_names(), moved, strict=True) if seen)


def _length(item: tuple[Pair, Candles]) -> int:
    return len(item[1])


def _moved(
    pair: Pair, candles: Candles, leader: Candles, seed: int
) -> np.typing.NDArray[np.bool_]:
    """Which columns of the pair change in the past when its and the leader's future do."""
    nothing = np.zeros(len(feature_names()), dtype=bool)
    if not len(candles) or not len(leader):
        return nothing
    # From where both are there, so that the leader's columns are warm.
    candles = candles[int(np.searchsorted(candles.opened_at, leader.opened_at[0])) :]
    known = min(KNOWN_ROWS, len(candles) - FUTURE_ROWS)
    if known < FUTURE_ROWS:
        return nothing
    whole = candles[: known + FUTURE_ROWS]
    first, cut, last = (int(whole.opened_at[at]) for at in (0, known, -1))
    begin, led, end = np.searchsorted(leader.opened_at, (first, cut, last + 1)).tolist()
    leading = leader[begin:end]
    if len(leading) < FUTURE_ROWS:
        return nothing
    before = _matrix(pair, whole, leading)[:known]
    # Another seed: moved alike, the two would look unmoved relative to each other.
    moved_leader = _with_another_future(leading, led - begin, seed + 1)
    after = _matrix(pair, _with_another_future(whole, known, seed), moved_leader)[:known]
    same = (before == after) | (np.isnan(before) & np.isnan(after))
    return np.asarray(~same.all(axis=0))


def _matrix(pair: Pair, candles: Candles, leader: Candles) -> np.typing.NDArray[np.float32]:
    """All columns of a pair beside its leader."""
    analysis = analysis_for_features(pair, candles)
    return table_of(analysis, analysis_for_features(Pair(LEADER, pair.quote), leader)).matrix


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
