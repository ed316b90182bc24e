import numpy as np
import pytest

from tests.risk.drawn import BTC, ETH, SOL
from trader.domain.candles import Candles, Timeframe
from trader.risk.correlation import correlations

DAILY, HOURLY = Timeframe.parse("1d"), Timeframe.parse("1h")


def closes(prices, timeframe=DAILY, keep=slice(None)):
    prices = np.asarray(prices, dtype=float)
    times = np.arange(1, len(prices) + 1, dtype=np.int64) * timeframe.seconds
    times, prices = times[keep], prices[keep]
    one = np.ones(len(prices))
    return Candles(timeframe, times, prices, prices, prices, prices, one, one.astype(np.int64))


def walk(seed, days=60, scale=0.02):
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, scale, days)))


def test_what_moves_the_same_way_is_one_and_the_opposite_way_minus_one():
    found = correlations({BTC: closes(walk(1)), ETH: closes(walk(1) * 7),
                          SOL: closes(1 / walk(1))}, BTC)  # fmt: skip
    assert found == pytest.approx({ETH: 1.0, SOL: -1.0})


def test_independent_markets_are_near_nothing():
    found = correlations({BTC: closes(walk(1, 61)), ETH: closes(walk(2, 61))}, BTC)
    assert abs(found[ETH]) < 0.35


def test_only_the_last_sixty_days_count():
    fresh = walk(1, 61)
    old = np.concatenate([walk(3, 200), fresh])
    other = np.concatenate([walk(4, 200), fresh])
    found = correlations({BTC: closes(old), ETH: closes(other)}, BTC)
    assert found[ETH] == pytest.approx(1.0)


def test_hours_are_looked_at_by_the_day():
    days, hours = walk(1, 40), np.repeat(walk(1, 40), 24)
    noise = np.tile([1.0] * 11 + [1.2] + [1.0] * 12, 40)
    found = correlations({BTC: closes(hours * noise, HOURLY), ETH: closes(hours, HOURLY)}, BTC)
    assert found[ETH] == pytest.approx(1.0)
    assert len(days) == 40


def test_days_that_only_one_market_has_are_left_out():
    every = walk(1, 60)
    gapped = closes(every, keep=np.r_[0:20, 25:60])
    assert correlations({BTC: closes(every), ETH: gapped}, BTC)[ETH] == pytest.approx(1.0)


def test_the_unknown_counts_as_moving_along():
    short, still = closes(walk(1, 10)), closes(np.full(60, 5.0))
    assert correlations({BTC: closes(walk(2)), ETH: short, SOL: still}, BTC) == {ETH: 1, SOL: 1}
    assert correlations({BTC: closes(walk(2)), ETH: closes([])}, BTC) == {ETH: 1.0}
