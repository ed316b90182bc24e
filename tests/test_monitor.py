"""The monitor tells everything once and survives what it tells it to."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

from monitor import Monitor
from trader.domain.events import Event, HealthChanged, Troubled
from trader.storage.day_log import DayLog
from trader.storage.state_file import StateFile

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class ListJournal:
    def __init__(self) -> None:
        self.kept: list[Event] = []

    def append(self, event: Event) -> None:
        self.kept.append(event)

    def events(self, after: int = 0) -> Iterable[tuple[int, Event]]:
        return list(enumerate(self.kept, 1))[after:]

    def digest(self) -> str:
        return ""


class FullDisk:
    def __init__(self) -> None:
        self.full = True

    def take(self, number: int, event: Event) -> None:
        if self.full:
            raise OSError(28, "No space left on device")


def test_each_event_is_logged_once(tmp_path: Path) -> None:
    journal = ListJournal()
    watch = Monitor(journal, [DayLog(tmp_path, lambda: date(2024, 3, 1))])
    journal.append(Troubled(NOW, "unreachable", "no answer"))
    watch.observe(NOW)
    watch.observe(NOW)
    assert (tmp_path / "trading_2024-03-01.log").read_text().count("\n") == 1


def test_a_full_disk_is_told_once_and_stops_nothing() -> None:
    journal, disk = ListJournal(), FullDisk()
    watch = Monitor(journal, [disk])
    for _ in range(3):
        journal.append(Troubled(NOW, "unreachable", "no answer"))
        watch.observe(NOW)
    disk.full = False
    journal.append(Troubled(NOW, "unreachable", "no answer"))
    watch.observe(NOW)
    states = [event.state for event in journal.kept if isinstance(event, HealthChanged)]
    assert states == ["fail", "ok"]


def test_the_heartbeat_carries_the_outlook(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", lambda: NOW)
    Monitor(ListJournal(), state=state).observe(NOW, {"cycle": 4})
    read = state.read()
    assert read is not None
    assert (read["cycle"], read["at"]) == (4, NOW.isoformat())
