"""What was said of the markets, and from when on it was known: one SQLite file.

A backtest asks what was known at a moment and sees nothing that came later. What is not known,
or is too old, is None, never zero.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.storage.flows import FlowStore
from trader.storage.history import HistoryStore

RECORDED = (
    "book_imbalance", "depth_imbalance", "depth_quote", "spread_bp", "taker_flow", "taker_count",
    "trades_per_minute",
)  # fmt: skip
"""Of a snapshot's sentiment, what can only be known while it happens."""

FEWEST_PAIRS = 3
LOOK_S = 30.0
_HOUR = Timeframe(3600)
_STALE_S = 3 * 3600
_SCHEMA = """
create table if not exists reading (
  name text not null, pair text not null, known_at real not null, published_at real not null,
  until real not null, value real not null, source text not null,
  primary key (name, pair, known_at)
) without rowid
"""


@dataclass(frozen=True, slots=True)
class Said:
    """One number.

    Attributes:
        value: in [-1, 1] if it is a direction, else a plain number.
        known_at: from when on the program could know it.
        published_at: when its source says it was published.
        until: when it is too old to be used.
    """

    value: float
    known_at: datetime
    published_at: datetime
    until: datetime


class SentimentLog:
    """The recorded readings of one exchange's markets, and those that concern all.

    Args:
        root: the data folder; nothing is created before something is recorded.
        exchange: whose markets.
    """

    def __init__(self, root: Path, exchange: str = "kraken") -> None:
        self.path = Path(root) / "sentiment" / f"{exchange}.db"

    def record(self, name: str, pair: Pair | None, said: Said, source: str) -> None:
        """Keep a number; what was recorded for that moment stays.

        Raises:
            HistoryError: if the disk refuses.
        """
        self.record_all([(name, pair, said)], source)

    def record_all(self, rows: list[tuple[str, Pair | None, Said]], source: str) -> None:
        """Keep several numbers at once.

        Raises:
            HistoryError: if the disk refuses.
        """
        if not rows:
            return
        values = [
            (name, "" if pair is None else str(pair), s.known_at.timestamp(),
             s.published_at.timestamp(), s.until.timestamp(), s.value, source)
            for name, pair, s in rows
        ]  # fmt: skip
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as database:
                database.execute(_SCHEMA)
                database.executemany(
                    "insert or ignore into reading values (?, ?, ?, ?, ?, ?, ?)", values
                )
        except (sqlite3.Error, OSError) as fault:
            raise HistoryError(f"{self.path}: not recorded ({fault})") from fault

    def note(
        self, pair: Pair, now: datetime, found: Mapping[str, float | None], lasts: timedelta
    ) -> None:
        """Keep what a snapshot saw of order book and trades; never fails, trading goes before."""
        rows: list[tuple[str, Pair | None, Said]] = [
            (name, pair, Said(value, now, now, now + lasts))
            for name in RECORDED
            if (value := found.get(name)) is not None
        ]
        with contextlib.suppress(HistoryError):
            self.record_all(rows, "seen while running")

    def series(self) -> dict[tuple[str, str], tuple[FloatArray, FloatArray, FloatArray]]:
        """(name, pair or nothing) → (known at, until, value), oldest first, Unix seconds.

        Raises:
            HistoryError: if the file is damaged.
        """
        if not self.path.exists():
            return {}
        try:
            with self._opened() as database:
                rows = database.execute(
                    "select name, pair, known_at, until, value from reading order by 1, 2, 3"
                ).fetchall()
        except sqlite3.Error as fault:
            raise HistoryError(
                f"{self.path} is damaged: {fault}", "Remove the file; it is recorded anew."
            ) from fault
        found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for name, pair, known, until, value in rows:
            found.setdefault((name, pair), []).append((known, until, value))
        return {
            key: tuple(np.array(c) for c in zip(*part, strict=True))  # type: ignore[misc]
            for key, part in found.items()
        }

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=5.0)
        try:
            with database:
                yield database
        finally:
            database.close()


