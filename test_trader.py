"""The user's stories, end to end, with the real commands in a folder of their own.

`python test_trader.py` runs these and everything under `tests/`; words after it go to pytest,
for example `python test_trader.py -k history -x`.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

try:
    import pytest
except ModuleNotFoundError:
    sys.exit("pytest is missing. Install the test tools: pip install -r requirements-dev.txt")

from config import KNOWN

ROOT = Path(__file__).resolve().parent
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing answers there
PAST = {"SANDBOX_FEED": "replay", "PAIRS": "BTC/USD", "KRAKEN_API_URL": NOBODY}
PAPER = {"SANDBOX_FEED": "simulated", "POLL_SECONDS": "0.5", "KRAKEN_API_URL": NOBODY}


class Project:
    """A user's folder: its own `.env`, data, models and logs; commands run there."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.settings(**settings)

    def settings(self, **values: str) -> None:
        """Write `.env`."""
        lines = [f"{name}={value}\n" for name, value in values.items()]
        (self.folder / ".env").write_text("".join(lines), encoding="utf-8")
        (self.folder / ".env").chmod(0o600)

    def start(self, *words: str | Path, program: str = "run_trader.py") -> subprocess.Popen[str]:
        """Begin a command and leave it running."""
        mine = {name: text for name, text in os.environ.items() if name not in KNOWN}
        command = [sys.executable, str(ROOT / program), *map(str, words)]
        return subprocess.Popen(command, cwd=self.folder, text=True, env=mine,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                start_new_session=True)  # fmt: skip

    def run(self, *words: str | Path, program: str = "run_trader.py",
            timeout: float = 150) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command to its end."""
        process = self.start(*words, program=program)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{words} did not end:\n{out[-2000:]}\n{err[-2000:]}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def answer(self, *words: str | Path, status: int = 0, **more: Any) -> Any:
        """The one JSON document that the command prints."""
        done = self.run(*words, "--json", **more)
        assert done.returncode == status, done.stderr[-3000:] + done.stdout[-1000:]
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, **PAPER)


def real(name: str) -> Path:
    """A file of recorded candles; skips the test where there are none."""
    beside = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"))
    path = beside / "data" / "ohlcvt" / name
    if not path.exists():
        pytest.skip(f"recorded market data not here: {name} (set SHARED_DIR)")
    return path


def real_hours(first: str, last: str, folder: Path) -> Path:
    """Kraken's BTC/USD hours that open in [first, last), as a file of its own."""
    since, until = (datetime.fromisoformat(day).timestamp() for day in (first, last))
    path = folder / "XBTUSD_60.csv"
    with gzip.open(real("XBTUSD_60.csv.gz"), "rt") as rows:
        wanted = [row for row in rows if since <= int(row.split(",")[0]) < until]
    path.write_text("".join(wanted))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with years of real hourly candles and a model trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    project = Project(folder, **PAST, TRAINING_WINDOW_DAYS="180")
    history = real_hours("2020-01-01T00Z", "2022-08-01T00Z", folder)
    assert project.run("history", "import", history).returncode == 0
    verdict = project.answer("train", "BTC/USD")
    assert verdict["licence"]["granted"] in (True, False)
    return project


# ---------------------------------------------------------------- looking around


def test_help_lists_every_command_at_once(project: Project) -> None:
    from run_trader import COMMANDS

    began = time.perf_counter()
    listed = project.run("--help").stdout
    assert [name for name in COMMANDS if f"\n  {name} " not in listed] == []
    assert time.perf_counter() - began < 1.5


def test_the_doctor_finds_a_fresh_folder_fit(project: Project) -> None:
    found = project.answer("doctor")
    assert found["mode"] == "PAPER"
    assert found["counts"]["fail"] == 0


# ---------------------------------------------------------------- the first start


def test_the_first_start_decides_on_paper_without_network_and_the_status_tells_of_it(
    project: Project,
) -> None:
    project.settings(**{**PAPER, "SANDBOX_FEED": "auto"})
    done = project.run("start", "--cycles", "3", "--no-dashboard")
    assert done.returncode == 0, done.stderr
    assert "PAPER" in done.stdout.splitlines()[0]
    assert "simulated" in done.stdout + done.stderr
    status = project.answer("status")
    assert status["mode"] == "PAPER"
    assert status["pairs"] == ["BTC/USD", "ETH/USD", "SOL/USD"]
    assert float(status["equity"]) > 0
    assert status["last_decision"] is not None


def test_every_decision_can_be_explained_afterwards(project: Project) -> None:
    project.run("start", "--cycles", "2", "--no-dashboard")
    told = project.answer("why", "BTC/USD")
    assert "BTC/USD" in json.dumps(told)


