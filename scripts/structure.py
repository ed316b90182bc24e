"""Writes PROJECT_STRUCTURE.md from the first line of every module; `make golden` runs it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Project structure

The doors are files at the top; the rooms behind them are in `trader/`. A module imports only from
rows below its own, which `tests/test_architecture.py` checks:

```
scripts | run_trader | commands | main | paper | venues | config
kraken_client | market_analyzer | ai_trader | risk_manager | trading_executor | monitor
trader.dashboard
trader.reports
trader.exchanges | trader.storage | trader.alerts | trader.clocks
trader.simulation
trader.strategies
trader.learning | trader.risk
trader.patterns
trader.indicators | trader.sentiment | trader.performance
trader.ports | trader.extensions
trader.domain
```

(The first row reads left to right as seven layers.) How they work together: [one candle, ten
steps](docs/one-candle.md). `make golden` writes this file from the first line of every module.
"""
OTHER_FILES = {
    "README.md": "what it is, the two commands, from paper to live",
    "CHANGELOG.md": "what changed, trading behaviour first",
    "MIT_LICENSE": "the licence",
    "requirements.in, requirements.txt": "what runs: asked for, and locked",
    "requirements-dev.in, requirements-dev.txt": "what tests: asked for, and locked",
    "requirements-bench.in, requirements-bench.txt": "the peers of the benchmarks",
    "pyproject.toml": "rules of ruff, mypy and pytest",
    "Makefile": "the developer's commands; `make help`",
    ".env.example": "every setting with its default; made from the table in `config.py`",
    "Dockerfile, docker-compose.yml, .dockerignore": "the container image; bot and dashboard",
    ".ci/run": "what continuous integration runs",
    "scripts/install.sh": "sets up and runs: the two commands of the README",
    "docs/, mkdocs.yml": "tutorials, how-to, explanation, reference, decision records; the site",
    "SECURITY.md, CONTRIBUTING.md": "reporting a weakness; half an hour to a first change",
    "tests/": "mirrors the tree; `test_trader.py` has the user's stories",
}
SECTIONS = {
    "The doors": "*.py",
    "Commands, one file each": "commands/*.py",
    "Programs beside": "scripts/*.py",
    "Words and values": "trader/domain/*.py",
    "Single rooms": "trader/*.py",
    "Indicators": "trader/indicators/**/*.py",
    "Learning": "trader/learning/**/*.py",
    "Strategies": "trader/strategies/**/*.py",
    "Risk": "trader/risk/**/*.py",
    "Simulation": "trader/simulation/**/*.py",
    "Exchanges": "trader/exchanges/**/*.py",
    "Storage": "trader/storage/**/*.py",
    "Reports": "trader/reports/**/*.py",
    "Dashboard": "trader/dashboard/**/*.py",
    "Examples of what users bring along": "examples/*.py",
    "For those who measure: speed": "benchmarks/**/*.py",
    "For those who measure: kills, faults, soaks": "campaigns/**/*.py",
}


def structure(root: Path = ROOT) -> str:
    """The text of PROJECT_STRUCTURE.md."""
    parts = [HEAD]
    for title, pattern in SECTIONS.items():
        rows = [_row(path, root) for path in sorted(root.glob(pattern)) if _has_words(path)]
        if rows:
            parts.append(f"## {title}\n\n| file | |\n|---|---|\n" + "\n".join(rows) + "\n")
    others = "\n".join(f"| `{name}` | {what} |" for name, what in OTHER_FILES.items())
    parts.append(f"## What is no Python\n\n| file | |\n|---|---|\n{others}\n")
    return "\n".join(parts)


def _has_words(path: Path) -> bool:
    return path.name != "__init__.py" or len(path.read_text(encoding="utf-8")) > 200


def _row(path: Path, root: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| `{path.relative_to(root)}` | {first} |"


if __name__ == "__main__":
    sys.stdout.write(structure())
