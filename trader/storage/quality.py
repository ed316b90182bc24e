"""How good a stored history is: one number, what it is made of, and when it is refused.

    score = 100 * fetched * up^2 * (1 - quiet / 4) * plausible * agreed

`fetched` and `up` are the shares of candles that were fetched and in which the exchange was not
down; `quiet` the share in which nothing was traded; `plausible` falls by twenty times the share of
candles that look like single wrong prints; `agreed` by ten times the share about which sources, or
a coarser and a finer series, disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore, Stored
from trader.storage.parquet_candles import rows_digest
from trader.storage.provenance import Absence, Provenance, TypedGap, covered

REFUSED_ABOVE = 0.10
"""A span of which more than this share was never fetched is not traded or learned on."""
WORTH_TELLING = 3
_BLOCK = 1000
_WILD = 25.0
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of one series.

    Attributes:
        score: 0 to 100.
        wrong: openings of candles that look like single wrong prints, Unix seconds.
        unlike: candles that differ from the aggregate of the finer series.
        changed: sources whose stored rows are no longer those that were stored.
        gaps: every run of absent candles with its reason.
    """

    exchange: str
    stored: Stored
    score: float
    wrong: tuple[int, ...]
    unlike: int
    changed: tuple[str, ...]
    gaps: tuple[TypedGap, ...]


def judge(store: HistoryStore, pair: Pair, timeframe: Timeframe) -> Quality:
    """The quality of a stored series.

    Raises:
        HistoryError: if its file is damaged.
    """
    stored = store.state(pair, timeframe)
    candles = store.raw(pair, timeframe)
    wrong = wrong_prints(candles)
    unlike = _unlike(store, pair, candles)
    changed = tuple(
        entry.source
        for entry in stored.sources
        if entry.rows_sha256 and rows_digest(candles, entry) != entry.rows_sha256
    )
    score = _score(stored, len(wrong), unlike, bool(changed))
    gaps = tuple(store.gaps(pair, timeframe))
    return Quality(store.exchange, stored, score, wrong, unlike, changed, gaps)


def _score(stored: Stored, wrong: int, unlike: int, changed: bool) -> float:
    slots = stored.candles + stored.absent
    shares = {kind: stored.absences[kind] / slots for kind in Absence}
    doubtful = (stored.conflicts + unlike) / max(1, stored.candles)
    score = (
        (1 - shares[Absence.NOT_FETCHED])
        * (1 - shares[Absence.DOWN]) ** 2
        * (1 - shares[Absence.NO_TRADE] / 4)
        * max(0.0, 1 - 20 * wrong / max(1, stored.candles))
        * max(0.0, 1 - 10 * doubtful)
    )
    return 0.0 if changed else round(100 * score, 1)


def wrong_prints(candles: Candles) -> tuple[int, ...]:
    """Openings of candles that look like single wrong prints.

    The close, high or low is off by at least 2 % and 25 times the usual move of the thousand
    candles around, and the next candle is back where the one before was.
    """
    close = candles.close
    if len(close) < 3:
        return ()
    moves = np.abs(np.diff(np.log(close)))
    limit = np.maximum(_WILD * _usual(moves), _LEAST)
    before, after = close[:-2], close[2:]
    level = np.maximum(before, after)
    back = np.abs(np.log(after / before)) < limit[1:] / 4
    off = np.maximum(
        np.abs(np.log(candles.high[1:-1] / level)),
        np.abs(np.log(candles.low[1:-1] / np.minimum(before, after))),
    )
    found = np.flatnonzero(back & (off > limit[1:])) + 1
    return tuple(int(t) for t in candles.opened_at[found])


def _usual(moves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Median move of the block each candle is in."""
    result = np.empty(len(moves))
    for begin in range(0, len(moves), _BLOCK):
        part = moves[begin : begin + _BLOCK]
        result[begin : begin + _BLOCK] = np.median(part)
    return result


def _unlike(store: HistoryStore, pair: Pair, candles: Candles) -> int:
    """Candles that differ from what the next finer stored series adds up to, where both are whole.

    Fewer candles underneath are no difference: the finer series may begin later.
    """
    step = candles.timeframe
    finer = [
        t for p, t in store.pairs() if p == pair and t < step and step.seconds % t.seconds == 0
    ]
    if not finer:
        return 0
    fine = store.raw(pair, max(finer))
    made = fine.resampled(step)
    at = np.searchsorted(candles.opened_at, made.opened_at)
    inside = at < len(candles)
    both = inside.copy()
    both[inside] = candles.opened_at[at[inside]] == made.opened_at[inside]
    at = at[both]
    differs = np.zeros(len(at), dtype=bool)
    for name in ("open", "high", "low", "close", "volume"):
        a, b = getattr(candles, name)[at], getattr(made, name)[both]
        differs |= np.abs(a - b) > 1e-9 * np.abs(a)
    whole = _whole(store.covered(pair, fine.timeframe), candles.opened_at[at], step.seconds)
    return int((differs & whole).sum())


def _whole(
    covers: list[tuple[int, int]], opened: npt.NDArray[np.int64], step: int
) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(opened), dtype=bool)
    for begin, until in covers:
        found |= (opened >= begin) & (opened + step <= until)
    return found


def unfetched(candles: Candles, sources: Iterable[Provenance]) -> int:
    """How many candles between the first and the last were never fetched."""
    step = candles.timeframe.seconds
    times = candles.opened_at
    jumps = np.flatnonzero(np.diff(times) != step)
    begins, ends = times[jumps] + step, times[jumps + 1]
    missing = int((ends - begins).sum())
    for first, until in covered(sources):
        both = np.minimum(ends, until) - np.maximum(begins, first)
        missing -= int(np.maximum(both, 0).sum())
    return max(0, missing // step)


def fit_for_use(
    store: HistoryStore,
    pair: Pair,
    timeframe: Timeframe,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[str]:
    """What a person should know before trading or learning on a span; nothing if it is good.

    The rule: refused when more than a tenth of the span was never fetched; told when anything was
    not, and when sources disagreed about a candle of the pair.

    Raises:
        HistoryError: if the span must not be used, or a file is damaged.
    """
    held = [t for p, t in store.pairs() if p == pair and timeframe.seconds % t.seconds == 0]
    if not held:
        return []
    base = timeframe if timeframe in held else max(held)
    sources = store.sources(pair, base)
    candles = store.raw(pair, base).between(start, end)
    if len(candles) < 2:
        return []
    missing = unfetched(candles, sources)
    slots = int(candles.opened_at[-1] - candles.opened_at[0]) // base.seconds + 1
    words = []
    if missing:
        text = (
            f"{pair} {base}: {missing:,} of {slots:,} candles ({missing / slots:.1%}) between "
            f"{candles.first_opened_at:%Y-%m-%d} and {candles.closed_at:%Y-%m-%d} were never "
            "fetched"
        )
        remedy = f"python run_trader.py history download {pair}, or import an archive"
        if missing > REFUSED_ABOVE * slots:
            raise HistoryError(
                f"{text}: more than a tenth, so results would mean nothing",
                f"Get them: {remedy}. Or choose a span without the hole (history check shows it).",
            )
        if missing >= WORTH_TELLING:
            words.append(f"{text} ({remedy})")
    conflicts = sum(entry.conflicts for entry in sources)
    if conflicts:
        words.append(
            f"{pair} {base}: sources disagree about {conflicts:,} candles; those stored first are "
            "used (history check)"
        )
    return words
