"""Markets for the sweeps: ordinary ones, and those in which formulas break."""

import numpy as np

from trader.domain.candles import Candles, Timeframe

HOUR = Timeframe(3600)
START = 1_600_002_000 // 3600 * 3600


def market(
    count: int = 700,
    seed: int = 7,
    *,
    price: float = 100.0,
    step: float = 0.01,
    volume: float = 10.0,
) -> Candles:
    """A random walk with shadows, gaps between candles and an odd volume here and there."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, step, count)))
    opened = np.concatenate([[price], close[:-1]]) * np.exp(rng.normal(0, step / 5, count))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, step / 2, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, step / 2, count)))
    return build(opened, high, low, close, rng.gamma(1.0, volume, count))


def build(opened, high, low, close, volume, times=None) -> Candles:
    count = len(close)
    times = START + np.arange(count, dtype=np.int64) * 3600 if times is None else times
    trades = np.full(count, 5, dtype=np.int64)
    return Candles(HOUR, times, opened, high, low, close, volume, trades)


def constant(count: int = 400, price: float = 3.3, volume: float = 1.0) -> Candles:
    """A market in which nothing moves."""
    flat = np.full(count, price)
    return build(flat, flat, flat, flat, np.full(count, volume))


def silent(count: int = 400) -> Candles:
    """Prices move; nothing is traded for the second half."""
    lively = market(count)
    volume = np.array(lively.volume)
    volume[count // 2 :] = 0.0
    return build(lively.open, lively.high, lively.low, lively.close, volume)


def frozen(count: int = 700) -> Candles:
    """A lively market that stops moving half-way."""
    lively = market(count)
    columns = [np.array(c) for c in (lively.open, lively.high, lively.low, lively.close)]
    for column in columns:
        column[count // 2 :] = lively.close[count // 2 - 1]
    return build(*columns, lively.volume)


def gappy(count: int = 700) -> Candles:
    """Many candles are absent."""
    lively = market(count)
    kept = np.sort(np.random.default_rng(3).choice(count, count * 2 // 3, replace=False))
    return build(
        *(c[kept] for c in (lively.open, lively.high, lively.low, lively.close, lively.volume)),
        times=lively.opened_at[kept],
    )


def scaled(candles: Candles, factor: float) -> Candles:
    """The same market in another currency."""
    prices = (candles.open, candles.high, candles.low, candles.close)
    return build(*(c * factor for c in prices), candles.volume, candles.opened_at)


def without_volume(candles: Candles) -> Candles:
    """Prices that move without a trade."""
    prices = (candles.open, candles.high, candles.low, candles.close)
    return build(*prices, np.zeros(len(candles)))


EXTREMES = {
    "prices of 1e-9": lambda: market(price=1e-9),
    "prices of 1e9": lambda: market(price=1e9),
    "constant": constant,
    "frozen half-way": frozen,
    "no volume at all": lambda: constant(volume=0.0),
    "volume stops": silent,
    "gaps": gappy,
    "gaps at 1e9": lambda: scaled(gappy(), 1e7),
    "constant at 1e-9": lambda: constant(price=1e-9),
    "constant at 1e9": lambda: constant(price=1e9),
    "no volume at 1e-9": lambda: without_volume(market(price=1e-9)),
    "one candle without volume": lambda: constant(1, volume=0.0),
    "one candle": lambda: market(1),
    "two candles": lambda: market(2),
    "tiny volume": lambda: market(volume=1e-8),
    "violent": lambda: market(step=0.3),
}
