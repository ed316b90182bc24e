"""What every exchange of the program keeps to, whatever is behind it.

To hold a new exchange to it, add a way of opening it to `OPENINGS`: it gets the sandbox, its wire
and an address, and gives a `ports.Exchange` on the same account.
"""

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kraken_client import KrakenClient
from tests.drawn_market import BTC, HOUR, START, at, drawn
from trader.clocks import ManualClock
from trader.domain.candles import Timeframe
from trader.domain.errors import (
    BelowMinimum,
    InsufficientFunds,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    UnknownPair,
)
from trader.domain.markets import Pair
from trader.domain.orders import Liquidity, OrderRequest, OrderState, OrderType, Side
from trader.exchanges import open_own_exchange
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey
from trader.ports import Exchange, ExchangeSettings
from trader.simulation.costs import Costs

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
KEY = ApiKey("CONTRACT" + "x" * 48, SECRET)
ROWS = [
    (1000, 1000, 1000, 1000),
    (1000, 1000, 800, 900),
    (900, 1200, 900, 1100, 30),
    (1100, 1100, 1100, 1100),
]
COSTS = Costs(maker=Decimal("0.001"), taker=Decimal("0.002"), slippage=Decimal("0.001"))


class Switchboard:
    """Hands requests on to the wire of the present test, so that one server serves them all."""

    wire: KrakenWire

    def handle(self, *request):
        return self.wire.handle(*request)


@dataclass
class Served:
    """The present sandbox, its wire, and an address at which the wire answers over HTTP."""

    sandbox: SandboxExchange
    wire: KrakenWire
    url: str


Opening = Callable[[Served], AbstractContextManager[Exchange]]


@contextmanager
def in_this_process(served: Served) -> Iterator[Exchange]:
    yield served.sandbox


@contextmanager
def through_the_client(served: Served) -> Iterator[Exchange]:
    now = served.sandbox.server_time
    client = KrakenClient(KEY.key, KEY.secret, now=now, handler=served.wire)
    yield client
    client.close()


@contextmanager
def through_the_client_over_http(served: Served) -> Iterator[Exchange]:
    now = served.sandbox.server_time
    client = KrakenClient(KEY.key, KEY.secret, url=served.url, now=now)
    yield client
    client.close()


@contextmanager
def through_ccxt(served: Served) -> Iterator[Exchange]:
    """The example of a new exchange, found as a user's setting would find it."""
    pytest.importorskip("ccxt")
    settings = ExchangeSettings(KEY.key, KEY.secret, served.url, Path())
    exchange = open_own_exchange("examples.ccxt_exchange:CcxtExchange", settings)
    exchange._api.enableRateLimit = False
    exchange._api.session.trust_env = False
    yield exchange
    exchange.close()


OPENINGS: tuple[Opening, ...] = (
    in_this_process,
    through_the_client,
    through_the_client_over_http,
    through_ccxt,
)


@dataclass
class Desk:
    """An exchange, and the clock of its market."""

    exchange: Exchange
    clock: ManualClock

    def go(self, hour: float) -> None:
        self.clock.sleep_until(at(hour))

    def place(self, side, kind, quantity, price=None, order_id=None, post_only=False) -> str:
        request = OrderRequest(
            order_id or uuid.uuid4().hex,
            BTC,
            Side(side),
            OrderType(kind),
            Decimal(str(quantity)),
            None if price is None else Decimal(str(price)),
            post_only,
        )
        return self.exchange.place(request, self.clock.now())


@pytest.fixture(scope="module")
def switchboard() -> Iterator[tuple[Switchboard, str]]:
    board = Switchboard()
    with Server(board) as address:
        yield board, address.url


@pytest.fixture(params=OPENINGS, ids=lambda opening: opening.__name__)
def desk(request, switchboard) -> Iterator[Desk]:
    clock = ManualClock(at(0.5))
    sandbox = SandboxExchange(
        ReplayFeed({BTC: drawn(ROWS)}),
        clock,
        balances={"USD": Decimal(10_000), "BTC": Decimal(5)},
        costs=COSTS,
    )
    board, url = switchboard
    board.wire = KrakenWire(sandbox, [KEY])
    with request.param(Served(sandbox, board.wire, url)) as exchange:
        yield Desk(exchange, clock)


def test_it_tells_the_time_of_its_market(desk):
    assert abs(desk.exchange.server_time() - at(0.5)) < timedelta(seconds=1)


