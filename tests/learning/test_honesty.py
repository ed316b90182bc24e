"""The last look before the verdict: no column of the model may know what comes."""

import numpy as np

from tests.learning.trained import BTC, FOUR_HOURS, leaning
from tests.market_making import candles_of
from trader.learning import honesty
from trader.learning.honesty import columns_that_see_ahead


def market():
    return {BTC: candles_of(leaning(1500, 1), FOUR_HOURS)}


def test_no_column_of_the_program_sees_ahead():
    assert columns_that_see_ahead(market()) == ()


def test_a_column_that_peeks_is_named(monkeypatch):
    honest = honesty._matrix
    names = honesty.feature_names()

    def peeking(pair, candles):
        matrix = honest(pair, candles).copy()
        matrix[:-1, 3] = np.diff(candles.close)  # the next candle's move
        return matrix

    monkeypatch.setattr(honesty, "_matrix", peeking)
    assert columns_that_see_ahead(market()) == (names[3],)


def test_a_history_too_short_to_ask_is_no_alarm():
    assert columns_that_see_ahead({BTC: candles_of(leaning(200, 1), FOUR_HOURS)}) == ()
