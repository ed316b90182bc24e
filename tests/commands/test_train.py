"""Claims about `run_trader.py train`."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from commands.common import guarded
from commands.train import _uses
from run_trader import cli
from tests.learning.trained import BTC, FOUR_HOURS, leaning, result
from tests.market_making import candles_of
from trader.storage.history import HistoryStore
from trader.storage.model_store import ModelStore

UNTIMED = (
    "timing is off: it asks for a forecast over 6 h, and with 4h candles there are only those "
    "over 4 h and 24 h"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_DIR", "MODELS_DIR", "LOGS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("TIMEFRAME", "4h")
    return tmp_path


def store(home: Path, rows: int) -> None:
    candles = candles_of(leaning(rows, 1), FOUR_HOURS)
    HistoryStore(home / "data_dir", "kraken").append(BTC, candles, "test")


@pytest.mark.slow
def test_train_prints_scores_and_a_verdict_and_saves_the_model(home, capsys):
    store(home, 2000)
    assert guarded(cli, ["train", "BTC/USD", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mode"] == "PAPER"
    assert [h["hours"] for h in document["horizons"]] == [4.0, 24.0]
    assert document["horizons"][0]["scores"]["auc"] > 0.55
    assert sum(document["horizons"][0]["voices"].values()) == pytest.approx(1.0)
    assert document["notes"] == [f"ensemble: {UNTIMED}"]
    assert document["licence"]["granted"] is False
    assert document["licence"]["reasons"]
    assert document["use"] == ["BTC/USD: the new model is in use"]
    folder = home / "models_dir" / "BTC-USD" / document["model"]["id"]
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "model.npz"]


def test_it_is_said_whether_the_new_model_is_in_use(tmp_path):
    made, old = result(), result().earlier[-1]
    models, config = ModelStore(tmp_path, "test"), SimpleNamespace(models_dir=tmp_path)
    for model in (old, made.model):
        models.save(model)
    assert _uses(made, config)[0] == "BTC/USD: the new model is in use"
    (tmp_path / "BTC-USD" / made.model.id / "retired").write_text("it lost")
    said = _uses(made, config)[0]
    assert f"not in use (retired); in use is {old.id}; take it back" in said
    assert _uses(SimpleNamespace(model=old), config)[1].endswith(
        f"not in use (earlier); in use is {made.model.id}"
    )


@pytest.mark.slow
def test_a_model_trained_to_an_end_knows_nothing_later(home, capsys):
    store(home, 2000)
    arguments = ["train", "BTC/USD", "--end", "2020-11-25", "--json"]
    assert guarded(cli, arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["known_through"] == "2020-11-25T00:00:00Z"


@pytest.mark.slow
def test_people_read_a_table_and_the_licence(home, capsys):
    store(home, 2000)
    assert guarded(cli, ["train"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("PAPER  model ")
    assert "licence to trade real money: refused" in shown.out
    assert re.search(r"4 h: the vote is \w+ \w+ \d+%, \w+ \w+ \d+%, \w+ \w+ \d+%", shown.out)
    assert f"note: ensemble: {UNTIMED}" in shown.out
    assert "PAPER  training on BTC/USD 4h" in shown.err


def test_too_little_history_is_one_line_and_status_one(home, capsys):
    store(home, 300)
    assert guarded(cli, ["train", "BTC/USD"]) == 1
    assert "error: too little history to train on" in capsys.readouterr().err


def test_missing_history_is_one_line_and_status_one(home, capsys):
    assert guarded(cli, ["train", "ETH/USD", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["category"] == "history"


@pytest.mark.parametrize(
    "arguments", [["nonsense!"], ["BTC/USD", "--end", "never"], ["BTC/USD", "--timeframe", "0"]]
)
def test_misuse_is_status_two(home, arguments):
    assert guarded(cli, ["train", *arguments]) == 2


def test_an_end_before_the_first_candle_is_said(home, capsys):
    store(home, 300)
    assert guarded(cli, ["train", "BTC/USD", "--end", "2015-01-01"]) == 1
    assert "no 4h candle of BTC/USD had closed at 2015-01-01" in capsys.readouterr().err
