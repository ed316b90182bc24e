"""Every rule at its edge: the last moment it allows, and the first it refuses."""

from dataclasses import replace
from datetime import timedelta

import pytest

from risk_manager import RiskManager, RiskState
from tests.risk.drawn import (
    ADA,
    BTC,
    ETH,
    HOUR,
    MARKET,
    NOW,
    OPEN,
    RULES,
    SOL,
    D,
    account,
    holding,
    limited,
    signal,
    verdict,
)
from trader.domain.events import CashAdjusted, EquityMarked, Resumed
from trader.domain.orders import OrderType, Side
from trader.domain.signals import Action, Approval, Refusal
from trader.risk.limits import RISK_ADDING, RiskContext, RiskLimits, market_status

SELL = signal(Action.SELL, 0.0)
SECOND = timedelta(seconds=1)


def rule_of(found):
    """The name of the rule that refused, empty for an approval."""
    return found.rule if isinstance(found, Refusal) else ""


def test_the_emergency_stop_forbids_buying_and_names_its_reason():
    assert rule_of(verdict(emergency="")) == ""
    refusal = verdict(emergency="smoke in the room")
    assert (refusal.rule, refusal.reason) == (
        "emergency-stop",
        "emergency stop: smoke in the room",
    )
    assert verdict(limits=limited(emergency_stop=True)).rule == "emergency-stop"


def test_data_may_be_two_candles_old_and_not_a_second_more():
    assert rule_of(verdict(now=NOW + 2 * HOUR)) == ""
    assert rule_of(verdict(now=NOW + 2 * HOUR + SECOND)) == "stale-data"


def test_data_of_an_unknown_timeframe_may_be_a_day_old():
    assert rule_of(verdict(timeframe=None, now=NOW + 24 * HOUR)) == ""
    assert rule_of(verdict(timeframe=None, now=NOW + 24 * HOUR + SECOND)) == "stale-data"


def test_data_from_the_future_means_a_wrong_clock():
    refusal = verdict(now=NOW - SECOND)
    assert refusal.rule == "stale-data"
    assert "clock" in refusal.reason


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_without_a_valid_price_nothing_is_done_in_either_direction(price):
    assert rule_of(verdict(price=D(price))) == "stale-data"
    assert rule_of(verdict(holding(account()), price=D(price), wish=SELL)) == "stale-data"


def test_a_held_pair_without_a_price_forbids_buying():
    portfolio = holding(account(), pair=ETH)
    assert rule_of(verdict(portfolio, prices={ETH: D(100)})) == ""
    refusal = verdict(portfolio)
    assert (refusal.rule, refusal.reason) == ("stale-data", "no price of ETH/USD, which is held")


def test_a_day_may_lose_less_than_its_limit():
    limits = limited(max_daily_loss=D("0.03"))
    assert rule_of(verdict(account(equity="970.01"), limits)) == ""
    refusal = verdict(account(equity=970), limits)
    assert refusal.rule == "daily-loss"
    assert refusal.reason == "3.00 % lost since 2024-03-01 00:00 UTC, limit 3.00 %"


def test_an_open_loss_counts_for_the_day_before_it_is_marked():
    limits = limited(max_daily_loss=D("0.03"))
    portfolio = holding(account(), quantity="3")
    assert rule_of(verdict(portfolio, limits, price=D("90.1"))) == ""
    assert rule_of(verdict(portfolio, limits, price=D("90.0"))) == "daily-loss"


MIDNIGHT = (NOW + timedelta(days=1)).replace(hour=0)
DAY_LIMIT = limited(max_daily_loss=D("0.03"))


def asked(portfolio, now):
    return verdict(portfolio, DAY_LIMIT, now=now, data_closed_at=now)


def mark(portfolio, equity, at):
    portfolio.cash = D(equity)
    portfolio.apply(EquityMarked(at, D(equity), D(equity), ()))
    return portfolio


def test_a_day_lasts_until_the_mark_that_closes_it():
    assert rule_of(asked(account(equity=970), MIDNIGHT)) == "daily-loss"


def test_the_last_candle_of_a_day_belongs_to_it():
    # 2 % by 20:00 and as much again by midnight: a day of 4.5 %.
    portfolio = mark(account(equity=980), 955, MIDNIGHT + 5 * SECOND)
    refusal = asked(portfolio, MIDNIGHT + 6 * SECOND)
    assert (refusal.rule, refusal.reason) == (
        "daily-loss",
        "4.50 % lost from 2024-03-01 00:00 to 2024-03-02 00:00 UTC, limit 3.00 %; nothing is "
        "bought on 2024-03-02",
    )


