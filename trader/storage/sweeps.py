"""Finished variants of sweeps on disk, so that a sweep that was killed goes on where it stopped.

A variant's key is made of the data, everything that was set, and the program's sources: whatever
could change its result makes it another variant.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
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

    Args:
        path: the file; made with its folder.

    Raises:
        HistoryError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = self._newest = 0.0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30.0)
            begin_wal(self._db, 30.0)
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as fault:
            raise HistoryError(
                f"finished variants in {path} cannot be opened ({fault})", "Move the file aside."
            ) from fault

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that are finished."""
        found: set[str] = set()
        for start in range(0, len(keys), 500):
            part = list(keys[start : start + 500])
            marks = ",".join("?" * len(part))
            rows = self._db.execute(f"SELECT key FROM variants WHERE key IN ({marks})", part)  # noqa: S608 - only question marks are put in
            found |= {row[0] for row in rows}
        return found

    def put(self, key: str, row: dict[str, Any], returns: FloatArray) -> None:
        """Keep one result; those that come quickly are written together, twice a second.

        Who is killed in between tries these again: `flush` writes what waits.
        """
        now = time.monotonic()
        quick, self._newest = now - self._newest < _QUICK_S, now
        blob = np.ascontiguousarray(returns, dtype="<f8").tobytes()
        self._db.execute(
            "INSERT OR REPLACE INTO variants VALUES (?, ?, ?)", (key, json.dumps(row), blob)
        )
        if not quick or now - self._written >= _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        self._db.commit()
        self._written = time.monotonic()

    def get(self, key: str) -> tuple[dict[str, Any], FloatArray]:
        """One result: the row and the daily returns.

        Raises:
            KeyError: if it is not there.
        """
        found = self._db.execute("SELECT row, returns FROM variants WHERE key = ?", (key,))
        row = found.fetchone()
        if row is None:
            raise KeyError(key)
        return json.loads(row[0]), np.frombuffer(row[1], dtype="<f8")

    def close(self) -> None:
        """Let go of the file."""
        self.flush()
        self._db.close()
