"""The container image: linted, and made of exactly the files the program needs."""

import fnmatch
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from config import load_config
from scripts.healthcheck import dashboard_is_well, loop_is_well

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
SERVICES = sorted(COMPOSE["services"])
OURS = sorted(n for n, s in COMPOSE["services"].items() if s["image"] == "kraken-ai-trader")


def tool(name: str) -> str:
    """A command-line tool of the test environment."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} has no package for this platform")
    return found


def copied() -> list[tuple[str, str]]:
    """(source, target) of what the last stage copies from the project."""
    last = DOCKERFILE.split("FROM ")[-1]
    lines = re.findall(r"^COPY (?!--from)(.+)$", last, re.MULTILINE)
    return [(source, line.split()[-1]) for line in lines for source in line.split()[:-1]]


def ignored(name: str) -> bool:
    """Whether .dockerignore keeps a top-level name out: the last rule that fits decides."""
    verdict = False
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#") and fnmatch.fnmatch(name, rule.strip("!/")):
            verdict = not rule.startswith("!")
    return verdict


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """What COPY and .dockerignore make of the project, in a folder instead of an image."""
    app = tmp_path_factory.mktemp("image")
    for source, target in copied():
        for path in ROOT.glob(source):
            if path.is_dir():
                shutil.copytree(path, app / Path(target).name)
            elif not ignored(path.name):
                shutil.copy(path, app)
    return app


def test_the_dockerfile_is_clean():
    done = subprocess.run([tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stdout == ""


def test_nothing_private_gets_into_the_image():
    private = (".env", "data", "models", "logs", ".git", ".venv", "tests", "conftest.py")
    assert [name for name in private if not ignored(name)] == []


def test_everything_that_is_copied_exists_and_is_not_ignored():
    assert [s for s, _ in copied() if not list(ROOT.glob(s))] == []
    assert [s for s, _ in copied() if "*" not in s and ignored(s)] == []


@pytest.mark.slow
def test_the_files_of_the_image_are_enough_to_run(image, tmp_path):
    done = subprocess.run([sys.executable, image / "run_trader.py", "doctor", "--offline"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", re.findall(r"/app/([\w/]+\.py)", DOCKERFILE + str(COMPOSE)))
def test_a_program_that_is_started_is_in_the_image(image, program):
    assert (image / program).exists()


def test_the_program_does_not_run_as_root():
    users = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_rights_it_does_not_need(service):
    told = COMPOSE["services"][service]
    assert (told["read_only"], told["cap_drop"]) == (True, ["ALL"])
    assert told["security_opt"] == ["no-new-privileges:true"]
    named = {v.split(":")[0] for v in told["volumes"] if not v.startswith(".")}
    assert named <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("service", SERVICES)
def test_no_container_is_shown_to_the_network(service):
    ports = COMPOSE["services"][service].get("ports", [])
    assert {port.split(":")[0] for port in ports} <= {"127.0.0.1"}


def test_bot_and_dashboard_start_alone_and_the_rest_by_profile():
    profiles = {name: s.get("profiles") for name, s in COMPOSE["services"].items()}
    assert profiles == {
        "bot": None, "dashboard": None, "sandbox": ["sandbox"], "prometheus": ["metrics"]
    }  # fmt: skip


@pytest.mark.parametrize("service", OURS)
def test_the_settings_of_a_container_are_settings_we_know(service):
    given = {
        name: str(value) for name, value in COMPOSE["services"][service]["environment"].items()
    }
    given["DASHBOARD_PASSWORD"] = "a-long-password"
    config = load_config(None, given)
    assert str(config.data_dir) == "/srv/trader/data"


def test_the_dashboard_is_not_started_without_a_password_nor_shown_to_the_network():
    dashboard = COMPOSE["services"]["dashboard"]
    assert dashboard["environment"]["DASHBOARD_PASSWORD"].startswith("${DASHBOARD_PASSWORD:?")
    assert [port.split(":")[0] for port in dashboard["ports"]] == ["127.0.0.1"]


def compose_command():
    """docker compose, as a plugin or alone; .ci/run brings it where it can."""
    docker, alone = shutil.which("docker"), shutil.which("docker-compose")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True,
                                     check=False).returncode:  # fmt: skip
        return [docker, "compose"]
    if alone is None:
        pytest.skip("no docker compose here")
    return [alone]


def test_compose_reads_the_file():
    profiles = ["--profile", "sandbox", "--profile", "metrics"]
    done = subprocess.run([*compose_command(), *profiles, "config", "--quiet"], cwd=ROOT,
                          check=False, capture_output=True, text=True,
                          env={"DASHBOARD_PASSWORD": "a-long-password"})  # fmt: skip
    assert done.stderr == ""


def test_the_unit_of_the_system_is_well_formed(tmp_path):
    tool_path = shutil.which("systemd-analyze")
    if tool_path is None:
        pytest.skip("no systemd here")
    unit = (ROOT / "deploy" / "kraken-ai-trader.service").read_text()
    here = tmp_path / "kraken-ai-trader.service"
    here.write_text(re.sub(r"ExecStart=.*", "ExecStart=/bin/true", unit))
    done = subprocess.run([tool_path, "verify", here], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "kraken-ai-trader.service" in line]
    assert ours == []


@pytest.mark.parametrize(("age_s", "well"), [(10, True), (300, False)])
def test_a_loop_is_well_while_its_heartbeat_is_young(tmp_path, age_s, well):
    beat = {"beat_at": (NOW - timedelta(seconds=age_s)).isoformat()}
    (tmp_path / "state.json").write_text(json.dumps(beat))
    assert loop_is_well(tmp_path, NOW) is well


@pytest.mark.parametrize("text", [None, "", "{}", '{"beat_at": 5}'])
def test_a_loop_without_a_readable_heartbeat_is_not_well(tmp_path, text):
    if text is not None:
        (tmp_path / "state.json").write_text(text)
    assert not loop_is_well(tmp_path, NOW)


class Answers(http.server.BaseHTTPRequestHandler):
    status = 401

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "well"), [(200, True), (401, True), (500, False)])
def test_a_dashboard_is_well_when_it_answers(status, well):
    handler = type("H", (Answers,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        assert dashboard_is_well(server.server_port) is well
        server.shutdown()
    assert not dashboard_is_well(server.server_port)
