"""Candles on disk: one Parquet file per exchange, pair and timeframe.

`<root>/candles/<exchange>/<BASE-QUOTE>/<timeframe>.parquet`. Files are replaced whole, so a
reader sees the old or the new one and needs no lock; writers of one pair take turns. Each file
carries its own provenance: what came from where, when, the hash of what was read, and which
time the source covers, so that an absent candle is known to be no trade or never fetched.
Candles that are absent stay absent; where two sources disagree the candle that is there stays,
and the disagreement is counted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from trader.domain.candles import Candles, IntArray, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.storage.parquet_candles import (
    made,
    read_candles,
    read_sources,
    with_digests,
    write_candles,
)
from trader.storage.provenance import (
    Absence,
    Provenance,
    TypedGap,
    covered,
    iso,
    typed_gaps,
    with_entry,
)

_LOCK_SECONDS = 60.0
_SAME = 1e-9


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
        absences: kind → how many candles are absent for that reason.
        conflicts: candles about which two sources disagreed.
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
    absences: dict[Absence, int]
    conflicts: int


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

    def has(self, pair: Pair, timeframe: Timeframe) -> bool:
        """Whether something is stored that candles of this length are read or made from."""
        return any(timeframe.seconds % t.seconds == 0 for t in self._timeframes(pair))

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
        if not finer and timeframe not in stored:
            raise self._missing(pair, timeframe, stored)
        span = None if start is None else timeframe.floor(start), end
        parts = [self._read(pair, timeframe, *span)] if timeframe in stored else []
        if finer:
            # One candle beside the span tells whether the coarse ones at its ends are whole.
            fine = self._read(pair, max(finer), *_whole_of(timeframe, *span), beside=1)
            parts.append(fine.resampled(timeframe))
        whole = parts[0] if len(parts) == 1 else merged(parts[0], parts[1])[0]
        return whole.between(start, end)

    def append(self, pair: Pair, candles: Candles, source: str) -> int:
        """Add what is not there yet; how many candles were new."""
        return self.merge(pair, candles, source).new

    def merge(
        self,
        pair: Pair,
        candles: Candles,
        source: str,
        sha256: str = "",
        covers: tuple[int, int] | None = None,
    ) -> Merge:
        """Add what is not there yet and say what was; a file without news is not touched.

        Args:
            pair: the market.
            candles: closed ones.
            source: where they are from, in words.
            sha256: hash of the file they were read from.
            covers: [from, until) in Unix seconds in which the source would have told of every
                trade; by default from the first to the last candle.

        Raises:
            HistoryError: if another program holds the lock for a minute, the file there is
                damaged, or the disk refuses.
        """
        if covers is None and len(candles):
            covers = int(candles.opened_at[0]), int(candles.closed_at_seconds()[-1])
        path = self.path(pair, candles.timeframe)
        if covers is None or (not len(candles) and not path.exists()):
            return Merge(0, 0, ())
        with self._writing(path):
            there = path.exists()
            held = read_candles(path) if there else Candles.empty(candles.timeframe)
            sources = read_sources(path, self.exchange) if there else ()
            whole, fresh, conflicts = merged(held, candles)
            same = len(candles) - len(fresh) - len(conflicts)
            entry = self._provenance(fresh, source, sha256, covers, len(conflicts))
            if len(fresh) or _is_news(sources, entry):
                span = _ends(fresh) if len(fresh) else (0, -1)
                write_candles(path, whole, with_digests(whole, with_entry(sources, entry), *span))
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
        return tuple(self.state(pair, timeframe) for pair, timeframe in self.pairs())

    def sources(self, pair: Pair, timeframe: Timeframe) -> tuple[Provenance, ...]:
        """Where a stored series came from; empty if there is none.

        Raises:
            HistoryError: if the file is damaged.
        """
        path = self.path(pair, timeframe)
        return read_sources(path, self.exchange) if path.exists() else ()

    def covered(self, pair: Pair, timeframe: Timeframe) -> list[tuple[int, int]]:
        """The stretches of time that its sources cover, [from, until) in Unix seconds."""
        return covered(self.sources(pair, timeframe))

    def gaps(self, pair: Pair, timeframe: Timeframe) -> list[TypedGap]:
        """The runs of absent candles of a stored series, with the reason of each.

        Raises:
            HistoryError: if the file is damaged.
        """
        candles = self._read(pair, timeframe)
        return typed_gaps(candles, self.sources(pair, timeframe), self._others(pair, timeframe))

    def state(self, pair: Pair, timeframe: Timeframe) -> Stored:
        """One stored series with its span, its gaps and its sources.

        Raises:
            HistoryError: if the file is damaged.
        """
        candles = self._read(pair, timeframe)
        sources = self.sources(pair, timeframe)
        runs = candles.gaps()
        longest = max(runs, key=lambda gap: gap.candles, default=None)
        absences: Counter[Absence] = Counter()
        for gap in typed_gaps(candles, sources, self._others(pair, timeframe)):
            absences[gap.kind] += gap.candles
        return Stored(
            pair,
            timeframe,
            candles.first_opened_at,
            datetime.fromtimestamp(int(candles.opened_at[-1]), UTC),
            len(candles),
            sum(gap.candles for gap in runs),
            len(runs),
            longest.candles if longest else 0,
            longest.first if longest else None,
            int(np.count_nonzero(candles.volume == 0)),
            sources,
            {kind: absences[kind] for kind in Absence},
            sum(entry.conflicts for entry in sources),
        )

    def raw(self, pair: Pair, timeframe: Timeframe) -> Candles:
        """What is stored in this timeframe itself, nothing made from finer candles.

        Raises:
            HistoryError: if the file is damaged or not there.
        """
        return self._read(pair, timeframe)

    def _others(self, pair: Pair, timeframe: Timeframe) -> list[IntArray]:
        """When the exchange's other pairs traded; a damaged file tells nothing."""
        found = []
        for other, stored in self.pairs():
            if other != pair and stored == timeframe:
                with contextlib.suppress(HistoryError):
                    found.append(self._read(other, timeframe).opened_at)
        return found

    def _read(
        self,
        pair: Pair,
        timeframe: Timeframe,
        start: datetime | None = None,
        end: datetime | None = None,
        beside: int = 0,
    ) -> Candles:
        first, last = (None if t is None else -int(-t.timestamp() // 1) for t in (start, end))
        return read_candles(self.path(pair, timeframe), first, last, beside)

    def _timeframes(self, pair: Pair) -> list[Timeframe]:
        names = (f.stem for f in (self.folder / pair.slug).glob("*.parquet"))
        return sorted(Timeframe.parse(name) for name in names if not name.startswith("."))

    def _provenance(
        self, fresh: Candles, source: str, sha256: str, covers: tuple[int, int], conflicts: int
    ) -> Provenance:
        first, last = (iso(t) for t in _ends(fresh)) if len(fresh) else ("", "")
        return Provenance(
            source, self._now().isoformat(timespec="seconds"), len(fresh), first, last, sha256,
            self.exchange, iso(covers[0]), iso(covers[1]), conflicts,
        )  # fmt: skip

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Hold the pair's lock; what the disk refuses becomes a clear error."""
        with locked(path.parent):
            yield

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
            "Import it: python run_trader.py history import FILE, or fetch it: "
            f"python run_trader.py history download {pair}",
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of the store; what the disk refuses becomes a clear error.

    Raises:
        HistoryError: if another program holds it for a minute, or the disk refuses.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            yield
    except Timeout:
        raise HistoryError(
            f"another program has been writing to {folder} for a minute",
            "Wait for it to end, then try again.",
        ) from None
    except OSError as fault:
        raise HistoryError(
            f"{folder}: could not be written ({fault.strerror or fault}); "
            "what was there before is unchanged"
        ) from fault


def merged(held: Candles, newer: Candles) -> tuple[Candles, Candles, np.ndarray[Any, Any]]:
    """(union, what only `newer` has, openings where both differ); what is held stays.

    Numbers are the same when they agree to a billionth, and a count of trades that one of the
    two does not know (zero) is no difference.
    """
    if not len(newer):
        return held, newer, np.empty(0, dtype=np.int64)
    if not len(held) or newer.opened_at[0] > held.opened_at[-1]:
        return _one_after_the_other(held, newer), newer, np.empty(0, dtype=np.int64)
    at = np.searchsorted(held.opened_at, newer.opened_at)
    there = np.zeros(len(newer), dtype=bool)
    inside = at < len(held)
    there[inside] = held.opened_at[at[inside]] == newer.opened_at[inside]
    conflicts = newer.opened_at[there][_differ(held, newer, at[there], there)]
    fresh = made(newer.timeframe, [column[~there] for column in newer.columns()], checked=True)
    if not len(fresh):
        return held, fresh, conflicts
    joined = [np.concatenate(both) for both in zip(held.columns(), fresh.columns(), strict=True)]
    if len(held) and fresh.opened_at[0] < held.opened_at[-1]:
        order = np.argsort(joined[0], kind="stable")
        joined = [column[order] for column in joined]
    return made(held.timeframe, joined, checked=True), fresh, conflicts


def _one_after_the_other(held: Candles, newer: Candles) -> Candles:
    """The quick way for the usual case, without a second copy of a large import."""
    return held.followed_by(newer) if len(held) else newer


def _differ(held: Candles, newer: Candles, at: IntArray, there: Any) -> Any:
    differs = np.zeros(len(at), dtype=bool)
    for old, new in zip(held.columns()[1:6], newer.columns()[1:6], strict=True):
        a, b = old[at], new[there]
        differs |= np.abs(a - b) > _SAME * np.abs(a)
    a, b = held.trades[at], newer.trades[there]
    return differs | ((a != b) & (a != 0) & (b != 0))


def _is_news(sources: tuple[Provenance, ...], entry: Provenance) -> bool:
    """Whether a source without a new candle tells something all the same."""
    begin, end = entry.cover
    known = any(a <= begin and end <= b for a, b in covered(sources))
    told = any(
        held.source == entry.source and held.sha256 == entry.sha256 and held.conflicts
        for held in sources
    )
    return not known or (entry.conflicts > 0 and not told)


def _ends(candles: Candles) -> tuple[int, int]:
    return int(candles.opened_at[0]), int(candles.opened_at[-1])


def _whole_of(
    timeframe: Timeframe, start: datetime | None, end: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """The span out to whole coarse candles; `start` is at the beginning of one already."""
    if end is None:
        return start, None
    floor = timeframe.floor(end)
    return start, end if floor == end else floor + timeframe.delta
