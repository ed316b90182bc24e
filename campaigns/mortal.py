"""A trader in a process of its own that dies at a chosen write, send or receive.

The exchange lives in the parent: requests in Kraken's own words go to it through a pipe, and it
goes on when the trader is gone. A *point* is a moment at which the process may be killed: before a
line is written to the journal, inside its transaction, after it; before a request is sent, after
it is sent, after its answer has come.
"""

from __future__ import annotations

import math
import os
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from ai_trader import AITrader
from campaigns.restless import NAME, RestlessRisk
from kraken_client import KrakenClient
from main import Trader
from market_analyzer import MarketAnalyzer
from trader.clocks import ManualClock
from trader.domain.candles import Candles
from trader.domain.events import Event
from trader.domain.markets import Pair
from trader.domain.portfolio import Portfolio
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.kraken_nonces import FileNonces
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.transport import Handler
from trader.exchanges.wire.keys import ApiKey
from trader.simulation.costs import Costs
from trader.storage.held_candles import WholeHistory
from trader.storage.journal import SqliteJournal
from trader.strategies.registry import StrategySettings
from trading_executor import TradingExecutor

CASH = Decimal(20_000_000)
COSTS = Costs(volume_share=Decimal("0.02"))
"""Much money in a market that gives little at a time: orders that wait fill in parts."""
BOOK = "campaign"


@dataclass(slots=True)
class World:
    """A stretch of a market, an exchange on it, and the journal of one account there.

    Attributes:
        begins_at: where trading begins; what lies before is for the indicators.
        ends_at: where it ends.
    """

    candles: Mapping[Pair, Candles]
    journal_path: Path
    begins_at: datetime
    ends_at: datetime
    seed: int
    key: ApiKey = field(default_factory=ApiKey.generate)
    analyzer: MarketAnalyzer = field(default_factory=MarketAnalyzer)
    clock: ManualClock = field(init=False)
    exchange: SandboxExchange = field(init=False)
    wire: KrakenWire = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ManualClock(self.begins_at)
        self.exchange = SandboxExchange(
            ReplayFeed(self.candles), self.clock, balances={"USD": CASH}, costs=COSTS,
            seed=self.seed,
        )  # fmt: skip
        self.wire = KrakenWire(self.exchange, [self.key])
        for pair, candles in self.candles.items():
            self.analyzer.prepare(pair, candles)

    def trader(
        self, clock: ManualClock, handler: Handler, journal: SqliteJournal, alarm: Any
    ) -> Trader:
        """The whole program on this world, as a fresh process has it."""
        client = KrakenClient(
            self.key.key, self.key.secret, url="http://sandbox", now=clock.now, handler=handler,
            metadata_s=math.inf, seed=self.seed,
            nonces=FileNonces.for_key(self.journal_path.parent, self.key.key),
            sleep=lambda s: clock.sleep_until(clock.now() + timedelta(seconds=s)),
        )  # fmt: skip
        return Trader(
            clock=clock,
            executor=TradingExecutor(client, journal, Portfolio("USD"), clock=clock),
            pairs=self.candles,
            timeframe=next(iter(self.candles.values())).timeframe,
            candles=WholeHistory(self.candles),
            analyzer=self.analyzer,
            ai=AITrader(NAME, None, StrategySettings(share=0.45)),
            risk=RestlessRisk(),
            slippage=COSTS.slippage,
            audits=True,
            alarm=alarm,
        )


@dataclass(slots=True)
class Fate:
    """Counts the points a life passes and ends it at one of them.

    Attributes:
        dies_at: number of the point, None to live on.
        report: told of the point before the end, so that it can be counted.
        clock: of the trader; the world is at least as late.
    """

    dies_at: int | None
    report: Connection
    clock: ManualClock
    passed: int = 0

    def point(self, name: str) -> None:
        """A moment at which the process may be killed."""
        self.passed += 1
        if self.passed == self.dies_at:
            self.report.send(("point", self.clock.now(), name))
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)


class MortalJournal(SqliteJournal):
    """The journal on disk with a point before, inside and after each write."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path, BOOK)
        self._fate = fate
        self._name = ""
        self._connection.set_trace_callback(self._inside)

    def append(self, event: Event) -> None:
        """Write one event."""
        self._name = type(event).__name__
        self._fate.point(f"before write {self._name}")
        super().append(event)
        self._fate.point(f"after write {self._name}")
        self._name = ""

    def _inside(self, statement: str) -> None:
        if self._name and statement == "COMMIT":
            self._fate.point(f"inside write {self._name}")


class PipedExchange:
    """The wire of an exchange that lives in another process."""

    def __init__(self, pipe: Connection, clock: ManualClock, fate: Fate) -> None:
        self._pipe = pipe
        self._clock = clock
        self._fate = fate

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Send the request, wait for the answer."""
        call = path.rsplit("/", 1)[-1]
        self._fate.point(f"before send {call}")
        self._pipe.send(("wire", self._clock.now(), (method, path, query, dict(headers), body)))
        self._fate.point(f"after send {call}")
        answer: tuple[int, str, bytes] = self._pipe.recv()
        self._fate.point(f"after receive {call}")
        return answer

    def alarm(
        self, now: datetime, until: datetime, targets: Mapping[Pair, Decimal]
    ) -> datetime | None:
        """When something happens next: the campaign's own knowledge, no request of the trader."""
        self._pipe.send(("alarm", self._clock.now(), (now, until, dict(targets))))
        found: datetime | None = self._pipe.recv()
        return found


def live(world: World, pipe: Connection, begins_at: datetime, dies_at: int | None) -> NoReturn:
    """One life, in the child: recover, say so, trade until the end or the kill. Never returns."""
    status = 1
    try:
        _trade(world, pipe, begins_at, dies_at)
        status = 0
    except BaseException:  # noqa: BLE001 - the parent counts it; here is nobody to tell
        pipe.send(("uncaught", traceback.format_exc()))
    finally:
        os._exit(status)


def _trade(world: World, pipe: Connection, begins_at: datetime, dies_at: int | None) -> None:
    born = time.perf_counter()
    clock = ManualClock(begins_at)
    fate = Fate(dies_at, pipe, clock)
    remote = PipedExchange(pipe, clock, fate)
    journal = MortalJournal(world.journal_path, fate)
    trader = world.trader(clock, remote, journal, remote.alarm)
    trader.recover()
    recovered_s = time.perf_counter() - born
    trader.settle()
    pipe.send(("recovered", clock.now(), recovered_s))
    pipe.recv()
    end = world.ends_at
    while clock.now() < end:
        report = trader.step()
        if report.troubles:
            pipe.send(("troubles", report.troubles))
        trader.approach(min(report.next_close_at, end))
    trader.settle()
    trader.executor.audit(clock.now())
    pipe.send(("end", clock.now(), fate.passed))
    pipe.recv()
