"""Backtests on the dashboard: which there are, what they came to, and their reports."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import Any

from trader.dashboard.reading import NotThere
from trader.domain.plain import plain
from trader.storage.backtest_index import BacktestIndex, StoredRun

MOST_COMPARED = 4
_POINTS = 400
_SHOWN = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "trades",
    "hit_rate", "profit_factor", "exposure", "turnover", "fees_quote", "psr", "dsr",
)  # fmt: skip
_SCRIPT = re.compile(rb"<script\b[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)


def listed(index: BacktestIndex) -> dict[str, Any]:
    """All runs, newest first."""
    return {"runs": [_row(run) for run in index.runs()]}


def compared(index: BacktestIndex, ids: list[str]) -> dict[str, Any]:
    """Some runs side by side: figures, yardsticks and curves that begin at 1.

    Raises:
        NotThere: if one of them is not there.
    """
    return {"runs": [_whole(_found(index, run_id)) for run_id in ids[:MOST_COMPARED]]}


def report(index: BacktestIndex, run_id: str) -> tuple[bytes, str]:
    """The report's page and the policy it is shown under.

    The page brings its own scripts. They are named one by one by their hashes, and the page is
    put into a sandbox of its own: it can ask nothing of the dashboard or of anybody else.

    Raises:
        NotThere: if it is not there.
    """
    run = _found(index, run_id)
    try:
        page = run.report.read_bytes()
    except OSError as fault:
        raise NotThere(f"the report of run {run.id} cannot be read ({fault.strerror})") from fault
    hashes = " ".join(f"'sha256-{_hash(script)}'" for script in _SCRIPT.findall(page))
    hashes = hashes or "'none'"
    return page, (
        f"sandbox allow-scripts; default-src 'none'; script-src {hashes}; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def _hash(script: bytes) -> str:
    # A browser hashes the script after it has made every line end the same.
    text = script.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return base64.b64encode(hashlib.sha256(text).digest()).decode()


def _found(index: BacktestIndex, run_id: str) -> StoredRun:
    run = index.run(run_id)
    if run is None:
        raise NotThere(
            f"there is no backtest '{run_id[:40]}'",
            "scripts/backtest.py … --out FOLDER makes one; the list shows those that are there.",
        )
    return run


def _row(run: StoredRun) -> dict[str, Any]:
    result = run.result()
    metrics = _dictionary(result.get("metrics"))
    licence = _dictionary(result.get("licence"))
    hold = _dictionary(_dictionary(result.get("baselines")).get("buy_and_hold"))
    return {
        "id": run.id,
        "at": plain(run.at),
        "name": run.folder.name,
        "pairs": result.get("pairs") or [],
        "timeframe": result.get("timeframe"),
        "strategy": result.get("strategy"),
        "start": result.get("start"),
        "end": result.get("end"),
        "trials": result.get("trials"),
        "costs": result.get("costs"),
        "licensed": licence.get("granted"),
        "digest": str(result.get("digest") or "")[:12],
        "metrics": {name: metrics.get(name) for name in _SHOWN},
        "hold": {name: hold.get(name) for name in _SHOWN},
    }


def _whole(run: StoredRun) -> dict[str, Any]:
    return {**_row(run), "curve": _curve(run)}


def _curve(run: StoredRun) -> list[dict[str, Any]]:
    """The worth of the account as a multiple of its beginning; at most 400 points."""
    try:
        lines = (run.folder / "equity.csv").read_text(encoding="utf-8").splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return []
    step = max(1, -(-len(lines) // _POINTS))
    chosen = lines[::step] + (lines[-1:] if lines and (len(lines) - 1) % step else [])
    points = [point for line in chosen if (point := _point(line)) is not None]
    start = points[0][1] if points else 0.0
    if start <= 0:
        return []
    return [{"time": at, "value": worth / start} for at, worth in dict(points).items()]


def _point(line: str) -> tuple[int, float] | None:
    moment, _, worth = line.partition(",")
    try:
        return int(datetime.fromisoformat(moment).timestamp()), float(worth)
    except ValueError:
        return None


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
