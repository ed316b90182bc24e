"""The heartbeat: what the running loop would say if asked, in one small JSON file a book.

The dashboard and `status` read it; that it is old is how they know that the loop is not running.
Each account has a file of its own, as it has a lock of its own: the beat of one must never be
taken for that of another.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_FOLDER = "state"
_ONCE = "state.json"
"""Where all accounts had their beat once; read for those that have no file of their own yet."""


def state_file(
    data_dir: Path, book: str, now: Callable[[], datetime], pause_s: float = 0.0
) -> StateFile:
    """Where the loop of one account writes its heartbeat: `state/BOOK.json`."""
    return StateFile(data_dir / _FOLDER / f"{book}.json", now, pause_s)


def heartbeats(data_dir: Path, now: Callable[[], datetime]) -> list[StateFile]:
    """The heartbeats in a data folder: of loops that run first, then the newest first."""
    paths = [data_dir / _ONCE, *(data_dir / _FOLDER).glob("*.json")]
    found = [file for path in paths if (file := StateFile(path, now)).read() is not None]

    def order(file: StateFile) -> tuple[bool, float]:
        age = file.age_seconds()
        return not file.is_running(), float("inf") if age is None else age

    return sorted(found, key=order)


def heartbeat_of(
    data_dir: Path, ours: Callable[[str], bool], now: Callable[[], datetime]
) -> StateFile | None:
    """The heartbeat of the loop of an account that is meant, None if it never had one.

    Args:
        data_dir: the data folder.
        ours: whether a book is that of an account that is meant; one without a name always is.
        now: the machine's time.
    """
    return next((f for f in heartbeats(data_dir, now) if not f.book or ours(f.book)), None)


def forget_replays(data_dir: Path, now: Callable[[], datetime]) -> None:
    """Remove the heartbeats of replays that are over: none of their books is used again."""
    for file in heartbeats(data_dir, now):
        state = file.read() or {}
        if file.book.startswith("replay-") and not _alive(state.get("pid")):
            file.remove()


class StateFile:
    """The heartbeat of one loop, replaced as a whole so that no reader ever sees half of it.

    Args:
        path: where it lies.
        now: the machine's time (not a replay's): `SystemClock().now`.
        pause_s: beats that follow the last one sooner are left out, but never the last.
    """

    def __init__(self, path: Path, now: Callable[[], datetime], pause_s: float = 0.0) -> None:
        self._path = path
        self._now = now
        self._pause = timedelta(seconds=pause_s)
        self._written_at: datetime | None = None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state; `beat_at` (the machine's time) and `pid` are added.

        Raises:
            OSError: if it cannot be written.
        """
        now = self._now()
        soon = self._written_at is not None and now - self._written_at < self._pause
        if soon and not state.get("ended"):
            return
        self._written_at = now
        body = {**state, "beat_at": now.isoformat(), "pid": os.getpid()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".state-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(body, file, default=str)
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def read(self) -> dict[str, Any] | None:
        """The last state, None if there is none or it cannot be read."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def book(self) -> str:
        """The account that the last beat was about, empty where it does not say."""
        return str((self.read() or {}).get("book") or "")

    def remove(self) -> None:
        """Away with it; that it is gone already is no error."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def age_seconds(self) -> float | None:
        """Seconds since the last beat; None if there was none."""
        state = self.read()
        if state is None:
            return None
        try:
            return (self._now() - datetime.fromisoformat(str(state["beat_at"]))).total_seconds()
        except (KeyError, ValueError, TypeError):
            return None

    def is_running(self, within_seconds: float = 30.0) -> bool:
        """Whether the loop that wrote it still runs: its process lives and the beat is fresh."""
        state, age = self.read(), self.age_seconds()
        if state is None or age is None or age > within_seconds or state.get("ended"):
            return False
        return _alive(state.get("pid"))


def _alive(pid: object) -> bool:
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
