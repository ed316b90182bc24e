"""A run over history through the same step that trades on paper and live.

Example:
    python scripts/backtest.py --pair BTC/USD --start 2021-01-01 --end 2021-12-31 --out runs/2021
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Called as a file, Python looks for packages beside the file instead of in the project.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import click

from commands.common import guarded, parse_time, print_json, say
from config import load_config, parse_pairs
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError, UsageError

if TYPE_CHECKING:
    from scripts.backtest_run import RunSettings

_BP = Decimal(10_000)


def _basis_points(ctx: click.Context, param: click.Parameter, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 1000):
        raise UsageError(
            f"--{param.name} {text}: expected basis points from 0 to 1000",
            "26 is 0.26 %.",
        )
    return value / _BP


def _money(ctx: click.Context, param: click.Parameter, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and value > 0):
        raise UsageError(f"--{param.name} {text}: expected an amount above 0")
    return value


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pair", "pairs", required=True, metavar="PAIR[,PAIR…]", help="What to trade.")
@click.option("--start", metavar="DATE", help="First day, UTC. A year before the end if absent.")
@click.option("--end", metavar="DATE", help="Last day, UTC, included. The newest if absent.")
@click.option("--timeframe", metavar="4h", help="Length of a candle; TIMEFRAME if absent.")
@click.option("--strategy", metavar="NAME", help="STRATEGY of the settings if absent.")
@click.option("--maker", metavar="BP", callback=_basis_points, help="Maker fee, basis points.")
@click.option("--taker", metavar="BP", callback=_basis_points, help="Taker fee, basis points.")
@click.option("--slippage", metavar="BP", callback=_basis_points, help="Of a taker's price.")
@click.option("--cash", default="10000", show_default=True, callback=_money)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Files go here.")
@click.option("--exchange", default="kraken", show_default=True, help="Whose candles.")
@click.option("--verify", is_flag=True, help="Trade it again over Kraken's wire and compare.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(as_json: bool, out: Path | None, verify: bool, **words: Any) -> None:
    """Trade history with the strategy and show what would have been left, after all costs.

    Without --maker and --taker the fees of Kraken's table of each day are taken, entry tier.
    A strategy that learns is trained walk-forward: only on what was known at each moment.

    \b
    Example:
      python scripts/backtest.py --pair BTC/USD --start 2021-01-01 --end 2021-12-31
    """
    from scripts.backtest_run import run_backtest

    settings = _settings(**words)
    progress = Progress(quiet=as_json)
    if verify:
        _verify(settings, progress, as_json=as_json)
        return
    result = run_backtest(settings, progress)
    if out is not None:
        from trader.reports.export import write_files

        write_files(result, out)
    if as_json:
        print_json(result.document)
        return
    from rich.console import Console

    from trader.reports.terminal import print_summary

    print_summary(result, Console())
    if out is not None:
        say(f"report: {out / 'report.html'}")


def _verify(settings: RunSettings, progress: Progress, *, as_json: bool) -> None:
    """Print whether the box and the wire give the same trading; a difference is a failure."""
    from scripts.backtest_run import verify

    found = verify(settings, progress)
    if not found["equal"]:
        first = found["first_difference"]
        raise HistoryError(
            f"the box and the wire differ at line {first['line']}: in the box "
            f"'{first['in_the_box']}', over the wire '{first['over_the_wire']}'"
        )
    if as_json:
        print_json(found)
        return
    click.echo(
        f"PAPER  the same in the box and over Kraken's wire: {found['lines']:,} decisions, orders "
        f"and fills ({found['orders']:,} orders)\ndigest {found['digest']}"
    )


def _settings(**words: Any) -> RunSettings:
    from scripts.backtest_run import RunSettings
    from trader.simulation.backtest import Span
    from trader.simulation.costs import Costs
    from trader.storage.history import HistoryStore

    config = load_config()
    pairs = parse_pairs(words["pairs"])
    timeframe = Timeframe.parse(words["timeframe"]) if words["timeframe"] else config.timeframe
    store = HistoryStore(config.data_dir, words["exchange"])
    last = parse_time(words["end"], "--end") if words["end"] else None
    first = parse_time(words["start"], "--start") if words["start"] else None
    if last is None:
        last = max(store.load(pair, timeframe).closed_at for pair in pairs) - timedelta(days=1)
        last = datetime(last.year, last.month, last.day, tzinfo=last.tzinfo)
    if first is None:
        first = last - timedelta(days=364)
    costs = Costs(maker=words["maker"], taker=words["taker"])
    if words["slippage"] is not None:
        costs = Costs(maker=costs.maker, taker=costs.taker, slippage=words["slippage"])
    return RunSettings(
        config=config,
        store=store,
        pairs=pairs,
        timeframe=timeframe,
        span=Span.of_days(first, last),
        strategy=words["strategy"] or config.strategy,
        costs=costs,
        cash=words["cash"],
    )


class Progress:
    """A bar on stderr for what takes longer than a moment; silent when piped."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._bar: Any = None

    def begin(self, title: str, total: int) -> None:
        """Start a new bar."""
        self.end()
        if self._shown:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task(title, total=total)

    def at(self, count: int) -> None:
        """So much of it is done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[-1], completed=count)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def run() -> None:
    """Entry point."""
    sys.exit(guarded(command))


if __name__ == "__main__":
    run()
