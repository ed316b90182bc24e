"""One process at a time trades an account."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from trader.domain.errors import RuleError


class AccountLock:
    """A lock on one book of the journal; the system drops it when its process ends, however.

    Args:
        data_dir: the data folder.
        book: the account's book.
    """

    def __init__(self, data_dir: Path, book: str) -> None:
        self._book = book
        self._path = data_dir / "locks" / f"{book}.lock"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(str(self._path))

    def acquire(self, patience_s: float = 0.0) -> None:
        """Take it.

        Args:
            patience_s: how long to wait for another process to give it back.

        Raises:
            RuleError: if another process has it.
        """
        try:
            self._lock.acquire(timeout=patience_s, poll_interval=0.05)
        except Timeout:
            raise RuleError(
                "one-at-a-time",
                f"another process is trading the account {self._book}{self._holder()}",
                "Stop it first (Ctrl-C, or kill), or choose another DATA_DIR.",
            ) from None
        with suppress(OSError):  # only a courtesy to whoever is refused
            self._path.with_suffix(".pid").write_text(str(os.getpid()), encoding="ascii")

    def is_held(self) -> bool:
        """Whether a process, this one included, has it."""
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def _holder(self) -> str:
        try:
            return f" (process {int(self._path.with_suffix('.pid').read_text('ascii'))})"
        except (OSError, ValueError):
            return ""
