"""Claims about the files of a run."""

import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.reports.sample import HOURS, START, result
from trader.domain.errors import UsageError
from trader.domain.plain import iso
from trader.reports.export import number, write_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("out") / "deep" / "down"
    write_files(result(), made)
    return made


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_of_the_contract_is_there_and_nothing_else(folder: Path) -> None:
    assert sorted(f.name for f in folder.iterdir()) == [
        "equity.csv", "predictions.csv", "report.html", "result.json", "trades.csv",
    ]  # fmt: skip


def test_a_trade_still_open_has_empty_exit_fields(folder: Path) -> None:
    closed, held = rows(folder / "trades.csv")
    assert closed == {
        "pair": "BTC/USD", "side": "long", "entry_time": "2021-01-01T05:00:00Z",
        "entry_price": "30100.5", "exit_time": "2021-01-05T04:00:00Z", "exit_price": "31000",
        "qty": "0.05", "fees": "7.61",
    }  # fmt: skip
    assert (held["entry_price"], held["exit_time"], held["exit_price"], held["fees"]) == (
        "30420", "", "", "8",
    )  # fmt: skip


def test_equity_has_a_row_for_every_candle_at_its_close(folder: Path) -> None:
    marks = rows(folder / "equity.csv")
    assert len(marks) == HOURS
    assert marks[0] == {"time": "2021-01-01T01:00:00Z", "equity": "10000.00000000"}


def test_a_label_not_yet_known_is_empty(folder: Path) -> None:
    made = rows(folder / "predictions.csv")
    assert list(made[0]) == ["pair", "time", "probability", "label", "label_known_at", "taken"]
    assert (made[0]["label"], made[1]["label"], made[1000]["label"]) == ("1", "0", "")
    assert (made[0]["taken"], made[1]["taken"]) == ("true", "false")


def test_infinity_becomes_null_in_json(folder: Path) -> None:
    document = json.loads((folder / "result.json").read_text())
    assert document["metrics"]["profit_factor"] is None
    assert document["metrics"]["total_return"] == 0.12


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_files(result(), tmp_path / "file" / "out")


def test_numbers_and_times_are_written_plainly() -> None:
    assert number(Decimal("1E-8")) == "0.00000001"
    assert number(Decimal("100")) == "100"
    assert number(Decimal("1.500")) == "1.5"
    assert iso(START + timedelta(milliseconds=5)) == "2021-01-01T00:00:00.005Z"
    assert iso(datetime(2021, 1, 1, 2, tzinfo=UTC)) == "2021-01-01T02:00:00Z"
