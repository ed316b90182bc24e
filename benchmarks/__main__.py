"""`python -m benchmarks [NAME…]`."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys

import benchmarks
from benchmarks.registry import BENCHMARKS, Measurement

USAGE = """usage: python -m benchmarks [NAME…] [--list] [--json] [--runs N]

Each benchmark measures ours and the peer's in one run. Without a name all are run.

Example:
  python -m benchmarks analysis.shared --runs 5
"""


def main(words: list[str]) -> int:
    """Run what is named; the exit status is 2 for a wrong name or option."""
    names, options, runs = [], set(), 3
    rest = iter(words)
    for word in rest:
        if word == "--runs":
            count = next(rest, "")
            if not count.isdigit() or int(count) < 1:
                return _misused(f"--runs {count}: expected a number from 1 on")
            runs = int(count)
        elif word.startswith("-"):
            options.add(word)
        else:
            names.append(word)
    if options & {"-h", "--help"}:
        print(USAGE)
        return 0
    if options - {"--list", "--json"}:
        return _misused(f"unknown option {min(options - {'--list', '--json'})}")
    _load()
    unknown = [n for n in names if not _matching(n)]
    if unknown:
        return _misused(f"no benchmark '{unknown[0]}'; there are: {', '.join(BENCHMARKS)}")
    chosen = [n for n in BENCHMARKS if not names or any(n in _matching(w) for w in names)]
    if "--list" in options:
        return _list(chosen, as_json="--json" in options)
    return _run(chosen, runs, as_json="--json" in options)


def _load() -> None:
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name not in {"__main__", "registry"}:
            importlib.import_module(f"benchmarks.{module.name}")


def _matching(name: str) -> list[str]:
    """A whole name, or the first part of several."""
    return [n for n in BENCHMARKS if n == name or n.startswith(f"{name}.")]


def _list(names: list[str], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([{"name": n, "what": BENCHMARKS[n][0]} for n in names], indent=2))
    for name in () if as_json else names:
        print(f"{name:<22}{BENCHMARKS[name][0]}")
    return 0


def _run(names: list[str], runs: int, *, as_json: bool) -> int:
    lines: list[Measurement] = []
    for name in names:
        print(f"{name}: {BENCHMARKS[name][0]}", file=sys.stderr)
        for line in BENCHMARKS[name][1](runs):
            lines.append(line)
            if not as_json:
                _show(line)
    if as_json:
        print(json.dumps([line.as_dict() for line in lines], indent=2))
    return 0


def _show(line: Measurement) -> None:
    memory = "" if line.peak_mb is None else f"{line.peak_mb:>8,.0f} MB"
    print(
        f"  {line.item:<34}{line.tool:<14}{line.bars:>10,} {line.seconds:>11.6f} s "
        f"({line.min_s:.6f} to {line.max_s:.6f}, {line.runs}){memory}  {line.notes}"
    )


def _misused(fault: str) -> int:
    print(f"error: {fault}\n\n{USAGE}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