def test_it_knows_the_rules_of_its_market(desk):
    rules = desk.exchange.market_rules(BTC)
    assert (rules.tick, rules.lot, rules.order_minimum, rules.cost_minimum) == (
        Decimal("0.1"),
        Decimal("0.00000001"),
        Decimal("0.00005"),
        Decimal("0.5"),
    )
    assert (rules.base_decimals, rules.quote_decimals) == (10, 4)


def test_it_tells_what_the_account_pays(desk):
    rates = desk.exchange.fee_rates(BTC)
    assert (rates.maker, rates.taker) == (COSTS.maker, COSTS.taker)


@pytest.mark.parametrize("ask", ["market_rules", "ticker", "order_book", "recent_trades"])
def test_a_pair_that_is_not_traded_is_unknown(desk, ask):
    with pytest.raises(UnknownPair):
        getattr(desk.exchange, ask)(Pair("NONSENSE", "USD"))


def test_it_serves_closed_candles_only(desk):
    desk.go(2.5)
    candles = desk.exchange.candles(BTC, HOUR)
    # Counts of trades are not told by everybody.
    wanted = drawn(ROWS)[:2].columns()[:-1]
    assert [c.tolist() for c in candles.columns()[:-1]] == [c.tolist() for c in wanted]


def test_only_candles_from_a_moment_on_are_sent_if_that_is_all_one_wants(desk):
    desk.go(5.5)
    whole = desk.exchange.candles(BTC, HOUR)
    assert len(whole) >= 4
    newest = desk.exchange.candles(BTC, HOUR, whole.last_opened_at)
    assert len(newest) < len(whole)
    assert newest == whole[-len(newest) :]


def test_a_coarse_candle_comes_when_its_whole_interval_has_closed(desk):
    desk.go(3.99)
    assert len(desk.exchange.candles(BTC, Timeframe.parse("4h"))) == 0
    desk.go(4)
    assert list(desk.exchange.candles(BTC, Timeframe.parse("4h")).high) == [1200]


def test_bid_last_and_ask_stand_in_order(desk):
    ticker = desk.exchange.ticker(BTC)
    assert (ticker.bid, ticker.last, ticker.ask) == (999, 1000, 1001)


def test_the_book_is_sorted_best_first_and_agrees_with_the_ticker(desk):
    book = desk.exchange.order_book(BTC, 10)
    ticker = desk.exchange.ticker(BTC)
    bids, asks = ([level.price for level in side] for side in (book.bids, book.asks))
    assert (len(bids), len(asks)) == (10, 10)
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert (bids[0], asks[0]) == (ticker.bid, ticker.ask)
    assert all(level.quantity > 0 for level in (*book.bids, *book.asks))


def test_recent_trades_are_of_the_past_and_oldest_first(desk):
    desk.go(1.5)
    trades = desk.exchange.recent_trades(BTC)
    moments = [trade.at for trade in trades]
    assert trades
    assert moments == sorted(moments)
    assert moments[-1] <= at(1.5)
    assert {trade.side for trade in trades} <= {"buy", "sell"}


def test_the_account_begins_with_what_was_brought_in(desk):
    balances = desk.exchange.balances()
    assert (balances["USD"].total, balances["BTC"].total) == (10_000, 5)
    assert (balances["USD"].held, balances["BTC"].held) == (0, 0)


def test_a_market_order_fills_at_the_ask_and_is_booked_to_the_last_digit(desk):
    name = desk.place("buy", "market", 2)
    order = desk.exchange.order(name)
    assert (order.state, order.filled_quantity) == (OrderState.FILLED, 2)
    assert order.average_price == 1001
    balances = desk.exchange.balances()
    # 2 × 1001 and two thousandths of it
    assert balances["USD"].total == Decimal("7993.996")
    assert balances["BTC"].total == 7


def test_a_fill_names_its_order_and_tells_cost_fee_and_role(desk):
    name = desk.place("buy", "market", 2, order_id="a" * 32)
    (fill,) = desk.exchange.fills(START)
    assert (fill.exchange_id, fill.order_id) == (name, "a" * 32)
    assert (fill.pair, fill.side, fill.quantity, fill.price) == (BTC, Side.BUY, 2, 1001)
    assert (fill.cost_quote, fill.fee_quote) == (2002, Decimal("4.004"))
    assert fill.liquidity is Liquidity.TAKER
    assert abs(fill.filled_at - at(0.5)) < timedelta(seconds=1)


