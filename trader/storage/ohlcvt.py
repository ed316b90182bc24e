"""Kraken's downloadable archives into the store: CSV, CSV.gz, ZIP or a folder of them.

Candles are `<ALTNAME>_<minutes>.csv`, without a header: `unix seconds,open,high,low,close,volume,
trades`, times rising, candles without a trade absent, small numbers with an exponent. Single
trades are `<ALTNAME>.csv` (`trader.storage.sales`). A file is read in one stream and taken whole
or not at all: the first fault is named with its line. What can be mended without guessing is
mended and told: milliseconds, rows out of order, rows that are there twice, BOM and CRLF.
Source of the format: Kraken support, "Downloadable historical OHLCVT data".
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Gap, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore, Merge
from trader.storage.parquet_candles import COLUMNS

_NAME = re.compile(r"([A-Za-z0-9.]+?)(?:_(\d{1,5}))?\.csv(?:\.gz)?")
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LATEST = 4_102_444_800  # the year 2100: anything later is not in seconds
_EARLIEST_MS = 10**11
_BLOCK = 1 << 23
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of candles or trades, on disk or in an archive.

    Attributes:
        label: its path, for people.
        timeframe: of its candles, None for single trades.
        open: gives its bytes as they are stored, from the beginning.
        size: bytes, unpacked from the archive.
    """

    label: str
    pair: Pair
    timeframe: Timeframe | None
    open: Callable[[], IO[bytes]]
    size: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """What importing one file came to.

    Attributes:
        candles: in the file.
        new: of them, what the store did not have.
        conflicts: candles the store has with other numbers (those stayed).
        gaps: runs of absent candles in the file.
        notes: what a person should know.
        trades: single trades that were read, 0 for a file of candles.
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
    trades: int = 0

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
    timeframes: tuple[Timeframe, ...] = (),
    pair: Pair | None = None,
    timeframe: Timeframe | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ImportReport:
    """Import a CSV, CSV.gz, ZIP or folder; an archive is opened once and read in its order.

    Args:
        store: where the candles go.
        path: the file or folder.
        now: candles that had not closed then are left out.
        pairs: only these pairs; empty means all.
        timeframes: only these timeframes; empty means all, and single trades.
        pair: what a single file holds, where its name does not say it.
        timeframe: its timeframe, where its name does not say it.
        progress: called with the name of each file before it is read.

    Raises:
        HistoryError: if a single file is damaged; the store is then unchanged. In an archive or
            a folder the other files are imported and the damaged ones listed in the report.
        UsageError: if there is nothing to import at the path.
    """
    with opened_members(path, pair=pair, timeframe=timeframe) as (members, skipped):
        report = ImportReport(skipped=skipped)
        wanted = [
            m for m in members
            if (not pairs or m.pair in pairs) and (not timeframes or m.timeframe in timeframes)
        ]  # fmt: skip
        if not wanted:
            raise UsageError(
                f"{path}: nothing to import; expected files named such as XBTUSD_60.csv",
                "For one file of another name give --pair and --timeframe."
                if not members
                else f"There is {_some(sorted({str(m.pair) for m in members}))}.",
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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


@contextlib.contextmanager
def opened_members(
    path: Path, *, pair: Pair | None = None, timeframe: Timeframe | None = None
) -> Iterator[tuple[list[Member], list[str]]]:
    """The files of candles and trades at a path, and the names of what is none.

    Raises:
        UsageError: if the path does not exist.
        HistoryError: if an archive cannot be read.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_dir():
        found = sorted(f for f in path.rglob("*") if f.is_file())
        yield _sort([_on_disk(file) for file in found])
    elif path.suffix.lower() == ".zip":
        with _archive(path) as archive:
            yield _sort(_zip_members(path, archive))
    elif pair and timeframe:
        yield [Member(str(path), pair, timeframe, lambda: path.open("rb"))], []
    else:
        yield _sort([_on_disk(path)])


_Named = tuple[str, str, Callable[[], IO[bytes]], int]


def _on_disk(file: Path) -> _Named:
    return file.name, str(file), lambda: file.open("rb"), file.stat().st_size


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as fault:
        raise HistoryError(
            f"{path}: not a whole ZIP archive ({fault}); nothing was imported",
            "The download may have broken off: get the archive again.",
        ) from fault
    with archive:
        yield archive


def _zip_members(path: Path, archive: zipfile.ZipFile) -> list[_Named]:
    # Archives packed on a Mac carry a shadow of each file.
    return [
        (Path(i.filename).name, f"{path}:{i.filename}", lambda i=i: archive.open(i), i.file_size)  # type: ignore[misc]
        for i in archive.infolist()
        if not i.is_dir() and "__MACOSX" not in i.filename
    ]


