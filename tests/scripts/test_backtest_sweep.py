"""Claims about `--sweep`."""

import contextlib
import csv
import json
import pickle
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config import load_config
from scripts import backtest_sweep
from scripts.backtest import Builder
from scripts.backtest_sweep import Outcome, combinations, read_sweeps
from tests.scripts.test_backtest import DAYS, history, home, run
from trader.domain.errors import UsageError
from trader.domain.markets import Pair
from trader.learning.licence import DESIGN_TRIALS
from trader.simulation.sweep import read_space
from trader.storage.history import HistoryStore

__all__ = ["home"]
GRID = ["--sweep", "stop_atr_multiple=1,3", "--sweep", "TAKER=0,50"]
WORDS: dict[str, Any] = {
    "pairs": "BTC/USD", "start": DAYS[1], "end": DAYS[3], "timeframe": "1h",
    "strategy": "sma-cross", "maker": None, "taker": None, "slippage": None,
    "cash": Decimal(10_000), "exchange": "kraken", "impact": None, "latency": None,
    "volume_share": None, "queue_share": None, "fees": "entry", "book": False,
    "path": "candle",
}  # fmt: skip
BASE = ["--pair", "BTC/USD", *DAYS, "--strategy", "sma-cross"]


def test_the_grid_is_every_combination_in_order() -> None:
    sweeps = read_sweeps(["A=1,2", "b=x,y"])
    assert [dict(values) for values in combinations(sweeps)] == [
        {"A": "1", "B": "x"}, {"A": "1", "B": "y"}, {"A": "2", "B": "x"}, {"A": "2", "B": "y"},
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["A", "A=", "=1", "A=1,1"])
def test_a_sweep_written_wrongly_is_misuse(text: str) -> None:
    with pytest.raises(UsageError):
        read_sweeps([text])


