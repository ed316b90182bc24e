"""Kraken's OHLCVT files into the store: CSV, CSV.gz, ZIP or a folder of them.

A file is `<ALTNAME>_<minutes>.csv`, without a header: `unix seconds,open,high,low,close,volume,
trades`, times rising, candles without a trade absent, small numbers with an exponent. A file is
taken whole or not at all: the first fault is named with its line.
Source of the format: Kraken support, "Downloadable historical OHLCVT data".
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Gap, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.storage.history import COLUMNS, HistoryStore

_NAME = re.compile(r"([A-Za-z0-9.]+)_(\d{1,5})\.csv(?:\.gz)?")
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LATEST = 4_102_444_800  # the year 2100: anything later is not in seconds


@dataclass(frozen=True, slots=True)
class Member:
    """One OHLCVT file, on disk or in an archive; `read` gives its bytes as they are stored."""

    label: str
    pair: Pair
    timeframe: Timeframe
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Imported:
    """What importing one file came to.

    Attributes:
        candles: in the file.
        new: of them, what the store did not have.
        conflicts: candles the store has with other numbers (those stayed).
        gaps: runs of absent candles in the file.
        notes: what a person should know.
    """

    source: str
    pair: Pair
    timeframe: Timeframe
    candles: int
    new: int
    conflicts: int
    first: datetime
    last: datetime
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()

    @property
    def absent(self) -> int:
        """Absent candles between the first and the last."""
        return sum(gap.candles for gap in self.gaps)


@dataclass(slots=True)
class ImportReport:
    """All files of one import; refused ones with the reason, skipped ones by name."""

    imported: list[Imported] = field(default_factory=list)
    refused: list[HistoryError] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def import_ohlcvt(
    store: HistoryStore,
    path: Path,
    *,
    now: datetime,
    pairs: tuple[Pair, ...] = (),
    pair: Pair | None = None,
    timeframe: Timeframe | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ImportReport:
    """Import a CSV, CSV.gz, ZIP or folder.

    Args:
        store: where the candles go.
        path: the file or folder.
        now: candles that had not closed then are left out.
        pairs: only these pairs; empty means all.
        pair: what a single file holds, where its name does not say it.
        timeframe: its timeframe, where its name does not say it.
        progress: called with the name of each file before it is read.

    Raises:
        HistoryError: if a single file is damaged; the store is then unchanged. In an archive or
            a folder the other files are imported and the damaged ones listed in the report.
        UsageError: if there is nothing to import at the path.
    """
    members, skipped = list_members(path, pair=pair, timeframe=timeframe)
    report = ImportReport(skipped=skipped)
    wanted = [m for m in members if not pairs or m.pair in pairs]
    if not wanted:
        raise UsageError(
            f"{path}: nothing to import; expected files named such as XBTUSD_60.csv",
            "For one file of another name give --pair and --timeframe.",
        )
    for member in wanted:
        progress(member.label)
        try:
            report.imported.append(_import_member(store, member, now))
        except HistoryError as fault:
            if len(members) == 1:
                raise
            report.refused.append(fault)
    return report


def list_members(
    path: Path, *, pair: Pair | None = None, timeframe: Timeframe | None = None
) -> tuple[list[Member], list[str]]:
    """The OHLCVT files at a path, and the names of what is none.

    Raises:
        UsageError: if the path does not exist.
        HistoryError: if an archive cannot be read.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_dir():
        found = sorted(f for f in path.rglob("*") if f.is_file())
        return _sort([(f.name, str(f), f.read_bytes) for f in found])
    if path.suffix.lower() == ".zip":
        return _sort(_zip_members(path))
    if pair and timeframe:
        return [Member(str(path), pair, timeframe, path.read_bytes)], []
    return _sort([(path.name, str(path), path.read_bytes)])


def parse_ohlcvt(data: bytes, timeframe: Timeframe, label: str) -> Candles:
    """The candles of one CSV text.

    Raises:
        HistoryError: naming the first faulty line.
    """
    if not data.strip():
        raise HistoryError(f"{label}: the file is empty")
    columns = _columns(data.removeprefix(b"\xef\xbb\xbf"), label)
    _verify(columns, timeframe, label)
    t, o, h, low, c, v, n = columns
    return Candles(timeframe, t, o, h, low, c, v, n)


def _import_member(store: HistoryStore, member: Member, now: datetime) -> Imported:
    try:
        raw = member.read()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as fault:
        raise HistoryError(f"{member.label}: cannot be read ({fault})") from fault
    data = _unpacked(raw, member.label)
    candles = parse_ohlcvt(data, member.timeframe, member.label)
    notes = []
    if not data.endswith((b"\n", b"\r")):
        notes.append(
            "the last line has no line end: if the file was cut off there, its number of "
            "trades is not whole"
        )
    closed = candles.known_at(now)
    if len(closed) < len(candles):
        notes.append(f"{len(candles) - len(closed)} candles that have not closed yet left out")
    if not len(closed):
        raise HistoryError(f"{member.label}: no candle in it has closed yet")
    digest = hashlib.sha256(raw).hexdigest()
    merge = store.merge(member.pair, closed, f"import {Path(member.label).name}", digest)
    if merge.conflicts:
        first = datetime.fromtimestamp(merge.conflicts[0], UTC)
        notes.append(
            f"{len(merge.conflicts)} candles differ from what was stored, first "
            f"{first:%Y-%m-%d %H:%M}; the stored ones stay"
        )
    return Imported(
        member.label, member.pair, member.timeframe, len(closed), merge.new,
        len(merge.conflicts), closed.first_opened_at,
        datetime.fromtimestamp(int(closed.opened_at[-1]), UTC), tuple(closed.gaps()),
        tuple(notes),
    )  # fmt: skip


