"""Claims about the campaign that kills downloads of trades."""

import pytest

from campaigns import paging


@pytest.mark.slow
def test_a_download_killed_again_and_again_leaves_the_same_bytes() -> None:
    result = paging.run(trades=8_000, kills=3, seed=2)
    assert (result["kills"], result["differing"]) == (3, 0)
    assert result["trades"] == 8_000
    assert result["undisturbed"]["refused"] == 0


def test_the_comparison_sees_a_single_byte(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.parquet").write_bytes(b"12" if name == "a" else b"13")
    assert paging.contents(tmp_path / "a") != paging.contents(tmp_path / "b")
