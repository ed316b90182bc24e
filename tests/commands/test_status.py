import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.commands.told import EVENTS, at, write
from trader.domain.events import EmergencyStopped, SessionEnded
from trader.storage.state_file import StateFile
from trader.storage.stop_switch import StopRequest, StopSwitch

CONTRACT = {
    "mode", "pairs", "equity", "cash", "positions", "open_orders", "limits", "stopped", "model",
    "last_decision", "health",
}  # fmt: skip


def beat(data, state, age=0):
    moment = datetime.now(UTC) - timedelta(seconds=age)
    StateFile(data / "state.json", lambda: moment).write(state)


def test_before_the_first_start_status_says_how_to_begin(run, answer):
    status, out, _ = run("status")
    assert status == 0
    assert out.startswith("PAPER")
    assert "run_trader.py start" in out
    found = answer("status", "--json")
    assert set(found) >= CONTRACT
    assert (found["equity"], found["cash"], found["last_decision"]) == (None, {}, None)


def test_the_account_is_shown_to_the_cent(data, answer):
    write(data)
    found = answer("status", "--json")
    assert set(found) >= CONTRACT
    assert (found["mode"], found["pairs"]) == ("PAPER", ["BTC/USD", "ETH/USD"])
    assert found["cash"] == {"USD": "8749.7776"}
    assert found["balances"] == {"USD": "8749.7776", "BTC": "0.02"}
    assert float(found["equity"]) == 8749.7776 + 0.02 * 66000
    assert found["model"]["BTC/USD"]["id"] == "m1"


def test_positions_and_open_orders_are_listed_with_their_stop(data, answer):
    write(data)
    found = answer("status", "--json")
    (position,), (order,) = found["positions"], found["open_orders"]
    assert (position["pair"], position["quantity"], position["stop"]) == (
        "BTC/USD", "0.02", "58000.0"
    )  # fmt: skip
    assert (order["purpose"], order["price"], order["state"]) == ("stop", "58000.0", "open")


def test_the_last_decision_is_shown_with_its_reasons(data, answer):
    write(data)
    last = answer("status", "--json")["last_decision"]
    assert (last["pair"], last["action"], last["verdict"]) == ("BTC/USD", "hold", "held")
    assert last["reasons"][0] == "nothing changed"


def test_limits_are_those_of_the_settings_at_the_time_of_the_account(data, answer, monkeypatch):
    write(data)
    monkeypatch.setenv("MAX_OPEN_POSITIONS", "1")
    limits = {row["rule"]: row for row in answer("status", "--json")["limits"]}
    assert limits["max-open-positions"] == {
        "rule": "max-open-positions", "used": 1, "limit": 1, "tripped": True
    }  # fmt: skip
    assert limits["daily-loss"]["used"] == 0.0
    assert set(limits) >= {"emergency-stop", "drawdown", "losing-streak", "max-exposure"}


def test_a_bot_that_is_down_is_said_to_be_down(data, run, answer):
    write(data, [*EVENTS, SessionEnded(at(4), "by hand")])
    beat(data, {"book": "paper-simulated-7"}, age=7200)
    status, out, _ = run("status")
    assert (status, "not running, last seen 2 h ago" in out) == (0, True)
    assert answer("status", "--json")["running"] is False


def test_a_running_bot_is_said_to_run(data, run):
    write(data)
    beat(data, {"book": "paper-simulated-7", "at": at(3).isoformat()})
    status, out, _ = run("status")
    assert (status, "; running" in out) == (0, True)


def test_the_first_line_of_a_live_account_says_live(data, run):
    live = EVENTS[0].__class__(
        **{f: getattr(EVENTS[0], f) for f in EVENTS[0].__slots__} | {"mode": "LIVE"}
    )
    write(data, [live, *EVENTS[1:]], book="live-1234")
    _, out, _ = run("status")
    assert out.startswith("LIVE")


def test_the_screen_shows_money_position_and_stop(data, run):
    write(data)
    _, out, _ = run("status")
    assert "10,069.78 USD" in out
    assert "0.02 BTC/USD bought at 62,015, now 66,000, +69.78 USD, stop 58,000.0" in out


def test_a_pressed_stop_switch_is_shown_whether_or_not_the_bot_runs(data, answer, run):
    write(data)
    StopSwitch(data).press(StopRequest("smoke [in] the room", True, "me", at(3).isoformat()))
    found = answer("status", "--json")
    assert found["stopped"] == {
        "since": at(3).isoformat(), "reason": "smoke [in] the room", "flatten": True
    }  # fmt: skip
    assert found["risk_state"] == "flat and stopped"
    assert "smoke [in] the room" in run("status")[1]


def test_an_emergency_stop_of_the_environment_is_shown(data, answer, monkeypatch):
    monkeypatch.setenv("EMERGENCY_STOP", "true")
    assert answer("status", "--json")["stopped"]["reason"] == "EMERGENCY_STOP is set"


def test_a_stop_that_was_lifted_while_the_bot_was_off_is_not_shown(data, answer):
    write(data, [*EVENTS, EmergencyStopped(at(4), "test", False, "me")])
    assert answer("status", "--json")["stopped"] is None


def test_the_account_last_written_is_shown_unless_another_is_named(data, answer):
    write(data, book="old")
    write(data, [EVENTS[0], EVENTS[1], EVENTS[-1].__class__(
        at(9), EVENTS[-1].signal, 1.0, "x")], book="new")  # fmt: skip
    assert answer("status", "--json")["book"] == "new"
    assert answer("status", "--book", "old", "--json")["book"] == "old"


def test_a_book_that_does_not_exist_names_those_that_do(data, run):
    write(data)
    status, out, err = run("status", "--book", "nothing")
    assert (status, out) == (2, "")
    assert "paper-simulated-7" in err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_damaged_journal_is_one_line_and_status_1(data, run, as_json):
    (data / "trader.db").write_bytes(b"no database" * 1000)
    status, out, err = run("status", *(["--json"] if as_json else []))
    assert status == 1
    told = json.loads(out)["error"]["message"] if as_json else err
    assert "trader.db is damaged" in told
    assert "Traceback" not in err


def test_an_account_of_the_other_kind_is_said_to_be_one(data, monkeypatch, run, answer):
    write(data)
    assert answer("status", "--json")["note"] is None
    monkeypatch.setenv("SANDBOX", "false")
    monkeypatch.setenv("KRAKEN_API_KEY", "K" * 56)
    monkeypatch.setenv("KRAKEN_API_SECRET", "c2VjcmV0" * 11)
    _, out, _ = run("status")
    assert out.startswith("PAPER")
    assert "the settings say LIVE, but this is the PAPER account that ran last" in out
