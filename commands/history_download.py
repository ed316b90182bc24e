"""`run_trader.py history download`: candles from Kraken, from its trades, or from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from commands.common import say
from trader.domain.candles import KRAKEN_MINUTES, Timeframe
from trader.domain.errors import TraderError, UsageError
from trader.domain.markets import Pair

if TYPE_CHECKING:
    from config import Config
    from kraken_client import KrakenClient
    from trader.storage.history import HistoryStore
    from trader.storage.paging import Progress

NEWEST = 720
LONG_S = 60.0
_WEEK = 10080
SOURCES = ("kraken", "kraken-trades")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be downloaded.

    Attributes:
        start: None for what the source gives by itself.
        source: `kraken`, `kraken-trades`, `ccxt:<exchange>`, or empty for the fitting one.
        timeframes: empty for all of Kraken's.
        yes: whether not to ask, however long it takes.
    """

    pairs: tuple[Pair, ...]
    start: datetime | None
    end: datetime
    source: str
    timeframes: tuple[Timeframe, ...]
    yes: bool
    quiet: bool


def download(config: Config, wish: Wish) -> dict[str, Any]:
    """Get it, store it, and say what came.

    Raises:
        UsageError: if there is no such source, or the span is empty.
        ExchangeError: if the source does not answer; what was read before is kept.
    """
    source = wish.source or _fitting(config, wish)
    if source == "kraken":
        return _newest(config, wish)
    if source == "kraken-trades":
        return _trades(config, wish)
    if source.startswith("ccxt:"):
        return _elsewhere(config, wish, source.removeprefix("ccxt:"))
    raise UsageError(
        f"--source {source}: there is no such source",
        "There are kraken (the newest 720 candles), kraken-trades (every trade from --start on), "
        "and ccxt:EXCHANGE, such as ccxt:binance. Archives: history import FILE.zip",
    )


def _fitting(config: Config, wish: Wish) -> str:
    """The quick source where it reaches back far enough."""
    finest = min(wish.timeframes or (config.timeframe,))
    reaches = wish.end - NEWEST * finest.delta
    return "kraken" if wish.start is None or wish.start >= reaches else "kraken-trades"


def kraken_store(config: Config) -> HistoryStore:
    """Where what KRAKEN_API_URL serves belongs: what is not Kraken never mixes with Kraken's."""
    from trader.storage.history import HistoryStore

    host = urlsplit(config.kraken_api_url).hostname or ""
    real = host == "kraken.com" or host.endswith(".kraken.com")
    return HistoryStore(config.data_dir, "kraken" if real else "kraken-sandbox")


@contextmanager
def _client(config: Config) -> Iterator[KrakenClient]:
    from kraken_client import KrakenClient
    from trader.exchanges.kraken_calls import Retries

    client = KrakenClient(url=config.kraken_api_url, retries=Retries(attempts=5, budget_s=90.0))
    try:
        yield client
    finally:
        client.close()


def turns(seconds: Callable[[], float] | None = None) -> Callable[[], None]:
    """One request a second, a few at once at first: Kraken's public limit, with room to spare."""
    from trader.exchanges.kraken_limits import RateBudget

    budget = RateBudget(5, 1.0) if seconds is None else RateBudget(5, 1.0, seconds=seconds)
    return lambda: budget.spend(1)


def _newest(config: Config, wish: Wish) -> dict[str, Any]:
    store, turn = kraken_store(config), turns()
    known = tuple(Timeframe(m * 60) for m in KRAKEN_MINUTES if m <= _WEEK)
    series = []
    with _client(config) as client:
        for pair in wish.pairs:
            for timeframe in wish.timeframes or known:
                turn()
                found = client.candles(pair, timeframe).between(wish.start, wish.end)
                merge = store.merge(pair, found, "kraken ohlc")
                series.append(_series(pair, timeframe, len(found), merge.new, merge.conflicts))
    return {"source": "kraken", "exchange": store.exchange, "series": series}


