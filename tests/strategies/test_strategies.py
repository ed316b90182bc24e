import math
from dataclasses import replace

import numpy as np
import pytest

from ai_trader import AITrader
from tests.market_making import START, Timeframe, candles_of, random_walk, snapshot_of
from trader.domain.errors import ModelError, UsageError
from trader.domain.signals import Action
from trader.learning.dataset import horizons_for
from trader.learning.forecast import Forecast, Outlook
from trader.learning.trend import trend_of
from trader.strategies.ensemble import in_sleeve
from trader.strategies.registry import Situation, StrategySettings, all_strategies, find_strategy
from trader.strategies.trend import core_view, core_weights

RISING = candles_of(random_walk(24 * 120, drift=0.001, sigma=0.004))
FALLING = candles_of(random_walk(24 * 120, drift=-0.001, sigma=0.004))


def decide(name, snapshot, held=0.0, outlook=None, **settings):
    situation = Situation(
        snapshot, held, snapshot.closed_at, StrategySettings(**settings), outlook or Outlook()
    )
    return find_strategy(name).decide(situation)


def forecast(expected, probability=0.6, hours=24.0, recent=None):
    values = np.array([expected] if recent is None else recent)
    return Forecast(hours, probability, 0.5, expected, values, np.full(len(values), probability))


def outlook(main, short=0.0, licensed=True):
    return Outlook(
        {24.0: main, 6.0: forecast(short, hours=6.0)}, "m1", "", 24.0, licensed,
        frozenset({6.0, 24.0}),
    )  # fmt: skip


def test_trend_buys_what_the_volatility_target_allows_in_a_rising_market():
    signal = decide("trend", snapshot_of(RISING))
    volatility = float(trend_of(RISING).volatility[-1])
    assert signal.action is Action.BUY
    assert signal.target_weight == pytest.approx(min(1, 0.25 / volatility))
    assert signal.confidence == 1.0


def test_trend_sells_what_is_held_in_a_falling_market():
    signal = decide("trend", snapshot_of(FALLING), held=0.3)
    assert (signal.action, signal.target_weight) == (Action.SELL, 0.0)
    assert "falling" in signal.reasons[0]


def test_trend_stays_out_while_the_leader_falls():
    leader = snapshot_of(FALLING)
    signal = decide("trend", snapshot_of(RISING, "ETH/USD", leader=leader))
    assert (signal.action, signal.target_weight) == (Action.HOLD, 0.0)
    assert any("BTC is falling" in reason for reason in signal.reasons)


def test_trend_waits_until_two_of_its_parts_are_warm_and_counts_the_days():
    signal = decide("trend", snapshot_of(RISING, index=24 * 23 - 1), held=0.2)
    assert signal.action is Action.HOLD
    assert signal.reasons == ("warming up: 23.0 of 24 days of candles seen",)
    assert decide("trend", snapshot_of(RISING, index=24 * 24 - 1)).target_weight > 0


def test_with_720_candles_the_warm_parts_decide_and_the_signal_says_so():
    signal = decide("trend", snapshot_of(RISING[:720]))
    assert signal.action is Action.BUY
    assert "2 longer still warming up" in signal.reasons[0]


def test_a_small_difference_is_left_alone():
    wanted = decide("trend", snapshot_of(RISING)).target_weight
    near = decide("trend", snapshot_of(RISING), held=wanted - 0.04)
    far = decide("trend", snapshot_of(RISING), held=wanted - 0.06)
    assert (near.action, far.action) == (Action.HOLD, Action.BUY)
    assert "rebalance band" in near.reasons[-1]


def test_each_pair_gets_its_share_of_the_equity():
    whole = decide("trend", snapshot_of(RISING)).target_weight
    assert decide("trend", snapshot_of(RISING), share=0.25).target_weight == pytest.approx(
        whole / 4
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(all_strategies()))
def test_a_strategy_decides_the_same_whether_or_not_the_future_is_stored(name):
    future = candles_of(np.concatenate([RISING.close[:2000], random_walk(500, 9)]))
    long, short = snapshot_of(future, index=1999), snapshot_of(future[:2000])
    assert decide(name, long) == decide(name, short)


