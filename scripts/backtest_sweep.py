"""Many variants of one backtest, each counted as a try; the plateau matters, not the peak.

Variants that the compiled engine covers run in threads of this process, the others step by step
in processes of their own; with `--cluster` both run on an existing Dask scheduler. A finished
variant is kept at once, so that a sweep that was killed goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from risk_manager import RiskManager
from scripts.backtest_fast import code_folder, market_of, task_of
from scripts.backtest_run import (
    Arena,
    RunSettings,
    Shown,
    Stopwatch,
    coverage_notes,
    demand_decisions,
    figures,
    history_notes,
    limits_of,
    models_of,
    series_of,
    strategy_settings,
    tries_of,
)
from trader import performance
from trader.domain.candles import FloatArray
from trader.domain.errors import UsageError
from trader.simulation import kernel
from trader.simulation.backtest import Span, load_histories, load_paths
from trader.simulation.overfitting import BlockSums
from trader.simulation.runs import account_run
from trader.simulation.sweep import (
    Range,
    Space,
    Values,
    combinations,
    has_neighbours,
    most_promising,
    read_sweeps,
    smoothed,
    space_of,
)
from trader.storage.companions import companions_of
from trader.storage.sweeps import SweepStore
from trader.storage.trials import Trial, TrialLedger
from trader.strategies.registry import find_strategy

__all__ = ["combinations", "print_sweep", "read_sweeps", "sweep", "write_sweep"]

Build = Callable[[Values], RunSettings]
"""The settings of one combination."""

COMPILED, STEPS = "compiled", "step by step"
_LEDGER_EVERY_S = 5.0
_CHECKED_CANDLES = 400
_CHUNK = 8
"""Variants in one task of a cluster."""


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
class Wishes:
    """How a sweep is to be run.

    Attributes:
        jobs: threads or processes; 0 for one a core.
        cluster: address of a Dask scheduler; empty for this machine.
        tune: how many variants Optuna may choose; 0 tries the whole grid.
        engine: `auto`, `compiled` or `steps`.
    """

    jobs: int = 0
    cluster: str = ""
    tune: int = 0
    engine: str = "auto"

    @property
    def workers(self) -> int:
        """How many at once."""
        return self.jobs or os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One combination and what it came to; small, whatever the length of the history.

    Attributes:
        metrics: all figures but the deflated Sharpe ratio, which is known when all are.
        returns: of its days.
        digest: over decisions, orders and fills (`kernel.digest_of_events`).
        engine: which one; `why` says why it was not the compiled one.
    """

    values: Values
    metrics: dict[str, Any]
    returns: FloatArray
    digest: str
    engine: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A variant to be tried: its settings, and the key under which its result is kept."""

    values: Values
    settings: RunSettings
    key: str


# -- one variant ---------------------------------------------------------------------------------


def run_one(values: Values, build: Build, engine: str) -> Outcome:
    """One combination: by the compiled engine where it can, else step by step.

    Args:
        values: what is swept.
        build: to its settings.
        engine: `auto`, `compiled` or `steps`.

    Raises:
        NotCovered: if only the compiled engine is wanted and it does not cover this.
    """
    settings = build(values)
    if engine == "steps":
        return _stepped(values, settings, "")
    try:
        return _compiled(values, settings)
    except kernel.NotCovered as why:
        if engine == "compiled":
            raise
        return _stepped(values, settings, str(why))


def run_some(many: Sequence[Values], build: Build, engine: str) -> list[Outcome]:
    """Several combinations, for a worker far away."""
    return [run_one(values, build, engine) for values in many]


def _compiled(values: Values, settings: RunSettings) -> Outcome:
    run = kernel.trade(_market(settings), task_of(settings), code_folder())
    cash, began = float(settings.cash), run.began
    returns = performance.daily_returns(run.times, run.equity, cash, began)
    metrics = performance.measure(
        run.times, run.equity, cash, invested=run.invested, trades=run.trades,
        traded_quote=run.traded_quote, fees_quote=run.fees_quote, returns=returns, began=began,
    ).as_dict()  # fmt: skip
    return Outcome(values, metrics, returns, run.digest, COMPILED)


def _stepped(values: Values, settings: RunSettings, why: str) -> Outcome:
    arena = _arena(settings)
    name = find_strategy(settings.strategy).name
    risk = RiskManager(limits_of(settings))
    models = models_of(arena, Stopwatch(), Silent())
    events = arena.events(name, name, risk, models, Silent())
    run = account_run(
        name, settings.quote, settings.cash, events, settings.span.start, settings.timeframe
    )
    demand_decisions(run)
    returns = run.daily_returns()
    metrics = figures(run, tries_of(settings, len(returns)))
    return Outcome(values, metrics, returns, kernel.digest_of_events(events), STEPS, why)


def _market(settings: RunSettings) -> kernel.Market:
    kept = _prepared(*_history_of(settings))
    if not kept:
        kept.append(_whole_market(settings))
    return kept[0]


@lru_cache(maxsize=4)
def _prepared(*_: object) -> list[kernel.Market]:
    return []


def _history_of(settings: RunSettings) -> tuple[object, ...]:
    """What the variants on one history have in common; each has a store of its own.

    Also when a file of the store was last changed: a worker may outlive an import.
    """
    files = (path for path in settings.store.folder.rglob("*") if path.is_file())
    changed_ns = max((path.stat().st_mtime_ns for path in files), default=0)
    return (
        str(settings.config.data_dir), settings.store.exchange, settings.pairs,
        settings.timeframe, settings.span, settings.finest_path, changed_ns,
    )  # fmt: skip


def _whole_market(settings: RunSettings) -> kernel.Market:
    store, span = settings.store, settings.span
    histories = load_histories(store, settings.pairs, settings.timeframe, span)
    finest = settings.finest_path
    paths = load_paths(store, histories, span.start, span.end) if finest else histories
    return market_of(settings, histories, paths)


def _arena(settings: RunSettings) -> Arena:
    """The analysed history, kept by each process for the variants that share it."""
    kept = _open(*_history_of(settings))
    if not kept:
        kept.append(Arena.open(settings, Stopwatch()))
    return Arena(settings, kept[0].histories, kept[0].analyzer, kept[0].paths)


@lru_cache(maxsize=4)
def _open(*_: object) -> list[Arena]:
    return []


# -- many variants -------------------------------------------------------------------------------


@dataclass(slots=True)
class Sweep:
    """A sweep under way: what is planned, where results go, how far it is."""

    build: Build
    wishes: Wishes
    shown: Shown
    store: SweepStore
    engine: str
    notes: list[str] = field(default_factory=list)
    plans: dict[Values, Plan] = field(default_factory=dict)
    resumed: int = 0

    def plan(self, values: Values) -> Plan:
        """A variant's plan.

        Raises:
            TraderError: if its values make no sense.
        """
        settings = self.build(values)
        made = Plan(values, settings, variant_key(settings, self.engine))
        self.plans[values] = made
        return made

    def evaluate(self, plans: Sequence[Plan], done: int = 0) -> None:
        """Try what is not finished yet; every result is in the store afterwards."""
        known = self.store.known([plan.key for plan in plans])
        todo = [plan for plan in plans if plan.key not in known]
        self.resumed += len(known)
        done += len(known)
        self.shown.at(done)
        # Also those of before: whoever was killed may not have come to count them.
        waiting = [self._known_trial(plan) for plan in plans if plan.key in known]
        told = time.monotonic()
        try:
            for outcome in self._outcomes([plan.values for plan in todo]):
                plan = self.plans[outcome.values]
                row = {
                    "values": dict(outcome.values), "metrics": outcome.metrics,
                    "digest": outcome.digest, "engine": outcome.engine, "why": outcome.why,
                }  # fmt: skip
                self.store.put(plan.key, row, outcome.returns)
                waiting.append(self._trial(plan, outcome.returns, outcome.digest))
                done += 1
                self.shown.at(done)
                if time.monotonic() - told > _LEDGER_EVERY_S:
                    self._count(waiting)
                    told = time.monotonic()
        finally:
            self.store.flush()
            self._count(waiting)

    def _known_trial(self, plan: Plan) -> Trial:
        row, returns = self.store.get(plan.key)
        return self._trial(plan, returns, row["digest"])

    def _trial(self, plan: Plan, returns: FloatArray, digest: str) -> Trial:
        ratio = performance.daily_sharpe(returns)
        return Trial(
            "tuning" if self.wishes.tune else "sweep", tuple(series_of(plan.settings)),
            plan.settings.variant(), 0.0 if math.isnan(ratio) else ratio, len(returns), digest,
        )  # fmt: skip

    def _count(self, waiting: list[Trial]) -> None:
        if waiting:
            first = next(iter(self.plans.values())).settings
            TrialLedger(first.config.data_dir / "trials.jsonl").record(waiting)
            waiting.clear()

    def _outcomes(self, todo: Sequence[Values]) -> Iterator[Outcome]:
        if self.wishes.cluster:
            yield from _on_cluster(todo, self.build, self.engine, self.wishes.cluster)
            return
        slow = list(todo)
        if self.engine != "steps":
            slow = []
            for values, found in self._quick(todo):
                if isinstance(found, Outcome):
                    yield found
                else:
                    slow.append(values)
        yield from self._slow(slow)

    def _quick(self, todo: Sequence[Values]) -> Iterator[tuple[Values, Outcome | str]]:
        """By the compiled engine, in threads: machine code runs beside Python."""
        if not todo:
            return
        if not kernel.is_made(code_folder(), limits=True):
            self.shown.tell("machine code is made, once")
        yield todo[0], _attempt(self.plans[todo[0]])
        from joblib import Parallel, delayed

        threads = Parallel(
            n_jobs=self.wishes.workers, prefer="threads", return_as="generator_unordered"
        )
        tasks = (delayed(_attempt_of)(self.plans[values]) for values in todo[1:])
        yield from threads(tasks)

    def _slow(self, todo: Sequence[Values]) -> Iterator[Outcome]:
        workers = min(self.wishes.workers, len(todo))
        if workers <= 1:
            yield from (run_one(values, self.build, self.engine) for values in todo)
            return
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
        yield from parallel(delayed(run_one)(values, self.build, self.engine) for values in todo)


def _attempt(plan: Plan) -> Outcome | str:
    try:
        return _compiled(plan.values, plan.settings)
    except kernel.NotCovered as why:
        return str(why)


def _attempt_of(plan: Plan) -> tuple[Values, Outcome | str]:
    return plan.values, _attempt(plan)


def _on_cluster(
    todo: Sequence[Values], build: Build, engine: str, address: str
) -> Iterator[Outcome]:
    """On an existing Dask scheduler; what a worker had in hand when it died is done again."""
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError(
            "--cluster needs Dask, which is not installed",
            "pip install 'kraken-ai-trader[cluster]'",
        ) from None
    try:
        client: Any = Client(address, timeout="5s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"--cluster {address}: no Dask scheduler answers there ({fault})",
            "Start one: dask scheduler; then dask worker ADDRESS on each machine.",
        ) from fault
    with client:
        size = max(1, min(_CHUNK, len(todo) // (4 * max(1, len(client.nthreads())))))
        parts = [list(todo[i : i + size]) for i in range(0, len(todo), size)]
        futures = [
            client.submit(run_some, part, build, engine, pure=False, retries=3) for part in parts
        ]
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            yield from future.result()
            future.release()


def variant_key(settings: RunSettings, engine: str) -> str:
    """The same only where data, settings and program are the same."""
    parts = [
        settings.variant(), [str(pair) for pair in settings.pairs], str(settings.cash),
        *map(_flat, (limits_of(settings), strategy_settings(settings), settings.costs)),
        _data_hash(settings), _code_hash(), "steps" if engine == "steps" else "any",
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _flat(settings: Any) -> dict[str, Any]:
    return {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}


def _data_hash(settings: RunSettings) -> str:
    """Of all candles that a run looks at: its own, finer ones inside them, those learned from."""
    learns = settings.config.data_dir if find_strategy(settings.strategy).learns else None
    return _hash_of(
        settings.store, settings.pairs, settings.timeframe, settings.span, settings.finest_path,
        learns,
    )  # fmt: skip


@lru_cache(maxsize=4)
def _hash_of(
    store: Any, pairs: Any, timeframe: Any, span: Span, finest: bool, learns: Path | None
) -> str:
    digest = hashlib.sha256()
    histories = load_histories(store, pairs, timeframe, span)
    seen = [histories]
    if finest:
        seen.append(load_paths(store, histories, span.start, span.end))
    if learns is not None:
        seen.append(companions_of(learns, store.exchange, pairs, timeframe, span.end))
    for part in seen:
        for pair, candles in part.items():
            digest.update(f"{store.exchange}|{pair}|{candles.timeframe}".encode())
            for column in candles.columns():
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """A fingerprint of the program's sources."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    folders = ("*.py", "trader/**/*.py", "scripts/*.py")
    for path in sorted(path for folder in folders for path in root.glob(folder)):
        facts = path.stat()
        digest.update(f"{path.relative_to(root)}|{facts.st_size}|{facts.st_mtime_ns}".encode())
    return digest.hexdigest()


