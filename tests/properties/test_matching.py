"""What must hold of the matching engine whatever the market does and whoever trades."""

import contextlib
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawn_market import BTC, START, at, drawn, market_of
from trader.clocks import ManualClock
from trader.domain.errors import OrderRejected
from trader.domain.markets import Pair
from trader.domain.orders import OrderType, Side
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.costs import Costs
from trader.simulation.orders import CloseSpec, OrderSpec
from trader.simulation.path import to_us

COSTS = Costs(slippage=Decimal("0.002"))
DEEP = replace(COSTS, walks_book=True, queue_share=Decimal("0.05"))
PURSE = {"USD": Decimal(700), "BTC": Decimal(7)}
HOURS = 6
ETH = Pair("ETH", "USD")
START_US = to_us(START)

prices = st.integers(80, 120)
hours = st.floats(0, HOURS, allow_nan=False).map(lambda h: round(h, 4))


@st.composite
def rows(draw):
    found = []
    for _ in range(HOURS):
        if found and draw(st.integers(0, 7)) == 0:
            found.append(None)
            continue
        four = [draw(prices) for _ in range(4)]
        volume = draw(st.sampled_from([0, 5, 30, 1000]))
        found.append((four[0], max(four), min(four), four[3], volume))
    return found


@st.composite
def specs(draw):
    kind = draw(st.sampled_from(list(OrderType)))
    side = draw(st.sampled_from(list(Side)))
    quantity = Decimal(draw(st.integers(1, 60))) / 10
    price, price2 = Decimal(draw(prices)), Decimal(draw(prices))
    more = {}
    if kind is OrderType.MARKET:
        price = price2 = None
        more["quantity_in_quote"] = side is Side.BUY and draw(st.booleans())
    elif kind in (OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT):
        price, price2 = Decimal(draw(st.integers(1, 15))), Decimal(draw(st.integers(-9, 9)))
        more["percent"] = draw(st.booleans())
    elif kind is OrderType.LIMIT:
        more["post_only"] = draw(st.booleans())
        more["time_in_force"] = draw(st.sampled_from(["GTC", "IOC", "FOK"]))
    elif kind is OrderType.ICEBERG:
        more["display"] = quantity / 4
    more["self_trade"] = draw(st.sampled_from(["cancel-newest", "cancel-oldest", "cancel-both"]))
    if draw(st.integers(0, 4)) == 0:
        more["expires_at"] = to_us(at(draw(hours)))
    if draw(st.integers(0, 4)) == 0:
        more["starts_at"] = to_us(at(draw(hours)))
    if draw(st.integers(0, 4)) == 0:
        more["close"] = CloseSpec(OrderType.STOP_LOSS, Decimal(draw(prices)))
    more["fee_in_base"] = draw(st.booleans())
    return OrderSpec(BTC, side, kind, quantity, price, price2, **more)


amends = st.fixed_dictionaries(
    {},
    optional={
        "quantity": st.integers(1, 60).map(lambda n: Decimal(n) / 10),
        "limit": prices.map(Decimal),
        "stop": prices.map(Decimal),
    },
)
actions = st.lists(
    st.tuples(hours, st.one_of(specs(), specs(), amends, st.just("cancel"))), max_size=8
)


def act(exchange, action):
    """Carry out one action; a refusal is as good as any other answer."""
    if action == "cancel":
        exchange.cancel_all()
        return
    with contextlib.suppress(OrderRejected):
        if isinstance(action, OrderSpec):
            exchange.submit(action)
        elif records := exchange.open_records():
            exchange.amend_record(records[0].id, **action)


def run(candles, todo, stops=(), look=None, costs=COSTS):
    """Carry the actions out in time order, calling on the exchange at the stops besides."""
    exchange, clock = market_of(candles, costs, usd=PURSE["USD"], btc=PURSE["BTC"])
    moments = sorted([(h, 0, i) for i, (h, _) in enumerate(todo)] + [(h, 1, -1) for h in stops])
    for hour, _, index in moments:
        clock.sleep_until(at(hour))
        if index < 0:
            exchange.balances()
        else:
            act(exchange, todo[index][1])
        if look is not None:
            look(exchange)
    clock.sleep_until(at(HOURS))
    exchange.balances()
    return exchange


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(rows(), actions, st.lists(hours, max_size=30), st.sampled_from([COSTS, DEEP]))
def test_how_finely_the_clock_steps_changes_nothing(candles, todo, stops, costs):
    whole, stepped = run(candles, todo, costs=costs), run(candles, todo, stops, costs=costs)
    assert whole.trades() == stepped.trades()
    assert whole.ledger() == stepped.ledger()
    assert [told(record) for record in whole.records()] == [
        told(record) for record in stepped.records()
    ]


def told(record):
    return (
        record.id, record.status, record.held, record.stop, record.peak, record.closed_at,
        record.ahead, record.shown,
    )  # fmt: skip


