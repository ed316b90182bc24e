"""An exchange that forgets what is long over goes on as if it had not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.trading_box import BTC, hours
from trader.clocks import ManualClock
from trader.domain.errors import UsageError
from trader.domain.orders import OrderRequest, OrderType, Side
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange

ROWS = [(100, 101, 99, 100)] * 40


def traded(forgets):
    """An exchange after a buy an hour for a day, forgetting half of it on the way or not."""
    candles = hours(ROWS)
    clock = ManualClock(candles.first_opened_at + timedelta(minutes=10))
    exchange = SandboxExchange(ReplayFeed({BTC: candles}), clock, balances={"USD": Decimal(9999)})
    for number in range(24):
        order = OrderRequest(f"{number:032x}", BTC, Side.BUY, OrderType.MARKET, Decimal("0.1"))
        exchange.place(order, clock.now())
        clock.sleep_until(clock.now() + timedelta(hours=1))
        if forgets and number == 12:
            past = exchange.forget(clock.now() - timedelta(hours=2))
            assert len(past.orders) == len(past.trades) == 11
    return exchange


def test_balances_ids_and_what_comes_after_are_the_same():
    whole, short = traded(forgets=False), traded(forgets=True)
    assert short.balances() == whole.balances()
    assert [t.id for t in short.trades()] == [t.id for t in whole.trades()[11:]]
    assert [e.id for e in short.ledger()] == [e.id for e in whole.ledger()[-len(short.ledger()) :]]
    assert [r.id for r in short.records()] == [r.id for r in whole.records()[11:]]


def test_what_is_forgotten_is_found_under_no_name():
    short = traded(forgets=True)
    assert short.named(f"{3:032x}") == ()
    assert len(short.named(f"{20:032x}")) == 1


def test_an_account_on_disk_forgets_nothing(tmp_path):
    clock = ManualClock(datetime(2024, 1, 1, tzinfo=UTC))
    exchange = SandboxExchange(ReplayFeed({BTC: hours(ROWS)}), clock, directory=tmp_path)
    with pytest.raises(UsageError, match="keeps all"):
        exchange.forget(clock.now())
    exchange.close()
