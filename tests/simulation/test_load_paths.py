"""Claims about the candles whose path prices follow."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from tests.drawn_market import BTC, START, at, drawn, order
from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.backtest import load_paths
from trader.storage.history import HistoryStore

FOUR = Timeframe(4 * 3600)
END = START + timedelta(hours=8)
# The first hour rises to 120, the third falls to 80: the four hours alone do not say which came
# first, and open, low, high, close would have the fall come first.
ROWS = [(100, 120, 99, 110), (110, 112, 100, 101), (101, 103, 80, 90), (90, 95, 88, 92)] * 2


def store_with(folder: Path, *series: Candles) -> HistoryStore:
    store = HistoryStore(folder)
    for candles in series:
        store.append(BTC, candles, "drawn")
    return store


def test_the_finest_candles_that_make_the_run_are_followed(tmp_path: Path) -> None:
    store = store_with(tmp_path, drawn(ROWS))
    histories = {BTC: store.load(BTC, FOUR, None, END)}
    assert load_paths(store, histories, START, END)[BTC].timeframe == Timeframe(3600)


def test_finer_candles_of_another_market_are_left_aside(tmp_path: Path) -> None:
    hours = drawn(ROWS)
    fours = hours.resampled(FOUR)
    columns = list(fours.columns())
    columns[4] = np.array(columns[4]) + 1.0
    other = Candles(FOUR, *columns)
    store = store_with(tmp_path, hours, other)
    histories = {BTC: store.load(BTC, FOUR, None, END)}
    assert load_paths(store, histories, START, END)[BTC].timeframe == FOUR


def test_finer_candles_that_begin_later_are_left_aside(tmp_path: Path) -> None:
    hours = drawn(ROWS)
    store = store_with(tmp_path, hours[4:], hours.resampled(FOUR))
    histories = {BTC: store.load(BTC, FOUR, None, END)}
    assert load_paths(store, histories, START, END)[BTC].timeframe == FOUR


def test_a_target_that_hours_show_was_met_before_the_stop_is_met_first() -> None:
    def first_filled(candles: Candles) -> str:
        clock = ManualClock(at(0))
        box = SandboxExchange(ReplayFeed({BTC: candles}), clock, balances={"BTC": Decimal(2)})
        box.submit(order("sell", "stop-loss", 1, 85, client_id="stop"))
        box.submit(order("sell", "take-profit", 1, 115, client_id="target"))
        clock.sleep_until(at(8))
        return box.trades()[0].client_id

    hours = drawn(ROWS)
    assert first_filled(hours) == "target"
    assert first_filled(hours.resampled(FOUR)) == "stop"
