"""`run_trader.py history`: import, check and list candles."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import print_json, say
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    from config import Config
    from trader.storage.history import HistoryStore, Stored
    from trader.storage.ohlcvt import Imported, ImportReport


@click.group(name="history", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Import, check and list candles.

    \b
    Example:
      python run_trader.py history import XBTUSD_60.csv.gz
      python run_trader.py history check
    """


@command.command(name="import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--exchange", default="kraken", show_default=True, help="Whose candles these are.")
@click.option("--only", multiple=True, metavar="PAIR", help="Of an archive, only this pair.")
@click.option("--pair", help="What a file holds whose name does not say it.")
@click.option("--timeframe", help="Its timeframe, such as 1h.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def import_(
    paths: tuple[Path, ...],
    exchange: str,
    only: tuple[str, ...],
    pair: str | None,
    timeframe: str | None,
    as_json: bool,
) -> None:
    """Take in OHLCVT files: CSV, CSV.gz, ZIP or folders of them.

    Files are named as Kraken names them, XBTUSD_60.csv. Importing again changes nothing; a
    damaged file is refused with its line number and changes nothing either.

    \b
    Example:
      python run_trader.py history import XBTUSD_60.csv.gz Kraken_OHLCVT.zip
    """
    from trader.storage.ohlcvt import import_ohlcvt

    store = _store(exchange)
    _head("import", as_json)
    reports = []
    for path in paths:
        report = import_ohlcvt(
            store,
            path,
            now=datetime.now(UTC),
            pairs=tuple(Pair.parse(name) for name in only),
            pair=None if pair is None else Pair.parse(pair),
            timeframe=None if timeframe is None else Timeframe.parse(timeframe),
            progress=lambda name: say(f"reading {name}", quiet=as_json),
        )
        reports.append(report)
        if not as_json:
            _print_import(report)
    refused = [fault.message for report in reports for fault in report.refused]
    if refused:
        raise HistoryError(
            f"{len(refused)} files refused, the others imported: {' | '.join(refused[:5])}"
        )
    if as_json:
        print_json(_import_document(reports))


@command.command()
@click.option("--exchange", help="Only this exchange.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(exchange: str | None, as_json: bool) -> None:
    """Show for every stored series its span, its gaps and where it came from.

    \b
    Example:
      python run_trader.py history check --json
    """
    found = [(s.exchange, entry) for s in _stores(exchange) for entry in s.check()]
    _head("check", as_json)
    if as_json:
        print_json({"series": [_series_document(name, entry) for name, entry in found]})
    elif not found:
        click.echo("The store is empty. Import candles: python run_trader.py history import FILE")
    else:
        _print_check(found)


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def list_(as_json: bool) -> None:
    """List what is stored.

    \b
    Example:
      python run_trader.py history list
    """
    rows: list[tuple[str, ...]] = [
        (s.exchange, str(p), str(t)) for s in _stores(None) for p, t in s.pairs()
    ]
    if as_json:
        keys = ("exchange", "pair", "timeframe")
        print_json({"series": [dict(zip(keys, row, strict=True)) for row in rows]})
        return
    _head("list", as_json)
    for row in rows or [("the store is empty",)]:
        click.echo("  ".join(row))


def _config() -> Config:
    from config import load_config

    return load_config()


def _head(what: str, as_json: bool) -> None:
    config = _config()
    if not as_json:
        click.echo(f"{config.mode}  history {what}, {config.data_dir / 'candles'}")


def _store(exchange: str) -> HistoryStore:
    from trader.storage.history import HistoryStore

    return HistoryStore(_config().data_dir, exchange)


def _stores(exchange: str | None) -> list[HistoryStore]:
    if exchange:
        return [_store(exchange)]
    folder = _config().data_dir / "candles"
    names = sorted(f.name for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []
    return [_store(name) for name in names]


def _import_document(reports: list[ImportReport]) -> dict[str, Any]:
    return {
        "imported": [_imported_document(entry) for r in reports for entry in r.imported],
        "skipped": [name for report in reports for name in report.skipped],
    }


def _imported_document(entry: Imported) -> dict[str, Any]:
    return {
        "source": entry.source,
        "pair": str(entry.pair),
        "timeframe": str(entry.timeframe),
        "first": entry.first,
        "last": entry.last,
        "candles": entry.candles,
        "new": entry.new,
        "absent": entry.absent,
        "gaps": len(entry.gaps),
        "longest_gap": max((gap.candles for gap in entry.gaps), default=0),
        "conflicts": entry.conflicts,
        "notes": list(entry.notes),
    }


def _unit(timeframe: Timeframe) -> str:
    return {60: "minutes", 3600: "hours", 86400: "days", 604800: "weeks"}.get(
        timeframe.seconds, f"{timeframe} candles"
    )


def _print_import(report: ImportReport) -> None:
    for entry in report.imported:
        longest = max((gap.candles for gap in entry.gaps), default=0)
        _print_span(entry, len(entry.gaps), longest)
        click.echo(f"  {entry.new:,} new" if entry.new else "  all of it was there: no change")
        for note in entry.notes:
            click.echo(f"  note: {note}")
    if report.skipped:
        click.echo(f"skipped, not named like XBTUSD_60.csv: {', '.join(report.skipped[:8])}")


def _print_span(entry: Imported | Stored, runs: int, longest: int, exchange: str = "") -> None:
    click.echo(
        f"{entry.pair} {entry.timeframe}: {entry.candles:,} candles, "
        f"{entry.first:%Y-%m-%d %H:%M} to {entry.last:%Y-%m-%d %H:%M} UTC"
        + (f"  ({exchange})" if exchange else "")
    )
    share = entry.absent / (entry.absent + entry.candles)
    click.echo(
        f"  absent: {entry.absent:,} {_unit(entry.timeframe)} ({share:.1%}) in {runs:,} runs, "
        f"longest {longest:,}; left absent"
        if entry.absent
        else "  no candle is absent"
    )


def _series_document(exchange: str, entry: Stored) -> dict[str, Any]:
    return {
        "exchange": exchange,
        "pair": str(entry.pair),
        "timeframe": str(entry.timeframe),
        "first": entry.first,
        "last": entry.last,
        "candles": entry.candles,
        "absent": entry.absent,
        "gaps": entry.gaps,
        "longest_gap": entry.longest,
        "longest_gap_first": entry.longest_first,
        "without_volume": entry.without_volume,
        "sources": [
            {"source": p.source, "added_at": p.added_at, "candles": p.candles, "first": p.first,
             "last": p.last, "sha256": p.sha256}
            for p in entry.sources
        ],
    }  # fmt: skip


def _print_check(found: list[tuple[str, Stored]]) -> None:
    for exchange, entry in found:
        _print_span(entry, entry.gaps, entry.longest, exchange)
        if entry.longest_first:
            click.echo(f"  the longest begins {entry.longest_first:%Y-%m-%d %H:%M} UTC")
        if entry.without_volume:
            click.echo(f"  without volume: {entry.without_volume:,}")
        for source in entry.sources:
            mark = f", sha256 {source.sha256[:12]}" if source.sha256 else ""
            click.echo(
                f"  source: {source.source}, {source.candles:,} candles, "
                f"stored {source.added_at[:19]}{mark}"
            )