def _sort(
    files: list[tuple[str, str, Callable[[], bytes]]],
) -> tuple[list[Member], list[str]]:
    members, skipped = [], []
    for name, label, read in files:
        match = _NAME.fullmatch(name)
        try:
            if match is None:
                raise UsageError("not an OHLCVT name")
            members.append(Member(label, Pair.parse(match[1]), Timeframe.parse(match[2]), read))
        except UsageError:
            skipped.append(label)
    return members, skipped


def _zip_members(path: Path) -> list[tuple[str, str, Callable[[], bytes]]]:
    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with zipfile.ZipFile(path) as archive:
                return archive.read(name)

        return read

    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(i.filename for i in archive.infolist() if not i.is_dir())
    except (zipfile.BadZipFile, OSError) as fault:
        raise HistoryError(f"{path}: not a whole ZIP archive ({fault})") from fault
    # Archives packed on a Mac carry a shadow of each file.
    return [
        (Path(name).name, f"{path}:{name}", reader(name))
        for name in names
        if "__MACOSX" not in name
    ]


def _unpacked(raw: bytes, label: str) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        return gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        lines = _readable(raw).count(b"\n")
        raise HistoryError(
            f"{label}: the gzip data is damaged or cut off in line {lines + 1}; nothing was "
            "imported",
            "Get the file again.",
        ) from None


def _readable(raw: bytes) -> bytes:
    """What can still be read of damaged gzip data."""
    reader, out = zlib.decompressobj(wbits=31), b""
    try:
        for start in range(0, len(raw), 4096):
            out += reader.decompress(raw[start : start + 4096])
    except zlib.error:
        pass
    return out


def _columns(data: bytes, label: str) -> list[npt.NDArray[Any]]:
    import pyarrow as pa
    from pyarrow import csv

    kinds = [pa.int64(), *[pa.float64()] * 5, pa.int64()]
    try:
        table = csv.read_csv(
            pa.BufferReader(data.rstrip(b"\r\n")),
            read_options=csv.ReadOptions(column_names=list(COLUMNS)),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict(zip(COLUMNS, kinds, strict=True)), null_values=[]
            ),
        )
    except pa.ArrowException as fault:
        raise HistoryError(f"{label}: {_fault_of(data, str(fault))}") from None
    return [table.column(name).to_numpy() for name in COLUMNS]


def _fault_of(data: bytes, otherwise: str) -> str:
    """The first line that is no candle, in words; slow, for files that were refused."""
    for number, line in enumerate(data.splitlines(), start=1):
        fields = line.split(b",")
        shown = line[:60].decode("utf-8", "replace")
        if len(fields) != len(COLUMNS):
            hint = " (cut off?)" if len(fields) < len(COLUMNS) else ""
            return f"line {number}: {len(fields)} fields, expected {len(COLUMNS)}{hint}: '{shown}'"
        for name, text in zip(COLUMNS, fields, strict=True):
            whole = name in ("opened_at", "trades")
            if not (text.isdigit() if whole else _NUMBER.fullmatch(text)):
                kind = "whole number" if whole else "number"
                value = text[:30].decode("utf-8", "replace")
                return f"line {number}: '{value}' is no {kind} ({name}): '{shown}'"
    return otherwise.splitlines()[0]


def _verify(columns: list[npt.NDArray[Any]], timeframe: Timeframe, label: str) -> None:
    """Demand of each line what makes it a candle; the earliest faulty line is named."""
    faults = sorted(_faults(columns, timeframe))
    if faults:
        line, words = faults[0]
        raise HistoryError(f"{label}: line {line}: {words}; nothing was imported")


def _faults(columns: list[npt.NDArray[Any]], timeframe: Timeframe) -> Iterator[tuple[int, str]]:
    t, o, h, low, c, v, n = columns
    later = np.concatenate([[True], t[1:] > t[:-1]])
    twice = np.concatenate([[False], t[1:] == t[:-1]])
    body = (np.minimum(o, c), np.maximum(o, c))
    rules = [
        (t < _LATEST, "the time is not in seconds"),
        (later | twice, "its time is before the line above (out of order)"),
        (~twice, "its time is the same as the line above (duplicate)"),
        (t % timeframe.seconds == 0, f"its time is not a multiple of {timeframe}"),
        (low <= h, "its high is below its low"),
        (h >= body[1], "its high is below its open or close"),
        (low <= body[0], "its low is above its open or close"),
        ((v >= 0) & np.isfinite(v), "its volume is below zero or no number"),
        (n >= 0, "its number of trades is below zero"),
    ]
    for name, prices in (("open", o), ("high", h), ("low", low), ("close", c)):
        rules.append((np.isfinite(prices) & (prices > 0), f"its {name} is no price above zero"))
    for valid, words in rules:
        if not valid.all():
            yield int(np.argmin(valid)) + 1, words
