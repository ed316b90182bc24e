"""A bot in a process of its own, on a made-up market that runs fast."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from commands.common import guarded
from config import load_config
from run_trader import cli
from trader.domain.errors import JournalError
from trader.reports.journal_check import JournalCheck
from trader.risk.limits import RiskLimits
from trader.storage.journal import SqliteJournal, list_books
from trader.storage.state_file import heartbeat_of

ROOT = Path(__file__).resolve().parents[2]


class Bot:
    """`run_trader.py` in a folder of its own."""

    def __init__(self, folder: Path, **settings):
        self.folder = folder
        self.process = None
        keep = {
            k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
        }
        self.environment = {
            **keep,
            "PYTHONPATH": str(ROOT),
            "SANDBOX_FEED": "simulated",
            "PAIRS": "BTC/USD",
            "POLL_SECONDS": "0.3",
            "ENTRY_PATIENCE_MINUTES": "0",
            "STRATEGY": "buy-and-hold",
            "TRAINING_WINDOW_DAYS": "400",
            "NO_COLOR": "1",
            **settings,
        }

    def run(self, *words):
        """A command to its end, in this process: status, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        kept = dict(os.environ)
        with contextlib.chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            os.environ.update(self.environment)
            try:
                status = guarded(cli, list(words))
            finally:
                os.environ.clear()
                os.environ.update(kept)
        return SimpleNamespace(returncode=status, stdout=out.getvalue(), stderr=err.getvalue())

    def start(self, *words, dashboard=False):
        """The bot in the background, until it has made a decision."""
        words = words if dashboard else ("--no-dashboard", *words)
        log = (self.folder / "out.txt").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_trader.py"), "start", *words],
            cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        log.close()
        self.wait(
            lambda: self.state().get("pid") == self.process.pid and self.state()["prices"], 60
        )
        return self

    def state(self):
        """The newest heartbeat."""
        beat = heartbeat_of(self.folder / "data", lambda _: True, lambda: datetime.now(UTC))
        return (beat.read() if beat else None) or {}

    def output(self):
        return (self.folder / "out.txt").read_text()

    def wait(self, condition, seconds=30):
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, f"waited in vain; {self.output()}"
            assert self.process.poll() is None, f"the bot has ended; {self.output()}"
            time.sleep(0.05)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """The hard way."""
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self):
        """End it, and hold what it has journalled against the rules."""
        if self.process is not None:
            if self.process.poll() is None:
                self.signal(signal.SIGCONT)
                self.kill()
            broken = self.broken_rules()
            assert not broken, broken

    def broken_rules(self):
        """What the independent checker finds in the journals of the folder."""
        limits = RiskLimits.of(load_config(None, self.environment))
        found = []
        path = self.folder / "data" / "trader.db"
        with contextlib.suppress(JournalError):  # ruined or gone: then that is the test
            for book in list_books(path):
                with SqliteJournal.reader(path, book.name) as journal:
                    found += JournalCheck("USD", limits).read(journal.events()).report().problems
        return [p.what for p in found if not p.what.startswith("time runs back")]
