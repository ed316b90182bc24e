import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from commands.common import guarded
from run_trader import cli
from tests.indicators.markets import market
from tests.shared_data import shared
from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
ROOT = Path(__file__).resolve().parents[2]
START = datetime(2022, 1, 1, tzinfo=UTC)
AT = "2022-03-20T00:00Z"


def drawn(seed: int, count: int = 2400) -> Candles:
    candles = market(count, seed, price=30000.0)
    times = int(START.timestamp()) + 3600 * np.arange(count)
    return replace(candles, opened_at=times)


@pytest.fixture
def store(tmp_path, monkeypatch) -> HistoryStore:
    for name in list(os.environ):
        if name in {"SANDBOX", "STRATEGY", "PAIRS", "TIMEFRAME"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("STRATEGY", "trend")
    monkeypatch.setenv("SANDBOX_FEED", "replay")
    return HistoryStore(tmp_path / "data")


@pytest.fixture
def filled(store) -> HistoryStore:
    store.append(BTC, drawn(7), "drawn")
    store.append(ETH, drawn(8), "drawn")
    return store


def run(capsys, *words: str) -> tuple[int, str, str]:
    status = guarded(cli, ["analyze", *words])
    out = capsys.readouterr()
    return status, out.out, out.err


def asked(capsys, *words: str) -> dict:
    status, out, _ = run(capsys, *words, "--json")
    assert status == 0
    return json.loads(out)


@pytest.mark.usefixtures("filled")
def test_the_document_holds_what_the_contract_names(capsys):
    found = asked(capsys, "BTC/USD", "--timeframe", "4h", "--at", AT)
    assert set(found) >= {
        "pair", "timeframe", "mode", "closed_at", "price", "indicators", "patterns", "sentiment",
        "signal", "model", "plan", "refusals",
    }  # fmt: skip
    assert found["mode"] == "PAPER"
    assert found["closed_at"] == "2022-03-20T00:00:00Z"
    finite = [v for v in found["indicators"].values() if v is not None and math.isfinite(v)]
    assert len(finite) >= 120
    assert len(found["patterns"]) >= 61
    assert found["sentiment"]["book_imbalance"] is None
    assert found["signal"]["action"] in {"buy", "sell", "hold"}
    assert found["signal"]["reasons"]
    assert set(found["model"]) == {"id", "trained_at", "licence"}


def test_the_answer_is_the_same_whether_or_not_later_candles_are_stored(store, capsys):
    whole, leader = drawn(8), drawn(7)
    known = datetime.fromisoformat(AT)
    store.append(ETH, whole.known_at(known), "drawn")
    store.append(BTC, leader.known_at(known), "drawn")
    before = asked(capsys, "ETH/USD", "--at", AT)
    store.append(ETH, whole, "drawn")
    store.append(BTC, leader, "drawn")
    assert asked(capsys, "ETH/USD", "--at", AT) == before


@pytest.mark.usefixtures("filled")
def test_a_moment_inside_a_candle_sees_only_the_candle_before(capsys):
    at_close = asked(capsys, "BTC/USD", "--timeframe", "4h", "--at", AT)
    inside = asked(capsys, "BTC/USD", "--timeframe", "4h", "--at", "2022-03-20T03:59Z")
    assert inside["closed_at"] == at_close["closed_at"]
    assert inside["digest"] == at_close["digest"]


@pytest.mark.usefixtures("filled")
def test_a_person_gets_groups_words_signal_and_plan_within_80_columns(capsys):
    status, out, _ = run(capsys, "BTC/USD", "--at", AT, "--all")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("BTC/USD 1h, closed 2022-03-20 00:00 UTC")
    assert lines[0].endswith("PAPER")
    assert max(map(len, lines)) <= 80
    for title in ("TREND", "MOMENTUM", "VOLATILITY", "VOLUME", "PATTERNS", "SENTIMENT", "signal"):
        assert any(line.startswith(title) for line in lines), title


@pytest.mark.usefixtures("filled")
def test_old_candles_are_not_passed_off_as_news(capsys):
    status, _, err = run(capsys, "BTC/USD")
    assert status == 0
    assert "the newest stored candle is" in err


@pytest.mark.usefixtures("filled")
def test_a_moment_long_after_the_newest_candle_is_told_so(capsys):
    status, _, err = run(capsys, "BTC/USD", "--at", "2023-01-01")
    assert status == 0
    assert "no candle is stored between 2022-04-11" in err
    assert "no candle is stored" not in run(capsys, "BTC/USD", "--at", AT)[2]


@pytest.mark.usefixtures("filled")
def test_the_chart_is_one_file_that_needs_no_network(capsys, tmp_path):
    status, out, _ = run(capsys, "ETH/USD", "--at", AT, "--chart", "eth.html", "--json")
    page = (tmp_path / "eth.html").read_text()
    assert status == 0
    assert json.loads(out)["pair"] == "ETH/USD"
    assert "candlestick" in page
    assert "RSI 14" in page
    assert "<script src" not in page
    assert "<link" not in page


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["FOO/USD"], 2, "FOO/USD"),
        (["BTC/USD", "--timeframe", "7x"], 2, "timeframe '7x'"),
        (["BTC/USD", "--timeframe", "1m"], 1, "1m"),
        (["BTC/USD", "--at", "yesterday"], 2, "--at 'yesterday'"),
        (["BTC/USD", "--at", "2012-01-01"], 1, "2012-01-01"),
        (["BTC/USD", "--at", "2099-01-01"], 2, "has not come yet"),
        (["SOL/USD"], 1, "SOL/USD"),
        ([], 2, "PAIR"),
        (["BTC/USD", "--chart", "nowhere/c.html"], 2, "nowhere/c.html"),
    ],
)
def test_bad_input_gets_one_clear_line_and_the_right_status(capsys, words, status, told):
    found, out, err = run(capsys, *words)
    assert found == status
    assert out == ""
    faults = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(faults) == 1
    assert told in faults[0]
    assert "Traceback" not in err


