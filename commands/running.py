"""Whether a loop runs, and which account it has: what its last heartbeat says."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.clocks import SystemClock
from trader.storage.state_file import StateFile, heartbeat_of, heartbeats

if TYPE_CHECKING:
    from config import Config


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The loop as its last beat tells of it.

    Attributes:
        running: its process lives and has beaten lately.
        state: what it said; empty if there never was a loop.
    """

    running: bool
    state: dict[str, Any]

    @classmethod
    def read(cls, data_dir: Path, ours: Callable[[str], bool]) -> Heartbeat:
        """The newest beat of an account that is meant; never that of another.

        Args:
            data_dir: the data folder.
            ours: whether a book is that of an account that is meant: `of_settings`.
        """
        return cls._of(heartbeat_of(data_dir, ours, SystemClock().now))

    @classmethod
    def all(cls, data_dir: Path) -> list[Heartbeat]:
        """The beats of every account in the folder."""
        return [cls._of(file) for file in heartbeats(data_dir, SystemClock().now)]

    @classmethod
    def _of(cls, file: StateFile | None) -> Heartbeat:
        return cls(False, {}) if file is None else cls(file.is_running(), file.read() or {})

    @property
    def book(self) -> str:
        """The account's book."""
        return str(self.state.get("book") or "")

    @property
    def alive(self) -> bool:
        """Its process exists, although it may hang; another's process of the same number not."""
        return self._process_state() not in "ZX"

    @property
    def frozen(self) -> bool:
        """Its process is halted and cannot obey."""
        return self._process_state() in "Tt"

    def _process_state(self) -> str:
        """The system's letter for it, `X` if it is gone."""
        pid = self.state.get("pid")
        if self.state.get("ended") or not isinstance(pid, int):
            return "X"
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
        except OSError:
            return "X"
        return state if b"start" in words else "X"


def of_settings(config: Config) -> Callable[[str], bool]:
    """Whether a book is that of an account which the settings trade."""
    from venues import is_book_of

    return partial(is_book_of, config)


def same_account(config: Config, beat: Heartbeat) -> Config:
    """The settings with `auto` replaced by the prices of the last run: the same account."""
    feed = beat.state.get("feed")
    if config.sandbox and config.sandbox_feed == "auto" and feed in ("kraken", "simulated"):
        return dataclasses.replace(config, sandbox_feed=str(feed))
    return config


def wait_for(
    data_dir: Path,
    ours: Callable[[str], bool],
    wanted: Callable[[dict[str, Any]], bool],
    patience_s: float,
) -> Heartbeat | None:
    """The first beat of a loop that is meant and is as wanted, None if none came in time."""
    ends = time.monotonic() + patience_s
    while True:
        beat = Heartbeat.read(data_dir, ours)
        if wanted(beat.state):
            return beat
        if time.monotonic() >= ends:
            return None
        time.sleep(0.05)
