"""What the dashboard knows: the journal's account, the heartbeat, the candles, the log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from trader.domain.account import AccountView
from trader.storage.journal import SqliteJournal, list_books
from trader.storage.state_file import StateFile

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at everything.

    Attributes:
        book: name of the account's book, empty before the first start.
        state: what the loop said at its last beat, empty if it never ran.
        running: whether the loop is alive.
        age_seconds: since the last beat, None if there was none.
    """

    book: str
    view: AccountView
    state: dict[str, Any] = field(default_factory=dict)
    running: bool = False
    age_seconds: float | None = None


class AccountReader:
    """Follows the journal of the account that ran last; safe to use from several threads.

    Args:
        data_dir: where `trader.db` and `state.json` lie.
        now: the machine's time.
    """

    def __init__(self, data_dir: Path, now: Callable[[], datetime]) -> None:
        self._path = data_dir / "trader.db"
        self._state = StateFile(data_dir / "state.json", now)
        self._lock = threading.Lock()
        self._book = ""
        self._journal: SqliteJournal | None = None
        self._view = AccountView()

    def ask(self, question: Callable[[Reading], _Answer]) -> _Answer:
        """The answer to a question about everything as it is now.

        Only events new since the last look are read. The question is answered under a lock,
        because the account it looks at is brought up to date in place.

        Raises:
            JournalError: if the journal is damaged.
        """
        state = self._state.read() or {}
        with self._lock:
            self._follow(str(state.get("book") or ""))
            if self._journal is not None:
                self._view.read(self._journal.events(self._view.seen))
            return question(
                Reading(
                    self._book,
                    self._view,
                    state,
                    self._state.is_running(),
                    self._state.age_seconds(),
                )
            )

    def version(self) -> str:
        """A short text that changes whenever there is something new to show."""
        return self.ask(
            lambda r: (
                f"{r.book}:{r.view.seen}:{r.running}:{r.state.get('cycle')}:{r.state.get('at')}"
            )
        )

    def _follow(self, book: str) -> None:
        if not book:
            books = list_books(self._path)
            book = books[0].name if books else ""
        if not book or not self._path.exists() or (book == self._book and self._journal):
            return
        if self._journal is not None:
            self._journal.close()
        self._journal = SqliteJournal.reader(self._path, book)
        self._book, self._view = book, AccountView()


def tail(folder: Path, limit: int, needle: str = "") -> list[str]:
    """The last lines of the newest day logs that contain a text, oldest first."""
    lines: list[str] = []
    for path in sorted(folder.glob("trading_????-??-??.log"), reverse=True):
        found = [
            line
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if needle.lower() in line.lower()
        ]
        lines = found[-(limit - len(lines)) :] + lines
        if len(lines) >= limit:
            break
    return lines
