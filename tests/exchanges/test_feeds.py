"""Feeds show the past only, and the made-up market is the same whoever asks and when."""

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.drawn_market import BTC, HOUR, at, drawn
from trader.domain.candles import Timeframe
from trader.domain.errors import UnknownPair, UsageError
from trader.domain.markets import Pair
from trader.exchanges.feeds import ReplayFeed, SimulatedFeed
from trader.simulation.path import to_us

NOW = datetime(2026, 3, 14, 15, 30, tzinfo=UTC)
PAIRS = (Pair("BTC", "USD"), Pair("ETH", "USD"), Pair("SOL", "USD"))


@pytest.fixture(scope="module")
def hourly():
    feed = SimulatedFeed(7, PAIRS)
    return {pair: feed.history(pair, HOUR, NOW) for pair in PAIRS}


def hourly_returns(candles):
    return np.diff(np.log(candles.close))


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


def test_a_replay_shows_only_candles_that_have_closed():
    feed = ReplayFeed({BTC: drawn([(1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3)])})
    assert list(feed.history(BTC, HOUR, at(1.99)).close) == [1]
    assert list(feed.history(BTC, HOUR, at(2)).close) == [1, 2]


def test_the_forming_candle_is_the_path_so_far():
    # 100 → 70 at 0:20 → 130 at 0:40: at 0:30 the path stands at 100, half of the volume traded.
    feed = ReplayFeed({BTC: drawn([(100, 130, 70, 110, 8)])})
    forming = feed.forming(BTC, HOUR, at(0.5))
    assert (forming.open, forming.high, forming.low, forming.close) == (100, 100, 70, 100)
    assert forming.volume == 4


def test_a_coarse_forming_candle_joins_its_closed_parts_and_the_running_one():
    feed = ReplayFeed({BTC: drawn([(100, 120, 90, 110, 3), (110, 115, 80, 90, 4)])})
    forming = feed.forming(BTC, Timeframe.parse("4h"), at(1 + 1 / 3))
    assert (forming.open, forming.high, forming.low, forming.close) == (100, 120, 80, 80)


def test_coarse_history_has_no_candle_whose_interval_still_runs():
    feed = ReplayFeed({BTC: drawn([(1, 1, 1, 1)] * 7)})
    assert len(feed.history(BTC, Timeframe.parse("4h"), at(7))) == 1


def test_there_is_no_price_where_candles_are_missing_but_the_last_one_is_known():
    feed = ReplayFeed({BTC: drawn([(1, 1, 1, 1), None, (3, 3, 3, 3)])})
    during = to_us(at(1.5))
    assert (feed.price(BTC, during), feed.last_price(BTC, during)) == (None, Decimal("1.0"))


def test_a_timeframe_finer_than_the_feed_is_refused():
    feed = ReplayFeed({BTC: drawn([(1, 1, 1, 1)])})
    with pytest.raises(UsageError, match="the finest are 1h"):
        feed.history(BTC, Timeframe.parse("5m"), at(1))


def test_a_pair_the_feed_does_not_have_is_refused():
    with pytest.raises(UnknownPair):
        ReplayFeed({BTC: drawn([(1, 1, 1, 1)])}).history(PAIRS[1], HOUR, at(1))


@pytest.mark.slow
def test_the_made_up_market_does_not_depend_on_what_is_asked_first(hourly):
    feed = SimulatedFeed(7, reversed(PAIRS))
    for early in range(2018, 2026, 3):
        feed.history(PAIRS[1], HOUR, datetime(early, 1, 1, tzinfo=UTC))
    assert {pair: feed.history(pair, HOUR, NOW) for pair in PAIRS} == hourly


@pytest.mark.slow
def test_the_made_up_past_stays_when_time_goes_on(hourly):
    feed = SimulatedFeed(7, PAIRS)
    later = feed.history(BTC, HOUR, NOW + timedelta(days=400))
    assert later[: len(hourly[BTC])] == hourly[BTC]
    assert len(later) == len(hourly[BTC]) + 400 * 24


def test_another_seed_is_another_market(hourly):
    other = SimulatedFeed(8, PAIRS).history(BTC, HOUR, NOW)
    assert abs(correlation(hourly_returns(other), hourly_returns(hourly[BTC]))) < 0.05


