"""The emergency stop while everything else is broken: flat within five seconds, every time.

`python -m campaigns.stop --rounds 100 --json`

In each round a fresh bot in a process of its own holds a position with its stop order, something
is sabotaged, and `run_trader.py stop --flatten` is called in a third process. The clock runs from
that call until the exchange has no order and no coin left.

With `--venue live` the exchange is the sandbox behind a port and the bot trades there as it would
live, key, nonces and all; with `--venue paper` it is the paper account on the bot's own disk.

A full disk is a small tmpfs filled to the last byte, which needs the right to mount one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from campaigns.output import Pace, progress, show
from trader.clocks import SystemClock
from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.exchanges.account_store import AccountStore
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.exchanges.wire.keys import ApiKey

ROOT = Path(__file__).resolve().parents[1]
PAIR = Pair("BTC", "USD")
LIMIT_S = 5.0
PATIENCE_S = 90.0
DISK_MB = 16
_KEPT = {"PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR"}


class LiveVenue:
    """The sandbox behind a port, in this process: its books are open to us.

    Args:
        seed: of the simulated market.
    """

    def __init__(self, seed: int) -> None:
        key = ApiKey.generate()
        self._exchange = SandboxExchange(
            SimulatedFeed(seed, [PAIR]), SystemClock(), balances={"USD": Decimal(1_000_000)}
        )
        self._server = Server(KrakenWire(self._exchange, [key]))
        self.settings = {
            "SANDBOX": "false", "KRAKEN_API_URL": self._server.__enter__().url,
            "KRAKEN_API_KEY": key.key, "KRAKEN_API_SECRET": key.secret,
        }  # fmt: skip
        self.options = ["--unlicensed"]

    def state(self, folder: Path) -> tuple[int, Decimal]:
        """Open orders and coins held."""
        coins = self._exchange.balances().get(PAIR.base)
        return len(self._exchange.open_orders()), Decimal(0) if coins is None else coins.total

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


class PaperVenue:
    """The paper account that the bot keeps in its data folder."""

    def __init__(self, seed: int) -> None:
        self.settings = {"SANDBOX": "true", "SANDBOX_FEED": "simulated",
                         "SANDBOX_SEED": str(seed)}  # fmt: skip
        self.options: list[str] = []
        self._book = f"paper-simulated-{seed}"

    def state(self, folder: Path) -> tuple[int, Decimal]:
        """Open orders and coins held, as the file says."""
        directory = folder / "data" / "sandbox" / self._book
        if not (directory / "account.db").exists():
            return 0, Decimal(0)
        store = AccountStore(directory)
        try:
            found = store.load()
        finally:
            store.close()
        if found is None:
            return 0, Decimal(0)
        coins = [entry.balance for entry in found.ledger if entry.asset == PAIR.base]
        return sum(order.is_open for order in found.orders), coins[-1] if coins else Decimal(0)

    def close(self) -> None:
        """Nothing is held."""


# -- what is broken ----------------------------------------------------------------------------


@dataclass(slots=True)
class Scene:
    """A bot that holds a position, and its folder."""

    folder: Path
    bot: subprocess.Popen[bytes]

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"


Sabotage = Callable[[Scene], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def frozen(scene: Scene) -> Iterator[None]:
    """The loop is halted by SIGSTOP, and in the middle of a request: it keeps the key's turn."""
    scene.bot.send_signal(signal.SIGSTOP)
    with contextlib.ExitStack() as held:
        for lock in scene.data.glob("nonce-*.lock"):
            with contextlib.suppress(Timeout):  # then the loop itself was halted holding it
                held.enter_context(FileLock(str(lock), timeout=0))
        yield


@contextlib.contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Another process holds the journal's write lock and does not let go."""
    with contextlib.closing(sqlite3.connect(scene.data / "trader.db", isolation_level=None)) as db:
        db.execute("PRAGMA busy_timeout = 20000")
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@contextlib.contextmanager
def full(scene: Scene) -> Iterator[None]:
    """The disk of journal, logs and switch has no byte left."""
    hog = scene.data / "hog"
    with hog.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    hog.unlink()


@contextlib.contextmanager
def model_broken(scene: Scene) -> Iterator[None]:
    """The model in use is rubbish."""
    folder = scene.folder / "models" / f"{PAIR.base}-{PAIR.quote}" / "20240101T000000Z"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("manifest.json", "model.npz"):
        (folder / name).write_bytes(b"\x00rubbish{")
    yield


@contextlib.contextmanager
def everything(scene: Scene) -> Iterator[None]:
    """All of it at once."""
    with model_broken(scene), locked(scene), full(scene), frozen(scene):
        yield


@contextlib.contextmanager
def nothing(scene: Scene) -> Iterator[None]:
    """All is well: the loop obeys."""
    yield


SABOTAGES: dict[str, Sabotage] = {
    "loop_frozen": frozen,
    "journal_locked": locked,
    "disk_full": full,
    "model_broken": model_broken,
    "everything": everything,
    "nothing": nothing,
}


