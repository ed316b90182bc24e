"""One series of candles as one Parquet file: numbers, and in its metadata where they came from.

Prices are stored byte by byte across rows (byte stream split) and packed with LZ4: a year of
minutes is read in some 25 ms, page checksums included. Row groups let a reader of one year of
ten leave the others closed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.storage.provenance import Provenance, read_entry, seconds

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "trades")
FORMAT = b"2"
ROWS = 1 << 17
_PROVENANCE = b"provenance"
_FORMAT = b"format"
_REAL = "BYTE_STREAM_SPLIT"
_WHOLE = "DELTA_BINARY_PACKED"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The file, open; whatever is wrong with it becomes one clear error.

    Raises:
        HistoryError: if it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not `read_table`: that one imports the dataset layer, and with it pandas (a second).
        with pq.ParquetFile(path, page_checksum_verification=True, memory_map=True) as file:
            yield file
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, HistoryError) as fault:
        raise HistoryError(
            f"{path} is damaged: {str(fault).splitlines()[0]}",
            "Remove the file and import its source again.",
        ) from fault


def read_candles(
    path: Path, start_s: int | None = None, end_s: int | None = None, beside: int = 0
) -> Candles:
    """Candles opening in [start_s, end_s) and so many before and after that are there.

    Raises:
        HistoryError: if the file is damaged.
    """
    with opened(path) as file:
        groups = _groups(file, start_s, end_s, beside)
        table = file.read_row_groups(groups, columns=list(COLUMNS), use_threads=False)
        whole = made(Timeframe.parse(path.stem), [as_numpy(table.column(n)) for n in COLUMNS])
    times = whole.opened_at
    first = 0 if start_s is None else int(times.searchsorted(start_s)) - beside
    last = len(whole) if end_s is None else int(times.searchsorted(end_s)) + beside
    return whole[max(0, first) : last]


def read_sources(path: Path, exchange: str) -> tuple[Provenance, ...]:
    """Where its candles came from.

    Raises:
        HistoryError: if the file is damaged.
    """
    with opened(path) as file:
        entries = json.loads((file.schema_arrow.metadata or {})[_PROVENANCE])
        step = Timeframe.parse(path.stem).seconds
        return tuple(read_entry(entry, exchange, step) for entry in entries)


def write_candles(path: Path, candles: Candles, sources: tuple[Provenance, ...]) -> None:
    """Replace the file whole: a crash leaves the old one; the name changes last."""
    import pyarrow as pa

    entries = json.dumps([asdict(entry) for entry in sources])
    arrays = [pa.array(column) for column in candles.columns()]
    table = pa.table(arrays, names=list(COLUMNS))
    write_table(path, table.replace_schema_metadata({_PROVENANCE: entries, _FORMAT: FORMAT}))


def write_table(path: Path, table: pa.Table) -> None:
    """Any table, whole or not at all; the same table gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encodings = {
        f.name: _REAL if pa.types.is_floating(f.type) else _WHOLE
        for f in table.schema
        if f.type.bit_width > 8
    }
    fresh = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            pq.write_table(
                table, file, compression="lz4", use_dictionary=False, column_encoding=encodings,
                write_page_checksum=True, row_group_size=ROWS,
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


def rows_digest(candles: Candles, entry: Provenance) -> str:
    """sha256 over the stored candles from the first to the last that an entry added."""
    if not entry.first:
        return ""
    first, last = (seconds(text) for text in (entry.first, entry.last))
    a = int(candles.opened_at.searchsorted(first))
    b = int(candles.opened_at.searchsorted(last, side="right"))
    digest = hashlib.sha256()
    for column in candles.columns():
        digest.update(np.ascontiguousarray(column[a:b]).data)
    return digest.hexdigest()


def with_digests(
    candles: Candles, sources: tuple[Provenance, ...], first: int, last: int
) -> tuple[Provenance, ...]:
    """The entries with the hashes of those renewed whose rows changed in [first, last]."""
    return tuple(
        replace(entry, rows_sha256=rows_digest(candles, entry))
        if entry.first and seconds(entry.first) <= last and seconds(entry.last) >= first
        else entry
        for entry in sources
    )


def made(timeframe: Timeframe, columns: list[Any], *, checked: bool = False) -> Candles:
    """Candles from columns in the order of `COLUMNS`."""
    times, open_, high, low, close, volume, trades = columns
    return Candles(timeframe, times, open_, high, low, close, volume, trades, checked=checked)


def as_numpy(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    """The numbers of a column; Arrow's own `to_numpy` would import pandas (a second)."""
    if column.null_count:
        raise ValueError("a value is missing")
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    if not parts:
        return np.empty(0, dtype=_numpy_type(column))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _numpy_type(column: pa.ChunkedArray) -> str:
    return {"double": "float64"}.get(str(column.type), str(column.type))


def _groups(
    file: pq.ParquetFile, start_s: int | None, end_s: int | None, beside: int
) -> list[int]:
    """The row groups that can hold [start_s, end_s), and the ones next to them if asked for."""
    count = file.num_row_groups
    if start_s is None and end_s is None:
        return list(range(count))
    spans = [_span(file, i) for i in range(count)]
    wanted = [
        i for i, (low, high) in enumerate(spans)
        if (start_s is None or high >= start_s) and (end_s is None or low < end_s)
    ]  # fmt: skip
    if beside and not wanted:
        return list(range(count))
    if beside:
        first, last = wanted[0], wanted[-1]
        # Only where the neighbour is not in the groups that are read anyhow.
        if start_s is not None and first and spans[first][0] >= start_s:
            wanted.insert(0, first - 1)
        if end_s is not None and last + 1 < count and spans[last][1] < end_s:
            wanted.append(last + 1)
    return wanted


def _span(file: pq.ParquetFile, group: int) -> tuple[int, int]:
    statistics: Mapping[str, Any] = file.metadata.row_group(group).column(0).statistics.to_dict()
    return int(statistics["min"]), int(statistics["max"])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
