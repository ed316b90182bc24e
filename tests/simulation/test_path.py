"""The path inside a candle: open, low, high, close at even thirds."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.simulation.path import Stretch, first_touch, from_us, path, price_at, to_us

HOUR = 3_600_000_000
CANDLE = Stretch(0, HOUR, 100.0, 130.0, 70.0, 110.0, 5.0)


def test_the_corners_are_a_third_of_the_interval_apart():
    assert path(CANDLE) == (
        (0, 100),
        (HOUR // 3, 70),
        (HOUR * 2 // 3, 130),
        (HOUR, 110),
    )


@pytest.mark.parametrize(
    ("minute", "price"), [(0, 100), (10, 85), (20, 70), (30, 100), (40, 130), (50, 120), (60, 110)]
)
def test_the_price_moves_on_straight_lines(minute, price):
    assert price_at(CANDLE, minute * 60_000_000) == price


@pytest.mark.parametrize(
    ("level", "rising", "minute"),
    [(85, False, 10), (70, False, 20), (100, True, 0), (115, True, 35)],
)
def test_the_first_touch_is_where_the_line_meets_the_level(level, rising, minute):
    touch = first_touch(CANDLE, Decimal(level), rising=rising, strict=False, after=-1)
    assert touch == (minute * 60_000_000, level)


def test_an_opening_beyond_the_level_counts_with_its_own_price():
    touch = first_touch(CANDLE, Decimal(105), rising=False, strict=False, after=-1)
    assert touch == (0, 100)


def test_going_through_is_more_than_touching():
    assert first_touch(CANDLE, Decimal(70), rising=False, strict=True, after=-1) is None
    assert first_touch(CANDLE, Decimal(130), rising=True, strict=True, after=-1) is None


def test_what_lies_before_the_moment_does_not_count():
    touch = first_touch(CANDLE, Decimal(75), rising=False, strict=False, after=HOUR // 2)
    assert touch is None


@given(
    st.lists(st.integers(1, 10**6), min_size=4, max_size=4),
    st.integers(1, 10**6),
    st.booleans(),
    st.booleans(),
)
def test_a_level_is_touched_exactly_if_the_candle_reaches_it(prices, level, rising, strict):
    candle = Stretch(
        0, HOUR, float(prices[0]), float(max(prices)), float(min(prices)), float(prices[3]), 1.0
    )
    touch = first_touch(candle, Decimal(level), rising=rising, strict=strict, after=-1)
    extreme = max(prices) if rising else min(prices)
    beyond = extreme > level if rising else extreme < level
    assert (touch is not None) == (beyond or (extreme == level and not strict))
    assert touch is None or 0 <= touch[0] <= HOUR


@given(st.integers(0, 4 * 10**15))
def test_moments_read_back(moment):
    assert to_us(from_us(moment)) == moment
