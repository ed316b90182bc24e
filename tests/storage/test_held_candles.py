"""What the running bot holds: a window on a fixed grid, the same after every restart."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from market_analyzer import MarketAnalyzer, compute_analysis
from tests.indicators.markets import market
from trader.domain.candles import Candles
from trader.domain.errors import Unreachable
from trader.domain.markets import Pair
from trader.domain.window import KEEP, LONGEST_HOLE, STRIDE, first_row, window
from trader.indicators import INDICATORS
from trader.storage.held_candles import HeldCandles

BTC = Pair("BTC", "USD")


class Market:
    """An exchange that serves the newest candles, and a store that holds what it was given."""

    name = "market"

    def __init__(self, whole: Candles, served: int) -> None:
        self.whole, self.served = whole, served
        self.now = whole.first_opened_at
        self.stored = Candles.empty(whole.timeframe)

    def candles(self, pair, timeframe, since=None):
        return self.whole.known_at(self.now)[-self.served :].between(since, None)

    def load(self, pair, timeframe, start=None, end=None):
        return self.stored.between(start, end)

    def append(self, pair, candles, source):
        self.stored = self.stored.followed_by(candles)


def held_over(place: Market, source: HeldCandles, rows: range):
    for row in rows:
        place.now = datetime.fromtimestamp(int(place.whole.opened_at[row]) + 3600, UTC)
        yield source.candles(BTC, place.now)


def test_the_window_moves_in_strides_on_the_grid():
    candles = market(3000)
    firsts = [int(window(candles[:n], 500, 100).opened_at[0]) // 3600 for n in range(700, 3000)]
    assert {first % 100 for first in firsts} == {0}
    sizes = {len(window(candles[:n], 500, 100)) for n in range(700, 3000)}
    assert (min(sizes), max(sizes)) == (500, 599)
    assert len(set(firsts)) == pytest.approx(23, abs=1)


def test_what_lies_before_a_long_hole_is_not_in_the_window():
    candles = market(400)
    parted = candles[:100].followed_by(candles[100 + LONGEST_HOLE + 1 :])
    bridged = candles[:100].followed_by(candles[100 + LONGEST_HOLE :])
    assert window(parted) == candles[100 + LONGEST_HOLE + 1 :]
    assert window(bridged) == bridged
    assert first_row(parted, 99) == 0


def test_a_restart_at_any_candle_goes_on_from_the_same_first_one():
    place = Market(market(900), 120)
    running = HeldCandles(
        place, place, place.whole.timeframe, keep=200, stride=50, remember="drawn"
    )
    for row, held in enumerate(held_over(place, running, range(900))):
        if row % 37 == 0:
            again = HeldCandles(place, place, place.whole.timeframe, keep=200, stride=50)
            assert again.candles(BTC, place.now) == held
    assert 200 <= len(held) < 250


@pytest.mark.slow
def test_the_analyzer_follows_a_full_window_and_computes_only_when_it_moves(monkeypatch):
    computed = []
    monkeypatch.setattr(
        "market_analyzer.compute_analysis", lambda *a: computed.append(1) or compute_analysis(*a)
    )
    place = Market(market(900), 120)
    source = HeldCandles(
        place, place, place.whole.timeframe, keep=200, stride=100, remember="drawn"
    )
    analyzer = MarketAnalyzer()
    for held in held_over(place, source, range(100, 900)):
        snapshot = analyzer.analyze(BTC, held)
    assert len(computed) <= 8
    assert snapshot.digest == MarketAnalyzer().analyze(BTC, held).digest


def test_the_window_is_long_enough_that_its_beginning_no_longer_shows():
    """Live and test begin at different candles; no level that has one meaning may tell."""
    candles = market(KEEP + STRIDE + 3000, 5)
    whole = compute_analysis(BTC, candles)
    part = compute_analysis(BTC, window(candles))
    for name, entry in INDICATORS.items():
        if not entry.anchored:
            far, near = whole.indicators[name][-200:], part.indicators[name][-200:]
            np.testing.assert_allclose(near, far, rtol=1e-9, atol=1e-9, err_msg=name)
    for name, values in part.patterns.items():
        np.testing.assert_array_equal(values[-200:], whole.patterns[name][-200:], err_msg=name)


def test_the_exchange_alone_is_enough_to_begin_with():
    place = Market(market(300), 120)
    source = HeldCandles(place, None, place.whole.timeframe)
    sizes = [len(held) for held in held_over(place, source, range(150, 300))]
    assert sizes == list(range(120, 270))
    assert place.now - timedelta(hours=269) > place.whole.first_opened_at


class Several(Market):
    """An exchange that can be asked for several pairs at once, and counts how it is asked."""

    def __init__(self, whole: Candles, served: int) -> None:
        super().__init__(whole, served)
        self.single, self.together, self.fails = [], [], False

    def candles(self, pair, timeframe, since=None):
        self.single.append(pair)
        return super().candles(pair, timeframe, since)

    def candles_of(self, pairs, timeframe, since):
        self.together.append(tuple(pairs))
        self.since = dict(since)
        if self.fails:
            raise Unreachable("not there")
        return {p: super(Several, self).candles(p, timeframe, since.get(p)) for p in pairs}


ETH = Pair("ETH", "USD")


def test_candles_of_several_pairs_are_fetched_at_once_and_only_when_one_has_closed():
    place = Several(market(50), 20)
    source = HeldCandles(place, None, place.whole.timeframe)
    for row in (30, 30, 31):
        place.now = datetime.fromtimestamp(int(place.whole.opened_at[row]) + 3600, UTC)
        source.fetch((BTC, ETH), place.now)
        found = [source.candles(pair, place.now) for pair in (BTC, ETH)]
        assert [len(candles) for candles in found] == [20 + (row == 31)] * 2
    assert (place.together, place.single) == ([(BTC, ETH)] * 2, [])


def test_what_could_not_be_fetched_together_is_asked_for_pair_by_pair():
    place = Several(market(50), 20)
    place.fails = True
    place.now = place.whole.closed_at
    source = HeldCandles(place, None, place.whole.timeframe)
    source.fetch((BTC, ETH), place.now)
    assert len(source.candles(ETH, place.now)) == 20
    assert place.single == [ETH]
