"""What is over for long is forgotten, and nothing that is still wanted."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trader.domain.events import OrderAccepted, OrderEnded, OrderFilled, OrderIntended
from trader.domain.fading import KEPT_FOR
from trader.domain.markets import Pair
from trader.domain.order_life import OrderBookkeeping
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
from trader.domain.portfolio import Portfolio

START = datetime(2024, 1, 1, tzinfo=UTC)
PAIR = Pair("BTC", "USD")
LATER = START + KEPT_FOR + timedelta(days=2)


def filled(at, side=Side.BUY, *, purpose=Purpose.ENTRY, price=100, ends=True):
    """The events of one order from the intent to its end."""
    order_id = make_order_id(PAIR, at, side, purpose)
    request = OrderRequest(order_id, PAIR, side, OrderType.MARKET, Decimal(1))
    fill = Fill(
        f"T{order_id}", f"X{order_id}", order_id, PAIR, side, Decimal(1), Decimal(price),
        Decimal(price), Decimal(0), Liquidity.TAKER, at,
    )  # fmt: skip
    yield OrderIntended(at, request, purpose, at, "test", Decimal(90), None)
    yield OrderAccepted(at, order_id, f"X{order_id}")
    yield OrderFilled(at, fill, purpose)
    if ends:
        yield OrderEnded(at, order_id, OrderState.FILLED, Decimal(1), "")


def book_of(*lives):
    book = OrderBookkeeping()
    for life in lives:
        for event in life:
            book.apply(event)
    return book


def test_an_order_that_has_long_been_over_is_forgotten_with_its_fills():
    old = list(filled(START))
    book = book_of(old, filled(LATER))
    assert book.get(old[0].request.order_id) is None
    assert book.of_exchange(old[1].exchange_id) is None
    assert not book.knows_fill(old[2].fill.trade_id)
    assert (book.fill_count, book.intent_count) == (2, 2)


def test_an_order_that_lives_is_known_however_old_it_is():
    waiting = list(filled(START, ends=False))
    book = book_of(waiting, filled(LATER))
    assert book.live()[0].order_id == waiting[0].request.order_id
    assert book.knows_fill(waiting[2].fill.trade_id)


def test_stops_of_an_old_position_are_numbered_on():
    stop = [
        OrderIntended(
            START,
            OrderRequest("s" * 32, PAIR, Side.SELL, OrderType.STOP_LOSS, Decimal(1), Decimal(90)),
            Purpose.STOP, START, "protects",
        ),
    ]  # fmt: skip
    other = Pair("ETH", "USD")
    later = OrderIntended(
        LATER, OrderRequest("e" * 32, other, Side.BUY, OrderType.MARKET, Decimal(1)),
        Purpose.ENTRY, LATER, "test",
    )  # fmt: skip
    book = book_of(filled(START), stop, [later])
    assert book.next_attempt(PAIR, START, Side.SELL, Purpose.STOP) == 1


def test_a_portfolio_told_to_keeps_its_newest_trades_and_counts_all():
    portfolio = Portfolio("USD", keep_trades=2)
    for day in range(6):
        at = START + timedelta(days=day)
        for event in (*filled(at), *filled(at, Side.SELL, purpose=Purpose.EXIT, price=101)):
            portfolio.apply(event)
    assert portfolio.trades_ended == 6
    assert len(portfolio.trades) <= 4
    assert [t.exit_at.day for t in portfolio.newest_trades(2)] == [5, 6]


def test_a_portfolio_remembers_the_plan_of_an_order_that_lives():
    portfolio = Portfolio("USD")
    waiting = list(filled(START, ends=False))
    portfolio.apply(waiting[0])
    for event in filled(LATER, price=50):
        portfolio.apply(event)
    portfolio.apply(waiting[2])
    assert portfolio.position(PAIR).stop == Decimal(90)
