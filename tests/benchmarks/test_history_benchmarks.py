"""Claims about the benchmarks of the store."""

from pathlib import Path

import pytest

from benchmarks import history


@pytest.mark.slow
def test_all_readers_read_the_same_files_and_ours_also_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("polars", reason="a peer of the benchmarks only: make peers")
    monkeypatch.setattr(history, "_texts", lambda: [(60, b"3600,1,1,1,1,1,1\n")])
    monkeypatch.setattr(history, "BYTES", 40)
    found = list(history.imports(1))
    assert [line.tool for line in found] == ["ours", "pandas", "polars", "pyarrow"]
    assert {line.bars for line in found} == {3}
    assert all(line.peak_mb for line in found)
