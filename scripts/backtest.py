"""A run over history through the same step that trades on paper and live.

Example:
    python scripts/backtest.py --pair BTC/USD --start 2021-01-01 --end 2021-12-31 --out runs/2021
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # Called as a file, Python looks for packages beside the file instead of in the project.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

try:
    import click
    from click.core import ParameterSource

    from commands.common import (
        guarded,
        parse_amount,
        parse_end,
        parse_time,
        print_json,
        refuse_misspelt,
        say,
    )
    from config import SETTINGS, Config, load_config, load_indicators, parse_pairs
    from trader.domain.candles import Timeframe
    from trader.domain.errors import HistoryError, UsageError
    from trader.domain.markets import unit_of
except ModuleNotFoundError as fault:
    from commands.packages import end_without

    end_without(fault)

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.backtest_run import RunSettings
    from trader.domain.markets import Pair
    from trader.simulation.backtest import Span
    from trader.storage.history import HistoryStore

_BP = Decimal(10_000)


def as_fraction(name: str, text: str) -> Decimal:
    """Basis points as a fraction.

    Raises:
        UsageError: if it is no number from 0 to 1000.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 1000):
        raise UsageError(f"--{name} {text}: expected basis points from 0 to 1000", "26 is 0.26 %.")
    return value / _BP


def _basis_points(ctx: click.Context, param: click.Parameter, text: str | None) -> Decimal | None:
    return None if text is None else as_fraction(param.name or "", text)


def _percent(ctx: click.Context, param: click.Parameter, text: str | None) -> Decimal | None:
    return None if text is None else _number(param, text, 100, "per cent") / 100


def _factor(ctx: click.Context, param: click.Parameter, text: str | None) -> Decimal | None:
    return None if text is None else _number(param, text, 10, "a factor")


def _number(param: click.Parameter, text: str, most: int, what: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= most):
        name = (param.name or "").replace("_", "-")
        raise UsageError(f"--{name} {text}: expected {what} from 0 to {most}")
    return value


def _slippage(ctx: click.Context, param: click.Parameter, text: str | None) -> Decimal | None:
    return measured() if text == "measured" else _basis_points(ctx, param, text)


def measured() -> Decimal:
    """The slippage that the orders of the account that ran last have met, as a fraction.

    Raises:
        UsageError: if there are too few orders to tell.
    """
    from commands.account import FIRST_STEP, choose_book, open_book
    from trader.simulation.quality import FEWEST, measured_slippage, order_qualities

    config = load_config()
    book = choose_book(config)
    if book is None:
        raise UsageError("--slippage measured: there is no account yet", FIRST_STEP)
    with open_book(config, book) as journal:
        count, found = measured_slippage(order_qualities(event for _, event in journal.events()))
    if found is None:
        raise UsageError(
            f"--slippage measured: {book} has {count} orders that took, {FEWEST} are needed",
            "Give basis points, such as --slippage 5.",
        )
    say(f"slippage measured over {count} orders of {book}: {found * _BP:.2f} bp")
    return found


def _money(ctx: click.Context, param: click.Parameter, text: str) -> Decimal:
    return parse_amount(f"--{param.name}", text)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pair", "pairs", required=True, metavar="PAIR[,PAIR…]", help="What to trade.")
@click.option("--start", metavar="DATE", help="First day, UTC. A year before the end if absent.")
@click.option(
    "--end", metavar="DATE", help="Last day, UTC, included, or a moment. The newest if absent."
)
@click.option("--timeframe", metavar="4h", help="Length of a candle; TIMEFRAME if absent.")
@click.option("--strategy", metavar="NAME", help="STRATEGY of the settings if absent.")
@click.option("--maker", metavar="BP", callback=_basis_points, help="Maker fee, basis points.")
@click.option("--taker", metavar="BP", callback=_basis_points, help="Taker fee, basis points.")
@click.option("--slippage", metavar="BP", callback=_slippage,
              help="Of a taker's price; 'measured': as the account's own orders met.")  # fmt: skip
@click.option("--fees", type=click.Choice(["entry", "volume"]), default="entry",
              show_default=True, help="Tier: the first, or by own volume.")  # fmt: skip
@click.option("--impact", metavar="FACTOR", callback=_factor,
              help="Cost of size; 1 is what was measured.")  # fmt: skip
@click.option("--latency", metavar="MS", type=click.IntRange(0, 60_000),
              help="How long an order is on its way.")  # fmt: skip
