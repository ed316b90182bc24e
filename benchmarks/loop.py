"""The live loop: what one cycle costs, and how long an order takes from its decision.

`LOOP_MINUTES=525600 python -m benchmarks loop.year` is a whole year of minute candles; by default
it is as many minutes as take a minute or two. `LOOP_STRATEGY` names another strategy than the one
that trades all the time.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from ai_trader import AITrader
from benchmarks.registry import Measurement, benchmark
from campaigns.restless import LIMITS, NAME
from kraken_client import KrakenClient
from main import Trader
from market_analyzer import MarketAnalyzer
from risk_manager import RiskManager
from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.events import Event, OrderAccepted, OrderIntended, SignalMade
from trader.domain.markets import Pair
from trader.domain.portfolio import Portfolio
from trader.exchanges import markets as market_table
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.wire.keys import ApiKey
from trader.storage.held_candles import HeldCandles
from trader.storage.journal import SqliteJournal
from trader.strategies.registry import StrategySettings
from trading_executor import TradingExecutor

MINUTE = Timeframe(60)
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
WARM_UP = 720
CYCLES = {1: 2000, 10: 300, 100: 40}
PATTERN = "SOL/USD"


class TimedJournal(SqliteJournal):
    """A journal that notes when decisions and orders pass it.

    Attributes:
        waits_s: from the decision on a candle to the exchange's acceptance of its order.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "loop")
        self.waits_s: list[float] = []
        self._decided_s: dict[tuple[Pair, datetime], float] = {}
        self._sent: dict[str, tuple[Pair, datetime]] = {}

    def append(self, event: Event) -> None:
        """Write one event, and note the time."""
        now = time.perf_counter()
        match event:
            case SignalMade(signal=signal):
                self._decided_s[signal.pair, signal.closed_at] = now
            case OrderIntended(request=request, decided_for=decided_for):
                self._sent[request.order_id] = request.pair, decided_for
            case OrderAccepted(order_id=order_id):
                decision = self._sent.pop(order_id, None)
                decided_s = None if decision is None else self._decided_s.pop(decision, None)
                if decided_s is not None:
                    self.waits_s.append(now - decided_s)
        super().append(event)


def made_up_pairs(count: int) -> tuple[Pair, ...]:
    """So many markets with the rules of a real one, added to the table of this process."""
    table = market_table._table()
    model = next(f for f in table["pairs"].values() if f["wsname"] == PATTERN)
    asset = table["assets"][model["base"]]
    for number in range(count):
        name = f"Q{number:03}"
        table["assets"].setdefault(name, {**asset, "altname": name})
        names = {"altname": f"{name}USD", "wsname": f"{name}/USD", "base": name}
        table["pairs"].setdefault(f"{name}USD", {**model, **names})
    for known in (market_table.assets, market_table.markets, market_table._by_name):
        known.cache_clear()
    return tuple(Pair(f"Q{number:03}", "USD") for number in range(count))


def walk(seed: int, minutes: int) -> Candles:
    """Minute candles of a random walk."""
    chance = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(chance.normal(0, 0.0008, minutes)))
    opened = np.concatenate(([100.0], close[:-1]))
    wick = 1 + np.abs(chance.normal(0, 0.0004, minutes))
    times = int(BEGIN.timestamp()) + 60 * np.arange(minutes, dtype=np.int64)
    return Candles(
        MINUTE, times, opened, np.maximum(opened, close) * wick, np.minimum(opened, close) / wick,
        close, chance.uniform(500, 5000, minutes), np.full(minutes, 50, dtype=np.int64),
    )  # fmt: skip


def live_loop(
    count: int, minutes: int, folder: Path, strategy: str
) -> tuple[Trader, ManualClock, TimedJournal]:
    """The whole program on so many markets, through Kraken's wire, its journal on disk."""
    candles = {p: walk(i, WARM_UP + minutes + 5) for i, p in enumerate(made_up_pairs(count))}
    clock = ManualClock(BEGIN + timedelta(minutes=WARM_UP))
    exchange = SandboxExchange(ReplayFeed(candles), clock, balances={"USD": Decimal(10**7)})
    key = ApiKey.generate()
    client = KrakenClient(
        key.key, key.secret, url="http://sandbox", now=clock.now,
        handler=KrakenWire(exchange, [key]), metadata_s=math.inf,
    )  # fmt: skip
    journal = TimedJournal(folder / "trader.db")
    trader = Trader(
        clock=clock,
        executor=TradingExecutor(client, journal, Portfolio("USD", keep_trades=1000), clock=clock),
        pairs=candles,
        timeframe=MINUTE,
        candles=HeldCandles(client, None, MINUTE),
        analyzer=MarketAnalyzer(threads=os.cpu_count() or 1),
        ai=AITrader(strategy, None, StrategySettings(share=1 / count)),
        risk=RiskManager(LIMITS),
        audits=True,
    )
    trader.recover()
    return trader, clock, journal


def cycles(trader: Trader, clock: ManualClock, count: int) -> list[float]:
    """Seconds of so many passes, one just after each minute's close."""
    spent = []
    for _ in range(count):
        clock.sleep_until(MINUTE.floor(clock.now()) + timedelta(seconds=61))
        began = time.perf_counter()
        trader.step()
        spent.append(time.perf_counter() - began)
    return spent


def _told(item: str, spent: list[float], notes: str = "") -> Measurement:
    """A line: `seconds` is the median of one cycle; the notes have the tail."""
    p50, p99 = (float(x) for x in np.quantile(spent, (0.5, 0.99)))
    said = f"p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms {notes}".strip()
    return Measurement(item, "ours", 1, p50, min(spent), max(spent), len(spent), None, said)


@benchmark("loop.cycle", "one cycle of the live loop with 1, 10 and 100 pairs, each deciding")
def cycle(runs: int) -> Iterator[Measurement]:
    """Fetch, analyse, decide, review, journal: all pairs, on every minute's candle."""
    for count, passes in CYCLES.items():
        with tempfile.TemporaryDirectory() as folder:
            trader, clock, journal = live_loop(count, passes * runs + 5, Path(folder), "ensemble")
            cycles(trader, clock, 3)
            yield _told(f"a cycle of {count} pairs", cycles(trader, clock, passes * runs))
            journal.close()


@benchmark("loop.order", "from a decision to the exchange's acceptance of its order, one pair")
def order(runs: int) -> Iterator[Measurement]:
    """A strategy that trades all the time; what the exchange itself takes is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        passes = 1000 * runs
        trader, clock, journal = live_loop(1, passes + 5, Path(folder), NAME)
        cycles(trader, clock, passes)
        yield _told("decision to order", journal.waits_s, f"of {len(journal.waits_s)} orders")
        journal.close()


@benchmark("loop.year", "a year of minute candles through the live loop, or LOOP_MINUTES of it")
def year(runs: int) -> Iterator[Measurement]:
    """One pair, as fast as it can, with a strategy that trades."""
    minutes = int(os.environ.get("LOOP_MINUTES", "10000"))
    strategy = os.environ.get("LOOP_STRATEGY", NAME)
    with tempfile.TemporaryDirectory() as folder:
        trader, clock, journal = live_loop(1, minutes + 5, Path(folder), strategy)
        began = time.perf_counter()
        spent = cycles(trader, clock, minutes)
        whole_s = time.perf_counter() - began
        fills = trader.executor.orders.fill_count
        notes = f"{minutes} minutes in {whole_s:.0f} s, {fills} fills"
        yield _told(f"{minutes} minute candles, one pair", spent, notes)
        journal.close()
