"""The bot as a process: killed, stopped, hung, asked for an order, ended."""

import json
import signal
from decimal import Decimal

import pytest

from tests.commands.running_bot import Bot
from trader.domain.markets import Pair
from trader.domain.orders import OrderType
from trader.domain.portfolio import replay
from trader.exchanges.account_store import AccountStore
from trader.storage.journal import SqliteJournal

BOOK = "paper-simulated-7"
BTC = Pair("BTC", "USD")


@pytest.fixture
def bot(tmp_path):
    found = Bot(tmp_path)
    yield found
    found.close()


def account(bot):
    """What the exchange has on disk: balances, and open stop orders as (pair, quantity)."""
    store = AccountStore(bot.folder / "data" / "sandbox" / BOOK)
    state = store.load()
    store.close()
    balances = {}
    for entry in state.ledger:
        balances[entry.asset] = entry.balance
    stops = [
        (record.spec.pair, record.quantity - record.filled)
        for record in state.orders
        if record.status == "open" and record.spec.type is OrderType.STOP_LOSS
    ]
    return balances, stops


def portfolio(bot):
    with SqliteJournal.reader(bot.folder / "data" / "trader.db", BOOK) as journal:
        return replay("USD", (event for _, event in journal.events()))


def assert_recovered(bot):
    """After a reconciling end: every unit accounted for, every position guarded."""
    balances, stops = account(bot)
    held = portfolio(bot)
    assert {a: v for a, v in held.holdings().items() if v} == {
        a: v for a, v in balances.items() if v
    }
    assert stops == [(p.pair, p.quantity) for p in held.positions.values()]


@pytest.mark.slow
def test_a_killed_bot_finds_its_account_again_and_a_second_one_is_refused(bot):
    bot.start()
    second = bot.run("start", "--cycles", "1", "--no-dashboard")
    assert (second.returncode, "another process" in second.stderr) == (3, True)
    bot.wait(lambda: bot.state()["holdings"])
    bot.kill()
    again = bot.run("start", "--cycles", "1", "--no-dashboard")
    assert again.returncode == 0
    assert "agrees with the journal" in again.stdout
    assert_recovered(bot)


@pytest.mark.slow
def test_orders_by_hand_stop_resume_and_sigterm_while_the_bot_runs(bot):
    bot.start()
    bot.wait(lambda: bot.state()["holdings"])
    before = portfolio(bot).positions[BTC].quantity
    sold = bot.run("trade", "BTC/USD", "sell", "0.001", "--yes", "--json")
    assert (sold.returncode, json.loads(sold.stdout)["order"]["state"]) == (0, "filled")
    assert portfolio(bot).positions[BTC].quantity == before - Decimal("0.001")

    stopped = bot.run("stop", "--flatten", "--json")
    document = json.loads(stopped.stdout)
    assert (stopped.returncode, document["by"], document["done"]) == (0, "loop", True)
    assert (portfolio(bot).positions, account(bot)[1]) == ({}, [])
    assert bot.run("trade", "BTC/USD", "buy", "0.001", "--yes").returncode == 3

    assert "the running bot has taken note" in bot.run("resume").stdout
    bot.wait(lambda: bot.state()["holdings"])
    bot.signal(signal.SIGTERM)
    assert bot.process.wait(15) == 0
    assert "ended      SIGTERM" in bot.output()
    assert "1 order left open there" in bot.output()
    assert_recovered(bot)


@pytest.mark.slow
def test_a_hung_bot_is_ended_and_sold_out_by_the_stop_command_itself(bot):
    bot.start()
    bot.wait(lambda: bot.state()["holdings"])
    bot.signal(signal.SIGSTOP)
    stopped = bot.run("stop", "--flatten", "--json")
    document = json.loads(stopped.stdout)
    assert (stopped.returncode, document["by"], document["done"]) == (0, "here", True)
    assert (portfolio(bot).positions, account(bot)[1]) == ({}, [])
    assert bot.process.wait(5) == -signal.SIGKILL


@pytest.mark.slow
def test_manual_orders_while_the_bot_is_down_and_what_is_refused(bot):
    assert bot.run("start", "--cycles", "1", "--no-dashboard").returncode == 0
    cases = {
        ("BTC/USD", "buy", "0"): (2, "expected a number above 0"),
        ("BTC/USD", "buy", "-1"): (2, "expected a number above 0"),
        ("BTC/USD", "buy", "much"): (2, "expected a number"),
        ("BTC/USD", "sell", "0.00001"): (3, "minimum-size"),
        ("FOO/USD", "buy", "1"): (2, "FOO/USD"),
    }
    for words, (status, text) in cases.items():
        refused = bot.run("trade", *words, "--yes")
        assert (refused.returncode, refused.stdout) == (status, "")
        assert text in refused.stderr
        assert "Traceback" not in refused.stderr
    unasked = bot.run("trade", "BTC/USD", "sell", "0.001")
    assert (unasked.returncode, "no terminal" in unasked.stderr) == (2, True)
    planned = bot.run("trade", "BTC/USD", "sell", "0.001", "--validate")
    assert planned.stdout.startswith("PAPER")
    sold = bot.run("trade", "BTC/USD", "sell", "0.001", "--yes", "--json")
    assert json.loads(sold.stdout)["order"]["filled"] == "0.00100000"
    assert_recovered(bot)
