"""Many variants of one backtest, each counted as a try; the plateau matters, not the peak."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from risk_manager import RiskManager
from scripts.backtest_run import (
    Arena,
    RunSettings,
    Shown,
    Stopwatch,
    count_trials,
    figures,
    limits_of,
    models_of,
    tries_of,
)
from trader import performance
from trader.domain.candles import FloatArray
from trader.domain.errors import UsageError
from trader.simulation.overfitting import probability_of_overfitting
from trader.simulation.runs import AccountRun
from trader.strategies.registry import find_strategy

Values = tuple[tuple[str, str], ...]
"""One combination: (name, value) for each swept name."""

Build = Callable[[Values], RunSettings]
"""The settings of one combination."""

MOST = 20_000


class Silent:
    """Shows nothing: the sweep has one bar of its own."""

    def begin(self, title: str, total: int) -> None:
        """Nothing."""

    def at(self, count: int) -> None:
        """Nothing."""

    def tell(self, what: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One combination and what it came to."""

    values: Values
    run: AccountRun

    @property
    def returns(self) -> FloatArray:
        """Of its days."""
        return performance.daily_returns(self.run.times, self.run.equity, self.run.cash)


def read_sweeps(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`NAME=V1,V2` of each `--sweep`, names in capitals as in the settings.

    Raises:
        UsageError: if one is written otherwise, comes twice, or the combinations are too many.
    """
    sweeps: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        name = name.strip().upper()
        parts = tuple(v.strip() for v in values.split(",") if v.strip())
        if not sign or not name or not parts:
            raise UsageError(
                f"--sweep {text}: expected NAME=V1,V2", "Such as STOP_ATR_MULTIPLE=2,3,4."
            )
        if name in sweeps or len(set(parts)) < len(parts):
            raise UsageError(f"--sweep {text}: something comes twice")
        sweeps[name] = parts
    count = math.prod(len(values) for values in sweeps.values())
    if count > MOST:
        raise UsageError(f"{count:,} combinations: at most {MOST:,} at a time")
    return sweeps


def combinations(sweeps: Mapping[str, tuple[str, ...]]) -> list[Values]:
    """The whole grid, the last name changing fastest."""
    return [
        tuple(zip(sweeps, chosen, strict=True)) for chosen in itertools.product(*sweeps.values())
    ]


def sweep(
    sweeps: Mapping[str, tuple[str, ...]], build: Build, jobs: int, shown: Shown
) -> dict[str, Any]:
    """Run the grid, record every variant in the ledger, and say what to make of it.

    Args:
        sweeps: name → values.
        build: from a combination to its settings; must be picklable for more than one job.
        jobs: processes; 0 for one a core.
        shown: told how far it is.

    Raises:
        TraderError: if one combination makes no sense.
    """
    began = time.perf_counter()
    grid = combinations(sweeps)
    every = [build(values) for values in grid]  # all faults before any work
    outcomes = _run_all(grid, build, jobs or os.cpu_count() or 1, shown)
    for settings, outcome in zip(every, outcomes, strict=True):
        count_trials(settings, outcome.run, "sweep")
    tries = tries_of(every[0], len(outcomes[0].returns))
    rows = [
        {"values": dict(o.values), "metrics": figures(o.run, tries), "digest": o.run.digest}
        for o in outcomes
    ]
    scores = [_score(row) for row in rows]
    smooth = _neighbourhood(grid, sweeps, scores)
    best, plateau = int(np.argmax(scores)), int(np.argmax(smooth))
    return {
        "pairs": [str(pair) for pair in every[0].pairs],
        "start": every[0].span.start,
        "end": every[0].span.end,
        "sweep": {name: list(values) for name, values in sweeps.items()},
        "runs": rows,
        "best": {**rows[best], "neighbourhood_sharpe": smooth[best]},
        "plateau": {**rows[plateau], "neighbourhood_sharpe": smooth[plateau]},
        "pbo": _overfitting(outcomes),
        "trials": tries.count,
        "trials_counted": tries.as_dict(),
        "seconds": {"total": round(time.perf_counter() - began, 3)},
    }


def _run_all(grid: list[Values], build: Build, jobs: int, shown: Shown) -> list[Outcome]:
    jobs = min(jobs, len(grid))
    shown.begin(f"{len(grid)} variants", len(grid))
    outcomes: list[Outcome] = []
    for outcome in _in_order(grid, build, jobs):
        outcomes.append(outcome)
        shown.at(len(outcomes))
    shown.end()
    return outcomes


def _in_order(grid: list[Values], build: Build, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from (run_one(values, build) for values in grid)
        return
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=jobs, return_as="generator")
    yield from parallel(delayed(run_one)(values, build) for values in grid)


def run_one(values: Values, build: Build) -> Outcome:
    """One combination through the same step as everything else."""
    settings = build(values)
    arena = _arena(settings)
    risk = RiskManager(limits_of(settings))
    name = find_strategy(settings.strategy).name
    models = models_of(arena, Stopwatch(), Silent())
    return Outcome(values, arena.trade(name, name, risk, models, Silent()))


def _arena(settings: RunSettings) -> Arena:
    """The analysed history, kept by each process for the variants that share it."""
    kept = _open(
        str(settings.config.data_dir), settings.store.exchange, settings.pairs,
        settings.timeframe, settings.span, settings.finest_path,
    )  # fmt: skip
    if not kept:
        kept.append(Arena.open(settings, Stopwatch()))
    return Arena(settings, kept[0].histories, kept[0].analyzer, kept[0].paths)


@lru_cache(maxsize=4)
def _open(*_: object) -> list[Arena]:
    return []


def _score(row: Mapping[str, Any]) -> float:
    value = row["metrics"]["sharpe"]
    return 0.0 if value is None else float(value)


def _neighbourhood(
    grid: list[Values], sweeps: Mapping[str, tuple[str, ...]], scores: Sequence[float]
) -> list[float]:
    """Mean score of each variant and those one step away in one name."""
    place = {name: {v: i for i, v in enumerate(values)} for name, values in sweeps.items()}
    at = [tuple(place[name][value] for name, value in values) for values in grid]
    score = dict(zip(at, scores, strict=True))
    means = []
    for here in at:
        near = [here]
        for axis, number in enumerate(here):
            near += [(*here[:axis], number + d, *here[axis + 1 :]) for d in (-1, 1)]
        found = [score[n] for n in near if n in score]
        means.append(sum(found) / len(found))
    return means


def _overfitting(outcomes: Sequence[Outcome]) -> float | None:
    returns = [outcome.returns for outcome in outcomes]
    if len({len(r) for r in returns}) != 1:
        return None
    value = probability_of_overfitting(np.column_stack(returns))
    return None if math.isnan(value) else value


def write_sweep(document: Mapping[str, Any], folder: Path) -> None:
    """`sweep.json` and `sweep.csv`, one row for each variant.

    Raises:
        UsageError: if the folder cannot be written.
    """
    from trader.reports.export import save_json, save_table

    names = list(document["sweep"])
    metrics = list(document["runs"][0]["metrics"])
    rows = [
        tuple(row["values"][name] for name in names)
        + tuple("" if row["metrics"][m] is None else repr(row["metrics"][m]) for m in metrics)
        for row in document["runs"]
    ]
    save_json(document, folder / "sweep.json")
    save_table((*names, *metrics), rows, folder / "sweep.csv")


def print_sweep(document: Mapping[str, Any], most: int = 12) -> None:
    """The best variants, the plateau, and how likely the best was only luck."""
    from rich.console import Console
    from rich.table import Table

    from trader.reports.html import shown

    console = Console()
    names = list(document["sweep"])
    count = len(document["runs"])
    console.print(
        f"[bold]{', '.join(document['pairs'])}: {count} variants[/bold]   PAPER", highlight=False
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name.lower())
    for title in ("Sharpe", "total return", "deepest fall", "trades"):
        table.add_column(title, justify="right")
    for row in sorted(document["runs"], key=_score, reverse=True)[:most]:
        m = row["metrics"]
        table.add_row(
            *(row["values"][name] for name in names), shown(m["sharpe"], ".2f"),
            shown(m["total_return"], "+.1%"), shown(m["max_drawdown"], ".1%"),
            shown(m["trades"], ",.0f"),
        )  # fmt: skip
    console.print(table)
    chosen = ", ".join(f"{k.lower()} {v}" for k, v in document["plateau"]["values"].items())
    console.print(
        f"plateau: {chosen} (mean Sharpe of it and its neighbours "
        f"{shown(document['plateau']['neighbourhood_sharpe'], '.2f')}): rather this than the peak",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if document["pbo"] is not None:
        console.print(
            f"chance that the best one is below the median elsewhere: {document['pbo']:.0%} "
            f"(50 % is no skill in choosing); "
            f"{document['trials_counted']['words']}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
