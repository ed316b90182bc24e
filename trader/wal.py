"""Write-ahead logging for SQLite files that several processes use."""

from __future__ import annotations

import sqlite3
import time

_PAUSE_S = 0.01


def begin_wal(connection: sqlite3.Connection, wait_s: float = 5.0) -> None:
    """Have a file written ahead: readers and the writer then do not hold each other up.

    A new file is switched over by whoever opens it first. SQLite does not wait for that lock as it
    does for others, so that of two processes that make a file at the same moment one would fail.

    Args:
        connection: to the file, no transaction open.
        wait_s: how long to wait for others.

    Raises:
        sqlite3.OperationalError: if the file is locked for longer, or cannot be switched.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as fault:
            if "locked" not in str(fault) or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
