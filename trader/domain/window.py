"""Which candles an analysis looks at: one definition for the bot, a look by hand and a test.

The first candle moves in strides on a fixed grid of time instead of with every new candle. So a
stream can follow the market for many candles, and a bot that is started again begins at the very
same candle as if it had never stopped.
"""

from __future__ import annotations

import numpy as np

from trader.domain.candles import Candles

KEEP = 5000
"""Candles looked at, at least (where there are so many)."""
STRIDE = 1000
"""The grid on which the first candle lies, in candles."""
LONGEST_HOLE = 72
"""A hole of more candles than this parts the history: what lies before it is forgotten."""


def first_row(candles: Candles, row: int, keep: int = KEEP, stride: int = STRIDE) -> int:
    """The row at which the window of the candle in `row` begins.

    Depends on nothing but that candle's time and the holes before it.
    """
    step = candles.timeframe.seconds
    number = int(candles.opened_at[row]) // step - keep + 1
    first = int(candles.opened_at[: row + 1].searchsorted((number - number % stride) * step))
    holes = long_holes(candles[first : row + 1])
    return first + holes[-1] if holes else first


def long_holes(candles: Candles) -> list[int]:
    """The rows before which so many candles are absent that a new history begins there."""
    missing = np.diff(candles.opened_at) > (LONGEST_HOLE + 1) * candles.timeframe.seconds
    return [int(row) + 1 for row in np.flatnonzero(missing)]


def window(candles: Candles, keep: int = KEEP, stride: int = STRIDE) -> Candles:
    """The newest `keep` candles, up to a stride more, and none from before a long hole.

    >>> from trader.domain.candles import Timeframe
    >>> len(window(Candles.empty(Timeframe(3600))))
    0
    """
    if not len(candles):
        return candles
    return candles[first_row(candles, len(candles) - 1, keep, stride) :]