def test_a_grid_of_millions_is_refused_at_once() -> None:
    many = ",".join(map(str, range(1000)))
    with pytest.raises(UsageError, match="1,000,000 combinations"):
        read_sweeps([f"A={many}", f"B={many}"])


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(*BASE, *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_each_variant_is_the_backtest_with_that_setting_and_counts_as_a_try(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = document(capsys, *GRID, "--jobs", "1", "--out", "o")
    assert [row["values"]["TAKER"] for row in found["runs"]] == ["0", "50", "0", "50"]
    assert found["trials"] == DESIGN_TRIALS + 4
    monkeypatch.setenv("STOP_ATR_MULTIPLE", "3")
    assert run(*BASE, "--taker", "50", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["metrics"]["total_return"] == found["runs"][3]["metrics"]["total_return"]
    assert alone["metrics"]["fees_quote"] == pytest.approx(
        found["runs"][3]["metrics"]["fees_quote"]
    )
    assert alone["trials"] == DESIGN_TRIALS + 4
    for name in ("start", "end", "requested_start", "requested_end"):
        assert alone[name] == found[name]
    with (home / "o" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["STOP_ATR_MULTIPLE"] for row in rows] == ["1", "1", "3", "3"]
    assert float(rows[0]["sharpe"]) == found["runs"][0]["metrics"]["sharpe"]


@pytest.mark.slow
def test_both_engines_give_the_same_sweep(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick, slow = (
        document(capsys, *GRID, "--jobs", "2", "--engine", engine)
        for engine in ("compiled", "steps")
    )
    assert quick["engines"] == {"compiled": 4}
    assert slow["engines"] == {"step by step": 4}
    assert [r["digest"] for r in quick["runs"]] == [r["digest"] for r in slow["runs"]]
    for ours, theirs in zip(quick["runs"], slow["runs"], strict=True):
        assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-9)


def test_another_process_trades_by_the_settings_of_the_command_and_not_by_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRY_PATIENCE_MINUTES", "7")
    monkeypatch.setenv("DASHBOARD_PASSWORD", "a long secret one")
    sent = pickle.dumps(Builder(WORDS))
    assert b"a long secret one" not in sent
    monkeypatch.setenv("ENTRY_PATIENCE_MINUTES", "9")
    (home / ".env").write_text("RISK_REWARD=9\n")
    monkeypatch.chdir(home.parent)
    there = pickle.loads(sent)((("MAX_HOLDING_DAYS", "3"), ("TAKER", "50")))
    assert there.config.entry_patience_minutes == 7
    assert there.config.max_holding_days == 3
    assert there.config.risk_reward == load_config(None, {}).risk_reward
    assert there.config.data_dir == home / "data"


@pytest.mark.slow
def test_what_the_compiled_engine_does_not_cover_runs_step_by_step_and_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ["--pair", "BTC/USD,ETH/USD"]
    found = document(capsys, *two, "--sweep", "STOP_ATR_MULTIPLE=2", "--jobs", "1")
    assert found["engines"] == {"step by step": 1}
    assert "step by step, because several pairs share one account" in found["notes"]
    assert run(*BASE, *two, "--sweep", "STOP_ATR_MULTIPLE=2", "--engine", "compiled") == 2
    assert "several pairs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_notes_of_its_history_what_a_plain_backtest_notes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept = document(capsys, "--sweep", "STOP_ATR_MULTIPLE=2", "--jobs", "1")["notes"]
    plain = document(capsys)["notes"]
    gap = "BTC/USD: 1 candles are absent in 1 runs; nothing was decided or filled in them"
    assert gap in swept
    assert gap in plain


@pytest.mark.parametrize("timeframe", [["--timeframe", "1h"], ["--sweep", "TIMEFRAME=1h,4h"]])
def test_a_history_full_of_holes_is_refused_to_a_sweep_as_to_a_backtest(
    home: Path, capsys: pytest.CaptureFixture[str], timeframe: list[str]
) -> None:
    store, whole = HistoryStore(home / "data"), history(24 * 90, 3)
    days = [datetime(2021, month, day, tzinfo=UTC) for month, day in ((1, 5), (2, 20))]
    store.append(Pair("SOL", "USD"), whole.between(None, days[0]), "one")
    store.append(Pair("SOL", "USD"), whole.between(days[1], None), "two")
    asked = ["--pair", "SOL/USD", "--strategy", "sma-cross"]
    assert run(*asked, "--timeframe", "1h") == 1
    plain = capsys.readouterr().err
    assert "more than a tenth" in plain
    assert run(*asked, *timeframe, "--sweep", "STOP_ATR_MULTIPLE=2,3") == 1
    assert capsys.readouterr().err == plain


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_stopped_and_every_variant_is_counted_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = backtest_sweep.run_one, []

    def mortal(*words: Any) -> Outcome:
        done.append(1)
        if len(done) == 3:  # two variants, and death
            raise KeyboardInterrupt
        return real(*words)

    steps = [*GRID, "--jobs", "1", "--engine", "steps"]
    monkeypatch.setattr(backtest_sweep, "run_one", mortal)
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        run(*BASE, *steps)
    monkeypatch.setattr(backtest_sweep, "run_one", real)
    capsys.readouterr()
    found = document(capsys, *steps)
    assert found["resumed"] == 2
    assert found["trials"] == DESIGN_TRIALS + 4
    assert document(capsys, *steps)["resumed"] == 4


@pytest.mark.slow
def test_other_candles_make_other_variants(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys, *GRID, "--jobs", "1")["resumed"] == 0
    shutil.rmtree(home / "data" / "history", ignore_errors=True)
    for old in (home / "data").rglob("*.parquet"):
        old.unlink()
    HistoryStore(home / "data").append(Pair("BTC", "USD"), history(24 * 90, 3), "test")
    assert document(capsys, *GRID, "--jobs", "1")["resumed"] == 0


@pytest.mark.slow
def test_tuning_chooses_within_the_space_the_same_way_each_time(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ["--sweep", "STOP_ATR_MULTIPLE=1..4:0.5", "--sweep", "TAKER=0,50", "--tune", "20"]
    first = document(capsys, *space)
    assert 8 <= len(first["runs"]) <= 16
    assert first["tuned"] == 20
    assert {row["values"]["STOP_ATR_MULTIPLE"] for row in first["runs"]} <= {
        "1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"
    }  # fmt: skip
    assert first["best"]["values"]["TAKER"] == "0"
    again = document(capsys, *space)
    assert again["runs"] == first["runs"]
    assert again["resumed"] == len(first["runs"])


def test_a_range_needs_tuning_and_tuning_a_space(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--sweep", "STOP_ATR_MULTIPLE=1..4") == 2
    assert "--tune" in capsys.readouterr().err
    assert run(*BASE, "--tune", "10") == 2
    assert "--sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_the_report_has_a_heat_map_with_the_plateau_framed(home: Path) -> None:
    assert run(*BASE, *GRID, "--jobs", "1", "--out", "o") == 0
    page = (home / "o" / "sweep.html").read_text()
    assert page.count("<td class=chosen") == 1
    assert "http" not in page


@pytest.mark.slow
def test_without_a_scheduler_the_cluster_is_one_clear_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*BASE, *GRID, "--cluster", "nowhere") == 2
    assert "scheduler" in capsys.readouterr().err


def test_an_unknown_name_or_a_value_out_of_range_is_one_line_before_any_work(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--sweep", "STOP_ATR=1,2") == 2
    assert "STOP_ATR_MULTIPLE" in capsys.readouterr().err
    assert run(*BASE, "--sweep", "RISK_PER_TRADE=0.01,7") == 2
    assert "RISK_PER_TRADE" in capsys.readouterr().err
    assert not (home / "data" / "trials.jsonl").exists()


@pytest.mark.slow
def test_the_plateau_is_named_beside_the_peak(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--sweep", "STOP_ATR_MULTIPLE=1,2,3", "--jobs", "1") == 0
    out = capsys.readouterr().out
    assert "PAPER" in out.splitlines()[0]
    assert "plateau: stop_atr_multiple" in out


@pytest.mark.slow
def test_a_variant_known_from_another_sweep_bears_the_names_of_this_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document(capsys, "--sweep", "STOP_ATR_MULTIPLE=1,3", "--jobs", "1")
    grid = ["--sweep", "STOP_ATR_MULTIPLE=1,3", "--sweep", "RISK_REWARD=0,9", "--jobs", "1"]
    found = document(capsys, *grid)
    assert found["resumed"] == 2
    assert [tuple(row["values"].values()) for row in found["runs"]] == [
        ("1", "0"), ("1", "9"), ("3", "0"), ("3", "9"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["LOG_LEVEL=INFO,DEBUG", "DATA_DIR=a,b"])
def test_what_changes_nothing_in_trading_is_not_swept(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(*BASE, "--sweep", name) == 2
    assert "changes nothing in how a backtest trades" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["nan..2", "1..inf", "1..2:nan"])
def test_a_range_without_finite_ends_is_misuse(words: str) -> None:
    with pytest.raises(UsageError, match="LOW"):
        read_space([f"STOP_ATR_MULTIPLE={words}"])
