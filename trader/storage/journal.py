"""The journal: every event of an account, appended and never changed.

One SQLite file holds several *books*, one for each account (a paper account, a live one, a
replay); they never mix. An event is durable when `append` returns: write-ahead log, one fsync
per append. Readers in other processes never block the writer, nor it them.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trader.domain.errors import JournalError
from trader.domain.events import Event, SessionEnded, SessionStarted, decode, encode
from trader.storage.reserve import Reserve
from trader.wal import begin_wal

APPLICATION_ID = 0x54524A31  # "TRJ1": tells our file from any other SQLite database
_PAGE = 2000


def _first_schema(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE books (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT"
    )
    connection.execute(
        "CREATE TABLE events (book INTEGER NOT NULL REFERENCES books, seq INTEGER NOT NULL,"
        " kind TEXT NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,"
        " PRIMARY KEY (book, seq)) STRICT, WITHOUT ROWID"
    )
    connection.execute("CREATE INDEX events_by_kind ON events (book, kind, seq)")


# Each entry lifts the schema by one version inside one transaction; append, never edit.
MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [_first_schema]


@dataclass(frozen=True, slots=True)
class BookInfo:
    """One book of a journal file.

    Attributes:
        events: how many it holds; also the number of its last event.
        last_at: moment of the last event, None for an empty book.
        session: the last start of the loop, None if there was none.
        ended: the orderly end of that session, None if it still runs or was cut off.
    """

    name: str
    events: int
    last_at: datetime | None
    session: SessionStarted | None
    ended: SessionEnded | None


class _Fingerprint:
    """sha256 over lines, kept up so that each line is read once."""

    def __init__(self) -> None:
        self.seen = 0
        self._hash = hashlib.sha256()

    def add(self, line: str) -> None:
        self._hash.update(line.encode() + b"\n")
        self.seen += 1

    def hex(self) -> str:
        return self._hash.hexdigest()


class MemoryJournal:
    """A journal that lives as long as the process: for backtests and tests."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._fingerprint = _Fingerprint()

    def append(self, event: Event) -> None:
        """Take in one event."""
        self._events.append(event)

    def append_all(self, events: Collection[Event]) -> None:
        """Take in several events as one: all or none."""
        self._events.extend(events)

    def events(
        self, after: int = 0, kinds: Collection[type[Event]] = ()
    ) -> Iterator[tuple[int, Event]]:
        """(number, event) of all events above `after`, in order; only these kinds if given."""
        wanted = tuple(kinds)
        # An index instead of an iterator: events appended meanwhile are seen, none twice.
        position = max(after, 0)
        while position < len(self._events):
            event = self._events[position]
            position += 1
            if not wanted or isinstance(event, wanted):
                yield position, event

    def backwards(self, kinds: Collection[type[Event]] = ()) -> Iterator[tuple[int, Event]]:
        """(number, event), the newest first; only these kinds if given."""
        wanted = tuple(kinds)
        for position in range(len(self._events), 0, -1):
            event = self._events[position - 1]
            if not wanted or isinstance(event, wanted):
                yield position, event

    def digest(self) -> str:
        """sha256 over all encoded events, in hex."""
        for event in self._events[self._fingerprint.seen :]:
            self._fingerprint.add(encode(event))
        return self._fingerprint.hex()

    def __len__(self) -> int:
        return len(self._events)


