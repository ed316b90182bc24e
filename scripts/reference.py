"""Writes the reference pages from the commands and registries; `make golden` runs it.

`python scripts/reference.py` writes `docs/reference/*.md` and the list of decisions;
`--check` only says whether they are up to date.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WIDTH = 96


def commands_page() -> str:
    """Every command with the help it prints."""
    from run_trader import COMMANDS

    lines = [
        "# Commands", "",
        "What each prints with `--help`. All of them: `--json` prints one document on stdout and",
        "nothing else there; talk goes to stderr. Exit status: 0 done, 1 failed, 2 misused,",
        "3 refused by a rule, 4 exchange not reached or outcome unknown.",
    ]  # fmt: skip
    for name in COMMANDS:
        found = importlib.import_module(f"commands.{name}").command
        for call, command in _family(f"run_trader.py {name}", found):
            lines += ["", f"## {call}", "", "```text", _help(call, command), "```"]
    for script in ("backtest", "monitor_dashboard"):
        found = importlib.import_module(f"scripts.{script}").command
        call = f"scripts/{script}.py"
        lines += ["", f"## {call}", "", "```text", _help(call, found), "```"]
    return "\n".join(lines) + "\n"


def _family(call: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield call, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            if child is not None:
                yield from _family(f"{call} {name}", child)


def _help(call: str, command: click.Command) -> str:
    context = click.Context(command, info_name=call, max_content_width=WIDTH)
    context.terminal_width = WIDTH
    return command.get_help(context).rstrip()


def parts_page() -> str:
    """Strategies, models, rules and alerts from their registries."""
    from trader.exchanges.outside import SOURCES
    from trader.learning.estimators import ESTIMATORS, MODEL_TYPES
    from trader.strategies.registry import all_strategies

    strategies = [
        f"| `{e.name}` | {e.summary} | {'yes' if e.learns else 'no'} |"
        for e in all_strategies().values()
    ]
    models = [f"| `{name}` | {', '.join(members)} |" for name, members in MODEL_TYPES.items()]
    members = [f"| `{name}` | {_first(factory)} |" for name, factory in ESTIMATORS.items()]
    alerts = [f"| {title} | {severity} |" for title, severity in _alerts()]
    sources = [f"| `{name}` | `{place}` |" for name, place in SOURCES.items()]
    return "\n".join([
        "# Strategies, models, alerts", "",
        "Written from the registries. One of your own: [a strategy](../how-to/add-a-strategy.md),",
        "[a model](../how-to/add-a-model.md), [an alert](../how-to/get-alerts.md). The rules that",
        "may refuse a trade are in [the states of risk](../risk-states.md).",
        "", "## Strategies: `STRATEGY`", "", "| name | what it does | learns |", "|---|---|---|",
        *strategies,
        "", "## Models: `MODEL_TYPE`", "", "| name | members |", "|---|---|", *models,
        "", "| member | |", "|---|---|", *members,
        "", "## Alerts", "", "| alert | severity |", "|---|---|", *alerts,
        "", "## Outside sentiment: `SENTIMENT_SOURCES`", "", "| name | where |", "|---|---|",
        *sources, "",
    ])  # fmt: skip


def _alerts() -> list[tuple[str, str]]:
    """Title and severity of every alert there is, read from where they are made."""
    tree = ast.parse((ROOT / "trader" / "alerts.py").read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Alert" and len(node.args) > 2:
            title, severity = node.args[2], node.args[1]
            told = severity.value if isinstance(severity, ast.Constant) else "by its state"
            found.append((_words(title), str(told)))
    return list(dict.fromkeys(found))


def _words(text: ast.expr) -> str:
    """A text of the source as people see it, what is filled in as …."""
    if isinstance(text, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in text.values)
    return str(text.value) if isinstance(text, ast.Constant) else "… (health of a limit or part)"


def _first(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]


def decisions_page() -> str:
    """The list of decision records."""
    rows = []
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        found = re.search(r"^# \d+\. (.+)$|^# (.+)$", path.read_text(encoding="utf-8"), re.M)
        title = (found[1] or found[2]) if found else path.stem
        rows.append(f"- [{title}]({path.name})")
    return "# Decisions\n\nWhy it is as it is: context, choice, price, when to look again.\n\n" + (
        "\n".join(rows) + "\n"
    )


PAGES = {
    "docs/reference/commands.md": commands_page,
    "docs/reference/parts.md": parts_page,
    "docs/decisions/index.md": decisions_page,
}


def main(words: list[str]) -> int:
    """Write the pages, or check them."""
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in words:
                path.write_text(text, encoding="utf-8")
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return int(bool(stale) and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
