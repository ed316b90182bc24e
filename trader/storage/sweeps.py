"""Finished variants of sweeps on disk, so that a sweep that was killed goes on where it stopped.

A variant's key is made of the data, everything that was set, and the program's sources: whatever
could change its result makes it another variant.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trader.domain.candles import FloatArray
from trader.domain.errors import HistoryError
from trader.wal import begin_wal

_SCHEMA = "CREATE TABLE IF NOT EXISTS variants (key TEXT PRIMARY KEY, row TEXT, returns BLOB)"
_EVERY_S, _QUICK_S = 0.5, 0.05


class SweepStore:
    """Results by key.

    Whatever is wrong with the file, in any of these, is a `HistoryError` that names it.

    Args:
        path: the file; made with its folder.

    Raises:
        HistoryError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = self._newest = 0.0
        with self._sound():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30.0)
            begin_wal(self._db, 30.0)
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are finished."""
        found: set[str] = set()
        for start in range(0, len(keys), 500):
            part = list(keys[start : start + 500])
            marks = ",".join("?" * len(part))
            with self._sound():
                rows = self._db.execute(f"SELECT key FROM variants WHERE key IN ({marks})", part)  # noqa: S608 - only question marks are put in
                found |= {row[0] for row in rows}
        return found

    def put(self, key: str, row: dict[str, Any], returns: FloatArray) -> None:
        """Keep one result; those that come quickly are written together, twice a second.

        Who is killed in between tries these again: `flush` writes what waits.
        """
        now = time.monotonic()
        quick, self._newest = now - self._newest < _QUICK_S, now
        values = key, json.dumps(row), np.ascontiguousarray(returns, dtype="<f8").tobytes()
        with self._sound():
            self._db.execute("INSERT OR REPLACE INTO variants VALUES (?, ?, ?)", values)
        if not quick or now - self._written >= _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._sound():
            self._db.commit()
        self._written = time.monotonic()

    def get(self, key: str) -> tuple[dict[str, Any], FloatArray]:
        """One result: the row and the daily returns.

        Raises:
            KeyError: if it is not there.
        """
        with self._sound():
            found = self._db.execute("SELECT row, returns FROM variants WHERE key = ?", (key,))
            row = found.fetchone()
            if row is not None:
                return json.loads(row[0]), np.frombuffer(row[1], dtype="<f8")
        raise KeyError(key)

    def close(self) -> None:
        """Let go of the file."""
        try:
            self.flush()
        finally:
            self._db.close()

    @contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError) as fault:
            raise HistoryError(
                f"finished variants of sweeps cannot be kept in {self._path} ({fault})",
                "If the disk is neither full nor write-protected, the file is damaged: move it "
                "aside, and its variants are tried again.",
            ) from fault
