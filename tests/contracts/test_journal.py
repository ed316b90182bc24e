"""What every journal does, whatever holds it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.generated import any_event
from trader.domain.events import CashAdjusted, Resumed, SessionEnded
from trader.storage.journal import MemoryJournal, SqliteJournal

AT = datetime(2024, 3, 1, 13, tzinfo=UTC)


def deposit(amount, minutes=0):
    return CashAdjusted(AT + timedelta(minutes=minutes), "USD", Decimal(amount), "deposit")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request, tmp_path):
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SqliteJournal(tmp_path / "trader.db", "paper-test") as journal:
        yield journal


def test_a_new_journal_is_empty(journal):
    assert list(journal.events()) == []
    assert len(journal) == 0


def test_events_come_back_in_order_and_numbered_from_one(journal):
    for amount in (1, 2, 3):
        journal.append(deposit(amount))
    assert list(journal.events()) == [(1, deposit(1)), (2, deposit(2)), (3, deposit(3))]
    assert len(journal) == 3


def test_only_what_is_after_a_number_is_read(journal):
    for amount in (1, 2, 3):
        journal.append(deposit(amount))
    assert list(journal.events(after=2)) == [(3, deposit(3))]
    assert list(journal.events(after=3)) == []
    assert list(journal.events(after=99)) == []


def test_several_events_go_in_together(journal):
    journal.append(deposit(1))
    journal.append_all([deposit(2), deposit(3)])
    assert [n for n, _ in journal.events()] == [1, 2, 3]


def test_reading_can_be_narrowed_to_kinds_and_keeps_the_numbers(journal):
    journal.append(deposit(1))
    journal.append(Resumed(AT, "me"))
    journal.append(SessionEnded(AT, "done"))
    assert [(2, Resumed(AT, "me"))] == list(journal.events(kinds=(Resumed,)))
    assert [n for n, _ in journal.events(kinds=(CashAdjusted, SessionEnded))] == [1, 3]


def test_what_is_appended_while_reading_is_read_once(journal):
    journal.append(deposit(1))
    seen = []
    after = 0
    for _ in range(3):
        for number, event in journal.events(after):
            seen.append(event.amount)
            after = number
        journal.append(deposit(len(seen) + 1))
    assert seen == [1, 2, 3]


def test_the_newest_comes_first_when_reading_backwards(journal):
    journal.append(deposit(1))
    journal.append(Resumed(AT, "me"))
    journal.append(deposit(2))
    assert [n for n, _ in journal.backwards()] == [3, 2, 1]
    assert list(journal.backwards(kinds=(CashAdjusted,))) == [(3, deposit(2)), (1, deposit(1))]
    assert list(journal.backwards(kinds=(SessionEnded,))) == []


def test_the_digest_is_the_sha256_of_the_encoded_lines():
    journal = MemoryJournal()
    # sha256 of nothing, known to everybody.
    assert journal.digest().startswith("e3b0c44298fc1c149afbf4c8996fb924")


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(any_event(), max_size=6))
def test_memory_and_sqlite_hold_the_same_and_agree_on_the_digest(tmp_path_factory, events):
    memory = MemoryJournal()
    path = tmp_path_factory.mktemp("journal") / "trader.db"
    with SqliteJournal(path, "paper", durable=False) as disk:
        for event in events:
            memory.append(event)
            disk.append(event)
            assert memory.digest() == disk.digest()
        assert list(memory.events()) == list(disk.events())
