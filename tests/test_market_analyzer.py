import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from market_analyzer import MarketAnalyzer
from tests.indicators.markets import market
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import BookLevel, OrderBook, Pair, PublicTrade
from trader.sentiment import MEANING, NAMES, sentiment

BTC = Pair("BTC", "USD")
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def levels(*rows):
    return tuple(BookLevel(Decimal(str(p)), Decimal(str(q))) for p, q in rows)


def traded(seconds, price, quantity, side):
    return PublicTrade(
        NOON + timedelta(seconds=seconds), Decimal(str(price)), Decimal(str(quantity)), side
    )


BOOK = OrderBook(BTC, NOON, levels((99, 3), (98.5, 1), (90, 100)), levels((101, 1), (101.5, 1)))


def test_a_prepared_history_gives_the_same_bits_as_an_unprepared_one():
    candles = market(400)
    analyzer = MarketAnalyzer()
    analyzer.prepare(BTC, candles)
    for count in (1, 2, 50, 260, 400):
        prepared = analyzer.analyze(BTC, candles[:count])
        fresh = MarketAnalyzer().analyze(BTC, candles[:count])
        assert prepared.digest == fresh.digest
        for name in fresh.analysis.indicators:
            np.testing.assert_array_equal(prepared.history(name), fresh.history(name))


def test_a_prepared_history_is_looked_up_not_computed_again():
    candles = market(300)
    analyzer = MarketAnalyzer()
    analysis = analyzer.prepare(BTC, candles)
    assert analyzer.analyze(BTC, candles[:200]).analysis is analysis


def test_other_candles_of_the_same_pair_are_computed_afresh():
    candles = market(300)
    analyzer = MarketAnalyzer()
    analysis = analyzer.prepare(BTC, candles)
    other = replace(candles, close=candles.close * 1.0)
    assert analyzer.analyze(BTC, other).analysis is not analysis
    assert analyzer.analyze(BTC, candles[10:]).analysis is not analysis


def test_a_market_that_has_no_candles_yet_is_no_obstacle():
    candles, eth = market(300), Pair("ETH", "USD")
    analyzer = MarketAnalyzer()
    analyzer.prepare(BTC, candles)
    analyzer.prepare(eth, candles)
    snapshot = analyzer.analyze(BTC, candles[:200], markets={eth: candles[:0]})
    assert len(dict(snapshot.context)) > 0


def values(snapshot):
    return {**snapshot.analysis.indicators, **snapshot.analysis.patterns}


@pytest.mark.slow
@pytest.mark.parametrize("strides", [(1, 1, 1, 1), (0, 1, 0, 7), (1, 1500, 1)])
def test_candles_that_go_on_give_the_same_bits_as_computed_afresh(strides):
    candles, count = market(1900), 300
    analyzer = MarketAnalyzer()
    handed_out = [analyzer.analyze(BTC, candles[:count])]
    for stride in strides:
        count += stride
        copied = candles[:count].followed_by(candles[count - 1 : count])
        handed_out.append(analyzer.analyze(BTC, replace(copied, close=copied.close * 1.0)))
    for snapshot in handed_out:
        fresh = MarketAnalyzer().analyze(BTC, candles[: snapshot.index + 1])
        assert snapshot.digest == fresh.digest
        for name, column in values(fresh).items():
            np.testing.assert_array_equal(values(snapshot)[name], column)


@pytest.mark.parametrize("change", ["another start", "another past", "shorter"])
def test_candles_that_do_not_go_on_are_computed_afresh(change):
    candles = market(400)
    analyzer = MarketAnalyzer()
    for count in (300, 301, 302):
        analyzer.analyze(BTC, candles[:count])
    volume = np.array(candles.volume)
    volume[50] *= 3
    other = {
        "another start": candles[5:304],
        "another past": replace(candles, volume=volume)[:303],
        "shorter": candles[:250],
    }[change]
    found, fresh = analyzer.analyze(BTC, other), MarketAnalyzer().analyze(BTC, other)
    assert found.digest == fresh.digest


def test_one_more_candle_of_a_followed_market_is_not_a_computation_of_the_whole():
    candles = market(5000)
    analyzer = MarketAnalyzer()
    spent = {}
    for count in range(4990, 5000):
        began = time.perf_counter()
        analyzer.analyze(BTC, candles[:count])
        spent[count] = time.perf_counter() - began
    assert min(spent[c] for c in range(4992, 5000)) < spent[4990] / 4


def test_the_snapshot_ends_with_its_candle():
    candles = market(300)
    analyzer = MarketAnalyzer()
    analyzer.prepare(BTC, candles)
    snapshot = analyzer.analyze(BTC, candles[:120])
    assert snapshot.closed_at == candles[:120].closed_at
    assert snapshot.price == candles.close[119]
    assert len(snapshot.history("rsi_14")) == 120
    assert len(snapshot.candles) == 120


def test_what_was_computed_cannot_be_written_over():
    snapshot = MarketAnalyzer().analyze(BTC, market(60))
    with pytest.raises(ValueError, match="read-only"):
        snapshot.history("rsi_14")[0] = 1.0


def test_no_candle_is_an_error_that_says_what_to_do():
    with pytest.raises(HistoryError, match="BTC/USD: there is no closed candle"):
        MarketAnalyzer().analyze(BTC, Candles.empty(Timeframe(3600)))


def test_the_leader_comes_along():
    leader = MarketAnalyzer().analyze(BTC, market(60))
    assert MarketAnalyzer().analyze(Pair("ETH", "USD"), market(60), leader=leader).leader is leader


def test_what_is_unknown_is_none_not_zero():
    found = sentiment(None, (), {})
    assert set(found) == set(NAMES)
    assert set(found.values()) == {None}
    assert set(MEANING) == set(NAMES)


def test_the_book_is_read_as_drawn():
    found = sentiment(BOOK, (), {})
    assert found["book_imbalance"] == pytest.approx((104 - 2) / 106)
    # Within 1 % of 100 there are 3 at 99 and 1 at 101.
    assert found["depth_quote"] == pytest.approx(99 * 3 + 101)
    assert found["depth_imbalance"] == pytest.approx((297 - 101) / 398)
    assert found["spread_bp"] == pytest.approx(200)
    assert found["taker_flow"] is None


def test_the_takers_are_weighed_by_their_money():
    trades = (traded(0, 100, 1, "buy"), traded(30, 100, 2, "sell"), traded(60, 50, 2, "buy"))
    found = sentiment(None, trades, {})
    assert found["taker_flow"] == pytest.approx(0.0)
    assert found["taker_count"] == pytest.approx(1 / 3)
    assert found["trades_per_minute"] == pytest.approx(3)


def test_an_empty_side_of_the_book_says_nothing():
    assert sentiment(replace(BOOK, asks=()), (), {})["spread_bp"] is None


def test_the_mood_is_the_mean_of_the_known_directions():
    found = sentiment(None, (traded(0, 10, 1, "buy"),), {"signed_volume_24": 0.5})
    assert found["mood"] == pytest.approx(0.75)
    assert sentiment(None, (), {"vol_rank_100": 100.0})["volatility_regime"] == 1.0
    assert sentiment(None, (), {"vol_rank_100": float("nan")})["volatility_regime"] is None


def test_an_outside_source_speaks_under_its_own_name():
    found = sentiment(None, (), {}, {"fear_and_greed": 0.2, "news": None})
    assert found["fear_and_greed"] == 0.2
    assert found["news"] is None