def test_real_candles_give_a_whole_analysis(store, capsys):
    assert guarded(cli, ["history", "import", str(shared("data/ohlcvt/XBTUSD_60.csv.gz"))]) == 0
    capsys.readouterr()
    found = asked(capsys, "BTC/USD", "--timeframe", "4h", "--at", "2022-06-01T00:00Z")
    assert found["closed_at"] == "2022-06-01T00:00:00Z"
    assert all(isinstance(v, float) for v in found["indicators"].values())
    assert found["indicators"]["rsi_14"] == pytest.approx(71.9, abs=0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_without_a_history_the_simulated_market_is_shown_and_called_that(monkeypatch, capsys):
    monkeypatch.setenv("SANDBOX_FEED", "simulated")
    found = asked(capsys, "ETH/USD", "--timeframe", "4h", "--at", AT)
    assert found["source"].startswith("SIMULATED MARKET, not real prices")
    assert found["cross_market"]["leader_corr_60"] is not None
    assert asked(capsys, "ETH/USD", "--timeframe", "4h", "--at", AT) == found


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_without_a_history_and_without_kraken_the_person_is_told(monkeypatch, capsys):
    monkeypatch.setenv("SANDBOX_FEED", "auto")
    monkeypatch.setenv("KRAKEN_API_URL", "http://127.0.0.1:9")
    status, out, err = run(capsys, "BTC/USD", "--at", AT)
    assert status == 0
    assert "SIMULATED" in err
    assert "SIMULATED MARKET" in out


@pytest.mark.usefixtures("store")
def test_kraken_wanted_and_out_of_reach_is_status_four(monkeypatch, capsys):
    monkeypatch.setenv("SANDBOX_FEED", "kraken")
    monkeypatch.setenv("KRAKEN_API_URL", "http://127.0.0.1:9")
    status, out, err = run(capsys, "BTC/USD")
    assert (status, out) == (4, "")
    assert err.startswith("error: ")


@pytest.mark.usefixtures("filled")
def test_coarser_timeframes_and_other_markets_stand_beside_it(capsys):
    found = asked(capsys, "ETH/USD", "--at", AT)
    assert list(found["timeframes"]) == ["4h", "1d", "1w"]
    assert 0 <= found["timeframes"]["4h"]["rsi_14"] <= 100
    assert found["cross_market"]["relative_strength_24"] is not None
    assert found["cross_market"]["breadth_24"] in (0.0, 0.5, 1.0)


@pytest.mark.usefixtures("filled")
def test_a_failure_in_json_mode_is_a_document(capsys):
    status, out, _ = run(capsys, "SOL/USD", "--json")
    assert status == 1
    assert json.loads(out)["error"]["category"] == "history"


@pytest.mark.slow
@pytest.mark.usefixtures("filled")
def test_nothing_heavy_is_imported_for_an_analysis():
    code = (
        "import sys; from commands.common import guarded; from run_trader import cli;"
        f"guarded(cli, ['analyze', 'BTC/USD', '--at', '{AT}']);"
        "print('heavy:', sorted({'pandas', 'scipy', 'sklearn', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "heavy: []"