# -- the whole -----------------------------------------------------------------------------------


def sweep(
    texts: Sequence[str],
    build: Build,
    shown: Shown,
    wishes: Wishes = Wishes(),
) -> dict[str, Any]:
    """Try the variants, record every one in the ledger, and say what to make of them.

    Args:
        texts: `NAME=…` of each `--sweep`.
        build: from a combination to its settings; must be picklable for more than one process.
        shown: told how far it is.
        wishes: how to run it.

    Raises:
        TraderError: if one combination makes no sense.
    """
    began = time.perf_counter()
    space = space_of(texts, tuned=bool(wishes.tune))
    first = build(_corner(space))
    store = SweepStore(first.config.data_dir / "sweeps.db")
    try:
        engine, notes = _engine(first, wishes)
        under_way = Sweep(build, wishes, shown, store, engine, notes)
        tried = _tuned(under_way, space) if wishes.tune else _gridded(under_way, space)
        document = _document(under_way, space, tried, first)
    finally:
        store.close()
    document["seconds"] = {"total": round(time.perf_counter() - began, 3)}
    return document


def _corner(space: Space) -> Values:
    """Any combination, to see what is meant."""
    return tuple(
        (name, f"{axis.low:f}" if isinstance(axis, Range) else axis[0])
        for name, axis in space.items()
    )