@pytest.mark.slow
def test_years_of_three_pairs_are_made_in_seconds():
    began = time.perf_counter()
    feed = SimulatedFeed(9, PAIRS)
    candles = [feed.history(pair, HOUR, NOW) for pair in PAIRS]
    assert time.perf_counter() - began < 3
    assert min(len(c) for c in candles) > 5 * 365 * 24


def test_made_up_candles_are_without_gaps_and_hang_together(hourly):
    for candles in hourly.values():
        assert candles.gaps() == []
        assert np.array_equal(candles.open[1:], candles.close[:-1])


def test_made_up_returns_are_hardly_predictable_from_the_last_ones(hourly):
    for candles in hourly.values():
        r = hourly_returns(candles)
        assert max(abs(correlation(r[:-k], r[k:])) for k in (1, 2, 6, 24)) < 0.03


def test_made_up_volatility_comes_in_clusters_and_tails_are_fat(hourly):
    for candles in hourly.values():
        r = hourly_returns(candles)
        assert correlation(abs(r[:-24]), abs(r[24:])) > 0.08
        assert np.mean((r - r.mean()) ** 4) / r.var() ** 2 > 5


@pytest.mark.slow
def test_made_up_volatility_has_its_hours(hourly):
    r = abs(hourly_returns(hourly[BTC]))
    hour = hourly[BTC].opened_at[1:] // 3600 % 24
    assert r[hour == 15].mean() > 1.3 * r[hour == 3].mean()


def test_made_up_pairs_follow_the_leader(hourly):
    leader = hourly_returns(hourly[BTC])
    for pair in PAIRS[1:]:
        assert 0.5 < correlation(leader, hourly_returns(hourly[pair])) < 0.95


def test_made_up_prices_stay_plausible(hourly):
    assert 2_000 < hourly[BTC].close.min() < hourly[BTC].close.max() < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [5, 15, 60, 1440])
@pytest.mark.parametrize("pair", [Pair("BTC", "USD"), Pair("XRP", "USD"), Pair("ETH", "BTC")])
def test_the_made_up_market_is_the_same_in_every_timeframe(pair, minutes):
    """Minutes add up to what is drawn where nobody asks for minutes, to the last trade."""
    coarse = Timeframe(60 * minutes)
    fine, whole = (
        SimulatedFeed(7, [pair], base).history(pair, frame, NOW, 4 * 1440 // unit)
        for base, frame, unit in (
            (Timeframe(60), Timeframe(60), 1), (min(coarse, Timeframe(900)), coarse, minutes),
        )
    )  # fmt: skip
    whole = whole.between(fine.first_opened_at + coarse.delta, None)
    summed = fine.between(whole.first_opened_at, whole.closed_at).resampled(coarse)
    for ours, theirs in zip(summed.columns()[:5], whole.columns()[:5], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(summed.volume, whole.volume, rtol=1e-12)
    np.testing.assert_array_equal(summed.trades, whole.trades)


@pytest.mark.slow
def test_minutes_of_the_made_up_market_swing_as_its_hours_do():
    minute = SimulatedFeed(7, [BTC], Timeframe(60)).history(BTC, Timeframe(60), NOW, 50_000)
    returns = hourly_returns(minute)
    hours = np.diff(np.log(minute.close[59::60]))
    assert 0.8 < returns.std() * 60**0.5 / hours.std() < 1.2
    assert abs(correlation(returns[1:], returns[:-1])) < 0.03


@pytest.mark.slow
def test_a_cross_pair_is_the_quotient_of_its_assets():
    cross = Pair("ETH", "BTC")
    feed = SimulatedFeed(7, (*PAIRS, cross))
    eth, btc, ratio = (feed.history(p, HOUR, NOW, 1).close[0] for p in (PAIRS[1], BTC, cross))
    assert ratio == pytest.approx(eth / btc, rel=1e-3)


def test_a_stablecoin_stays_near_its_value():
    usdt = Pair("USDT", "USD")
    closes = SimulatedFeed(7, (usdt,)).history(usdt, HOUR, NOW).close
    assert 0.9 < closes.min() < closes.max() < 1.1
