import json
from pathlib import Path

import pytest

from commands.common import guarded
from run_trader import cli
from tests.indicators.planted import PLANTED, forget

MINE = """
import numpy as np

def honest(close):
    return np.append(np.nan, np.diff(close))

def peeking(close):
    return np.append(np.diff(close), np.nan)

def of_candles(candles):
    return {"spread": candles.high - candles.low, "last": np.full(len(candles), candles.close[-1])}

def pair(high, low):
    return high, low - low.min()

def nosy(situation):
    from trader.domain.signals import Action, Signal
    s = situation.snapshot
    rises = s.analysis.candles.close[-1] > s.price
    return Signal(s.pair, s.closed_at, Action.BUY if rises else Action.HOLD, 0.5, ("x",), "nosy")

def strange(moon):
    return moon

def broken(close):
    raise RuntimeError("no")

def short(close):
    return close[1:]

number = 5
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_features.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


def run(capsys, *words):
    status = guarded(cli, ["features", *words])
    out = capsys.readouterr()
    return status, out.out, out.err


@pytest.mark.slow
def test_the_registry_passes(capsys):
    status, out, _ = run(capsys, "check", "--mutations", "50")
    assert status == 0
    assert out.startswith("ok    the registry: 50 futures tried on")


def test_an_honest_function_passes_and_a_peeking_one_is_named(capsys):
    status, out, _ = run(
        capsys, "check", "my_features:honest", "my_features:peeking", "--mutations", "60"
    )
    assert status == 1
    assert "ok    my_features:honest" in out
    assert "LEAK  my_features:peeking" in out
    assert "changed the value of" in out


@pytest.mark.slow
def test_every_planted_leak_is_caught_in_a_function_of_the_users_own(capsys):
    forget()
    targets = [f"tests.indicators.planted:{planted.__name__}" for planted in PLANTED]
    status, out, _ = run(capsys, "check", *targets, "--mutations", "60", "--seed", "1", "--json")
    checked = json.loads(out)["checked"]
    assert status == 1
    assert len(checked) >= 20
    assert [target for target in targets if not checked[target]["leaks"]] == []


def test_the_document_names_column_candle_and_size(capsys):
    status, out, _ = run(capsys, "check", "my_features:of_candles", "--mutations", "60", "--json")
    found = json.loads(out)
    assert status == 1
    assert found["leaks"] == 1
    leak = found["checked"]["my_features:of_candles"]["leaks"][0]
    assert leak["column"] == "last"
    assert leak["first_difference"] <= leak["known_until"]


def test_each_output_of_a_function_is_a_column(capsys):
    _, out, _ = run(capsys, "check", "my_features:pair", "--mutations", "60", "--json")
    leaks = json.loads(out)["checked"]["my_features:pair"]["leaks"]
    assert [leak["column"] for leak in leaks] == ["pair[1]"]


@pytest.mark.slow
def test_a_strategy_that_reads_past_its_candle_is_caught(capsys):
    status, out, _ = run(capsys, "check", "my_features:nosy", "--mutations", "20")
    assert status == 1
    assert "action:" in out


def test_the_strategies_of_the_program_do_not_look_ahead(capsys):
    status, out, _ = run(capsys, "check", "trend", "--mutations", "8")
    assert (status, out.count("ok    ")) == (0, 1)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("my_features:strange", "cannot tell what to call it with: moon"),
        ("my_features:broken", "RuntimeError: no"),
        ("my_features:short", "return one per candle"),
        ("my_features:number", "is not a function"),
        ("my_features:absent", "absent"),
        ("no_such_module:f", "no_such_module"),
        ("moonshot", "neither a strategy nor module:function"),
    ],
)
def test_what_cannot_be_checked_is_said_in_one_line(capsys, target, told):
    status, out, err = run(capsys, "check", target, "--mutations", "5")
    assert status == 2
    assert out == ""
    assert told in err.splitlines()[0]


def test_the_list_shows_every_column_of_a_group(capsys):
    status, out, _ = run(capsys, "list", "--group", "momentum")
    assert status == 0
    assert "rsi_14" in out
    assert "sma_20" not in out


def test_the_list_as_a_document_has_units_and_warm_up(capsys):
    found = {e["name"]: e for e in json.loads(run(capsys, "list", "--json")[1])}
    assert found["rsi_14"]["warmup"] == 14
    assert found["rsi_14"]["bounds"] == [0, 100]
    assert found["obv"]["anchored"] is True
    assert "hammer" in found


def test_an_unknown_group_names_those_there_are(capsys):
    status, _, err = run(capsys, "list", "--group", "moon")
    assert status == 2
    assert "momentum" in err


def test_the_page_of_the_documentation_is_that_of_the_registry(capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "indicators.md"
    _, out, _ = run(capsys, "list", "--markdown")
    assert page.read_text(encoding="utf-8") == out, "run: make golden"
