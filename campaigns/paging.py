"""Page trades from the built-in exchange, killed again and again: not a byte may differ.

The exchange serves over HTTP from this process, with Kraken's limit on public calls, on a clock
that only moves when a downloader waits. Downloads run in processes of their own and are ended by
SIGKILL after a random number of answers; the next one goes on. What they leave is compared byte
for byte with what one undisturbed download leaves.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import requests

from campaigns.output import progress, show
from kraken_client import KrakenClient
from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.kraken_limits import TIERS, RateBudget
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.simulation.book import TRADES_PER_STRETCH
from trader.storage.history import HistoryStore
from trader.storage.paging import Progress, TradesDownload

START = datetime(2024, 1, 1, tzinfo=UTC)
STORED_AT = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = Timeframe(60)
PAIRS = (Pair("BTC", "USD"), Pair("ETH", "USD"))
_WAIT = "/clock/wait"
BURST, PER_SECOND = 10, 1.0


class Clocked:
    """The exchange, and its clock for those who wait."""

    def __init__(self, wire: KrakenWire, clock: ManualClock) -> None:
        self._wire, self._clock = wire, clock
        self.requests = self.refused = 0

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """An answer of the exchange, or of the clock."""
        if path == _WAIT:
            self._clock.sleep_until(self._clock.now() + timedelta(seconds=float(query)))
            return 200, "application/json", b"{}"
        answer = self._wire.handle(method, path, query, headers, body)
        self.requests += 1
        self.refused += b"Rate limit" in answer[2][:80]
        return answer


@dataclass(frozen=True, slots=True)
class Market:
    """A made-up market whose candles become so many trades."""

    trades: int
    seed: int

    @property
    def minutes(self) -> int:
        """Candles of each pair."""
        return -(-self.trades // TRADES_PER_STRETCH // len(PAIRS))

    @property
    def end(self) -> datetime:
        """When the last candle closes."""
        return START + self.minutes * MINUTE.delta

    def served(self) -> tuple[Clocked, ManualClock]:
        """The exchange with it."""
        clock = ManualClock(self.end + timedelta(hours=1))
        feed = ReplayFeed({pair: self._candles(i) for i, pair in enumerate(PAIRS)})
        wire = KrakenWire(SandboxExchange(feed, clock), tier=TIERS["starter"])
        return Clocked(wire, clock), clock

    def _candles(self, index: int) -> Candles:
        chance = np.random.default_rng([self.seed, index])
        close = np.round(20_000 * np.exp(np.cumsum(chance.normal(0, 4e-4, self.minutes))), 1)
        open_ = np.concatenate([[20_000.0], close[:-1]])
        high = np.maximum(open_, close) + np.round(chance.exponential(3, self.minutes), 1)
        low = np.minimum(open_, close) - np.round(chance.exponential(3, self.minutes), 1)
        volume = np.round(chance.exponential(3, self.minutes) + 0.01, 8)
        times = int(START.timestamp()) + 60 * np.arange(self.minutes, dtype=np.int64)
        counts = np.full(self.minutes, TRADES_PER_STRETCH, dtype=np.int64)
        return Candles(MINUTE, times, open_, high, low, close, volume, counts)


def download(url: str, folder: Path, end: datetime) -> int:
    """What the killed process does: page everything, a line for each answer."""
    waited = [0.0]
    session = requests.Session()
    session.trust_env = False

    def wait(seconds: float) -> None:
        waited[0] += seconds
        session.get(f"{url}{_WAIT}?{seconds}", timeout=60).raise_for_status()

    client = KrakenClient(url=url, retries=Retries(attempts=8, budget_s=600.0), sleep=wait)
    budget = RateBudget(BURST, PER_SECOND, sleep=wait, seconds=lambda: waited[0])
    store = HistoryStore(folder, now=lambda: STORED_AT)

    def tell(state: Progress) -> None:
        print(state.pages, flush=True)

    paging = TradesDownload(client, store, START, end, turn=lambda: budget.spend(1), tell=tell)
    paging.run(PAIRS)
    client.close()
    return 0


def run(trades: int, kills: int, seed: int) -> dict[str, Any]:
    """Both downloads, and how they compare."""
    market = Market(trades, seed)
    with tempfile.TemporaryDirectory(prefix="paging-") as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        quiet = _undisturbed(market, whole)
        progress(
            f"undisturbed: {quiet['requests']} requests, {quiet['simulated_s']:.0f} s simulated"
        )
        killed = _killed(market, broken, kills, quiet["answers"], seed)
        left, right = contents(whole), contents(broken)
        differing = sorted(k for k in left.keys() | right.keys() if left.get(k) != right.get(k))
        store = HistoryStore(whole)
        counted = sum(int(store.load(pair, MINUTE).trades.sum()) for pair in PAIRS)
    return {
        "trades": counted, "pairs": len(PAIRS), "kills": killed["kills"], "files": len(left),
        "differing": len(differing), "identical": not differing, "first_differing": differing[:3],
        "undisturbed": quiet, "killed": killed,
    }  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Name → hash of every file with data in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix == ".parquet" and not path.name.startswith(".")
    }


def _undisturbed(market: Market, folder: Path) -> dict[str, Any]:
    handler, clock = market.served()
    began, clock_began = time.perf_counter(), clock.now()
    with Server(handler) as address, _child(address.url, folder, market) as child:
        answers = sum(1 for _ in _lines(child))
        if child.wait():
            raise RuntimeError(f"the download failed: {_words(child)}")
    return _told(handler, clock, clock_began, began) | {"answers": answers}


def _killed(market: Market, folder: Path, kills: int, answers: int, seed: int) -> dict[str, Any]:
    handler, clock = market.served()
    chance = random.Random(seed)
    began, clock_began, done = time.perf_counter(), clock.now(), 0
    with Server(handler) as address:
        ended = False
        while not ended:
            after = chance.randrange(1, max(2, 2 * answers // (kills + 1))) if done < kills else -1
            with _child(address.url, folder, market) as child:
                ended = not _kill_after(child, after, chance)
                if ended and child.returncode:
                    raise RuntimeError(f"the download failed: {_words(child)}")
            done += not ended
    return _told(handler, clock, clock_began, began) | {"kills": done}


def _kill_after(child: subprocess.Popen[str], answers: int, chance: random.Random) -> bool:
    """Kill it that many answers later and a moment more; whether it was still running."""
    for count, _ in enumerate(_lines(child), 1):
        if count == answers:
            time.sleep(chance.random() * 0.05)
            child.send_signal(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def _lines(child: subprocess.Popen[str]) -> Any:
    return child.stdout


def _words(child: subprocess.Popen[str]) -> str:
    return child.stderr.read()[-600:] if child.stderr else ""


def _child(url: str, folder: Path, market: Market) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "campaigns.paging", "--child", url, str(folder),
             market.end.isoformat()]  # fmt: skip
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip


def _told(handler: Clocked, clock: ManualClock, since: datetime, began: float) -> dict[str, Any]:
    return {
        "requests": handler.requests,
        "refused": handler.refused,
        "simulated_s": (clock.now() - since).total_seconds(),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(words: list[str]) -> int:
    """`python -m campaigns.paging [--trades N] [--kills N] [--seed S] [--json]`."""
    if words[:1] == ["--child"]:
        return download(words[1], Path(words[2]), datetime.fromisoformat(words[3]))
    parser = argparse.ArgumentParser(prog="python -m campaigns.paging", description=__doc__)
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    result = run(options.trades, options.kills, options.seed)
    show(result, as_json=options.json)
    return 0 if result["identical"] and result["kills"] == options.kills else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
