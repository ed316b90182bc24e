"""Candles on disk: one Parquet file per exchange, pair and timeframe.

`<root>/candles/<exchange>/<BASE-QUOTE>/<timeframe>.parquet`. Files are replaced whole, so a
reader sees the old or the new one and needs no lock; writers of one pair take turns. Each file
carries its own provenance: what came from where, when, and the hash of what was read.
Candles that are absent stay absent; where two sources disagree the candle that is there stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "trades")
_PROVENANCE = b"provenance"
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a part of the candles came from.

    Attributes:
        source: file, service or program, in words.
        added_at: when it was stored, ISO 8601 UTC.
        candles: how many candles it added.
        first: opening of the oldest candle it added, ISO 8601 UTC.
        last: opening of the newest candle it added, ISO 8601 UTC.
        sha256: hash of the file read, empty where there was none.
    """

    source: str
    added_at: str
    candles: int
    first: str
    last: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Merge:
    """What adding candles came to.

    Attributes:
        new: candles that were not there.
        same: candles that were there with the same numbers.
        conflicts: openings (Unix seconds) of candles that were there with other numbers; what
            was there stayed.
    """

    new: int
    same: int
    conflicts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The state of one stored series.

    Attributes:
        absent: candles missing between the first and the last.
        gaps: runs of absent candles.
        longest: candles in the longest run.
        longest_first: opening of the first candle missing in it, None without a gap.
    """

    pair: Pair
    timeframe: Timeframe
    first: datetime
    last: datetime
    candles: int
    absent: int
    gaps: int
    longest: int
    longest_first: datetime | None
    without_volume: int
    sources: tuple[Provenance, ...]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class HistoryStore:
    """Closed candles of one exchange under a folder.

    Args:
        root: the data folder; nothing is created before the first write.
        exchange: whose candles these are; candles of different exchanges never meet.
        now: what the provenance records as the time of storing.
    """

    def __init__(
        self, root: Path, exchange: str = "kraken", now: Callable[[], datetime] = _utc_now
    ) -> None:
        if not exchange.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"exchange '{exchange}': expected a name such as kraken")
        self.exchange = exchange.lower()
        self.folder = Path(root) / "candles" / self.exchange
        self._now = now

    def path(self, pair: Pair, timeframe: Timeframe) -> Path:
        """The file of one series."""
        return self.folder / pair.slug / f"{timeframe}.parquet"

    def load(
        self,
        pair: Pair,
        timeframe: Timeframe,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Candles:
        """Candles opening in [start, end); empty if the history lies outside.

        What is stored in this timeframe comes first; candles it lacks are made from the coarsest
        finer timeframe that divides it. A coarse candle is never made while finer candles of its
        interval may still come.

        Raises:
            HistoryError: if nothing usable is stored for the pair, or a file is damaged.
        """
        stored = self._timeframes(pair)
        finer = [t for t in stored if t < timeframe and timeframe.seconds % t.seconds == 0]
        parts = [self._read(pair, timeframe)] if timeframe in stored else []
        if finer:
            parts.append(self._read(pair, max(finer)).resampled(timeframe))
        if not parts:
            raise self._missing(pair, timeframe, stored)
        whole = parts[0] if len(parts) == 1 else _merged(parts[0], parts[1])[0]
        return whole.between(start, end)

    def append(self, pair: Pair, candles: Candles, source: str) -> int:
        """Add what is not there yet; how many candles were new."""
        return self.merge(pair, candles, source).new

    def merge(self, pair: Pair, candles: Candles, source: str, sha256: str = "") -> Merge:
        """Add what is not there yet and say what was; a file without news is not touched.

        Raises:
            HistoryError: if another program holds the lock for a minute, the file there is
                damaged, or the disk refuses.
        """
        if not len(candles):
            return Merge(0, 0, ())
        path = self.path(pair, candles.timeframe)
        with self._writing(path):
            held, sources = _read_file(path) if path.exists() else (None, ())
            before = held if held is not None else Candles.empty(candles.timeframe)
            whole, fresh, conflicts = _merged(before, candles)
            same = len(candles) - len(fresh) - len(conflicts)
            if len(fresh):
                entry = self._provenance(fresh, source, sha256)
                _write_file(path, whole, _with_entry(sources, entry))
        return Merge(len(fresh), same, tuple(int(t) for t in conflicts))

    def pairs(self) -> tuple[tuple[Pair, Timeframe], ...]:
        """What is stored, by name and then timeframe."""
        if not self.folder.is_dir():
            return ()
        names = sorted(f.name for f in self.folder.iterdir() if f.is_dir())
        found = [Pair.parse(name) for name in names]
        return tuple((pair, t) for pair in found for t in self._timeframes(pair))

    def check(self) -> tuple[Stored, ...]:
        """Every stored series with its span, its gaps and its sources.

        Raises:
            HistoryError: if a file is damaged.
        """
        return tuple(self._stored(pair, timeframe) for pair, timeframe in self.pairs())

    def _stored(self, pair: Pair, timeframe: Timeframe) -> Stored:
        candles, sources = _read_file(self.path(pair, timeframe))
        gaps = candles.gaps()
        longest = max(gaps, key=lambda gap: gap.candles, default=None)
        return Stored(
            pair,
            timeframe,
            candles.first_opened_at,
            datetime.fromtimestamp(int(candles.opened_at[-1]), UTC),
            len(candles),
            sum(gap.candles for gap in gaps),
            len(gaps),
            longest.candles if longest else 0,
            longest.first if longest else None,
            int(np.count_nonzero(candles.volume == 0)),
            sources,
        )

    def _read(self, pair: Pair, timeframe: Timeframe) -> Candles:
        return _read_file(self.path(pair, timeframe))[0]

    def _timeframes(self, pair: Pair) -> list[Timeframe]:
        names = (f.stem for f in (self.folder / pair.slug).glob("*.parquet"))
        return sorted(Timeframe.parse(name) for name in names if not name.startswith("."))

    def _provenance(self, fresh: Candles, source: str, sha256: str) -> Provenance:
        last = datetime.fromtimestamp(int(fresh.opened_at[-1]), UTC)
        return Provenance(
            source, self._now().isoformat(timespec="seconds"), len(fresh),
            fresh.first_opened_at.isoformat(), last.isoformat(), sha256,
        )  # fmt: skip

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Hold the pair's lock; what the disk refuses becomes a clear error."""
        from filelock import FileLock, Timeout

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / ".lock", timeout=_LOCK_SECONDS):
                yield
        except Timeout:
            raise HistoryError(
                f"another program has been writing to {path.parent} for a minute",
                "Wait for it to end, then try again.",
            ) from None
        except OSError as fault:
            raise HistoryError(
                f"{path}: could not be written ({fault.strerror or fault}); "
                "what was there before is unchanged"
            ) from fault

    def _missing(self, pair: Pair, timeframe: Timeframe, has: list[Timeframe]) -> HistoryError:
        if has:
            return HistoryError(
                f"no {timeframe} candles of {pair} and none finer to make them from; stored: "
                + ", ".join(map(str, has))
            )
        known = sorted({str(p) for p, _ in self.pairs()})
        there = f"stored: {', '.join(known)}" if known else "the store is empty"
        return HistoryError(
            f"no history of {pair} from {self.exchange}; {there}",
            "Import it: python run_trader.py history import FILE",
        )


