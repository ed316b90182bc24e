"""Nonces that only rise, for one key, in however many processes.

Kraken demands that each private request carry a number above the highest it has seen from the key.
Requests of two processes may overtake each other on the way, so a turn lasts until the answer is
there: whoever holds it is the only one of the key's users with a request under way.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from trader.domain.errors import NonceError


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class NonceSource(Protocol):
    """Hands out one nonce at a time."""

    def turn(self) -> AbstractContextManager[int]:
        """A context in which the given nonce may be used; others wait until it ends."""
        ...


class MemoryNonces:
    """Rising numbers for a key that only this process knows."""

    def __init__(self, unix_ms: Callable[[], int] = _unix_ms) -> None:
        self._unix_ms = unix_ms
        self._last = 0
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[int]:
        """The next nonce; one thread at a time."""
        with self._lock:
            self._last = max(self._last + 1, self._unix_ms())
            yield self._last


class FileNonces:
    """Rising numbers kept in a file, under a lock that all processes of the key share.

    The unit is the millisecond, as in krakenex, so that a key can go from one program to another.
    A crash between two nonces is harmless: the next is never below the present millisecond.

    Args:
        path: the file; its folder is made when needed.
        patience_s: how long to wait for another process's request to end.
        alone_after_s: in an emergency: how long to wait before the holder of the turn counts as
            hung (a process halted in the middle of a request keeps it) and the numbers are taken
            without it. A request of the holder may then be refused; ours come through. None for
            never.

    Raises:
        NonceError: from `turn`, if the lock was not free in time.
    """

    def __init__(
        self,
        path: Path,
        patience_s: float = 60.0,
        unix_ms: Callable[[], int] = _unix_ms,
        alone_after_s: float | None = None,
    ) -> None:
        self._path = path
        self._alone_after_s = alone_after_s
        self._unix_ms = unix_ms
        self._patience_s = patience_s
        self._threads = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(str(path) + ".lock", thread_local=False)

    @classmethod
    def for_key(cls, folder: Path, key: str, alone_after_s: float | None = None) -> FileNonces:
        """The source of a key; the file's name is a hash, so the key is not written anywhere."""
        name = f"nonce-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        return cls(folder / name, alone_after_s=alone_after_s)

    @contextmanager
    def turn(self) -> Iterator[int]:
        """The next nonce; one user of the key at a time."""
        with self._threads:
            held = self._acquire()
            try:
                nonce = max(self._read() + 1, self._unix_ms())
                self._write(nonce)
                yield nonce
            finally:
                if held:
                    self._lock.release()

    def _acquire(self) -> bool:
        """Whether the turn is ours alone."""
        wait = self._patience_s if self._alone_after_s is None else self._alone_after_s
        try:
            self._lock.acquire(timeout=wait, poll_interval=0.002)
        except Timeout:
            if self._alone_after_s is not None:
                self._alone_after_s = 0.0  # hung once is hung: no second wait
                return False
            raise NonceError(
                f"another program has used this Kraken key for {self._patience_s:.0f} s "
                "without a pause",
                f"Stop the other program; if there is none, remove {self._path}.lock.",
            ) from None
        return True

    def _read(self) -> int:
        try:
            text = self._path.read_text("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return 0
        digits = text.strip()
        return int(digits) if digits.isdigit() and len(digits) < 20 else 0

    def _write(self, nonce: int) -> None:
        # Over the former number and never emptied first: a kill in between leaves one of the two.
        # On a full disk the present millisecond has to do: an order to sell must not fail here.
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.pwrite(file, f"{nonce:019d}\n".encode("ascii"), 0)
            finally:
                os.close(file)