@pytest.mark.parametrize("name", sorted(all_strategies()))
@pytest.mark.parametrize("timeframe", ["15m", "4h", "1d", "1w"])
def test_a_strategy_decides_on_every_timeframe(name, timeframe):
    candles = candles_of(random_walk(400), Timeframe.parse(timeframe))
    signal = decide(name, snapshot_of(candles))
    assert signal.reasons
    assert 0 <= signal.target_weight <= 1


@pytest.mark.parametrize("name", sorted(all_strategies()))
def test_a_strategy_survives_a_single_candle(name):
    assert decide(name, snapshot_of(RISING[:1])).reasons


def test_buy_and_hold_buys_once_and_never_trades_again():
    assert decide("buy-and-hold", snapshot_of(FALLING)).action is Action.BUY
    kept = decide("buy-and-hold", snapshot_of(FALLING), held=0.31)
    assert (kept.action, kept.target_weight) == (Action.HOLD, 0.31)


@pytest.mark.parametrize("name", ["sma-cross", "ema-cross"])
def test_a_crossing_is_in_above_and_out_below(name):
    assert decide(name, snapshot_of(candles_of(np.linspace(100, 200, 80)))).target_weight == 1.0
    assert decide(name, snapshot_of(candles_of(np.linspace(200, 100, 80)))).target_weight == 0.0


def test_ensemble_without_a_model_is_the_trend_rule_and_says_so():
    plain = decide("trend", snapshot_of(RISING))
    signal = decide("ensemble", snapshot_of(RISING), outlook=Outlook(silence="no model yet"))
    assert (plain.action, plain.target_weight) == (signal.action, signal.target_weight)
    assert signal.reasons[-1] == "the trend rule alone: no model yet"
    assert signal.model_id == ""


def test_ensemble_enters_by_itself_when_a_forecast_beats_the_costs():
    signal = decide("ensemble", snapshot_of(FALLING), outlook=outlook(forecast(0.05, 0.62)))
    assert signal.action is Action.BUY
    assert (signal.confidence, signal.model_id) == (0.62, "m1")
    assert "above the costs" in signal.reasons[0]


def test_ensemble_says_in_plain_words_that_no_forecast_beats_the_costs():
    signal = decide("ensemble", snapshot_of(FALLING), outlook=outlook(forecast(0.004)))
    assert (signal.action, signal.target_weight) == (Action.HOLD, 0.0)
    assert any("no forecast beats the costs" in reason for reason in signal.reasons)


def test_ensemble_says_that_nothing_is_timed_where_the_candles_make_no_forecast_over_six_hours():
    four_hours = candles_of(random_walk(24 * 60, drift=0.004, sigma=0.008), Timeframe(4 * 3600))
    said = Outlook({h: forecast(-0.01, 0.4, h) for h in horizons_for(four_hours.timeframe)}, "m1")
    timing = "timing is off: it asks for a forecast over 6 h, and with 4h candles there are only "
    reasons = decide("ensemble", snapshot_of(four_hours), outlook=said).reasons
    assert f"{timing}those over 4 h and 24 h" in reasons
    hourly = decide("ensemble", snapshot_of(RISING), outlook=outlook(forecast(0.0))).reasons
    assert not any("timing is off" in reason for reason in hourly)


def test_ensemble_does_not_follow_entries_that_have_not_paid_before():
    said = outlook(forecast(0.05, 0.62), licensed=False)
    signal = decide("ensemble", snapshot_of(FALLING), outlook=said)
    assert signal.target_weight == 0.0
    assert any("have not paid out of sample" in reason for reason in signal.reasons)


