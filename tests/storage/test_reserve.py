"""Room on the disk that is kept for an emergency."""

import os
from types import SimpleNamespace

from trader.storage.reserve import SIZE_BYTES, Reserve


def test_the_room_is_really_taken_and_only_once(tmp_path):
    assert Reserve(tmp_path).keep()
    file = tmp_path / "reserve"
    made = file.stat()
    assert Reserve(tmp_path).keep()
    assert (file.stat().st_mtime_ns, made.st_size) == (made.st_mtime_ns, SIZE_BYTES)
    assert made.st_blocks * 512 >= SIZE_BYTES


def test_it_is_given_back_only_when_there_is_hardly_any_other(tmp_path, monkeypatch):
    reserve = Reserve(tmp_path)
    reserve.keep()
    assert not reserve.release_if_full()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=3, f_frsize=4096))
    assert reserve.release_if_full()
    assert not (tmp_path / "reserve").exists()
    assert not reserve.release_if_full()
