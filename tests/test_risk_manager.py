"""The size and the plan of an order, drawn by hand and held for any numbers."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager import ManualOrder, RiskLimits, RiskManager
from tests.risk.drawn import (
    BTC,
    ETH,
    FREE,
    HOUR,
    MARKET,
    NOW,
    OPEN,
    RULES,
    D,
    account,
    holding,
    limited,
    signal,
    verdict,
)
from trader.domain.errors import UsageError
from trader.domain.markets import FeeRates
from trader.domain.orders import OrderType, Side
from trader.domain.signals import Action, Approval, Refusal

FEES = FeeRates(D("0.01"), D("0.02"))


def manual(portfolio=None, limits=OPEN, market=MARKET, **order):
    order = {"side": Side.BUY, "quantity": D(1), **order}
    return RiskManager(limits).review_manual(
        ManualOrder(**order), portfolio or account(), market, NOW
    )


def test_the_stop_distance_and_the_risk_give_the_quantity():
    # 10 % of 1000 may be lost, 20 on each: 5 pieces.
    plan = verdict()
    assert (plan.quantity, plan.stop, plan.risk_quote) == (D("5.00"), D("80.0"), D(100))
    assert (plan.side, plan.order_type, plan.cost_quote) == (Side.BUY, OrderType.MARKET, D(500))
    assert plan.reasons == ("risk-per-trade: 10.00% of equity 1,000.00 at risk",)


def test_fees_and_slippage_of_both_ways_make_the_quantity_smaller():
    # Paid 100·1.1·1.02 = 112.2, got back 80·0.9·0.98 = 70.56: 41.64 lost each, of 100 in all.
    plan = verdict(fees=FEES, slippage=D("0.1"))
    assert plan.quantity == D("2.40")
    assert plan.risk_quote == D("2.40") * D("41.64")


def test_the_strategys_weight_caps_the_quantity():
    plan = verdict(wish=signal(weight=0.2))
    assert plan.quantity == D("2.00")
    assert plan.reasons[0].startswith("target-weight")


def test_the_position_fraction_caps_the_quantity():
    assert verdict(limits=limited(max_position_fraction=D("0.3"))).quantity == D("3.00")


def test_cash_caps_the_quantity_fee_included():
    # Half of the account is elsewhere; 500 pay for 500 / 102 = 4.901… pieces.
    portfolio = holding(account(), pair=ETH, quantity="5", price="100")
    plan = verdict(portfolio, limited(risk_per_trade=D("0.5")), fees=FEES, prices={ETH: D(100)})
    assert plan.quantity == D("4.90")
    assert plan.reasons[0].startswith("cash")


def test_what_the_exchange_says_is_free_counts_if_it_is_less():
    plan = verdict(available_quote=D("250.5"))
    assert plan.quantity == D("2.50")


def test_money_bound_by_pending_purchases_is_not_spent_twice():
    plan = verdict(limits=limited(risk_per_trade=D(1)), pending={ETH: D(700)})
    assert plan.quantity == D("2.99")


def test_an_addition_counts_what_the_position_may_lose_already():
    # One held may lose 20 of the 100; 80 are left: 4 more.
    plan = verdict(holding(account()))
    assert plan.quantity == D("4.00")


def test_an_addition_keeps_the_higher_stop_of_the_position():
    # From 90 on each piece loses 10: 10 of 100 are bound, 9 more are 900, all the cash.
    plan = verdict(holding(account(), stop="90"))
    assert plan.stop == D("90")
    assert plan.risk_quote == 10 * plan.quantity


# One piece bought at 100 with the stop 80, now 150; equity 900 + 150. The usual stop is 130.
GROWN = replace(MARKET, price=D(150))


def test_a_position_keeps_its_stop_when_something_is_added():
    # 20 % are 210: 0.4 more for 60. Of the 160 paid 1.4 · 80 come back: 48 of the 105 allowed.
    plan = verdict(holding(account()), limited(), GROWN, wish=signal(weight=0.2))
    assert (plan.quantity, plan.stop) == (D("0.40"), D(80))


def test_an_addition_raises_the_stop_only_as_far_as_the_risk_demands():
    # 3 % are 31.5: 160 - 1.4 · stop = 31.5 at 91.79.
    limits = limited(risk_per_trade=D("0.03"))
    plan = verdict(holding(account()), limits, GROWN, wish=signal(weight=0.2))
    assert (plan.quantity, plan.stop) == (D("0.40"), D("91.8"))


def test_an_addition_never_raises_the_stop_above_its_usual_distance():
    # The usual stop is at 70, below the one there is: 11.5 of 31.5 are free, 70 lost on each.
    limits, wild = limited(risk_per_trade=D("0.03")), replace(GROWN, daily_atr=D(20))
    plan = verdict(holding(account()), limits, wild, wish=signal(weight=0.2))
    assert (plan.quantity, plan.stop) == (D("0.16"), D(80))


def test_profit_that_is_given_back_is_no_loss_of_the_trade():
    # 30 % are 315: 1.1 more for 165. Of the 265 paid 2.1 · 80 come back: 97 of the 105 allowed.
    # Against what all is worth now, 315, it would be 147.
    plan = verdict(holding(account()), limited(), GROWN, wish=signal(weight=0.3))
    assert (plan.quantity, plan.stop) == (D("1.10"), D(80))


def test_profit_behind_the_stop_gives_no_room_for_more_risk():
    # 6 more at 150 would lose 105 at 132.5; the usual stop is at 130, so 105 / 20 are bought.
    plan = verdict(holding(account(), stop="120"), limited(), GROWN, wish=signal(weight=1.0))
    assert (plan.quantity, plan.stop) == (D("5.25"), D(130))


def test_an_addition_below_its_smallest_size_is_refused():
    refusal = verdict(
        holding(account()), limited(smallest_addition=D("0.05")), wish=signal(weight=0.14)
    )
    assert refusal.rule == "smallest-addition"
    assert "40.00 to add" in refusal.reason
    assert refusal.holds


def test_a_position_at_its_limit_is_held_and_not_refused_even_below_the_smallest_order():
    # Nothing is left to add: that is less than the exchange takes, but no fault of the order.
    refusal = verdict(
        holding(account()), limited(max_position_fraction=D("0.1")), wish=signal(weight=0.5)
    )
    assert (refusal.rule, refusal.holds) == ("smallest-addition", True)
    assert refusal.reason.startswith("held at its limit (max-position-fraction): ")


def test_a_first_purchase_that_is_too_small_is_a_refusal():
    refusal = verdict(limits=limited(risk_per_trade=D("0.0000001")))
    assert (refusal.rule, refusal.holds) == ("minimum-size", False)


def test_at_its_weight_there_is_nothing_to_do():
    assert verdict(holding(account()), wish=signal(weight=0.1)) is None


def test_a_direction_alone_opens_a_position_but_never_adds_to_one():
    assert verdict(wish=signal(weight=None)).quantity == D("5.00")
    found = verdict(holding(account()), wish=signal(weight=None))
    assert found.holds
    assert found.reason.startswith("held already")


def test_hold_leads_to_nothing():
    assert verdict(wish=signal(Action.HOLD)) is None


def test_the_target_is_so_many_stop_distances_away_and_has_its_break_even():
    plan = verdict(limits=limited(risk_reward=D(3)))
    assert plan.take_profit == D("160.0")
    assert plan.break_even_probability == 0.25


def test_costs_raise_the_break_even():
    # Loss 100·1.02 − 80·0.98 = 23.6; gain 160·0.98 − 102 = 54.8; 23.6 / 78.4.
    plan = verdict(limits=limited(risk_reward=D(3)), fees=FEES)
    assert plan.break_even_probability == pytest.approx(23.6 / 78.4)


def test_the_ask_is_the_price_of_a_purchase_and_the_bid_of_a_sale():
    assert verdict(bid=D("99.5"), ask=D("100.4")).entry == D("100.4")
    plan = verdict(holding(account()), wish=signal(Action.SELL, 0.0), bid=D("99.5"), ask=D(100))
    assert plan.entry == D("99.5")


def test_a_sale_to_zero_closes_the_position():
    plan = verdict(holding(account()), wish=signal(Action.SELL, 0.0))
    assert (plan.side, plan.quantity, plan.stop) == (Side.SELL, D("1.00"), None)
    assert plan.cost_quote == D(100)


def test_a_sale_without_a_weight_closes_the_position():
    assert verdict(holding(account()), wish=signal(Action.SELL, None)).quantity == D("1.00")


def test_a_sale_to_a_weight_keeps_the_rest():
    plan = verdict(holding(account(), quantity="4"), wish=signal(Action.SELL, 0.1))
    assert plan.quantity == D("3.00")


def test_a_rest_that_could_never_be_sold_goes_too():
    # 4 % of 100 would leave 0.04, below the minimum of 0.05.
    portfolio = holding(account(cash=100), quantity="0.5")
    assert verdict(portfolio, wish=signal(Action.SELL, 0.04)).quantity == D("0.50")


def test_a_sale_of_nothing_leads_to_nothing():
    assert verdict(wish=signal(Action.SELL, 0.0)) is None
    assert verdict(holding(account()), wish=signal(Action.SELL, 0.5)) is None


def test_dust_cannot_be_sold_and_says_so():
    refusal = verdict(holding(account(), quantity="0.049"), wish=signal(Action.SELL, 0.0))
    assert refusal.rule == "minimum-size"


def test_all_refusals_are_named_when_asked_for():
    manager = RiskManager(limited(emergency_stop=True, max_open_positions=0))
    found = manager.refusals(signal(), account(), MARKET, NOW)
    assert [r.rule for r in found] == ["emergency-stop", "max-open-positions"]
    assert manager.refusals(signal(Action.HOLD), account(), MARKET, NOW) == ()
    assert RiskManager(OPEN).refusals(signal(), account(), MARKET, NOW) == ()


def test_a_refusal_by_size_is_among_them():
    manager = RiskManager(limited(risk_per_trade=D("0.0001")))
    assert [r.rule for r in manager.refusals(signal(), account(), MARKET, NOW)] == ["minimum-size"]


# By hand


def test_a_manual_purchase_keeps_its_size_and_gets_the_usual_stop():
    plan = manual(quantity=D(2))
    assert (plan.quantity, plan.stop, plan.risk_quote) == (D("2.00"), D("80.0"), D(40))


def test_a_manual_purchase_keeps_its_own_stop_and_target():
    plan = manual(stop=D(90), take_profit=D(130))
    assert (plan.stop, plan.take_profit, plan.break_even_probability) == (90, 130, 0.25)


def test_a_manual_purchase_that_risks_too_much_is_told_how_much_is_allowed():
    refusal = manual(quantity=D("5.01"))
    assert refusal.rule == "risk-per-trade"
    assert "at most 5.00 now" in refusal.reason


def test_a_limit_order_is_planned_at_its_price_without_slippage():
    market = replace(MARKET, slippage=D("0.1"))
    plan = manual(market=market, order_type=OrderType.LIMIT, price=D(90), stop=D(80))
    assert (plan.entry, plan.limit_price, plan.cost_quote) == (90, 90, 90)
    assert plan.risk_quote == D(90) - D(80) * D("0.9")


def test_what_is_off_the_grid_is_rounded_and_said():
    plan = manual(order_type=OrderType.LIMIT, price=D("90.04"), quantity=D("1.009"))
    assert (plan.limit_price, plan.quantity) == (D("90.0"), D("1.00"))
    assert len(plan.reasons) == 2


def test_a_manual_sale_sells_what_the_bot_holds_and_no_more():
    assert manual(holding(account()), side=Side.SELL).quantity == D("1.00")
    assert manual(holding(account()), side=Side.SELL, quantity=D("1.01")).rule == "holdings"


def test_a_manual_sale_passes_the_emergency_stop_and_a_purchase_does_not():
    market = replace(MARKET, emergency="by hand")
    assert isinstance(manual(holding(account()), market=market, side=Side.SELL), Approval)
    assert manual(market=market).rule == "emergency-stop"


@pytest.mark.parametrize("side", list(Side))
def test_a_manual_order_below_the_minimum_is_refused(side):
    refusal = manual(holding(account()), side=side, quantity=D("0.049"))
    assert refusal.rule == "minimum-size"
    assert "0.05" in refusal.reason


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"quantity": D(0)}, "volume 0"),
        ({"quantity": D(-1)}, "volume -1"),
        ({"quantity": D("NaN")}, "volume NaN"),
        ({"order_type": OrderType.LIMIT}, "needs a price"),
        ({"price": D(90)}, "has no price"),
        ({"order_type": OrderType.LIMIT, "price": D(0)}, "price 0"),
        ({"order_type": OrderType.STOP_LOSS}, "market or limit"),
        ({"stop": D(100)}, "below the entry"),
        ({"stop": D(-1)}, "stop-loss -1"),
        ({"take_profit": D(100)}, "not above the entry"),
        ({"side": Side.SELL, "stop": D(90)}, "belong to a purchase"),
    ],
)
def test_an_order_that_makes_no_sense_is_the_askers_mistake(order, words):
    with pytest.raises(UsageError, match=words):
        manual(**order)


# For any numbers


def decimals(low, high, places):
    return st.decimals(D(low), D(high), places=places, allow_nan=False)


@st.composite
def wishes(draw):
    price = draw(decimals("0.001", 90000, 6))
    # Grids as exchanges choose them: four to seven digits of the price, lots of small worth.
    tick = D(1).scaleb(price.adjusted() - draw(st.integers(3, 6)))
    lot = D(1).scaleb(-price.adjusted() - draw(st.integers(0, 6)))
    rules = replace(
        RULES, tick=tick, lot=lot, order_minimum=lot * draw(st.integers(1, 100)),
        cost_minimum=draw(decimals("0.1", 20, 1)), base_decimals=10,
    )  # fmt: skip
    price = rules.price_up(price)
    taker = draw(decimals(0, "0.02", 4))
    market = replace(
        MARKET, rules=rules, price=price, fees=FeeRates(taker / 2, taker),
        slippage=draw(decimals(0, "0.02", 4)), daily_atr=price * draw(decimals(0, 1, 3)),
    )  # fmt: skip
    limits = RiskLimits(
        risk_per_trade=draw(decimals("0.001", "0.1", 4)),
        max_position_fraction=draw(decimals("0.01", 1, 2)),
        stop_atr_multiple=draw(decimals("0.5", 20, 1)),
    )
    portfolio = account(draw(decimals(1, 10**6, 2)))
    return portfolio, limits, market, signal(weight=draw(st.none() | st.floats(0, 1)))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(wishes())
def test_a_hit_stop_never_costs_more_than_the_risk_and_money_is_never_overspent(drawn):
    portfolio, limits, market, wish = drawn
    plan = RiskManager(limits).review(wish, portfolio, market, NOW)
    if not isinstance(plan, Approval):
        return
    equity, slip, fee = portfolio.cash, market.slippage, market.fees.taker
    bought, sold = plan.entry * (1 + slip), plan.stop * (1 - slip)
    paid = market.rules.booked_cost(plan.quantity * bought)
    paid += market.rules.booked_cost(paid * fee)
    back = market.rules.booked_cost(plan.quantity * sold)
    back -= market.rules.booked_cost(back * fee)
    # Four amounts are rounded by the exchange, by half a unit each at most.
    rounding = 2 * D(1).scaleb(-market.rules.cost_decimals)
    assert paid - back <= limits.risk_per_trade * equity + rounding
    assert paid <= equity
    assert plan.quantity * bought <= limits.max_position_fraction * equity
    assert plan.quantity % market.rules.lot == 0
    assert plan.quantity >= market.rules.order_minimum
    assert plan.quantity * plan.entry >= market.rules.cost_minimum
    assert 0 < plan.stop < plan.entry
    assert plan.stop % market.rules.tick == 0


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(wishes(), decimals("0.01", 2, 2), decimals("0.5", 2, 2))
def test_additions_keep_the_whole_position_within_its_risk(drawn, share, move):
    portfolio, limits, market, wish = drawn
    first = RiskManager(limits).review(wish, portfolio, market, NOW)
    if not isinstance(first, Approval):
        return
    held = market.rules.quantity_down(first.quantity * share)
    if held <= 0 or held * first.entry > portfolio.cash:
        return
    holding(portfolio, quantity=str(held), price=str(first.entry), stop=str(first.stop))
    later = replace(market, price=market.rules.price_up(market.price * move))
    plan = RiskManager(limits).review(wish, portfolio, later, NOW)
    if not isinstance(plan, Approval) or plan.side is Side.SELL:
        return
    equity = portfolio.cash + held * later.price
    back = plan.stop * (1 - later.slippage) * (1 - later.fees.taker)
    paid = later.price * (1 + later.slippage) * (1 + later.fees.taker)
    loss = plan.quantity * (paid - back) + held * max(D(0), first.entry - back)
    assert loss <= limits.risk_per_trade * equity * D("1.000001")
    assert plan.stop >= first.stop


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(wishes(), st.floats(0, 1), decimals("0.01", 100, 4))
def test_a_sale_is_whole_lots_and_never_more_than_is_held(drawn, weight, quantity):
    _, limits, market, _ = drawn
    held = market.rules.quantity_down(quantity)
    if held <= 0:
        return
    portfolio = holding(account(10**9), quantity=str(held), price=str(market.price))
    wish = signal(Action.SELL, weight)
    plan = RiskManager(limits).review(wish, portfolio, market, NOW)
    if isinstance(plan, Approval):
        assert plan.side is Side.SELL
        assert plan.quantity <= held
        assert plan.quantity % market.rules.lot == 0


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(wishes())
def test_reviewing_changes_nothing_and_twice_is_the_same(drawn):
    portfolio, limits, market, wish = drawn
    before = repr(portfolio)
    manager = RiskManager(limits)
    assert manager.review(wish, portfolio, market, NOW) == manager.review(
        wish, portfolio, market, NOW
    )
    assert repr(portfolio) == before


def test_the_market_view_of_a_later_moment_is_stale():
    refusal = verdict(now=NOW + 3 * HOUR)
    assert isinstance(refusal, Refusal)
    assert (refusal.pair, refusal.closed_at, refusal.rule) == (BTC, NOW, "stale-data")
    assert FREE.taker == Decimal(0)
