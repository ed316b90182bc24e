"""Three ways to trade the same candles that must give one digest.

1. The **backtest**: the exchange in the box itself, a clock that jumps, a journal in memory.
2. The **bot**, as `start` assembles it: its loop, its SQLite journal, Kraken's wire and client in
   one process.
3. The **bot over HTTP**: the same, with `KrakenClient` talking to a sandbox server on a port.

Where two of them differ, the first line that does is named, with what lies behind it.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from commands.loop import Loop
from kraken_client import KrakenClient
from main import Parts, assemble
from risk_manager import RiskManager
from scripts.backtest_run import (
    Arena,
    Incidents,
    RunSettings,
    Shown,
    Stopwatch,
    limits_of,
    models_of,
)
from trader.domain.events import Event, OrderRefused, Troubled
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey
from trader.ports import Exchange, ModelSource
from trader.simulation.runs import decisions_digest, trading_line
from trader.storage.stop_switch import StopSwitch
from trader.strategies.registry import find_strategy
from venues import Bench, Wishes

Client = Callable[[SandboxExchange], Exchange]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the three ways, and all that happened on it."""

    name: str
    events: list[Event]

    @property
    def lines(self) -> list[str]:
        """Its decisions, orders and fills."""
        return [line for line in map(trading_line, self.events) if line]


def verify(
    settings: RunSettings, shown: Shown, incidents: Incidents | None = None
) -> dict[str, Any]:
    """Trade the span in all three ways and compare every decision, order and fill.

    Args:
        settings: the run.
        shown: told how far it is.
        incidents: what befalls the account on the way, the same on each.

    Returns:
        `equal`, `digests` by way, `lines` compared, `orders` and `fills` among them, and of the
        `first_difference` its number, both sides and its cause; None without one.
    """
    watch = Stopwatch()
    arena = Arena.open(settings, watch)
    models = models_of(arena, watch, shown)
    happens = incidents or Incidents()
    entry = find_strategy(settings.strategy)
    risk = RiskManager(limits_of(settings))
    sides = [
        Side(
            "the backtest",
            arena.events("the backtest", entry.name, risk, models, shown, happens),
        )
    ]
    with ExitStack() as stack:
        for name, client in (
            ("the bot in one process", None),
            ("the bot over HTTP", lambda sandbox: over_http(sandbox, stack)),
        ):
            sides.append(Side(name, _replayed(settings, models, happens, name, client, shown)))
    return _compared(sides)


def over_http(sandbox: SandboxExchange, stack: ExitStack) -> Exchange:
    """The client that trades live, on a real connection to the sandbox's own server."""
    key = ApiKey.generate()
    address = stack.enter_context(Server(KrakenWire(sandbox, [key])))
    client = KrakenClient(
        key.key, key.secret, url=address.url, now=sandbox.server_time, metadata_s=math.inf
    )
    stack.callback(client.close)
    return client


def _replayed(
    settings: RunSettings,
    models: ModelSource | None,
    happens: Incidents,
    name: str,
    client: Client | None,
    shown: Shown,
) -> list[Event]:
    """What `start` does with a replay of these candles, in a data folder of its own."""
    moments = settings.span.moments(settings.timeframe)
    bench = Bench(settings.costs, models, settings.finest_path, happens.box, client)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        home = Path(folder)
        (home / "candles").mkdir()
        # Replays look for Kraken's candles; whose these are is no matter to them.
        (home / "candles" / "kraken").symlink_to(settings.store.folder.resolve())
        config = replace(
            settings.config, sandbox=True, sandbox_feed="replay", data_dir=home,
            logs_dir=home / "logs", sandbox_balance=settings.cash, pairs=settings.pairs,
            timeframe=settings.timeframe, strategy=settings.strategy, sentiment_sources=(),
            emergency_stop=False, alert_email="",
        )  # fmt: skip
        wishes = Wishes(
            speed=math.inf, start=settings.span.start, cycles=len(moments) - 1, bench=bench
        )
        parts = assemble(config, wishes)
        try:
            return _driven(parts, len(moments), StopSwitch(home), happens, name, shown)
        finally:
            parts.close()


def _driven(
    parts: Parts,
    moments: int,
    switch: StopSwitch,
    happens: Incidents,
    name: str,
    shown: Shown,
) -> list[Event]:
    trader = parts.trader
    # The switch a person presses is a file; here time presses it.
    from_file = trader.stop_request

    def pressed() -> Any:
        wanted = happens.stop_at(trader.clock.now())
        if wanted is not None:
            switch.press(wanted)
        else:
            switch.lift()
        return from_file()

    trader.stop_request = pressed
    trader.recover()
    shown.begin(name, moments)
    done = itertools.count(1)
    Loop(parts, moments - 1, lambda _: shown.at(next(done))).run()
    # `start` ends here; the backtest also sees the last candle to its end.
    trader.approach(loop_end(parts))
    trader.mark()
    shown.end()
    return [event for _, event in parts.journal.events()]


def loop_end(parts: Parts) -> datetime:
    """The close that follows the last pass."""
    step = parts.config.timeframe
    return step.last_closed_at(parts.trader.clock.now()) + step.delta


def _compared(sides: Sequence[Side]) -> dict[str, Any]:
    reference, lines = sides[0], sides[0].lines
    found = {
        "equal": True,
        "digests": {side.name: decisions_digest(side.events) for side in sides},
        "digest": decisions_digest(reference.events),
        "lines": len(lines),
        "orders": sum(line.startswith("order ") for line in lines),
        "fills": sum(line.startswith("fill ") for line in lines),
        "rejected": sum(isinstance(e, OrderRefused) for e in reference.events),
        "first_difference": None,
    }
    for side in sides[1:]:
        difference = _difference(reference, side)
        if difference is not None:
            return {**found, "equal": False, "first_difference": difference}
    return found


def _difference(ours: Side, theirs: Side) -> dict[str, Any] | None:
    pairs = enumerate(itertools.zip_longest(ours.lines, theirs.lines), 1)
    first = next(((number, a, b) for number, a, b in ((n, *p) for n, p in pairs) if a != b), None)
    if first is None:
        return None
    number, a, b = first
    return {
        "line": number, ours.name: a, theirs.name: b, "between": [ours.name, theirs.name],
        "cause": _cause(a, b, theirs),
    }  # fmt: skip


_KINDS = {
    "signal": ("another decision", "the strategy saw or was told something else"),
    "approved": ("another size, stop or price", "the account or the market's rules differ"),
    "refused": ("another refusal", "the account, the limits or the market's state differ"),
    "order": ("another order", "what was approved was turned into another order"),
    "fill": ("another fill", "the exchange filled at another moment, price or quantity"),
}


def _cause(ours: str | None, theirs: str | None, side: Side) -> str:
    """What lies behind the first line that differs, in words."""
    if ours is None or theirs is None:
        shorter = side.name if theirs is None else "the backtest"
        trouble = next((e for e in reversed(side.events) if isinstance(e, Troubled)), None)
        more = f"; last trouble on {side.name}: {trouble.message}" if trouble else ""
        return f"{shorter} ended earlier{more}"
    a, b = ours.split(" "), theirs.split(" ")
    if a[0] != b[0]:
        return f"{a[0]} on one side where the other has {b[0]}: {_KINDS[b[0]][1]}"
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if a[0] == "signal" and place == 7:
        return "another snapshot: the indicators were computed from other candles"
    what, why = _KINDS[a[0]]
    return f"{what} (word {place + 1}: {_word(a, place)} / {_word(b, place)}): {why}"


def _word(words: Sequence[str], place: int) -> str:
    return words[place] if place < len(words) else "nothing"
