"""What to say where the packages are missing; it needs none itself, and runs on any Python 3."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

_ROOT = Path(__file__).resolve().parents[1]
MISUSED = 2


def missing_package(fault: BaseException) -> str | None:
    """The package that this Python lacks, None if the fault is another."""
    if not isinstance(fault, ModuleNotFoundError) or not fault.name:
        return None
    name = fault.name.partition(".")[0]
    ours = (_ROOT / name).is_dir() or (_ROOT / (name + ".py")).is_file()
    return None if ours else name


def as_error(name: str) -> dict[str, object]:
    """The error in the words of `--json`."""
    return {
        "category": "setup",
        "message": f"the package '{name}' is missing in {sys.executable}",
        "hint": "Run ./scripts/install.sh once, then activate what it has made: "
        ". .venv/bin/activate",
        "retryable": False,
    }


def end_without(fault: ModuleNotFoundError) -> NoReturn:
    """End the program with one clear line if a package is missing, else raise the fault."""
    name = missing_package(fault)
    if name is None:
        raise fault
    error = as_error(name)
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": error}, indent=2) + "\n")
    else:
        sys.stderr.write(f"error: {error['message']}\n  {error['hint']}\n")
    sys.exit(MISUSED)
