"""Cancelling and selling in place of the loop, at an exchange behind a port."""

import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from commands.emergency import Emergency, _bare, _sell, stand_down
from config import load_config
from main import assemble
from tests.trading_box import Box
from trader.clocks import SystemClock
from trader.domain.errors import OutcomeUnknown
from trader.domain.markets import Pair
from trader.domain.orders import OrderRequest, OrderType, Purpose, Side
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.exchanges.kraken_limits import TIERS
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey
from trader.simulation.orders import OrderSpec
from trader.simulation.path import to_us
from trader.storage.stop_switch import StopRequest
from venues import Wishes

ROOT = Path(__file__).resolve().parents[2]
BTC = Pair("BTC", "USD")
SELL_ALL = StopRequest("test", True, "me", "2024-03-01T00:00:00+00:00")


class Account:
    """A live account at the stand-in exchange, with a bot's position and stop in it."""

    def __init__(self, folder, server, key, exchange):
        self.exchange = exchange
        self.config = replace(
            load_config(None, {}), sandbox=False, kraken_api_url=server, kraken_api_key=key.key,
            kraken_api_secret=key.secret, pairs=(BTC,), data_dir=folder / "data",
            strategy="buy-and-hold", entry_patience_minutes=0,
            models_dir=folder / "models", logs_dir=folder / "logs",
        )  # fmt: skip
        parts = assemble(self.config, Wishes(unlicensed=True))
        parts.trader.recover()
        parts.trader.step()
        while not (parts.trader.settle() and exchange.open_orders()):
            pass
        self.beat = {
            "quantities": {
                str(p): str(held.quantity) for p, held in parts.trader.portfolio.positions.items()
            }
        }
        parts.close()

    @property
    def state(self):
        coins = self.exchange.balances().get(BTC.base)
        return len(self.exchange.open_orders()), coins.total if coins else Decimal(0)


@pytest.fixture
def account(tmp_path, monkeypatch):
    monkeypatch.setitem(TIERS, "starter", None)  # the stand-in has no limits to keep to
    key = ApiKey.generate()
    exchange = SandboxExchange(
        SimulatedFeed(1, [BTC]), SystemClock(), balances={"USD": Decimal(10_000)}
    )
    with Server(KrakenWire(exchange, [key])) as address:
        found = Account(tmp_path, address.url, key, exchange)
        orders, coins = found.state
        assert orders == 1
        assert coins > 0
        yield found


@pytest.mark.slow
def test_a_loop_that_is_well_and_cannot_be_seen_sells_alone(account):
    """As in a container: it holds the account, and no process of that number is seen here."""
    account.exchange.engine.account.deposit("BTC", Decimal(1), account.exchange.engine.now)
    parts = assemble(account.config, Wishes(unlicensed=True))
    parts.trader.recover()

    def obey():
        time.sleep(0.5)
        clock = parts.trader.clock
        while not parts.trader.executor.stand_down(clock.now(), "seen", flatten=True):
            parts.trader.executor.settle(clock.now())
        parts.close()

    loop = threading.Thread(target=obey)
    loop.start()
    deed = stand_down(account.config, SELL_ALL, {})
    loop.join()
    assert deed.done
    assert account.state == (0, Decimal(1))  # the owner's own coin


@pytest.mark.slow
def test_all_is_cancelled_and_sold_and_written_down(account):
    deed = stand_down(account.config, SELL_ALL, {})
    assert (deed.done, deed.held, deed.notes) == (True, [], [])
    assert account.state == (0, 0)
    parts = assemble(account.config, Wishes(unlicensed=True))
    assert parts.trader.recover().differences == ()
    (trade,) = parts.trader.portfolio.trades
    assert trade.exit_purpose is Purpose.FLATTEN
    parts.close()


@pytest.mark.slow
def test_without_flatten_the_stop_keeps_lying_at_the_exchange(account):
    before = account.state
    deed = stand_down(account.config, replace(SELL_ALL, flatten=False), {})
    assert (deed.done, deed.held) == (True, ["BTC/USD"])
    assert account.state == before


