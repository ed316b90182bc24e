"""The life of an order: the table, its documentation, and what follows from it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from trader.domain.errors import JournalError
from trader.domain.events import (
    CancelIntended,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnclear,
    Troubled,
)
from trader.domain.markets import Pair
from trader.domain.order_life import MOVES, OrderBookkeeping
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)

DOC = Path(__file__).resolve().parents[2] / "docs" / "order-life.md"
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
PAIR = Pair("BTC", "USD")
ID = make_order_id(PAIR, NOW, Side.BUY, Purpose.ENTRY)
REQUEST = OrderRequest(ID, PAIR, Side.BUY, OrderType.MARKET, Decimal(2))


def fill(trade_id="T1", quantity="1", at=NOW):
    return Fill(
        trade_id, "X1", ID, PAIR, Side.BUY, Decimal(quantity), Decimal(100), Decimal(100),
        Decimal("0.8"), Liquidity.TAKER, at,
    )  # fmt: skip


EVENTS = {
    OrderIntended: OrderIntended(NOW, REQUEST, Purpose.ENTRY, NOW, "test"),
    OrderAccepted: OrderAccepted(NOW, ID, "X1"),
    OrderRefused: OrderRefused(NOW, ID, "busy", "no"),
    OrderUnclear: OrderUnclear(NOW, ID, "time-out"),
    CancelIntended: CancelIntended(NOW, ID, "enough"),
    OrderFilled: OrderFilled(NOW, fill(), Purpose.ENTRY),
    OrderEnded: OrderEnded(NOW, ID, OrderState.CANCELLED, Decimal(0), ""),
}
WAY_TO = {
    None: [],
    OrderState.INTENDED: [OrderIntended],
    OrderState.OPEN: [OrderIntended, OrderAccepted],
    OrderState.UNKNOWN: [OrderIntended, OrderUnclear],
    OrderState.REJECTED: [OrderIntended, OrderRefused],
    OrderState.CANCELLED: [OrderIntended, OrderAccepted, OrderEnded],
}


def after(*kinds):
    book = OrderBookkeeping()
    for kind in kinds:
        book.apply(EVENTS[kind])
    return book


@pytest.mark.parametrize(
    ("state", "kind"), list(product(WAY_TO, EVENTS)), ids=lambda v: getattr(v, "__name__", str(v))
)
def test_an_event_moves_the_order_as_the_table_says_or_is_refused(state, kind):
    book = after(*WAY_TO[state])
    if (state, kind) not in MOVES:
        with pytest.raises(JournalError, match="cannot follow"):
            book.apply(EVENTS[kind])
        return
    book.apply(EVENTS[kind])
    assert book.get(ID).state == (MOVES[state, kind] or OrderState.CANCELLED)


def test_the_documentation_shows_exactly_the_table():
    final = "filled, cancelled or expired"
    rows = {
        f"| {before or '–'} | {kind.__name__} | {state or final} |"
        for (before, kind), state in MOVES.items()
    }
    lines = DOC.read_text(encoding="utf-8").splitlines()
    assert rows == {
        line for line in lines if any(f"| {word}" in line for word in ("Order", "Cancel", "Amend"))
    }


def test_a_fill_counts_once_by_its_trade_id():
    book = after(OrderIntended, OrderAccepted, OrderFilled, OrderFilled)
    assert (Decimal(1), 1) == (book.get(ID).filled, book.fill_count)


def test_a_fill_after_the_end_still_counts():
    book = after(OrderIntended, OrderAccepted, OrderEnded, OrderFilled)
    assert Decimal(1) == book.get(ID).filled


def test_an_order_that_is_over_is_no_longer_live():
    assert after(OrderIntended, OrderAccepted, OrderEnded).live() == ()


def test_an_order_given_up_and_found_after_all_is_live_again():
    book = after(OrderIntended, OrderUnclear, OrderRefused, OrderAccepted)
    assert [order.order_id for order in book.live(PAIR, Purpose.ENTRY)] == [ID]


def test_an_order_is_found_by_the_exchanges_id():
    assert after(OrderIntended, OrderAccepted).of_exchange("X1").order_id == ID


def test_each_intent_of_the_same_decision_is_a_new_attempt():
    book = after(OrderIntended)
    key = (PAIR, NOW, Side.BUY, Purpose.ENTRY)
    assert (book.next_attempt(*key), OrderBookkeeping().next_attempt(*key)) == (1, 0)


def test_the_newest_fill_is_remembered_whatever_the_order_they_come_in():
    book = after(OrderIntended, OrderAccepted, OrderFilled)
    book.apply(OrderFilled(NOW, fill("T0", at=NOW - timedelta(hours=1)), Purpose.ENTRY))
    assert book.newest_fill_at == NOW


def test_events_that_are_not_about_orders_pass():
    book = OrderBookkeeping()
    book.apply(Troubled(NOW, "test", "nothing"))
    assert book.live() == ()
