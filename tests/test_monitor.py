"""The monitor tells everything once and survives what it tells it to."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor import Monitor, Vitals
from trader.domain.errors import JournalError
from trader.domain.events import Event, HealthChanged, Troubled
from trader.storage.day_log import DayLog
from trader.storage.reserve import Reserve
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


def vitals(folder: Path, now: datetime = NOW, server: Any = None) -> Vitals:
    Reserve(folder).keep()
    return Vitals(folder, lambda: now, server)


def test_an_exchange_that_misses_two_looks_is_unreachable_until_a_sound_step(
    tmp_path: Path,
) -> None:
    look = vitals(tmp_path).look
    gone = [Troubled(NOW, "unreachable", "no answer")]
    states = [look({}, gone)["exchange"][0], look({}, gone)["exchange"][0]]
    states += [look({}, [])["exchange"][0], look({"sound": True}, [])["exchange"][0]]
    assert states == ["ok", "fail", "fail", "ok"]


def test_a_stop_that_is_missing_for_half_a_minute_is_a_failure(tmp_path: Path) -> None:
    now = [NOW]
    watched = Vitals(tmp_path, lambda: now[0])
    bare = {"unprotected": {"BTC/USD": "the exchange refused it"}, "holdings": ["BTC/USD"]}
    assert watched.look(bare, [])["stops"][0] == "ok"
    now[0] += timedelta(seconds=31)
    state, detail = watched.look(bare, [])["stops"]
    assert (state, "BTC/USD" in detail) == ("fail", True)
    assert watched.look({"holdings": ["BTC/USD"]}, [])["stops"][0] == "ok"


@pytest.mark.parametrize(("off", "state"), [(0, "ok"), (5, "warn"), (-60, "fail")])
def test_a_clock_that_differs_from_the_exchange_is_told(
    tmp_path: Path, off: int, state: str
) -> None:
    watched = vitals(tmp_path, server=lambda: NOW + timedelta(seconds=off))
    watched._compare_clocks()
    assert watched.look({}, [])["clock"][0] == state


def test_a_tripped_limit_is_told_once_and_its_end_too(tmp_path: Path) -> None:
    journal = ListJournal()
    watch = Monitor(journal, vitals=vitals(tmp_path))
    for tripped in (False, True, True, False):
        limit = {"rule": "daily-loss", "used": 0.031, "limit": 0.03, "tripped": tripped}
        watch.observe(NOW, {"limits": [limit]})
    found = [(e.check, e.state) for e in journal.kept if isinstance(e, HealthChanged)]
    assert found == [("limit daily-loss", "warn"), ("limit daily-loss", "ok")]


def test_what_was_wrong_before_a_restart_and_is_well_now_is_told(tmp_path: Path) -> None:
    journal = ListJournal()
    watch = Monitor(journal, vitals=vitals(tmp_path), told={"exchange": "fail"})
    watch.observe(NOW, {"sound": True})
    assert [e.state for e in journal.kept if isinstance(e, HealthChanged)] == ["ok"]


def test_the_findings_are_in_the_heartbeat(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json", lambda: NOW)
    Monitor(ListJournal(), state=state, vitals=vitals(tmp_path)).observe(NOW)
    assert {"exchange", "stops", "disk"} <= set((state.read() or {})["vitals"])


def test_a_reserve_in_use_is_told_and_that_it_is_kept_again(tmp_path: Path) -> None:
    now = NOW
    watch = Vitals(tmp_path, lambda: now)
    assert watch.look({}, ())["reserve"][0] == "fail"
    Reserve(tmp_path).keep()
    now += timedelta(minutes=2)
    assert watch.look({}, ())["reserve"][0] == "ok"


def test_neither_heartbeat_nor_journal_on_a_full_disk_ends_the_watch(tmp_path: Path) -> None:
    class Full(ListJournal):
        full = True

        def append(self, event: Event) -> None:
            if self.full:
                raise JournalError("the journal cannot grow: the disk is full")
            super().append(event)

    journal = Full()
    (tmp_path / "file").touch()
    watch = Monitor(journal, state=StateFile(tmp_path / "file" / "state.json", lambda: NOW))
    watch.observe(NOW)
    journal.full = False
    watch.observe(NOW)
    assert [e.state for e in journal.kept if isinstance(e, HealthChanged)] == ["fail"]