def test_a_day_of_too_great_a_loss_forbids_the_day_after_and_no_more():
    portfolio = mark(account(equity=980), 955, MIDNIGHT)
    last = mark(portfolio, 955, MIDNIGHT + 23 * HOUR)
    assert rule_of(asked(last, MIDNIGHT + 23 * HOUR)) == "daily-loss"
    over = mark(portfolio, 955, MIDNIGHT + 24 * HOUR)
    assert rule_of(asked(over, MIDNIGHT + 24 * HOUR)) == ""


def test_a_loss_made_good_by_the_close_forbids_nothing():
    portfolio = mark(account(equity=960), 980, MIDNIGHT)
    assert rule_of(asked(portfolio, MIDNIGHT)) == ""


def test_with_daily_candles_a_day_of_too_great_a_loss_forbids_the_next_purchase():
    portfolio = mark(account(), 950, MIDNIGHT)
    refusal = asked(portfolio, MIDNIGHT + 23 * HOUR)
    assert refusal.reason.startswith("5.00 % lost from 2024-03-01 00:00 to 2024-03-02 00:00 UTC")


def test_a_day_that_closed_well_begins_at_its_close():
    portfolio = mark(account(equity=980), 975, MIDNIGHT)
    assert rule_of(asked(mark(portfolio, 950, MIDNIGHT + HOUR), MIDNIGHT + HOUR)) == ""
    refusal = asked(mark(portfolio, 940, MIDNIGHT + 2 * HOUR), MIDNIGHT + 2 * HOUR)
    assert refusal.reason == "3.59 % lost since 2024-03-02 00:00 UTC, limit 3.00 %"


def test_a_gap_over_midnight_counts_for_the_day_it_ends_in_and_is_told_so():
    portfolio = mark(account(equity=990), 958, MIDNIGHT + 7 * HOUR)
    refusal = asked(portfolio, MIDNIGHT + 7 * HOUR)
    assert refusal.reason.startswith("4.20 % lost from 2024-03-01 00:00 to 2024-03-02 07:00")
    later = asked(mark(portfolio, 940, MIDNIGHT + 8 * HOUR), MIDNIGHT + 8 * HOUR)
    assert later.reason == "5.05 % lost since 2024-03-01 12:00 UTC, limit 3.00 %"


def test_equity_may_fall_less_than_the_drawdown_limit():
    limits = limited(max_drawdown=D("0.15"))
    assert rule_of(verdict(account(equity="850.01"), limits)) == ""
    refusal = verdict(account(equity=850), limits)
    assert refusal.rule == "drawdown"
    assert "850.00 is 15.00 % below its peak 1,000.00" in refusal.reason


PAUSE = limited(max_drawdown=D("0.2"), drawdown_pause_days=30)
DAY = timedelta(days=1)


def fallen(days, equity=800):
    """An account that fell from 1000 this many days before NOW, and what the rules said then."""
    at = NOW - days * DAY
    portfolio = account(equity=equity, at=at)
    change = RiskManager(PAUSE).change(portfolio, at)
    assert (change.state, change.reason, change.recovering_to) == ("reduce only", "drawdown", None)
    portfolio.apply(change)
    return portfolio


def test_the_pause_after_a_drawdown_lasts_to_its_last_second():
    before = NOW - SECOND
    refusal = verdict(fallen(30), PAUSE, now=before, data_closed_at=before)
    assert refusal.rule == "drawdown"
    assert "from 2024-03-01 on at 50% of the size" in refusal.reason
    assert isinstance(verdict(fallen(30), PAUSE), Approval)


def test_without_a_pause_a_drawdown_waits_for_a_person():
    forever = limited(max_drawdown=D("0.2"), drawdown_pause_days=0)
    assert verdict(fallen(3650), forever).rule == "drawdown"


def test_after_the_pause_the_peak_begins_anew_and_purchases_are_half_as_large():
    portfolio = fallen(30)
    change = RiskManager(PAUSE).change(portfolio, NOW)
    assert (change.state, change.recovering_to) == ("trading", 900)  # half way from 800 to 1000
    portfolio.apply(change)
    assert portfolio.equity_peak == 800
    plan = verdict(portfolio, PAUSE, wish=signal(weight=0.2))
    assert plan.quantity == D("0.80")  # half of 20 % of 800 at 100 each
    assert plan.reasons[0].startswith("recovery: 50% of the usual size")


