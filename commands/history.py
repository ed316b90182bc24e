"""`run_trader.py history`: import, download, check and list candles."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import parse_time, print_json, say, write_file
from trader.domain.candles import Timeframe
from trader.domain.errors import ExitStatus, HistoryError, UsageError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    from config import Config
    from trader.storage.history import HistoryStore
    from trader.storage.ohlcvt import Imported, ImportReport
    from trader.storage.quality import Quality

_FIRST_IMPORT = "Import candles: python run_trader.py history import FILE"


@click.group(name="history", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Import, download, check and list candles.

    \b
    Example:
      python run_trader.py history import XBTUSD_60.csv.gz
      python run_trader.py history download BTC/USD --start 2024-01-01
      python run_trader.py history check
    """


@command.command(name="import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--exchange", default="kraken", show_default=True, help="Whose candles these are.")
@click.option("--only", multiple=True, metavar="PAIR", help="Of an archive, only this pair.")
@click.option("--list", "only_list", is_flag=True, help="Say what is inside, import nothing.")
@click.option("--pair", help="What a file holds whose name does not say it.")
@click.option("--timeframe", help="Its timeframe, such as 1h.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def import_(
    paths: tuple[Path, ...],
    exchange: str,
    only: tuple[str, ...],
    only_list: bool,
    pair: str | None,
    timeframe: str | None,
    as_json: bool,
) -> None:
    """Take in archives of candles or single trades: CSV, CSV.gz, ZIP or folders of them.

    Files are named as Kraken names them: XBTUSD_60.csv has candles, XBTUSD.csv trades. An archive
    of all pairs is read in one stream. Importing again changes nothing; a damaged file is refused
    with its line number and changes nothing either.

    \b
    Example:
      python run_trader.py history import XBTUSD_60.csv.gz
      python run_trader.py history import Kraken_OHLCVT.zip --list
      python run_trader.py history import Kraken_OHLCVT.zip --only BTC/USD --only ETH/USD
    """
    from trader.storage.ohlcvt import import_ohlcvt

    if only_list:
        _list_inside(paths, as_json)
        return
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
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Also write a picture: a cell for each month.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.pass_context
def check(context: click.Context, exchange: str | None, chart: Path | None, as_json: bool) -> None:
    """Show for every stored series its score, its gaps with their reasons, and its sources.

    \b
    Example:
      python run_trader.py history check --chart quality.html
    """
    found, damaged = _judged(exchange)
    _head("check", as_json)
    if chart is not None:
        from trader.reports.history_chart import page

        write_file("--chart", chart, page(found, datetime.now(UTC)))
        say(f"chart: {chart}", quiet=as_json)
    if as_json:
        print_json({
            "series": [_series_document(quality) for quality in found],
            "damaged": [fault.as_dict() for fault in damaged],
        })  # fmt: skip
    elif not found and not damaged:
        click.echo(f"The store is empty. {_FIRST_IMPORT}")
    else:
        _print_check(found)
    if damaged:
        if as_json:
            # The document says it; an error would be a second one.
            context.exit(ExitStatus.FAILED)
        raise HistoryError(
            f"{len(damaged)} files damaged: {' | '.join(fault.message for fault in damaged[:5])}",
            damaged[0].hint,
        )


