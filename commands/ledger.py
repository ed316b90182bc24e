"""`run_trader.py ledger`: every fill, fee and transfer, exact decimals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.common import print_json, say, write_file
from trader.domain.errors import UsageError

if TYPE_CHECKING:
    from trader.reports.ledger import Entry
    from trader.reports.lots import Lot


@click.command(name="ledger", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--format", "form", type=click.Choice(["csv", "json", "koinly"]), default="csv",
    show_default=True, help="Form of the answer.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file.")
@click.option(
    "--lots",
    "as_lots",
    is_flag=True,
    help="Lots instead: bought when, for how much, and what the sale earned (FIFO).",
)
@click.option("--book", help="Account to show; the one that ran last if left out.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="As --format json.",
)
def command(form: str, out: Path | None, as_lots: bool, book: str | None, as_json: bool) -> None:
    """Every fill, fee and transfer of the account, in exact decimals.

    \b
    Example:
      python run_trader.py ledger --format koinly --out trades.csv
      python run_trader.py ledger --lots --out lots.csv
    """
    from commands.account import FIRST_STEP, choose_book
    from config import load_config

    config = load_config()
    form = "json" if as_json else form
    if as_lots and form == "koinly":
        raise UsageError("--lots with --format koinly", "Koinly makes its own lots of the fills.")
    chosen = choose_book(config, book)
    if chosen is None:
        say(f"{config.mode}  {FIRST_STEP}")
        mode, quote, entries, held = config.mode, config.quote, [], []
    else:
        from commands.account import mode_of, open_book
        from trader.domain.events import CashAdjusted, OrderFilled
        from trader.reports.ledger import ledger
        from trader.reports.lots import lots

        with open_book(config, chosen) as journal:
            mode = mode_of(journal, config.mode)
            quote = _quote(journal.path, chosen) or config.quote
            kinds = (CashAdjusted, OrderFilled)
            events = [event for _, event in journal.events(kinds=kinds)]
            entries, held = ledger(quote, events), lots(quote, events)
        note = "" if mode == "LIVE" else "; simulated, no real money"
        say(f"{mode}  book {chosen}, {len(held if as_lots else entries)} lines{note}")
    if as_lots and form == "csv":
        _put(_lots_text(held), out)
    else:
        _put(_text(form, mode, chosen, quote, entries, held), out)
    if as_json and out is not None:
        rows = {"rows": len(entries), "lots": len(held)}
        print_json({"mode": mode, "book": chosen, "written": str(out), **rows})


def _quote(path: Path, book: str) -> str:
    from trader.storage.journal import list_books

    info = next(i for i in list_books(path) if i.name == book)
    return info.session.pairs[0].quote if info.session and info.session.pairs else ""


def _lots_text(held: list[Lot]) -> str:
    from trader.reports.ledger import table
    from trader.reports.lots import LOT_COLUMNS, lot_rows

    return table(LOT_COLUMNS, (tuple(row.values()) for row in lot_rows(held)))


def _text(
    form: str, mode: str, book: str | None, quote: str, entries: list[Entry], held: list[Lot]
) -> str:
    from trader.reports.ledger import csv_text, koinly_text, rows, totals
    from trader.reports.lots import lot_rows

    if form == "csv":
        return csv_text(entries)
    if form == "koinly":
        return koinly_text(entries)
    document = {"mode": mode, "book": book, "totals": totals(quote, entries),
                "entries": rows(entries), "lots": lot_rows(held)}  # fmt: skip
    return json.dumps(document, indent=2) + "\n"


def _put(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
        return
    write_file("--out", out, text)
    say(f"written to {out}")
