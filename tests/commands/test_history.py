"""Claims about `run_trader.py history`."""

import json
from pathlib import Path

import pytest

from commands.common import guarded
from run_trader import cli

GOOD = b"3600,10,12,9,11,5e-06,3\n7200,11,13,10,12,1.5,4\n14400,12,14,11,13,2,0\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "XBTUSD_60.csv").write_bytes(GOOD)
    return tmp_path


def test_import_reports_candles_span_and_absent_hours(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(cli, ["history", "import", "XBTUSD_60.csv"]) == 0
    out = capsys.readouterr().out
    assert "BTC/USD 1h: 3 candles, 1970-01-01 01:00 to 1970-01-01 04:00 UTC" in out
    assert "absent: 1 hours" in out


def test_import_with_json_prints_one_document(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(cli, ["history", "import", "XBTUSD_60.csv", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["imported"][0]["absent"] == 1
    assert document["imported"][0]["first"] == "1970-01-01T01:00:00Z"


def test_a_damaged_file_is_one_line_and_status_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "XBTUSD_60.csv").write_bytes(GOOD[:60])
    assert guarded(cli, ["history", "import", "XBTUSD_60.csv"]) == 1
    assert "line 3: 4 fields" in capsys.readouterr().err


def test_a_damaged_file_in_json_is_an_error_document(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "XBTUSD_60.csv").write_bytes(b"")
    assert guarded(cli, ["history", "import", "XBTUSD_60.csv", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["category"] == "history"


def test_a_wrong_path_is_misuse(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(cli, ["history", "import", "nowhere.csv"]) == 2
    assert "nowhere.csv: no such file or folder" in capsys.readouterr().err


def test_check_tells_gaps_and_sources(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guarded(cli, ["history", "import", "XBTUSD_60.csv"])
    capsys.readouterr()
    assert guarded(cli, ["history", "check", "--json"]) == 0
    series = json.loads(capsys.readouterr().out)["series"]
    assert [(s["exchange"], s["pair"], s["timeframe"]) for s in series] == [
        ("kraken", "BTC/USD", "1h")
    ]
    assert (series[0]["absent"], series[0]["gaps"], series[0]["longest_gap"]) == (1, 1, 1)
    assert series[0]["sources"][0]["source"] == "import XBTUSD_60.csv"


def test_an_empty_store_is_no_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(cli, ["history", "check"]) == 0
    assert "The store is empty" in capsys.readouterr().out


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_damaged_store_fails_the_check_in_either_form(
    home: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    guarded(cli, ["history", "import", "XBTUSD_60.csv"])
    (file,) = (home / "data" / "candles").rglob("1h.parquet")
    file.write_bytes(b"no parquet")
    capsys.readouterr()
    assert guarded(cli, ["history", "check", *more]) == 1
    caught = capsys.readouterr()
    assert "1h.parquet is damaged" in caught.out + caught.err
    if more:
        assert len(json.loads(caught.out)["damaged"]) == 1


def test_an_exchange_of_which_nothing_is_stored_is_misuse_and_those_stored_are_named(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded(cli, ["history", "import", "XBTUSD_60.csv"])
    capsys.readouterr()
    assert guarded(cli, ["history", "check", "--exchange", "none"]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert "--exchange none: no candles of it are stored; stored: kraken" in caught.err
    assert guarded(cli, ["history", "check", "--exchange", "Kraken"]) == 0


def test_a_chart_that_cannot_be_written_is_misuse_that_names_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded(cli, ["history", "import", "XBTUSD_60.csv"])
    assert guarded(cli, ["history", "check", "--chart", "nowhere/q.html"]) == 2
    assert "--chart nowhere/q.html: cannot be written (No such file" in capsys.readouterr().err