@command.command()
@click.argument("pairs", nargs=-1, required=True, metavar="PAIR…")
@click.option("--start", metavar="TIME", help="From here on (UTC).")
@click.option("--end", metavar="TIME", help="Up to here; now by default.")
@click.option(
    "--source",
    default="",
    metavar="S",
    help="kraken, kraken-trades or ccxt:EXCHANGE; by default the quick one that "
    "reaches back far enough.",
)
@click.option(
    "--timeframe",
    "timeframes",
    multiple=True,
    metavar="T",
    help="Only this one, of kraken and ccxt; trades always give all.",
)
@click.option("--yes", is_flag=True, help="Do not ask, however long it takes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def download(
    pairs: tuple[str, ...],
    start: str | None,
    end: str | None,
    source: str,
    timeframes: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Get candles from Kraken, from its single trades, or from another exchange.

    Trades give candles of every timeframe and may be stopped and gone on with at any time.

    \b
    Example:
      python run_trader.py history download BTC/USD
      python run_trader.py history download BTC/USD ETH/USD --start 2024-01-01
      python run_trader.py history download BTC/USDT --source ccxt:binance --start 2020-01-01
    """
    from commands.history_download import Wish
    from commands.history_download import download as get

    now = datetime.now(UTC)
    wish = Wish(
        tuple(dict.fromkeys(Pair.parse(name) for name in pairs)),
        None if start is None else parse_time(start, "--start"),
        now if end is None else min(now, parse_time(end, "--end")),
        source,
        tuple(Timeframe.parse(name) for name in timeframes),
        yes,
        as_json,
    )
    _head("download", as_json)
    found = get(_config(), wish)
    if as_json:
        print_json(found)
        return
    for entry in found["series"]:
        click.echo("  ".join(f"{key} {value}" for key, value in entry.items()))


@command.command()
@click.option("--download", "source", metavar="NAME", help="Get a source's published past first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def sentiment(source: str | None, as_json: bool) -> None:
    """Show what is on record of the mood: what a backtest will see, as it was known then.

    \b
    Example:
      python run_trader.py history sentiment
      python run_trader.py history sentiment --download fear-and-greed
    """
    from commands.history_sentiment import fill_up, recorded

    config = _config()
    if source is not None:
        say(f"{source}: {fill_up(config, source):,} readings", quiet=as_json)
    rows = recorded(config)
    if as_json:
        print_json({"series": rows})
        return
    _head("sentiment", as_json)
    for row in rows:
        click.echo(
            f"{row['name']}{' ' + row['pair'] if row['pair'] else ''}  ({row['exchange']}): "
            f"{row['readings']:,} readings, {row['first']:%Y-%m-%d %H:%M} to "
            f"{row['last']:%Y-%m-%d %H:%M} UTC"
        )
    if not rows:
        click.echo("Nothing is on record. It begins when the bot runs on real prices.")


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
    """All that are stored, or the one that is named.

    Raises:
        UsageError: if nothing is stored of the exchange that is named.
    """
    folder = _config().data_dir / "candles"
    names = sorted(f.name for f in folder.iterdir() if f.is_dir()) if folder.is_dir() else []
    if exchange is None:
        return [_store(name) for name in names]
    wanted = _store(exchange)
    if wanted.exchange not in names:
        there = f"stored: {', '.join(names)}" if names else "the store is empty"
        raise UsageError(
            f"--exchange {exchange}: no candles of it are stored; {there}",
            "Name one of these, or leave it out for all." if names else _FIRST_IMPORT,
        )
    return [wanted]


def _judged(exchange: str | None) -> tuple[list[Quality], list[HistoryError]]:
    """Every series that can be read, and what is wrong with the others."""
    from trader.storage.quality import judge

    found, damaged = [], []
    for store in _stores(exchange):
        for pair, timeframe in store.pairs():
            try:
                found.append(judge(store, pair, timeframe))
            except HistoryError as fault:
                damaged.append(fault)
    return found, damaged


def _list_inside(paths: tuple[Path, ...], as_json: bool) -> None:
    """What is in some archives, by pair."""
    from trader.storage.ohlcvt import opened_members

    rows: dict[str, dict[str, int]] = {}
    skipped: list[str] = []
    for path in paths:
        with opened_members(path) as (members, others):
            skipped += others
            for member in members:
                kind = str(member.timeframe or "trades")
                rows.setdefault(str(member.pair), {})[kind] = member.size
    if as_json:
        print_json({"pairs": rows, "skipped": skipped})
        return
    _head("import --list", as_json)
    for name, kinds in sorted(rows.items()):
        click.echo(f"{name:<14}{', '.join(kinds)}  ({sum(kinds.values()) / 1e6:,.1f} MB)")
    click.echo(f"{len(rows)} pairs; {len(skipped)} other files")


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
        "trades": entry.trades,
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


def _print_span(entry: Any, runs: int, longest: int, exchange: str = "") -> None:
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


def _series_document(quality: Quality) -> dict[str, Any]:
    entry = quality.stored
    return {
        "exchange": quality.exchange,
        "pair": str(entry.pair),
        "timeframe": str(entry.timeframe),
        "score": quality.score,
        "first": entry.first,
        "last": entry.last,
        "candles": entry.candles,
        "absent": entry.absent,
        "absent_by_reason": {str(kind): count for kind, count in entry.absences.items()},
        "gaps": entry.gaps,
        "longest_gap": entry.longest,
        "longest_gap_first": entry.longest_first,
        "without_volume": entry.without_volume,
        "conflicts": entry.conflicts,
        "unlike_finer": quality.unlike,
        "look_wrong": [_moment(t) for t in quality.wrong],
        "changed_since_stored": list(quality.changed),
        "sources": [asdict(source) for source in entry.sources],
        "not_fetched": [
            {"first": _moment(gap.first), "last": _moment(gap.last), "candles": gap.candles}
            for gap in quality.gaps
            if gap.kind == "not fetched"
        ],
    }


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _print_check(found: list[Quality]) -> None:
    for quality in found:
        entry = quality.stored
        _print_span(entry, entry.gaps, entry.longest, quality.exchange)
        click.echo(f"  quality: {quality.score:g} of 100")
        if entry.absent:
            reasons = [f"{count:,} {kind}" for kind, count in entry.absences.items() if count]
            click.echo(f"  reasons: {', '.join(reasons)}")
        if entry.longest_first:
            click.echo(f"  the longest begins {entry.longest_first:%Y-%m-%d %H:%M} UTC")
        for words in _doubts(quality):
            click.echo(f"  {words}")
        for source in entry.sources:
            mark = f", sha256 {source.sha256[:12]}" if source.sha256 else ""
            click.echo(
                f"  source: {source.source}, {source.candles:,} candles, "
                f"stored {source.added_at[:19]}{mark}"
            )


def _doubts(quality: Quality) -> list[str]:
    entry = quality.stored
    words = []
    if entry.without_volume:
        words.append(f"without volume: {entry.without_volume:,}")
    if entry.conflicts:
        words.append(
            f"sources disagree about {entry.conflicts:,} candles; those stored first stay"
        )
    if quality.unlike:
        words.append(f"{quality.unlike:,} candles differ from what the finer ones add up to")
    if quality.wrong:
        first = _moment(quality.wrong[0])
        words.append(
            f"{len(quality.wrong):,} candles look like wrong prints, first {first:%Y-%m-%d %H:%M}"
        )
    if quality.changed:
        words.append(f"CHANGED since it was stored: what came from {', '.join(quality.changed)}")
    return words