def test_dearer_fees_make_the_same_forecast_too_small():
    said = outlook(forecast(0.02, 0.6))
    cheap = decide("ensemble", snapshot_of(FALLING), outlook=said, taker_fee=0.004)
    dear = decide("ensemble", snapshot_of(FALLING), outlook=said, taker_fee=0.008)
    assert cheap.target_weight > 0 == dear.target_weight


def test_an_entry_is_kept_until_the_forecast_turns_negative():
    assert in_sleeve(forecast(0.005, recent=[0.03, 0.01, 0.005]), 0.025, 0.55)
    assert not in_sleeve(forecast(0.005, recent=[0.03, -0.001, 0.005]), 0.025, 0.55)
    assert not in_sleeve(forecast(0.01, recent=[0.01, 0.02, 0.01]), 0.025, 0.55)
    assert not in_sleeve(forecast(0.03, 0.52, recent=[0.0, 0.03]), 0.025, 0.55)


def test_buying_waits_while_the_short_forecast_expects_lower_prices():
    fall, rise = np.linspace(200, 100, 24 * 100), np.linspace(100, 150, 24 * 4)
    turned = candles_of(np.concatenate([fall, rise]))
    said = outlook(forecast(0.0), short=-0.004)
    eager = decide("trend", snapshot_of(turned))
    signal = decide("ensemble", snapshot_of(turned), outlook=said)
    assert eager.action is Action.BUY
    assert signal.action is Action.HOLD
    assert signal.reasons[0].startswith("buying waits")


def test_waiting_ends_after_four_days():
    signal = decide("ensemble", snapshot_of(RISING), outlook=outlook(forecast(0.0), short=-0.004))
    assert signal.action is Action.BUY


def test_core_weights_are_the_weights_decided_one_by_one():
    leader = snapshot_of(candles_of(random_walk(2400, 3)))
    other = candles_of(random_walk(2400, 4))
    settings = StrategySettings()
    many = core_weights(snapshot_of(other, "ETH/USD", leader=leader), settings, 50)
    singles = [
        core_view(
            snapshot_of(other, "ETH/USD", i, replace(leader, index=i)), settings
        ).weight
        for i in range(2350, 2400)
    ]  # fmt: skip
    assert many.tolist() == singles


def test_an_unknown_strategy_names_the_nearest():
    with pytest.raises(UsageError, match="'trendy' is not known") as caught:
        AITrader("trendy")
    assert caught.value.hint == "Did you mean trend?"


class Source:
    def __init__(self, model):
        self.model = model

    def model_for(self, pair, timeframe, now):
        if isinstance(self.model, Exception):
            raise self.model
        return self.model


class Oracle:
    id = "oracle"

    def __init__(self, known_through):
        self.known_through = known_through

    def outlook(self, snapshot):
        return outlook(forecast(0.05, 0.9))


def test_a_model_from_the_future_is_never_asked():
    snapshot = snapshot_of(FALLING)
    trader = AITrader("ensemble", Source(Oracle(snapshot.closed_at)))
    assert trader.decide(snapshot, 0.0, snapshot.closed_at).model_id == "m1"
    early = trader.decide(snapshot, 0.0, START)
    assert early.model_id == ""
    assert "knows the future" in early.reasons[-1]


def test_a_damaged_model_leaves_the_trend_rule_in_charge_and_says_why():
    trader = AITrader("ensemble", Source(ModelError("model m1 is damaged")))
    snapshot = snapshot_of(RISING)
    signal = trader.decide(snapshot, 0.0, snapshot.closed_at)
    assert signal.action is Action.BUY
    assert signal.reasons[-1] == "the trend rule alone: model m1 is damaged"


def test_volatility_is_a_yearly_fraction():
    candles = candles_of(random_walk(24 * 60, sigma=0.01))
    assert trend_of(candles).volatility[-1] == pytest.approx(0.01 * math.sqrt(8760), rel=0.1)
