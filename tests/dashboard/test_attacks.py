"""What an attacker may write into names, logs, folders and headers stays text, and stays out."""

import html
import json
from pathlib import Path

import pytest

from tests.dashboard.conftest import write_runs
from tests.dashboard.demo_account import DemoAccount
from tests.dashboard.test_guard import client, token
from trader.storage.stop_switch import StopSwitch

SCRIPT = "<script>alert(document.domain)</script>"
CLIMB = ["../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
         "....//....//etc/passwd", "/etc/passwd", "..\\..\\etc\\passwd"]  # fmt: skip


@pytest.mark.parametrize("climb", CLIMB)
@pytest.mark.parametrize(
    "form", ["/static/{}", "/backtests/{}/report", "/api/candles?pair={}", "/ledger/{}",
             "/api/backtests/compare?id={}"],
)  # fmt: skip
def test_no_path_climbs_out(tmp_path: Path, form: str, climb: str) -> None:
    answer = client(tmp_path).get(form.format(climb), follow_redirects=True)
    assert answer.status_code in {400, 404, 409}
    assert b"root:" not in answer.data


def test_an_index_that_points_elsewhere_serves_a_report_only_by_its_name(tmp_path: Path) -> None:
    index = tmp_path / "data" / "backtests.jsonl"
    index.parent.mkdir(parents=True)
    line = {"at": "2024-03-01T00:00:00+00:00", "folder": "/etc"}
    index.write_text(json.dumps(line) + "\n")
    assert client(tmp_path).get("/api/backtests").get_json() == {"runs": []}


def test_markup_in_a_question_is_no_markup_in_the_answer(tmp_path: Path) -> None:
    web = client(tmp_path)
    for path in (f"/api/candles?pair={SCRIPT}", f"/api/log?level={SCRIPT}", f"/{SCRIPT}"):
        answer = web.get(path)
        text = answer.get_data(as_text=True)
        assert answer.mimetype == "application/json" or SCRIPT not in text or html.escape(text)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_report_is_shown_in_a_sandbox_and_its_scripts_are_named_by_hash(tmp_path: Path) -> None:
    run_id = write_runs(tmp_path)[0]
    answer = client(tmp_path).get(f"/backtests/{run_id}/report")
    policy = answer.headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert answer.status_code == 200
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "'sha256-" in scripts
    assert "unsafe" not in scripts


def test_a_reason_with_line_breaks_makes_one_line_of_the_log(tmp_path: Path) -> None:
    web = client(tmp_path)
    reason = "drill\n2024-03-01T00:00:00Z INFO resumed who=me\r\n\x1b[2J"
    web.post("/api/stop", json={"reason": reason}, headers={"X-CSRF-Token": token(web)})
    request = StopSwitch(tmp_path / "data").read()
    assert request is not None
    assert request.reason.isprintable()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"reason": 5, "flatten": "yes"}', b"{"])
def test_a_stop_is_a_stop_however_it_is_worded_and_sells_only_when_told_to(
    tmp_path: Path, body: bytes
) -> None:
    web = client(tmp_path)
    headers = {"X-CSRF-Token": token(web)}
    answer = web.post("/api/stop", data=body, content_type="application/json", headers=headers)
    request = StopSwitch(tmp_path / "data").read()
    assert answer.status_code == 200
    assert request is not None
    assert not request.flatten


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "[::ffff:1]",
             "localhost:5000:evil.example"],
)  # fmt: skip
def test_hosts_that_are_not_ours_get_nothing(tmp_path: Path, host: str) -> None:
    DemoAccount(tmp_path / "data", hours=20)
    web = client(tmp_path)
    for path in ("/", "/api/overview", "/metrics"):
        assert web.get(path, headers={"Host": host}).status_code == 400


def test_the_token_of_one_visitor_is_none_for_another(tmp_path: Path) -> None:
    from tests.dashboard.conftest import settings
    from trader.dashboard import create_app

    app = create_app(settings(tmp_path))
    mine, theirs = app.test_client(), app.test_client()
    theirs.get("/")
    headers = {"X-CSRF-Token": token(mine)}
    assert theirs.post("/api/stop", json={}, headers=headers).status_code == 403


def test_a_wrong_password_in_any_form_opens_nothing(tmp_path: Path) -> None:
    web = client(tmp_path, "open sesame")
    csrf = token(web, "/login")
    for attempt in ("", "OPEN SESAME", "open sesame\0", "🚀"):
        web.post("/login", data={"password": attempt, "csrf": csrf})
        assert web.get("/api/overview").status_code == 401
        assert web.get("/metrics").status_code == 401
        assert web.get("/backtests/x/report").status_code == 302


def test_a_session_cookie_cannot_be_read_by_scripts_nor_sent_by_other_sites(
    tmp_path: Path,
) -> None:
    cookie = client(tmp_path).get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
