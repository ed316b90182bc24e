"""`run_trader.py sandbox`: serve the Kraken-compatible exchange over HTTP."""

from __future__ import annotations

import importlib
import math
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.common import parse_time, print_json, say

if TYPE_CHECKING:
    from config import Config
    from trader.domain.markets import Pair
    from trader.exchanges.feeds import Feed
    from trader.exchanges.sandbox_server import KrakenWire
    from trader.exchanges.transport import Handler
    from trader.exchanges.wire.keys import ApiKey
    from trader.ports import Clock

_LEAD = timedelta(days=30)
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
_FASTEST = 1e9


@click.command(name="sandbox", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=8089, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--feed",
    type=click.Choice(["auto", "kraken", "replay", "simulated"]),
    help="Where prices come from; by default SANDBOX_FEED.",
)
@click.option("--pairs", help="Such as BTC/USD,ETH/USD; by default PAIRS.")
@click.option("--start", metavar="TIME", help="Where replay or simulation begins.")
@click.option(
    "--speed",
    default="1",
    show_default=True,
    help="Seconds of the market for each real one; max: as fast as it is moved on.",
)
@click.option(
    "--tier",
    type=click.Choice(["none", "starter", "intermediate", "pro"]),
    default="none",
    show_default=True,
    help="Whose rate limits are enforced.",
)
@click.option("--faults", type=click.Path(path_type=Path), help="Faults on demand: a JSON file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, once it serves.")
def command(**options: Any) -> None:
    """Serve an exchange that speaks Kraken's REST interface; no real order can be sent.

    Point any Kraken client at the printed URL and give it the printed key and secret. Every
    start begins with a new account of SANDBOX_BALANCE; the key stays the same, and so does the
    highest nonce it has used.

    \b
    Example:
      python run_trader.py sandbox --feed simulated --speed 60
      curl http://127.0.0.1:8089/0/public/Ticker?pair=XBTUSD
    """
    _serve(**options)


def _serve(
    port: int,
    host: str,
    feed: str | None,
    pairs: str | None,
    start: str | None,
    speed: str,
    tier: str,
    faults: Path | None,
    as_json: bool,
) -> None:
    from config import load_config, parse_pairs
    from trader.exchanges.kraken_limits import TIERS
    from trader.exchanges.sandbox import SandboxExchange
    from trader.exchanges.sandbox_server import KrakenWire, Server
    from trader.simulation.costs import Costs

    config = load_config()
    wanted = config.pairs if pairs is None else parse_pairs(pairs)
    begin = None if start is None else parse_time(start, "--start")
    prices, clock = _market(config, feed or config.sandbox_feed, wanted, begin, _speed(speed))
    exchange = SandboxExchange(
        prices,
        clock,
        balances={config.quote: config.sandbox_balance},
        costs=Costs(walks_book=True),
        seed=config.sandbox_seed,
    )
    folder = config.data_dir / "sandbox"
    key = _key(folder / "server-key.json")
    wire = KrakenWire(exchange, [key], TIERS.get(tier), nonces=folder)
    handler = _controlled(wire, faults, clock, host)
    server = Server(handler, host, port)
    for pair in prices.pairs:  # what is made up is made now, not in the first request
        exchange.forming(pair, prices.base_timeframe(pair))
    _announce(server.address.url, key, prices, clock, as_json)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        wire.close()
    say("sandbox stopped; nothing is left running")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _controlled(wire: KrakenWire, faults: Path | None, clock: Clock, host: str) -> Handler:
    """The wire with its faults and, for this machine alone, the control path."""
    from trader.clocks import ManualClock
    from trader.exchanges.faults import FaultyWire, load_rules
    from trader.exchanges.sandbox_control import ControlledWire

    rules, seed = ((), 0) if faults is None else load_rules(faults)
    faulty = FaultyWire(wire, rules, seed)
    if host not in _THIS_MACHINE:
        return faulty
    return ControlledWire(faulty, clock.sleep_until if isinstance(clock, ManualClock) else None)


