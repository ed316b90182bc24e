import numpy as np
import pytest

from tests.indicators.markets import gappy, market
from trader.domain.candles import Timeframe
from trader.domain.errors import UsageError
from trader.indicators import compute
from trader.indicators.leaks import drawn_candles, find_leaks
from trader.indicators.timeframes import coarser, on_coarser

FOUR = Timeframe.parse("4h")
DAY = Timeframe.parse("1d")


def test_a_value_appears_with_the_candle_that_ends_the_coarse_one_and_stays_until_the_next():
    candles = market(400)
    found = on_coarser(candles, FOUR, ["sma_5"])["sma_5@4h"]
    coarse = candles.resampled(FOUR)
    expected = compute(coarse, ["sma_5"])["sma_5"]
    ends = {int(t): v for t, v in zip(coarse.closed_at_seconds(), expected, strict=True)}
    current = np.nan
    for closed, value in zip(candles.closed_at_seconds().tolist(), found, strict=True):
        current = ends.get(closed, current)
        np.testing.assert_equal(value, current)


@pytest.mark.parametrize("history", [market, gappy], ids=["ordinary", "gaps"])
def test_each_value_is_what_the_candles_up_to_then_would_have_given(history):
    candles = history(500)
    found = on_coarser(candles, FOUR, ["rsi_14"])["rsi_14@4h"]
    for count in (60, 77, 203, 318, len(candles)):
        coarse = candles[:count].resampled(FOUR)
        alone = compute(coarse, ["rsi_14"])["rsi_14"]
        np.testing.assert_equal(found[count - 1], alone[-1] if len(alone) else np.nan)


def test_no_coarse_value_knows_the_rest_of_its_day():
    subject = lambda c: {**on_coarser(c, FOUR), **on_coarser(c, DAY, ["sma_5"])}  # noqa: E731
    assert find_leaks(subject, drawn_candles(), 150, seed=6).leaks == ()


def test_the_ladder_holds_what_can_be_made():
    assert [str(t) for t in coarser(Timeframe.parse("1h"))] == ["4h", "1d", "1w"]
    assert [str(t) for t in coarser(Timeframe.parse("15m"))] == ["1h", "4h", "1d", "1w"]
    assert coarser(Timeframe.parse("1w")) == ()


def test_a_finer_timeframe_is_refused():
    with pytest.raises(UsageError, match="not coarser"):
        on_coarser(market(50), Timeframe.parse("15m"))
