"""How closely markets move together: for the limit on what falls at the same time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from trader.domain.candles import Candles, FloatArray, IntArray, Timeframe
from trader.domain.markets import Pair

DAY = Timeframe(86400)
DAYS = 60
FEWEST = 20


def correlations(histories: Mapping[Pair, Candles], pair: Pair) -> dict[Pair, float]:
    """Correlation of one pair's daily log returns with each other pair's.

    Over the last 60 days on which both traded, at least 20; a pair with fewer days in common, or
    one that did not move, is taken to move along fully (1.0), for the unknown must not add room.

    Args:
        histories: closed candles of each pair, any timeframe that divides a day.
        pair: the pair that is asked about, among them.

    Returns:
        Other pair → correlation in [-1, 1].
    """
    own = _daily_returns(histories[pair])
    return {
        other: _correlation(own, _daily_returns(candles))
        for other, candles in histories.items()
        if other != pair
    }


def _daily_returns(candles: Candles) -> tuple[IntArray, FloatArray]:
    """(day, log return) of each whole day whose day before is there too."""
    wanted = (DAYS + 2) * max(1, DAY.seconds // candles.timeframe.seconds)
    days = candles[-wanted:].resampled(DAY)
    follows = np.diff(days.opened_at) == DAY.seconds
    return days.opened_at[1:][follows], cast(FloatArray, np.diff(np.log(days.close))[follows])


def _correlation(own: tuple[IntArray, FloatArray], other: tuple[IntArray, FloatArray]) -> float:
    _, mine, theirs = np.intersect1d(own[0], other[0], assume_unique=True, return_indices=True)
    a, b = own[1][mine][-DAYS:], other[1][theirs][-DAYS:]
    if len(a) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 1.0
    return float(np.clip(np.corrcoef(a, b)[0, 1], -1.0, 1.0))
