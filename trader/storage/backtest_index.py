"""Where the files of backtests lie: one line of JSON for each `--out`, read by the dashboard."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

MOST = 500
"""Runs that are told of; the oldest are forgotten first, their files are left alone."""
_BIGGEST_RESULT = 8_000_000


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run whose files are there.

    Attributes:
        id: stays the same for the same folder.
        at: when it was written.
        folder: holds `report.html` and `result.json`.
    """

    id: str
    at: datetime
    folder: Path

    @property
    def report(self) -> Path:
        """The page that opens offline."""
        return self.folder / "report.html"

    def result(self) -> dict[str, Any]:
        """What `--json` printed; empty if the file is gone or was damaged."""
        try:
            path = self.folder / "result.json"
            if path.stat().st_size > _BIGGEST_RESULT:
                return {}
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class BacktestIndex:
    """`backtests.jsonl` in the data folder, appended to and never rewritten.

    Args:
        data_dir: where it lies; made at the first entry.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "backtests.jsonl"

    def add(self, folder: Path, now: datetime) -> None:
        """Note that a run was written to the folder.

        Raises:
            OSError: if the index cannot be written; the run's own files are not touched.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"at": now.isoformat(), "folder": str(folder.resolve())})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def runs(self) -> list[StoredRun]:
        """Runs whose report is still there, newest first; of one folder only the last."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found: dict[Path, StoredRun] = {}
        for line in lines:
            run = _run_of(line)
            if run is not None:
                found[run.folder] = run
        there = [run for run in found.values() if run.report.is_file()]
        return sorted(there, key=lambda run: run.at, reverse=True)[:MOST]

    def run(self, run_id: str) -> StoredRun | None:
        """One run by its id."""
        return next((run for run in self.runs() if run.id == run_id), None)


def _run_of(line: str) -> StoredRun | None:
    try:
        body = json.loads(line)
        folder = str(body["folder"])
        at = datetime.fromisoformat(str(body["at"]))
    except (ValueError, KeyError, TypeError):
        return None
    if at.tzinfo is None:
        return None
    return StoredRun(hashlib.sha256(folder.encode()).hexdigest()[:12], at, Path(folder))
