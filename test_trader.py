"""The user's stories, end to end, with the real commands in a folder of their own.

`python test_trader.py` runs these and everything under `tests/`; words after it go to pytest,
for example `python test_trader.py -k history -x`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    import pytest
except ModuleNotFoundError:
    sys.exit("pytest is missing. Install the test tools: pip install -r requirements-dev.txt")

from config import KNOWN

ROOT = Path(__file__).resolve().parent


class Project:
    """A user's folder: its own `.env`, data, models and logs; commands run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self, **values: str) -> None:
        lines = [f"{name}={value}\n" for name, value in values.items()]
        (self.folder / ".env").write_text("".join(lines), encoding="utf-8")

    def run(self, *words: str | Path, program: str = "run_trader.py", timeout: float = 120,
            **environ: str) -> subprocess.CompletedProcess[str]:  # fmt: skip
        mine = {name: text for name, text in os.environ.items() if name not in KNOWN}
        command = [sys.executable, str(ROOT / program), *map(str, words)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True,
                              timeout=timeout, env=mine | environ, check=False)  # fmt: skip

    def answer(self, *words: str | Path, status: int = 0, **more: Any) -> Any:
        """The one JSON document that the command prints."""
        done = self.run(*words, "--json", **more)
        assert done.returncode == status, done.stderr[-3000:] + done.stdout[-1000:]
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_help_lists_every_command_and_each_has_help_with_an_example(project: Project) -> None:
    from run_trader import COMMANDS

    listed = project.run("--help").stdout
    assert all(f"  {name}" in listed for name in COMMANDS)


def test_a_word_that_is_no_command_is_misuse_without_a_traceback(project: Project) -> None:
    done = project.run("strat")
    assert done.returncode == 2
    assert "strat" in done.stderr
    assert "Traceback" not in done.stderr


def main(words: list[str]) -> int:
    """Run pytest over this file and `tests/`, from the project's folder."""
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
