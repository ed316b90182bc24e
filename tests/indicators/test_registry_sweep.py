"""Claims that hold for every column; they walk the registry, so nobody must enrol."""

import numpy as np
import pytest

from tests.indicators.markets import EXTREMES, market
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.indicators import INDICATORS, Unit, compute, indicator
from trader.indicators.plan import evaluate
from trader.indicators.registry import COLUMNS, inputs_of
from trader.patterns import NEUTRAL, PATTERNS, compute_patterns

ENTRIES = {**INDICATORS, **PATTERNS}


def everything(candles: Candles) -> dict[str, np.ndarray]:
    return {**compute(candles), **compute_patterns(candles)}


@pytest.fixture(scope="module")
def ordinary() -> dict[str, np.ndarray]:
    return everything(market())


def test_the_registry_is_as_rich_as_promised():
    assert len(INDICATORS) >= 120
    assert sum(entry.group == "candlestick" for entry in PATTERNS.values()) == 61
    assert set(PATTERNS) >= {"hammer", "engulfing", "double_top", "breakout_20", "squeeze_release"}
    assert set(PATTERNS) >= NEUTRAL


def test_no_name_is_both_an_indicator_and_a_pattern():
    assert set(INDICATORS) & set(PATTERNS) == set()


@pytest.mark.parametrize("name", ENTRIES)
def test_the_first_finite_value_is_exactly_at_the_stated_warm_up(name, ordinary):
    finite = np.isfinite(ordinary[name])
    assert int(np.argmax(finite)) == ENTRIES[name].warmup
    assert finite[ENTRIES[name].warmup :].all()
    assert np.isnan(ordinary[name][: ENTRIES[name].warmup]).all()


@pytest.mark.parametrize("name", ENTRIES)
def test_every_column_says_what_it_is(name):
    entry = ENTRIES[name]
    assert len(entry.meaning) > 10
    assert "{" not in entry.meaning
    assert entry.group in {
        "trend", "momentum", "volatility", "volume", "statistics", "candlestick", "chart"
    }  # fmt: skip


@pytest.fixture(scope="module", params=EXTREMES)
def extreme(request) -> dict[str, np.ndarray]:
    return everything(EXTREMES[request.param]())


def test_extreme_markets_give_one_value_per_candle_within_bounds_and_never_infinity(extreme):
    size = len(extreme["bop"])
    for name, values in extreme.items():
        assert values.dtype == np.float64, name
        assert values.shape == (size,), name
        assert not np.isinf(values).any(), name
        low, high = ENTRIES[name].bounds
        known = values[np.isfinite(values)]
        assert low is None or (known >= low).all(), (name, known.min())
        assert high is None or (known <= high).all(), (name, known.max())


def test_extreme_markets_leave_no_hole_after_the_warm_up(extreme):
    for name, values in extreme.items():
        first = ENTRIES[name].warmup
        assert np.isfinite(values[first:]).all(), name


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**20])
def test_numbers_without_a_unit_do_not_depend_on_the_price_level(factor, ordinary):
    base = market()
    scaled = Candles(
        base.timeframe, base.opened_at, *(c * factor for c in (base.open, base.high, base.low,
        base.close)), base.volume, base.trades,
    )  # fmt: skip
    found = everything(scaled)
    for name, entry in ENTRIES.items():
        if entry.stationary:
            np.testing.assert_allclose(
                found[name], ordinary[name], rtol=1e-6, atol=1e-6, err_msg=name
            )
        if entry.unit is Unit.PRICE:
            np.testing.assert_allclose(
                found[name], ordinary[name] * factor, rtol=1e-9, atol=1e-7 * factor, err_msg=name
            )


def test_an_empty_history_gives_empty_columns():
    assert {len(v) for v in everything(Candles.empty(Timeframe(3600))).values()} == {0}


@pytest.mark.parametrize("source", ["open", "high", "low", "close", "volume", "trades"])
@pytest.mark.parametrize("rows", [slice(350, 351), slice(0, 1), slice(650, None)])
def test_a_nan_in_any_input_leaves_the_past_alone_and_is_never_infinity(source, rows, ordinary):
    """Candles refuse NaN; a formula given one all the same must not lie about earlier candles."""
    broken = dict(inputs_of(market()))
    broken[source] = broken[source].copy()
    broken[source][rows] = np.nan
    found = evaluate({name: entry.node() for name, entry in ENTRIES.items()}, broken)
    for name, values in found.items():
        np.testing.assert_array_equal(
            values[: rows.start], ordinary[name][: rows.start], err_msg=name
        )
        assert values.shape == (700,), name
        assert not np.isinf(values).any(), name


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_candles_with_an_impossible_number_never_reach_an_indicator(column, value):
    columns = {name: np.array(getattr(market(50), name)) for name in COLUMNS}
    columns[column][20] = value
    with pytest.raises(HistoryError, match="the candle of"):
        Candles(Timeframe(3600), **columns)


@pytest.mark.parametrize("cut", [1, 2, 37, 260, 699])
def test_a_shorter_history_gives_the_same_bits(cut, ordinary):
    for name, values in everything(market()[:cut]).items():
        np.testing.assert_array_equal(values, ordinary[name][:cut], err_msg=name)


def test_the_same_bits_when_one_column_is_asked_for_alone(ordinary):
    for name in ("macd_hist", "squeeze", "kst_signal", "vol_rank_100"):
        np.testing.assert_array_equal(compute(market(), [name])[name], ordinary[name])


def test_adding_an_indicator_is_one_decorated_function():
    table = {}

    @indicator("twice_{}", inputs=("close",), warmup=0, over=(2, 3), register=table)
    def times(close, n):
        """The close times {}."""
        return close * float(n)

    assert list(table) == ["twice_2", "twice_3"]
    assert table["twice_3"].meaning == "The close times 3"
    assert list(table["twice_3"].function(np.array([1.0, 2.0]))) == [3.0, 6.0]


def test_a_name_taken_and_an_unknown_input_are_refused_in_words():
    with pytest.raises(UsageError, match="'rsi_14' is registered twice"):
        indicator("rsi_14", inputs=("close",), warmup=14)(lambda close: close)
    with pytest.raises(UsageError, match="'moon' wants 'phase'"):
        indicator("moon", inputs=("phase",), warmup=0)(lambda phase: phase)


def test_a_misspelt_indicator_gets_a_suggestion():
    with pytest.raises(UsageError, match="no indicator 'rsi14'") as caught:
        compute(market(5), ["rsi14"])
    assert "rsi_14" in caught.value.hint
