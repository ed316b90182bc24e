"""Lots: first in, first out, and not a digit lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from trader.domain.events import CashAdjusted, OrderFilled
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, Purpose, Side
from trader.reports.lots import UNKNOWN_COST, holdings, lot_rows, lots
from trader.simulation.runs import Execution

PAIR = Pair("BTC", "USD")
START = datetime(2024, 1, 1, tzinfo=UTC)


def filled(number, side, quantity, price, fee="1"):
    quantity, price = Decimal(quantity), Decimal(price)
    fill = Fill(
        f"T{number}", f"O{number}", f"{number:032x}", PAIR, side, quantity, price,
        quantity * price, Decimal(fee), Liquidity.TAKER, START + timedelta(days=number),
    )  # fmt: skip
    return OrderFilled(fill.filled_at, fill, Purpose.ENTRY if side is Side.BUY else Purpose.EXIT)


def test_the_oldest_coins_are_sold_first_and_fees_count_on_both_sides():
    found = lots("USD", [filled(0, Side.BUY, 2, 100), filled(1, Side.BUY, 1, 200),
                         filled(2, Side.SELL, "2.5", 300)])  # fmt: skip
    sold, part, held = found
    # 2 coins of 200 + 1, then half of the coin of 200 + 1; 750 − 1 received for 2.5 coins.
    assert (sold.cost_quote, sold.proceeds_quote) == (Decimal(201), Decimal("599.2"))
    assert (part.cost_quote, part.proceeds_quote) == (Decimal("100.5"), Decimal("149.8"))
    assert (held.quantity, held.cost_quote, held.disposed_at) == (
        Decimal("0.5"), Decimal("100.5"), None
    )  # fmt: skip
    assert sold.profit_quote == Decimal("398.2")
    assert [row["days_held"] for row in lot_rows(found)] == ["2", "1", ""]


def test_a_fill_told_of_twice_is_one_lot():
    event = filled(0, Side.BUY, 1, 100)
    assert len(lots("USD", [event, event])) == 1


def test_coins_from_elsewhere_say_that_their_cost_is_not_known():
    deposit = CashAdjusted(START, "BTC", Decimal(1), "a transfer or a trade by hand")
    (sold,) = lots("USD", [deposit, filled(1, Side.SELL, 1, 100)])
    (row,) = lot_rows([sold])
    assert (row["note"], row["cost_quote"], row["profit_quote"]) == (UNKNOWN_COST, "", "")


def done(*events):
    return [Execution(event.fill, event.purpose, "") for event in events]


def test_each_row_bears_the_moment_and_the_price_of_one_purchase_and_of_one_sale():
    """An addition does not change what the first purchase cost."""
    rows = holdings(done(filled(0, Side.BUY, 1, 100), filled(1, Side.BUY, 1, 200),
                         filled(2, Side.SELL, "1.5", 300)))  # fmt: skip
    sold = [(row.quantity, row.entry_at, row.entry_price, row.sale.price, row.sale.at)
            for row in rows[:2]]  # fmt: skip
    half, day = Decimal("0.5"), timedelta(days=1)
    assert sold == [
        (1, START, 100, 300, START + 2 * day), (half, START + day, 200, 300, START + 2 * day),
    ]  # fmt: skip
    assert (rows[2].quantity, rows[2].entry_price, rows[2].sale) == (half, 200, None)


def test_what_an_order_took_of_several_prices_at_once_is_one_row_at_their_mean():
    bought, first = filled(0, Side.BUY, 4, 100), filled(1, Side.SELL, 3, 90)
    second = replace(first.fill, trade_id="other", quantity=Decimal(1), price=Decimal(70),
                     cost_quote=Decimal(70))  # fmt: skip
    (row,) = holdings(done(bought, first, replace(first, fill=second)))
    assert (row.quantity, row.sale.price, row.fees_quote) == (4, 85, 3)
    assert row.sale.profit_quote == -63


def test_the_rows_add_up_to_what_the_account_earned():
    events = [filled(0, Side.BUY, 2, 100), filled(1, Side.BUY, 1, 130),
              filled(2, Side.SELL, "2.5", 120)]  # fmt: skip
    last = Decimal(110)
    told = sum(
        row.quantity * ((row.sale.price if row.sale else last) - row.entry_price) - row.fees_quote
        for row in holdings(done(*events))
    )
    cash = Decimal(-200 - 130 + 300 - 3)
    assert told == cash + Decimal("0.5") * last


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.integers(1, 999)), max_size=25))
def test_costs_and_proceeds_add_up_to_the_fills(moves):
    events, held = [], 0
    for number, (buys, quantity, price) in enumerate(moves):
        amount = quantity if buys else min(quantity, held)
        if amount:
            events.append(filled(number, Side.BUY if buys else Side.SELL, amount, price))
            held += amount if buys else -amount
    found = lots("USD", events)
    paid = sum(e.fill.cost_quote + e.fill.fee_quote for e in events if e.fill.side is Side.BUY)
    got = sum(e.fill.cost_quote - e.fill.fee_quote for e in events if e.fill.side is Side.SELL)
    tiny = Decimal("1e-15")
    assert abs(sum(lot.cost_quote for lot in found) - paid) < tiny
    assert abs(sum(lot.proceeds_quote or 0 for lot in found) - got) < tiny
    assert sum(lot.quantity for lot in found if lot.disposed_at is None) == held
