"""The stop file: set by anyone, never weakened, and doubt means stop."""

from pathlib import Path

from trader.storage.stop_switch import StopRequest, StopSwitch

STOP = StopRequest("drill", False, "me", "2024-03-01T00:00:00+00:00")
FLATTEN = StopRequest("drill", True, "me", "2024-03-01T00:00:00+00:00")


def test_pressed_means_stopped_until_lifted(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)
    assert switch.read() is None
    switch.press(STOP)
    assert StopSwitch(tmp_path).read() == STOP
    assert switch.lift()
    assert switch.read() is None
    assert not switch.lift()


def test_a_request_to_flatten_is_not_weakened(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)
    switch.press(FLATTEN)
    switch.press(STOP)
    assert switch.read() == FLATTEN


def test_a_stop_can_be_strengthened(tmp_path: Path) -> None:
    switch = StopSwitch(tmp_path)
    switch.press(STOP)
    switch.press(FLATTEN)
    assert switch.read() == FLATTEN


def test_an_empty_or_damaged_file_stops_too(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"reason": 1}'):
        (tmp_path / "STOP").write_text(text)
        found = StopSwitch(tmp_path).read()
        assert found is not None
        assert not found.flatten
