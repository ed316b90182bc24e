"""Coarser timeframes and other markets: the same live and in a test, and never from the future."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from market_analyzer import MarketAnalyzer
from tests.indicators.markets import gappy, market
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.signals import Snapshot
from trader.domain.window import KEEP, STRIDE, window
from trader.indicators.context import Context, names_beside, others_of, timeframes_of
from trader.indicators.crossmarket import MEANING
from trader.indicators.leaks import find_leaks
from trader.indicators.timeframes import NAMES, on_coarser

BTC, ETH, SOL = (Pair(base, "USD") for base in ("BTC", "ETH", "SOL"))
HOUR, FOUR = Timeframe(3600), Timeframe(14400)


def until(candles: Candles, moment: datetime) -> Candles:
    return candles.known_at(moment)


def same(a: Snapshot, b: Snapshot) -> bool:
    return np.array_equal(list(a.context.values()), list(b.context.values()), equal_nan=True)


@pytest.fixture(scope="module")
def whole() -> dict[Pair, Candles]:
    count = KEEP + 3 * STRIDE
    holey = market(count, 3)
    parts = [holey[:2000], holey[2100:6000], holey[6010:]]
    return {BTC: market(count, 1), ETH: parts[0].followed_by(parts[1]).followed_by(parts[2]),
            SOL: gappy(count)}  # fmt: skip


@pytest.mark.slow
def test_a_bot_that_holds_a_window_and_a_test_that_holds_all_see_the_same_bits(whole):
    tested = MarketAnalyzer()
    for pair, candles in whole.items():
        tested.prepare(pair, candles)
    compared = 0
    for row in (30, 300, 2001, 2130, 4999, 5600, 5999, 6000, 6350, 7700):
        moment = until(whole[BTC][: row + 1], datetime.max.replace(tzinfo=UTC)).closed_at
        seen = {pair: until(candles, moment) for pair, candles in whole.items()}
        held = {pair: window(candles) for pair, candles in seen.items()}
        for pair in whole:
            live = MarketAnalyzer().analyze(pair, held[pair], markets=held)
            assert same(live, tested.analyze(pair, seen[pair], markets=seen)), (pair, row)
            compared += sum(value == value for value in live.context.values())
    assert compared > 600


def test_each_name_is_there_and_says_nan_where_nothing_is_known():
    snapshot = MarketAnalyzer().analyze(BTC, market(60))
    assert list(snapshot.context) == [
        *(f"{name}@{rung}" for rung in ("4h", "1d", "1w") for name in NAMES), *MEANING
    ]  # fmt: skip
    assert math.isnan(snapshot.context["adx_14@1w"])
    # Alone it is all the market there is.
    assert snapshot.context["market_return_24"] == pytest.approx(
        snapshot.indicator("log_return_20")
        + math.log(snapshot.candles.close[-21] / snapshot.candles.close[-25])
    )
    with pytest.raises(KeyError):
        snapshot.context["rsi_14@15m"]


def test_groups_for_people_hold_the_same_numbers():
    markets = {BTC: market(600, 1), ETH: market(600, 2)}
    snapshot = MarketAnalyzer().analyze(ETH, markets[ETH], markets=markets)
    assert (
        timeframes_of(snapshot)[FOUR]["rsi_14"] == on_coarser(markets[ETH], FOUR)["rsi_14@4h"][-1]
    )
    assert others_of(snapshot)["leader_corr_60"] == snapshot.context["leader_corr_60"]
    assert names_beside(FOUR).keys() >= {"rsi_14@1d", "breadth_24"}


@pytest.mark.slow
def test_nothing_beside_a_candle_knows_what_comes_later():
    other = market(420, 8)

    def subject(candles: Candles) -> dict[str, np.ndarray]:
        analyzer = MarketAnalyzer()
        analyzer.prepare(ETH, candles)
        analyzer.prepare(BTC, other)
        rows = range(0, len(candles), 15)
        found = {name: np.full(len(candles), np.nan) for name in names_beside(HOUR)}
        for row in rows:
            part = candles[: row + 1]
            seen = {ETH: part, BTC: until(other, part.closed_at)}
            for name, value in analyzer.analyze(ETH, part, markets=seen).context.items():
                found[name][row] = value
        return found

    report = find_leaks(subject, market(420, 2), 25, seed=3)
    assert report.leaks == ()
    assert report.columns == len(names_beside(HOUR))


def test_a_step_that_does_not_look_computes_nothing(monkeypatch):
    def never(*_):
        raise AssertionError("computed without being asked for")

    monkeypatch.setattr("trader.indicators.context.on_coarser", never)
    monkeypatch.setattr("market_analyzer.among", never)
    snapshot = MarketAnalyzer().analyze(ETH, market(300), markets={BTC: market(300, 2)})
    assert isinstance(snapshot.context, Context)
    with pytest.raises(AssertionError):
        snapshot.context["breadth_24"]


def test_a_market_prepared_anew_replaces_what_was_known_of_it():
    candles, one, two = market(300, 1), market(300, 2), market(300, 3)
    analyzer = MarketAnalyzer()
    analyzer.prepare(ETH, candles)
    for btc in (one, two):
        analyzer.prepare(BTC, btc)
        found = analyzer.analyze(ETH, candles, markets={BTC: btc, ETH: candles})
        fresh = MarketAnalyzer().analyze(ETH, candles, markets={BTC: replace(btc)})
        assert same(found, fresh)
