"""The compiled engine against the step-by-step one: the same trading, to the last unit."""

import importlib
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as some

from config import load_config
from risk_manager import RiskManager
from scripts.backtest import Progress
from scripts.backtest_fast import code_folder, market_of
from scripts.backtest_run import (
    Arena,
    FullWeight,
    RunSettings,
    Stopwatch,
    limits_of,
    strategy_settings,
)
from tests.shared_data import shared
from trader.domain.candles import Candles, Timeframe
from trader.domain.events import Event
from trader.domain.markets import Pair, to_decimal
from trader.domain.orders import Side
from trader.exchanges.markets import market
from trader.risk.stops import atr_stop, target_price
from trader.simulation import kernel
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs, fee_of, taker_price
from trader.simulation.path import Stretch, first_touch, price_at
from trader.simulation.runs import account_run
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from trader.strategies.sma_cross import sma

BTC = Pair("BTC", "USD")
RULES = market(BTC).rules
QUIET = Progress(quiet=True)


@pytest.fixture(scope="session")
def code() -> ModuleType:
    return kernel.compiled(code_folder())


@pytest.fixture(scope="session")
def inside(code: ModuleType) -> ModuleType:
    return importlib.import_module("trader.simulation.compiled_path")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    made = HistoryStore(tmp_path_factory.mktemp("data"))
    path = shared("data/ohlcvt/XBTUSD_60.csv.gz")
    import_ohlcvt(made, path, now=datetime(2024, 1, 1, tzinfo=UTC))
    return made


def settings(
    store: HistoryStore, strategy: str, start: str, days: int, hours: int = 1,
    waits: int = 0, finest: bool = False, **risk: str,
) -> RunSettings:  # fmt: skip
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    config = replace(load_config(None, {}), entry_patience_minutes=waits)
    config = replace(config, **{k: Decimal(v) for k, v in risk.items()})
    return RunSettings(
        config, store, (BTC,), Timeframe(hours * 3600), Span(begin, begin + timedelta(days=days)),
        strategy, Costs(), Decimal(10_000), finest_path=finest,
    )  # fmt: skip


def both(wanted: RunSettings, *, full: bool = False) -> tuple[list[Event], kernel.FastRun]:
    """The events of the step-by-step engine, and the compiled run."""
    arena = Arena.open(wanted, Stopwatch())
    limits = limits_of(wanted)
    judge = FullWeight(limits) if full else RiskManager(limits)
    events = arena.events("x", wanted.strategy, judge, None, QUIET)
    whole = market_of(wanted, arena.histories, arena.paths)
    task = kernel.Task(
        wanted.strategy, strategy_settings(wanted), None if full else limits, wanted.costs,
        wanted.span, wanted.cash,
    )  # fmt: skip
    return events, kernel.trade(whole, task, code_folder())


