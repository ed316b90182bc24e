"""What the reading commands share: the account that ran last, or the one named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trader.domain.errors import UsageError
from trader.storage.journal import SqliteJournal, list_books
from trader.storage.state_file import StateFile

if TYPE_CHECKING:
    from config import Config

FIRST_STEP = "Nothing has run yet. Begin with: python run_trader.py start"


def now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


def choose_book(config: Config, wanted: str | None = None) -> str | None:
    """The book that is meant: the one named, the running loop's, or the one written last.

    Returns:
        None if nothing was ever journalled.

    Raises:
        UsageError: if the named one does not exist; tells which do.
    """
    path = config.data_dir / "trader.db"
    books = [info.name for info in list_books(path)]
    if wanted is not None and wanted not in books:
        known = f"Known: {', '.join(books)}." if books else FIRST_STEP
        raise UsageError(f"the journal has no book '{wanted}'", known)
    if wanted is not None or not books:
        return wanted
    state = StateFile(config.data_dir / "state.json", now).read() or {}
    running = str(state.get("book", ""))
    return running if running in books else books[0]


@contextmanager
def open_book(config: Config, book: str) -> Iterator[SqliteJournal]:
    """The book, for reading beside the running bot."""
    with SqliteJournal.reader(config.data_dir / "trader.db", book) as journal:
        yield journal


def mode_of(journal: SqliteJournal, fallback: str) -> str:
    """PAPER or LIVE, as the book's last session was."""
    from trader.domain.events import SessionStarted

    for _, event in journal.backwards(kinds=(SessionStarted,)):
        if isinstance(event, SessionStarted):
            return event.mode
    return fallback
