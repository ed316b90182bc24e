"""The heartbeat tells a running loop from a dead one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trader.storage.state_file import (
    StateFile,
    forget_replays,
    heartbeat_of,
    heartbeats,
    state_file,
)

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def test_a_fresh_beat_of_a_living_process_means_running(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", lambda: NOW)
    state.write({"cycle": 3})
    assert state.is_running()
    read = state.read()
    assert read is not None
    assert read["cycle"] == 3


def test_an_old_beat_means_not_running(tmp_path: Path) -> None:
    StateFile(tmp_path / "state.json", lambda: NOW).write({})
    later = StateFile(tmp_path / "state.json", lambda: NOW + timedelta(minutes=5))
    assert later.age_seconds() == 300
    assert not later.is_running()


def test_a_loop_that_said_goodbye_is_not_running(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", lambda: NOW)
    state.write({"ended": "asked to stop"})
    assert not state.is_running()


def test_no_file_or_half_a_file_is_no_state(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", lambda: NOW)
    assert state.read() is None
    (tmp_path / "state.json").write_text('{"cycle": ')
    assert state.read() is None
    assert not state.is_running()


def test_beats_in_quick_succession_are_left_out_but_never_the_last(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json", lambda: NOW, pause_s=1.0)
    file.write({"cycle": 1})
    file.write({"cycle": 2})
    assert (file.read() or {})["cycle"] == 1
    file.write({"cycle": 3, "ended": "done"})
    assert (file.read() or {})["cycle"] == 3


@pytest.mark.parametrize(
    "body",
    ['{"pid": "abc", "beat_at": "2020-01-01"}', '{"pid": 4.5}', "[1]", "junk",
     '{"beat_at": 7}', '{"pid": 99999999999999, "beat_at": "2024-03-01T00:00:00+00:00"}'],
)  # fmt: skip
def test_a_damaged_state_is_a_loop_that_does_not_run(tmp_path, body):
    path = tmp_path / "state.json"
    path.write_text(body, encoding="utf-8")
    state = StateFile(path, lambda: datetime(2024, 3, 1, tzinfo=UTC))
    assert not state.is_running()


def beaten(folder: Path, book: str, age_s: float = 0.0, **more: object) -> StateFile:
    """A beat of the account's loop, this process."""
    file = state_file(folder, book, lambda: NOW - timedelta(seconds=age_s))
    file.write({"book": book, **more})
    return file


def named(book: str, folder: Path) -> str | None:
    found = heartbeat_of(folder, book.__eq__, lambda: NOW)
    return None if found is None else found.book


def test_each_account_has_a_heartbeat_of_its_own(tmp_path: Path) -> None:
    beaten(tmp_path, "a")
    beaten(tmp_path, "b", age_s=5)
    assert (named("a", tmp_path), named("b", tmp_path), named("c", tmp_path)) == ("a", "b", None)


def test_loops_that_run_come_first_and_then_the_newest(tmp_path: Path) -> None:
    beaten(tmp_path, "ended", ended="done")
    beaten(tmp_path, "hung", age_s=90)
    beaten(tmp_path, "runs", age_s=5)
    assert [f.book for f in heartbeats(tmp_path, lambda: NOW)] == ["runs", "ended", "hung"]


def test_the_old_place_counts_for_the_account_it_is_about(tmp_path: Path) -> None:
    StateFile(tmp_path / "state.json", lambda: NOW).write({"book": "a"})
    assert (named("a", tmp_path), named("b", tmp_path)) == ("a", None)


def test_replays_that_are_over_leave_no_heartbeats_behind(tmp_path: Path) -> None:
    beaten(tmp_path, "replay-2")
    (tmp_path / "state" / "replay-1.json").write_text('{"book": "replay-1", "pid": 0}')
    beaten(tmp_path, "a", ended="done")
    forget_replays(tmp_path, lambda: NOW)
    assert {f.book for f in heartbeats(tmp_path, lambda: NOW)} == {"replay-2", "a"}
