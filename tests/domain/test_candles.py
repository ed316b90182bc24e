"""Timeframes and columns of candles: what is closed, what is absent, what is damaged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.domain.candles import Candle, Candles, Gap, Timeframe
from trader.domain.errors import HistoryError, UsageError

HOUR, FOUR, DAY = (Timeframe.parse(t) for t in ("1h", "4h", "1d"))
T0 = datetime(2024, 3, 1, tzinfo=UTC)


def hourly(hours, closes=None, timeframe=HOUR, start=T0):
    """Candles that open in these hours; open, high and low hug the close."""
    times = int(start.timestamp()) + np.asarray(hours, dtype=np.int64) * timeframe.seconds
    close = np.asarray(closes if closes is not None else hours, dtype=float) + 10
    return Candles(
        timeframe, times, close, close + 1, close - 1, close, np.ones(len(close)),
        np.ones(len(close), dtype=np.int64),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("1m", 60, "1m"),
        ("15M", 900, "15m"),
        (" 4h ", 14400, "4h"),
        ("1d", 86400, "1d"),
        ("1w", 604800, "1w"),
        ("60", 3600, "1h"),
        ("90m", 5400, "90m"),
    ],
)
def test_timeframes_are_read_and_shown(text, seconds, shown):
    assert Timeframe.parse(text).seconds == seconds
    assert str(Timeframe.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "h", "0h", "1x", "-1h", "1.5h", "123456m", "1h1m"])
def test_what_is_no_timeframe_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected a number and m, h, d or w"):
        Timeframe.parse(text)


@given(st.integers(1, 20000))
def test_a_timeframe_survives_being_shown_and_read(minutes):
    frame = Timeframe(minutes * 60)
    assert Timeframe.parse(str(frame)) == frame


def test_a_candle_contains_its_opening_and_not_its_end():
    assert FOUR.floor(T0 + timedelta(hours=3, minutes=59, seconds=59)) == T0
    assert FOUR.floor(T0 + timedelta(hours=4)) == T0 + timedelta(hours=4)


def test_weeks_begin_on_thursday_like_the_exchanges():
    assert Timeframe.parse("1w").floor(T0) == datetime(2024, 2, 29, tzinfo=UTC)


def test_a_year_of_hours():
    assert HOUR.per_year == 8760


def test_a_candle_is_known_from_the_moment_it_closes():
    candles = hourly([0, 1, 2])
    just_before = T0 + timedelta(hours=2) - timedelta(microseconds=1)
    assert len(candles.known_at(just_before)) == 1
    assert len(candles.known_at(T0 + timedelta(hours=2))) == 2
    assert candles.known_at(T0 + timedelta(hours=2)).closed_at == T0 + timedelta(hours=2)


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), max_size=20), st.integers(-3600, 70 * 3600))
def test_exactly_the_closed_candles_are_known(hours, second):
    candles = hourly(sorted(hours))
    now = T0 + timedelta(seconds=second)
    known = candles.known_at(now)
    assert [r.opened_at for r in known.rows()] == [
        r.opened_at for r in candles.rows() if r.opened_at + timedelta(hours=1) <= now
    ]


def test_absent_candles_are_named_and_not_filled():
    candles = hourly([0, 1, 4, 5, 7])
    assert candles.gaps() == [
        Gap(T0 + timedelta(hours=2), T0 + timedelta(hours=3), 2),
        Gap(T0 + timedelta(hours=6), T0 + timedelta(hours=6), 1),
    ]
    assert hourly([0, 1]).gaps() == hourly([]).gaps() == []


def test_a_span_takes_its_start_and_leaves_its_end():
    candles = hourly(range(5))
    part = candles.between(T0 + timedelta(hours=1), T0 + timedelta(hours=3))
    assert [r.opened_at.hour for r in part.rows()] == [1, 2]
    assert candles.between(None, None) == candles


def test_slices_are_views_and_steps_are_refused():
    candles = hourly(range(5))
    assert candles[1:3].close.base is not None
    with pytest.raises(ValueError, match="without a step"):
        candles[::2]


def test_columns_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        hourly(range(3)).close[0] = 1.0


def test_what_is_older_stays_where_both_have_a_candle():
    old, new = hourly([0, 1, 2], [1, 1, 1]), hourly([2, 3], [9, 9])
    assert list(old.followed_by(new).close) == [11, 11, 11, 19]
    assert old.followed_by(hourly([])) == old
    assert hourly([]).followed_by(new) == new
    with pytest.raises(HistoryError, match="cannot follow"):
        old.followed_by(hourly([0], timeframe=DAY))


def test_a_coarse_candle_is_made_of_the_fine_ones():
    fine = hourly(range(8), [1, 5, 2, 3, 9, 8, 7, 6])
    first, second = fine.resampled(FOUR).rows()
    assert first == Candle(
        T0, Decimal("11.0"), Decimal("16.0"), Decimal("10.0"), Decimal("13.0"), Decimal("4.0"), 4
    )
    assert (second.open, second.close) == (19, 16)


def test_an_unfinished_coarse_candle_is_left_out():
    assert len(hourly(range(7)).resampled(FOUR)) == 1
    assert len(hourly(range(8)).resampled(FOUR)) == 2


def test_a_coarse_candle_whose_beginning_is_not_in_the_history_is_left_out():
    assert [r.opened_at.hour for r in hourly(range(1, 8)).resampled(FOUR).rows()] == [4]


def test_absent_fine_candles_make_no_coarse_one_but_do_not_hinder_it():
    coarse = hourly([0, 3, 8, 11]).resampled(FOUR)
    assert [r.opened_at.hour for r in coarse.rows()] == [0, 8]


def test_resampling_to_what_is_no_multiple_is_refused():
    with pytest.raises(UsageError, match="cannot be made"):
        hourly(range(8)).resampled(Timeframe.parse("90m"))
    assert len(hourly([]).resampled(DAY)) == 0


@settings(deadline=None)
@given(st.sets(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 30))
def test_coarse_candles_never_change_when_finer_ones_arrive(hours, n):
    fine = hourly(sorted(hours))
    early, late = fine[:n].resampled(FOUR), fine.resampled(FOUR)
    assert late[: len(early)] == early


def test_single_candles_become_columns_and_come_back():
    candles = hourly([0, 1, 5], [3, 1, 2])
    assert Candles.of(HOUR, list(candles.rows())) == candles


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"opened_at": [0, 0]}, "is not after the candle before it"),
        ({"opened_at": [3600, 0]}, "is not after the candle before it"),
        ({"opened_at": [0, 3601]}, "is off the 1h grid"),
        ({"close": [10.0, np.nan]}, "has no positive price in 'close'"),
        ({"open": [10.0, 0.0]}, "has no positive price in 'open'"),
        ({"high": [10.0, 9.0]}, "has a high below its open or close"),
        ({"low": [10.0, 11.0]}, "has a low above its open or close"),
        ({"volume": [1.0, -1.0]}, "has no valid volume"),
        ({"volume": [1.0, np.inf]}, "has no valid volume"),
        ({"volume": [1.0]}, "different lengths"),
    ],
)
def test_damaged_columns_are_refused_and_the_candle_is_named(change, words):
    columns = {
        "opened_at": [0, 3600], "open": [10.0, 10.0], "high": [10.0, 10.0], "low": [10.0, 10.0],
        "close": [10.0, 10.0], "volume": [1.0, 1.0], "trades": [1, 1], **change,
    }  # fmt: skip
    with pytest.raises(HistoryError, match=words):
        Candles(HOUR, **{name: np.array(values) for name, values in columns.items()})
