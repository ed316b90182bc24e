"""`run_trader.py start`: the bot."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from commands.common import parse_time, print_json, say
from commands.interrupts import Early, getting_ready
from trader.domain.errors import TraderError, UsageError

if TYPE_CHECKING:
    from commands.dashboard import Beside
    from commands.loop import Loop
    from config import Config
    from main import Parts, Trader
    from trader.dashboard.serve import Served
    from trader.domain.markets import Pair
    from venues import Wishes

FEW_CYCLES = 50
REPLAY = "replay"
NOT_BEGUN = (
    "stopped before the first decision: nothing was bought; stops lie at the exchange as the "
    "journal has them, and the next start compares both"
)
LEAVING_TRIALS = 3
LEAVING_PAUSE_S = 1.0


@click.command(name="start", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pairs", help="Trade these instead of PAIRS, such as BTC/USD,ETH/USD.")
@click.option("--cycles", type=click.IntRange(1), help="End after so many passes over all pairs.")
@click.option("--speed", help="Market seconds per second, or max (replayed and simulated prices).")
@click.option("--start", "begin", metavar="TIME", help="Where a replay begins.")
@click.option("--no-dashboard", is_flag=True, help="Serve no dashboard.")
@click.option("--unlicensed", is_flag=True, help="Trade live without a licensed model.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document at the end.")
@click.option("--debug", is_flag=True, help="Stop at unforeseen errors and show them.")
def command(
    pairs: str | None,
    cycles: int | None,
    speed: str | None,
    begin: str | None,
    no_dashboard: bool,
    unlicensed: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Run the bot: paper trading by default, no keys needed.

    Ctrl-C ends it in order: what waits to buy is given up, stops stay at the exchange.

    \b
    Example:
      python run_trader.py start
      SANDBOX_FEED=replay python run_trader.py start --cycles 1000 --speed max
    """
    with getting_ready():
        from config import load_config, parse_pairs
        from main import assemble
        from venues import Wishes

        config = load_config()
        Early.mode = config.mode
        wishes = Wishes(
            pairs=() if pairs is None else parse_pairs(pairs),
            speed=_speed(speed, config),
            start=_moment(begin),
            cycles=cycles,
            unlicensed=unlicensed,
            debug=debug,
        )
        parts = assemble(config, wishes)
        _tell_of_the_history(parts, quiet=as_json)
    with _asked_to_end():
        try:
            document = _run(parts, wishes, dashboard=not no_dashboard, quiet=as_json)
        except KeyboardInterrupt:
            say(f"{config.mode}  {NOT_BEGUN}")
            raise
        finally:
            parts.close()
    if as_json:
        print_json(document)


def _tell_of_the_history(parts: Parts, *, quiet: bool) -> None:
    """What training will lack, for a bot on real prices; the start neither asks nor waits."""
    if parts.venue.feed == "simulated" or parts.venue.pace == "jump":
        return
    from commands.history_offer import complete

    config, venue = parts.config, parts.venue
    since = venue.clock.now() - timedelta(days=config.training_window_days)
    complete(
        config, venue.history, venue.pairs, config.timeframe, since, quiet=quiet, only_tell=True
    )


@contextmanager
def _asked_to_end() -> Iterator[None]:
    """SIGTERM before the loop runs ends the start as Ctrl-C does: in order, and said."""

    def asked(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _speed(text: str | None, config: Config) -> float | None:
    if text is None:
        return None
    if not config.sandbox or config.sandbox_feed == "kraken":
        raise UsageError("--speed: live prices run as they come; use SANDBOX_FEED=replay")
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1e9:
        raise UsageError(f"--speed {text}: expected a number above 0, or max")
    return speed


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text, "--start")


