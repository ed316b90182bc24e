"""The loop around the trader: nothing that only talks may end it, and it looks often enough."""

import io
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest

from commands.common import say
from commands.loop import Loop
from commands.screen import Screen
from tests.trading_box import Box
from trader.domain.errors import JournalError


class FullDisk(io.StringIO):
    """Standard output on a disk without room."""

    def write(self, _text):
        raise OSError(28, "No space left on device")


def loop_with(box, **trader):
    holder = SimpleNamespace(
        executor=box.executor, portfolio=box.portfolio, clock=box.clock, debug=False, **trader
    )
    config = SimpleNamespace(poll_seconds=10.0)
    return Loop(SimpleNamespace(trader=holder, config=config, venue=SimpleNamespace(pace="real")))


def test_a_screen_on_a_full_disk_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", FullDisk())
    monkeypatch.setattr(sys, "stderr", FullDisk())
    Screen(SimpleNamespace(), quiet=False, every=True).line("bought")
    say("sold")


@pytest.mark.parametrize(
    ("holds", "stop", "longest"), [(False, None, 300), (True, "90", 30), (True, None, 10)]
)
def test_after_failures_the_pause_is_no_longer_than_what_is_held_allows(holds, stop, longest):
    box = Box()
    if holds:
        box.buy("2", stop=stop)
        box.pass_hours()
    loop = loop_with(box)
    loop._faults = 6
    assert loop._pause() == longest


def test_without_a_failure_it_looks_at_its_usual_pace():
    box = Box()
    box.buy("2", stop="90")
    assert loop_with(box)._pause() == 10


def test_a_request_that_breaks_its_handler_is_answered_and_ends_nothing():
    loop = loop_with(Box())
    loop.handle = lambda request: request.nothing
    assert loop._answered({})["error"]["category"] == "internal"


def test_a_beat_without_a_journal_is_told_and_ends_nothing():
    def beat():
        raise JournalError("the journal cannot grow: the disk is full")

    told = []
    loop = loop_with(Box(), beat=beat)
    loop.tell = told.append
    loop._beat()
    assert "disk is full" in told[0].troubles[0]


def test_an_order_by_hand_is_looked_after_at_once_though_the_pause_is_long():
    box = Box()
    begun, heard, settled = box.now, [], []
    loop = loop_with(
        box,
        settle=lambda: settled.append(box.now),
        stop_changed=lambda: False,
        beat=lambda: None,
    )
    loop.parts.trader.executor = SimpleNamespace(
        next_look=lambda now: now + timedelta(seconds=1) if heard else None
    )
    loop.parts.venue.speed = 1.0
    loop.between = lambda: heard.append("an order")
    loop._wait_until(begun + timedelta(seconds=60))
    assert settled[0] - begun < timedelta(seconds=2)
