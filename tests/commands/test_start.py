"""`start` as a person meets it: what it prints, what it refuses, and live over HTTP."""

import json
import socket
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest

from commands import start
from commands.screen import _purchases
from tests.commands.running_bot import Bot
from tests.trading_box import Box
from trader.clocks import SystemClock
from trader.domain.candles import Timeframe
from trader.domain.errors import Unreachable
from trader.domain.events import TradeRefused
from trader.domain.markets import Pair
from trader.domain.signals import GIVEN_UP
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import PERMISSIONS, ApiKey
from trader.storage.history import HistoryStore
from trader.storage.journal import SqliteJournal

BTC = Pair("BTC", "USD")


@pytest.fixture
def bot(tmp_path):
    found = Bot(tmp_path)
    yield found
    found.close()


@pytest.mark.slow
def test_the_first_line_says_paper_and_that_the_prices_are_not_real(bot):
    done = bot.run("start", "--cycles", "3", "--speed", "max", "--no-dashboard")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("PAPER")
    assert "SIMULATED MARKET: not real prices" in lines[0]
    assert sum("BTC/USD  " in line for line in lines) == 3
    assert "agrees with the journal" in done.stdout


@pytest.mark.slow
def test_json_is_one_document_and_nothing_else_on_stdout(bot):
    done = bot.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard", "--json")
    document = json.loads(done.stdout)
    assert (document["mode"], document["cycles"], document["differences"]) == ("PAPER", 2, [])
    assert len(document["digest"]) == 64


