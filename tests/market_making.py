"""Small markets for tests: candles from closes, and snapshots on them."""

from datetime import UTC, datetime

import numpy as np

from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.signals import Analysis, Snapshot

START = datetime(2020, 1, 2, tzinfo=UTC)  # a Thursday, when weeks begin
HOUR = Timeframe(3600)


def candles_of(closes, timeframe=HOUR, start=START, wick=0.001) -> Candles:
    """Candles that open at the last close; high and low a wick beyond the body."""
    close = np.asarray(closes, dtype=float)
    opened = np.concatenate([[close[0]], close[:-1]])
    times = int(start.timestamp()) + np.arange(len(close)) * timeframe.seconds
    return Candles(
        timeframe,
        times.astype(np.int64),
        opened,
        np.maximum(opened, close) * (1 + wick),
        np.minimum(opened, close) * (1 - wick),
        close,
        np.full(len(close), 10.0),
        np.full(len(close), 5, dtype=np.int64),
    )


def random_walk(rows, seed=1, drift=0.0, sigma=0.006, start=100.0):
    """Closes of a seeded random walk; sigma a candle."""
    steps = np.random.default_rng(seed).normal(drift, sigma, rows)
    return start * np.exp(np.cumsum(steps))


def snapshot_of(candles, pair="BTC/USD", index=None, leader=None) -> Snapshot:
    """A snapshot without indicators."""
    analysis = Analysis(Pair.parse(pair), candles, {}, {})
    return Snapshot(analysis, len(candles) - 1 if index is None else index, leader=leader)
