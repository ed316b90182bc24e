"""The made-up book and trades hang together with the price and with each other."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trader.domain.markets import Pair
from trader.exchanges.markets import market
from trader.simulation.book import book_around, ticker_around, trades_in
from trader.simulation.path import Stretch, price_at, to_us

NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = 3_600_000_000
PAIRS = [Pair("BTC", "USD"), Pair("DOGE", "USD"), Pair("ETH", "BTC")]

prices = st.decimals("0.001", "100000", places=4)
slippages = st.decimals("0", "0.01", places=4)


@given(st.sampled_from(PAIRS), prices, slippages, st.integers(1, 60), st.integers(0, 5))
def test_a_book_has_its_levels_in_order_on_the_tick_and_around_the_ticker(
    pair, price, slippage, depth, seed
):
    rules = market(pair).rules
    ticker = ticker_around(pair, NOW, price, slippage, rules)
    book = book_around(ticker, Decimal(10), rules, depth, seed)
    bids, asks = [b.price for b in book.bids], [a.price for a in book.asks]
    assert asks == sorted(set(asks))
    assert bids == sorted(set(bids), reverse=True)
    assert (bids[0], asks[0]) == (ticker.bid, ticker.ask)
    assert all(p > 0 and p % rules.tick == 0 for p in bids + asks)
    assert all(level.quantity >= rules.lot for level in (*book.bids, *book.asks))


def test_the_same_second_gives_the_same_book_and_another_seed_another():
    rules = market(PAIRS[0]).rules
    ticker = ticker_around(PAIRS[0], NOW, Decimal(100), Decimal(0), rules)
    first, second, other = (book_around(ticker, Decimal(9), rules, 5, s) for s in (1, 1, 2))
    assert first == second
    assert first != other


def test_public_trades_lie_on_the_path_and_add_up_to_the_volume():
    rules = market(PAIRS[0]).rules
    start = to_us(NOW)
    candle = Stretch(start, start + HOUR, 100.0, 130.0, 70.0, 110.0, 5.0)
    trades = trades_in(PAIRS[0], candle, candle.end, rules, 3)
    assert [t.price for t in trades] == [
        rules.price_nearest(price_at(candle, to_us(t.at))) for t in trades
    ]
    assert abs(sum(t.quantity for t in trades) - 5) < Decimal("0.000001")
    numbers = [t.trade_id for t in trades]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_trades_that_are_still_to_come_are_not_told():
    rules = market(PAIRS[0]).rules
    candle = Stretch(0, HOUR, 100.0, 130.0, 70.0, 110.0, 5.0)
    early = trades_in(PAIRS[0], candle, HOUR // 2, rules, 3)
    assert early == trades_in(PAIRS[0], candle, HOUR, rules, 3)[: len(early)]
    assert max(to_us(t.at) for t in early) <= HOUR // 2
