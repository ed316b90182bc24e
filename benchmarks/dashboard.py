"""Does watching disturb trading? The loop's cycle with fifty pages open, and none, in turns.

The loop is the real one (`Trader.step` over Kraken's wire on stored candles), the journal holds a
year of minute candles, the dashboard is the process that `start` gives it, and fifty readers do
what fifty open pages do: hold the stream, and ask for the overview and the curve at each change.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Measurement, benchmark, measured
from trader.domain.candles import Candles, Timeframe
from trader.domain.events import CashAdjusted, EquityMarked, SessionStarted, SignalMade
from trader.domain.markets import Pair
from trader.domain.signals import Action, Signal
from trader.storage.history import HistoryStore
from trader.storage.journal import SqliteJournal
from trader.storage.state_file import StateFile

PAGES = 50
YEAR = 525_600
BTC = Pair("BTC", "USD")
START = datetime(2023, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BOOK = "paper-year"
PATHS = ("/api/overview", "/api/equity")
ROOT = Path(__file__).resolve().parents[1]
_BLOCK = 5_000


@dataclass(slots=True)
class Watchers:
    """What so many open pages do, in a process of their own."""

    port: int
    count: int = PAGES
    process: subprocess.Popen[bytes] | None = field(default=None)

    def __enter__(self) -> Watchers:
        words = [sys.executable, "-m", "benchmarks.dashboard", str(self.port), str(self.count)]
        self.process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if self.process.stdout is not None:
            self.process.stdout.readline()  # all are there
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def watch(port: int, count: int) -> None:
    """Hold so many streams open and ask at each change, until killed."""
    os.nice(5)
    there = threading.Barrier(count + 1)
    for _ in range(count):
        threading.Thread(target=_page, args=(port, there), daemon=True).start()
    there.wait()
    print("there", flush=True)
    threading.Event().wait()


def _page(port: int, there: threading.Barrier) -> None:
    stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    stream.request("GET", "/api/stream")
    answer = stream.getresponse()
    there.wait()
    while True:
        line = answer.readline()
        if not line:
            return
        if line.startswith(b"event: change"):
            for path in PATHS:
                _read(port, path)


def _read(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        return connection.getresponse().read()
    finally:
        connection.close()


@benchmark("dashboard.disturbance", "the loop's cycle with fifty pages open, and with none")
def disturbance(runs: int) -> Iterator[Measurement]:
    """Cycles with and without watchers in turns; the ratio of the medians is what counts."""
    with _year() as folder, _loop(folder) as loop, _served(folder) as port:
        _wait_until_read(port)
        for _ in range(200):
            loop.cycle()
        spent: dict[str, list[float]] = {"alone": [], "watched": []}
        for _ in range(max(runs, 3)):
            spent["alone"] += loop.cycles()
            with Watchers(port):
                spent["watched"] += loop.cycles()
        middle = {name: statistics.median(found) for name, found in spent.items()}
        change = middle["watched"] / middle["alone"] - 1
        for name, found in spent.items():
            notes = f"change {change:+.1%}" if name == "watched" else f"{len(found)} cycles"
            yield measured("loop cycle, a year of minutes", name, YEAR, found, None, notes)


@benchmark("dashboard.first_paint", "the overview in Chromium with a year of minute candles")
def first_paint(runs: int) -> Iterator[Measurement]:
    """First contentful paint, and until the figures stand on the page."""
    with _year() as folder, _served(folder) as port:
        began = time.perf_counter()
        _wait_until_read(port)
        yield measured("journal read at the start", "ours", YEAR, [time.perf_counter() - began])
        paints, shown = zip(*_paints(port, max(runs, 3)), strict=True)
        yield measured("first paint", "ours", YEAR, paints)
        yield measured("figures shown", "ours", YEAR, shown)


def _paints(port: int, runs: int) -> Iterator[tuple[float, float]]:
    import shutil

    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    with sync_playwright() as chromium:
        browser = chromium.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for _ in range(runs + 1):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("body[data-ready]")
            painted, ready = page.evaluate(
                "[performance.getEntriesByName('first-contentful-paint')[0].startTime,"
                " performance.now()]"
            )
            page.close()
            yield painted / 1000, ready / 1000
        browser.close()


@contextlib.contextmanager
def _year() -> Iterator[Path]:
    """A folder with a year of minute candles and the journal of a bot that decided on each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        close = 30_000 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.0006, YEAR)))
        _store(folder, close)
        _journal(folder, close)
        yield folder


