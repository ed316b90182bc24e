"""The leak fuzzer: change the future, demand an unchanged past.

A number that stood beside a candle must not change when later candles are rewritten, dropped,
shuffled or added. Whoever looks ahead, in whatever way, fails that sooner or later: centred
windows, normalisation over the whole history, days used before they end, filling backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

from trader.domain.candles import Candles, FloatArray, IntArray, Timeframe
from trader.domain.errors import UsageError

Columns: TypeAlias = Mapping[str, FloatArray]
Subject: TypeAlias = Callable[[Candles], Columns]
Mutation: TypeAlias = Callable[[Candles, int, np.random.Generator], Candles]

_ROUND = 25
"""Mutations of one history before the next is drawn."""
_SHORTEST, _LONGEST = 120, 420
"""Candles of one history; more where a column warms up for longer, so that it is warm in some."""
_MOST = 3000
"""Candles within which a column must show its first number to be tested for its sake."""
_CUT_FROM = 2


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that knew something of the future.

    Attributes:
        column: its name.
        mutation: what was done to the future.
        known_until: opening of the last candle that was left alone.
        opened_at: opening of the first candle whose value changed.
        candles_ahead: how many candles before the end of the known past that is.
        was: its value before, NaN where there was none.
        became: its value with the other future.
        times: how many of the mutations changed the column.
    """

    column: str
    mutation: str
    known_until: datetime
    opened_at: datetime
    candles_ahead: int
    was: float
    became: float
    times: int = 1

    def __str__(self) -> str:
        change = abs(self.became - self.was)
        size = f"by {change:.6g}" if change == change else "between a number and nothing"
        return (
            f"{self.column}: {self.mutation} after {self.known_until:%Y-%m-%d %H:%M} changed the "
            f"value of {self.opened_at:%Y-%m-%d %H:%M} {size} ({self.was:.6g} -> "
            f"{self.became:.6g}); {self.times} of the mutations did"
        )


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What the fuzzer found.

    Attributes:
        mutations: how many futures were tried.
        columns: how many columns were watched.
        leaks: one per column that leaks, in the order found.
        untested: columns that never showed a number: nothing can be said of them.
    """

    mutations: int
    columns: int
    leaks: tuple[Leak, ...]
    untested: tuple[str, ...] = ()


def find_leaks(
    subject: Subject,
    candles: Candles,
    mutations: int = 1000,
    seed: int = 0,
    progress: Callable[[int], object] = lambda _: None,
) -> LeakReport:
    """Try many futures on a function of candles.

    Args:
        subject: candles in, name → one value per candle out.
        candles: real or drawn candles; histories of 120 to 420 candles are cut out of them, and
            longer ones where a column needs more to warm up.
        mutations: how many futures to try.
        seed: the same seed tries the same futures.
        progress: told how many more were tried.

    Raises:
        UsageError: if the function does not return one value per candle.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Leak] = {}
    tried = 0
    names: tuple[str, ...] = ()
    longest, warm = _longest_for(subject, candles), set[str]()
    while tried < mutations:
        history = _drawn_history(candles, longest, rng)
        names, original = _table(subject, history)
        warm.update(n for n, row in zip(names, original, strict=True) if np.isfinite(row).any())
        trials = min(_ROUND, mutations - tried)
        for kind, cut, future in _futures(history, trials, rng):
            again, changed = _table(subject, future)
            if again != names:
                raise UsageError("the function names other columns when the future changes")
            for leak in _differences(history, names, original, changed, kind, cut):
                _count(found, leak)
        tried += trials
        progress(trials)
    cold = tuple(name for name in names if name not in warm and name not in found)
    return LeakReport(tried, len(names), tuple(found.values()), cold)