@pytest.mark.slow
def test_with_a_ruined_journal_what_the_loop_said_it_holds_is_sold_and_no_more(account):
    account.exchange.place(
        OrderRequest("", BTC, Side.BUY, OrderType.MARKET, Decimal("0.01")), account_now(account)
    )
    for name in ("trader.db", "trader.db-wal", "trader.db-shm"):
        (account.config.data_dir / name).unlink(missing_ok=True)
    (account.config.data_dir / "trader.db").write_bytes(b"rubbish" * 1000)
    deed = stand_down(account.config, SELL_ALL, account.beat)
    assert deed.done
    assert account.state == (0, Decimal("0.01"))
    assert "the journal cannot be read" in deed.notes[0]
    assert (deed.unknown, deed.sold) == (True, ["BTC/USD"])


class Ruined:
    """An account of which no record is left: a position with its stop, and its owner's orders."""

    def __init__(self):
        self.box = box = Box()
        box.buy("2", stop="90")
        box.buy("1", limit="95", stop="85")
        self.owners = [
            box.real.submit(OrderSpec(BTC, Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(50))),
            box.real.submit(
                OrderSpec(BTC, Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(51),
                          client_id=uuid.uuid4().hex)
            ),
        ]  # fmt: skip
        venue = SimpleNamespace(exchange=box.exchange, clock=box.clock)
        self.emergency = Emergency(venue, None, None, None)

    def stop(self, *, flatten, beat=()):
        request = StopRequest("drill", flatten, "test", self.box.now.isoformat())
        return _bare(self.emergency, dict(beat), request)

    def open(self):
        """(side, type, quantity) of what is open at the exchange."""
        return sorted((o.side, o.type, o.remaining) for o in self.box.real.open_orders())


OWNERS = [(Side.BUY, OrderType.LIMIT, Decimal(1))] * 2


def test_without_a_journal_only_our_purchases_are_cancelled_and_stops_stay():
    ruined = Ruined()
    deed = ruined.stop(flatten=False)
    assert ruined.open() == [*OWNERS, (Side.SELL, OrderType.STOP_LOSS, Decimal(2))]
    assert (deed.done, deed.unknown, deed.held) == (True, True, [])
    assert "2 open orders bear no id of the bot and were left alone" in deed.notes


def test_without_a_journal_and_a_word_of_the_loop_what_the_stops_guard_is_sold():
    ruined = Ruined()
    deed = ruined.stop(flatten=True)
    assert (ruined.open(), ruined.box.real.balances()["BTC"].total) == (OWNERS, 0)
    assert (deed.done, deed.sold) == (True, ["BTC/USD"])


def test_a_stop_of_a_pair_that_is_not_sold_stays():
    ruined = Ruined()
    deed = ruined.stop(flatten=True, beat={"quantities": {"ETH/USD": "0"}})
    assert (Side.SELL, OrderType.STOP_LOSS, Decimal(2)) in ruined.open()
    assert deed.unknown


@pytest.mark.parametrize("arrived", [True, False])
def test_without_a_journal_a_sale_without_an_answer_is_looked_up_and_never_sent_again(arrived):
    """The bot holds 1, its owner 2 beside it: those are not sold in place of the first."""
    box = Box()
    box.real.engine.account.deposit("BTC", Decimal(3), to_us(box.now))
    box.exchange.breaks.append(("place", OutcomeUnknown("time-out"), not arrived))
    venue = SimpleNamespace(exchange=box.exchange, clock=box.clock)
    emergency = Emergency(venue, None, None, None)
    request = StopRequest("drill", True, "test", box.now.isoformat())
    with pytest.raises(OutcomeUnknown):
        _sell(emergency, BTC, Decimal(1), request)
    if arrived:
        assert _sell(emergency, BTC, Decimal(1), request)
    else:
        with pytest.raises(OutcomeUnknown, match="run stop again"):
            _sell(emergency, BTC, Decimal(1), request)
    assert box.exchange.calls.count("place") == 1
    assert box.real.balances()["BTC"].total == (2 if arrived else 3)


def account_now(account):
    return account.exchange.server_time()


@pytest.mark.slow
def test_the_emergency_stop_imports_nothing_that_decides():
    """What is not loaded cannot be broken, and takes no time: models, indicators, arrays."""
    code = "import commands.stop, commands.emergency, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "pandas", "talib", "sklearn", "main", "paper", "ai_trader", "flask",
             "market_analyzer", "trader.learning.model", "trader.indicators.registry"}  # fmt: skip
    assert heavy & set(done.stdout.split()) == set()
