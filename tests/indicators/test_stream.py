"""Batch and stream are one: the same bits, whatever the history a stream starts from."""

import time

import numpy as np
import pytest

from tests.indicators.markets import EXTREMES, market
from trader.indicators.graph import lag, ratio, ta, where, window_sum
from trader.indicators.registry import COLUMNS, INDICATORS, compute, indicator
from trader.indicators.stream import IndicatorStream
from trader.patterns import PATTERNS, compute_patterns

ENTRIES = {**INDICATORS, **PATTERNS}
LONG = sorted(set(EXTREMES) - {"one candle", "two candles"})


def row(candles, i):
    return tuple(float(getattr(candles, name)[i]) for name in COLUMNS)


def streamed(candles, start, entries=ENTRIES):
    stream = IndicatorStream(candles[:start], entries)
    pushed = [stream.push(*row(candles, i)) for i in range(start, len(candles))]
    columns = np.array(pushed, dtype=np.float64).reshape(-1, len(entries)).T
    return {
        name: np.concatenate([stream.history[name], values])
        for name, values in zip(stream.names, columns, strict=True)
    }


def everything(candles):
    return {**compute(candles), **compute_patterns(candles)}


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 7, 60, 333, 700])
def test_a_stream_gives_the_bits_of_the_batch_whatever_it_starts_from(start):
    candles = market(700)
    expected = everything(candles)
    for name, values in streamed(candles, start).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("extreme", LONG)
def test_a_stream_gives_the_bits_of_the_batch_in_every_odd_market(extreme):
    candles = EXTREMES[extreme]()
    expected = everything(candles)
    for name, values in streamed(candles, 150).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_a_function_that_cannot_be_written_down_is_streamed_all_the_same():
    table = {}

    @indicator("running_max", inputs=("high",), warmup=0, register=table)
    def running_max(high):
        """The highest high so far."""
        return np.maximum.accumulate(high)

    candles = market(80)
    found = streamed(candles, 30, table)["running_max"]
    np.testing.assert_array_equal(found, np.maximum.accumulate(candles.high))


def test_every_operation_streams_alike_on_a_formula_of_the_users():
    table = {}

    @indicator("odd", inputs=("close", "volume", "rsi_14"), warmup=20, register=table)
    def odd(close, volume, strength):
        """All kinds of operations."""
        part = ratio(close - lag(close, 3), window_sum(volume, 13), 0.0)
        return where(strength - 50.0, part * 2.0, -part) + ta.SMA(close, timeperiod=7) / 3.0

    candles = market(120)
    batch = odd(candles.close, candles.volume, compute(candles)["rsi_14"])
    np.testing.assert_array_equal(streamed(candles, 25, table)["odd"], batch)


def test_two_series_are_not_divided_without_saying_what_zero_gives():
    close = INDICATORS["sma_5"].node()
    with pytest.raises(TypeError, match="ratio"):
        close / close


def cost_of_a_candle(held):
    candles = market(held + 200)
    stream = IndicatorStream(candles[:held], ENTRIES)
    spent = []
    for i in range(held, held + 200):
        values = row(candles, i)
        began = time.perf_counter()
        stream.push(*values)
        spent.append(time.perf_counter() - began)
    return float(np.quantile(spent, 0.1))


def test_a_new_candle_costs_the_same_with_a_short_and_a_long_history():
    short, long = cost_of_a_candle(500), cost_of_a_candle(5000)
    assert long < 1.5 * short + 50e-6
