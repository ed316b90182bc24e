"""The sandbox's account on disk: orders, trades, ledger and its time, in one SQLite file.

Several processes may use one account at once: each call runs in a write transaction of its own,
and whoever finds that another has written loads the account anew.
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from trader.domain.errors import JournalError
from trader.domain.markets import Pair
from trader.simulation.matching import Changes, EngineState
from trader.simulation.orders import LedgerEntry, OrderRecord, TradeRecord
from trader.simulation.path import from_us
from trader.wal import begin_wal

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, seq INTEGER, body TEXT);
CREATE TABLE IF NOT EXISTS trades (number INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS ledger (number INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""
FILE = "account.db"
"""The name of the file in the account's folder."""
_BUSY_SECONDS = 20.0


class AccountStore:
    """The file of one account.

    Args:
        directory: where the file lies; made if it is absent.

    Raises:
        JournalError: if the file is damaged or cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # The file is given back with the last user of the account, who may not say so.
            weakref.finalize(self, self._db.close)
            begin_wal(self._db, _BUSY_SECONDS)
            # Not synced at each commit: a kill loses nothing, a power cut perhaps the last orders
            # of a play account, and the file stays whole.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._damaged(error) from error
        self._seen_version = -1

    def begin(self) -> bool:
        """Start a write transaction; whether another process has written since the last one."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        changed, self._seen_version = version != self._seen_version, version
        return changed

    def load(self) -> EngineState | None:
        """The account as stored, None if there is nothing yet.

        Raises:
            JournalError: if the file is damaged.
        """
        try:
            facts = dict(self._db.execute("SELECT name, value FROM facts").fetchall())
            if "now" not in facts:
                return None
            return EngineState(
                now=int(facts["now"]),
                orders=self._rows(OrderRecord, "SELECT body FROM orders ORDER BY seq"),
                trades=self._rows(TradeRecord, "SELECT body FROM trades ORDER BY number"),
                ledger=self._rows(LedgerEntry, "SELECT body FROM ledger ORDER BY number"),
                used={
                    Pair.parse(name): (start, Decimal(used))
                    for name, (start, used) in json.loads(facts["used"]).items()
                },
            )
        except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def write(self, changes: Changes, now: int, used: Mapping[Pair, tuple[int, Decimal]]) -> None:
        """Store changes inside the transaction."""
        self._db.executemany(
            "INSERT OR REPLACE INTO orders VALUES (?, ?, ?)",
            [(r.id, r.seq, encode(r)) for r in changes.orders],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO trades VALUES (?, ?)",
            [(t.number, encode(t)) for t in changes.trades],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?)",
            [(number, encode(entry)) for number, entry in changes.ledger],
        )
        share = {str(pair): (start, str(amount)) for pair, (start, amount) in used.items()}
        self._db.executemany(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)",
            [("now", str(now)), ("used", json.dumps(share))],
        )

    def commit(self) -> None:
        """End the transaction; it survives the end of this process from here on."""
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._damaged(error) from error

    def rollback(self) -> None:
        """Drop the transaction; the account must be loaded anew."""
        self._db.execute("ROLLBACK")
        self._seen_version = -1

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _rows(self, kind: type[T], query: str) -> tuple[T, ...]:
        return tuple(decode(kind, body) for (body,) in self._db.execute(query))

    def _damaged(self, error: Exception) -> JournalError:
        return JournalError(
            f"the sandbox account {self.path} cannot be used: {error}",
            "Restore it from a backup; to begin anew move it and the journal (trader.db) away.",
        )


def stored_now(directory: Path) -> datetime | None:
    """The moment an account has reached, for the clock that is to go on from there.

    Args:
        directory: of the account; None is returned where there is none.

    Raises:
        JournalError: if the account is damaged.
    """
    if not (directory / FILE).exists():
        return None
    store = AccountStore(directory)
    try:
        state = store.load()
    finally:
        store.close()
    return None if state is None else from_us(state.now)


def encode(record: Any) -> str:
    """A record as JSON; decimals keep every digit."""
    return json.dumps(_plain(record), separators=(",", ":"))


def decode(kind: type[T], text: str) -> T:
    """A record from its JSON.

    Raises:
        ValueError: if the text is not such a record.
    """
    made: T = _typed(kind, json.loads(text))
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, Pair | Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        inner = next(t for t in get_args(kind) if t is not type(None))
        return None if value is None else _typed(inner, value)
    if origin in (list, tuple):
        return origin(value)
    if kind is Pair:
        return Pair.parse(value)
    if kind is Decimal or issubclass(kind, Enum):
        return kind(value)
    if not is_dataclass(kind):
        return value
    make: Any = kind
    hints = _hints(make)
    return make(**{name: _typed(hints[name], item) for name, item in value.items()})