def _series(
    pair: Pair, timeframe: Timeframe, candles: int, new: int, conflicts: tuple[int, ...]
) -> dict[str, Any]:
    return {"pair": str(pair), "timeframe": str(timeframe), "candles": candles, "new": new,
            "conflicts": len(conflicts)}  # fmt: skip


def _trades(config: Config, wish: Wish) -> dict[str, Any]:
    from trader.storage.paging import TradesDownload, check_span

    start = wish.start or wish.end - timedelta(days=config.training_window_days)
    check_span(start, wish.end)
    store = kraken_store(config)
    with _client(config) as client, _bars(quiet=wish.quiet) as show:
        paging = TradesDownload(client, store, start, wish.end, turn=turns(), tell=show)
        estimates = {pair: paging.estimate(pair) for pair in wish.pairs}
        seconds = sum(e.seconds for e in estimates.values())
        for pair, estimate in estimates.items():
            count = "an unknown number of" if estimate.trades is None else f"{estimate.trades:,}"
            say(f"{pair}: {count} trades since {start:%Y-%m-%d}", quiet=wish.quiet)
        _ask_if_long(seconds, wish)
        try:
            done = paging.run(wish.pairs)
        except KeyboardInterrupt:
            raise TraderError(
                "stopped; what was read is kept", "The same command goes on from there."
            ) from None
    return {
        "source": "kraken-trades", "exchange": store.exchange, "start": start, "end": wish.end,
        "series": [
            {"pair": str(p.pair), "trades": p.trades, "pages": p.pages, "jumps": p.jumps}
            for p in done
        ],
    }  # fmt: skip


def in_words(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {max(1, round(seconds))} seconds"


def _ask_if_long(seconds: float, wish: Wish) -> None:
    say(f"at one request a second: {in_words(seconds)}", quiet=wish.quiet)
    if seconds <= LONG_S or wish.yes or wish.quiet or not is_terminal():
        return
    say("It may be stopped at any time (Ctrl-C): what was read is kept. Kraken's archive of all "
        "pairs is quicker for years: history import FILE.zip")  # fmt: skip
    if not click.confirm("Go on?", default=True, err=True):
        raise UsageError("not downloaded", "Choose a later --start, or import an archive.")


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar for each pair on stderr; silent when piped."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as shown:
        tasks: dict[Pair, Any] = {}

        def show(state: Progress) -> None:
            if state.pair not in tasks:
                tasks[state.pair] = shown.add_task(str(state.pair), total=1.0)
            share = (state.at_ns - state.start_ns) / max(1, state.end_ns - state.start_ns)
            at = datetime.fromtimestamp(state.at_ns / 1e9, UTC)
            words = f"{state.pair} {at:%Y-%m-%d}, {state.trades:,} trades"
            shown.update(tasks[state.pair], completed=share, description=words)

        yield show


def _elsewhere(config: Config, wish: Wish, name: str) -> dict[str, Any]:
    from trader.exchanges.other_exchanges import CcxtCandles
    from trader.storage.history import HistoryStore

    exchange = CcxtCandles(name)
    store = HistoryStore(config.data_dir, name)
    start = wish.start or wish.end - timedelta(days=config.training_window_days)
    series = []
    for pair in wish.pairs:
        for timeframe in wish.timeframes or (config.timeframe,):
            count, new = 0, 0
            conflicts: tuple[int, ...] = ()
            for candles, covers in exchange.pages(pair, timeframe, start, wish.end):
                merge = store.merge(pair, candles, f"ccxt {name}", covers=covers)
                count, new = count + len(candles), new + merge.new
                conflicts += merge.conflicts
                at = datetime.fromtimestamp(covers[1], UTC)
                say(f"{pair} {timeframe}: up to {at:%Y-%m-%d}", quiet=wish.quiet)
            series.append(_series(pair, timeframe, count, new, conflicts))
    say(f"stored as candles of {name}: use them with --exchange {name}", quiet=wish.quiet)
    return {"source": f"ccxt:{name}", "exchange": name, "series": series}