@pytest.mark.slow
def test_a_second_run_goes_on_with_the_same_account(bot):
    first = bot.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard", "--json")
    again = bot.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard", "--json")
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert after["book"] == before["book"]
    assert (before["orders"] > 0, after["orders"]) == (True, 0)  # counted by run
    assert after["positions"] == before["positions"]
    assert after["differences"] == []


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("--pairs", "FOO/USD"), 2, "FOO/USD"),
        (("--speed", "fast"), 2, "expected a number above 0, or max"),
        (("--start", "yesterday"), 2, "--start 'yesterday'"),
        (("--cycles", "0"), 2, "--cycles"),
    ],
)
def test_bad_arguments_are_one_clear_line(bot, words, status, text):
    done = bot.run("start", "--no-dashboard", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_replay_without_history_says_what_to_import(bot):
    bot.environment["SANDBOX_FEED"] = "replay"
    done = bot.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard")
    assert (done.returncode, "history import" in done.stderr) == (1, True)


@pytest.mark.slow
def test_a_replay_ends_with_its_prices_and_begins_a_fresh_book_each_time(bot):
    feed = SimulatedFeed(1, [BTC], Timeframe(3600))
    candles = feed.history(BTC, Timeframe(3600), datetime(2020, 3, 1, tzinfo=UTC), 1500)
    HistoryStore(bot.folder / "data").append(BTC, candles, "test")
    bot.environment["SANDBOX_FEED"] = "replay"
    words = ("start", "--speed", "max", "--no-dashboard", "--json", "--start", "2020-02-28")
    documents = [json.loads(bot.run(*words).stdout) for _ in range(2)]
    assert [d["book"] for d in documents] == ["replay-1", "replay-2"]
    assert documents[0]["reason"] == "the prices end here"
    assert documents[0]["digest"] == documents[1]["digest"]


def test_a_dashboard_whose_port_is_taken_does_not_keep_the_bot_from_trading(bot):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bot.environment["DASHBOARD_PORT"] = str(taken.getsockname()[1])
        done = bot.run("start", "--cycles", "1", "--speed", "max")
    assert (done.returncode, "no dashboard" in done.stderr) == (0, True)


@pytest.mark.slow
def test_a_lost_paper_account_is_told_and_nothing_is_traded_on_another(bot):
    words = ("start", "--cycles", "2", "--speed", "max", "--no-dashboard")
    bot.run(*words)
    account = bot.folder / "data" / "sandbox" / "paper-simulated-7" / "account.db"
    kept = account.read_bytes()
    for file in account.parent.iterdir():
        file.unlink()
    done = bot.run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is gone" in done.stderr
    assert not account.exists()
    account.write_bytes(kept)
    assert bot.run(*words).returncode == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write")
def test_a_data_folder_that_cannot_be_written_is_one_clear_line(bot):
    bot.environment["DATA_DIR"] = "/proc/nowhere"
    done = bot.run("start", "--cycles", "1", "--no-dashboard")
    assert (done.returncode, done.stdout) == (1, "")
    assert "DATA_DIR /proc/nowhere cannot be written" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write")
def test_a_log_folder_that_cannot_be_written_is_said_and_trading_goes_on(bot):
    bot.environment["LOGS_DIR"] = "/proc/nowhere"
    done = bot.run("start", "--cycles", "1", "--no-dashboard")
    assert done.returncode == 0
    assert "LOGS_DIR /proc/nowhere cannot be written" in done.stdout
    assert "no log is kept" in done.stdout


@pytest.mark.slow
def test_a_stop_in_force_is_the_first_thing_said(bot):
    bot.run("stop", "--reason", "a look first")
    done = bot.run("start", "--cycles", "1", "--speed", "max", "--no-dashboard")
    assert "STOPPED    nothing is bought: a look first" in done.stdout
    bot.run("resume")
    done = bot.run("start", "--cycles", "1", "--speed", "max", "--no-dashboard")
    assert "STOPPED" not in done.stdout


@pytest.mark.slow
def test_what_waits_to_buy_is_given_up_at_the_end_and_recorded_so(bot):
    bot.environment["ENTRY_PATIENCE_MINUTES"] = "240"
    words = ("start", "--cycles", "1", "--speed", "max", "--no-dashboard")
    done = bot.run(*words)
    assert "given up   what waited to buy BTC/USD" in done.stdout
    assert "left open" not in done.stdout.lower()
    with SqliteJournal.reader(bot.folder / "data" / "trader.db", "paper-simulated-7") as journal:
        refused = [e.refusal for _, e in journal.events() if isinstance(e, TradeRefused)]
    assert [(r.rule, r.reason) for r in refused] == [(GIVEN_UP, "the bot is ended")]
    assert json.loads(bot.run("start", "--cycles", "1", "--speed", "max", "--no-dashboard",
                              "--json").stdout)["differences"] == []  # fmt: skip


def test_an_order_that_cannot_be_cancelled_at_the_end_is_named(monkeypatch):
    monkeypatch.setattr(start, "LEAVING_PAUSE_S", 0.0)
    box = Box()
    order = box.buy("1", limit="95")
    box.exchange.breaks += [("cancel", Unreachable("time-out"), True)] * start.LEAVING_TRIALS
    trader = SimpleNamespace(executor=box.executor, clock=box.clock)
    parts = SimpleNamespace(trader=trader, venue=SimpleNamespace(feed="kraken", pairs=(BTC,)))
    assert start._leave(parts) is not None
    (left,) = start._left_buying(parts)
    assert (left["pair"], left["order"]) == ("BTC/USD", order.exchange_id)
    (said, _) = _purchases({"given_up": [], "left_buying": [left]})
    assert f"order {order.exchange_id} (buy 1 BTC/USD at 95) could not be cancelled" in said


@pytest.mark.slow
def test_an_order_for_a_pair_the_paper_market_lacks_is_told_which_it_has(bot):
    done = bot.run("trade", "DOGE/USD", "buy", "100", "--validate")
    assert done.returncode == 2
    assert "this paper market has no DOGE/USD; it has BTC/USD" in done.stderr


# -- real money, over a socket ----------------------------------------------------------------


@pytest.fixture
def kraken(bot):
    """A Kraken that is none, behind HTTP; the bot believes it to be live."""
    feed = SimulatedFeed(7, [BTC])
    exchange = SandboxExchange(feed, SystemClock(), balances={"USD": Decimal(5000)})
    key = ApiKey.generate()
    thief = ApiKey.generate("may withdraw")
    thief = ApiKey(thief.key, thief.secret, frozenset({*PERMISSIONS, "withdraw-funds"}))
    with Server(KrakenWire(exchange, [key, thief])) as address:
        bot.environment.update(
            SANDBOX="false", KRAKEN_API_URL=address.url,
            KRAKEN_API_KEY=key.key, KRAKEN_API_SECRET=key.secret,
        )  # fmt: skip
        bot.thief = thief
        bot.exchange = exchange
        yield bot


def test_live_without_a_licensed_model_is_refused(kraken):
    done = kraken.run("start", "--cycles", "1", "--no-dashboard")
    assert (done.returncode, "licence" in done.stderr) == (3, True)
    assert kraken.exchange.records() == ()


def test_a_key_that_may_withdraw_is_refused(kraken):
    thief = kraken.thief
    kraken.environment.update(KRAKEN_API_KEY=thief.key, KRAKEN_API_SECRET=thief.secret)
    done = kraken.run("start", "--cycles", "1", "--no-dashboard", "--unlicensed")
    assert (done.returncode, "withdraw" in done.stderr) == (1, True)


@pytest.mark.slow
def test_live_says_so_first_trades_through_the_wire_and_agrees_with_the_exchange(kraken):
    done = kraken.run("start", "--cycles", "1", "--no-dashboard", "--unlicensed")
    assert (done.returncode, done.stdout.startswith("LIVE")) == (0, True)
    assert "UNLICENSED BTC/USD: nothing shows that it earns its costs" in done.stdout
    assert "up to 1,000.00 USD may be lost" in done.stdout
    assert "agrees with the journal" in done.stdout
    types = [str(record.spec.type) for record in kraken.exchange.records()]
    assert types == ["market", "stop-loss"]
    (book,) = (kraken.folder / "data" / "locks").glob("live-*.lock")
    with SqliteJournal.reader(kraken.folder / "data" / "trader.db", book.stem) as journal:
        assert len(journal) > 5
    assert kraken.environment["KRAKEN_API_SECRET"] not in done.stdout + done.stderr


def test_without_keys_live_is_a_clear_error(bot):
    bot.environment["SANDBOX"] = "false"
    done = bot.run("start", "--cycles", "1", "--no-dashboard")
    assert (done.returncode, "KRAKEN_API_KEY" in done.stderr) == (2, True)