class SqliteJournal:
    """One book of a journal file.

    Several processes may write to one book; the numbers of its events are 1, 2, 3 … without
    holes. Methods may be called from any thread.

    Args:
        path: the file; made with its folder if absent, unless read-only.
        book: name of the account's book; made on the first append.
        read_only: refuse writing and leave the file untouched.
        busy_timeout_s: how long to wait while another process writes.
        reserve: room that is given back when the disk is full, for the writes that matter then.
        durable: wait for the disk on each append. False is for replays that can be run again: a
            killed process still loses nothing, a power cut may lose the newest events.

    Raises:
        JournalError: if the file cannot be opened, is no journal or is of a newer version.
    """

    def __init__(
        self,
        path: Path,
        book: str,
        *,
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
        durable: bool = True,
        reserve: Reserve | None = None,
    ) -> None:
        self.path = path
        self._reserve = reserve
        self.book = book
        self.read_only = read_only
        self._lock = threading.RLock()
        self._fingerprint = _Fingerprint()
        self._book_id: int | None = None
        with _explained(path):
            self._connection = _connect(path, read_only, busy_timeout_s, durable)
        # The file is given back with the last user of the journal, who may not say so.
        weakref.finalize(self, self._connection.close)
        try:
            with _explained(path):
                _check_version(self._connection, path, read_only)
        except JournalError:
            self._connection.close()
            raise

    @classmethod
    def reader(cls, path: Path, book: str) -> SqliteJournal:
        """A reader beside the writing process; an event is visible once it is durable."""
        return cls(path, book, read_only=True)

    def append(self, event: Event) -> None:
        """Write one event; on return it is on disk.

        Raises:
            JournalError: if it could not be written; then nothing of it is in the journal.
        """
        self.append_all((event,))

    def append_all(self, events: Collection[Event]) -> None:
        """Write several events in one transaction: all are on disk on return, or none is.

        On a full disk the reserve is given back and they are tried once more: what happened at
        the exchange has to be written down before the position can get its stop.

        Raises:
            JournalError: if they could not be written.
        """
        try:
            self._insert(events)
        except JournalError as fault:
            if self._reserve is None or not _no_room(fault) or not self._reserve.release_if_full():
                raise
            self._insert(events)
        if self._reserve is not None:
            self._reserve.renew()

    def _insert(self, events: Collection[Event]) -> None:
        rows = [(type(e).__name__, e.at.isoformat(), encode(e)) for e in events]
        with self._lock, _explained(self.path), self._writing():
            book = self._make_book()
            self._connection.executemany(
                "INSERT INTO events SELECT :book, COALESCE(MAX(seq), 0) + 1, :kind, :at, :body"
                " FROM events WHERE book = :book",
                [{"book": book, "kind": k, "at": at, "body": body} for k, at, body in rows],
            )

    def events(
        self, after: int = 0, kinds: Collection[type[Event]] = ()
    ) -> Iterator[tuple[int, Event]]:
        """(number, event) of all events above `after`, in order; only these kinds if given.

        Reads in pages, so that a slow reader never holds back the writer's log.

        Raises:
            JournalError: if the file cannot be read or a line is damaged (its number is named).
        """
        names = [kind.__name__ for kind in kinds]
        for seq, body in self._lines(after, names):
            yield seq, _decoded(seq, body)

    def backwards(self, kinds: Collection[type[Event]] = ()) -> Iterator[tuple[int, Event]]:
        """(number, event), the newest first; only these kinds if given. Reads in pages."""
        names = [kind.__name__ for kind in kinds]
        before = 2**62
        while page := self._page(f"seq < ?{_only(names)} ORDER BY seq DESC", before, names):
            for seq, body in page:
                yield seq, _decoded(seq, body)
            before = page[-1][0]

    def digest(self) -> str:
        """sha256 over all encoded events, in hex; only events new since the last call are read."""
        with self._lock:
            for _, body in self._lines(self._fingerprint.seen, ()):
                self._fingerprint.add(body)
            return self._fingerprint.hex()

    def __len__(self) -> int:
        with self._lock, _explained(self.path):
            return _count(self._connection, self._find_book())

    def close(self) -> None:
        """Give the file back; safe to call twice."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> SqliteJournal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self.read_only:
            raise JournalError(f"the journal {self.path} was opened for reading only")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # The book may have been made in the transaction that is now undone.
            self._book_id = None
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _find_book(self) -> int:
        """The number of our book, 0 while it does not exist."""
        if self._book_id is None:
            row = self._connection.execute(
                "SELECT id FROM books WHERE name = ?", (self.book,)
            ).fetchone()
            if row is None:
                return 0
            self._book_id = int(row[0])
        return self._book_id

    def _make_book(self) -> int:
        if not self._find_book():
            self._connection.execute("INSERT INTO books (name) VALUES (?)", (self.book,))
        return self._find_book()

    def _lines(self, after: int, names: Collection[str]) -> Iterator[tuple[int, str]]:
        while page := self._page(f"seq > ?{_only(names)} ORDER BY seq", after, names):
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _page(self, which: str, edge: int, names: Collection[str]) -> list[tuple[int, str]]:
        # `which` is made of constants and question marks only.
        query = f"SELECT seq, body FROM events WHERE book = ? AND {which} LIMIT {_PAGE}"  # noqa: S608
        with self._lock, _explained(self.path):
            return self._connection.execute(query, (self._find_book(), edge, *names)).fetchall()


def _only(names: Collection[str]) -> str:
    return f" AND kind IN ({','.join('?' * len(names))})" if names else ""


def list_books(path: Path) -> tuple[BookInfo, ...]:
    """The books of a journal file, the one last written to first; empty if there is no file.

    Raises:
        JournalError: if the file cannot be read or is no journal.
    """
    if not path.exists():
        return ()
    with _explained(path), closing(_connect(path, True, 5.0, True)) as connection:
        _check_version(connection, path, True)
        books = connection.execute("SELECT id, name FROM books ORDER BY id").fetchall()
        infos = [_info(connection, int(number), name) for number, name in books]
    return tuple(
        sorted(infos, key=lambda i: i.last_at.timestamp() if i.last_at else 0.0, reverse=True)
    )


def _info(connection: sqlite3.Connection, book: int, name: str) -> BookInfo:
    last = connection.execute(
        "SELECT at FROM events WHERE book = ? ORDER BY seq DESC LIMIT 1", (book,)
    ).fetchone()
    session = ended = None
    started = _newest(connection, book, "SessionStarted")
    if started:
        session = _decoded(*started)
        end = _newest(connection, book, "SessionEnded")
        if end and end[0] > started[0]:
            ended = _decoded(*end)
    return BookInfo(
        name,
        _count(connection, book),
        datetime.fromisoformat(last[0]) if last else None,
        session if isinstance(session, SessionStarted) else None,
        ended if isinstance(ended, SessionEnded) else None,
    )


def _newest(connection: sqlite3.Connection, book: int, kind: str) -> tuple[int, str] | None:
    row: tuple[int, str] | None = connection.execute(
        "SELECT seq, body FROM events WHERE book = ? AND kind = ? ORDER BY seq DESC LIMIT 1",
        (book, kind),
    ).fetchone()
    return row


def _count(connection: sqlite3.Connection, book: int) -> int:
    row = connection.execute("SELECT MAX(seq) FROM events WHERE book = ?", (book,)).fetchone()
    return int(row[0] or 0)


def _decoded(seq: int, body: str) -> Event:
    try:
        return decode(body)
    except JournalError as fault:
        raise JournalError(
            f"event {seq}: {fault.message}",
            "The journal was changed or damaged, or written by another version. Restore it from "
            "a backup, or move it aside to begin a new one.",
        ) from fault


def _connect(
    path: Path, read_only: bool, busy_timeout_s: float, durable: bool
) -> sqlite3.Connection:
    if read_only and not path.exists():
        raise JournalError(
            f"no journal at {path}", "It is made by the first start: python run_trader.py start"
        )
    if not read_only:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise JournalError(
                f"the folder of the journal {path} cannot be made: {fault.strerror}",
                "Check DATA_DIR and the rights of its folder.",
            ) from fault
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if not read_only:
            begin_wal(connection, busy_timeout_s)
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    """Bring an older schema up to date; refuse what is not ours or is newer."""
    version, tables, mark = _marks(connection)
    if tables and mark != APPLICATION_ID:
        raise JournalError(
            f"{path} is a database, but not a journal of this program",
            "Check DATA_DIR, or move that file aside.",
        )
    if version > len(MIGRATIONS):
        raise JournalError(
            f"the journal {path} is of version {version}; this program knows up to "
            f"{len(MIGRATIONS)}",
            "Use the newer program that wrote it.",
        )
    if version == len(MIGRATIONS):
        return
    if read_only:
        raise JournalError(
            f"the journal {path} is of version {version} and has to be brought to "
            f"{len(MIGRATIONS)} first",
            "Start the bot once: python run_trader.py start",
        )
    _migrate(connection)


def _marks(connection: sqlite3.Connection) -> tuple[int, int, int]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    return int(version), int(tables), int(mark)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another process may have done it meanwhile.
        version, _, _ = _marks(connection)
        for lift in MIGRATIONS[version:]:
            lift(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


_REMEDIES = (
    ("locked", "is locked by another process", "End the program that holds it open for writing."),
    ("busy", "is locked by another process", "End the program that holds it open for writing."),
    ("full", "cannot grow: the disk is full", "Free some space; nothing written so far is lost."),
    ("readonly", "cannot be written", "Check the rights of the file and its folder."),
    ("unable to open", "cannot be opened", "Check DATA_DIR and the rights of its folder."),
    ("malformed", "is damaged", "Restore it from a backup, or move it aside to begin a new one."),
    ("not a database", "is damaged or no journal",
     "Restore it from a backup, or move it aside to begin a new one."),
    ("closed database", "is closed already", "Open it again."),
    ("disk i/o error", "cannot be read or written: the disk reports an error",
     "Check the disk; nothing written so far is lost."),
)  # fmt: skip


def _no_room(fault: JournalError) -> bool:
    """Whether it may be a full disk: SQLite has no other word for a log it cannot make longer."""
    cause = fault.__cause__
    if not isinstance(cause, sqlite3.Error):
        return False
    primary = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line a person can act on."""
    try:
        yield
    except sqlite3.Error as fault:
        text = str(fault).lower()
        for word, meaning, remedy in _REMEDIES:
            if word in text:
                raise JournalError(f"the journal {path} {meaning}", remedy) from fault
        raise JournalError(f"the journal {path}: {fault}", "Check the file and disk.") from fault
