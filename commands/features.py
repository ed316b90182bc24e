"""`run_trader.py features`: what there is, and whether any of it sees the future."""

from __future__ import annotations

import importlib
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from commands.common import print_json, say
from trader.domain.errors import ExitStatus, TraderError, UsageError

if TYPE_CHECKING:
    from trader.domain.candles import Candles
    from trader.domain.signals import Snapshot
    from trader.indicators.leaks import LeakReport, Subject
    from trader.indicators.registry import Indicator

_MOST_SHOWN = 20
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@click.group(name="features", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Indicators and patterns: list them, check that none sees the future.

    \b
    Example:
      python run_trader.py features list --group momentum
      python run_trader.py features check my_indicators:my_average
    """


@command.command(name="list")
@click.option("--group", help="Only this group, such as trend or candlestick.")
@click.option("--markdown", is_flag=True, help="The page docs/indicators.md.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(group: str | None, markdown: bool, as_json: bool) -> None:
    """Every column: its unit, its warm-up and what it means.

    \b
    Example:
      python run_trader.py features list --group volume
    """
    from trader.indicators import INDICATORS
    from trader.patterns import PATTERNS

    entries = [*INDICATORS.values(), *PATTERNS.values()]
    groups = list(dict.fromkeys(entry.group for entry in entries))
    if group is not None and group not in groups:
        raise UsageError(f"--group {group}: there is none of that name", ", ".join(groups))
    chosen = [entry for entry in entries if group in (None, entry.group)]
    if as_json:
        print_json([
            {"name": e.name, "group": e.group, "unit": str(e.unit), "warmup": e.warmup,
             "bounds": list(e.bounds), "inputs": list(e.inputs), "anchored": e.anchored,
             "meaning": e.meaning}
            for e in chosen
        ])  # fmt: skip
        return
    if markdown:
        click.echo(_page(chosen), nl=False)
        return
    from config import load_config

    click.echo(f"{load_config().mode}  indicators and patterns")
    title = ""
    for entry in chosen:
        if entry.group != title:
            title = entry.group
            click.echo(f"\n{title}")
        mark = "*" if entry.anchored else " "
        click.echo(f"  {entry.name:<24}{entry.warmup:>4}{mark} {entry.meaning}")
    click.echo(
        f"\n{len(chosen)} columns; the number is the warm-up in candles, * marks levels that "
        "depend on where the history begins"
    )


def _page(entries: Sequence[Indicator]) -> str:
    lines = [
        "# Indicators and patterns",
        "",
        "Every column of an analysis, written by `make golden` from the registry. The warm-up is "
        "the index of",
        "the first candle with a value. *Anchored* levels depend on where the history begins. "
        "Patterns lie",
        "between -1 (bearish) and 1 (bullish).",
    ]
    for group in dict.fromkeys(entry.group for entry in entries):
        lines += ["", f"## {group.capitalize()}", "", "| name | unit | warm-up | meaning |",
                  "|---|---|---|---|"]  # fmt: skip
        for e in (e for e in entries if e.group == group):
            mark = ", anchored" if e.anchored else ""
            lines.append(f"| `{e.name}` | {e.unit}{mark} | {e.warmup} | {e.meaning} |")
    return "\n".join(lines) + "\n"


@command.command(name="check")
@click.argument("targets", nargs=-1, metavar="[MODULE:FUNCTION | STRATEGY]...")
@click.option(
    "--mutations",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="How many futures to try.",
)
@click.option("--seed", default=0, show_default=True, help="The same seed, the same futures.")
@click.option("--pair", help="Use the stored candles of this pair instead of drawn ones.")
@click.option("--timeframe", default="1h", show_default=True, help="Of the stored candles.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(
    targets: tuple[str, ...], mutations: int, seed: int, pair: str | None, timeframe: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Rewrite, drop and shuffle the future; demand that no value before it changes.

    Without a target every indicator and pattern is checked. A target is a strategy by name, or a
    function of yours: of columns (`def f(close, volume)`), of `candles`, or a strategy (`def
    f(situation)`). The exit status is 1 if anything looked ahead.

    \b
    Example:
      python run_trader.py features check
      python run_trader.py features check my_indicators:my_average --mutations 5000
    """
    from trader.indicators.leaks import drawn_candles, find_leaks

    candles = drawn_candles(seed=seed) if pair is None else _stored(pair, timeframe)
    subjects = {name: _subject(name) for name in targets} or {"the registry": _registry}
    began, leaking, documents = time.perf_counter(), 0, {}
    for name, subject in subjects.items():
        hidden = as_json or not sys.stderr.isatty()
        with click.progressbar(
            length=mutations, label=name, file=sys.stderr, hidden=hidden
        ) as bar:
            search = partial(find_leaks, subject, candles, mutations, seed, bar.update)
            report = _tried(name, search)
        leaking += len(report.leaks)
        documents[name] = _document(report)
        if not as_json:
            _tell(name, report)
    if as_json:
        seconds = time.perf_counter() - began
        print_json({"checked": documents, "seed": seed, "leaks": leaking, "seconds": seconds})
    return ExitStatus.FAILED if leaking else ExitStatus.DONE


def _tried(name: str, action: Callable[[], LeakReport]) -> LeakReport:
    try:
        return action()
    except TraderError:
        raise
    except Exception as fault:  # the user's own code: whatever it raises is the finding
        raise UsageError(
            f"{name} failed on ordinary candles: {type(fault).__name__}: {fault}",
            "Run it with --debug for the traceback.",
        ) from fault


def _stored(pair: str, timeframe: str) -> Candles:
    from config import load_config
    from trader.domain.candles import Timeframe
    from trader.domain.markets import Pair
    from trader.storage.history import HistoryStore

    config = load_config()
    store = HistoryStore(config.data_dir, config.exchange)
    return store.load(Pair.parse(pair), Timeframe.parse(timeframe))


def _registry(candles: Candles) -> dict[str, Any]:
    from trader.indicators import compute
    from trader.patterns import compute_patterns

    return {**compute(candles), **compute_patterns(candles)}


def _subject(target: str) -> Subject:
    from trader.strategies.registry import all_strategies

    if ":" not in target:
        strategies = all_strategies()
        if target not in strategies:
            known = ", ".join(strategies)
            raise UsageError(
                f"'{target}' is neither a strategy nor module:function", f"Strategies: {known}."
            )
        return _of_strategy(strategies[target].decide)
    return _of_function(target, _imported(target))


def _imported(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as fault:
        raise UsageError(
            f"{target}: {fault}", "Write module:function, importable from the present folder."
        ) from fault
    if not callable(function):
        raise UsageError(f"{target} is not a function")
    return function  # type: ignore[no-any-return]


def _of_function(target: str, function: Callable[..., Any]) -> Subject:
    from trader.indicators.registry import COLUMNS, inputs_of

    wanted = inspect.signature(function).parameters.values()
    names = [p.name.rstrip("_") for p in wanted if p.default is p.empty and p.kind in _POSITIONAL]
    if names == ["situation"]:
        return _of_strategy(function)
    if names == ["candles"]:
        return lambda candles: _named(target, function(candles))
    if names and set(names) <= set(COLUMNS):

        def subject(candles: Candles) -> dict[str, Any]:
            columns = inputs_of(candles)
            return _named(target, function(*(columns[name] for name in names)))

        return subject
    raise UsageError(
        f"{target}: cannot tell what to call it with: {', '.join(names) or 'no parameters'}",
        f"Name its parameters after columns ({', '.join(COLUMNS)}), `candles` or `situation`.",
    )


def _named(target: str, found: Any) -> dict[str, Any]:
    name = target.partition(":")[2]
    if isinstance(found, dict):
        return {str(key): np.asarray(value, np.float64) for key, value in found.items()}
    parts = found if isinstance(found, tuple) else (found,)
    labels = [name] if len(parts) == 1 else [f"{name}[{i}]" for i in range(len(parts))]
    return {k: np.asarray(v, np.float64) for k, v in zip(labels, parts, strict=True)}


def _of_strategy(decide: Callable[[Any], Any]) -> Subject:
    """A strategy's decisions over a history, with the whole history within its reach."""
    from market_analyzer import compute_analysis
    from trader.domain.markets import Pair
    from trader.domain.signals import Action, Snapshot
    from trader.indicators.context import Context
    from trader.strategies.registry import Situation

    directions = {Action.BUY: 1.0, Action.HOLD: 0.0, Action.SELL: -1.0}

    def row(snapshot: Snapshot) -> tuple[float, float, float]:
        signal = decide(Situation(snapshot, 0.0, snapshot.closed_at))
        weight = np.nan if signal.target_weight is None else signal.target_weight
        return directions[signal.action], signal.confidence, weight

    def subject(candles: Candles) -> dict[str, Any]:
        analysis = compute_analysis(Pair("BTC", "USD"), candles)
        rows = np.array(
            [row(Snapshot(analysis, i, context=Context(analysis, i))) for i in range(len(candles))]
        )
        return {"action": rows[:, 0], "confidence": rows[:, 1], "target weight": rows[:, 2]}

    return subject


def _document(report: LeakReport) -> dict[str, Any]:
    return {
        "mutations": report.mutations,
        "columns": report.columns,
        "untested": list(report.untested),
        "leaks": [
            {"column": leak.column, "mutation": leak.mutation, "known_until": leak.known_until,
             "first_difference": leak.opened_at, "was": leak.was, "became": leak.became,
             "difference": abs(leak.became - leak.was), "times": leak.times}
            for leak in report.leaks
        ],
    }  # fmt: skip


def _tell(name: str, report: LeakReport) -> None:
    columns = "1 column" if report.columns == 1 else f"{report.columns} columns"
    tried = f"{report.mutations:,} futures tried on {columns}"
    if report.untested:
        cold = ", ".join(report.untested)
        click.echo(f"{name}: not tested, as it never showed a number: {cold}")
    if not report.leaks:
        click.echo(f"ok    {name}: {tried}, nothing looked ahead")
        return
    click.echo(f"LEAK  {name}: {tried}, {len(report.leaks)} looked ahead")
    for leak in report.leaks[:_MOST_SHOWN]:
        click.echo(f"      {leak}")
    if len(report.leaks) > _MOST_SHOWN:
        say(f"and {len(report.leaks) - _MOST_SHOWN} more; --json names them all")
