"""The doctor finds what is wrong and says the remedy."""

import http.server
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commands import doctor_checks as checks
from commands.doctor_checks import Finding, Patient, examine
from trader.clocks import SystemClock
from trader.domain.markets import Pair
from trader.exchanges.feeds.simulated import SimulatedFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.storage.state_file import StateFile
from trader.storage.stop_switch import StopRequest, StopSwitch

ROOT = Path(__file__).resolve().parents[2]
KEYS = "KRAKEN_API_KEY=abc\nKRAKEN_API_SECRET=c2VjcmV0\n"
TRADING = ["query-funds", "query-open-trades", "query-closed-trades", "modify-trades",
           "close-trades"]  # fmt: skip


def findings(folder: Path, text: str = "SANDBOX_FEED=simulated\n", **more) -> dict[str, Finding]:
    env = folder / ".env"
    env.write_text(text)
    env.chmod(0o600)
    return {found.check: found for found in examine(Patient(env, **more))}


class Kraken(http.server.BaseHTTPRequestHandler):
    """Answers the two questions of the doctor."""

    seconds_off = 0.0
    permissions: tuple[str, ...] = ()

    def do_GET(self):
        self.answer({"unixtime": int(time.time() + self.seconds_off), "rfc1123": ""})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"permissions": list(self.permissions)})

    def answer(self, result):
        body = json.dumps({"error": [], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def kraken():
    """Starts an exchange with given faults; its address."""
    servers = []

    def start(**faults) -> str:
        handler = type("Faulty", (Kraken,), faults)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_fresh_folder_is_fit_and_only_lacks_comforts(tmp_path):
    found = findings(tmp_path)
    assert tuple(found) == checks.names()
    assert {name for name, f in found.items() if f.state == "fail"} == set()
    assert {name for name, f in found.items() if f.state == "warn"} >= {"history", "alerts"}


def test_everything_that_is_not_ok_has_a_remedy(tmp_path):
    assert [f.check for f in findings(tmp_path).values() if f.state != "ok" and not f.remedy] == []


def test_looking_changes_nothing(tmp_path):
    findings(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_wrong_settings_fail_and_what_needs_them_is_left_out(tmp_path):
    found = findings(tmp_path, "SANBOX=true\n")
    assert found["settings"].state == "fail"
    assert "Did you mean SANDBOX?" in found["settings"].detail
    assert "disk" not in found


def test_a_settings_file_that_others_can_read_fails_when_it_holds_keys(tmp_path):
    env = tmp_path / ".env"
    env.write_text(KEYS)
    env.chmod(0o644)
    found = checks.secrets(Patient(env))
    assert (found.state, found.remedy) == ("fail", f"chmod 600 {env}")
    env.write_text("")
    assert checks.secrets(Patient(env)).state == "warn"


def test_a_settings_file_under_version_control_fails(tmp_path):
    for words in (["init", "-q"], ["add", "-f", ".env"]):
        (tmp_path / ".env").touch()
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert "version control" in findings(tmp_path)["secrets"].detail


def test_a_folder_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "data").write_text("a file in the way")
    assert findings(tmp_path)["folders"].state == "fail"


@pytest.mark.parametrize(
    ("free", "state"), [(50e9, "ok"), (0.5e9, "warn"), (0.1e9, "fail")]
)  # fmt: skip
def test_little_disk_is_told_before_it_is_none(tmp_path, monkeypatch, free, state):
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage)
    assert findings(tmp_path)["disk"].state == state


@pytest.mark.parametrize(("off", "state"), [(0, "ok"), (-10, "warn"), (10, "warn"), (90, "fail")])
def test_the_clock_is_held_against_the_exchange(tmp_path, kraken, off, state):
    url = kraken(seconds_off=off)
    assert findings(tmp_path, f"KRAKEN_API_URL={url}\n")["exchange"].state == state


def test_an_exchange_that_does_not_answer_fails_only_where_it_is_needed(tmp_path):
    nobody = "KRAKEN_API_URL=http://127.0.0.1:9\n"
    assert findings(tmp_path, nobody)["exchange"].state == "warn"
    assert findings(tmp_path, nobody + "SANDBOX_FEED=kraken\n")["exchange"].state == "fail"
    assert findings(tmp_path, nobody + "SANDBOX_FEED=simulated\n")["exchange"].state == "ok"


def test_a_key_that_may_trade_and_not_withdraw_is_fine(tmp_path, kraken):
    url = kraken(permissions=TRADING)
    assert findings(tmp_path, f"{KEYS}KRAKEN_API_URL={url}\n")["key"].state == "ok"


@pytest.mark.parametrize(
    ("permissions", "said"),
    [([*TRADING, "withdraw-funds"], "may withdraw"), (TRADING[:-1], "lacks the permission")],
)
def test_a_key_with_the_wrong_rights_fails(tmp_path, kraken, permissions, said):
    url = kraken(permissions=permissions)
    found = findings(tmp_path, f"{KEYS}KRAKEN_API_URL={url}\n")["key"]
    assert found.state == "fail"
    assert said in found.detail


def test_a_replay_without_history_fails(tmp_path):
    assert findings(tmp_path, "SANDBOX_FEED=replay\n")["history"].state == "fail"


def model_folder(folder: Path, content: bytes, **changed: str) -> None:
    """A model of BTC/USD whose manifest is whole as far as the store reads it first."""
    place = folder / "models" / "BTC-USD" / "m1"
    place.mkdir(parents=True)
    (place / "model.npz").write_bytes(content)
    body = {"id": "m1", "timeframe": "1h", "source": "kraken", "sha256": "0" * 64,
            "known_through": "2024-01-01T00:00:00+00:00", **changed}  # fmt: skip
    (place / "manifest.json").write_text(json.dumps(body))


def test_without_a_model_the_doctor_says_what_trades_meanwhile(tmp_path):
    found = findings(tmp_path)["model"]
    assert (found.state, "plain trend rule" in found.remedy) == ("warn", True)


def test_a_damaged_model_fails(tmp_path):
    model_folder(tmp_path, b"half a mod")
    assert findings(tmp_path, "PAIRS=BTC/USD\n")["model"].state == "fail"


def test_a_damaged_journal_fails(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "trader.db").write_bytes(b"not a database at all" * 100)
    assert findings(tmp_path)["journal"].state == "fail"


def test_a_database_of_something_else_is_no_journal(tmp_path):
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / "trader.db") as connection:
        connection.execute("CREATE TABLE books (title TEXT)")
    connection.close()
    assert findings(tmp_path)["journal"].state == "fail"


