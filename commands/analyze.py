"""`run_trader.py analyze`: one look at a market, from indicators to a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.common import parse_time, print_json, say, write_file

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from commands.analysis import Answer


@click.command(name="analyze", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pair")
@click.option("--timeframe", metavar="4h", help="Length of the candles; as configured by default.")
@click.option("--at", metavar="TIME", help="As it was known at that moment (UTC).")
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Draw candles, indicators and patterns into one file that opens offline.",
)
@click.option("--all", "everything", is_flag=True, help="Every indicator, not only the telling.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    pair: str, timeframe: str | None, at: str | None, chart: Path | None, everything: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Indicators, patterns, sentiment, signal and plan of one market.

    The candles come from the imported history, or from the exchange where there is none. With
    --at nothing later than that moment is looked at.

    \b
    Example:
      python run_trader.py analyze BTC/USD --timeframe 4h
      python run_trader.py analyze ETH/USD --at 2022-06-01 --chart eth.html
    """
    from commands.analysis import Question, analyse, as_document
    from config import load_config
    from trader.clocks import SystemClock
    from trader.domain.candles import Timeframe
    from trader.domain.errors import UsageError
    from trader.domain.markets import Pair

    config = load_config()
    question = Question(
        Pair.parse(pair),
        config.timeframe if timeframe is None else Timeframe.parse(timeframe),
        None if at is None else parse_time(at, "--at"),
    )
    now = SystemClock().now()
    if question.at is not None and question.at > now:
        raise UsageError(
            f"--at {at}: that moment has not come yet, it is {now:%Y-%m-%d %H:%M} UTC",
            "Name a moment of the past, or leave --at away for the newest candle.",
        )
    answer = analyse(config, question, say)
    if question.at is not None:
        _tell_age(answer, question.timeframe.delta, question.at)
    if chart is not None:
        from trader.reports.candle_chart import chart_page

        write_file("--chart", chart, chart_page(answer.snapshot, answer.signal, answer.plan))
        say(f"chart: {chart}")
    if as_json:
        print_json(as_document(answer))
        return
    from commands.analysis_view import show

    show(answer, everything=everything)


def _tell_age(answer: Answer, step: timedelta, at: datetime) -> None:
    """Say it where the newest candle there is lies long before the moment that was asked for."""
    closed = answer.snapshot.closed_at
    if at - closed > 2 * step:
        say(
            f"note: no candle is stored between {closed:%Y-%m-%d %H:%M} UTC and that moment; this "
            "is what was known then"
        )
