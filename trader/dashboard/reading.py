"""What the dashboard knows: the journal's account, the heartbeat, the candles, the log."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from trader.domain.account import AccountView
from trader.domain.errors import TraderError
from trader.domain.events import (
    EVENT_TYPES,
    Event,
    ForecastMade,
    ForecastScored,
    ModelAdopted,
    ModelCompared,
    ModelDoubted,
    ModelTrusted,
    SignalMade,
    TradeApproved,
    TradeRefused,
)
from trader.storage.journal import SqliteJournal, list_books
from trader.storage.state_file import StateFile, heartbeats

_Answer = TypeVar("_Answer")

REST_S = 0.25
"""Journal and heartbeat are looked at this often at most, however many pages are open."""
MUCH = 20_000
"""So many unread events are read beside the requests, which are told to come back."""
_PIECE = 2_000
_TALK = (SignalMade, TradeApproved, TradeRefused)
_FORECASTS = (ForecastMade, ForecastScored)
_FACTS = tuple(kind for kind in EVENT_TYPES.values() if kind not in (*_TALK, *_FORECASTS))
_LONGEST_TAIL = 4_000_000


class StillReading(TraderError):
    """The journal is long and is being read; ask again in a moment."""

    category: ClassVar[str] = "reading"
    retryable: ClassVar[bool] = True


class NotThere(TraderError):
    """What was asked for does not exist (yet)."""

    category: ClassVar[str] = "not_there"


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at everything.

    Attributes:
        book: name of the account's book, empty before the first start.
        state: what the loop said at its last beat, empty if it never ran.
        running: whether the loop is alive.
        age_seconds: since the last beat, None if there was none.
        journal: where the account's events are, None before the first start.
        adoptions: every change of model and every comparison, oldest first.
        doubts: model → why the live record speaks against it.
    """

    book: str
    view: AccountView
    state: dict[str, Any] = field(default_factory=dict)
    running: bool = False
    age_seconds: float | None = None
    journal: SqliteJournal | None = None
    adoptions: tuple[ModelAdopted | ModelCompared, ...] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """A short text that changes whenever there is something new to show."""
        return (
            f"{self.book}:{self.view.seen}:{self.running}:{self.state.get('cycle')}:"
            f"{self.state.get('at')}"
        )


@dataclass(slots=True)
class _ModelNews:
    """Changes and doubts of models, from their events."""

    changes: list[ModelAdopted | ModelCompared] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        match event:
            case ModelAdopted() | ModelCompared():
                self.changes.append(event)
            case ModelDoubted(model_id=model, reason=reason):
                self.doubts[model] = reason
            case ModelTrusted(model_id=model):
                self.doubts.pop(model, None)


