"""The portfolio is the replay of its events; money is exact."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trader.domain.events import CashAdjusted, EquityMarked, OrderFilled, OrderIntended, Resumed
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, OrderRequest, OrderType, Purpose, Side
from trader.domain.portfolio import Portfolio, replay

D = Decimal
BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
AT = datetime(2024, 3, 1, tzinfo=UTC)


def filled(number, side, quantity, price, fee="0", pair=BTC, hours=0, order="o"):
    at = AT + timedelta(hours=hours)
    quantity, price = D(quantity), D(price)
    fill = Fill(
        f"T{number}", "X", order, pair, side, quantity, price, quantity * price, D(fee),
        Liquidity.TAKER, at,
    )  # fmt: skip
    return OrderFilled(at, fill, Purpose.ENTRY if side is Side.BUY else Purpose.EXIT)


def deposit(amount):
    return CashAdjusted(AT, "USD", D(amount), "deposit")


def marked(equity, hours=0):
    return EquityMarked(AT + timedelta(hours=hours), D(equity), D(equity), ())


BUY, SELL = Side.BUY, Side.SELL


def test_buying_moves_cash_into_a_position_with_its_fee():
    held = replay("USD", [deposit(1000), filled(1, BUY, 2, 100, 1)])
    assert held.cash == 799
    position = held.position(BTC)
    assert (position.quantity, position.cost_quote, position.entry_price) == (2, 201, 100)


def test_the_same_fill_told_twice_counts_once():
    once = [deposit(1000), filled(1, BUY, 2, 100, 1)]
    assert replay("USD", [*once, once[1], once[1]]) == replay("USD", once)


def test_a_round_trip_earns_the_difference_less_both_fees():
    held = replay("USD", [deposit(1000), filled(1, BUY, 2, 100, 1), filled(2, SELL, 2, 110, 2)])
    assert held.cash == 1017
    (trade,) = held.trades
    assert (trade.profit_quote, trade.fees_quote) == (17, 3)
    assert held.positions == {}


def test_a_part_sold_takes_its_part_of_cost_and_fee_along():
    held = replay("USD", [deposit(1000), filled(1, BUY, 4, 100, 4), filled(2, SELL, 1, 120, 1)])
    (trade,) = held.trades
    assert (trade.profit_quote, trade.fees_quote, trade.quantity) == (18, 2, 1)
    assert (held.position(BTC).cost_quote, held.position(BTC).entry_fees) == (303, 3)


def test_an_addition_averages_the_entry_price_and_keeps_the_opening_time():
    held = replay("USD", [filled(1, BUY, 1, 100), filled(2, BUY, 3, 120, hours=2)])
    assert held.position(BTC).entry_price == 115
    assert held.position(BTC).opened_at == AT


def test_the_plan_of_an_order_protects_the_position_it_fills():
    request = OrderRequest("o", BTC, BUY, OrderType.MARKET, D(2))
    intent = OrderIntended(AT, request, Purpose.ENTRY, AT, "", stop=D(90), take_profit=D(130))
    held = replay("USD", [intent, filled(1, BUY, 2, 100)])
    assert (held.position(BTC).stop, held.position(BTC).take_profit) == (90, 130)


def test_a_position_left_in_three_fills_is_one_loss():
    exits = [filled(n, SELL, 1, 90, hours=n, order=f"sale{n}") for n in (2, 3, 4)]
    held = replay("USD", [deposit(1000), filled(1, BUY, 3, 100), *exits])
    assert (len(held.trades), held.losing_streak) == (3, 1)
    assert held.last_loss_at == AT + timedelta(hours=4)


def test_the_parts_in_which_one_order_sold_are_one_trade():
    parts = [filled(2, SELL, 1, 110, 1, hours=2), filled(3, SELL, 3, 90, 1, hours=3)]
    held = replay("USD", [deposit(1000), filled(1, BUY, 4, 100, 4), *parts])
    (trade,) = held.trades
    assert (trade.quantity, trade.exit_price, trade.fees_quote) == (4, 95, 6)
    assert (trade.profit_quote, trade.exit_at) == (-26, AT + timedelta(hours=3))
    assert held.trades_ended == 1


def test_parts_of_two_pairs_that_take_turns_are_two_trades_in_the_order_of_their_ends():
    bought = [filled(1, BUY, 2, 100), filled(2, BUY, 2, 100, pair=ETH)]
    sold = [filled(3, SELL, 1, 110, order="a"), filled(4, SELL, 2, 110, pair=ETH, order="b"),
            filled(5, SELL, 1, 110, order="a")]  # fmt: skip
    trades = replay("USD", [deposit(1000), *bought, *sold]).trades
    assert [(t.pair, t.quantity) for t in trades] == [(ETH, 2), (BTC, 2)]


def test_two_orders_that_each_sold_a_part_are_two_trades():
    sold = [filled(2, SELL, 1, 110, order="a"), filled(3, SELL, 1, 110, order="b")]
    held = replay("USD", [deposit(1000), filled(1, BUY, 2, 100), *sold])
    assert [t.quantity for t in held.trades] == [1, 1]


def test_a_round_trip_that_gains_in_all_ends_the_streak_though_its_last_part_loses():
    loss = [filled(1, BUY, 1, 100), filled(2, SELL, 1, 90)]
    mixed = [filled(3, BUY, 2, 100), filled(4, SELL, 1, 150), filled(5, SELL, 1, 90)]
    assert replay("USD", loss).losing_streak == 1
    assert replay("USD", [*loss, *mixed]).losing_streak == 0


def test_losses_of_several_pairs_make_one_streak():
    events = [filled(1, BUY, 1, 100), filled(2, SELL, 1, 90),
              filled(3, BUY, 1, 100, pair=ETH), filled(4, SELL, 1, 90, pair=ETH)]  # fmt: skip
    assert replay("USD", events).losing_streak == 2


def test_selling_more_than_was_held_ends_the_position_and_owes_the_rest_elsewhere():
    held = replay("USD", [deposit(1000), filled(1, BUY, 1, 100), filled(2, SELL, "2.5", 100)])
    assert held.positions == {}
    assert held.outside == {"BTC": D("-1.5")}
    assert held.trades[0].quantity == 1


def test_drawdown_is_measured_from_the_highest_mark():
    held = replay("USD", [deposit(1000), marked(1200), marked(900)])
    assert held.drawdown == D("0.25")


def test_a_day_begins_with_what_the_last_one_ended_with():
    held = replay("USD", [deposit(1000), marked(1000, 1), marked(800, 25), marked(600, 26)])
    assert held.day_loss == D("0.4")


def test_a_transfer_is_neither_profit_nor_loss():
    held = replay("USD", [deposit(1000), marked(1000), deposit(-500), marked(500)])
    assert (held.drawdown, held.day_loss, held.transfers_quote) == (0, 0, 500)


def moved(amount, asset="USD", hours=2):
    return CashAdjusted(AT + timedelta(hours=hours), asset, D(amount), "a trade by hand")


HOLDING = [deposit(1000), filled(1, BUY, 4, 100), marked(1000, 1)]


@pytest.mark.parametrize("asset", ["BTC", "XRP"])  # told before and after the USD
def test_a_sale_by_hand_is_a_loss_of_its_fee_and_nothing_else(asset):
    bought = filled(1, BUY, 4, 100, pair=Pair(asset, "USD"))
    found = sorted([moved(-4, asset), moved(396)], key=lambda event: event.asset)
    held = replay("USD", [deposit(1000), bought, marked(1000, 1), *found])
    assert (held.equity_peak, held.last_equity, held.transfers_quote) == (1000, 996, 1000)
    assert held.drawdown == held.day_loss == D("0.004")


def test_a_sale_by_hand_is_weighed_at_the_newest_price():
    mark = EquityMarked(AT + timedelta(hours=1), D(1040), D(600), ((BTC, D(110)),))
    held = replay(
        "USD", [deposit(1000), filled(1, BUY, 4, 100), mark, moved(-4, "BTC"), moved(430)]
    )
    assert (held.equity_peak, held.last_equity) == (1040, 1030)


def test_what_comes_beyond_the_worth_of_a_sale_is_paid_in():
    held = replay("USD", [*HOLDING, moved(-4, "BTC"), moved(900)])
    assert (held.drawdown, held.equity_peak, held.transfers_quote) == (0, 1500, 1500)


def test_coins_moved_away_are_neither_profit_nor_loss():
    held = replay("USD", [*HOLDING, moved(-4, "BTC"), marked(600, 2)])
    assert (held.drawdown, held.day_loss, held.transfers_quote) == (0, 0, 600)


def test_a_small_deposit_beside_coins_moved_away_is_not_their_price():
    held = replay("USD", [*HOLDING, moved(-4, "BTC"), moved(100)])
    assert (held.drawdown, held.transfers_quote, held.last_equity) == (0, 700, 700)


def test_money_that_comes_later_than_the_coins_left_is_a_deposit():
    events = [*HOLDING, moved(-4, "BTC"), marked(600, 2), moved(396, hours=3), marked(996, 3)]
    held = replay("USD", events)
    assert (held.drawdown, held.equity_peak, held.transfers_quote) == (0, 996, 996)


def test_resuming_measures_drawdown_from_here():
    held = replay("USD", [deposit(1000), marked(800), Resumed(AT, "me")])
    assert (held.drawdown, held.equity_peak) == (0, 800)


quantities = st.decimals("0.00000001", 1000, places=8)
prices = st.decimals("0.01", 90000, places=2)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Side), quantities, prices, prices), max_size=12))
def test_cash_positions_fees_and_profits_balance_to_the_cent(moves):
    held, number = Portfolio("USD"), 0
    held.apply(deposit(10**9))
    for side, quantity, price, fee in moves:
        number += 1
        position = held.position(BTC)
        if side is SELL and (position is None or position.quantity < quantity):
            continue
        held.apply(filled(number, side, quantity, price, fee))
    invested = sum(p.cost_quote for p in held.positions.values())
    earned = sum(t.profit_quote for t in held.trades)
    assert abs(held.cash + invested - 10**9 - earned) < D("1e-9")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Side), quantities, prices), max_size=8), st.randoms())
def test_replaying_repeated_fills_gives_the_same_portfolio(moves, chance):
    events = [filled(n, *move) for n, move in enumerate(moves)]
    repeated = [e for event in events for e in [event] * chance.randint(1, 3)]
    assert replay("USD", repeated) == replay("USD", events)
