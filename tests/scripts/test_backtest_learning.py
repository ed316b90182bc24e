"""Claims about backtesting a strategy that learns, on real candles."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from commands.common import guarded
from scripts.backtest import command
from scripts.backtest_learning import taking
from tests.shared_data import shared
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, Purpose, Side
from trader.simulation.runs import Execution
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


BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")


def done(hour: float, side: Side, purpose: Purpose, decided: int, pair: Pair = BTC) -> Execution:
    """One coin, moved at an hour by an order that was decided at another."""
    one, at = Decimal(1), (datetime.fromtimestamp(h * 3600, UTC) for h in (hour, decided))
    filled = Fill("T", "E", "o", pair, side, one, one, one, one, Liquidity.TAKER, next(at))
    return Execution(filled, purpose, "", next(at))


def taken(*executions: Execution) -> list[int]:
    """The hours, of 0 to 5, whose forecasts were taken on BTC/USD."""
    on = taking(executions, BTC)
    return [hour for hour in range(6) if on(hour * 3600)]


def test_a_forecast_is_taken_if_its_purchase_filled_later_and_while_the_position_is_held() -> None:
    bought = done(1.5, Side.BUY, Purpose.ENTRY, 1)
    assert taken(bought, done(3, Side.SELL, Purpose.EXIT, 3)) == [1, 2]
    assert taken(bought, done(3, Side.SELL, Purpose.EXIT, 3, ETH)) == [1, 2, 3, 4, 5]


def test_a_forecast_on_which_all_was_sold_is_not_taken_though_the_sale_took_its_time() -> None:
    assert taken(
        done(1, Side.BUY, Purpose.ENTRY, 1), done(3.01, Side.SELL, Purpose.EXIT, 3)
    ) == [1, 2]  # fmt: skip


def test_a_position_that_its_stop_sells_was_held_on_the_forecast_before() -> None:
    """Also one that was opened and sold between two forecasts."""
    sold = done(2.5, Side.SELL, Purpose.STOP, 1)
    assert taken(done(1, Side.BUY, Purpose.ENTRY, 1), sold) == [1, 2]
    assert taken(done(2.25, Side.BUY, Purpose.ENTRY, 2), sold) == [2]


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
