"""Whatever is asked, by the description or against it: never a server error, never an action."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dashboard.conftest import settings as dashboard_settings
from tests.dashboard.conftest import write_runs
from tests.dashboard.demo_account import DemoAccount
from trader.dashboard import create_app
from trader.dashboard.openapi import description
from trader.storage.stop_switch import StopSwitch

READS = sorted(path for path, told in description()["paths"].items() if "get" in told)
ACTIONS = sorted(path for path, told in description()["paths"].items() if "post" in told)
GENTLE = settings(
    max_examples=12, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
_ODD = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from([
        "BTC/USD", "../../etc/passwd", "%00", "<script>alert(1)</script>", "' OR 1=1 --",
        "-1", "NaN", "1e999", "2024-13-99T99:99", "9999-12-31T23:59:59+23:59", "0001-01-01",
        "rsi_14," * 60, "9" * 400, "🚀", "BTC/USD/EUR", "/", "\r\nX: y",
    ]),
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flask, Path]:
    folder = tmp_path_factory.mktemp("fuzz")
    DemoAccount(folder / "data", hours=60)
    write_runs(folder)
    return create_app(dashboard_settings(folder)), folder


def _operations(app: Flask) -> Any:
    schemathesis = pytest.importorskip("schemathesis")
    return schemathesis.openapi.from_wsgi("/api/openapi.json", app)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*READS, *ACTIONS])
def test_answers_are_as_described_for_whatever_the_description_allows(
    served: tuple[Flask, Path], path: str
) -> None:
    app, folder = served
    method = "GET" if path in READS else "POST"
    operation = _operations(app)[path][method]

    @GENTLE
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(headers={"Host": "localhost", "Accept-Encoding": "identity"})

    ask()
    assert StopSwitch(folder / "data").read() is None


@pytest.mark.parametrize("path", [path for path in READS if path != "/api/openapi.json"])
def test_arguments_of_any_kind_are_no_server_error(served: tuple[Flask, Path], path: str) -> None:
    web = served[0].test_client()
    known = [p["name"] for p in description()["paths"][path]["get"].get("parameters", [])]

    @GENTLE
    @given(st.dictionaries(st.sampled_from([*known, "other"]), _ODD, max_size=4))
    def ask(query: dict[str, str]) -> None:
        answer = web.get(path, query_string=query)
        assert answer.status_code < 500
        assert "Traceback" not in answer.get_data(as_text=True)

    ask()


@pytest.mark.parametrize("path", [*ACTIONS, "/logout"])
def test_an_action_without_our_token_is_refused_whatever_it_brings(
    served: tuple[Flask, Path], path: str
) -> None:
    app, folder = served
    web = app.test_client()
    web.get("/")

    @GENTLE
    @given(
        st.binary(max_size=60),
        st.sampled_from(["application/json", "text/plain", "multipart/form-data; boundary=x"]),
        st.sampled_from(["", "forged", "null"]),
        st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    )
    def press(body: bytes, kind: str, token: str, method: str) -> None:
        headers = {"X-CSRF-Token": token} if token else {}
        answer = web.open(path, method=method, data=body, content_type=kind, headers=headers)
        assert answer.status_code in {400, 403, 405, 413}

    press()
    assert StopSwitch(folder / "data").read() is None


@GENTLE
@given(st.lists(_ODD, min_size=1, max_size=4))
def test_paths_of_any_kind_stay_inside(served: tuple[Flask, Path], parts: list[str]) -> None:
    web = served[0].test_client()
    for beginning in ("/static/", "/backtests/", "/ledger/", "/"):
        path = beginning + "/".join(parts).replace("?", "").replace("#", "")
        # Two slashes at the front would be the name of another host.
        answer = web.get("/" + path.lstrip("/"))
        assert answer.status_code in {200, 301, 308, 400, 404, 405}
        assert b"root:" not in answer.data