@click.option("--volume-share", metavar="PERCENT", callback=_percent,
              help="Of a candle's volume, for resting orders; 10 if absent.")  # fmt: skip
@click.option("--queue-share", metavar="PERCENT", callback=_percent,
              help="Of a candle's volume, ahead of a resting order.")  # fmt: skip
@click.option("--book", is_flag=True, help="Takers walk a made-up book: fills in parts.")
@click.option("--cash", default="10000", show_default=True, callback=_money)
@click.option("--path", type=click.Choice(["finest", "candle"]), default="finest",
              show_default=True, help="What the price follows inside a candle.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Files go here.")
@click.option("--exchange", default="kraken", show_default=True, help="Whose candles.")
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME=V1,V2",
              help="Try each value of a setting; again for a grid.")  # fmt: skip
@click.option("--tune", type=click.IntRange(0, 20_000), default=0, metavar="N",
              help="Let Optuna choose N variants; --sweep takes LOW..HIGH too.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(0), default=0, help="At once; 0 is one a core.")
@click.option("--cluster", default="", metavar="ADDRESS", help="An existing Dask scheduler.")
@click.option("--engine", type=click.Choice(["auto", "compiled", "steps"]), default="auto",
              show_default=True, help="Of sweeps: machine code where it can.")  # fmt: skip
@click.option(
    "--verify",
    is_flag=True,
    help="Trade it as the bot does too, also over HTTP: the same?",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(
    as_json: bool,
    out: Path | None,
    verify: bool,
    sweeps: tuple[str, ...],
    jobs: int,
    tune: int,
    cluster: str,
    engine: str,
    **words: Any,
) -> None:
    """Trade history with the strategy and show what would have been left, after all costs.

    Without --maker and --taker the fees of Kraken's table of each day are taken, entry tier.
    A strategy that learns is trained walk-forward: only on what was known at each moment.

    \b
    Example:
      python scripts/backtest.py --pair BTC/USD --start 2021-01-01 --end 2021-12-31
      python scripts/backtest.py --pair BTC/USD --sweep STOP_ATR_MULTIPLE=2,3,4,5
      python scripts/backtest.py --pair BTC/USD --sweep RISK_REWARD=1..6 --tune 100
    """
    progress = Progress(quiet=as_json)
    if tune and not sweeps:
        raise UsageError("--tune needs to know what", "Add --sweep STOP_ATR_MULTIPLE=1..6.")
    _refuse_the_idle(sweeps=bool(sweeps), verify=verify, out=out)
    _see_to_the_history(words, _swept_timeframes(sweeps, tuned=bool(tune)), quiet=as_json)
    if sweeps:
        wishes = {"jobs": jobs, "tune": tune, "cluster": cluster, "engine": engine}
        _sweep(sweeps, wishes, words, out, progress, as_json=as_json)
        return
    settings = Builder(words)(())
    if verify:
        _verify(settings, progress, as_json=as_json)
        return
    from scripts.backtest_run import run_backtest

    result = run_backtest(settings, progress)
    if out is not None:
        from trader.reports.export import write_files

        write_files(result, out)
        _enter(settings, out)
    if as_json:
        print_json(result.document)
        return
    from rich.console import Console

    from trader.reports.terminal import print_summary

    print_summary(result, Console())
    if out is not None:
        say(f"report: {out / 'report.html'}")


def _refuse_the_idle(*, sweeps: bool, verify: bool, out: Path | None) -> None:
    """An option that would do nothing is a misunderstanding.

    Raises:
        UsageError: for the first one.
    """
    context = click.get_current_context()
    given = {
        name
        for name in ("jobs", "cluster", "engine")
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    if given and not sweeps:
        raise UsageError(
            f"--{min(given)} is for sweeps, and there is no --sweep",
            "Add --sweep STOP_ATR_MULTIPLE=2,3,4, or leave it out.",
        )
    if verify and (sweeps or out is not None):
        other = "--sweep" if sweeps else "--out"
        raise UsageError(
            f"--verify and {other} do not go together",
            "--verify compares three ways to trade one setting and writes no report.",
        )


def _swept_timeframes(texts: tuple[str, ...], *, tuned: bool) -> tuple[str, ...]:
    from trader.simulation.sweep import space_of

    axis = space_of(texts, tuned=tuned).get("TIMEFRAME", ())
    return axis if isinstance(axis, tuple) else ()


def _see_to_the_history(words: dict[str, Any], swept: tuple[str, ...], *, quiet: bool) -> None:
    """Offer what is missing, and refuse what is too full of holes to mean anything.

    Args:
        words: the options.
        swept: the timeframes to be tried; empty for the one of the options or settings.
        quiet: whether to say and ask nothing.
    """
    from commands.history_offer import complete
    from trader.storage.history import HistoryStore
    from trader.strategies.registry import find_strategy

    config = load_config()
    find_strategy(words["strategy"] or config.strategy)  # before anything is fetched for it
    named = words["timeframe"]
    given = config.timeframe if named is None else Timeframe.parse(named)
    start, end = _asked(words)
    store = HistoryStore(config.data_dir, words["exchange"])
    pairs, stored = parse_pairs(words["pairs"]), [pair for pair, _ in store.pairs()]
    for pair in pairs:
        refuse_misspelt(pair, stored)
    for timeframe in [Timeframe.parse(text) for text in swept] or [given]:
        complete(config, store, pairs, timeframe, start, end, quiet=quiet)


def _enter(settings: RunSettings, out: Path) -> None:
    """Tell the dashboard where the files are; a run is not worth less if that fails."""
    from trader.clocks import SystemClock
    from trader.storage.backtest_index import BacktestIndex

    try:
        BacktestIndex(settings.config.data_dir).add(out, SystemClock().now())
    except OSError as fault:
        say(f"the dashboard will not list this run: {fault.strerror or fault}")


def _verify(settings: RunSettings, progress: Progress, *, as_json: bool) -> None:
    """Print whether backtest, bot and bot over HTTP trade alike; a difference is a failure."""
    from scripts.backtest_verify import verify

    found = verify(settings, progress)
    first = found["first_difference"]
    if first is not None:
        ours, theirs = first["between"]
        raise HistoryError(
            f"{ours} and {theirs} differ at line {first['line']}: {first['cause']}\n"
            f"  {ours}: {first[ours]}\n  {theirs}: {first[theirs]}",
            "The trading of one of them cannot be trusted; please report both lines.",
        )
    if as_json:
        print_json(found)
        return
    click.echo(
        f"PAPER  the backtest, the bot and the bot over HTTP trade the same: {found['lines']:,} "
        f"decisions, orders and fills ({found['orders']:,} orders)\ndigest {found['digest']}"
    )


def _sweep(
    texts: tuple[str, ...],
    wishes: dict[str, Any],
    words: dict[str, Any],
    out: Path | None,
    progress: Progress,
    *,
    as_json: bool,
) -> None:
    from scripts.backtest_sweep import Wishes, print_sweep, sweep, write_sweep

    document = sweep(texts, Builder(words), progress, Wishes(**wishes))
    if out is not None:
        write_sweep(document, out)
    if as_json:
        print_json(document)
        return
    print_sweep(document)
    if out is not None:
        say(f"report: {out / 'sweep.html'}")


class Builder:
    """From the words of the command line to the settings of a run; some words may be swept.

    It goes to other processes and machines, whose own environment and `.env` must not matter:
    the settings are read once, here, and travel with it, without the secrets.

    Args:
        words: the options, as click gave them.

    Raises:
        UsageError: if the settings have faults.
    """

    _OPTIONS = frozenset({"MAKER", "TAKER", "SLIPPAGE", "STRATEGY", "TIMEFRAME"})

    def __init__(self, words: dict[str, Any]) -> None:
        self._words = words
        self._config = load_config().without_secrets()
        self._stored: dict[Timeframe, Span] = {}

    def __call__(self, values: tuple[tuple[str, str], ...]) -> RunSettings:
        """The settings with these values in place of the given ones.

        Raises:
            UsageError: if a value makes no sense.
        """
        from scripts.backtest_run import TRADING_SETTINGS

        words, texts = dict(self._words), {}
        for name, value in values:
            if name in ("MAKER", "TAKER", "SLIPPAGE"):
                words[name.lower()] = as_fraction(name.lower(), value)
            elif name in self._OPTIONS:
                words[name.lower()] = value
            elif name.lower() in TRADING_SETTINGS:
                texts[name] = value
            else:
                raise _unknown(name)
        load_indicators(self._config.indicators)
        config = self._config.with_texts(texts) if texts else self._config
        return _settings(words, config, self._stored_span)

    def _stored_span(
        self, store: HistoryStore, pairs: tuple[Pair, ...], timeframe: Timeframe
    ) -> Span:
        """What is stored, looked up once however many variants there are."""
        from trader.simulation.backtest import stored_span

        if timeframe not in self._stored:
            self._stored[timeframe] = stored_span(store, pairs, timeframe)
        return self._stored[timeframe]


def _unknown(name: str) -> UsageError:
    if name in {s.name for s in SETTINGS}:
        return UsageError(
            f"--sweep {name}: that changes nothing in how a backtest trades",
            "Sweep a setting of strategy, model or risk.",
        )
    known = [s.name for s in SETTINGS] + ["MAKER", "TAKER", "SLIPPAGE"]
    near = get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}?" if near else "Settings of .env and MAKER, TAKER, SLIPPAGE."
    return UsageError(f"--sweep {name}: there is no such setting", hint)


def _settings(
    words: dict[str, Any],
    config: Config,
    stored_span: Callable[[HistoryStore, tuple[Pair, ...], Timeframe], Span],
) -> RunSettings:
    from scripts.backtest_run import RunSettings
    from trader.simulation.costs import Costs
    from trader.storage.history import HistoryStore

    pairs = parse_pairs(words["pairs"])
    timeframe = (
        Timeframe.parse(words["timeframe"]) if words["timeframe"] is not None else config.timeframe
    )
    store = HistoryStore(config.data_dir, words["exchange"])
    named = {
        "slippage": words["slippage"], "impact": words["impact"], "latency_ms": words["latency"],
        "volume_share": words["volume_share"], "queue_share": words["queue_share"],
    }  # fmt: skip
    costs = replace(
        Costs(maker=words["maker"], taker=words["taker"]),
        tiers_by_volume=words["fees"] == "volume",
        walks_book=words["book"],
        **{name: value for name, value in named.items() if value is not None},
    )
    stored = stored_span(store, pairs, timeframe)
    asked = _asked_span(words, stored, timeframe)
    return RunSettings(
        config=config,
        store=store,
        pairs=pairs,
        timeframe=timeframe,
        span=asked.whole_candles(timeframe).within(stored),
        asked=asked,
        strategy=words["strategy"] or config.strategy,
        costs=costs,
        cash=_bookable(words["cash"], pairs[0]),
        finest_path=words["path"] == "finest",
    )


def _bookable(cash: Decimal, pair: Pair) -> Decimal:
    """The cash, if the exchange can book it to the last digit.

    Raises:
        UsageError: if it cannot: what it rounds off would look like a loss.
    """
    from trader.exchanges.markets import market

    decimals = market(pair).rules.quote_decimals
    booked = cash.quantize(unit_of(decimals), ROUND_HALF_EVEN)
    if cash == booked:
        return cash
    raise UsageError(
        f"--cash {cash:f}: {pair.quote} is booked in {decimals} decimals at the exchange",
        f"Give no finer amount, such as --cash {max(booked, unit_of(decimals)):f}.",
    )


def _asked(words: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    """--start and --end as moments; None where absent.

    Raises:
        UsageError: if one is no time, or the end is not after the start.
    """
    start = None if words["start"] is None else parse_time(words["start"], "--start")
    end = None if words["end"] is None else parse_end(words["end"], "--end")
    if start is not None and end is not None and end <= start:
        raise UsageError(
            f"the end {words['end']} is not after the start {words['start']}",
            "Give --start before --end.",
        )
    return start, end


def _asked_span(words: dict[str, Any], stored: Span, timeframe: Timeframe) -> Span:
    """What is asked for; where nothing is, the last year of what is stored.

    Raises:
        UsageError: if the start lies behind all that is stored.
    """
    from trader.simulation.backtest import Span

    start, end = _asked(words)
    if end is None:
        end = stored.end
        if start is not None and start >= end:
            raise UsageError(
                f"--start {words['start']}: what is stored ends {end:%Y-%m-%d %H:%M} UTC",
                "Choose an earlier --start, or import more history.",
            )
    if start is None:
        year = Timeframe(86400).floor(end - timedelta(seconds=1)) - timedelta(days=364)
        start = timeframe.ceil(Span(year, end).within(stored).start)
    return Span(start, end)


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

    def tell(self, what: str) -> None:
        """Say what is being done just now."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[-1], description=what)

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
