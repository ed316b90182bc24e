"""Of several bots in one folder, each command means the one whose account the settings trade."""

import os
from datetime import UTC, datetime

import pytest

from commands import stop
from commands.account import choose_book
from commands.running import Heartbeat, of_settings
from config import load_config, salvage_config
from trader.domain.events import SessionEnded
from trader.storage.journal import SqliteJournal
from trader.storage.state_file import state_file
from trader.storage.stop_switch import StopRequest
from venues import is_book_of, live_book

REQUEST = StopRequest("drill", True, "me", "2024-03-01T00:00:00+00:00")
A, B = "paper-simulated-7", "paper-simulated-8"


def now():
    return datetime.now(UTC)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A has just obeyed a stop and sold all; the settings are those of B."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SANDBOX_FEED", "simulated")
    monkeypatch.setenv("SANDBOX_SEED", "8")
    for book in (B, A):
        with SqliteJournal(tmp_path / "trader.db", book) as journal:
            journal.append(SessionEnded(now(), "drill"))
    obeyed = {"stop_done": True, "stop_request": {"flatten": True}, "mode": "PAPER"}
    state_file(tmp_path, A, now).write({"book": A, **obeyed})
    return tmp_path


def test_the_beat_of_another_account_does_not_count(folder):
    ours = of_settings(load_config())
    assert Heartbeat.read(folder, ours).state == {}
    state_file(folder, B, now).write({"book": B})
    assert Heartbeat.read(folder, ours).book == B


def test_a_stop_is_not_answered_by_the_bot_of_another_account(folder, monkeypatch):
    monkeypatch.setattr(stop, "_act", lambda beat, *_: ("here", beat.book))
    assert stop._carry_out(folder, salvage_config(), REQUEST) == ("here", "")


def test_a_bot_of_another_account_that_does_not_obey_is_told_of(folder, monkeypatch):
    monkeypatch.setattr(Heartbeat, "alive", True)
    monkeypatch.setattr(stop, "PATIENCE_S", 0.0)
    assert stop._others(folder, salvage_config(), REQUEST) == ""
    state_file(folder, A, now).write({"book": A, "stop_done": False, "pid": os.getpid()})
    assert A in stop._others(folder, salvage_config(), REQUEST)


def test_status_shows_the_account_of_the_settings_where_both_run(folder):
    state_file(folder, B, now).write({"book": B})
    state_file(folder, A, now).write({"book": A})
    assert choose_book(load_config()) == B


def test_settings_know_their_books():
    def trades(book, **settings):
        return is_book_of(load_config(None, settings), book)

    assert trades("paper-kraken", SANDBOX_FEED="auto")
    assert trades("paper-simulated-7", SANDBOX_FEED="auto")
    assert not trades("paper-simulated-7", SANDBOX_FEED="kraken")
    assert trades("replay-12", SANDBOX_FEED="replay")
    keys = {"SANDBOX": "false", "KRAKEN_API_KEY": "k", "KRAKEN_API_SECRET": "cw=="}
    assert trades(live_book("k"), **keys)
    assert not trades(live_book("other"), **keys)
