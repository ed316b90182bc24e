"""Claims about the part of history a run trades in."""

from datetime import UTC, datetime

import pytest

from trader.domain.candles import Timeframe
from trader.domain.errors import UsageError
from trader.simulation.backtest import Span

FOUR_HOURS, WEEK = Timeframe(4 * 3600), Timeframe(7 * 86400)


def span(start: str, end: str) -> Span:
    return Span(*(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)))


def test_the_whole_candles_of_a_span_lie_inside_it() -> None:
    asked = span("2021-01-01T03:30", "2021-01-02T03:30")
    assert asked.whole_candles(FOUR_HOURS) == span("2021-01-01T04:00", "2021-01-02T00:00")
    # Weeks begin on Thursdays.
    asked = span("2021-01-01", "2021-02-01")
    assert asked.whole_candles(WEEK) == span("2021-01-07", "2021-01-28")


def test_a_span_of_whole_candles_stays_as_it_is() -> None:
    asked = span("2021-01-01", "2021-01-02")
    assert asked.whole_candles(FOUR_HOURS) == asked


def test_a_span_without_a_whole_candle_is_refused() -> None:
    with pytest.raises(UsageError, match="no 4h candle opens and closes between"):
        span("2020-06-30T12:00", "2020-06-30T13:00").whole_candles(FOUR_HOURS)


def test_the_moments_of_a_span_are_those_of_its_whole_candles() -> None:
    asked = span("2021-01-01T03:30", "2021-01-02T03:30")
    whole = asked.whole_candles(FOUR_HOURS)
    assert asked.moments(FOUR_HOURS).tolist() == whole.moments(FOUR_HOURS).tolist()
    assert whole.moments(FOUR_HOURS)[0] == whole.start.timestamp()
    assert whole.moments(FOUR_HOURS)[-1] == whole.end.timestamp()


def test_what_two_spans_share_is_within_both_and_without_any_the_first_stays() -> None:
    asked = span("2022-06-01", "2023-07-01")
    assert asked.within(span("2015-01-01", "2023-01-01")) == span("2022-06-01", "2023-01-01")
    assert asked.within(span("2015-01-01", "2016-01-01")) == asked


def test_the_end_belongs_to_the_day_after_the_last() -> None:
    assert span("2021-01-01", "2021-02-01").in_days() == "2021-01-01 to 2021-01-31"