class AccountReader:
    """Follows the journal of the account that ran last; safe to use from several threads.

    Args:
        data_dir: where `trader.db` and the heartbeats lie.
        now: the machine's time.
        ours: whether a book is that of the account to follow where several bots run.
    """

    def __init__(
        self,
        data_dir: Path,
        now: Callable[[], datetime],
        ours: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._path = data_dir / "trader.db"
        self._data_dir = data_dir
        self._now = now
        self._ours = ours
        self._lock = threading.Lock()
        self._book = ""
        self._journal: SqliteJournal | None = None
        self._view = AccountView()
        self._models = _ModelNews()
        self._reading: Reading | None = None
        self._looked_at = 0.0
        self._catching_up: threading.Thread | None = None
        self._progress = 0.0

    def ask(self, question: Callable[[Reading], _Answer]) -> _Answer:
        """The answer to a question about everything as it is now.

        Only events new since the last look are read. The question is answered under a lock,
        because the account it looks at is brought up to date in place.

        Raises:
            JournalError: if the journal is damaged.
            StillReading: while a long journal is read for the first time.
        """
        with self._lock:
            return question(self._look())

    def version(self) -> str:
        """A short text that changes whenever there is something new to show."""
        try:
            return self.ask(lambda reading: reading.version)
        except StillReading as fault:
            return fault.message

    def forget(self) -> None:
        """Look again at the next question: something was just changed from here."""
        with self._lock:
            self._looked_at = 0.0

    def _look(self) -> Reading:
        now = time.monotonic()
        if self._reading is not None and now - self._looked_at < REST_S:
            return self._reading
        beat = self._beat()
        state = {} if beat is None else beat.read() or {}
        self._follow(str(state.get("book") or ""))
        self._catch_up()
        self._looked_at = now
        self._reading = Reading(
            self._book, self._view, state, beat is not None and beat.is_running(),
            None if beat is None else beat.age_seconds(),
            self._journal, tuple(self._models.changes), self._models.doubts,
        )  # fmt: skip
        return self._reading

    def _beat(self) -> StateFile | None:
        """The heartbeat to go by: of loops that run ours first, else the one followed already."""
        beats = heartbeats(self._data_dir, self._now)
        running = [beat for beat in beats if beat.is_running()]
        ours = [beat for beat in running if self._ours(beat.book)]
        followed = [beat for beat in ours or running if beat.book == self._book]
        return next(iter((*followed, *ours, *beats)), None)

    def _follow(self, book: str) -> None:
        if not book:
            books = list_books(self._path)
            book = books[0].name if books else ""
        if not book or not self._path.exists() or (book == self._book and self._journal):
            return
        if self._journal is not None:
            self._journal.close()
        self._journal = SqliteJournal.reader(self._path, book)
        self._book, self._view, self._models = book, AccountView(), _ModelNews()

    def _catch_up(self) -> None:
        journal = self._journal
        if journal is None:
            return
        if self._catching_up is not None:
            raise StillReading(f"the journal is being read: {self._progress:.0%}")
        end = len(journal)
        if end - self._view.seen <= MUCH:
            for number, event in journal.events(self._view.seen):
                self._take(self._view, number, event)
            return
        self._catching_up = threading.Thread(
            target=self._read_long, args=(journal, end), name="journal", daemon=True
        )
        self._catching_up.start()
        raise StillReading("the journal is being read: 0%")

    def _take(self, view: AccountView, number: int, event: Any) -> None:
        if number > view.seen:
            view.apply(event)
            view.seen = number
            self._models.take(event)

    def _read_long(self, journal: SqliteJournal, end: int) -> None:
        """Read a long journal without holding up the requests.

        Decisions are most of its lines and only the newest are shown: of the others the facts
        (orders, fills, marks) alone are read.
        """
        view = AccountView()
        models = _ModelNews()
        try:
            for count, (number, event) in enumerate(journal.events(0, kinds=_FACTS)):
                if number > end:
                    break
                view.apply(event)
                models.take(event)
                if count % _PIECE == 0:
                    self._progress = number / end
                    time.sleep(0)
            for event in _newest_talk(journal, end, view.keep):
                view.apply(event)
            view.seen = end
            with self._lock:
                if journal is self._journal:
                    self._view, self._models = view, models
        except TraderError:
            return  # a journal that is damaged or was closed says so at the next question
        finally:
            with self._lock:
                self._catching_up = None


def _newest_talk(journal: SqliteJournal, end: int, signals: int) -> deque[Any]:
    """The newest decisions and verdicts, oldest first."""
    found: deque[Any] = deque()
    left = signals
    for number, event in journal.backwards(kinds=_TALK):
        if number > end:
            continue
        found.appendleft(event)
        left -= isinstance(event, SignalMade)
        if not left:
            break
    return found


def tail(folder: Path, limit: int, needle: str = "", level: str = "") -> list[str]:
    """The last lines of the newest day logs that contain a text, oldest first.

    Args:
        folder: where the logs lie.
        limit: how many lines at most.
        needle: only lines that contain it, case ignored.
        level: only lines of this level (`WARNING`, `ERROR` …).
    """
    wanted, mark = needle.lower(), f" {level} " if level else ""
    lines: list[str] = []
    for path in sorted(folder.glob("trading_????-??-??.log"), reverse=True):
        found = [line for line in _end_of(path) if wanted in line.lower() and mark in line[:32]]
        lines = found[-(limit - len(lines)) :] + lines
        if len(lines) >= limit:
            break
    return lines


def _end_of(path: Path) -> list[str]:
    """The lines of a file, of a very long one only the end."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_TAIL))
        text = file.read().decode("utf-8", errors="replace")
    lines = text.splitlines()
    return lines[1:] if size > _LONGEST_TAIL else lines