# -- the rounds --------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """What came of the rounds of one sabotage."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The figures."""
        return {
            "rounds": len(self.seconds),
            "flat_within_5s": sum(s <= LIMIT_S for s in self.seconds),
            "slowest_s": round(max(self.seconds, default=0.0), 2),
            "median_s": round(sorted(self.seconds)[len(self.seconds) // 2], 2)
            if self.seconds
            else None,
            "acted": self.by,
            "failures": self.failures[:5],
        }


class Rounds:
    """Plays rounds of one venue.

    Args:
        venue: where the bot trades.
        disk: folder for the bots, on a small disk of its own if that is to run full.
    """

    def __init__(self, venue: LiveVenue | PaperVenue, disk: Path) -> None:
        self._venue = venue
        self._disk = disk
        self._environment = {k: v for k, v in os.environ.items() if k in _KEPT} | {
            "PYTHONPATH": str(ROOT), "PAIRS": str(PAIR), "STRATEGY": "buy-and-hold",
            "POLL_SECONDS": "1", "NO_COLOR": "1", "TRAINING_WINDOW_DAYS": "40",
            "ENTRY_PATIENCE_MINUTES": "0",
            **venue.settings,
        }  # fmt: skip

    def play(self, sabotage: Sabotage, result: Result) -> None:
        """One round."""
        folder = Path(tempfile.mkdtemp(prefix="bot-", dir=self._disk))
        with (folder.parent / f"{folder.name}.log").open("w+b") as log:
            bot = self._run(folder, log, "start", "--no-dashboard", *self._venue.options)
            try:
                self._until(lambda: self._guarded(folder), bot)
                with sabotage(Scene(folder, bot)):
                    self._stop(folder, result)
            except TimeoutError as fault:
                log.seek(0)
                text = log.read().decode(errors="replace")[-600:]
                result.failures.append(f"{fault}: {text}")
                progress(result.failures[-1])
            finally:
                if bot.poll() is None:
                    bot.kill()
                bot.wait(10)
                shutil.rmtree(folder, ignore_errors=True)
                Path(log.name).unlink()

    def _guarded(self, folder: Path) -> bool:
        orders, coins = self._venue.state(folder)
        return orders > 0 and coins > 0

    def _stop(self, folder: Path, result: Result) -> None:
        began = time.monotonic()
        with tempfile.TemporaryFile() as out:
            command = self._run(folder, out, "stop", "--flatten", "--json")
            try:
                self._until(lambda: self._venue.state(folder) == (0, Decimal(0)), None)
                result.seconds.append(time.monotonic() - began)
            except TimeoutError:
                result.seconds.append(PATIENCE_S)
                result.failures.append("not flat")
            command.wait(PATIENCE_S)
            out.seek(0)
            text = out.read().decode(errors="replace")
        try:
            document = json.loads(text[text.index("{") :])
            result.by[document["by"]] = result.by.get(document["by"], 0) + 1
            if not document["done"]:
                result.failures.append(text[-600:])
        except (ValueError, KeyError):
            result.failures.append(text[-600:])

    def _run(self, folder: Path, out: Any, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run_trader.py"), *words], cwd=folder,
            env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _until(self, condition: Callable[[], bool], bot: Any) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > ends:
                raise TimeoutError("waited in vain")
            if bot is not None and bot.poll() is not None:
                raise TimeoutError(f"the bot ended with status {bot.returncode}")
            time.sleep(0.02)


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A folder on a disk of a few megabytes; whether one could be mounted."""
    with tempfile.TemporaryDirectory(prefix="campaign-stop-") as made:
        mount, unmount = shutil.which("mount"), shutil.which("umount")
        words = [mount or "", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", made]
        done = mount and subprocess.run(words, check=False, capture_output=True).returncode == 0
        try:
            yield Path(made), bool(done)
        finally:
            if done:
                subprocess.run([unmount or "umount", "-l", made], check=False)


def campaign(
    rounds: int, names: tuple[str, ...], venue: LiveVenue | PaperVenue
) -> dict[str, dict[str, Any]]:
    """Play so many rounds of each sabotage; the figures by its name."""
    results = {name: Result() for name in names}
    pace = Pace()
    with small_disk() as (disk, is_small):
        if not is_small and {"disk_full", "everything"} & set(names):
            raise UsageError(
                "no small disk can be mounted here, so none can be filled",
                "Run it as root, or leave out disk_full and everything with --sabotage.",
            )
        player = Rounds(venue, disk)
        for number in range(rounds):
            for name, result in results.items():
                player.play(SABOTAGES[name], result)
                pace.tell(f"round {number + 1} of {rounds}: {name} {result.seconds[-1:]} s")
    return {name: result.document() for name, result in results.items()}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--sabotage", "names", multiple=True, type=click.Choice(list(SABOTAGES)),
              help="Only these; by default all.")  # fmt: skip
@click.option("--venue", type=click.Choice(["live", "paper"]), default="live", show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(rounds: int, names: tuple[str, ...], venue: str, seed: int, as_json: bool) -> None:
    """Call the emergency stop while loop, journal, disk or model are broken."""
    chosen = names or tuple(SABOTAGES)
    progress(f"{rounds} rounds each of {', '.join(chosen)}; {venue}")
    place = LiveVenue(seed) if venue == "live" else PaperVenue(seed)
    try:
        show(campaign(rounds, chosen, place), as_json=as_json)
    finally:
        place.close()


if __name__ == "__main__":
    main()