def balance_sheet(exchange):
    """Every amount agrees with every other."""
    ledger = exchange.ledger()
    for asset, balance in exchange.balances().items():
        entries = [entry for entry in ledger if entry.asset == asset]
        assert balance.total == entries[-1].balance
        assert balance.total == sum(entry.amount - entry.fee for entry in entries)
        open_holds = [r.held for r in exchange.open_records() if r.held_asset == asset]
        assert balance.held == sum(open_holds)
        assert 0 <= balance.held <= balance.total


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows(), actions, st.lists(hours, max_size=10), st.sampled_from([COSTS, DEEP]))
def test_balances_holds_and_ledger_agree_at_every_moment(candles, todo, stops, costs):
    run(candles, todo, stops, balance_sheet, costs)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows(), actions)
def test_cash_and_base_change_by_the_fills_and_their_fees_alone(candles, todo):
    exchange = run(candles, todo)
    usd, btc = PURSE["USD"], PURSE["BTC"]
    for trade in exchange.trades():
        sign = 1 if trade.side is Side.BUY else -1
        usd -= sign * trade.cost + (0 if trade.fee_base else trade.fee)
        btc += sign * trade.quantity - trade.fee_base
    cent = Decimal("0.0001") * (1 + len(exchange.trades()))
    assert abs(exchange.balances()["USD"].total - usd) <= cent
    assert exchange.balances()["BTC"].total == btc


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows(), actions, st.sampled_from([COSTS, DEEP]))
def test_an_order_is_what_its_trades_are(candles, todo, costs):
    exchange = run(candles, todo, costs=costs)
    trades = {trade.id: trade for trade in exchange.trades()}
    for record in exchange.records():
        own = [trades[name] for name in record.trades]
        assert record.filled == sum(trade.quantity for trade in own)
        assert record.cost == sum(trade.cost for trade in own)
        assert record.filled <= record.quantity
        assert (record.status == "closed") == (record.filled == record.quantity)
        assert all(trade.at > START_US or trade.at == record.opened_at for trade in own)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows(), actions, st.sampled_from([COSTS, DEEP]))
def test_no_two_orders_of_the_account_trade_with_each_other(candles, todo, costs):
    exchange = run(candles, todo, costs=costs)
    takers = {(t.at, t.price, t.side) for t in exchange.trades() if t.liquidity == "taker"}
    makers = [t for t in exchange.trades() if t.liquidity == "maker"]
    other = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
    assert not any((t.at, t.price, other[t.side]) in takers for t in makers)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(rows(), actions)
def test_every_fill_is_at_a_price_the_market_had_or_worse(candles, todo):
    exchange = run(candles, todo)
    for trade in exchange.trades():
        row = candles[min(HOURS - 1, (trade.at - START_US) // 3_600_000_000)]
        before = candles[max(0, (trade.at - 1 - START_US) // 3_600_000_000)]
        low = min(r[2] for r in (row, before) if r)
        high = max(r[1] for r in (row, before) if r)
        buys = trade.side is Side.BUY
        if trade.liquidity == "taker":
            assert trade.price > low if buys else trade.price < high
        else:
            assert trade.price >= low if buys else trade.price <= high


# ---- two markets, one purse, and an exchange that is closed and opened again


@st.composite
def specs_of_two(draw):
    spec = draw(specs())
    return replace(spec, pair=draw(st.sampled_from([BTC, ETH])))


def run_two(markets, todo, stops, directory=None, reopen=False, costs=COSTS):
    feed = ReplayFeed({pair: drawn(rows) for pair, rows in zip((BTC, ETH), markets, strict=True)})
    clock = ManualClock(at(0))
    purse = {"USD": Decimal(1500), "BTC": Decimal(5), "ETH": Decimal(5)}

    def opened():
        return SandboxExchange(feed, clock, balances=purse, costs=costs, directory=directory)

    exchange = opened()
    moments = sorted([(h, 0, i) for i, (h, _) in enumerate(todo)] + [(h, 1, -1) for h in stops])
    for hour, _, index in moments:
        clock.sleep_until(at(hour))
        if index < 0 and reopen:
            exchange.close()
            exchange = opened()
        elif index < 0:
            exchange.balances()
        else:
            act(exchange, todo[index][1])
    clock.sleep_until(at(HOURS))
    told = (exchange.trades(), exchange.ledger(), exchange.records(), exchange.balances())
    exchange.close()
    return told


two_markets = st.tuples(rows(), rows())
two_actions = st.lists(st.tuples(hours, specs_of_two()), max_size=8)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(two_markets, two_actions, st.lists(hours, max_size=20))
def test_markets_that_share_a_purse_do_not_depend_on_the_steps_either(markets, todo, stops):
    whole, stepped = run_two(markets, todo, ()), run_two(markets, todo, stops)
    assert whole[:2] == stepped[:2]
    assert whole[3] == stepped[3]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(two_markets, two_actions, st.lists(hours, min_size=1, max_size=4))
def test_an_exchange_closed_and_opened_again_goes_on_as_if_nothing_had_been(markets, todo, stops):
    with tempfile.TemporaryDirectory() as directory:
        again = run_two(markets, todo, stops, Path(directory), reopen=True, costs=DEEP)
    assert again == run_two(markets, todo, stops, costs=DEEP)