def test_at_half_of_the_fall_made_good_the_size_is_the_usual_again():
    portfolio = fallen(30)
    portfolio.apply(RiskManager(PAUSE).change(portfolio, NOW))
    portfolio.cash = D("899.99")
    portfolio.apply(EquityMarked(NOW, portfolio.cash, portfolio.cash, ()))
    assert portfolio.recovering_to == 900
    portfolio.apply(EquityMarked(NOW, D(900), D(900), ()))
    assert portfolio.recovering_to is None


def test_a_second_fall_of_the_same_size_pauses_again():
    portfolio = fallen(30)
    portfolio.apply(RiskManager(PAUSE).change(portfolio, NOW))
    portfolio.cash = D(640)
    portfolio.apply(EquityMarked(NOW, D(640), D(640), ()))
    assert RiskManager(PAUSE).change(portfolio, NOW).state == "reduce only"
    assert verdict(portfolio, PAUSE).rule == "drawdown"


def test_a_fall_that_is_made_good_by_itself_needs_no_recovery():
    portfolio = fallen(1)
    portfolio.cash = D(810)
    portfolio.apply(EquityMarked(NOW, D(810), D(810), ()))
    change = RiskManager(PAUSE).change(portfolio, NOW)
    assert (change.state, change.recovering_to) == ("trading", None)


def test_money_moved_moves_what_is_recovered_to():
    portfolio = fallen(30)
    portfolio.apply(RiskManager(PAUSE).change(portfolio, NOW))
    portfolio.apply(CashAdjusted(NOW, "USD", D(-100), "withdrawn"))
    assert portfolio.recovering_to == 800


def test_a_person_who_resumes_ends_the_recovery():
    portfolio = fallen(30)
    portfolio.apply(RiskManager(PAUSE).change(portfolio, NOW))
    portfolio.apply(Resumed(NOW, "me"))
    assert portfolio.recovering_to is None


def test_a_state_that_lasts_is_told_once():
    portfolio = account(equity=960)
    limits = limited(max_daily_loss=D("0.03"))
    change = RiskManager(limits).change(portfolio, NOW)
    assert (change.state, change.reason) == ("no new risk", "daily-loss")
    portfolio.apply(change)
    assert RiskManager(limits).change(portfolio, NOW) is None


def test_the_peak_is_the_highest_equity_ever_marked():
    portfolio = account(equity=2000)
    portfolio.cash = D(1700)
    assert rule_of(verdict(portfolio, limited(max_drawdown=D("0.15")))) == "drawdown"


def test_resuming_begins_a_new_peak_and_a_new_streak():
    portfolio = account(equity=850)
    portfolio.losing_streak, portfolio.last_loss_at = 5, NOW
    portfolio.apply(Resumed(NOW, "me"))
    limits = limited(max_drawdown=D("0.15"), max_consecutive_losses=5)
    assert rule_of(verdict(portfolio, limits)) == ""


def test_a_losing_streak_pauses_until_the_cool_down_is_over():
    limits = limited(max_consecutive_losses=3, cool_down=24 * HOUR)
    portfolio = account()
    portfolio.losing_streak, portfolio.last_loss_at = 3, NOW - 24 * HOUR + SECOND
    refusal = verdict(portfolio, limits)
    assert refusal.rule == "losing-streak"
    assert "3 losses in a row, limit 3; pause until 2024-03-01 12:00 UTC" in refusal.reason
    portfolio.last_loss_at = NOW - 24 * HOUR
    assert rule_of(verdict(portfolio, limits)) == ""
    portfolio.losing_streak, portfolio.last_loss_at = 2, NOW
    assert rule_of(verdict(portfolio, limits)) == ""


def test_a_purchase_under_way_forbids_another_of_the_same_pair():
    assert rule_of(verdict(pending={ETH: D(10)})) == ""
    assert rule_of(verdict(pending={BTC: D(10)})) == "pending-order"


def test_positions_and_pending_purchases_fill_the_places():
    prices = {ETH: D(100), SOL: D(100)}
    limits = limited(max_open_positions=3)
    held = holding(holding(account(), ETH), SOL)
    assert rule_of(verdict(held, limits, prices=prices)) == ""
    refusal = verdict(held, limits, prices=prices, pending={ADA: D(10)})
    assert refusal.rule == "max-open-positions"
    assert refusal.reason == "3 of 3 taken: ADA/USD, ETH/USD, SOL/USD"


