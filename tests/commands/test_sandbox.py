"""The sandbox as a command: a process that other programs talk to."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import krakenex
import pytest

from kraken_client import KrakenClient
from trader.domain.candles import Timeframe
from trader.domain.errors import ExitStatus
from trader.domain.markets import Pair

PROGRAM = Path(__file__).resolve().parents[2] / "run_trader.py"


@contextmanager
def serving(*words):
    """The command as a process; gives (process, what it printed as JSON)."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "sandbox", "--port", "0", "--json", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        yield process, json.loads(text)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_serves_krakens_interface_and_ends_in_order(data):
    with serving("--feed", "simulated") as (process, facts):
        assert (facts["mode"], facts["feed"]) == ("PAPER", "simulated")
        client = krakenex.API(facts["key"], facts["secret"])
        client.uri = facts["url"]
        client.session.trust_env = False
        assert client.query_private("Balance")["result"] == {"ZUSD": "10000.0000"}
        client.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (0, "")
        assert "stopped" in err
        assert "Traceback" not in err


@pytest.mark.slow
def test_its_time_runs_as_fast_as_asked_from_where_asked(data):
    with serving("--feed", "simulated", "--start", "2026-01-01", "--speed", "3600") as (_, facts):
        client = KrakenClient(url=facts["url"])
        first = client.server_time()
        time.sleep(0.3)
        assert (client.server_time() - first).total_seconds() > 600
        assert first.year == 2026
        assert len(client.candles(Pair("BTC", "USD"), Timeframe(3600))) == 720
        client.close()


@pytest.mark.slow
def test_the_key_stays_the_same_and_only_its_owner_can_read_it(data):
    keys = []
    for _ in range(2):
        with serving("--feed", "simulated", "--pairs", "ETH/USD") as (_, facts):
            keys.append(facts["key"])
            assert facts["pairs"] == ["ETH/USD"]
    assert keys[0] == keys[1]
    file = data / "sandbox" / "server-key.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_port_in_use_is_one_clear_line(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = run("sandbox", "--feed", "simulated", "--port", port)
    assert (status, out) == (ExitStatus.MISUSED, "")
    assert err.startswith(f"error: cannot listen on 127.0.0.1 port {port}")
    assert "--port" in err


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("--feed", "replay"), 1, "no history of"),
        (("--feed", "kraken", "--speed", "2"), 2, "live prices cannot"),
        (("--feed", "simulated", "--pairs", "NOPE/USD"), 2, "NOPE/USD"),
        (("--feed", "simulated", "--start", "soon"), 2, "soon"),
        (("--feed", "simulated", "--speed", "0"), 2, "--speed"),
        (("--feed", "simulated", "--port", "99999"), 2, "99999"),
        (("--feed", "simulated", "--faults", "nowhere.json"), 2, "nowhere.json"),
        (("--feed", "guessed",), 2, "guessed"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_clear_line(run, words, status, text):
    code, out, err = run("sandbox", "--port", "0", *words)
    assert (code, out) == (status, "")
    assert text in err
    assert "Traceback" not in err


def test_a_damaged_key_file_is_not_overwritten(run, data):
    file = data / "sandbox" / "server-key.json"
    file.parent.mkdir()
    file.write_text("{}")
    status, _, err = run("sandbox", "--port", "0", "--feed", "simulated")
    assert status == ExitStatus.MISUSED
    assert str(file) in err
    assert file.read_text() == "{}"


@pytest.mark.slow
def test_faults_come_on_demand(data):
    rules = [{"rate": 1, "kinds": ["busy"], "calls": ["Time"]}]
    (data / "faults.json").write_text(json.dumps({"rules": rules}))
    with serving("--feed", "simulated", "--faults", str(data / "faults.json")) as (_, facts):
        client = krakenex.API()
        client.uri = facts["url"]
        client.session.trust_env = False
        assert client.query_public("Time") == {"error": ["EService:Busy"]}
        client.close()