def drawn_candles(count: int = 3000, seed: int = 0) -> Candles:
    """A random walk with shadows, jumps and absent candles, for those without a history."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(3, count) * 0.006
    close = 100.0 * np.exp(np.cumsum(steps))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.001, count))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.004, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.004, count)))
    hours = np.cumsum(1 + (rng.random(count) < 0.03) * rng.integers(1, 30, count))
    volume = rng.gamma(0.5, 20.0, count) * (rng.random(count) > 0.02)
    trades = rng.integers(0, 500, count)
    start = 1_577_836_800
    return Candles(Timeframe(3600), start + 3600 * hours, opened, high, low, close, volume, trades)


def _count(found: dict[str, Leak], leak: Leak) -> None:
    first = found.get(leak.column)
    found[leak.column] = leak if first is None else replace(first, times=first.times + 1)


def _longest_for(subject: Subject, candles: Candles) -> int:
    """Candles of the longest history to draw: that the slowest column is warm for a while."""
    _, values = _table(subject, _own(candles[:_MOST]))
    known = np.isfinite(values)
    slowest = int(known.argmax(axis=1).max(initial=0))  # 0 as well for one that never shows any
    return _LONGEST if slowest < _LONGEST - _SHORTEST else slowest + _LONGEST


def _drawn_history(candles: Candles, longest: int, rng: np.random.Generator) -> Candles:
    length = min(len(candles), int(rng.integers(_SHORTEST, longest)))
    start = int(rng.integers(0, len(candles) - length + 1))
    return _own(candles[start : start + length])


def _own(candles: Candles) -> Candles:
    """A copy, so that a subject which peeks past the end of a view finds nothing there."""
    return _with(candles, slice(None))


def _futures(
    history: Candles, trials: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, Candles]]:
    kinds = list(MUTATIONS)
    for _ in range(trials):
        kind = kinds[int(rng.integers(len(kinds)))]
        # Cuts near the end matter most: there a short look ahead meets the change.
        cut = int(rng.integers(_CUT_FROM, len(history) - 1))
        yield kind, cut, MUTATIONS[kind](history, cut, rng)


def _table(subject: Subject, candles: Candles) -> tuple[tuple[str, ...], FloatArray]:
    columns = subject(candles)
    for name, values in columns.items():
        if np.shape(values) != (len(candles),):
            raise UsageError(
                f"'{name}' returned {np.size(values)} values for {len(candles)} candles: return "
                "one per candle, NaN while warming up."
            )
    rows = [np.asarray(v, dtype=np.float64) for v in columns.values()]
    return tuple(columns), np.stack(rows) if rows else np.empty((0, len(candles)))


def _differences(
    history: Candles, names: Sequence[str], original: FloatArray, changed: FloatArray,
    kind: str, cut: int,
) -> Iterator[Leak]:  # fmt: skip
    was, became = original[:, : cut + 1], changed[:, : cut + 1]
    same = (was == became) | (np.isnan(was) & np.isnan(became))
    for row in np.flatnonzero(~same.all(axis=1)).tolist():
        index = int(np.argmin(same[row]))
        yield Leak(
            names[row], kind, _moment(history, cut), _moment(history, index), cut - index,
            float(was[row, index]), float(became[row, index]),
        )  # fmt: skip


def _moment(candles: Candles, index: int) -> datetime:
    return datetime.fromtimestamp(int(candles.opened_at[index]), UTC)


def _with(candles: Candles, keep: slice | IntArray, **columns: Any) -> Candles:
    names = ("opened_at", "open", "high", "low", "close", "volume", "trades")
    chosen: dict[str, Any] = {
        n: np.array(columns.get(n, getattr(candles, n))[keep]) for n in names
    }
    return Candles(candles.timeframe, **chosen)


def _columns(candles: Candles) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume", "trades")
    return {name: np.array(getattr(candles, name)) for name in names}


def _drop(candles: Candles, cut: int, _: np.random.Generator) -> Candles:
    return _with(candles, slice(0, cut + 1))


def _drop_some(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    keep = np.ones(len(candles), dtype=np.bool_)
    keep[cut + 1 :] = rng.random(len(candles) - cut - 1) < 0.5
    return _with(candles, np.flatnonzero(keep))


def _shuffle(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    columns = _columns(candles)
    places = cut + 1 + rng.permutation(len(candles) - cut - 1)
    for values in columns.values():
        values[cut + 1 :] = values[places]
    return _with(candles, slice(None), **columns)


def _rewrite(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    columns, count = _columns(candles), len(candles) - cut - 1
    close = candles.close[cut] * np.exp(np.cumsum(rng.normal(0, 0.03, count)))
    opened = np.concatenate([candles.close[cut : cut + 1], close[:-1]])
    new = {
        "open": opened,
        "close": close,
        "high": np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.01, count))),
        "low": np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.01, count))),
        "volume": rng.gamma(1.0, float(candles.volume.mean()) + 1.0, count),
        "trades": rng.integers(0, 1000, count),
    }
    for name, values in new.items():
        columns[name][cut + 1 :] = values
    return _with(candles, slice(None), **columns)


def _scaled(factor: float) -> Mutation:
    def scale(candles: Candles, cut: int, _: np.random.Generator) -> Candles:
        columns = _columns(candles)
        for name in ("open", "high", "low", "close"):
            columns[name][cut + 1 :] *= factor
        return _with(candles, slice(None), **columns)

    return scale


def _spike(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    columns = _columns(candles)
    place = int(rng.integers(cut + 1, len(candles)))
    columns["high"][place] *= 50.0
    columns["low"][place] /= 50.0
    columns["close"][place] = columns["high"][place] if rng.random() < 0.5 else (
        columns["low"][place]
    )  # fmt: skip
    columns["volume"][place] = columns["volume"][place] * 1000.0 + 1.0
    return _with(candles, slice(None), **columns)


def _next_only(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    columns = _columns(candles)
    factor = float(np.exp(rng.normal(0, 0.05)))
    for name in ("open", "high", "low", "close", "volume"):
        columns[name][cut + 1] *= factor
    return _with(candles, slice(None), **columns)


def _freeze(candles: Candles, cut: int, _: np.random.Generator) -> Candles:
    columns = _columns(candles)
    for name in ("open", "high", "low", "close"):
        columns[name][cut + 1 :] = candles.close[cut]
    columns["volume"][cut + 1 :] = 0.0
    return _with(candles, slice(None), **columns)


def _later(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    times = np.array(candles.opened_at)
    times[cut + 1 :] += candles.timeframe.seconds * int(rng.integers(1, 200))
    return _with(candles, slice(None), opened_at=times)


def _again(candles: Candles, _: int, __: np.random.Generator) -> Candles:
    return _own(candles)


def _append(candles: Candles, _: int, rng: np.random.Generator) -> Candles:
    extra = int(rng.integers(1, 50))
    step = candles.timeframe.seconds
    times = candles.opened_at[-1] + step * np.arange(1, extra + 1)
    more = {name: values[-extra:][::-1] for name, values in _columns(candles).items()}
    return candles.followed_by(Candles(candles.timeframe, times[: len(more["open"])], **more))


MUTATIONS: Mapping[str, Mutation] = {
    "dropping everything": _drop,
    "dropping half of it": _drop_some,
    "shuffling": _shuffle,
    "rewriting": _rewrite,
    "tenfold prices": _scaled(10.0),
    "a tenth of the prices": _scaled(0.1),
    "one wild candle": _spike,
    "another next candle": _next_only,
    "a standstill": _freeze,
    "a pause": _later,
    "more candles": _append,
    "the same candles once more (chance, or a memory of earlier calls)": _again,
}
"""What can happen to a future, by name."""
