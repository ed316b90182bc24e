"""Nobody presses who may not, no other site gets in, nothing secret goes out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.dashboard.demo_account import DemoAccount
from trader.dashboard import DashboardSettings, create_app
from trader.storage.stop_switch import StopSwitch


class Now:
    def __init__(self) -> None:
        self.at = datetime(2024, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def client(tmp_path: Path, password: str = "", now: Any = None) -> FlaskClient:
    settings = DashboardSettings(
        tmp_path / "data", tmp_path / "logs", tmp_path / "models", now or Now(), password=password
    )
    return create_app(settings).test_client()


def token(web: FlaskClient, path: str = "/") -> str:
    text = web.get(path).get_data(as_text=True)
    mark = 'name="csrf" value="' if path == "/login" else 'name="csrf" content="'
    return text.split(mark)[1].split('"')[0]


@pytest.mark.parametrize("path", ["/api/stop", "/api/resume", "/logout"])
def test_an_action_without_our_token_is_refused(tmp_path: Path, path: str) -> None:
    web = client(tmp_path)
    web.get("/")
    assert web.post(path, json={"flatten": True}).status_code == 403
    forged = web.post(path, json={}, headers={"X-CSRF-Token": "forged"})
    assert forged.status_code == 403
    assert StopSwitch(tmp_path / "data").read() is None


def test_an_action_with_our_token_is_done(tmp_path: Path) -> None:
    web = client(tmp_path)
    answer = web.post("/api/stop", json={}, headers={"X-CSRF-Token": token(web)})
    assert answer.status_code == 200
    assert StopSwitch(tmp_path / "data").read() is not None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "localhost.evil.example"])
def test_a_foreign_host_name_is_turned_away(tmp_path: Path, host: str) -> None:
    assert client(tmp_path).get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_this_machine_is_served(tmp_path: Path, host: str) -> None:
    assert client(tmp_path).get("/", headers={"Host": host}).status_code == 200


def test_with_a_password_nothing_is_shown_before_the_login(tmp_path: Path) -> None:
    web = client(tmp_path, "open sesame")
    assert web.get("/").status_code == 302
    assert web.get("/api/overview").status_code == 401
    sent = {"password": "open sesame", "csrf": token(web, "/login")}
    assert web.post("/login", data=sent).status_code == 302
    assert web.get("/api/overview").status_code == 200


def test_five_wrong_passwords_lock_the_door_for_a_minute(tmp_path: Path) -> None:
    now = Now()
    web = client(tmp_path, "open sesame", now)
    csrf = token(web, "/login")
    for _ in range(5):
        assert web.post("/login", data={"password": "x", "csrf": csrf}).status_code == 401
    right = {"password": "open sesame", "csrf": csrf}
    assert web.post("/login", data=right).status_code == 429
    now.at += timedelta(seconds=61)
    assert web.post("/login", data=right).status_code == 302


def test_a_program_may_read_with_the_password_in_the_request_and_do_nothing_else(
    tmp_path: Path,
) -> None:
    web = client(tmp_path, "open sesame")
    assert web.get("/metrics", auth=("prometheus", "open sesame")).status_code == 200
    assert web.get("/metrics", auth=("prometheus", "wrong")).status_code == 401
    answer = web.post("/api/stop", json={}, auth=("prometheus", "open sesame"))
    assert answer.status_code == 403
    assert StopSwitch(tmp_path / "data").read() is None


def test_guessing_in_the_request_locks_the_door_too(tmp_path: Path) -> None:
    web = client(tmp_path, "open sesame")
    for _ in range(5):
        web.get("/metrics", auth=("x", "wrong"))
    assert web.get("/metrics", auth=("x", "open sesame")).status_code == 401


def test_scripts_and_styles_come_from_here_only(tmp_path: Path) -> None:
    policy = client(tmp_path).get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/%2e%2e/app.py", "/api/candles?pair=../../etc",
     "/api/candles", "/api/decisions?limit=-1", "/api/log?limit=x", "/nothing"],
)  # fmt: skip
def test_odd_requests_get_a_clean_no(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path).get(path)
    assert answer.status_code in {400, 404, 409}
    assert "Traceback" not in answer.get_data(as_text=True)


def test_the_answers_agree_with_the_account(tmp_path: Path) -> None:
    account = DemoAccount(tmp_path / "data")
    web = client(tmp_path)
    shown = web.get("/api/overview").get_json()
    assert shown["money"]["cash"] == str(account.portfolio.cash)
    assert len(shown["positions"]) == len(account.portfolio.positions)
    assert len(web.get("/api/trades").get_json()["trades"]) == len(account.portfolio.trades)
    curve = web.get("/api/equity").get_json()["equity"]
    assert len(curve) == account.hours - 1


def test_decisions_are_found_by_what_they_say(tmp_path: Path) -> None:
    DemoAccount(tmp_path / "data")
    found = client(tmp_path).get("/api/decisions?q=daily_loss").get_json()["decisions"]
    assert {(row["pair"], row["verdict"]) for row in found} == {("ETH/USD", "refused")}
