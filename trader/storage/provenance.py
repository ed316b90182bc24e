"""Where stored candles came from, what that source covers, and what an absent candle means.

A source *covers* a stretch of time: had something been traded in it, the candle would be there.
So an absent candle inside the cover is no trade, or the exchange was down; outside it was never
fetched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trader.domain.candles import Candles, IntArray

AROUND_S = 30 * 86400
DOWN_AT_LEAST_S = 900
IMPROBABLE = 1e-6


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a part of the candles came from. Times are ISO 8601 UTC.

    Attributes:
        source: file, service or program, in words.
        added_at: when it was stored.
        candles: how many candles it added.
        first: opening of the oldest candle it added; empty if it added none.
        last: opening of the newest candle it added; empty if it added none.
        sha256: hash of the file read, empty where there was none.
        exchange: whose market it is.
        covers_from: from here on the source would have told of every trade.
        covers_until: up to here.
        conflicts: candles in it that were there with other numbers; what was there stayed.
        rows_sha256: hash of the stored candles from `first` to `last`.
    """

    source: str
    added_at: str
    candles: int
    first: str
    last: str
    sha256: str = ""
    exchange: str = ""
    covers_from: str = ""
    covers_until: str = ""
    conflicts: int = 0
    rows_sha256: str = ""

    @property
    def cover(self) -> tuple[int, int]:
        """What it covers, [from, until) in Unix seconds."""
        return seconds(self.covers_from), seconds(self.covers_until)


def iso(moment_s: int) -> str:
    """Unix seconds as ISO 8601 UTC."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat()


def seconds(text: str) -> int:
    """ISO 8601 as Unix seconds."""
    return int(datetime.fromisoformat(text).timestamp())


def read_entry(entry: Mapping[str, Any], exchange: str, step: int) -> Provenance:
    """One stored entry; those of the first format cover what they added.

    Raises:
        KeyError, TypeError, ValueError: if it is none.
    """
    found = Provenance(**entry)
    if found.covers_from:
        return found
    until = iso(seconds(found.last) + step)
    return replace(found, exchange=exchange, covers_from=found.first, covers_until=until)


def with_entry(sources: tuple[Provenance, ...], entry: Provenance) -> tuple[Provenance, ...]:
    """The list with one more entry.

    A source without a file that goes on where it ended (a bot that adds candle after candle)
    stays one entry.
    """
    for place in range(len(sources) - 1, -1, -1):
        held = sources[place]
        if held.source == entry.source and not held.sha256 and not entry.sha256:
            if not _touch(held.cover, entry.cover):
                continue
            return (*sources[:place], _joined(held, entry), *sources[place + 1 :])
    return (*sources, entry)


def _touch(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _joined(held: Provenance, entry: Provenance) -> Provenance:
    firsts = [text for text in (held.first, entry.first) if text]
    lasts = [text for text in (held.last, entry.last) if text]
    return replace(
        held,
        added_at=entry.added_at,
        candles=held.candles + entry.candles,
        first=min(firsts, default=""),
        last=max(lasts, default=""),
        covers_from=min(held.covers_from, entry.covers_from),
        covers_until=max(held.covers_until, entry.covers_until),
        conflicts=held.conflicts + entry.conflicts,
    )


def covered(sources: Iterable[Provenance]) -> list[tuple[int, int]]:
    """The stretches covered by any source, [from, until) in Unix seconds, apart and rising."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(entry.cover for entry in sources):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


class Absence(StrEnum):
    """Why a candle is absent."""

    NO_TRADE = "no trade"
    DOWN = "exchange down"
    NOT_FETCHED = "not fetched"


@dataclass(frozen=True, slots=True)
class TypedGap:
    """A run of absent candles of one kind; both ends are openings, Unix seconds."""

    first: int
    last: int
    candles: int
    kind: Absence


def typed_gaps(
    candles: Candles, sources: Iterable[Provenance], others: Sequence[IntArray] = ()
) -> list[TypedGap]:
    """Every run of absent candles between the first and the last, with its kind.

    The exchange is taken to have been down when the silence lasted a quarter of an hour or more
    and would be less likely than one in a million if each stored pair were silent at its own
    rate of the thirty days around. What another pair traded through is never that.

    Args:
        candles: of one pair.
        sources: where they came from.
        others: openings of the same timeframe of the exchange's other pairs.
    """
    covers = covered(sources)
    found: list[TypedGap] = []
    step = candles.timeframe.seconds
    for gap in candles.gaps():
        first, end = int(gap.first.timestamp()), int(gap.last.timestamp()) + step
        for begin, until, known in _split(first, end, covers, step):
            count = (until - begin) // step
            kind = Absence.NOT_FETCHED
            if known:
                down = _improbable(begin, until, step, (candles.opened_at, *others))
                kind = Absence.DOWN if down else Absence.NO_TRADE
            found.append(TypedGap(begin, until - step, count, kind))
    return found


def _split(
    first: int, end: int, covers: list[tuple[int, int]], step: int
) -> list[tuple[int, int, bool]]:
    """[first, end) in parts that are covered or not, on the grid."""
    parts: list[tuple[int, int, bool]] = []
    at = first
    for begin, until in covers:
        begin, until = -(-begin // step) * step, until // step * step
        if until <= at or begin >= end:
            continue
        if begin > at:
            parts.append((at, begin, False))
        stop = min(until, end)
        parts.append((max(at, begin), stop, True))
        at = stop
    return parts if at >= end else [*parts, (at, end, False)]


def _improbable(begin: int, until: int, step: int, series: Sequence[IntArray]) -> bool:
    if until - begin < DOWN_AT_LEAST_S:
        return False
    length = (until - begin) // step
    chance = 0.0
    for opened in series:
        low, first, last, high = np.searchsorted(
            opened, [begin - AROUND_S, begin, until, until + AROUND_S]
        )
        if first == last and low == high:
            continue  # not traded in these months at all
        if last > first:
            return False
        there = int(high - low)
        span_s = min(until + AROUND_S, int(opened[high - 1]) + step) - max(
            begin - AROUND_S, int(opened[low])
        )
        slots = max(there, span_s // step - length)
        rate = (slots - there + 1) / (slots + 1)
        chance += length * float(np.log(rate))
    return chance < math.log(IMPROBABLE)
