"""Every command block of README and documentation, run as it stands, in order.

Blocks marked `sh` are run line by line in a folder of their own that holds what a reader would
have: the program, candles of one made-up year under the names the texts use, a fast made-up
market. Blocks marked `console` need another machine (git, docker, root) and are only looked at.
"""

import gzip
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
# What runs until it is told to end: how long it gets before Ctrl-C.
ENDLESS = re.compile(
    r"run_trader\.py (start(?!.*--cycles)|sandbox)|monitor_dashboard|install\.sh start$"
)
ENDLESS_S = 12
LONGEST_S = 170
# What would run this suite within itself, or needs what a test may not touch, or holds for the
# shell it is typed in (each line here has a shell of its own, with this Python first in its PATH).
LEFT_OUT = re.compile(
    r"install\.sh test$|^make (check|test)|pip install|^keyring |python3? -m venv|/activate$"
)
pytestmark = pytest.mark.slow


def lines_of(page):
    found = [
        line for _, block in BLOCK.findall(page.read_text("utf-8")) for line in block.splitlines()
    ]
    lines = [line.split("  #")[0].strip() for line in found]
    return [line for line in lines if line and not line.startswith("#")]


def commands():
    return [
        pytest.param(page, lines_of(page), id=str(page.relative_to(ROOT)))
        for page in PAGES
        if lines_of(page)
    ]


def csv_rows(start, count, seconds, seed=1):
    """Rows as Kraken writes them: time, open, high, low, close, volume, trades."""
    rng = np.random.default_rng(seed)
    close = 30_000 * np.exp(np.cumsum(rng.normal(0.00002, 0.006, count)))
    rows = []
    for i, price in enumerate(close):
        first = close[i - 1] if i else price
        high, low = max(first, price) * 1.002, min(first, price) * 0.998
        at = int(start.timestamp()) + i * seconds
        rows.append(f"{at},{first:.1f},{high:.1f},{low:.1f},{price:.1f},12.5,40")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which a reader of the texts works."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("scripts", "commands", "trader", "examples"):
        (folder / name).symlink_to(ROOT / name)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "mkdocs.yml"]:
        (folder / path.name).symlink_to(path)
    shutil.copy(ROOT / ".env.example", folder / ".env")
    (folder / ".env").chmod(0o600)
    start, hours = datetime(2020, 5, 1, tzinfo=UTC), 24 * 612
    year, other = (csv_rows(start, hours, 3600, seed) for seed in (1, 2))
    for name, text in (("XBTUSD_60", year), ("ETHUSD_60", other), ("XBTUSDT_60", year)):
        with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
            file.write(text)
    with zipfile.ZipFile(folder / "Kraken_OHLCVT.zip", "w") as archive:
        archive.writestr("XBTUSD_60.csv", year)
        archive.writestr("ETHUSD_60.csv", other)
    # Pages are read in any order: each begins where the import page ends.
    status, output = run("python run_trader.py history import Kraken_OHLCVT.zip", folder)
    assert status == 0, output
    return folder


def as_here(line):
    """The line with this interpreter in place of the installer and of `python`."""
    line = re.sub(r"^\./scripts/install\.sh test --version$", "python -m pytest --version", line)
    line = re.sub(r"^\./scripts/install\.sh$", "python run_trader.py --help", line)
    line = re.sub(r"^\./scripts/install\.sh ", "python run_trader.py ", line)
    line = re.sub(r"(^|[ =])(\.venv/bin/)?python3? ", rf"\1{shlex.quote(sys.executable)} ", line)
    return re.sub(r"^kraken-ai-trader ", f"{shlex.quote(sys.executable)} run_trader.py ", line)


def environment():
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    return keep | {
        "SANDBOX_FEED": "simulated", "POLL_SECONDS": "0.2", "DASHBOARD_PORT": "0", "NO_COLOR": "1",
        "PAIRS": "BTC/USD,ETH/USD", "DASHBOARD_PASSWORD": "a-long-password", "RETRAIN_HOURS": "0",
        "KRAKEN_API_URL": "http://127.0.0.1:9",
    }  # fmt: skip


def run(line, home):
    """Status and output; what has no end is ended as a person would."""
    process = subprocess.Popen(
        ["bash", "-c", as_here(line)], cwd=home, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    if ENDLESS.search(as_here(line)):
        time.sleep(ENDLESS_S)
        os.killpg(process.pid, signal.SIGINT)
    try:
        output, _ = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\n(no end within {LONGEST_S} s)"
    return process.returncode, output


def allowed(line):
    if ENDLESS.search(line):
        return {0, 3, 130, -signal.SIGINT}
    return {0, 3, 4} if re.search(r"history (download|sentiment)", line) else {0, 3}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("page", "lines"), commands())
def test_every_command_of_a_page_runs(page, lines, home):
    failed = []
    for line in lines:
        if LEFT_OUT.search(line):
            continue
        status, output = run(line, home)
        # 3 is a refusal by a rule, which a text may well show; 4 an exchange that nobody reaches
        # from a test; 130 is our own Ctrl-C.
        if status not in allowed(as_here(line)):
            failed.append(f"{line} → {status}\n{output[-600:]}")
        if "Traceback" in output:
            failed.append(f"{line} shows a traceback\n{output[-600:]}")
    assert failed == []


def test_no_page_hides_a_command_from_this_test():
    """Blocks without a language, or with another shell's name, would not be run."""
    hidden = []
    for page in PAGES:
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text("utf-8"),
                                          re.DOTALL | re.MULTILINE):  # fmt: skip
            if language in {"", "bash", "shell"} and re.search(
                r"^\s*(python|\./scripts/install)", block, re.M
            ):
                hidden.append(f"{page.name}: {block.splitlines()[0]}")
    assert hidden == []
