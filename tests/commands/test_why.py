import json
from dataclasses import replace

from tests.commands.told import EVENTS, SessionEnded, at, write
from tests.domain.event_samples import SAMPLES
from trader.domain.events import ForecastMade, Troubled


def test_a_refused_signal_names_the_rule_and_its_numbers(data, answer):
    write(data)
    found = answer("why", "BTC/USD", "--at", "2024-03-01T01:00Z", "--json")
    assert (found["mode"], found["timeframe"], found["closed_at"]) == (
        "PAPER", "1h", "2024-03-01T01:00:00Z"
    )  # fmt: skip
    assert (found["signal"]["action"], found["verdict"], found["plan"]) == ("buy", "refused", None)
    assert found["refusals"] == [{"rule": "daily-loss", "reason": "3.10 % lost since 00:00 UTC"}]
    assert found["outcome"] == "nothing was done: the rule daily-loss forbade it"


def test_an_approved_signal_leads_through_plan_and_order_to_its_fills(data, answer):
    write(data)
    found = answer("why", "XBTUSD", "--at", "2024-03-01T02:30", "--json")
    assert found["verdict"] == "approved"
    assert (found["plan"]["quantity"], found["plan"]["stop"]) == ("0.02", "58000.0")
    entry, stop = found["orders"]
    assert (entry["purpose"], entry["state"], entry["filled"]) == ("entry", "filled", "0.02")
    assert [f["trade_id"] for f in entry["fills"]] == ["T1", "T2"]
    assert (stop["purpose"], stop["state"], stop["price"]) == ("stop", "open", "58000.0")
    assert found["outcome"] == "done: buy 0.02 of 0.02 filled"


def test_a_hold_says_that_nothing_was_wanted(data, answer):
    write(data)
    found = answer("why", "BTC/USD", "--json")
    assert (found["closed_at"], found["verdict"]) == ("2024-03-01T03:00:00Z", "held")
    assert found["outcome"] == "nothing was done: the strategy wanted no change"


def test_the_screen_goes_gate_by_gate(data, run):
    write(data)
    status, out, err = run("why", "BTC/USD", "--at", "2024-03-01T02:00Z")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("BTC/USD 1h, candle closed 2024-03-01 02:00 UTC")
    assert lines[0].endswith("PAPER")
    gates = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert gates == ["BTC/USD", "price", "signal", "risk", "order", "order", "outcome"]
    assert "stop 58,000.0, 82.50 USD at risk" in out
    assert "trend is still up" in out


def test_a_candle_nobody_decided_on_says_what_came_in_between(data, answer, run):
    write(data, [*EVENTS, Troubled(at(4), "unreachable", "no answer from the exchange"),
                 SessionEnded(at(5), "by hand")])  # fmt: skip
    found = answer("why", "BTC/USD", "--at", "2024-03-01T06:00Z", "--json")
    assert found["closed_at"] == "2024-03-01T03:00:00Z"
    assert found["afterwards"] == ("trouble: no answer from the exchange at 2024-03-01 04:00 UTC")
    assert "no later candle was decided on" in run("why", "BTC/USD", "--at", "2024-03-02")[1]


def test_before_the_first_decision_there_is_no_answer(data, run):
    write(data)
    status, out, err = run("why", "BTC/USD", "--at", "2024-02-01")
    assert (status, out) == (1, "")
    assert "nothing was decided about BTC/USD at or before 2024-02-01 00:00 UTC" in err


def test_a_pair_that_is_not_traded_has_no_answer(data, run):
    write(data)
    status, out, _ = run("why", "SOL/USD", "--json")
    assert status == 1
    assert "nothing was decided about SOL/USD" in json.loads(out)["error"]["message"]


def test_before_the_first_start_why_says_how_to_begin(run):
    status, _, err = run("why", "BTC/USD")
    assert (status, "run_trader.py start" in err) == (1, True)


def test_a_time_that_is_none_and_a_pair_that_is_none_are_misuse(data, run):
    assert run("why", "BTC/USD", "--at", "yesterday")[0] == 2
    assert run("why", "???")[0] == 2


def test_the_forecast_is_shown_with_the_features_that_moved_it_exactly(data, run, answer):
    made = SAMPLES["ForecastMade"]
    assert isinstance(made, ForecastMade)
    write(data, [replace(made, at=at(3), closed_at=at(3)), *EVENTS[-1:]])
    told = answer("why", "BTC/USD", "--json")["forecast"]["explained"]
    moved = sum(move["moved"] for move in told["moves"])
    assert told["start"] + moved + told["rest"] == told["vote"]
    _, out, _ = run("why", "BTC/USD")
    assert "chance of a rise over 24 h 56.0% (usual 52.0%)" in out
    assert "+3.00%" in out
    assert "= 56.0%, calibrated 55.0%" in out


def test_a_misspelt_pair_is_told_with_the_one_that_was_meant(data, run):
    status, _, err = run("why", "BTC/UDS")
    assert (status, "Did you mean BTC/USD?" in err) == (2, True)
    write(data)
    assert run("why", "BTC/UDS")[0] == 2
    assert run("why", "SOL/USD")[0] == 1  # known, and nothing was decided
