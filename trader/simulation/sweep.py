"""What a sweep tries and what to make of it: grids, ranges, neighbourhoods, plateaus. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

import numpy as np

from trader.domain.errors import UsageError

Values: TypeAlias = tuple[tuple[str, str], ...]
"""One combination: (name, value) for each swept name."""

MOST = 20_000
NEAREST = 5
"""Neighbours in a tuned space: a trial is judged with so many around it."""


@dataclass(frozen=True, slots=True)
class Range:
    """A span of numbers to be tuned over, both ends included.

    Attributes:
        step: values lie on a grid of it from the low end on; 0 for any number between.
    """

    low: Decimal
    high: Decimal
    step: Decimal = Decimal(0)


Space: TypeAlias = Mapping[str, tuple[str, ...] | Range]


def space_of(texts: Sequence[str], *, tuned: bool) -> Space:
    """What each `--sweep` names, to be tuned over or tried as a whole grid.

    Raises:
        UsageError: as `read_space` and `read_sweeps`.
    """
    return read_space(texts) if tuned else read_sweeps(texts)


def read_sweeps(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`NAME=V1,V2` of each `--sweep`, names in capitals as in the settings.

    Raises:
        UsageError: if one is written otherwise, comes twice, or the combinations are too many.
    """
    sweeps: dict[str, tuple[str, ...]] = {}
    for name, words in _named(texts):
        if ".." in words:
            raise UsageError(
                f"--sweep {name}={words}: a range needs --tune", "Or write the values: 1,2,3."
            )
        sweeps[name] = _listed(name, words)
    count = math.prod(len(values) for values in sweeps.values())
    if count > MOST:
        raise UsageError(
            f"{count:,} combinations: at most {MOST:,} at a time",
            "Try fewer values, or let --tune N choose among them.",
        )
    return sweeps


def read_space(texts: Sequence[str]) -> dict[str, tuple[str, ...] | Range]:
    """`NAME=V1,V2`, `NAME=LOW..HIGH` or `NAME=LOW..HIGH:STEP` of each `--sweep`, for tuning.

    Raises:
        UsageError: if one is written otherwise or comes twice.
    """
    return {
        name: _range(name, words) if ".." in words else _listed(name, words)
        for name, words in _named(texts)
    }


def _named(texts: Sequence[str]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for text in texts:
        name, sign, words = text.partition("=")
        name = name.strip().upper()
        if not sign or not name or not words.strip():
            raise UsageError(
                f"--sweep {text}: expected NAME=V1,V2", "Such as STOP_ATR_MULTIPLE=2,3,4."
            )
        if name in found:
            raise UsageError(f"--sweep {text}: something comes twice")
        found[name] = words
    return list(found.items())


def _listed(name: str, words: str) -> tuple[str, ...]:
    """The values in an order of their own, so that it does not matter how they were written."""
    parts = sorted((v.strip() for v in words.split(",") if v.strip()), key=_rank)
    if not parts or len({_rank(part)[:2] for part in parts}) < len(parts):
        raise UsageError(
            f"--sweep {name}={words}: something comes twice" if parts else
            f"--sweep {name}={words}: expected values", "Such as STOP_ATR_MULTIPLE=2,3,4."
        )  # fmt: skip
    return tuple(parts)


def number_of(text: str) -> Decimal | None:
    """The number a value is; None for a name."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _rank(text: str) -> tuple[Decimal, str, str]:
    """Numbers in their order, then names by the alphabet; 2 and 2.0 differ in the last part."""
    number = number_of(text)
    return (Decimal("Infinity"), text, text) if number is None else (number, "", text)


def has_neighbours(axis: tuple[str, ...] | Range) -> bool:
    """Whether the values lie on a line: several numbers do, names such as strategies do not."""
    if isinstance(axis, Range):
        return True
    return len(axis) > 1 and all(number_of(value) is not None for value in axis)


def _range(name: str, words: str) -> Range:
    span, _, step = words.partition(":")
    low, _, high = span.partition("..")
    try:
        found = Range(Decimal(low), Decimal(high), Decimal(step or 0))
    except InvalidOperation:
        found = Range(Decimal(0), Decimal(0))
    bounds = (found.low, found.high, found.step)
    if not all(b.is_finite() for b in bounds) or not found.low < found.high or found.step < 0:
        raise UsageError(
            f"--sweep {name}={words}: expected LOW..HIGH or LOW..HIGH:STEP", "Such as 1..6:0.5."
        )
    return found


def combinations(sweeps: Mapping[str, tuple[str, ...]]) -> list[Values]:
    """The whole grid, the last name changing fastest."""
    return [
        tuple(zip(sweeps, chosen, strict=True)) for chosen in itertools.product(*sweeps.values())
    ]


def smoothed(
    tried: Sequence[Values], space: Space, scores: Sequence[float], *, grid: bool
) -> list[float]:
    """Each variant's score together with its neighbours': a plateau counts, not a peak.

    In a grid the neighbours are one step away in one number; in a tuned space they are the
    nearest variants, with each number scaled to its own span. Values that are names have no
    neighbours: variants of another strategy say nothing of this one.
    """
    if not grid:
        return _by_nearness(tried, space, scores)
    score = dict(zip(tried, scores, strict=True))
    beside = {name: _beside(axis) for name, axis in space.items() if isinstance(axis, tuple)}
    means = []
    for values in tried:
        near = [values]
        for axis, (name, value) in enumerate(values):
            near += [(*values[:axis], (name, v), *values[axis + 1 :]) for v in beside[name][value]]
        found = [score[n] for n in near if n in score]
        means.append(math.fsum(found) / len(found))  # exact: the order of the names is no matter
    return means


def _beside(axis: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Value → those one step away."""
    if not has_neighbours(axis):
        return dict.fromkeys(axis, ())
    line = sorted(axis, key=_rank)
    return {v: tuple(line[max(0, i - 1) : i] + line[i + 1 : i + 2]) for i, v in enumerate(line)}


def most_promising(tried: Sequence[Values], scores: Sequence[float]) -> int:
    """Place of the highest score; of equal ones that of the smallest values, tried when ever."""
    ranks = [sorted((name, _rank(value)) for name, value in values) for values in tried]
    return min(range(len(tried)), key=lambda place: (-scores[place], ranks[place]))


def _by_nearness(tried: Sequence[Values], space: Space, scores: Sequence[float]) -> list[float]:
    """The mean over each variant and its nearest, among those of the same names."""
    alike: dict[Values, list[int]] = {}
    for place, values in enumerate(tried):
        names = tuple((n, v) for n, v in values if not has_neighbours(space[n]))
        alike.setdefault(names, []).append(place)
    means, known = [0.0] * len(tried), np.asarray(scores)
    for group in alike.values():
        points = np.array([_point(space, tried[place]) for place in group])
        for place, point in zip(group, points, strict=True):
            near = np.argsort(np.abs(points - point).sum(axis=1), kind="stable")[: NEAREST + 1]
            means[place] = float(known[group][near].mean())
    return means


def _point(space: Space, values: Values) -> list[float]:
    return [_coordinate(space[n], v) for n, v in values if has_neighbours(space[n])]


def _coordinate(axis: tuple[str, ...] | Range, value: str) -> float:
    if isinstance(axis, Range):
        return float((Decimal(value) - axis.low) / (axis.high - axis.low))
    return sorted(axis, key=_rank).index(value) / (len(axis) - 1)
