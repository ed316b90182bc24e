"""What only a journal on disk has to answer for: other processes, damage, a full disk, a kill."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trader.domain.errors import JournalError
from trader.domain.events import CashAdjusted, SessionEnded, SessionStarted
from trader.domain.markets import Pair
from trader.storage import journal as journal_module
from trader.storage.journal import SqliteJournal, list_books

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2024, 3, 1, 13, tzinfo=UTC)


def deposit(amount):
    return CashAdjusted(AT, "USD", Decimal(amount), "deposit")


def started(minute=0):
    return SessionStarted(
        AT.replace(minute=minute), "PAPER", "simulated", (Pair("BTC", "USD"),), "1h", "trend", "0"
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "trader.db"


def amounts(journal):
    return [int(e.amount) for _, e in journal.events()]


def test_what_was_appended_is_there_when_the_file_is_opened_again(path):
    with SqliteJournal(path, "paper") as journal:
        journal.append(deposit(1))
        digest = journal.digest()
    with SqliteJournal(path, "paper") as journal:
        assert amounts(journal) == [1]
        assert journal.digest() == digest


def test_books_in_one_file_never_mix(path):
    with SqliteJournal(path, "paper") as paper, SqliteJournal(path, "live") as live:
        paper.append(deposit(1))
        live.append(deposit(2))
        paper.append(deposit(3))
        assert [(1, deposit(1)), (2, deposit(3))] == list(paper.events())
        assert [(1, deposit(2))] == list(live.events())
        assert paper.digest() != live.digest()


def test_two_writers_of_one_book_give_numbers_without_holes(path):
    def write():
        with SqliteJournal(path, "paper", durable=False) as journal:
            for _ in range(50):
                journal.append(deposit(1))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with SqliteJournal.reader(path, "paper") as journal:
        assert [n for n, _ in journal.events()] == list(range(1, 101))


def test_a_reader_sees_each_event_while_the_bot_writes(path):
    with SqliteJournal(path, "paper") as writer:
        writer.append(deposit(1))
        with SqliteJournal.reader(path, "paper") as reader:
            assert amounts(reader) == [1]
            writer.append(deposit(2))
            assert [(2, deposit(2))] == list(reader.events(after=1))


def test_a_reader_in_the_middle_of_a_book_does_not_hold_up_the_writer(path):
    with SqliteJournal(path, "paper", busy_timeout_s=0.1) as writer:
        writer.append_all([deposit(n) for n in range(3000)])
        with SqliteJournal.reader(path, "paper") as reader:
            pages = reader.events()
            next(pages)
            writer.append(deposit(9))
            assert len(list(pages)) == 3000


def test_many_pages_are_read_once_each_in_both_directions(path):
    with SqliteJournal(path, "paper", durable=False) as journal:
        journal.append_all([deposit(n) for n in range(4500)])
        assert amounts(journal) == list(range(4500))
        assert [int(e.amount) for _, e in journal.backwards()] == list(range(4499, -1, -1))


def test_a_reader_of_a_book_that_does_not_exist_yet_sees_nothing_until_it_does(path):
    with SqliteJournal(path, "paper"), SqliteJournal.reader(path, "other") as reader:
        assert list(reader.events()) == []
        with SqliteJournal(path, "other") as other:
            other.append(deposit(1))
        assert amounts(reader) == [1]


def test_reading_leaves_the_closed_file_as_it_is(path):
    with SqliteJournal(path, "paper") as writer:
        writer.append(deposit(1))
    before = path.read_bytes()
    with SqliteJournal.reader(path, "paper") as reader:
        assert amounts(reader) == [1]
        with pytest.raises(JournalError, match="reading only"):
            reader.append(deposit(2))
    assert path.read_bytes() == before


def test_reading_where_nothing_was_written_names_the_first_step(path):
    with pytest.raises(JournalError, match="no journal at") as caught:
        SqliteJournal.reader(path, "paper")
    assert "start" in caught.value.hint
    assert not path.parent.exists()


def test_a_locked_journal_is_one_clear_error_and_later_goes_on(path):
    with SqliteJournal(path, "paper", busy_timeout_s=0.05) as journal:
        journal.append(deposit(1))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="locked by another process"):
                journal.append(deposit(2))
            assert amounts(journal) == [1]
            other.execute("ROLLBACK")
        journal.append(deposit(3))
        assert amounts(journal) == [1, 3]


def test_a_full_disk_loses_nothing_and_half_writes_nothing(path):
    with SqliteJournal(path, "paper") as journal:
        journal.append(deposit(1))
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="disk is full") as caught:
            journal.append_all([deposit(n) for n in range(2, 500)])
        assert "nothing written so far is lost" in caught.value.hint
        journal._connection.execute("PRAGMA max_page_count = 100000")
        journal.append(deposit(500))
        assert [(1, deposit(1)), (2, deposit(500))] == list(journal.events())


def test_a_book_whose_first_write_failed_can_still_be_written(path):
    with SqliteJournal(path, "paper") as journal:
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JournalError, match="disk is full"):
            journal.append_all([deposit(n) for n in range(500)])
        journal._connection.execute("PRAGMA max_page_count = 100000")
        journal.append(deposit(1))
        assert amounts(journal) == [1]


def test_a_file_that_is_no_database_is_refused_and_left_alone(path):
    path.parent.mkdir()
    path.write_text("time,equity\n" * 100)
    with pytest.raises(JournalError, match="no journal"):
        SqliteJournal(path, "paper")
    assert path.read_text() == "time,equity\n" * 100


def test_another_program_s_database_is_refused(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (name)")
    with pytest.raises(JournalError, match="not a journal of this program"):
        SqliteJournal(path, "paper")


def test_a_damaged_page_is_an_error_that_says_so(path):
    with SqliteJournal(path, "paper") as journal:
        journal.append_all([deposit(n) for n in range(500)])
    content = bytearray(path.read_bytes())
    content[4096 * 3 :] = b"\xff" * (len(content) - 4096 * 3)
    path.write_bytes(content)
    with (
        SqliteJournal.reader(path, "paper") as journal,
        pytest.raises(JournalError, match="damaged"),
    ):
        list(journal.events())


def test_a_damaged_line_is_named_by_its_number(path):
    with SqliteJournal(path, "paper") as journal:
        journal.append_all([deposit(1), deposit(2), deposit(3)])
        journal._connection.execute("UPDATE events SET body = 'x' WHERE seq = 2")
        with pytest.raises(JournalError, match="event 2"):
            list(journal.events())


def test_a_journal_of_a_newer_version_is_refused(path):
    with SqliteJournal(path, "paper") as journal:
        journal._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="of version 99"):
        SqliteJournal(path, "paper")


def test_an_older_journal_is_brought_up_to_date_and_keeps_its_events(path, monkeypatch):
    with SqliteJournal(path, "paper") as journal:
        journal.append(deposit(1))
    lift = [*journal_module.MIGRATIONS, lambda c: c.execute("ALTER TABLE books ADD note TEXT")]
    monkeypatch.setattr(journal_module, "MIGRATIONS", lift)
    with pytest.raises(JournalError, match="brought to 2 first"):
        SqliteJournal.reader(path, "paper")
    with SqliteJournal(path, "paper") as journal:
        assert amounts(journal) == [1]
        assert journal._connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_journal_as_it_was(path, monkeypatch):
    with SqliteJournal(path, "paper") as journal:
        journal.append(deposit(1))

    def broken(connection):
        connection.execute("ALTER TABLE books ADD note TEXT")
        connection.execute("nonsense")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "MIGRATIONS", [*journal_module.MIGRATIONS, broken])
        with pytest.raises(JournalError):
            SqliteJournal(path, "paper")
    with SqliteJournal(path, "paper") as journal:
        columns = journal._connection.execute("PRAGMA table_info(books)").fetchall()
        assert [c[1] for c in columns] == ["id", "name"]
        assert amounts(journal) == [1]


def test_a_closed_journal_says_so(path):
    journal = SqliteJournal(path, "paper")
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(deposit(1))


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(JournalError, match="folder of the journal"):
        SqliteJournal(tmp_path / "data" / "trader.db", "paper")


def test_books_are_listed_with_their_last_session_newest_first(path):
    with SqliteJournal(path, "old") as old, SqliteJournal(path, "new") as new:
        old.append_all([started(0), SessionEnded(AT, "done")])
        new.append_all([started(1), SessionEnded(AT, "done"), started(5)])
    new_info, old_info = list_books(path)
    assert (new_info.name, new_info.events, new_info.session) == ("new", 3, started(5))
    assert new_info.ended is None
    assert (old_info.name, old_info.ended) == ("old", SessionEnded(AT, "done"))


def test_without_a_file_there_are_no_books(path):
    assert list_books(path) == ()


WRITER = """
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from trader.domain.events import CashAdjusted
from trader.storage.journal import SqliteJournal
journal = SqliteJournal(Path(sys.argv[1]), "paper")
n = 0
while True:
    n += 1
    journal.append(CashAdjusted(datetime(2024, 3, 1, tzinfo=UTC), "USD", Decimal(n), ""))
    print(n, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_was_told_is_durable(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert writer.stdout is not None
    for _ in range(5):
        writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    told = [line for line in writer.stdout.read().split("\n")[:-1] if line]
    writer.wait()
    writer.stdout.close()
    last = int(told[-1]) if told else 5
    with SqliteJournal(path, "paper") as journal:
        kept = amounts(journal)
    assert kept[:last] == list(range(1, last + 1))
    assert len(kept) - last in (0, 1)


def test_a_book_of_fifty_thousand_events_is_appended_to_as_fast_as_a_small_one(path):
    with SqliteJournal(path, "paper", durable=False) as journal:
        for _ in range(10):
            journal.append_all([deposit(1)] * 500)
        plan = journal._connection.execute(
            "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(seq), 0) + 1, ? FROM events WHERE book = ?",
            (1, 1),
        ).fetchall()
        began = time.perf_counter()
        journal.append_all([deposit(1)] * 500)
        seconds = time.perf_counter() - began
    assert "SEARCH" in plan[0][3]
    assert seconds < 0.5