def _sort(files: list[_Named]) -> tuple[list[Member], list[str]]:
    members, skipped = [], []
    for name, label, open_, size in files:
        match = _NAME.fullmatch(name)
        try:
            if match is None:
                raise UsageError("not the name of an archive's file")
            step = None if match[2] is None else Timeframe.parse(match[2])
            members.append(Member(label, Pair.parse(match[1]), step, open_, size))
        except UsageError:
            skipped.append(label)
    return members, skipped


def parse_ohlcvt(data: bytes, timeframe: Timeframe, label: str) -> Candles:
    """The candles of one CSV text.

    Raises:
        HistoryError: naming the first faulty line.
    """
    return _candles(_columns_of(io.BytesIO(data), label), timeframe, label)[0]


def _import_member(store: HistoryStore, member: Member, now: datetime) -> Imported:
    if member.timeframe is None:
        from trader.storage.sales import import_sales

        return import_sales(store, member, now)
    with opened(member) as reader:
        columns = _columns_of(reader, member.label, member)
        candles, notes = _candles(columns, member.timeframe, member.label)
        if reader.last_byte not in b"\r\n":
            notes.append(
                "the last line has no line end: if the file was cut off there, its number of "
                "trades is not whole"
            )
        digest = reader.hexdigest()
    closed = candles.known_at(now)
    if len(closed) < len(candles):
        notes.append(f"{len(candles) - len(closed)} candles that have not closed yet left out")
    if not len(closed):
        raise HistoryError(f"{member.label}: no candle in it has closed yet")
    merge = store.merge(member.pair, closed, source_name(member), digest)
    return report_of(member, closed, merge, notes)


def source_name(member: Member) -> str:
    """How the provenance calls a file: by its own name, not by where it lay."""
    return f"import {Path(member.label).name}"


def report_of(
    member: Member, candles: Candles, merge: Merge, notes: list[str], trades: int = 0
) -> Imported:
    """What adding the candles of a file came to."""
    if merge.conflicts:
        first = datetime.fromtimestamp(merge.conflicts[0], UTC)
        notes.append(
            f"{len(merge.conflicts)} candles differ from what was stored, first "
            f"{first:%Y-%m-%d %H:%M}; the stored ones stay"
        )
    return Imported(
        member.label, member.pair, candles.timeframe, len(candles), merge.new,
        len(merge.conflicts), candles.first_opened_at,
        datetime.fromtimestamp(int(candles.opened_at[-1]), UTC), tuple(candles.gaps()),
        tuple(notes), trades,
    )  # fmt: skip


class HashedReader(io.RawIOBase):
    """A file as it is stored, hashed while it is read; unpacked where it is gzip.

    Attributes:
        last_byte: the last of the text so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._digest = hashlib.sha256()
        self._stored = file
        self.last_byte = b"\n"
        head = file.read(2)
        self._digest.update(head)
        self._head = head
        # gzip wants a file whose first bytes are not gone: it reads through `_Tap`.
        self._text: gzip.GzipFile | None = None
        if head == _GZIP:
            tap: Any = _Tap(self)
            self._text = gzip.GzipFile(fileobj=tap, mode="rb")

    def stored(self, size: int) -> bytes:
        """The next bytes as they are stored."""
        data, self._head = self._head[:size], self._head[size:]
        if not data:
            data = self._stored.read(size)
            self._digest.update(data)
        return data

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the text."""
        size = _BLOCK if size is None or size < 0 else size
        data = self.stored(size) if self._text is None else self._text.read(size)
        if data:
            self.last_byte = data[-1:]
        return data

    def readable(self) -> bool:
        """It can be read."""
        return True

    def hexdigest(self) -> str:
        """sha256 of the stored bytes, all of them once the text has been read."""
        while self.stored(_BLOCK):
            pass
        return self._digest.hexdigest()


class _Tap:
    """What gzip reads from."""

    def __init__(self, reader: HashedReader) -> None:
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        return self._reader.stored(_BLOCK if size < 0 else size)


@contextlib.contextmanager
def opened(member: Member) -> Iterator[HashedReader]:
    """A member's text.

    Raises:
        HistoryError: if it cannot be read to its end.
    """
    try:
        with member.open() as file:
            yield HashedReader(file)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise HistoryError(
            f"{member.label}: the gzip data is damaged or cut off in line "
            f"{_readable_lines(member) + 1}; nothing was imported",
            "Get the file again.",
        ) from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as fault:
        raise HistoryError(
            f"{member.label}: cannot be read ({fault}); nothing of it was imported",
            "Get the file again.",
        ) from fault


def _readable_lines(member: Member) -> int:
    """Line ends that can still be read of damaged gzip data."""
    reader, lines = zlib.decompressobj(wbits=31), 0
    with contextlib.suppress(zlib.error, OSError, zipfile.BadZipFile), member.open() as file:
        while data := file.read(4096):
            lines += reader.decompress(data).count(b"\n")
    return lines


