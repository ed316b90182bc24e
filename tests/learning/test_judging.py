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
