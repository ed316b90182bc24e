"""Claims about what a walk forward was worth: made-up targets and entries, the real judging."""

from types import SimpleNamespace

import numpy as np

from tests.market_making import Timeframe, candles_of, random_walk
from trader.domain.markets import Pair
from trader.learning.judging import Judging
from trader.learning.settings import LearningSettings

HOUR = Timeframe.parse("1h")


class Judged(Judging):
    """The judging of given weights and entries instead of a training's."""

    def __init__(self, markets, core=None, entries=None, tested_from=0, costs=0.0):
        self.settings = LearningSettings(round_trip_cost=costs)
        self._licensed = []
        self._main = 24.0
        step = markets[0].timeframe.seconds
        tables = [SimpleNamespace(candles=c, closed_at=c.opened_at + step) for c in markets]
        self.dataset = SimpleNamespace(
            own_tables=tables, own_pairs=[Pair("BTC", "USD")] * len(tables),
            timeframe=markets[0].timeframe,
        )  # fmt: skip
        self._given_core = core
        self._given_entries = entries
        self._tested_from = tested_from

    def scored(self, horizon, moment=None):
        decided = self.dataset.own_tables[0].closed_at[self._tested_from :]
        return _Seen(decided)

    def _core(self, place):
        return self._given_core

    def _sleeve(self, place):
        return np.zeros(len(self._given_core))

    def _scores(self, horizon, moment):
        return None

    def _sleeve_rows(self, place, moment):
        return self._given_entries


class _Seen:
    def __init__(self, decided_at):
        self.decided_at = decided_at

    def __len__(self):
        return len(self.decided_at)


def in_and_out(rows, times):
    """Weight 1 for three candles, so many times, evenly spread."""
    target = np.zeros(rows)
    for start in np.linspace(5, rows - 10, times).astype(int):
        target[start : start + 3] = 1.0
    return target


def test_trades_of_before_the_tested_span_are_not_counted():
    rows = 8000
    target = in_and_out(rows, 16)
    judged = Judged([candles_of(random_walk(rows), HOUR)], core=target, tested_from=rows // 2)
    assert judged.evidence(1).trades == 8


def entries_worth_nothing(seed, pairs, entries):
    """Simultaneous entries of pairs that move alike; what they gain has a mean of zero."""
    rng = np.random.default_rng(seed)
    rows = entries * 60 + 50
    common = rng.normal(0, 0.01, rows)
    state = np.zeros(rows)
    for start in range(20, 20 + 60 * entries, 60):
        state[start : start + 30] = 1.0
    moves = [
        np.sqrt(0.8) * common + rng.normal(0, 0.01 * np.sqrt(0.2), rows) for _ in range(pairs)
    ]
    # A price of exp(walk) would rise by half its variance on the average.
    markets = [candles_of(np.exp(np.cumsum(m - 5e-5)), HOUR) for m in moves]
    return Judged(markets, entries=state), int(markets[0].opened_at[-1]) + 7200


def test_entries_of_pairs_that_move_alike_count_once():
    judged, end = entries_worth_nothing(1, pairs=8, entries=5)
    assert len(judged._sleeve_gains(end)) == 5
    assert not judged.sleeve_licensed(end)


def test_worthless_entries_of_eight_pairs_are_said_to_pay_in_one_world_of_twenty():
    paid = [
        judged.sleeve_licensed(end)
        for judged, end in (entries_worth_nothing(seed, 8, 20) for seed in range(150))
    ]
    assert np.mean(paid) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)  # two standard errors