class SentimentHistory:
    """What was known of the mood at a moment: recorded, from stored trades, from stored candles.

    The same for backtest, paper and live. A name of which nothing was ever recorded is left out;
    one that is not known at the moment is None.

    Args:
        store: the candles; log and flows lie beside it.
    """

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._log = SentimentLog(store.folder.parents[1], store.exchange)
        self._flows = FlowStore.beside(store)
        self._looked_at = -math.inf
        self._stamp: float | None = None
        self._series: dict[tuple[str, str], tuple[FloatArray, FloatArray, FloatArray]] = {}
        self._pairs: tuple[Pair, ...] = ()
        self._hours: dict[Pair, tuple[float, Candles]] = {}
        self._flow: dict[Pair, tuple[float, tuple[FloatArray, FloatArray] | None]] = {}

    def at(self, pair: Pair, now: datetime) -> dict[str, float | None]:
        """Name → value at that moment; nothing for what has no history."""
        self._look()
        moment = now.timestamp()
        found = {
            name: _newest(part, moment)
            for (name, of), part in self._series.items()
            if of in ("", str(pair))
        }
        flow = self._flow_of(pair)
        if flow is not None:
            found["trade_flow"] = _in_the_last_hour(*flow, moment)
        among = [p for p in self._pairs if p.quote == pair.quote]
        if len(among) >= FEWEST_PAIRS:
            found["breadth"] = self._breadth(among, int(moment))
        return found

    def _look(self) -> None:
        """See now and then whether there is something new on disk."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        stamp = self._log.path.stat().st_mtime if self._log.path.exists() else None
        if stamp != self._stamp:
            with contextlib.suppress(HistoryError):
                self._series = self._log.series()
            self._stamp = stamp
        # A made-up market grows while it is looked at: its breadth would depend on the second.
        stored = () if self._store.exchange == "simulated" else self._store.pairs()
        self._pairs = tuple(sorted({p for p, t in stored if t <= _HOUR}))
        for pair in self._pairs if len(self._pairs) >= FEWEST_PAIRS else ():
            self._load_hours(pair)

    def _load_hours(self, pair: Pair) -> None:
        folder = self._store.path(pair, _HOUR).parent
        stamp = max(f.stat().st_mtime for f in folder.glob("*.parquet"))
        if pair in self._hours and self._hours[pair][0] == stamp:
            return
        found = Candles.empty(_HOUR)
        with contextlib.suppress(HistoryError):
            found = self._store.load(pair, _HOUR)
        self._hours[pair] = stamp, found

    def _flow_of(self, pair: Pair) -> tuple[FloatArray, FloatArray] | None:
        """(when each hour closed, bought less sold by takers as a share), None without any."""
        held = self._flow.get(pair)
        if held is not None and self._looked_at - held[0] < LOOK_S:
            return held[1]
        path, found = self._flows.path(pair, _HOUR), None
        with contextlib.suppress(HistoryError):
            flow = self._flows.load(pair, _HOUR) if path.exists() else None
            if flow is not None and len(flow):
                candles = self._store.raw(pair, _HOUR)
                at = candles.opened_at.searchsorted(flow.opened_at).clip(max=len(candles) - 1)
                same = (candles.opened_at[at] == flow.opened_at) & (candles.volume[at] > 0)
                volume = np.where(same, candles.volume[at], np.nan)
                closed = (flow.opened_at + _HOUR.seconds).astype(np.float64)
                found = closed, flow.signed_volume / volume
        self._flow[pair] = self._looked_at, found
        return found

    def _breadth(self, pairs: list[Pair], now: int) -> float | None:
        """Risen less fallen over 24 hours, as a share of the stored pairs; None for too few."""
        signs = []
        for pair in pairs:
            ends = [_close_at(self._hours[pair][1], now - back) for back in (0, 86400)]
            if ends[0] is not None and ends[1] is not None:
                signs.append((ends[0] > ends[1]) - (ends[0] < ends[1]))
        return sum(signs) / len(signs) if len(signs) >= FEWEST_PAIRS else None


def _newest(part: tuple[FloatArray, FloatArray, FloatArray], now: float) -> float | None:
    known, until, value = part
    place = int(known.searchsorted(now, side="right")) - 1
    return float(value[place]) if place >= 0 and now < until[place] else None


def _in_the_last_hour(closed: FloatArray, share: FloatArray, now: float) -> float | None:
    place = int(closed.searchsorted(now, side="right")) - 1
    known = place >= 0 and now - closed[place] < _HOUR.seconds and np.isfinite(share[place])
    return float(share[place]) if known else None


def _close_at(candles: Candles, moment: int) -> float | None:
    newest = moment - _HOUR.seconds
    place = int(candles.opened_at.searchsorted(newest, side="right")) - 1
    if place < 0 or newest - int(candles.opened_at[place]) >= _STALE_S:
        return None
    return float(candles.close[place])
