"""The journal of an emergency: whatever state the file is in, what happened is not forgotten."""

import contextlib
import sqlite3
from datetime import UTC, datetime

import pytest

from trader.domain.events import Resumed
from trader.storage.emergency_journal import EmergencyJournal
from trader.storage.journal import SqliteJournal

AT = datetime(2024, 3, 1, tzinfo=UTC)


def line(text):
    return Resumed(AT, text)


@pytest.fixture
def path(tmp_path):
    with SqliteJournal(tmp_path / "trader.db", "book") as journal:
        journal.append(line("past"))
    return tmp_path / "trader.db"


@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def on_disk(path):
    with SqliteJournal.reader(path, "book") as journal:
        return texts(journal)


def texts(journal):
    return [event.who for _, event in journal.events()]


def test_while_the_disk_takes_it_every_line_is_there_at_once(path):
    with contextlib.closing(EmergencyJournal(path, "book")) as journal:
        journal.append(line("now"))
        assert (on_disk(path), journal.trouble) == (["past", "now"], "")
        assert [number for number, _ in journal.events()] == [1, 2]


@pytest.mark.slow
def test_while_it_is_locked_lines_are_kept_and_written_afterwards(path):
    with contextlib.closing(EmergencyJournal(path, "book", patience_s=0.05)) as journal:
        with locked(path):
            journal.append(line("first"))
            journal.append(line("second"))
            assert journal.known
            assert texts(journal) == ["past", "first", "second"]
            assert not journal.write_up(patience_s=0.1)
        assert journal.write_up(patience_s=1)
        assert on_disk(path) == ["past", "first", "second"]


def test_a_file_that_cannot_be_opened_is_read_from_a_copy(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with contextlib.closing(EmergencyJournal(path, "book", patience_s=0.05)) as journal:
            assert journal.trouble
            assert journal.known
            assert len(journal) == 1


def test_rubbish_is_no_past_and_is_left_as_it_is(tmp_path):
    path = tmp_path / "trader.db"
    path.write_bytes(b"rubbish" * 1000)
    with contextlib.closing(EmergencyJournal(path, "book")) as journal:
        assert not journal.known
        journal.append(line("now"))
        assert not journal.write_up(patience_s=0)
    assert path.read_bytes() == b"rubbish" * 1000
