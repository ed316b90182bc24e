from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.risk.drawn import NOW, RULES
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.signals import Analysis, Snapshot
from trader.risk import stops

D = Decimal
HOURLY, DAILY, WEEKLY = (Timeframe.parse(t) for t in ("1h", "1d", "1w"))


def drawn(timeframe, high, low, first=0):
    """Candles that open at 100 and close at 100, with these ranges."""
    n = len(high)
    times = (first + np.arange(n)) * timeframe.seconds
    flat = np.full(n, 100.0)
    return Candles(
        timeframe, times, flat, np.asarray(high, float), np.asarray(low, float), flat,
        np.ones(n), np.ones(n, dtype=np.int64),
    )  # fmt: skip


def random_candles(seed, n, timeframe=HOURLY, first=7):
    rng = np.random.default_rng(seed)
    return drawn(timeframe, 100 + rng.random(n) * 9, 100 - rng.random(n) * 9, first)


def test_the_stop_is_so_many_daily_ranges_below_the_entry_on_the_tick():
    assert stops.atr_stop(D(100), D("1.11"), D(3), RULES) == D("96.6")


def test_the_stop_is_never_nearer_than_half_a_percent_nor_farther_than_half():
    assert stops.atr_stop(D(100), D(0), D(4), RULES) == D("99.5")
    assert stops.atr_stop(D(100), D(1000), D(4), RULES) == D("50.0")


def test_where_the_tick_is_too_coarse_there_is_no_stop():
    assert stops.atr_stop(D("0.1"), D("0.1"), D(4), RULES) is None


def test_the_target_is_above_the_entry_by_its_reward():
    assert stops.target_price(D(100), D("96.66"), D(2), RULES) == D("106.7")
    assert stops.target_price(D(100), D(96), D(0), RULES) is None


def test_a_trailing_stop_rises_and_never_falls():
    assert stops.trailing_stop(D(80), D(120), D(5), D(4), RULES) == 100
    assert stops.trailing_stop(D(80), D(95), D(5), D(4), RULES) == 80


def test_time_is_up_at_the_moment_itself():
    week = timedelta(7)
    assert not stops.time_is_up(NOW, NOW + week - timedelta(seconds=1), week)
    assert stops.time_is_up(NOW, NOW + week, week)
    assert not stops.time_is_up(NOW, NOW + week, None)


def test_the_daily_range_is_the_mean_of_fourteen_days():
    ranges = np.arange(15.0)
    candles = drawn(DAILY, 100 + ranges, np.full(15, 100.0))
    assert stops.daily_atr(candles) == np.arange(1, 15).mean()
    assert stops.daily_atr(candles[:14]) is None


def test_the_range_of_a_day_reaches_back_to_the_close_before():
    candles = drawn(DAILY, np.full(15, 100.0), np.full(15, 100.0))
    gapped = Candles(
        DAILY, candles.opened_at, candles.open + 3, candles.high + 3, candles.low + 3,
        candles.close + 3, candles.volume, candles.trades,
    )[14:]  # fmt: skip
    assert stops.daily_atr(candles[:14].followed_by(gapped)) == pytest.approx(3 / 14)


def test_hourly_candles_give_the_range_of_whole_days():
    candles = random_candles(1, 24 * 20 + 5)
    whole = candles.resampled(DAILY)
    assert stops.daily_atr(candles) == stops.daily_atr(whole)


def test_while_days_are_few_the_hourly_range_is_scaled_by_the_root_of_time():
    candles = drawn(HOURLY, np.full(15, 102.0), np.full(15, 100.0))
    assert stops.daily_atr(candles) == pytest.approx(2 * 24**0.5)
    assert stops.daily_atr(candles[:14]) is None
    assert stops.daily_atr(candles[:0]) is None


def test_weekly_candles_are_scaled_down_to_a_day():
    candles = drawn(WEEKLY, np.full(15, 107.0), np.full(15, 100.0))
    assert stops.daily_atr(candles) == pytest.approx(7 / 7**0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(1, 24 * 40), st.sampled_from([1, 3, 7]))
def test_each_value_of_the_series_is_what_was_known_then(seed, n, absent_each):
    candles = random_candles(seed, 24 * 40)
    keep = np.arange(len(candles)) % (absent_each * 5) != 2
    candles = Candles(HOURLY, *(column[keep] for column in candles.columns()))
    n = min(n, len(candles))
    then = stops.daily_atr(candles[:n])
    series = float(stops.daily_atr_series(candles)[n - 1])
    assert (None if np.isnan(series) else series) == then


def test_a_snapshot_of_a_whole_analysis_knows_the_range_its_candles_alone_give():
    hours = 24 * 40
    close = 100 + np.sin(np.arange(hours) / 9)
    times = np.arange(hours, dtype=np.int64) * 3600
    kept = np.arange(hours) % 11 != 5
    columns = [c[kept] for c in (close, close + 1, close - 1, close, close)]
    candles = Candles(Timeframe(3600), times[kept], *columns, np.ones(kept.sum(), dtype=np.int64))
    whole = Analysis(Pair("BTC", "USD"), candles, {}, {})
    rows = (3, 40, 333, 600, len(candles) - 1)
    assert [stops.daily_atr_of(Snapshot(whole, row)) for row in rows] == [
        stops.daily_atr(candles[: row + 1]) for row in rows
    ]
