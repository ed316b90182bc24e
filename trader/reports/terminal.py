"""The few numbers of a backtest that matter, for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from trader.reports.figures import NAMES
from trader.reports.html import shown, yardsticks
from trader.simulation.backtest import BacktestResult

_ROWS = (
    ("total return", "total_return", "+.1%"),
    ("per year", "cagr", "+.1%"),
    ("deepest fall", "max_drawdown", ".1%"),
    ("Sharpe", "sharpe", ".2f"),
    ("closed trades", "trades", ",.0f"),
    ("winners", "hit_rate", ".0%"),
    ("in the market", "exposure", ".0%"),
    ("fees", "fees_quote", ",.0f"),
)


def print_summary(result: BacktestResult, console: Console) -> None:
    """A table beside the yardsticks, and what to make of it."""
    document = result.document
    console.print(
        f"PAPER  [bold]{', '.join(map(str, result.pairs))} {result.timeframe}, {result.strategy}"
        f"[/bold]  {result.span.in_days()}, {document['candles']:,} candles",
        highlight=False,
        soft_wrap=not console.is_terminal,
    )
    accounts = {"strategy": document["metrics"]}
    accounts |= {key: document["baselines"][key] for key in yardsticks(result)}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for key in accounts:
        table.add_column(NAMES.get(key, key), justify="right")
    for title, name, form in _ROWS:
        unit = f" {result.quote}" if name == "fees_quote" else ""
        table.add_row(title + unit, *(shown(a.get(name), form) for a in accounts.values()))
    console.print(table)
    console.print(_verdict(result), highlight=False, soft_wrap=not console.is_terminal)
    for note in result.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=not console.is_terminal)


def _ahead(result: BacktestResult) -> list[str]:
    """How far the Sharpe ratio is ahead of each yardstick's, as a range."""
    told = []
    for key in yardsticks(result):
        found = (result.document.get("differences") or {}).get(key, {}).get("sharpe")
        if found:
            value, low, high = (shown(found[name], "+.2f") for name in ("value", "low", "high"))
            told.append(f"{value} ({low} to {high}) against {NAMES.get(key, key)}")
    return [f"Sharpe, same days drawn for both, 90 %: {'; '.join(told)}"] if told else []


def _verdict(result: BacktestResult) -> str:
    m, tries = result.document["metrics"], result.document["trials_counted"]["words"]
    parts = []
    low, high = (result.document.get("intervals") or {}).get("sharpe", (None, None))
    if low is not None:
        parts.append(
            f"Sharpe {shown(m.get('sharpe'), '.2f')}, with 90 % certainty between "
            f"{shown(low, '.2f')} and {shown(high, '.2f')} (stationary bootstrap)"
        )
    elif m.get("sharpe") is None:
        parts.append(f"Sharpe {shown(None, '')}: the account's worth never swung")
    even = result.document.get("break_even_hit_rate")
    if even is not None:
        parts.append(
            f"winners needed to break even, costs paid: {shown(even, '.0%')}; "
            f"there were {shown(m.get('hit_rate'), '.0%')} of {m['trades']}"
        )
    parts.append(
        f"chance of being more than luck: {shown(m.get('dsr'), '.0%')} after {tries} "
        "(believe it from 95 % on)"
    )
    parts += _ahead(result)
    calibration = result.document.get("calibration")
    if calibration:
        auc, skill = shown(calibration["auc"], ".3f"), shown(calibration["log_loss_skill"], "+.2%")
        low, high = (shown(calibration.get(name), "+.2%") for name in ("skill_low", "skill_high"))
        parts.append(
            f"{calibration['n']:,} forecasts out of sample: AUC {auc}, skill {skill} "
            f"({low} to {high}) over the base rate known at the time"
        )
    return "\n".join(parts)