def _speed(text: str) -> float:
    """Seconds a second; infinite for `max`."""
    from trader.domain.errors import UsageError

    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not (0 < speed <= _FASTEST or text == "max"):
        raise UsageError(f"--speed {text}: expected a number above 0, or max")
    return speed


def _clock(begin: datetime, speed: float) -> Clock:
    """Runs by itself, or stands until it is moved on by the control path."""
    from trader.clocks import ManualClock, ScaledClock

    return ManualClock(begin) if math.isinf(speed) else ScaledClock(begin, speed)


def _market(
    config: Config, name: str, pairs: tuple[Pair, ...], begin: datetime | None, speed: float
) -> tuple[Feed, Clock]:
    """Prices and the clock that they follow."""
    from trader.clocks import SystemClock
    from trader.domain.errors import UsageError
    from venues import kraken_answers

    machine = SystemClock()
    if name == "auto":
        name = "kraken" if kraken_answers(config) else "simulated"
        if name == "simulated":
            say("Kraken does not answer: a SIMULATED market is served instead")
    if name == "kraken":
        if begin is not None or speed != 1:
            raise UsageError(
                "live prices cannot begin elsewhere or run faster",
                "Leave out --start and --speed, or take --feed replay or simulated.",
            )
        return _live_feed(config, pairs), machine
    if name == "replay":
        return _replay(config, pairs, begin, speed)
    return _simulated(config, pairs), _clock(begin or machine.now(), speed)


def _live_feed(config: Config, pairs: tuple[Pair, ...]) -> Feed:
    from kraken_client import KrakenClient

    make = importlib.import_module("trader.exchanges.feeds.kraken").KrakenFeed
    feed: Feed = make(KrakenClient(url=config.kraken_api_url), pairs)
    return feed


def _simulated(config: Config, pairs: tuple[Pair, ...]) -> Feed:
    from trader.exchanges.feeds import SimulatedFeed

    return SimulatedFeed(config.sandbox_seed, pairs)


def _replay(
    config: Config, pairs: tuple[Pair, ...], begin: datetime | None, speed: float
) -> tuple[Feed, Clock]:
    from trader.domain.errors import HistoryError, UsageError
    from trader.exchanges.feeds import ReplayFeed
    from venues import history_store

    store = history_store(config)
    # Of several timeframes the finest comes last and stays.
    stored = dict(sorted(store.pairs(), reverse=True))
    missing = [str(pair) for pair in pairs if pair not in stored]
    if missing:
        raise HistoryError(
            f"there is no history of {', '.join(missing)} to replay",
            "Import one: python run_trader.py history import FILE",
        )
    candles = {pair: store.load(pair, stored[pair]) for pair in pairs}
    first = max(c.first_opened_at for c in candles.values())
    last = min(c.closed_at for c in candles.values())
    moment = begin or max(first, last - _LEAD)
    if not first <= moment <= last:
        raise UsageError(
            f"--start {moment:%Y-%m-%d %H:%M}: the history reaches from "
            f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
        )
    return ReplayFeed(candles), _clock(moment, speed)


def _key(path: Path) -> ApiKey:
    """The server's key, made at the first start and readable by its owner only."""
    from trader.exchanges.wire.keys import load_or_make

    return load_or_make(path)


def _announce(url: str, key: ApiKey, feed: Feed, clock: Clock, as_json: bool) -> None:
    facts = {
        "url": url,
        "key": key.key,
        "secret": key.secret,
        "feed": feed.name,
        "label": feed.label,
        "pairs": [str(pair) for pair in feed.pairs],
        "market_time": clock.now(),
        "mode": "PAPER",
    }
    if as_json:
        print_json(facts)
        return
    pairs = ", ".join(map(str, feed.pairs))
    click.echo(f"sandbox exchange, Kraken's REST interface{'PAPER':>31}")
    for name, text in (
        ("url", url),
        ("key", key.key),
        ("secret", key.secret),
        ("prices", feed.label),
        ("pairs", pairs),
        ("market", f"{clock.now():%Y-%m-%d %H:%M:%S} UTC"),
    ):
        click.echo(f"{name:<8} {text}")
    click.echo("Ctrl-C ends it.")