@pytest.fixture
def running(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A bot that runs until told otherwise, past its first order."""
    process = project.start("start", "--no-dashboard")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        if project.run("ledger", "--json").stdout.count('"fill"'):
            break
    yield process
    # A training beside the loop outlives a killed bot and holds its pipes.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_running_bot_is_stopped_and_resumed_from_another_terminal_and_ended_cleanly(
    project: Project, running: subprocess.Popen[str]
) -> None:
    assert project.run("stop", "--flatten", "--reason", "storm warning").returncode == 0
    assert project.answer("status")["stopped"]["reason"] == "storm warning"
    refused = project.run("trade", "BTC/USD", "buy", "0.001", "--yes")
    assert refused.returncode == 3
    assert project.run("resume").returncode == 0
    assert project.answer("status")["stopped"] is None
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0


def test_after_a_kill_the_next_start_finds_the_same_account_and_loses_nothing(
    project: Project, running: subprocess.Popen[str]
) -> None:
    running.kill()
    running.wait(10)
    before = fills(project)
    done = project.run("start", "--cycles", "1", "--no-dashboard")
    assert done.returncode == 0, done.stderr
    assert "agrees with the journal" in done.stdout
    after = fills(project)
    assert before
    assert before == after[: len(before)]
    assert len({fill["trade_id"] for fill in after}) == len(after)


def fills(project: Project) -> list[dict[str, Any]]:
    """Every fill in the ledger, oldest first."""
    entries = project.answer("ledger")["entries"]
    return [entry for entry in entries if entry["kind"] == "fill"]


# ---------------------------------------------------------------- one order by hand


def test_an_order_by_hand_shows_its_cost_and_ends_in_the_account(project: Project) -> None:
    # A pair in which the bot has no purchase of its own under way.
    project.run("start", "--cycles", "1", "--pairs", "ETH/USD", "--no-dashboard")
    done = project.run("trade", "BTC/USD", "buy", "0.001", "--yes")
    assert done.returncode == 0, done.stderr
    assert "PAPER" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["trade", "BTC/USD", "buy", "0", "--yes"], 2),
        (["trade", "BTC/USD", "buy", "-1", "--yes"], 2),
        (["trade", "BTC/USD", "buy", "0.00000001", "--yes"], 3),
        (["trade", "BTC/USD", "buy", "1000", "--yes"], 3),
        (["trade", "NOPE/USD", "buy", "1", "--yes"], 2),
        (["analyze", "NOPE/USD"], 2),
        (["analyze", "BTC/USD", "--at", "someday"], 2),
        (["analyze", "BTC/USD", "--timeframe", "7x"], 2),
        (["why", "BTC/USD", "--at", "someday"], 2),
        (["history", "import", "nowhere.csv"], 2),
        (["start", "--cycles", "-1"], 2),
        (["start", "--pairs", "BTC/USD,ETH/EUR"], 2),
        (["strat"], 2),
    ],
    ids=lambda told: " ".join(told) if isinstance(told, list) else "",
)  # fmt: skip
def test_bad_input_is_one_clear_line_and_the_right_status(
    project: Project, words: list[str], status: int
) -> None:
    done = project.run(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--pair", "BTC/USD", "--start", "2021-02-30"], 2, "expected a date"),
        (["--pair", "BTC/USD", "--start", "2021-06-01", "--end", "2021-01-01"], 2, "before"),
        (["--pair", "NOPE", "--start", "2021-01-01"], 2, "BASE/QUOTE"),
        (["--pair", "BTC/USD", "--start", "2021-01-01", "--taker", "-5"], 2, "basis points"),
        (["--pair", "BTC/USD", "--end", "2021-02-01", "--strategy", "ensmble"], 2, "ensemble"),
        (
            ["--pair", "BTC/USD", "--start", "2021-01-01", "--end", "2021-02-01"],
            1,
            "history import",
        ),
    ],
    ids=["no date", "end before start", "no pair", "no fee", "no strategy", "no history"],
)
def test_a_backtest_that_cannot_be_says_why(
    project: Project, words: list[str], status: int, said: str
) -> None:
    done = project.run(*words, program="scripts/backtest.py")
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in done.stderr


def test_a_port_in_use_costs_the_dashboard_and_not_the_trading(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        project.settings(**PAPER, DASHBOARD_PORT=str(taken.getsockname()[1]))
        done = project.run("start", "--cycles", "1")
    assert done.returncode == 0, done.stderr
    assert "no dashboard" in done.stderr


def test_a_wrong_line_in_the_settings_stops_everything_and_says_which(project: Project) -> None:
    project.settings(PAIRS="BTC/USD", RISK_PER_TRADE="2.5")
    done = project.run("start", "--cycles", "1", "--no-dashboard")
    assert done.returncode == 2
    assert "RISK_PER_TRADE=2.5 in .env line 2" in done.stderr
    assert "For 2.5 % write 0.025." in done.stderr


def test_real_money_needs_keys(project: Project) -> None:
    project.settings(SANDBOX="false")
    assert project.run("start", "--cycles", "1", "--no-dashboard").returncode == 2


# ---------------------------------------------------------------- real history


def test_history_is_imported_whole_and_importing_again_changes_nothing(project: Project) -> None:
    told = project.answer("history", "import", real("XBTUSD_60.csv.gz"))
    first = told["imported"][0]
    again = project.answer("history", "import", real("XBTUSD_60.csv.gz"))["imported"][0]
    assert (first["candles"], first["new"], again["new"]) == (70_099, 70_099, 0)


def test_a_cut_off_file_is_refused_with_its_line_and_changes_nothing(project: Project) -> None:
    file = project.folder / "XBTUSD_60.csv"
    file.write_text("1609459200,1,2,1,2,5,1\n1609462800,1,2,1,")
    done = project.run("history", "import", file)
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert project.answer("history", "check")["series"] == []


def test_an_analysis_of_the_past_does_not_know_what_came_after(
    trained: Project, tmp_path: Path
) -> None:
    words = ("analyze", "BTC/USD", "--timeframe", "4h", "--at", "2022-06-01T00:00Z")
    whole = trained.answer(*words)
    assert sum(math.isfinite(v) for v in whole["indicators"].values() if v is not None) >= 50
    assert whole["signal"]["reasons"]
    assert whole["plan"] or whole["refusals"] or whole["signal"]["action"] == "hold"

    short = Project(tmp_path / "short", **PAST)
    cut = real_hours("2020-01-01T00Z", "2022-06-01T00Z", tmp_path)
    assert short.run("history", "import", cut).returncode == 0
    told = short.answer(*words)
    assert (told["indicators"], told["patterns"]) == (whole["indicators"], whole["patterns"])


@pytest.mark.slow
def test_the_same_replay_twice_is_the_same_run(trained: Project) -> None:
    runs = [trained.run("start", "--cycles", "200", "--speed", "max", "--no-dashboard")
            for _ in range(2)]  # fmt: skip
    assert [run.returncode for run in runs] == [0, 0]
    books = trained.folder / "data" / "trader.db"
    from trader.storage.journal import SqliteJournal, list_books

    names = [book.name for book in list_books(books) if book.name.startswith("replay")]
    digests = {SqliteJournal.reader(books, name).digest() for name in names}
    assert (len(names), len(digests)) == (2, 1)


def test_a_damaged_model_is_named_and_the_plain_rule_goes_on(
    trained: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "copy", **PAST)
    for name in ("data", "models"):
        shutil.copytree(trained.folder / name, project.folder / name)
    for file in (project.folder / "models").rglob("model.npz"):
        file.write_bytes(file.read_bytes()[:1000])
    assert project.answer("doctor", "--offline", status=1)["counts"]["fail"] == 1
    done = project.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard")
    assert done.returncode == 0, done.stderr
    assert "is damaged" in " ".join(project.answer("why", "BTC/USD")["signal"]["reasons"])


def test_a_backtest_shows_holding_beside_it_and_leaves_its_files(trained: Project) -> None:
    result = trained.answer("--pair", "BTC/USD", "--start", "2021-01-01", "--end", "2021-12-31",
                            "--strategy", "trend", "--out", "report",
                            program="scripts/backtest.py")  # fmt: skip
    assert result["metrics"]["trades"] > 0
    assert result["metrics"]["fees_quote"] > 0
    assert result["baselines"]["buy_and_hold"]["total_return"] > 0.5
    files = {path.name for path in (trained.folder / "report").iterdir()}
    assert files >= {"report.html", "result.json", "trades.csv", "equity.csv"}
    with (trained.folder / "report" / "equity.csv").open() as rows:
        assert len(list(csv.DictReader(rows))) == result["candles"]


# ---------------------------------------------------------------- running all


def main(words: list[str]) -> int:
    """Run pytest over this file and `tests/`, from the project's folder.

    A process per core, four at most; a file stays in one process, so that what is prepared for a
    file is prepared once. `-n 0` runs all in one.
    """
    cores = min(4, os.cpu_count() or 1)
    alone = cores == 1 or any(word.startswith(("-n", "--pdb", "--version")) for word in words)
    spread = [] if alone else ["-n", str(cores), "--dist", "loadfile"]
    return subprocess.call([sys.executable, "-m", "pytest", *spread, *words], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