def _columns_of(
    reader: IO[bytes] | io.RawIOBase, label: str, member: Member | None = None
) -> list[npt.NDArray[Any]]:
    """The seven columns; a text that is none is read again, slowly, to name its first fault."""
    import pyarrow as pa

    begin = reader.tell() if isinstance(reader, io.BytesIO) else 0
    try:
        return _parsed(reader)
    except pa.ArrowException as fault:
        words = str(fault)
    if member is None:
        reader.seek(begin)
        data = reader.read() or b""
    else:
        with opened(member) as again:
            data = b"".join(iter(lambda: again.read(_BLOCK), b""))
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise HistoryError(f"{label}: the file is empty")
    stripped = data.rstrip(b"\r\n")
    try:
        # Empty lines at the end are no fault.
        return _parsed(io.BytesIO(stripped))
    except pa.ArrowException:
        raise HistoryError(
            f"{label}: {_fault_of(stripped, words)}; nothing was imported"
        ) from None


def _parsed(reader: Any) -> list[npt.NDArray[Any]]:
    import pyarrow as pa
    from pyarrow import csv

    kinds = [pa.int64(), *[pa.float64()] * 5, pa.int64()]
    table = csv.read_csv(
        reader,
        read_options=csv.ReadOptions(column_names=list(COLUMNS), block_size=_BLOCK),
        parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(COLUMNS, kinds, strict=True)), null_values=[]
        ),
    )
    columns = []
    for name in COLUMNS:
        columns.append(table.column(name).to_numpy())
        table = table.drop_columns([name])  # one column at a time is in memory twice
    return columns


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


def _candles(
    columns: list[npt.NDArray[Any]], timeframe: Timeframe, label: str
) -> tuple[Candles, list[str]]:
    """The candles, and what was mended in words."""
    notes: list[str] = []
    if not len(columns[0]):
        raise HistoryError(f"{label}: the file is empty")
    columns[0] = _in_seconds(columns[0], notes)
    faults = sorted(_faults(columns, timeframe))
    if faults:
        line, words = faults[0]
        raise HistoryError(f"{label}: line {line}: {words}; nothing was imported")
    columns = _in_order(columns, label, notes)
    t, o, h, low, c, v, n = columns
    return Candles(timeframe, t, o, h, low, c, v, n, checked=True), notes


def _in_seconds(times: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    """Times of a file in milliseconds, all of whose times are, become seconds."""
    if not ((times >= _EARLIEST_MS) & (times < _LATEST * 1000) & (times % 1000 == 0)).all():
        return times
    notes.append("its times are in milliseconds: read as such")
    return times // 1000


def _in_order(
    columns: list[npt.NDArray[Any]], label: str, notes: list[str]
) -> list[npt.NDArray[Any]]:
    """Rows by time, each once.

    Raises:
        HistoryError: if two rows of one time differ: which is right is not for us to guess.
    """
    times = columns[0]
    if (times[1:] > times[:-1]).all():
        return columns
    back = int((times[1:] < times[:-1]).sum())
    order = np.argsort(times, kind="stable")
    ordered = [column[order] for column in columns]
    twice = np.flatnonzero(ordered[0][1:] == ordered[0][:-1]) + 1
    for column in ordered[1:]:
        differs = column[twice] != column[twice - 1]
        if differs.any():
            place = int(twice[np.argmax(differs)])
            a, b = sorted((int(order[place - 1]) + 1, int(order[place]) + 1))
            raise HistoryError(
                f"{label}: line {b}: its time is that of line {a} (duplicate) with other "
                "numbers; nothing was imported",
                "Remove the one that is wrong.",
            )
    if back:
        notes.append(f"its rows were out of order in {back:,} places: sorted by time")
    if len(twice):
        notes.append(f"{len(twice):,} rows were there twice: taken once")
    return [np.delete(column, twice) for column in ordered]


def _faults(columns: list[npt.NDArray[Any]], timeframe: Timeframe) -> Iterator[tuple[int, str]]:
    """(line, words) of what is no candle, for each rule the first."""
    t, o, h, low, c, v, n = columns
    rules: list[tuple[Callable[[], Any], str]] = [
        (lambda: t < _LATEST, "the time is not in seconds"),
        (lambda: t % timeframe.seconds == 0, f"its time is not a multiple of {timeframe}"),
        (lambda: low <= h, "its high is below its low"),
        (lambda: h >= np.maximum(o, c), "its high is below its open or close"),
        (lambda: low <= np.minimum(o, c), "its low is above its open or close"),
        (lambda: (v >= 0) & np.isfinite(v), "its volume is below zero or no number"),
        (lambda: n >= 0, "its number of trades is below zero"),
    ]
    for name, prices in (("open", o), ("high", h), ("low", low), ("close", c)):
        rules.append(
            (lambda p=prices: np.isfinite(p) & (p > 0), f"its {name} is no price above zero")  # type: ignore[misc]
        )
    for holds, words in rules:
        valid = holds()
        if not valid.all():
            yield int(np.argmin(valid)) + 1, words
