"""An analysis for people: grouped, coloured by meaning, within 80 columns."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

from rich.console import Console
from rich.text import Text

from commands.analysis import Answer
from trader.domain.candles import Candles
from trader.domain.signals import Approval
from trader.indicators.crossmarket import LEADER
from trader.indicators.registry import INDICATORS, Unit
from trader.reports.readings import (
    Group,
    Row,
    groups_of,
    others_group,
    price_text,
    timeframes_group,
    unknown_names,
)

WIDTH = 80
_STYLE = {"up": "green", "down": "red", "warn": "yellow", "plain": ""}
_ACTION = {"buy": "bold green", "sell": "bold red", "hold": "bold"}
_BAR = 10


def show(answer: Answer, *, everything: bool = False, console: Console | None = None) -> None:
    """Print the analysis; `everything` adds every indicator by name."""
    out = console or Console(highlight=False)
    width = min(out.width, WIDTH)
    out.print(_head(answer, width))
    out.print(_price_line(answer))
    for group in groups_of(answer.snapshot):
        _show_group(out, group, width)
    if answer.timeframes:
        _show_group(out, timeframes_group(answer.timeframes), width)
    if not math.isnan(answer.others["leader_lead_60"]):
        _show_group(out, others_group(answer.others, LEADER), width)
    out.print()
    _show_decision(out, answer, width)
    if everything:
        _show_all(out, answer, width)


def _head(answer: Answer, width: int) -> Text:
    snapshot = answer.snapshot
    left = f"{snapshot.pair} {snapshot.timeframe}, closed {snapshot.closed_at:%Y-%m-%d %H:%M} UTC"
    head = Text(left, style="bold")
    head.append(" " * max(2, width - len(left) - len(answer.mode)))
    head.append(answer.mode, style="bold black on green" if answer.mode == "PAPER" else
                "bold white on red")  # fmt: skip
    return head


def _price_line(answer: Answer) -> Text:
    snapshot = answer.snapshot
    line = Text(f"{price_text(snapshot.price)} {snapshot.pair.quote}", style="bold")
    for name, days in (("a day", 1), ("7 days", 7), ("30 days", 30)):
        change = change_since(snapshot.candles, timedelta(days=days))
        line.append(f"   {name} ", style="dim")
        if change is None:
            line.append("–", style="dim")
        else:
            line.append(f"{change * 100:+.1f} %", style="green" if change > 0 else "red")
    return line


def change_since(candles: Candles, time: timedelta) -> float | None:
    """Change of the newest close from the one that was known so much time before, a fraction.

    None where the candles do not tell: they begin later, or one of them is longer than that.
    """
    known = candles.count_known_at(candles.closed_at - time)
    if not known or candles.timeframe.delta > time:
        return None
    return float(candles.close[-1] / candles.close[known - 1] - 1)


def _show_group(out: Console, group: Group, width: int) -> None:
    title = Text(f"\n{group.title.upper():<13}", style="bold")
    title.append(group.summary, style=_STYLE[group.tone] or "dim")
    out.print(title)
    barred = any(row.scale is not None for row in group.rows)
    for row in group.rows:
        _show_row(out, row, width, barred)


def _show_row(out: Console, row: Row, width: int, barred: bool) -> None:
    line = Text(f"  {row.name:<19} ")
    line.append(f"{row.value:>11} ")
    if barred:
        line.append(_bar(row.scale), style="cyan")
    line.append(" ")
    indent = line.cell_len
    for number, words in enumerate(Text(row.words).wrap(out, width - indent)):
        start = line if number == 0 else Text(" " * indent)
        words.rstrip()
        out.print(start.append(words.plain, style=_STYLE[row.tone]))


def _bar(scale: float | None) -> str:
    if scale is None:
        return " " * _BAR
    place = min(int(scale * _BAR), _BAR - 1)
    return "─" * place + "●" + "─" * (_BAR - 1 - place)


def _show_decision(out: Console, answer: Answer, width: int) -> None:
    signal = answer.signal
    line = Text("signal   ", style="bold")
    line.append(str(signal.action).upper(), style=_ACTION[str(signal.action)])
    line.append(f", confidence {signal.confidence:.2f}, by {signal.strategy}")
    out.print(line)
    for reason in signal.reasons:
        _wrapped(out, reason, width)
    if answer.plan is not None:
        _show_plan(out, answer, answer.plan, width)
    elif answer.refusals:
        out.print(Text("plan     ", style="bold").append("none: refused", style="yellow"))
        for refusal in answer.refusals:
            _wrapped(out, f"{refusal.rule}: {refusal.reason}", width)
    else:
        out.print(Text("plan     ", style="bold").append("nothing to do"))
    out.print(Text(f"source   {answer.source}", style="dim"))


def _show_plan(out: Console, answer: Answer, plan: Approval, width: int) -> None:
    base, quote = plan.pair.base, plan.pair.quote
    line = Text("plan     ", style="bold")
    line.append(f"{plan.side} {plan.quantity} {base} at {price_text(float(plan.entry))} ")
    line.append(f"for {_money(plan.cost_quote)} {quote}, fee included")
    out.print(line)
    if plan.stop is not None:
        distance = float(plan.stop / plan.entry - 1)
        _wrapped(out, f"stop {price_text(float(plan.stop))} ({distance:+.1%}); hit, it loses "
                      f"{_money(plan.risk_quote)} {quote}, costs included", width)  # fmt: skip
    if plan.take_profit is not None:
        even = plan.break_even_probability
        told = "" if even is None else f"; breaks even if reached in {even:.0%} of the cases"
        _wrapped(out, f"target {price_text(float(plan.take_profit))}{told}", width)
    _wrapped(out, f"for an account of {_money(answer.equity)} {quote} without positions", width)


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _wrapped(out: Console, text: str, width: int) -> None:
    for line in Text(text).wrap(out, width - 9):
        out.print(Text(" " * 9).append_text(line))


def _show_all(out: Console, answer: Answer, width: int) -> None:
    values, group = answer.snapshot.indicators, ""
    for name, entry in INDICATORS.items():
        if entry.group != group:
            group = entry.group
            out.print(Text(f"\n{group.upper()}, every indicator", style="bold"))
        meaning = entry.meaning
        space = width - 40
        short = meaning if len(meaning) <= space else meaning[: space - 1] + "…"
        out.print(Text(f"  {name:<22}{_shown(values[name], entry.unit):>14}  ").append(
            short, style="dim"))  # fmt: skip
    waiting = unknown_names(answer.snapshot)
    if waiting:
        out.print(Text(f"\n{len(waiting)} are still warming up: more candles are needed."))


def _shown(value: float, unit: Unit) -> str:
    if math.isnan(value):
        return "warming up"
    if unit is Unit.PRICE:
        return price_text(value)
    if unit is Unit.FRACTION:
        return f"{value * 100:.2f} %"
    return f"{value:,.2f}" if value == 0 or 0.01 <= abs(value) < 1e8 else f"{value:.3g}"