NEAR = {"stop_atr_multiple": "1", "risk_reward": "2"}
LARGE = {"risk_per_trade": "0.05", "max_position_fraction": "1"}
FINE = {"finest": True}
WAITS = {"waits": 240}
CASES: dict[str, tuple[str, str, int, int, dict[str, Any]]] = {
    "stops and targets are near": ("sma-cross", "2021-05-01", 40, 1, NEAR),
    "exponential means, losing streaks": ("ema-cross", "2020-03-01", 60, 1, NEAR),
    "additions and part sales": ("vol-target-hold", "2017-01-10", 60, 1, LARGE),
    "the trend rule meets its drawdown limit": ("trend", "2017-11-01", 200, 4, LARGE),
    "holes in the history": ("sma-cross", "2014-06-01", 60, 1, NEAR),
    "a yardstick without stops": ("vol-target-hold", "2020-02-01", 60, 4, {"full": True}),
    "buy and hold": ("buy-and-hold", "2020-02-01", 40, 4, {"full": True}),
    "hours followed inside four": ("ema-cross", "2020-03-01", 120, 4, {**NEAR, **FINE}),
    "purchases wait": ("sma-cross", "2021-05-01", 40, 1, {**NEAR, **WAITS}),
    "purchases wait, hours inside four": ("trend", "2017-11-01", 200, 4,
                                          {**LARGE, **WAITS, **FINE}),
    "additions wait and fill in parts": ("vol-target-hold", "2014-01-10", 90, 4,
                                         {**LARGE, **WAITS, **FINE}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_decisions_orders_fills_and_equity_are_those_of_the_step_by_step_engine(
    name: str, store: HistoryStore
) -> None:
    strategy, start, days, hours, more = CASES[name]
    full = bool(more.get("full"))
    risk = {k: v for k, v in more.items() if k != "full"}
    wanted = settings(store, strategy, start, days, hours, **risk)
    events, fast = both(wanted, full=full)
    slow = account_run("x", "USD", wanted.cash, events, wanted.span.start)
    assert kernel.digest_of_events(events) == fast.digest
    assert np.array_equal(slow.times, fast.times)
    # A decimal becomes a float in one rounding there, in two here: the last bit may differ.
    np.testing.assert_array_max_ulp(slow.equity, fast.equity, maxulp=1)
    assert np.allclose(slow.invested, fast.invested, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("waits", [0, 240])
def test_the_run_told_in_decimals_has_the_very_trades(store: HistoryStore, waits: int) -> None:
    wanted = settings(store, "sma-cross", "2021-05-01", 40, waits=waits, **NEAR)
    events, fast = both(wanted)
    slow, told = (
        account_run("x", "USD", wanted.cash, events, wanted.span.start), fast.account_run("x")
    )  # fmt: skip
    assert slow.trades == told.trades
    assert len(told.trades) > 10
    for ours, theirs in zip(slow.executions, told.executions, strict=True):
        assert ours.purpose is theirs.purpose
        assert ours.fill.fee_quote == theirs.fill.fee_quote
        assert ours.fill.liquidity is theirs.fill.liquidity
    assert slow.refusals.keys() == told.refusals.keys()
    assert float(sum(t.profit_quote for t in slow.trades)) == pytest.approx(
        float(sum(fast.profits))
    )


@pytest.mark.slow
def test_one_fill_more_or_less_changes_the_digest(store: HistoryStore) -> None:
    events, fast = both(settings(store, "sma-cross", "2021-05-01", 20, **NEAR))
    assert kernel.digest_of_events(events[:-40]) != fast.digest


@pytest.mark.parametrize(
    ("pairs", "strategy", "costs"),
    [
        (2, "sma-cross", Costs()),
        (1, "ensemble", Costs()),
        (1, "sma-cross", Costs(walks_book=True)),
        (1, "sma-cross", Costs(tiers_by_volume=True)),
        (1, "sma-cross", Costs(slippage=Decimal("0.01"))),
    ],
)
def test_what_is_not_covered_is_said_before_any_work(
    pairs: int, strategy: str, costs: Costs
) -> None:
    limits = limits_of(settings(HistoryStore(Path()), "sma-cross", "2021-01-01", 1))
    assert kernel.why_not(strategy, pairs, limits, costs)
    assert not kernel.why_not("sma-cross", 1, None, Costs())
    for name in ("trailing_atr_multiple", "max_holding_days"):
        assert kernel.why_not("sma-cross", 1, replace(limits, **{name: 1}), Costs())
    waiting = replace(limits, entry_patience_minutes=240)
    assert kernel.why_not("sma-cross", 1, waiting, Costs(queue_share=Decimal("0.1")))
    assert not kernel.why_not("sma-cross", 1, waiting, Costs())
    assert not kernel.why_not("sma-cross", 1, limits, Costs())


def test_prices_that_are_no_decimals_are_not_covered() -> None:
    thirds = np.full(40, 1 / 3)
    times = np.arange(40) * 3600
    ones = np.ones(40)
    candles = Candles(
        Timeframe(3600), times, thirds, thirds, thirds, thirds, ones, ones.astype(np.int64)
    )
    with pytest.raises(kernel.NotCovered, match="decimals"):
        kernel.Market.of(candles, RULES, datetime(1970, 1, 1, tzinfo=UTC))


# -- the scalar rules in whole numbers against those in decimals ---------------------------------

wholes = some.integers(0, 2**62 - 1)


@pytest.mark.slow
@examples(max_examples=300, deadline=None)
@given(wholes, wholes)
def test_products_of_large_whole_numbers_are_exact(code: Any, a: int, b: int) -> None:
    high, low = code.product(a, b)
    assert (int(high) << 62) + int(low) == a * b


QUICK = examples(max_examples=200, deadline=None)
ticks = some.integers(1_000, 2_000_000)
fractions = some.integers(0, 100)


@pytest.mark.slow
@QUICK
@given(ticks, fractions)
def test_taker_prices_are_the_same(code: Any, price: int, slip: int) -> None:
    slippage, real = Decimal(slip) / 10_000, Decimal(price) / 10
    assert taker_price(Side.BUY, real, slippage, RULES) * 10 == code.buy_price(
        price, slip, 10_000, 1
    )
    assert taker_price(Side.SELL, real, slippage, RULES) * 10 == code.sell_price(
        price, 0, 1, slip, 10_000, 1
    )


@pytest.mark.slow
@QUICK
@given(some.integers(0, 10**12), some.integers(0, 100))
def test_fees_are_the_same(code: Any, cost: int, rate: int) -> None:
    fee = fee_of(Decimal(cost) / 10**5, Decimal(rate) / 10_000, RULES)
    assert fee * 10**5 == code.fee_units(cost, rate, 10_000)


@QUICK
@given(ticks, some.integers(1, 10**10))
def test_costs_are_the_same(code: Any, price: int, quantity: int) -> None:
    cost = RULES.booked_cost(Decimal(price) / 10 * Decimal(quantity) / 10**8)
    assert cost * 10**5 == code.half_even(price * quantity, 10**4)


ranges = some.one_of(
    some.floats(1e-3, 1e5),
    # Means of fourteen ranges fall on ticks far more often than chance would have it.
    some.integers(1, 10**7).map(lambda total: total / 140),
    some.integers(1, 10**6).map(lambda total: math.fsum([total / 10] * 14) / 14),
)


@pytest.mark.slow
@QUICK
@given(ticks, ranges, some.integers(1, 80))
def test_stops_are_the_same_or_said_to_be_uncertain(
    code: Any, entry: int, atr: float, multiple: int
) -> None:
    exact = kernel._fraction(atr)
    found, certain = code.stop_below(entry, atr, *exact, multiple, 10, 10, 1)
    real = atr_stop(Decimal(entry) / 10, to_decimal(atr), Decimal(multiple) / 10, RULES)
    distance = atr * multiple / entry
    assert certain or min(abs(distance - 0.005), abs(distance - 0.5)) < 1e-6
    assert not certain or found == (0 if real is None else real * 10)


@pytest.mark.slow
@QUICK
@given(ticks, some.integers(1, 999), some.integers(0, 100))
def test_targets_are_the_same(code: Any, entry: int, below: int, reward: int) -> None:
    stop = entry - below
    real = target_price(Decimal(entry) / 10, Decimal(stop) / 10, Decimal(reward) / 10, RULES)
    assert code.target_above(entry, stop, reward, 10, 1) == (0 if real is None else real * 10)


@pytest.mark.slow
@QUICK
@given(ticks, some.integers(1, 5_000), some.integers(1, 5_000), some.integers(0, 5_000))
def test_a_level_is_met_at_the_same_microsecond_and_price(
    code: Any, low: int, rise: int, part: int, slip: int
) -> None:
    high, level = low + rise, low + min(part, rise)
    slippage = Decimal(slip % 50) / 10_000
    candle = Stretch(0, 3_600_000_000, low / 10, high / 10, low / 10, high / 10, 1.0)
    touched = first_touch(candle, Decimal(level) / 10, rising=True, strict=False, after=0)
    third = 1_200_000_000
    after = code.touch(low, high, level, third)
    assert touched is not None
    assert touched[0] == third + after
    risen = rise * after
    found = code.sell_price(low + risen // third, risen % third, third, slip % 50, 10_000, 1)
    real = taker_price(Side.SELL, price_at(candle, touched[0]), slippage, RULES)
    assert real * 10 == found


corners = some.lists(some.integers(1_000, 1_060), min_size=4, max_size=4)


@pytest.mark.slow
@examples(max_examples=500, deadline=None)
@given(corners, some.integers(995, 1_065), some.booleans(), some.booleans(), some.integers(-1, 99))
def test_the_path_meets_a_level_at_the_same_moment(
    inside: Any, prices: list[int], level: int, rising: bool, strict: bool, after: int
) -> None:
    opened, low, high, close = prices[0], min(prices), max(prices), prices[3]
    after *= 36_000_000
    candle = Stretch(0, 3_600_000_000, opened / 10, high / 10, low / 10, close / 10, 1.0)
    real = first_touch(candle, Decimal(level) / 10, rising=rising, strict=strict, after=after)
    found = inside.first_touch(
        (opened, low, high, close), 0, 1_200_000_000, level, rising, strict, after
    )
    assert found == ((-1, 0) if real is None else (real[0], real[1] * 10))


@pytest.mark.slow
@QUICK
@given(ticks, some.integers(0, 2), some.integers(1, 30), some.integers(0, 50))
def test_a_price_between_two_units_is_taken_and_shown_alike(
    inside: Any, price: int, part: int, parts: int, slip: int
) -> None:
    part = min(part * parts // 2, parts - 1)
    # In units of a tenth of a tick, so that a price may lie between two ticks too.
    real, tick = (Decimal(price) + Decimal(part) / parts) / 100, 10
    taken = taker_price(Side.BUY, real, Decimal(slip) / 10_000, RULES)
    assert taken * 100 == inside.buy_at(price, part, parts, slip, 10_000, tick)
    shown = RULES.price_nearest(real)
    for target in (shown - RULES.tick, shown, shown + RULES.tick):
        found = inside.reached(price, part, parts, int(target * 100), tick)
        assert found == (shown >= target)


@pytest.mark.slow
@QUICK
@given(some.lists(some.floats(1, 1e6), min_size=1, max_size=200), some.integers(1, 60))
def test_means_are_the_same_floats(code: Any, values: list[float], window: int) -> None:
    array = np.array(values)
    assert np.array_equal(sma(array, window), code.means(array, window), equal_nan=True)
