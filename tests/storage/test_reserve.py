"""Room on the disk that is kept for an emergency."""

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from trader.domain.errors import JournalError
from trader.domain.events import Troubled
from trader.storage.journal import SqliteJournal
from trader.storage.reserve import PLENTY_BYTES, SIZE_BYTES, Reserve


def test_the_room_is_really_taken_and_only_once(tmp_path):
    assert Reserve(tmp_path).keep()
    file = tmp_path / "reserve"
    made = file.stat()
    assert Reserve(tmp_path).keep()
    assert (file.stat().st_mtime_ns, made.st_size) == (made.st_mtime_ns, SIZE_BYTES)
    assert made.st_blocks * 512 >= SIZE_BYTES


def test_it_is_given_back_only_when_there_is_hardly_any_other(tmp_path, monkeypatch):
    reserve = Reserve(tmp_path)
    reserve.keep()
    assert not reserve.release_if_full()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=3, f_frsize=4096))
    assert reserve.release_if_full()
    assert not (tmp_path / "reserve").exists()
    assert not reserve.release_if_full()


def room_for(monkeypatch, size):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=size, f_frsize=1))


def test_it_is_taken_again_once_there_is_plenty_and_not_sooner(tmp_path, monkeypatch):
    reserve = Reserve(tmp_path)
    reserve.keep()
    reserve.renew()
    room_for(monkeypatch, 100)
    assert reserve.release_if_full()
    room_for(monkeypatch, PLENTY_BYTES - 1)
    reserve.renew()
    assert not reserve.kept
    room_for(monkeypatch, PLENTY_BYTES)
    reserve.renew()
    assert reserve.kept


class Disk:
    """A journal on a disk of so many pages, of which the reserve holds back a hundred."""

    def __init__(self, folder, reserve):
        self.journal = SqliteJournal(folder / "trader.db", "book", reserve=reserve)
        self.journal.append(LINE)
        self.limit(int(self.pragma("page_count")) + 5)

    def pragma(self, words):
        return self.journal._connection.execute(f"PRAGMA {words}").fetchone()[0]

    def limit(self, pages):
        self.pragma(f"max_page_count = {pages}")


class Freeing(Reserve):
    disk = None

    def release_if_full(self):
        self.disk.limit(int(self.disk.pragma("max_page_count")) + 100)
        return True


LINE = Troubled(datetime(2024, 3, 1, tzinfo=UTC), "disk", "x" * 1000)


def fill(disk, count=200):
    for _ in range(count):
        disk.journal.append(LINE)


def test_a_journal_without_room_uses_the_reserve_and_writes_every_line_once(tmp_path):
    reserve = Freeing(tmp_path)
    reserve.disk = Disk(tmp_path, reserve)
    fill(reserve.disk)
    assert [number for number, _ in reserve.disk.journal.events()] == list(range(1, 202))
    reserve.disk.journal.close()


def test_without_a_reserve_a_full_disk_is_an_error(tmp_path):
    disk = Disk(tmp_path, Reserve(tmp_path))
    with pytest.raises(JournalError, match="the disk is full"):
        fill(disk)
    disk.journal.close()