def _run(parts: Parts, wishes: Wishes, *, dashboard: bool, quiet: bool) -> dict[str, Any]:
    from commands.apprentice import Apprentice
    from commands.loop import Loop
    from commands.manual import Desk
    from commands.screen import Screen

    screen = Screen(parts, quiet=quiet, every=_shows_all(parts, wishes))
    screen.banner()
    reconciled = _begin(parts)
    screen.account(reconciled)
    served = _serve(parts, screen) if dashboard else None
    apprentice = Apprentice(parts, screen.note)
    loop = Loop(parts, wishes.cycles, screen.step, Desk(parts).handle, apprentice.look)
    with loop.ends_on_signals():  # until the last line: who sends two must get it too
        try:
            reason = loop.run()
        except KeyboardInterrupt:
            reason = "ended at once by the user"
        finally:
            apprentice.stop()
            if served is not None:
                served.close()
        return _end(parts, loop, screen, reason)


def _shows_all(parts: Parts, wishes: Wishes) -> bool:
    return parts.venue.pace != "jump" or (wishes.cycles or math.inf) <= FEW_CYCLES


def _begin(parts: Parts) -> Any:
    from trader import __version__
    from trader.domain.events import SessionStarted

    reconciled = parts.trader.recover()
    now, venue, config = parts.trader.clock.now(), parts.venue, parts.config
    step = str(config.timeframe)
    parts.trader.executor.record(
        SessionStarted(
            now, venue.mode, venue.feed, venue.pairs, step, config.strategy, __version__
        )
    )
    return reconciled


def _serve(parts: Parts, screen: Any) -> Beside | Served | None:
    from commands.dashboard import beside

    try:
        served = beside(parts.config)
    except TraderError as fault:
        say(f"no dashboard: {fault.message}")
        return None
    served.start()
    screen.line(f"dashboard  {served.url}")
    return served


def _end(parts: Parts, loop: Loop, screen: Any, reason: str) -> dict[str, Any]:
    from commands.screen import summary
    from trader.domain.events import SessionEnded

    trader = parts.trader
    buying = _buying(parts)
    differences = _leave(parts)
    trader.executor.record(SessionEnded(trader.clock.now(), reason))
    trader.outlook["ended"] = reason
    trader.beat()
    document = summary(parts, loop.done, reason, differences)
    if parts.venue.feed != REPLAY:
        document["given_up"] = sorted(str(pair) for pair in buying - _buying(parts))
        document["left_buying"] = _left_buying(parts)
    screen.farewell(document)
    return document


def _leave(parts: Parts) -> tuple[str, ...] | None:
    """Give up what waits to buy and compare accounts; the differences, None if not to be had.

    What a purchase buys while the bot is off has no stop: nobody is there to place it.
    """
    found: tuple[str, ...] | None = None
    for trial in range(LEAVING_TRIALS):
        # A replay's account ends with it.
        with suppress(KeyboardInterrupt):  # who is in a hurry gets the last lines all the same
            if trial:
                time.sleep(LEAVING_PAUSE_S)
            if parts.venue.feed != REPLAY:
                _give_up(parts.trader)
            found = _compared(parts.trader)
        if parts.venue.feed == REPLAY or found is None or not _buying(parts):
            break
    return found


def _give_up(trader: Trader) -> None:
    try:
        trader.executor.stand_down(trader.clock.now(), "the bot is ended", flatten=False)
    except TraderError as fault:
        say(f"what waits to buy could not be cancelled: {fault.message}")


def _compared(trader: Trader) -> tuple[str, ...] | None:
    """What differs from the exchange; a part that was bought meanwhile gets its stop here."""
    try:
        return trader.executor.reconcile(trader.clock.now(), thorough=False).differences
    except TraderError as fault:
        say(f"the exchange could not be asked at the end: {fault.message}")
        return None


def _buying(parts: Parts) -> set[Pair]:
    """Pairs of which something waits to be bought."""
    from trader.domain.orders import Side

    executor = parts.trader.executor
    waiting = {pair for pair in parts.venue.pairs if executor.waits(pair)}
    return waiting | {o.pair for o in executor.orders.live() if o.request.side is Side.BUY}


def _left_buying(parts: Parts) -> list[dict[str, Any]]:
    """The orders that buy and could not be cancelled."""
    from trader.domain.orders import Side

    return [
        {
            "pair": str(order.pair),
            "order": order.exchange_id or order.order_id,
            "quantity": order.remaining,
            "price": order.request.price,
        }
        for order in parts.trader.executor.orders.live()
        if order.request.side is Side.BUY
    ]