def test_an_addition_takes_no_new_place():
    assert rule_of(verdict(holding(account()), limited(max_open_positions=1))) == ""


def test_a_spread_may_be_as_wide_as_its_limit():
    # 99.5 and 100.5 are 1 % apart.
    assert rule_of(verdict(bid=D("99.5"), ask=D("100.5"))) == ""
    assert rule_of(verdict(bid=D("99.5"), ask=D("100.51"))) == "spread"
    assert rule_of(verdict(bid=D(0), ask=D("100.5"))) == "spread"


def test_a_spread_with_one_unknown_side_is_no_spread():
    assert rule_of(verdict(bid=D(1))) == rule_of(verdict(ask=D(101))) == ""


def test_a_model_must_be_as_sure_as_the_threshold():
    limits = limited(confidence_threshold=0.6)
    assert rule_of(verdict(limits=limits, wish=signal(probability=0.6))) == ""
    refusal = verdict(limits=limits, wish=signal(probability=0.599))
    assert (refusal.rule, refusal.reason) == ("confidence", "probability 0.599, needs 0.600")
    assert rule_of(verdict(limits=limits, wish=signal(probability=float("nan")))) == "confidence"


def test_a_model_that_is_doubted_is_not_followed_and_a_rule_is():
    assert verdict(wish=signal(probability=0.9), model_trouble="shifted").rule == "model-health"
    assert rule_of(verdict(wish=signal(probability=0.9))) == ""
    assert rule_of(verdict(model_trouble="shifted")) == ""


def test_a_purchase_takes_no_more_than_its_part_of_what_is_offered():
    limits = limited(depth_share=D("0.25"))
    assert verdict(limits=limits, ask_depth=D(20)).quantity == D("5.00")  # the risk is the limit
    plan = verdict(limits=limits, ask_depth=D("19.9"))
    assert (plan.quantity, plan.reasons[0].split(":")[0]) == (D("4.97"), "depth")


def test_a_stop_follows_the_highest_close_and_never_falls():
    manager = RiskManager(limited(trailing_atr_multiple=D(3)))
    held = holding(account(), stop="80").position(BTC)
    market = replace(MARKET, price=D(110))
    assert manager.stop_of(held, market, D(112)) == D(97)  # 112 - 3 · 5
    assert manager.stop_of(held, market, D(95)) is None  # 80 it is already
    assert manager.stop_of(held, market, D("95.1")) == D("80.1")
    assert manager.stop_of(held, market, D(125)) is None  # 110 is not below the price
    assert RiskManager(OPEN).stop_of(held, market, D(112)) is None


def test_a_position_is_held_for_its_days_and_not_a_second_longer():
    manager = RiskManager(limited(max_holding_days=2))
    held = holding(account()).position(BTC)
    assert not manager.held_too_long(held, NOW + 2 * DAY - SECOND)
    assert manager.held_too_long(held, NOW + 2 * DAY)
    assert not RiskManager(OPEN).held_too_long(held, NOW + 9999 * DAY)


def test_a_rule_without_a_model_has_no_threshold():
    assert rule_of(verdict(limits=limited(confidence_threshold=0.99))) == ""


def test_with_a_target_the_probability_must_reach_break_even():
    # Reward 3 without costs breaks even at 0.25.
    limits = limited(risk_reward=D(3), confidence_threshold=0.0)
    assert rule_of(verdict(limits=limits, wish=signal(probability=0.25))) == ""
    refusal = verdict(limits=limits, wish=signal(probability=0.249))
    assert (refusal.rule, refusal.reason) == (
        "minimum-edge", "probability 0.249, break-even after costs 0.250"
    )  # fmt: skip


def test_a_margin_over_break_even_can_be_asked_for():
    limits = limited(risk_reward=D(3), confidence_threshold=0.0, edge_margin=0.125)
    assert rule_of(verdict(limits=limits, wish=signal(probability=0.375))) == ""
    assert rule_of(verdict(limits=limits, wish=signal(probability=0.374))) == "minimum-edge"


@pytest.mark.parametrize(
    ("status", "buy", "sell"),
    [
        ("online", "", ""),
        ("reduce_only", "market-status", ""),
        ("limit_only", "market-status", "market-status"),
        ("post_only", "market-status", "market-status"),
        ("cancel_only", "market-status", "market-status"),
        ("something new", "market-status", "market-status"),
    ],
)
def test_the_market_must_take_market_orders(status, buy, sell):
    rules = replace(RULES, status=status)
    assert rule_of(verdict(rules=rules)) == buy
    assert rule_of(verdict(holding(account()), rules=rules, wish=SELL)) == sell


