"""Time and sales: files of single trades into candles of every timeframe, in one stream.

Kraken's archive has `<ALTNAME>.csv` with `unix seconds,price,volume`; recordings of its interface
have `unix seconds,price,volume,b or s,l or m,trade id`. Times may have a fraction, of which the
microsecond is kept. The trades themselves are not stored, only what they add up to.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.tape import NS, Bars, Tape, fitting_unit, joined_bars, minute_bars
from trader.storage.flows import FlowStore
from trader.storage.history import HistoryStore, Merge
from trader.storage.ohlcvt import HashedReader, Imported, Member, opened, report_of, source_name

TIMEFRAMES = tuple(Timeframe(60 * m) for m in (1, 5, 15, 30, 60, 240, 1440, 10080))
"""What is made of trades: every timeframe Kraken has, but its 15 days."""

_BLOCK = 1 << 23
_PLAIN = ("time", "price", "volume")
_FULL = (*_PLAIN, "side", "kind", "trade_id")
_MARGIN = 1000.0
_LATEST = 4_102_444_800  # the year 2100: anything later is not in seconds


def import_sales(store: HistoryStore, member: Member, now: datetime) -> Imported:
    """A file of trades into candles.

    Raises:
        HistoryError: if it is damaged; the store is then unchanged.
    """
    parts: list[Bars] = []
    count, newest, unit, oldest = 0, 0, 0.0, 0
    with opened(member) as reader:
        for tape in _tapes(reader, member.label):
            if not count:
                unit, oldest = fitting_unit(float(tape.volume.sum()) * _MARGIN), int(tape.at_ns[0])
            _follow(tape, newest, count, member.label)
            parts.append(minute_bars(tape, unit))
            count, newest = count + len(tape), int(tape.at_ns[-1])
        digest = reader.hexdigest()
    if not count:
        raise HistoryError(f"{member.label}: the file is empty")
    until = min(newest // NS, int(now.timestamp()))
    covers = oldest // NS, until // 60 * 60
    minutes = joined_bars(parts)
    merges = store_bars(store, member, minutes, covers, digest)
    if not merges:
        raise HistoryError(f"{member.label}: its trades fill no minute")
    candles, merge = merges[min(merges)]
    notes = [f"{count:,} trades; candles of {', '.join(map(str, merges))}"]
    return report_of(member, candles, merge, notes, count)


def store_bars(
    store: HistoryStore, member: Member, minutes: Bars, covers: tuple[int, int], digest: str
) -> dict[Timeframe, tuple[Candles, Merge]]:
    """Every timeframe of which the trades fill whole candles."""
    found = {}
    for timeframe in TIMEFRAMES:
        made = minutes.coarser(timeframe)
        whole, span = whole_bars(made, covers)
        if not len(whole.candles):
            continue
        merge = store.merge(member.pair, whole.candles, source_name(member), digest, span)
        FlowStore.beside(store).merge(member.pair, whole.flow)
        found[timeframe] = whole.candles, merge
    return found


def whole_bars(made: Bars, covers: tuple[int, int]) -> tuple[Bars, tuple[int, int]]:
    """The candles that lie in the covered span as a whole, and the span cut to their grid."""
    step = made.candles.timeframe.seconds
    span = -(-covers[0] // step) * step, covers[1] // step * step
    first, last = (int(i) for i in np.searchsorted(made.candles.opened_at, span))
    part = slice(first, max(first, last))
    return Bars(
        made.candles[part], made.unit, made.units[part], made.signed[part],
        made.turnover[part], made.bought[part], made.sided[part],
    ), (span[0], max(span))  # fmt: skip


def _tapes(reader: HashedReader, label: str) -> Iterator[Tape]:
    import pyarrow as pa
    from pyarrow import csv

    text = pa.string()
    kinds = {"side": text, "kind": text, "trade_id": pa.int64()} | dict.fromkeys(
        _PLAIN, pa.float64()
    )
    head = b""
    while b"\n" not in head and (more := reader.read(_BLOCK)):
        head += more
    head = head.removeprefix(b"\xef\xbb\xbf")
    if not head.strip():
        raise HistoryError(f"{label}: the file is empty")
    names = _FULL if head.split(b"\n", 1)[0].count(b",") == len(_FULL) - 1 else _PLAIN
    try:
        with csv.open_csv(
            _Rest(head, reader),
            read_options=csv.ReadOptions(column_names=list(names), block_size=_BLOCK),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=kinds, null_values=[]),
        ) as batches:
            for batch in batches:
                if len(batch):
                    yield _tape(batch)
    except (pa.ArrowException, ValueError) as fault:
        raise HistoryError(
            f"{label}: no file of trades: {str(fault).splitlines()[0]}; nothing was imported",
            "Expected lines such as 1700000000.1234,37000.1,0.05 (then side, kind and id).",
        ) from None


def _tape(batch: Any) -> Tape:
    plain = {n: batch.column(n).to_numpy(zero_copy_only=False) for n in batch.schema.names}
    seconds = np.minimum(plain["time"], 2.0 * _LATEST)  # such that no whole number overflows
    # The whole seconds apart: a float of nanoseconds would not hold the microseconds.
    whole = np.floor(seconds)
    at_ns = whole.astype(np.int64) * NS + np.rint((seconds - whole) * 1e6).astype(np.int64) * 1000
    nothing = np.zeros(len(batch), dtype=np.int64)
    side = plain.get("side", nothing)
    signs = (side == "b").astype(np.int8) - (side == "s").astype(np.int8)
    return Tape(at_ns, plain["price"], plain["volume"], signs, plain.get("trade_id", nothing))


def _follow(tape: Tape, newest: int, before: int, label: str) -> None:
    """Demand that the trades are trades, and go on where the ones before ended."""
    later = np.diff(tape.at_ns, prepend=newest) >= 0
    rules = [
        (later, "is older than the trade above"),
        (np.isfinite(tape.price) & (tape.price > 0), "has no price above zero"),
        (np.isfinite(tape.volume) & (tape.volume >= 0), "has no valid volume"),
        (tape.at_ns < _LATEST * NS, "has a time that is not in seconds"),
    ]
    for valid, words in rules:
        if not valid.all():
            line = before + int(np.argmin(valid)) + 1
            raise HistoryError(f"{label}: line {line} {words}; nothing was imported")


class _Rest:
    """A text whose beginning has been looked at already, as pyarrow reads files."""

    closed = False

    def __init__(self, head: bytes, reader: HashedReader) -> None:
        self._head, self._reader = head, reader

    def read(self, size: int = -1) -> bytes:
        if self._head:
            size = len(self._head) if size < 0 else size
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._reader.read(size)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
