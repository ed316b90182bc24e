"""Files that several processes make at the same moment."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from trader.wal import begin_wal


def held(path: Path, seconds: float) -> threading.Thread:
    """Another user who holds the whole file for a while; it does when this returns."""
    ready = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            ready.set()
            time.sleep(seconds)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    return thread


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    other = held(tmp_path / "new.db", 0.3)
    with closing(sqlite3.connect(tmp_path / "new.db", timeout=0, isolation_level=None)) as ours:
        begin_wal(ours, 5.0)
        assert ours.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.join()


def test_a_file_that_is_held_for_longer_is_an_error(tmp_path: Path) -> None:
    other = held(tmp_path / "new.db", 0.5)
    with (
        closing(sqlite3.connect(tmp_path / "new.db", timeout=0, isolation_level=None)) as ours,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        begin_wal(ours, 0.1)
    other.join()
