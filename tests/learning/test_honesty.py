"""The last look before the verdict: no column of the model may know what comes."""

import numpy as np
import pytest

from tests.learning.trained import BTC, ETH, FOUR_HOURS, leaning
from tests.market_making import candles_of
from trader.learning import features, honesty
from trader.learning.honesty import columns_that_see_ahead


def market():
    return {BTC: candles_of(leaning(1500, 1), FOUR_HOURS)}


def test_no_column_of_the_program_sees_ahead():
    assert columns_that_see_ahead(market()) == ()


def test_a_column_that_peeks_is_named(monkeypatch):
    honest = honesty._matrix
    names = honesty.feature_names()

    def peeking(pair, candles, leader):
        matrix = honest(pair, candles, leader).copy()
        matrix[:-1, 3] = np.diff(candles.close)  # the next candle's move
        return matrix

    monkeypatch.setattr(honesty, "_matrix", peeking)
    assert columns_that_see_ahead(market()) == (names[3],)


def test_a_history_too_short_to_ask_is_no_alarm():
    assert columns_that_see_ahead({BTC: candles_of(leaning(200, 1), FOUR_HOURS)}) == ()


@pytest.mark.parametrize("leader_is_a_pair", [True, False])
def test_a_join_that_reads_the_leaders_next_candle_is_found(monkeypatch, leader_is_a_pair):
    honest = features._leader_columns

    def ahead(analysis, leader, own, begin, stop):
        led = honest(analysis, leader, own, begin, stop)
        if analysis.pair.base == "BTC" or leader is None:
            return led
        return {name: np.append(column[1:], np.nan) for name, column in led.items()}

    btc, eth = (candles_of(leaning(rows, rows), FOUR_HOURS) for rows in (1600, 1500))
    known = {BTC: btc, ETH: eth} if leader_is_a_pair else {ETH: eth}
    leader = None if leader_is_a_pair else btc
    assert columns_that_see_ahead(known, leader) == ()
    monkeypatch.setattr(features, "_leader_columns", ahead)
    found = columns_that_see_ahead(known, leader)
    assert any(name.startswith("leader_") for name in found)
    assert {"relative_return_24", "relative_return_168"} <= set(found)
