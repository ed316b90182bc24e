"""A journal for the emergency stop: on disk while that works, else in memory until it does.

The order of things everywhere else is: no journal, no order. An emergency stop turns it round:
what protects money is done, and written down as soon as it can be. What never gets written is
found by the next start, as a trade by hand would be.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from trader.domain.errors import JournalError
from trader.domain.events import Event
from trader.storage.journal import SqliteJournal


class EmergencyJournal:
    """One book of a journal file that may be locked, unwritable or damaged.

    Args:
        path: the file.
        book: the account's book.
        patience_s: how long to wait for a lock before going on without the disk.

    Attributes:
        trouble: why the disk is not used, empty while it is.
        known: whether the past could be read.
    """

    def __init__(self, path: Path, book: str, patience_s: float = 0.25) -> None:
        self.trouble = ""
        self._path = path
        self._book = book
        self._past: list[Event] = []
        self._unwritten: list[Event] = []
        self._disk: SqliteJournal | None = None
        try:
            self._disk = SqliteJournal(path, book, busy_timeout_s=patience_s)
            self._past = [event for _, event in self._disk.events()]
            self.known = True
        except JournalError as fault:
            self.trouble = fault.message
            self.known = self._read_a_copy()

    def append(self, event: Event) -> None:
        """Write one event; without the disk it is kept in memory."""
        if self._disk is not None and not self.trouble:
            try:
                self._disk.append(event)
            except JournalError as fault:
                self.trouble = fault.message
        if self.trouble:
            self._unwritten.append(event)
        self._past.append(event)

    def events(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """(number, event) of all events above `after`, in order, written or not."""
        for position in range(max(after, 0), len(self._past)):
            yield position + 1, self._past[position]

    def digest(self) -> str:
        """Nobody compares emergencies: empty."""
        return ""

    def __len__(self) -> int:
        return len(self._past)

    def write_up(self, patience_s: float) -> bool:
        """Write what was kept in memory, as one; whether all is on disk now."""
        ends = time.monotonic() + patience_s
        while self._unwritten and self.known:
            try:
                if self._disk is None:
                    self._disk = SqliteJournal(self._path, self._book, busy_timeout_s=0.25)
                self._disk.append_all(self._unwritten)
            except JournalError as fault:
                self.trouble = fault.message
                if time.monotonic() >= ends:
                    return False
                time.sleep(0.05)
            else:
                self._unwritten, self.trouble = [], ""
        return not self._unwritten

    def close(self) -> None:
        """Give the file back."""
        if self._disk is not None:
            self._disk.close()

    def _read_a_copy(self) -> bool:
        """Read the past where the file itself cannot be opened: locked, or no room beside it."""
        for folder in (None, "/dev/shm"):  # noqa: S108 - a private folder in it
            with contextlib.suppress(OSError, JournalError), _copied(self._path, folder) as copy:
                with SqliteJournal(copy, self._book) as journal:
                    self._past = [event for _, event in journal.events()]
                return True
        return False


@contextlib.contextmanager
def _copied(path: Path, folder: str | None) -> Iterator[Path]:
    """A copy of the database with its log, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="journal-", dir=folder) as made:
        copy = Path(made) / path.name
        shutil.copyfile(path, copy)
        log = path.with_name(f"{path.name}-wal")
        if log.exists():
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        yield copy
