"""The fill rules, drawn by hand: prices to check in the head."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.drawn_market import BTC, FREE, START, at, market_of, order
from trader.domain.errors import BelowMinimum, InsufficientFunds, OrderNotFound, OrderRejected
from trader.simulation.costs import Costs

FLAT = (100, 100, 100, 100)
ARGS = "EGeneral:Invalid arguments"


def prices(exchange):
    return [fill.price for fill in exchange.fills(START)]


def moments(exchange):
    return [fill.filled_at for fill in exchange.fills(START)]


def test_a_market_order_made_at_the_close_fills_at_the_next_open():
    exchange, _ = market_of([(100, 100, 100, 100), (101.2, 102, 101, 102)], hour=1)
    exchange.submit(order("buy", "market", 1))
    assert prices(exchange) == [Decimal("101.2")]
    assert moments(exchange) == [at(1)]


def test_slippage_worsens_a_market_buy_and_a_market_sell():
    costs = Costs(Decimal(0), Decimal(0), slippage=Decimal("0.01"))
    exchange, _ = market_of([FLAT], costs)
    exchange.submit(order("buy", "market", 1))
    exchange.submit(order("sell", "market", 1))
    assert prices(exchange) == [Decimal("101.0"), Decimal("99.0")]


def test_a_market_order_inside_a_candle_fills_on_the_line_between_its_corners():
    # open 100 at 0:00, low 70 at 0:20: at 0:10 the path stands at 85.
    exchange, _ = market_of([(100, 130, 70, 110)], hour=1 / 6)
    exchange.submit(order("buy", "market", 1))
    assert prices(exchange) == [Decimal("85.0")]


def test_a_market_order_while_nothing_trades_waits_for_the_next_candle():
    exchange, clock = market_of([FLAT, None, (120, 120, 120, 120)], hour=1)
    exchange.submit(order("buy", "market", 1))
    assert prices(exchange) == []
    clock.sleep_until(at(2))
    assert (prices(exchange), moments(exchange)) == ([Decimal("120.0")], [at(2)])


def test_a_limit_buy_is_not_filled_by_a_mere_touch():
    exchange, clock = market_of([(100, 105, 90, 100)])
    exchange.submit(order("buy", "limit", 1, 90))
    clock.sleep_until(at(1))
    assert prices(exchange) == []


def test_a_limit_buy_fills_at_its_price_when_the_path_goes_through():
    # 100 → 80 in 20 minutes passes 90 after 10.
    exchange, clock = market_of([(100, 105, 80, 100)])
    exchange.submit(order("buy", "limit", 1, 90))
    clock.sleep_until(at(1))
    assert (prices(exchange), moments(exchange)) == ([Decimal(90)], [at(1 / 6)])
    assert exchange.fills(START)[0].liquidity == "maker"


def test_a_limit_sell_fills_at_its_price_when_the_path_goes_through():
    # low 100 at 0:20 → high 120 at 0:40 passes 110 at 0:30.
    exchange, clock = market_of([(100, 120, 100, 100)])
    exchange.submit(order("sell", "limit", 1, 110))
    clock.sleep_until(at(1))
    assert (prices(exchange), moments(exchange)) == ([Decimal(110)], [at(0.5)])


def test_a_limit_buy_gets_its_own_price_when_a_candle_opens_below_it():
    exchange, clock = market_of([FLAT, (80, 80, 80, 80)])
    exchange.submit(order("buy", "limit", 1, 90))
    clock.sleep_until(at(1))
    assert (prices(exchange), moments(exchange)) == ([Decimal(90)], [at(1)])


def test_a_marketable_limit_fills_at_once_as_taker_at_the_better_price():
    exchange, _ = market_of([FLAT])
    exchange.submit(order("buy", "limit", 1, 103))
    assert prices(exchange) == [Decimal("100.0")]
    assert exchange.fills(START)[0].liquidity == "taker"


def test_a_limit_inside_the_spread_waits_for_the_path_to_move_its_way():
    costs = Costs(Decimal(0), Decimal(0), slippage=Decimal("0.02"))
    exchange, clock = market_of([FLAT, (100, 101, 100, 101), (100, 100, 99, 99)], costs)
    exchange.submit(order("buy", "limit", 1, 101, post_only=True))
    clock.sleep_until(at(2))
    assert prices(exchange) == []
    clock.sleep_until(at(3))
    assert prices(exchange) == [Decimal(101)]


def test_a_post_only_order_that_would_cross_is_refused():
    exchange, _ = market_of([FLAT])
    with pytest.raises(OrderRejected) as refusal:
        exchange.submit(order("buy", "limit", 1, 100, post_only=True))
    assert refusal.value.code == "EOrder:Post only order"
    assert exchange.records() == ()


def test_a_stop_fills_at_its_trigger_less_slippage():
    costs = Costs(Decimal(0), Decimal(0), slippage=Decimal("0.01"))
    exchange, clock = market_of([(100, 100, 80, 100)], costs)
    exchange.submit(order("sell", "stop-loss", 1, 90))
    clock.sleep_until(at(1))
    assert (prices(exchange), moments(exchange)) == ([Decimal("89.1")], [at(1 / 6)])


def test_a_stop_that_the_path_only_touches_triggers():
    exchange, clock = market_of([(100, 100, 90, 100)])
    exchange.submit(order("sell", "stop-loss", 1, 90))
    clock.sleep_until(at(1))
    assert prices(exchange) == [Decimal(90)]


@pytest.mark.parametrize("touched", ["100.1", "100.3", "100.6", "100.7"])
def test_a_touch_counts_whatever_binary_fractions_make_of_the_price(touched):
    # As a binary float 100.1 is a trace below the decimal, 100.7 a trace above it.
    level = Decimal(touched)
    falls, rises = (120, 120, float(touched), 120), (80, float(touched), 80, 80)
    for kind, candle in (("stop-loss", falls), ("take-profit", rises)):
        exchange, clock = market_of([candle])
        exchange.submit(order("buy", "market", 1))
        exchange.submit(order("sell", kind, 1, level))
        clock.sleep_until(at(1))
        assert len(prices(exchange)) == 2


def test_what_is_ordered_after_a_look_ahead_that_found_nothing_is_seen_all_the_same():
    exchange, clock = market_of([FLAT, (100, 100, 80, 100), FLAT], hour=0.5)
    exchange.submit(order("buy", "limit", 1, 70))
    assert exchange.alarm(clock.now(), at(3), {}) is None
    exchange.submit(order("buy", "limit", 1, 90))
    assert at(1) < exchange.alarm(clock.now(), at(3), {}) < at(2)
    clock.sleep_until(at(3))
    assert prices(exchange) == [Decimal("90.0")]


def test_a_gap_through_a_stop_fills_at_the_open():
    exchange, clock = market_of([FLAT, (70, 75, 60, 70)])
    exchange.submit(order("sell", "stop-loss", 1, 90))
    clock.sleep_until(at(2))
    assert (prices(exchange), moments(exchange)) == ([Decimal(70)], [at(1)])


def test_a_gap_over_missing_hours_fills_at_the_first_open_after_them():
    exchange, clock = market_of([FLAT, None, None, (70, 75, 60, 70)])
    exchange.submit(order("sell", "stop-loss", 1, 90))
    clock.sleep_until(at(4))
    assert (prices(exchange), moments(exchange)) == ([Decimal(70)], [at(3)])


def test_of_a_stop_and_a_target_in_one_candle_the_stop_comes_first():
    exchange, clock = market_of([(100, 120, 80, 100)], btc=2)
    exchange.submit(order("sell", "take-profit", 1, 110))
    exchange.submit(order("sell", "stop-loss", 1, 90))
    clock.sleep_until(at(1))
    assert prices(exchange) == [Decimal(90), Decimal(110)]


def test_a_take_profit_fills_at_its_trigger_as_taker():
    exchange, clock = market_of([(100, 120, 100, 100)])
    exchange.submit(order("sell", "take-profit", 1, 110))
    clock.sleep_until(at(1))
    assert prices(exchange) == [Decimal(110)]
    assert exchange.fills(START)[0].liquidity == "taker"


def test_a_buy_stop_triggers_on_a_rise():
    exchange, clock = market_of([(100, 120, 100, 100)])
    exchange.submit(order("buy", "stop-loss", 1, 110))
    clock.sleep_until(at(1))
    assert prices(exchange) == [Decimal(110)]


def test_a_stop_already_passed_when_it_comes_in_triggers_at_once():
    exchange, _ = market_of([FLAT])
    exchange.submit(order("sell", "stop-loss", 1, 105))
    assert prices(exchange) == [Decimal(100)]


def test_a_resting_order_fills_from_its_share_of_each_candles_volume():
    rows = [FLAT, (100, 100, 80, 80, 10), (80, 80, 80, 80, 20), (80, 80, 80, 80, 100)]
    exchange, clock = market_of(rows)  # a tenth of the volume: 1, then 2, then the rest
    placed = exchange.submit(order("buy", "limit", 5, 90))
    clock.sleep_until(at(2.9))
    assert [fill.quantity for fill in exchange.fills(START)] == [1, 2]
    assert exchange.record(placed.id).status == "open"
    assert exchange.record(placed.id).misc == ["partial"]
    clock.sleep_until(at(4))
    assert [fill.quantity for fill in exchange.fills(START)] == [1, 2, 2]
    assert moments(exchange) == [at(1 + 1 / 6), at(2), at(3)]
    assert exchange.record(placed.id).status == "closed"


def test_two_resting_orders_share_the_volume_of_a_candle_first_come_first_served():
    exchange, clock = market_of([(100, 100, 80, 100, 30)])
    first = exchange.submit(order("buy", "limit", 2, 90))
    second = exchange.submit(order("buy", "limit", 2, 90))
    clock.sleep_until(at(1))
    filled = [exchange.record(placed.id).filled for placed in (first, second)]
    assert filled == [2, 1]


def test_a_candle_without_volume_fills_no_resting_order_but_triggers_a_stop():
    exchange, clock = market_of([(100, 100, 80, 80, 0)])
    exchange.submit(order("buy", "limit", 1, 90))
    exchange.submit(order("sell", "stop-loss", 1, 85))
    clock.sleep_until(at(1))
    assert prices(exchange) == [Decimal(85)]


def test_fees_are_those_of_the_date_and_of_the_role():
    exchange, clock = market_of([(1000, 1000, 800, 900)], Costs(slippage=Decimal(0)))
    exchange.submit(order("buy", "market", 1))  # 26 bp of 1000
    exchange.submit(order("buy", "limit", 1, 900))  # 16 bp of 900
    clock.sleep_until(at(1))
    assert [fill.fee_quote for fill in exchange.fills(START)] == [Decimal("2.6"), Decimal("1.44")]


def test_an_open_buy_holds_cost_and_fee_and_a_cancel_frees_them():
    exchange, _ = market_of([FLAT], Costs(taker=Decimal("0.01"), slippage=Decimal(0)), usd=100)
    placed = exchange.submit(order("buy", "limit", 1, 50))
    assert exchange.balances()["USD"].held == Decimal("50.5")
    exchange.cancel(placed.id)
    assert exchange.balances()["USD"].held == 0


def test_an_open_sell_holds_its_quantity():
    exchange, _ = market_of([FLAT], btc=1)
    exchange.submit(order("sell", "stop-loss", 1, 50))
    with pytest.raises(InsufficientFunds):
        exchange.submit(order("sell", "market", 1))


def test_stops_hold_nothing_where_the_exchange_is_set_so():
    exchange, _ = market_of([FLAT], btc=1, stops_hold=False)
    exchange.submit(order("sell", "stop-loss", 1, 50))
    exchange.submit(order("sell", "market", 1))
    assert prices(exchange) == [100]


def test_a_buy_beyond_the_means_is_refused_and_leaves_nothing_behind():
    exchange, _ = market_of([FLAT], usd=100)
    with pytest.raises(InsufficientFunds) as refusal:
        exchange.submit(order("buy", "market", "1.5"))
    assert refusal.value.code == "EOrder:Insufficient funds"
    assert exchange.records() == ()
    assert exchange.balances()["USD"].available == 100


def test_a_buy_stop_gapped_over_buys_only_what_can_be_paid():
    exchange, clock = market_of([FLAT, (200, 200, 200, 200)], usd=110)
    placed = exchange.submit(order("buy", "stop-loss", 1, 110))
    clock.sleep_until(at(1))
    record = exchange.record(placed.id)
    assert (record.filled, record.status) == (Decimal("0.55"), "canceled")
    assert exchange.balances()["USD"].total == 0


@pytest.mark.parametrize(
    ("spec", "error", "code"),
    [
        (order("buy", "limit", 1, "99.95"), OrderRejected, "EOrder:Invalid price"),
        (
            order("buy", "limit", "0.00001", 99),
            BelowMinimum,
            f"{ARGS}:volume minimum",
        ),
        (order("buy", "limit", "0.0001", "0.1"), BelowMinimum, "EOrder:Cost minimum not met"),
        (
            order("buy", "limit", "0.000000001", 99),
            OrderRejected,
            f"{ARGS}:volume",
        ),
        (order("buy", "limit", 0, 99), OrderRejected, f"{ARGS}:volume"),
        (order("buy", "limit", -1, 99), OrderRejected, f"{ARGS}:volume"),
        (order("buy", "limit", "NaN", 99), OrderRejected, f"{ARGS}:volume"),
        (order("buy", "limit", "1e40", 99), OrderRejected, f"{ARGS}:volume"),
        (order("buy", "limit", 1), OrderRejected, f"{ARGS}:price"),
        (order("buy", "limit", 1, -5), OrderRejected, f"{ARGS}:price"),
        (order("buy", "market", 1, post_only=True), OrderRejected, "EOrder:Invalid order"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_in_krakens_words(spec, error, code):
    exchange, _ = market_of([FLAT])
    with pytest.raises(error) as refusal:
        exchange.submit(spec)
    assert refusal.value.code.startswith(code)
    assert exchange.records() == ()


def test_a_second_open_order_with_the_same_client_id_is_refused_until_the_first_ends():
    exchange, _ = market_of([FLAT])
    first = exchange.submit(order("buy", "limit", 1, 50, client_id="mine"))
    with pytest.raises(OrderRejected):
        exchange.submit(order("buy", "limit", 1, 50, client_id="mine"))
    exchange.cancel(first.id)
    exchange.submit(order("buy", "limit", 1, 50, client_id="mine"))


def test_what_is_over_or_unknown_cannot_be_cancelled():
    exchange, _ = market_of([FLAT])
    done = exchange.submit(order("buy", "market", 1))
    for name in (done.id, "OAAAAA-AAAAA-AAAAAA"):
        with pytest.raises(OrderNotFound):
            exchange.cancel(name)


def test_cancel_all_says_how_many_it_ended():
    exchange, _ = market_of([FLAT])
    for price in (50, 60, 70):
        exchange.submit(order("buy", "limit", 1, price))
    assert (exchange.cancel_all(), exchange.cancel_all()) == (3, 0)


def test_validating_an_order_places_nothing():
    exchange, _ = market_of([FLAT])
    exchange.submit(order("buy", "market", 1), validate=True)
    assert exchange.records() == ()
    assert exchange.balances()["USD"].total == 100_000


def test_each_trade_moves_both_assets_in_the_ledger_with_the_running_balance():
    costs = Costs(taker=Decimal("0.01"), slippage=Decimal(0))
    exchange, _ = market_of([FLAT], costs, usd=1000, btc=0)
    exchange.submit(order("buy", "market", 2))
    entries = [(e.asset, e.amount, e.fee, e.balance) for e in exchange.ledger()[-2:]]
    assert entries == [("BTC", 2, 0, 2), ("USD", -200, 2, 798)]


def test_an_order_expires_at_its_time_and_frees_what_it_held():
    exchange, clock = market_of([FLAT, FLAT])
    ends = int(at(0.5).timestamp()) * 1_000_000
    placed = exchange.submit(order("buy", "limit", 1, 50, time_in_force="GTD", expires_at=ends))
    clock.sleep_until(at(0.5) - timedelta(seconds=1))
    assert exchange.record(placed.id).status == "open"
    clock.sleep_until(at(1))
    record = exchange.record(placed.id)
    assert (record.status, record.closed_at) == ("expired", ends)
    assert exchange.balances()["USD"].held == 0


def test_an_immediate_or_cancel_order_that_does_not_cross_ends_at_once():
    exchange, _ = market_of([FLAT])
    placed = exchange.submit(order("buy", "limit", 1, 90, time_in_force="IOC"))
    assert exchange.record(placed.id).status == "canceled"


def test_a_stop_limit_becomes_a_limit_order_and_may_be_jumped_over():
    exchange, clock = market_of([FLAT, (85, 85, 80, 85), (85, 95, 85, 95)])
    placed = exchange.submit(order("sell", "stop-loss-limit", 1, 90, price2=Decimal(88)))
    clock.sleep_until(at(2))
    assert (exchange.record(placed.id).status, prices(exchange)) == ("open", [])
    assert exchange.record(placed.id).misc == ["stopped"]
    clock.sleep_until(at(3))
    assert prices(exchange) == [88]


def test_a_trailing_stop_follows_the_peak_and_fires_on_the_way_back():
    # Peak 120 at 0:40; 10 below is 110, half-way down to 100 at 1:00.
    exchange, clock = market_of([(100, 120, 100, 100)])
    exchange.submit(order("sell", "trailing-stop", 1, 10))
    clock.sleep_until(at(1))
    assert (prices(exchange), moments(exchange)) == ([Decimal(110)], [at(50 / 60)])


def test_a_trailing_stop_in_percent_carries_its_peak_into_the_next_candle():
    rows = [(100, 200, 100, 200), (200, 200, 170, 170)]
    exchange, clock = market_of(rows)
    exchange.submit(order("sell", "trailing-stop", 1, 10, percent=True))
    clock.sleep_until(at(2))
    assert prices(exchange) == [Decimal(180)]


@pytest.mark.parametrize(
    ("distance", "percent2", "limit"),
    # Peak 200, stop 10 % below at 180; the limit 9 or 10 % of 180 under it.
    [(-9, False, 171), (-10, True, 162)],
)
def test_a_trailing_stop_may_have_its_limit_in_other_units(distance, percent2, limit):
    exchange, clock = market_of([(100, 200, 100, 200), (200, 200, 160, 160)])
    placed = exchange.submit(
        order(
            "sell",
            "trailing-stop-limit",
            1,
            10,
            price2=Decimal(distance),
            percent=True,
            percent2=percent2,
        )
    )
    clock.sleep_until(at(2))
    assert (exchange.record(placed.id).stop, exchange.record(placed.id).limit) == (180, limit)
    assert prices(exchange) == [180]


def test_the_taker_gets_the_prices_the_ticker_shows():
    exchange, clock = market_of([(100, 130, 70, 110)], Costs(slippage=Decimal("0.003")))
    clock.sleep_until(at(0.37))
    ticker = exchange.ticker(BTC)
    exchange.submit(order("buy", "market", 1))
    exchange.submit(order("sell", "market", 1))
    assert prices(exchange) == [ticker.ask, ticker.bid]
    assert ticker.bid < ticker.last < ticker.ask


def test_free_costs_are_free():
    assert FREE.rates(START.date(), "BTC").taker == 0


def test_a_market_in_cancel_only_mode_takes_no_orders_but_cancels():
    exchange, _ = market_of([FLAT])
    placed = exchange.submit(order("buy", "limit", 1, 50))
    exchange.change_rules(BTC, status="cancel_only")
    with pytest.raises(OrderRejected) as refusal:
        exchange.submit(order("buy", "limit", 1, 50))
    assert refusal.value.code == "EService:Market in cancel_only mode"
    exchange.cancel(placed.id)


def test_a_market_in_post_only_mode_takes_only_what_rests():
    exchange, _ = market_of([FLAT])
    exchange.change_rules(BTC, status="post_only")
    with pytest.raises(OrderRejected):
        exchange.submit(order("buy", "market", 1))
    assert exchange.submit(order("buy", "limit", 1, 50, post_only=True)).is_open


def test_a_minimum_that_is_raised_while_running_holds_at_once():
    exchange, _ = market_of([FLAT])
    exchange.change_rules(BTC, order_minimum=Decimal(2))
    assert exchange.market_rules(BTC).order_minimum == 2
    with pytest.raises(BelowMinimum):
        exchange.submit(order("buy", "market", 1))


def test_all_of_a_balance_can_be_sold_even_if_the_fee_is_taken_in_base():
    exchange, _ = market_of([FLAT], Costs(taker=Decimal("0.25"), slippage=Decimal(0)), btc=5)
    with pytest.raises(InsufficientFunds):
        exchange.submit(order("sell", "market", 5, fee_in_base=True))
    exchange.submit(order("sell", "market", 4, fee_in_base=True))
    assert exchange.balances()["BTC"].total == 0
    assert exchange.balances()["USD"].total == 100_400


def test_rounding_of_many_small_fills_never_overdraws():
    # Nine times 0.0001 at 1.6 cost 0.00016 each and are booked as 0.0002.
    rows = [(2, 2, 2, 2)] + [(1, 1, 1, 1, 0.001)] * 9 + [(1, 1, 1, 1)]
    costs = Costs(maker=Decimal("0.00001"), taker=Decimal("0.00001"), slippage=Decimal(0))
    exchange, clock = market_of(rows, costs, usd="1.6001", btc=0)
    exchange.submit(order("buy", "limit", 1, "1.6"))
    clock.sleep_until(at(11))
    assert 0 <= exchange.balances()["USD"].total < Decimal("0.001")
