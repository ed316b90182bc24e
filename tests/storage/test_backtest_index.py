"""The dashboard finds backtests by an index that survives what people do to folders."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trader.storage.backtest_index import BacktestIndex

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def written(folder: Path, strategy: str = "trend") -> Path:
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<h1>report</h1>")
    (folder / "result.json").write_text(json.dumps({"strategy": strategy}))
    return folder


def test_runs_are_found_newest_first_with_their_results(tmp_path: Path) -> None:
    index = BacktestIndex(tmp_path / "data")
    index.add(written(tmp_path / "a"), NOW)
    index.add(written(tmp_path / "b", "ensemble"), NOW + timedelta(hours=1))
    assert [run.result()["strategy"] for run in index.runs()] == ["ensemble", "trend"]


def test_a_folder_written_twice_is_one_run(tmp_path: Path) -> None:
    index = BacktestIndex(tmp_path / "data")
    folder = written(tmp_path / "a")
    for hour in range(2):
        index.add(folder, NOW + timedelta(hours=hour))
    assert [run.at for run in index.runs()] == [NOW + timedelta(hours=1)]


def test_a_run_whose_files_were_removed_is_left_out(tmp_path: Path) -> None:
    index = BacktestIndex(tmp_path / "data")
    index.add(written(tmp_path / "a"), NOW)
    (tmp_path / "a" / "report.html").unlink()
    assert index.runs() == []


def test_damaged_lines_and_results_hide_nothing_else(tmp_path: Path) -> None:
    index = BacktestIndex(tmp_path / "data")
    index.add(written(tmp_path / "a"), NOW)
    with index.path.open("a") as file:
        file.write('{"at": "yester\nnull\n{"at": "2024-03-01", "folder": "x"}\n')
    (tmp_path / "a" / "result.json").write_text("{")
    assert [run.result() for run in index.runs()] == [{}]


def test_before_the_first_run_there_is_none(tmp_path: Path) -> None:
    assert BacktestIndex(tmp_path / "data").runs() == []
