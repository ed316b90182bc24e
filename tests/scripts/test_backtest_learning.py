"""Claims about backtesting a strategy that learns, on real candles."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from commands.common import guarded
from scripts.backtest import command
from tests.shared_data import shared
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

WORDS = ["--pair", "BTC/USD", "--start", "2020-01-01", "--timeframe", "4h", "--strategy",
         "ensemble"]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    path = shared("data/ohlcvt/XBTUSD_60.csv.gz")
    import_ohlcvt(HistoryStore(made), path, now=datetime(2024, 1, 1, tzinfo=UTC))
    return made


def run(data: Path, out: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out)
    monkeypatch.setenv("DATA_DIR", str(data))
    # The quickest of the models: what is claimed here holds for each of them.
    monkeypatch.setenv("MODEL_TYPE", "logistic_regression")
    assert guarded(command, [*WORDS, "--end", end, "--out", str(out)]) == 0


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_forecasts_are_out_of_sample_scored_and_do_not_depend_on_what_comes_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "long").mkdir()
    (tmp_path / "short").mkdir()
    run(data, tmp_path / "long", "2020-04-10", monkeypatch)
    run(data, tmp_path / "short", "2020-04-02", monkeypatch)
    document = json.loads((tmp_path / "long" / "result.json").read_text())
    forecasts = rows(tmp_path / "long" / "predictions.csv")
    assert len(forecasts) == document["candles"] == 606
    assert document["calibration"]["n"] == sum(f["label"] != "" for f in forecasts)
    assert {"n", "base_rate", "auc", "brier", "brier_skill", "log_loss_skill", "ece",
            "ece_noise_95"} <= set(document["calibration"])  # fmt: skip
    assert document["licence"]["granted"] in (True, False)
    # 6 h is no whole number of 4h candles.
    assert any("timing is off" in note for note in document["notes"])
    assert all(f["label_known_at"] > f["time"] for f in forecasts)
    # The last day's outcomes lie beyond the history that was loaded.
    assert {f["label"] for f in forecasts[-5:]} == {""}
    early = rows(tmp_path / "short" / "predictions.csv")
    decided = [(f["time"], f["probability"], f["taken"]) for f in early]
    assert decided == [(f["time"], f["probability"], f["taken"]) for f in forecasts][: len(early)]
