"""Orders bear a deadline by the exchange's clock, whatever this machine's says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.trading_box import BTC
from tests.wire_box import WireBox
from trader.domain.errors import ExchangeBusy, OrderRejected, Unreachable
from trader.exchanges.kraken_deadline import Deadline

D = Decimal
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def deadline(ahead_s: float) -> Deadline:
    return Deadline(30, lambda: NOW, lambda: NOW + timedelta(seconds=ahead_s))


@pytest.mark.parametrize(
    ("ahead_s", "ends"),
    [
        (0, "2026-01-01T12:00:30.000000Z"),
        (2, "2026-01-01T12:00:30.000000Z"),  # within the answer's own second or two
        (40, "2026-01-01T12:01:10.000000Z"),
        (-40, "2026-01-01T11:59:50.000000Z"),
    ],
)
def test_it_ends_half_a_minute_from_the_exchanges_now(ahead_s, ends):
    assert deadline(ahead_s).field() == {"deadline": ends}


def test_without_seconds_there_is_none():
    assert Deadline(None, lambda: NOW, lambda: NOW).field() == {}


def test_a_clock_that_cannot_be_asked_leaves_this_machines():
    def fails():
        raise Unreachable("no answer")

    assert Deadline(30, lambda: NOW, fails).field() == {"deadline": "2026-01-01T12:00:30.000000Z"}


def test_the_clock_is_asked_once_and_again_after_a_deadline_was_refused():
    asked = []

    def server_time():
        asked.append(1)
        return NOW

    found = Deadline(30, lambda: NOW, server_time)
    found.field()
    found.field()
    assert len(asked) == 1
    assert not found.was_refused(ExchangeBusy("EService:Busy"))
    assert found.was_refused(OrderRejected("EGeneral:Invalid arguments:deadline"))
    found.field()
    assert len(asked) == 2


def test_a_moment_of_a_clock_that_is_ahead_is_put_earlier_and_never_later():
    ahead, behind = deadline(-40), deadline(40)
    ahead.field()
    behind.field()
    assert ahead.earlier(NOW) == NOW - timedelta(seconds=40)
    assert behind.earlier(NOW) == NOW


@pytest.mark.parametrize("skew_s", [-35, 35, 3600])
def test_a_clock_that_is_off_keeps_nothing_from_being_bought_guarded_and_sold(skew_s):
    box = WireBox()
    box.skew_s = skew_s
    box.buy("2", stop="90")
    box.executor.move_stop(BTC, D(92), "trails", box.now)
    assert (box.position.quantity, box.stops()) == (D(2), [(D(2), D(92))])
    assert box.flatten(seconds=5)
    assert box.portfolio.positions == {}


def test_a_clock_that_jumps_ahead_costs_one_refusal():
    box = WireBox()
    box.buy("2", stop="90")
    box.skew_s = 120
    box.executor.move_stop(BTC, D(92), "trails", box.now)
    assert box.stops() == [(D(2), D(92))]
