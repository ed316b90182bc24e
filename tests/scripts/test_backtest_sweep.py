"""Claims about `--sweep`."""

import csv
import json
from pathlib import Path

import pytest

from scripts.backtest_sweep import combinations, read_sweeps
from tests.scripts.test_backtest import DAYS, home, run
from trader.domain.errors import UsageError

__all__ = ["home"]
GRID = ["--sweep", "stop_atr_multiple=1,3", "--sweep", "TAKER=0,50"]
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


def test_each_variant_is_the_backtest_with_that_setting_and_counts_as_a_try(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(*BASE, *GRID, "--jobs", "1", "--out", "o", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["values"]["TAKER"] for row in document["runs"]] == ["0", "50", "0", "50"]
    assert document["trials"] == 416
    monkeypatch.setenv("STOP_ATR_MULTIPLE", "3")
    assert run(*BASE, "--taker", "50", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert alone["digest"] == document["runs"][3]["digest"]
    assert alone["trials"] == 416
    with (home / "o" / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["STOP_ATR_MULTIPLE"] for row in rows] == ["1", "1", "3", "3"]
    assert float(rows[0]["sharpe"]) == document["runs"][0]["metrics"]["sharpe"]


@pytest.mark.slow
def test_two_processes_give_the_same_as_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = []
    for jobs in ("1", "2"):
        assert run(*BASE, *GRID, "--jobs", jobs, "--json") == 0
        documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["runs"] == documents[1]["runs"]


def test_an_unknown_name_or_a_value_out_of_range_is_one_line_before_any_work(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--sweep", "STOP_ATR=1,2") == 2
    assert "STOP_ATR_MULTIPLE" in capsys.readouterr().err
    assert run(*BASE, "--sweep", "RISK_PER_TRADE=0.01,7") == 2
    assert "RISK_PER_TRADE" in capsys.readouterr().err
    assert not (home / "data" / "trials.jsonl").exists()


def test_the_plateau_is_named_beside_the_peak(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--sweep", "STOP_ATR_MULTIPLE=1,2,3", "--jobs", "1") == 0
    out = capsys.readouterr().out
    assert "PAPER" in out.splitlines()[0]
    assert "plateau: stop_atr_multiple" in out