def _with_entry(sources: tuple[Provenance, ...], entry: Provenance) -> tuple[Provenance, ...]:
    """The list with one more entry; a running bot that adds candle after candle has one."""
    last = sources[-1] if sources else None
    if last is None or last.sha256 or entry.sha256 or last.source != entry.source:
        return (*sources, entry)
    if entry.first < last.last:
        return (*sources, entry)
    joined = replace(entry, first=last.first, candles=last.candles + entry.candles)
    return (*sources[:-1], joined)


def _merged(held: Candles, newer: Candles) -> tuple[Candles, Candles, np.ndarray[Any, Any]]:
    """(union, what only `newer` has, openings where both differ); what is held stays."""
    at = np.searchsorted(held.opened_at, newer.opened_at)
    there = np.zeros(len(newer), dtype=bool)
    inside = at < len(held)
    there[inside] = held.opened_at[at[inside]] == newer.opened_at[inside]
    differs = np.zeros(int(there.sum()), dtype=bool)
    for old, new in zip(held.columns()[1:], newer.columns()[1:], strict=True):
        differs |= old[at[there]] != new[there]
    conflicts = newer.opened_at[there][differs]
    fresh = _made(newer.timeframe, [column[~there] for column in newer.columns()])
    if not len(fresh):
        return held, fresh, conflicts
    joined = [np.concatenate(both) for both in zip(held.columns(), fresh.columns(), strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return _made(held.timeframe, [column[order] for column in joined]), fresh, conflicts


def _made(timeframe: Timeframe, columns: list[Any], *, checked: bool = True) -> Candles:
    times, open_, high, low, close, volume, trades = columns
    return Candles(timeframe, times, open_, high, low, close, volume, trades, checked=checked)


def _read_file(path: Path) -> tuple[Candles, tuple[Provenance, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not `read_table`: that one imports the dataset layer, and with it pandas (a second).
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=list(COLUMNS), use_threads=False)
        metadata = table.schema.metadata or {}
        sources = tuple(Provenance(**entry) for entry in json.loads(metadata[_PROVENANCE]))
        columns = [_as_numpy(table.column(name)) for name in COLUMNS]
        return _made(Timeframe.parse(path.stem), columns, checked=False), sources
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, HistoryError) as fault:
        raise HistoryError(
            f"{path} is damaged: {str(fault).splitlines()[0]}",
            "Remove the file and import its source again.",
        ) from fault


def _as_numpy(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    """The numbers of a column; Arrow's own `to_numpy` would import pandas (a second)."""
    if column.null_count:
        raise ValueError("a value is missing")
    parts = [np.from_dlpack(chunk) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def _table(candles: Candles, sources: tuple[Provenance, ...]) -> pa.Table:
    import pyarrow as pa

    entries = json.dumps([asdict(entry) for entry in sources])
    arrays = [pa.array(column) for column in candles.columns()]
    return pa.table(arrays, names=list(COLUMNS)).replace_schema_metadata({_PROVENANCE: entries})


def _write_file(path: Path, candles: Candles, sources: tuple[Provenance, ...]) -> None:
    """Replace the file whole: a crash leaves the old one; the name changes last."""
    import pyarrow.parquet as pq

    fresh = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            pq.write_table(
                _table(candles, sources), file, compression="zstd", use_dictionary=False,
                write_page_checksum=True,
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
