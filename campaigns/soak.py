"""The whole loop, minute after minute, with an exchange that fails: nothing wrong, nothing grows.

`python -m campaigns.soak --minutes 1000000 --fault-rate 0.2 --seed 1 --json`

The loop looks every simulated minute and decides on hourly candles, through Kraken's wire. It runs
in a fresh process together with the exchange, whose old records go to disk.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
import traceback
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import click

from ai_trader import AITrader
from campaigns.markets import CANDLES_HELP, Histories, histories
from campaigns.mortal import BOOK, CASH, COSTS
from campaigns.output import Pace, progress, show
from campaigns.restless import LIMITS, NAME, RestlessRisk
from campaigns.witness import Findings, Witness
from kraken_client import KrakenClient
from main import TRADES_HELD, Trader
from market_analyzer import MarketAnalyzer
from trader.clocks import ManualClock
from trader.domain.candles import Candles
from trader.domain.errors import ExchangeError, UsageError
from trader.domain.events import OrderIntended, Troubled
from trader.domain.markets import Pair
from trader.domain.portfolio import Portfolio
from trader.domain.window import KEEP, STRIDE
from trader.exchanges.faults import FaultRule, FaultyWire
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.wire.keys import ApiKey
from trader.reports.journal_check import JournalCheck
from trader.simulation.matching import Past
from trader.storage.held_candles import HeldCandles
from trader.storage.history import HistoryStore
from trader.storage.journal import SqliteJournal
from trader.strategies.registry import StrategySettings
from trading_executor import TradingExecutor

WARM_UP = KEEP + STRIDE
"""The bot has a past on disk from the start: the candles it holds are as many then as later."""
SAMPLES = 200
REMEMBERED = timedelta(days=35)
"""So long the exchange has its old orders at hand; the trader asks for minutes."""
SETTLED = 0.2
"""Memory is compared from here on: caches fill at first."""


@dataclass(slots=True)
class Market:
    """The exchange's side: it fails as often as told, until it is told to stop.

    What has been over for long goes into a file: the memory that is measured is that of a bot
    and an exchange at work, not of an archive.

    Attributes:
        archive: where the old orders, trades and entries go.
    """

    candles: Mapping[Pair, Candles]
    seed: int
    fault_rate: float
    archive: Path
    key: ApiKey = field(default_factory=ApiKey.generate)
    clock: ManualClock = field(init=False)
    exchange: SandboxExchange = field(init=False)
    wire: FaultyWire = field(init=False)

    def __post_init__(self) -> None:
        some = next(iter(self.candles.values()))
        self.clock = ManualClock(some.first_opened_at + WARM_UP * some.timeframe.delta)
        self.exchange = SandboxExchange(
            ReplayFeed(self.candles), self.clock, balances={"USD": CASH}, costs=COSTS,
            seed=self.seed,
        )  # fmt: skip
        wire = KrakenWire(self.exchange, [self.key])
        self.wire = FaultyWire(wire, [FaultRule(self.fault_rate)], self.seed)

    def put_away(self) -> None:
        """Write what has been over for long into the archive."""
        past = self.exchange.forget(self.clock.now() - REMEMBERED)
        with self.archive.open("ab") as file:
            pickle.dump(past, file)

    def recollect(self) -> None:
        """Take everything back out of the archive: now it is compared."""
        engine, pasts = self.exchange.engine, list(_unpickled(self.archive))
        old = sorted((r for past in pasts for r in past.orders), key=lambda record: record.seq)
        engine.orders = {**{record.id: record for record in old}, **engine.orders}
        engine.trades = [t for past in pasts for t in past.trades] + engine.trades


def _unpickled(archive: Path) -> Iterator[Past]:
    if not archive.exists():
        return
    with archive.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)  # noqa: S301 - this very process wrote it
            except EOFError:
                return


def live(market: Market, pipe: Connection, path: Path, minutes: int) -> None:
    """The trader's process: so many minutes of the loop, then calm weather and the comparison."""
    clock = market.clock
    trader = _trader(market, path)
    while not _begun(trader, clock):
        pass
    began, every = clock.now(), max(1, minutes // SAMPLES)
    gc.collect()
    gc.freeze()  # what was there before the run is not looked through again and again
    costs = array("f")
    for minute in range(minutes):
        started = time.perf_counter()
        trader.step()
        costs.append(time.perf_counter() - started)
        trader.approach(began + timedelta(minutes=minute + 1))
        if minute % every == 0:
            market.put_away()
            gc.collect()
            pipe.send(("memory", minute, _resident_bytes(), costs.tobytes()))
            del costs[:]
    market.wire.active = False
    for _ in range(3):
        clock.sleep_until(clock.now() + timedelta(minutes=3))
        trader.settle()
        trader.executor.audit(clock.now())
    trader.settle()
    pipe.send(("end", _compared(market, path, clock.now())))


def _trader(market: Market, path: Path) -> Trader:
    clock = market.clock
    client = KrakenClient(
        market.key.key, market.key.secret, url="http://sandbox", now=clock.now,
        handler=market.wire, metadata_s=math.inf, seed=market.seed,
        sleep=lambda s: clock.sleep_until(clock.now() + timedelta(seconds=s)),
    )  # fmt: skip
    some = next(iter(market.candles.values()))
    journal = SqliteJournal(path, BOOK, durable=False)  # kills are another campaign's business
    portfolio = Portfolio("USD", keep_trades=TRADES_HELD)
    return Trader(
        clock=clock,
        executor=TradingExecutor(client, journal, portfolio, clock=clock),
        pairs=market.candles,
        timeframe=some.timeframe,
        candles=HeldCandles(client, _past(market, path.parent), some.timeframe),
        analyzer=MarketAnalyzer(),
        ai=AITrader(NAME, None, StrategySettings(share=0.45)),
        risk=RestlessRisk(),
        slippage=COSTS.slippage,
        audits=True,
    )


def _past(market: Market, folder: Path) -> HistoryStore:
    """The candles from before the run, on disk as a bot has them."""
    store = HistoryStore(folder)
    for pair, candles in market.candles.items():
        store.append(pair, candles.known_at(market.clock.now()), "campaign")
    return store


def _compared(market: Market, path: Path, now: datetime) -> dict[str, Any]:
    """What journal and exchange say of the whole run, and whether it is the same."""
    market.recollect()
    witness, intents, internal = Witness(), 0, []
    with SqliteJournal.reader(path, BOOK) as journal:
        witness.read(journal.events())
        checked = JournalCheck("USD", LIMITS).read(journal.events()).report()
        for _, event in journal.events(kinds=(OrderIntended, Troubled)):
            intents += isinstance(event, OrderIntended)
            # What no part of the program foresaw is journalled by the loop under this name.
            if isinstance(event, Troubled) and event.category == "internal":
                internal.append(event.message)
    found = witness.compare(market.exchange, now)
    found.words += [f"{p.number}: {p.what}" for p in checked.problems]
    return {
        "findings": found, "intents": intents, "fills": len(witness.fills), "internal": internal,
        "journal_problems": len(checked.problems), "faults": market.wire.struck,
    }  # fmt: skip


def _begun(trader: Trader, clock: ManualClock) -> bool:
    try:
        trader.recover()
    except ExchangeError:
        clock.sleep_until(clock.now() + timedelta(seconds=5))
        return False
    return True


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Soak:
    """One long run.

    Args:
        minutes: simulated ones.
        fault_rate: share of all requests that meet a fault.
        seed: of everything.
        market: where the candles come from.
    """

    minutes: int
    fault_rate: float
    seed: int
    market: Histories
    memory: list[tuple[int, int]] = field(default_factory=list)
    costs_s: Counter[float] = field(default_factory=Counter)
    uncaught: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Let it run; the figures."""
        pace = Pace()
        step = next(iter(self.market.candles.values())).timeframe
        needed = WARM_UP + math.ceil(self.minutes * 60 / step.seconds) + 48
        candles = self.market.stretch(Random(self.seed), needed)
        folder = Path(tempfile.mkdtemp(prefix="campaign-soak-"))
        market = Market(candles, self.seed, self.fault_rate, folder / "archive")
        try:
            self._live(market, folder / "trader.db", pace)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._document(pace.seconds)

    def _live(self, market: Market, path: Path, pace: Pace) -> None:
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _in_the_child(market, theirs, path, self.minutes)
        theirs.close()
        try:
            while True:
                self._note(ours.recv(), pace)
        except (EOFError, OSError):
            ours.close()
            os.waitpid(pid, 0)

    def _note(self, message: tuple[Any, ...], pace: Pace) -> None:
        match message:
            case ("memory", minute, resident, costs):
                self.memory.append((minute, resident))
                self.costs_s.update(round(cost, 4) for cost in array("f", costs))
                pace.tell(f"minute {minute} of {self.minutes}, {resident / 2**20:.1f} MB, "
                          f"uncaught {len(self.uncaught)}")  # fmt: skip
            case ("uncaught", what):
                self.uncaught.append(str(what))
            case ("end", figures):
                self.figures = figures
                self.uncaught += figures["internal"]

    def _document(self, seconds: float) -> dict[str, Any]:
        found: Findings = self.figures.get("findings", Findings())
        settled = [r for minute, r in self.memory if minute >= SETTLED * self.minutes]
        growth = _growth(settled)
        return {
            "minutes": self.minutes,
            "intents": self.figures.get("intents", 0),
            "fills": self.figures.get("fills", 0),
            "lost": found.lost,
            "doubled": found.doubled,
            "uncaught": len(self.uncaught) + (not self.figures),
            "faults": dict(sorted(self.figures.get("faults", {}).items())),
            "memory_growth": round(growth, 4),
            "memory_mb": [round(r / 2**20, 1) for _, r in self.memory[:: max(1, SAMPLES // 10)]],
            "unprotected": found.unprotected,
            "ledger_difference": str(found.ledger_difference),
            "journal_problems": self.figures.get("journal_problems", 0),
            "step_p50_ms": self._cost_ms(0.5),
            "step_p99_ms": self._cost_ms(0.99),
            "prices": self.market.label,
            "seconds": round(seconds, 1),
            "examples": (found.words + self.uncaught)[:20],
        }

    def _cost_ms(self, share: float) -> float:
        wanted, seen = share * self.costs_s.total(), 0
        for cost, count in sorted(self.costs_s.items()):
            seen += count
            if seen >= wanted:
                return round(cost * 1000, 2)
        return 0.0


def _growth(resident: list[int]) -> float:
    """By how much the last quarter of the samples lies above the first, as a fraction.

    Medians of quarters: a single sample may fall into a moment of copying.

    >>> _growth([100, 100, 103, 101, 100, 102, 102, 110])
    0.06
    """
    if not resident:
        return 0.0
    part = max(1, len(resident) // 4)
    return round(median(resident[-part:]) / median(resident[:part]) - 1, 4)


def _in_the_child(market: Market, pipe: Connection, path: Path, minutes: int) -> None:
    try:
        live(market, pipe, path, minutes)
    except BaseException:  # noqa: BLE001 - the parent counts it; here is nobody to tell
        pipe.send(("uncaught", traceback.format_exc()))
    finally:
        os._exit(0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=20_000, show_default=True, type=click.IntRange(10))
@click.option("--fault-rate", default=0.2, show_default=True, type=click.FloatRange(0, 0.9))
@click.option("--seed", default=1, show_default=True)
@click.option("--candles", type=click.Path(exists=True, path_type=Path), help=CANDLES_HELP)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(minutes: int, fault_rate: float, seed: int, candles: Path | None, as_json: bool) -> None:
    """Run the whole loop for a long simulated time against a failing exchange."""
    hours = WARM_UP + math.ceil(minutes / 60) + 100
    market = histories(candles, seed, days=max(730, hours // 24 + 1))
    progress(f"{minutes} minutes, {fault_rate:.0%} faults, seed {seed}, on {market.label}")
    try:
        show(Soak(minutes, fault_rate, seed, market).run(), as_json=as_json)
    except UsageError as fault:
        raise click.UsageError(f"{fault.message} {fault.hint}") from fault


if __name__ == "__main__":
    main()
