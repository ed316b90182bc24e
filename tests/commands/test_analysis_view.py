"""Claims about what an analysis shows to people."""

from datetime import timedelta

import numpy as np
import pytest

from commands.analysis_view import change_since
from trader.domain.candles import Candles, Timeframe

DAY = timedelta(days=1)


def closes(hours: dict[int, float], length: int = 1) -> Candles:
    """Candles of so many hours that open at these hours, with these closes."""
    price = np.array(list(hours.values()))
    opened = 3600 * np.array(list(hours))
    ones = np.ones(len(price), dtype=np.int64)
    return Candles(Timeframe(3600 * length), opened, price, price, price, price, ones * 1.0, ones)


def test_a_change_is_taken_over_time_though_candles_are_absent() -> None:
    assert change_since(closes({0: 100.0, 1: 50.0, 24: 110.0}), DAY) == pytest.approx(0.10)


def test_where_the_candle_of_that_moment_is_absent_the_last_known_close_counts() -> None:
    assert change_since(closes({0: 100.0, 3: 50.0, 25: 110.0}), DAY) == pytest.approx(0.10)


def test_where_the_history_does_not_reach_there_is_no_change() -> None:
    assert change_since(closes({0: 100.0, 23: 110.0}), DAY) is None


def test_candles_of_a_week_do_not_tell_the_change_of_a_day() -> None:
    weeks = closes({0: 100.0, 168: 110.0, 336: 121.0}, length=168)
    assert change_since(weeks, DAY) is None
    assert change_since(weeks, 7 * DAY) == pytest.approx(0.10)
