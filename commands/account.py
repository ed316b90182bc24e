"""What the reading commands share: the account that ran last, or the one named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trader.domain.errors import UsageError
from trader.storage.journal import SqliteJournal, list_books
from trader.storage.state_file import heartbeats
from venues import is_book_of

if TYPE_CHECKING:
    from config import Config

FIRST_STEP = "Nothing has run yet. Begin with: python run_trader.py start"


def now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


def choose_book(config: Config, wanted: str | None = None) -> str | None:
    """The book that is meant: the one named, the running loop's, or that of the last beat.

    Where several loops run, that of the account which the settings trade.

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
    beats = [file for file in heartbeats(config.data_dir, now) if file.book in books]
    ours = [file for file in beats if is_book_of(config, file.book) and file.is_running()]
    return next((file.book for file in (*ours, *beats)), books[0])


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