def _gridded(sweep: Sweep, space: Space) -> list[Values]:
    grid = combinations({n: axis for n, axis in space.items() if isinstance(axis, tuple)})
    plans = [sweep.plan(values) for values in grid]  # all faults before any work
    sweep.shown.begin(f"{len(grid):,} variants", len(grid))
    sweep.evaluate(plans)
    sweep.shown.end()
    return grid


def _tuned(sweep: Sweep, space: Space) -> list[Values]:
    """Let Optuna choose: each choice learns from the results so far.

    The same space on the same data gives the same choices, so a tuning that was killed goes the
    same way again, over results that are kept.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=16)
    )
    tried: dict[Values, float] = {}
    total = sweep.wishes.tune
    sweep.shown.begin(f"{total:,} choices", total)
    asked = 0
    while asked < total:
        # The size of a batch is part of the way: it must not depend on the machine.
        batch = [study.ask() for _ in range(min(8, total - asked))]
        chosen = [_choice(trial, space) for trial in batch]
        fresh = list(dict.fromkeys(v for v in chosen if v not in tried))
        sweep.evaluate([sweep.plan(values) for values in fresh], asked)
        for values in fresh:
            tried[values] = _score(sweep.store.get(sweep.plans[values].key)[0])
        for trial, values in zip(batch, chosen, strict=True):
            study.tell(trial, tried[values])
        asked += len(batch)
        sweep.shown.at(asked)
    sweep.shown.end()
    return list(tried)


def _choice(trial: Any, space: Space) -> Values:
    # Asked for by the alphabet: the way through the space must not depend on how it was written.
    asked = {name: _suggested(trial, name, space[name]) for name in sorted(space)}
    return tuple((name, asked[name]) for name in space)


def _suggested(trial: Any, name: str, axis: tuple[str, ...] | Range) -> str:
    if isinstance(axis, tuple):
        return str(trial.suggest_categorical(name, axis))
    if axis.step:
        places = int((axis.high - axis.low) / axis.step)
        return f"{axis.low + trial.suggest_int(name, 0, places) * axis.step:f}"
    # Six digits are more than any setting can tell apart.
    return f"{trial.suggest_float(name, float(axis.low), float(axis.high)):.6g}"


def _engine(settings: RunSettings, wishes: Wishes) -> tuple[str, list[str]]:
    """The engine to use, after a look whether both agree on the first candles of the span."""
    if wishes.engine == "steps" or wishes.cluster:
        return wishes.engine, []
    try:
        task = task_of(settings)
        short = replace(settings, span=_short(settings))
        run = kernel.trade(_market(short), replace(task, span=short.span), code_folder())
    except kernel.NotCovered as why:
        if wishes.engine == "compiled":
            raise UsageError(f"the compiled engine does not cover this: {why}") from why
        return "auto", []
    stepped = _stepped((), short, "")
    if stepped.digest == run.digest:
        return wishes.engine, []
    return "steps", ["the compiled engine differed on the first candles and was not used"]


def _short(settings: RunSettings) -> Span:
    span = settings.span
    end = min(span.end, span.start + _CHECKED_CANDLES * settings.timeframe.delta)
    return Span(span.start, max(end, span.start + timedelta(seconds=1)))


def _document(
    sweep: Sweep, space: Space, tried: Sequence[Values], first: RunSettings
) -> dict[str, Any]:
    rows, tries, sums = _rows(sweep, tried, first)
    pbo = sums.probability()
    scores = [_score(row) for row in rows]
    smooth = smoothed(tried, space, scores, grid=not sweep.wishes.tune)
    best, plateau = most_promising(tried, scores), most_promising(tried, smooth)
    engines = [row.pop("engine") for row in rows]
    reasons = sorted({why for row in rows if (why := row.pop("why"))})
    return {
        "pairs": [str(pair) for pair in first.pairs],
        "timeframe": str(first.timeframe),
        "strategy": first.strategy,
        "start": first.span.start.date().isoformat(),
        "end": first.span.last.date().isoformat(),
        "requested_start": first.requested.start.date().isoformat(),
        "requested_end": first.requested.last.date().isoformat(),
        "sweep": {name: _axis(axis) for name, axis in space.items()},
        "neighbours_in": [name for name, axis in space.items() if has_neighbours(axis)],
        "tuned": sweep.wishes.tune,
        "runs": rows,
        "best": {**rows[best], "neighbourhood_sharpe": smooth[best]},
        "plateau": {**rows[plateau], "neighbourhood_sharpe": smooth[plateau]},
        "pbo": None if math.isnan(pbo) else pbo,
        "pbo_unknown": sums.unknown(),
        "trials": tries.count,
        "trials_counted": tries.as_dict(),
        "engines": {name: engines.count(name) for name in dict.fromkeys(engines)},
        "notes": [
            *coverage_notes(first),
            *_history_notes(first),
            *sweep.notes,
            *(f"step by step, because {why}" for why in reasons),
        ],
        "resumed": sweep.resumed,
        "seconds": {},
    }


def _history_notes(settings: RunSettings) -> list[str]:
    span = settings.span
    histories = load_histories(settings.store, settings.pairs, settings.timeframe, span)
    window = {pair: c.between(span.start, span.end) for pair, c in histories.items()}
    return history_notes(settings, window)


def _rows(
    sweep: Sweep, tried: Iterable[Values], first: RunSettings
) -> tuple[list[dict[str, Any]], Any, BlockSums]:
    """The rows with their deflated Sharpe ratios, all tries, and what overfitting is told by."""
    rows, sums, tries = [], BlockSums(), None
    for values in tried:
        row, returns = sweep.store.get(sweep.plans[values].key)
        # Kept under what it trades, so perhaps by another sweep, of other names.
        row["values"] = dict(values)
        tries = tries or tries_of(first, len(returns))
        deflated = performance.deflated_sharpe(returns, tries.count)
        row["metrics"]["dsr"] = None if math.isnan(deflated) else deflated
        sums.add(returns)
        rows.append(row)
    return rows, tries, sums


def _axis(axis: tuple[str, ...] | Range) -> list[str] | str:
    if isinstance(axis, tuple):
        return list(axis)
    return f"{axis.low}..{axis.high}" + (f":{axis.step}" if axis.step else "")


def _score(row: Mapping[str, Any]) -> float:
    value = row["metrics"]["sharpe"]
    return 0.0 if value is None else float(value)


# -- showing -------------------------------------------------------------------------------------


def write_sweep(document: Mapping[str, Any], folder: Path) -> None:
    """`sweep.json`, `sweep.html`, and `sweep.csv` with one row for each variant.

    Raises:
        UsageError: if the folder cannot be written.
    """
    from trader.reports.export import save_json, save_table, save_text
    from trader.reports.sweep import render_sweep

    names = list(document["sweep"])
    metrics = list(document["runs"][0]["metrics"])
    rows = [
        tuple(row["values"][name] for name in names)
        + tuple("" if row["metrics"][m] is None else repr(row["metrics"][m]) for m in metrics)
        for row in document["runs"]
    ]
    save_json(document, folder / "sweep.json")
    save_table((*names, *metrics), rows, folder / "sweep.csv")
    save_text(render_sweep(document), folder / "sweep.html")


def print_sweep(document: Mapping[str, Any], most: int = 12) -> None:
    """The best variants, the plateau, and how likely the best was only luck."""
    from rich.console import Console
    from rich.table import Table

    from trader.reports.html import shown

    console = Console()
    names = list(document["sweep"])
    count = len(document["runs"])
    console.print(
        f"PAPER  [bold]{', '.join(document['pairs'])}: {count} variants[/bold]",
        highlight=False,
        soft_wrap=not console.is_terminal,
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
    for line in _words(document):
        console.print(line, highlight=False, soft_wrap=not console.is_terminal)


def _words(document: Mapping[str, Any]) -> Iterator[str]:
    from trader.reports.sweep import NO_NEIGHBOURS

    plateau = document["plateau"]
    chosen = ", ".join(f"{k.lower()} {v}" for k, v in plateau["values"].items())
    smooth = plateau["neighbourhood_sharpe"]
    where = f"{chosen} (mean Sharpe of it and its neighbours {smooth:.2f})"
    if not document["neighbours_in"]:
        yield f"best: {chosen} (Sharpe {smooth:.2f}); {NO_NEIGHBOURS}"
    elif smooth > 0:
        yield f"plateau: {where}: rather this than the peak"
    else:
        yield f"plateau: {where}: no group of neighbours earned anything; none is worth trading"
    if document["pbo"] is not None:
        yield (
            f"chance that the best one is below the median elsewhere: {document['pbo']:.0%} "
            f"(50 % is no skill in choosing); {document['trials_counted']['words']}"
        )
    else:
        yield (
            f"chance that the best one is below the median elsewhere: not known: "
            f"{document['pbo_unknown']}; {document['trials_counted']['words']}"
        )
    engines = ", ".join(f"{n:,} {name}" for name, n in document["engines"].items())
    again = f"; {document['resumed']:,} known from before" if document["resumed"] else ""
    yield f"engine: {engines}{again}; {document['seconds']['total']:.1f} s"
    yield from document["notes"]