def _store(folder: Path, close: Any) -> None:
    opened = int(START.timestamp()) + 60 * np.arange(YEAR, dtype=np.int64)
    opens = np.concatenate([close[:1], close[:-1]])
    candles = Candles(
        Timeframe(60), opened, opens, np.maximum(opens, close) * 1.0002,
        np.minimum(opens, close) * 0.9998, close, np.full(YEAR, 2.5),
        np.full(YEAR, 9, dtype=np.int64),
    )  # fmt: skip
    HistoryStore(folder / "data", "kraken").append(BTC, candles, "drawn")


def _journal(folder: Path, close: Any) -> None:
    with SqliteJournal(folder / "data" / "trader.db", BOOK, durable=False) as journal:
        journal.append(
            SessionStarted(START, "PAPER", "replay", (BTC,), "1m", "trend", "benchmark")
        )
        journal.append(CashAdjusted(START, "USD", Decimal(10_000), "first deposit"))
        for begin in range(0, YEAR, _BLOCK):
            block: list[Any] = []
            for i in range(begin, min(begin + _BLOCK, YEAR)):
                at, price = START + MINUTE * (i + 1), float(close[i])
                worth = Decimal(str(round(10_000 * price / float(close[0]), 2)))
                prices = ((BTC, Decimal(str(round(price, 1)))),)
                signal = Signal(BTC, at, Action.HOLD, 0.5, ("2 of 4 trends up",), "trend")
                block += [
                    EquityMarked(at, worth, worth, prices),
                    SignalMade(at, signal, price, ""),
                ]
            journal.append_all(block)
    last = START + MINUTE * YEAR
    StateFile(folder / "data" / "state.json", lambda: datetime.now(UTC)).write(
        {"at": last.isoformat(), "book": BOOK, "history": "kraken", "cycle": 1}
    )


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[int]:
    """The dashboard as `start` runs it: another process, nicer than the loop."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data"),
        "LOGS_DIR": str(folder / "logs"), "MODELS_DIR": str(folder / "models"),
        "DASHBOARD_PORT": str(port),
    }  # fmt: skip
    code = (
        "import sys, time; from config import load_config; from commands.dashboard import beside;"
        "b = beside(load_config()); b.start(); sys.stdin.read(); b.close()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, stdin=subprocess.PIPE
    )
    try:
        yield port
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(20)


def _wait_until_read(port: int) -> None:
    while True:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(_read_plain(port)).get("mode"):
                return
        time.sleep(0.2)


def _read_plain(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/api/overview")
        return connection.getresponse().read()
    finally:
        connection.close()


class _Loop:
    """The loop of a replay on the minute candles; it beats into the state the dashboard reads."""

    CYCLES = 1500

    def __init__(self, trader: Any, beat: StateFile) -> None:
        self._trader = trader
        self._beat = beat
        self._count = 0

    def cycle(self) -> float:
        """One pass, and the way to the next candle; seconds."""
        began = time.perf_counter()
        report = self._trader.step()
        self._trader.approach(report.next_close_at)
        self._count += 1
        return time.perf_counter() - began

    def cycles(self) -> list[float]:
        """So many cycles, a change told to all pages twice a second, outside the clock."""
        found, told = [], 0.0
        for _ in range(self.CYCLES):
            found.append(self.cycle())
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                last = START + MINUTE * YEAR
                self._beat.write({"at": last.isoformat(), "book": BOOK, "history": "kraken",
                                  "cycle": self._count})  # fmt: skip
        return found


@contextlib.contextmanager
def _loop(folder: Path) -> Iterator[_Loop]:
    from config import load_config
    from main import assemble
    from venues import Wishes

    account = folder / "loop"
    (account / "candles").parent.mkdir(parents=True, exist_ok=True)
    environment = {
        "SANDBOX_FEED": "replay", "PAIRS": "BTC/USD", "TIMEFRAME": "1m", "STRATEGY": "trend",
        "DATA_DIR": str(account), "LOGS_DIR": str(account / "logs"),
        "MODELS_DIR": str(account / "models"),
    }  # fmt: skip
    history = HistoryStore(folder / "data", "kraken").load(BTC, Timeframe(60))
    HistoryStore(account, "kraken").append(BTC, history[-40_000:], "drawn")
    parts = assemble(load_config(environ=environment), Wishes(cycles=30_000, speed=float("inf")))
    try:
        parts.trader.recover()
        yield _Loop(parts.trader, StateFile(folder / "data" / "state.json", _utc_now))
    finally:
        parts.close()


def _utc_now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]))