def test_an_emergency_stop_is_told_with_its_reason(tmp_path):
    request = StopRequest("storm", False, "me", "2024-03-01T12:00:00Z")
    StopSwitch(tmp_path / "data").press(request)
    found = findings(tmp_path)["emergency stop"]
    assert (found.state, found.detail) == ("warn", "pressed since 2024-03-01T12:00:00Z: storm")


def test_a_port_in_use_is_found(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert findings(tmp_path, f"DASHBOARD_PORT={port}\n")["dashboard"].state == "warn"


def test_a_running_bot_is_found_and_one_that_hangs_is_told(tmp_path, monkeypatch):
    def beat(moment):
        return StateFile(tmp_path / "data" / "state.json", lambda: moment).write({})

    beat(datetime.now(UTC))
    assert findings(tmp_path)["bot"].detail == f"running as process {os.getpid()}"
    beat(datetime(2024, 3, 1, tzinfo=UTC))
    assert findings(tmp_path)["bot"].state == "warn"


@pytest.mark.slow
def test_an_alert_address_that_nobody_understands_fails(tmp_path):
    assert findings(tmp_path, "WEBHOOK_URL=pigeon://roof\n")["alerts"].state == "fail"
    assert findings(tmp_path, "WEBHOOK_URL=https://a.example/x\n")["alerts"].state == "ok"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("STRATEGY=trent", "Did you mean trend"),
        ("STRATEGY=nowhere:at_all", "there is no module 'nowhere'"),
        ("MODEL_TYPE=json:nothing", "has no 'nothing'"),
        ("EXCHANGE=json:Nothing", "has no 'Nothing'"),
    ],
)
def test_a_part_that_cannot_be_loaded_fails(tmp_path, line, said):
    found = findings(tmp_path, f"SANDBOX_FEED=simulated\n{line}\n")["parts"]
    assert found.state == "fail"
    assert said in found.detail + found.remedy


def test_a_pair_that_the_exchange_does_not_list_fails(tmp_path):
    exchange = SandboxExchange(SimulatedFeed(7, [Pair("BTC", "USD")]), SystemClock())
    with Server(KrakenWire(exchange, [])) as address:
        text = f"KRAKEN_API_URL={address.url}\nPAIRS="
        assert findings(tmp_path, text + "BTC/USD\n")["pairs"].detail == "BTC/USD are listed"
        found = findings(tmp_path, text + "BTC/USD,FOO/USD\n")["pairs"]
    assert (found.state, "FOO/USD" in found.detail) == ("fail", True)


def test_a_check_that_breaks_is_a_failure_and_not_the_end(tmp_path, monkeypatch):
    def broken(_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(checks, "_CHECKS", [("odd", broken, None), *checks._CHECKS])
    found = findings(tmp_path)
    assert (found["odd"].state, found["odd"].detail) == ("fail", "ZeroDivisionError: oh")
    assert "alerts" in found


def doctor(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_trader.py"), "doctor", "--offline", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_says_paper_first_and_ends_with_0(tmp_path):
    done = doctor(tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith("PAPER")


def test_the_command_ends_with_1_when_something_fails_and_json_stays_whole(tmp_path):
    (tmp_path / ".env").write_text("SANBOX=1\n")
    done = doctor(tmp_path, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["mode"], answer["counts"]["fail"]) == (1, "UNKNOWN", 1)
    assert set(answer["checks"][0]) == {"check", "state", "detail", "remedy"}
