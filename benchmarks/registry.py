"""How a benchmark is entered, timed and told."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the answer.

    Attributes:
        item: what was done.
        tool: who did it: `ours` or the peer's name.
        bars: candles worked on.
        seconds: median of the runs.
        min_s: fastest run.
        max_s: slowest run.
        runs: how many.
        peak_mb: most memory in use above the start, in MB; None where it was not measured.
        notes: what to know when reading it.
    """

    item: str
    tool: str
    bars: int
    seconds: float
    min_s: float
    max_s: float
    runs: int
    peak_mb: float | None
    notes: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line as JSON."""
        return asdict(self)


Benchmark = Callable[[int], Iterator[Measurement]]
"""Takes the number of runs, gives its lines one by one."""

BENCHMARKS: dict[str, tuple[str, Benchmark]] = {}
"""Name → what it measures, and the function that does."""


def benchmark(name: str, what: str) -> Callable[[Benchmark], Benchmark]:
    """Enter a benchmark under a name."""

    def enter(function: Benchmark) -> Benchmark:
        BENCHMARKS[name] = (what, function)
        return function

    return enter


def side_by_side(
    item: str, bars: int, tools: Mapping[str, Callable[[], object]], runs: int, notes: str = "",
    *, memory: bool = False,
) -> Iterator[Measurement]:  # fmt: skip
    """Time several ways to do one thing, in turns, so that all meet the same weather."""
    spent: dict[str, list[float]] = {tool: [] for tool in tools}
    for work in tools.values():
        work()
    for _ in range(runs):
        for tool, work in tools.items():
            spent[tool].append(seconds_of(work))
    for tool, work in tools.items():
        peak = peak_mb(work) if memory else None
        yield measured(item, tool, bars, spent[tool], peak, notes)


def measured(
    item: str, tool: str, bars: int, spent: Sequence[float], peak: float | None = None,
    notes: str = "",
) -> Measurement:  # fmt: skip
    """A line from the seconds of its runs."""
    return Measurement(
        item, tool, bars, statistics.median(spent), min(spent), max(spent), len(spent), peak, notes
    )


def seconds_of(work: Callable[[], object]) -> float:
    """How long it takes once; what it returns is dropped outside the clock."""
    gc.collect()
    began = time.perf_counter()
    kept = work()
    spent = time.perf_counter() - began
    del kept
    return spent


def peak_mb(work: Callable[[], object]) -> float:
    """Most memory it holds at one moment, above what was held before, in MB."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = work()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        del kept
    finally:
        tracemalloc.stop()
    return peak