def test_an_open_buy_holds_cost_and_fee(desk):
    desk.place("buy", "limit", 1, 500)
    balance = desk.exchange.balances()["USD"]
    assert (balance.total, balance.held, balance.available) == (10_000, 501, 9_499)


def test_an_open_sell_holds_its_quantity(desk):
    desk.place("sell", "limit", 2, 2000)
    assert desk.exchange.balances()["BTC"].held == 2


def test_a_resting_order_is_listed_found_and_told_in_full(desk):
    name = desk.place("buy", "limit", 1, 500, order_id="b" * 32, post_only=True)
    (listed,) = desk.exchange.open_orders()
    found = desk.exchange.find_order("b" * 32, START)
    assert listed == desk.exchange.order(name) == found
    assert (listed.exchange_id, listed.order_id) == (name, "b" * 32)
    assert (listed.pair, listed.side, listed.type) == (BTC, Side.BUY, OrderType.LIMIT)
    assert (listed.quantity, listed.price, listed.filled_quantity) == (1, 500, 0)
    assert (listed.state, listed.post_only, listed.closed_at) == (OrderState.OPEN, True, None)


def test_a_resting_order_fills_as_maker_when_the_price_goes_through(desk):
    name = desk.place("buy", "limit", 1, 900)
    desk.go(1.99)
    order = desk.exchange.order(name)
    assert (order.state, order.average_price) == (OrderState.FILLED, 900)
    assert order.fee_quote == Decimal("0.9")
    assert abs(order.closed_at - at(1 + 1 / 6)) < timedelta(seconds=1)
    assert desk.exchange.open_orders() == ()


def test_a_partial_fill_stays_open_and_a_cancel_keeps_what_was_filled(desk):
    name = desk.place("sell", "limit", 5, 1150)
    desk.go(2.99)
    order = desk.exchange.order(name)
    assert (order.state, order.filled_quantity, order.remaining) == (OrderState.OPEN, 3, 2)
    desk.exchange.cancel(name)
    order = desk.exchange.order(name)
    assert (order.state, order.filled_quantity) == (OrderState.CANCELLED, 3)
    assert desk.exchange.balances()["BTC"].held == 0


def test_a_stop_rests_and_fills_when_it_is_reached(desk):
    name = desk.place("sell", "stop-loss", 1, 850)
    (resting,) = desk.exchange.open_orders()
    assert (resting.type, resting.price) == (OrderType.STOP_LOSS, 850)
    desk.go(1.99)
    order = desk.exchange.order(name)
    # 850 less a thousandth, down to the tick
    assert (order.state, order.average_price) == (OrderState.FILLED, Decimal("849.1"))


def changed(desk, name, quantity, price) -> bool:
    """Whether the exchange changes orders in place; one that does not says so and does nothing."""
    order = desk.exchange.order(name)
    request = OrderRequest(
        order.order_id, BTC, order.side, order.type, Decimal(str(quantity)), Decimal(str(price))
    )
    try:
        desk.exchange.amend(name, request, desk.clock.now())
    except OrderRejected:
        assert desk.exchange.order(name) == order
        return False
    return True


def test_a_stop_is_changed_in_place_and_fills_at_its_new_price(desk):
    name = desk.place("sell", "stop-loss", 1, 850)
    if not changed(desk, name, 2, 860):
        pytest.skip("this exchange changes no orders in place, and says so")
    (resting,) = desk.exchange.open_orders()
    assert (resting.exchange_id, resting.quantity, resting.price) == (name, 2, 860)
    assert changed(desk, name, 2, 860)  # asking twice is asking once
    desk.go(1.99)
    order = desk.exchange.order(name)
    # 860 less a thousandth, down to the tick
    assert (order.filled_quantity, order.average_price) == (2, Decimal("859.1"))


def test_a_resting_limit_order_is_changed_in_place(desk):
    name = desk.place("buy", "limit", 1, 500)
    if changed(desk, name, 3, 510):
        order = desk.exchange.order(name)
        assert (order.quantity, order.price, order.filled_quantity) == (3, 510, 0)


def test_a_change_that_breaks_a_rule_leaves_the_order_as_it_was(desk):
    name = desk.place("buy", "limit", 1, 500)
    assert not changed(desk, name, 1000, 500)


