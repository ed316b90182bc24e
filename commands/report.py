"""`report`: what was earned, by day, week and month."""

from __future__ import annotations

from typing import Any

import click

from commands.account import FIRST_STEP, choose_book, mode_of, open_book
from commands.common import print_json
from config import load_config


@click.command("report")
@click.option(
    "--by",
    type=click.Choice(["day", "week", "month"]),
    default="day",
    show_default=True,
    help="Length of a period; UTC, weeks begin on Monday.",
)
@click.option("--last", type=click.IntRange(1), default=14, show_default=True, help="How many.")
@click.option("--book", help="Another account than the one that ran last.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(by: str, last: int, book: str | None, as_json: bool) -> None:
    """What the account earned after fees, beside simply holding the pairs.

    \b
    Example:
      python run_trader.py report --by week
    """
    from trader.domain.account import AccountView
    from trader.domain.errors import UsageError
    from trader.periods import account_figures, periods
    from trader.simulation.quality import order_qualities, summary

    config = load_config()
    chosen = choose_book(config, book)
    if chosen is None:
        raise UsageError("there is nothing to report", FIRST_STEP)
    view = AccountView()
    with open_book(config, chosen) as journal:
        view.read(journal.events())
        executed = summary(order_qualities(event for _, event in journal.events()))
        mode = mode_of(journal, "PAPER")
    found = periods(view, by)[-last:]  # type: ignore[arg-type]
    figures = account_figures(view)
    if as_json:
        rows = [_row(period) for period in found]
        print_json(
            {"mode": mode, "book": chosen, "by": by, "quote": view.quote, "periods": rows,
             "metrics": figures, "execution": executed}
        )  # fmt: skip
        return
    _show(mode, chosen, view.quote, by, [_row(period) for period in found], figures)
    _show_execution(executed)


def _row(period: Any) -> dict[str, Any]:
    return {
        "begins": period.begins.isoformat(),
        "profit": round(period.profit, 2),
        "profit_fraction": period.profit_fraction,
        "hold_return": period.hold_return,
        "fees": round(period.fees, 2),
        "trades": period.trades,
        "winners": period.winners,
    }


def _show_execution(executed: dict[str, Any]) -> None:
    """How well the orders were executed, in a line."""
    lost, made = executed["taker_slippage_bp"], executed["maker_share"]
    if made is None:
        return
    parts = [f"{executed['orders']:,} orders", f"{made:.0%} of purchases filled as a maker"]
    if lost is not None:
        parts.append(f"takers filled {lost:+.1f} bp from what was expected")
    click.echo("; ".join(parts))


def _show(
    mode: str,
    book: str,
    quote: str,
    by: str,
    rows: list[dict[str, Any]],
    figures: dict[str, Any] | None,
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{mode}[/bold]  {book}: profit by {by}, after fees")
    if not rows:
        console.print("No candle has been decided yet.")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in (by, f"profit {quote}", "%", "holding", "fees", "winners"):
        table.add_column(title, justify="left" if title == by else "right")
    for row in rows:
        colour = "green" if row["profit"] > 0 else "red" if row["profit"] < 0 else "dim"
        table.add_row(
            row["begins"],
            f"[{colour}]{row['profit']:+,.2f}[/]",
            f"{row['profit_fraction']:+.2%}",
            f"{row['hold_return']:+.2%}",
            f"{row['fees']:,.2f}",
            f"{row['winners']} of {row['trades']}",
        )
    console.print(table)
    if figures is not None:
        # Null in the first days: a Sharpe ratio of a week is a number, but says nothing.
        sharpe = "" if figures["sharpe"] is None else f", Sharpe {figures['sharpe']:.2f}"
        console.print(
            f"in all {figures['total_return']:+.2%}, deepest fall "
            f"{figures['max_drawdown']:.2%}{sharpe}"
        )