@pytest.mark.parametrize(
    ("status", "plain", "post_only"),
    [("limit_only", "", ""), ("post_only", "market-status", ""), ("online", "", "")],
)
def test_limit_orders_are_taken_where_market_orders_are_not(status, plain, post_only):
    market = replace(MARKET, rules=replace(RULES, status=status))
    context = RiskContext(OPEN, account(), market, NOW, Side.BUY, NOW, OrderType.LIMIT)
    assert rule_of(market_status(context)) == plain
    assert rule_of(market_status(replace(context, post_only=True))) == post_only


def test_without_a_known_daily_range_there_is_no_stop_and_no_purchase():
    assert rule_of(verdict(daily_atr=None)) == "no-stop"
    assert rule_of(verdict(daily_atr=D("NaN"))) == "no-stop"
    assert rule_of(verdict(daily_atr=D("0.001"))) == ""


def test_a_price_below_the_positions_stop_is_no_price_to_add_at():
    assert rule_of(verdict(holding(account(), stop="99.9"))) == ""
    assert rule_of(verdict(holding(account(), stop="100"))) == "no-stop"


def test_the_smallest_order_is_taken_and_one_lot_less_is_not():
    # The minimum of 0.05 at 20 of risk each needs 1 of risk: a thousandth of 1000.
    assert verdict(limits=limited(risk_per_trade=D("0.001"))).quantity == D("0.05")
    refusal = verdict(limits=limited(risk_per_trade=D("0.0009")))
    assert refusal.rule == "minimum-size"
    assert "leaves 0.04 BTC = 4.00 USD; the exchange takes no less than 0.05 BTC" in refusal.reason


def test_the_smallest_cost_is_taken_and_less_is_not():
    rules = replace(RULES, cost_minimum=D(500))
    assert rule_of(verdict(rules=rules)) == ""
    assert rule_of(verdict(rules=rules, wish=signal(weight=0.499))) == "minimum-size"


def test_a_full_position_leaves_nothing_to_add_and_names_the_limit():
    refusal = verdict(holding(account(), quantity="3"), limited(max_position_fraction=D("0.3")))
    assert (refusal.rule, refusal.holds) == ("smallest-addition", True)
    assert "(max-position-fraction)" in refusal.reason


def test_all_positions_together_are_capped():
    held = holding(account(), ETH, quantity="4")
    found = verdict(held, limited(max_exposure=D("0.6")), prices={ETH: D(100)})
    assert (found.quantity, found.reasons[0].split(":")[0]) == (D("2.00"), "max-exposure")


def test_what_moves_together_is_capped_together():
    # 4 ETH count half: 200 of 500 are taken.
    held = holding(account(), ETH, quantity="4")
    limits = limited(max_correlated_exposure=D("0.5"))
    found = verdict(held, limits, prices={ETH: D(100)}, correlations={ETH: 0.5, BTC: 1.0})
    assert (found.quantity, found.reasons[0].split(":")[0]) == (
        D("3.00"), "max-correlated-exposure"
    )  # fmt: skip


def test_what_moves_against_it_takes_no_room():
    held = holding(account(), ETH, quantity="4")
    limits = limited(max_correlated_exposure=D("0.5"))
    found = verdict(held, limits, prices={ETH: D(100)}, correlations={ETH: -0.5})
    assert found.quantity == D("5.00")


def test_the_volatility_target_caps_the_quantity():
    limits = limited(volatility_target=D("0.2"))
    assert verdict(limits=limits, volatility=D("0.8")).quantity == D("2.50")
    assert verdict(limits=limits).quantity == D("5.00")
    assert verdict(limits=limits, volatility=D(0)).quantity == D("5.00")
    assert verdict(volatility=D("0.8")).quantity == D("5.00")


def test_a_share_of_kelly_caps_the_risk():
    # Odds 3 to 1 at 0.4: Kelly risks 0.2; a quarter of it is 0.05 of 1000, at 20 each.
    limits = limited(risk_reward=D(3), kelly_share=D("0.25"), confidence_threshold=0.0)
    found = verdict(limits=limits, wish=signal(probability=0.4))
    assert (found.quantity, found.reasons[0].split(":")[0]) == (D("2.50"), "kelly")


