"""Claims about the fingerprint of what a decision was based on."""

from dataclasses import replace

import numpy as np
import pytest

from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.signals import Analysis, Snapshot

PAIR = Pair("BTC", "USD")


def analysis(length: int, *, bend: int | None = None, name: str = "sma") -> Analysis:
    times = np.arange(length, dtype=np.int64) * 3600
    close = 100.0 + np.arange(length)
    ones = np.ones(length, dtype=np.int64)
    candles = Candles(Timeframe(3600), times, close, close, close, close, close, ones)
    values = np.sin(np.arange(length) / 5)
    values[:3] = np.nan
    if bend is not None:
        values[bend] += 1e-12
    return Analysis(PAIR, candles, {name: values}, {"hammer": np.zeros(length)})


def digests(of: Analysis) -> list[str]:
    return [Snapshot(of, index).digest for index in range(len(of.candles))]


def test_asking_once_or_for_every_row_gives_the_same() -> None:
    many = digests(analysis(5000))
    assert [Snapshot(analysis(5000), i).digest for i in (0, 2047, 2048, 4999)] == [
        many[i] for i in (0, 2047, 2048, 4999)
    ]


def test_what_comes_later_does_not_matter() -> None:
    assert digests(analysis(2100))[:2000] == digests(analysis(2100, bend=2050))[:2000]


def test_the_smallest_difference_in_what_was_seen_shows() -> None:
    assert digests(analysis(20, bend=7))[7] != digests(analysis(20))[7]
    assert digests(analysis(20, name="ema")) != digests(analysis(20))


def test_sentiment_is_part_of_it() -> None:
    plain = Snapshot(analysis(9), 8)
    assert replace(plain, sentiment={"mood": 0.1}).digest != plain.digest


def test_not_a_number_and_zero_have_one_form_each() -> None:
    mine, theirs = analysis(9), analysis(9)
    theirs.indicators["sma"][:3] = -np.float64("nan")
    theirs.patterns["hammer"][:] = -0.0
    assert digests(mine) == digests(theirs)


@pytest.mark.parametrize("index", [0, 8])
def test_it_is_sixteen_hexadecimal_digits(index: int) -> None:
    assert len(bytes.fromhex(Snapshot(analysis(9), index).digest)) == 8
