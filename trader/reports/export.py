"""The files of a run: result.json, trades.csv, equity.csv, predictions.csv, report.html."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from trader.domain.errors import UsageError
from trader.domain.plain import iso, plain
from trader.reports.html import render_report
from trader.reports.lots import holdings
from trader.simulation.backtest import BacktestResult

TRADES = ("pair", "side", "entry_time", "entry_price", "exit_time", "exit_price", "qty", "fees")
EQUITY = ("time", "equity")
PREDICTIONS = ("pair", "time", "probability", "label", "label_known_at", "taken")


def write_files(result: BacktestResult, folder: Path) -> tuple[Path, ...]:
    """Write every file of the run; each is replaced whole.

    Raises:
        UsageError: if the folder cannot be written.
    """
    texts = {
        "result.json": _json(result.document),
        "trades.csv": table(TRADES, trade_rows(result)),
        "equity.csv": table(EQUITY, equity_rows(result)),
        "predictions.csv": table(PREDICTIONS, prediction_rows(result)),
        "report.html": render_report(result),
    }
    return tuple(_save(folder / name, text) for name, text in texts.items())


def save_json(document: Any, path: Path) -> Path:
    """Write a document; the file is replaced whole.

    Raises:
        UsageError: if the folder cannot be written.
    """
    return _save(path, _json(document))


def save_text(text: str, path: Path) -> Path:
    """A text as it is.

    Raises:
        UsageError: if the folder cannot be written.
    """
    return _save(path, text)


def save_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], path: Path) -> Path:
    """Write a CSV file with a header; the file is replaced whole.

    Raises:
        UsageError: if the folder cannot be written.
    """
    return _save(path, table(columns, rows))


def trade_rows(result: BacktestResult) -> Iterable[tuple[str, ...]]:
    """What was sold, first in first out and in the order of the sales, then what is still held."""
    for h in holdings(result.run.executions):
        yield (
            str(h.pair), "long", iso(h.entry_at), number(h.entry_price),
            "" if h.sale is None else iso(h.sale.at),
            "" if h.sale is None else number(h.sale.price),
            number(h.quantity), number(h.fees_quote),
        )  # fmt: skip


def equity_rows(result: BacktestResult) -> Iterable[tuple[str, ...]]:
    """The account's worth at every mark."""
    for second, equity in zip(result.run.times.tolist(), result.run.equity.tolist(), strict=True):
        yield iso(datetime.fromtimestamp(second, UTC)), f"{equity:.8f}"


def prediction_rows(result: BacktestResult) -> Iterable[tuple[str, ...]]:
    """The out-of-sample forecasts, oldest first."""
    for p in result.predictions:
        label = "" if p.label is None else str(p.label)
        yield (
            str(p.pair), iso(p.time), f"{p.probability:.6f}", label, iso(p.label_known_at),
            str(p.taken).lower(),
        )  # fmt: skip


def table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """CSV text with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def number(value: Decimal) -> str:
    """A decimal without exponent, digits beyond the eighteenth place dropped."""
    text = f"{round(value, 18):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json(document: Any) -> str:
    return json.dumps(plain(document), indent=2, ensure_ascii=False) + "\n"


def _save(path: Path, text: str) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        return fresh.replace(path)
    except OSError as fault:
        raise UsageError(
            f"--out {path.parent}: cannot be written ({fault.strerror or fault})"
        ) from fault