def test_no_limit_on_buying_blocks_a_way_out():
    portfolio = holding(account(equity=500))
    portfolio.losing_streak, portfolio.last_loss_at = 9, NOW
    closed = RiskLimits(
        max_daily_loss=D(0), max_drawdown=D(0), max_open_positions=0, max_exposure=D(0),
        max_consecutive_losses=1, emergency_stop=True, max_spread=D(0), risk_per_trade=D(0),
    )  # fmt: skip
    found = verdict(
        portfolio, closed, now=NOW + 99 * HOUR, wish=SELL, emergency="on", daily_atr=None,
        bid=D(50), ask=D(150), pending={BTC: D(1)},
    )  # fmt: skip
    assert isinstance(found, Approval)


def test_rules_are_asked_in_their_order():
    closed = limited(emergency_stop=True, max_drawdown=D(0), max_daily_loss=D(0))
    names = [r.rule for r in RiskManager(closed).refusals(
        signal(), account(), MARKET, NOW + 9 * HOUR)]  # fmt: skip
    assert names == ["emergency-stop", "stale-data", "drawdown", "daily-loss"]
    assert len(RISK_ADDING) == len(set(RISK_ADDING))


# What status shows


def rows(portfolio, limits=OPEN, **more):
    found = RiskManager(limits).limits_status(portfolio, NOW, **more)
    return {row["rule"]: (row["used"], row["limit"], row["tripped"]) for row in found}


def test_status_shows_how_far_each_limit_is_used():
    portfolio = account(equity=980)
    portfolio.losing_streak, portfolio.last_loss_at = 2, NOW
    assert rows(portfolio, RiskLimits()) == {
        "emergency-stop": (0, 1, False),
        "daily-loss": (0.02, 0.03, False),
        "drawdown": (0.02, 0.2, False),
        "losing-streak": (2, 5, False),
        "max-open-positions": (0, 3, False),
        "max-exposure": (0.0, 1.0, False),
    }


def test_status_counts_positions_at_the_given_prices():
    portfolio = holding(account(), quantity="5")
    assert rows(portfolio)["max-exposure"] == (0.5, 1.0, False)
    assert rows(portfolio, prices={BTC: D(300)})["max-exposure"] == (0.75, 1.0, False)
    assert rows(portfolio, RiskLimits(), prices={BTC: D(90)})["daily-loss"] == (0.05, 0.03, True)


def test_a_tripped_limit_is_one_that_refuses_now():
    shown = rows(account(equity=850), limited(max_drawdown=D("0.15")))
    assert shown["drawdown"] == (0.15, 0.15, True)


def test_status_of_an_empty_account_shows_nothing_used():
    from trader.domain.portfolio import Portfolio

    assert not any(tripped for _, _, tripped in rows(Portfolio("USD"), RiskLimits()).values())


@pytest.mark.parametrize(
    ("equity", "streak", "emergency", "state"),
    [
        (1000, 0, "", RiskState.TRADING),
        (960, 0, "", RiskState.NO_NEW_RISK),
        (1000, 5, "", RiskState.NO_NEW_RISK),
        (800, 5, "", RiskState.REDUCE_ONLY),
        (800, 5, "by hand", RiskState.STOPPED),
    ],
)
def test_the_worst_limit_makes_the_state(equity, streak, emergency, state):
    portfolio = account(equity=equity)
    portfolio.losing_streak, portfolio.last_loss_at = streak, NOW
    assert RiskManager(RiskLimits()).state(portfolio, NOW, emergency) is state


def test_a_mark_at_midnight_closes_the_day_and_opens_the_new_one():
    portfolio = mark(account(equity=960), 950, MIDNIGHT)
    assert portfolio.day_start_equity == 950
    assert portfolio.day_before.loss == D("0.05")


def test_the_limits_of_the_settings_are_all_taken_over():
    from config import load_config

    config = load_config(None, {"RISK_PER_TRADE": "0.02", "EMERGENCY_STOP": "true"})
    found = RiskLimits.of(config)
    assert (found.risk_per_trade, found.emergency_stop) == (D("0.02"), True)
    shared = {name for name in RiskLimits.__slots__ if hasattr(config, name)}
    assert shared == {
        "risk_per_trade", "max_position_fraction", "stop_atr_multiple", "risk_reward",
        "max_daily_loss", "max_drawdown", "max_consecutive_losses", "max_open_positions",
        "confidence_threshold", "emergency_stop", "volatility_target", "drawdown_pause_days",
        "entry_patience_minutes", "trailing_atr_multiple", "max_holding_days", "kelly_share",
    }  # fmt: skip
    assert all(getattr(found, name) == getattr(config, name) for name in shared)