def test_an_order_that_is_over_is_not_changed(desk):
    name = desk.place("buy", "limit", 1, 500)
    order = desk.exchange.order(name)
    desk.exchange.cancel(name)
    request = OrderRequest(
        order.order_id, BTC, order.side, order.type, Decimal(2), Decimal(500)
    )  # fmt: skip
    with pytest.raises((OrderNotFound, OrderRejected)):
        desk.exchange.amend(name, request, desk.clock.now())


def test_a_take_profit_fills_when_it_is_reached(desk):
    name = desk.place("sell", "take-profit", 1, 1100)
    desk.go(2.99)
    order = desk.exchange.order(name)
    assert (order.state, order.average_price) == (OrderState.FILLED, Decimal("1098.9"))


def test_a_cancelled_order_says_when_it_ended_and_is_listed_as_closed(desk):
    name = desk.place("buy", "limit", 1, 500, order_id="c" * 32)
    desk.go(0.75)
    desk.exchange.cancel(name)
    (closed,) = desk.exchange.closed_orders(START)
    assert (closed.exchange_id, closed.state) == (name, OrderState.CANCELLED)
    assert abs(closed.closed_at - at(0.75)) < timedelta(seconds=1)
    assert desk.exchange.find_order("c" * 32, START) == closed


def test_what_ended_before_the_moment_asked_for_is_not_told(desk):
    desk.exchange.cancel(desk.place("buy", "limit", 1, 500, order_id="d" * 32))
    desk.place("buy", "market", 1)
    desk.go(3)
    assert desk.exchange.closed_orders(at(1)) == ()
    assert desk.exchange.fills(at(1)) == ()
    assert desk.exchange.find_order("d" * 32, at(1)) is None


def test_fills_come_oldest_first(desk):
    desk.place("buy", "limit", 1, 900)
    desk.place("buy", "market", 1)
    desk.go(2)
    assert [fill.price for fill in desk.exchange.fills(START)] == [1001, 900]


def test_an_id_that_was_never_given_is_not_found(desk):
    with pytest.raises(OrderNotFound):
        desk.exchange.order("OAAAAA-AAAAA-AAAAAA")
    with pytest.raises(OrderNotFound):
        desk.exchange.cancel("OAAAAA-AAAAA-AAAAAA")
    assert desk.exchange.find_order("e" * 32, START) is None


def test_an_order_that_is_over_cannot_be_cancelled(desk):
    name = desk.place("buy", "market", 1)
    with pytest.raises(OrderNotFound):
        desk.exchange.cancel(name)


def test_cancel_all_ends_every_order_and_says_how_many(desk):
    desk.place("buy", "limit", 1, 500)
    desk.place("sell", "limit", 1, 2000)
    assert desk.exchange.cancel_all() == 2
    assert desk.exchange.open_orders() == ()
    assert desk.exchange.cancel_all() == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (("buy", "limit", 100, 500), InsufficientFunds),
        (("sell", "market", 6), InsufficientFunds),
        (("buy", "limit", "0.00001", 500), BelowMinimum),
        (("buy", "limit", "0.0001", 500), BelowMinimum),
        (("buy", "limit", 1, "500.05"), OrderRejected),
        (("buy", "limit", "0.123456789", 500), OrderRejected),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_and_leaves_nothing(desk, fields, error):
    before = desk.exchange.balances()
    with pytest.raises(error):
        desk.place(*fields)
    assert desk.exchange.open_orders() == ()
    assert desk.exchange.balances() == before


def test_a_post_only_order_that_would_cross_never_fills(desk):
    with pytest.raises(OrderRejected):
        desk.place("buy", "limit", 1, 1001, post_only=True)
    assert desk.exchange.fills(START) == ()


def test_an_id_that_lives_is_not_taken_twice_but_to_be_looked_up(desk):
    desk.place("buy", "limit", 1, 500, order_id="f" * 32)
    with pytest.raises(OutcomeUnknown):
        desk.place("buy", "limit", 1, 500, order_id="f" * 32)
    assert len(desk.exchange.open_orders()) == 1


def test_reading_changes_nothing(desk):
    desk.place("buy", "limit", 1, 500)
    told = [(desk.exchange.balances(), desk.exchange.open_orders()) for _ in range(2)]
    assert told[0] == told[1]
