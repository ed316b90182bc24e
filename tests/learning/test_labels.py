import numpy as np
import pytest

from tests.market_making import START, candles_of, random_walk
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import UsageError
from trader.learning.labels import barrier_labels, horizon_labels, trend_labels

T0 = int(START.timestamp())


def without(candles, rows):
    keep = np.setdiff1d(np.arange(len(candles)), rows)
    return Candles(candles.timeframe, *(column[keep] for column in candles.columns()))


def test_a_label_is_the_return_from_the_next_open_to_the_end_of_the_horizon():
    labels = horizon_labels(candles_of([100, 110, 121, 133]), 2)
    # Decided at the close of 100; bought at the next open (100); ends at the close of 121.
    assert labels.returns[0] == pytest.approx(0.21)
    assert labels.up.tolist()[:2] == [1.0, 1.0]
    assert labels.valid.tolist() == [True, True, False, False]


def test_a_label_is_known_when_its_horizon_has_passed_and_not_earlier():
    labels = horizon_labels(candles_of([100, 110, 121, 133]), 2)
    assert labels.decided_at[0] == T0 + 3600
    assert labels.known_at[0] == T0 + 3 * 3600
    assert not labels.known_before(T0 + 3 * 3600 - 1)[0]
    assert labels.known_before(T0 + 3 * 3600)[0]
    assert not labels.known_before(T0 + 3 * 3600, embargo_seconds=1)[0]


def test_a_return_below_the_costs_is_no_rise():
    candles = candles_of([100, 100.5, 100.5, 100.5])
    assert horizon_labels(candles, 1).up[0] == 1.0
    assert horizon_labels(candles, 1, beyond=0.01).up[0] == 0.0


def test_a_long_gap_at_the_end_of_the_horizon_leaves_no_label():
    candles = without(candles_of(np.linspace(100, 200, 80)), np.arange(20, 40))
    labels = horizon_labels(candles, 12)
    assert not labels.valid[16]  # 12 h later nothing had been traded for 8 h
    assert labels.valid[5]


def test_a_horizon_that_is_no_whole_number_of_candles_is_refused():
    with pytest.raises(UsageError, match=r"1\.5 h"):
        horizon_labels(candles_of([1, 2, 3]), 1.5)


def test_overlapping_labels_weigh_less():
    single = horizon_labels(candles_of(random_walk(200)), 1).uniqueness()
    day = horizon_labels(candles_of(random_walk(200)), 24).uniqueness()
    assert single[50] == pytest.approx(1.0)
    assert day[100] == pytest.approx(1 / 24)
    assert day[-1] == 0.0


def test_in_a_candle_that_touches_both_the_stop_came_first():
    candles = candles_of([100, 100, 100, 100], wick=0.2)
    far = np.full(4, 0.1)
    labels = barrier_labels(candles, far, far, 2)
    assert labels.up[0] == 0.0
    assert labels.returns[0] == pytest.approx(-0.1)


def test_a_barrier_label_is_known_when_the_barrier_is_touched():
    candles = candles_of([100, 100, 120, 120, 120, 120], wick=0.0)
    labels = barrier_labels(candles, np.full(6, 0.1), np.full(6, 0.1), 4)
    assert labels.returns[0] == pytest.approx(0.1)
    assert labels.known_at[0] == T0 + 3 * 3600


def test_trend_labels_see_the_coming_line():
    rising = trend_labels(candles_of(np.linspace(100, 200, 40)), (5, 10))
    falling = trend_labels(candles_of(np.linspace(200, 100, 40)), (5, 10))
    assert rising.up[:20].tolist() == [1.0] * 20
    assert falling.up[:20].tolist() == [0.0] * 20
    assert not rising.valid[-10:].any()


def test_the_return_of_a_trend_begins_at_the_next_open():
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 60)))
    opened = close * 1.01
    candles = Candles(
        Timeframe(3600), 3600 * np.arange(400_000, 400_060), opened, np.maximum(opened, close),
        np.minimum(opened, close), close, np.ones(60), np.ones(60, dtype=np.int64),
    )  # fmt: skip
    labels = trend_labels(candles, (3,))
    assert labels.returns[0] == pytest.approx(close[3] / opened[1] - 1)
