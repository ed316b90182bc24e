"""Orders through a failing exchange, and what the witness says when a journal lies."""

from decimal import Decimal
from random import Random

import pytest

from campaigns.chaos import Campaign, StormyWorld
from campaigns.markets import histories
from campaigns.witness import Witness
from tests.campaigns.running import figures, zeros
from trader.domain.events import OrderFilled, OrderIntended
from trader.domain.markets import Pair
from trader.domain.orders import OrderType

BTC = Pair("BTC", "USD")


@pytest.fixture(scope="module")
def market():
    return histories(None, 1)


@pytest.mark.slow
def test_a_fifth_of_all_calls_failing_loses_doubles_and_breaks_nothing():
    found = figures("campaigns.chaos", "--intents", "300", "--fault-rate", "0.2", "--seed", "5")
    assert zeros(found) == {}
    assert found["intents"] >= 300
    assert found["fills"] > 100
    assert len(found["faults"]) > 30


@pytest.mark.slow
def test_the_same_seed_meets_the_same_faults(market):
    first, second = (Campaign(50, 0.2, 2, market).run() for _ in range(2))
    assert first["faults"] == second["faults"]
    assert first["fills"] == second["fills"]


@pytest.fixture
def traded(market):
    """A world without faults, some trades made, a position held."""
    world = StormyWorld(market.stretch(Random(1), 200), 4, 0.0)
    world.restart()
    while len(list(world.executor.orders.all_orders())) < 40:
        world.forward(seconds=100)
        world.move()
    while world.executor.portfolio.position(BTC) is None:
        world.forward(seconds=100)
        world._buy(BTC)
    world.executor.settle(world.now)
    world.executor.audit(world.now)
    return world


def findings(world, events=None):
    witness = Witness()
    witness.read(events if events is not None else world.journal.events())
    return witness.compare(world.exchange, world.now)


def without(world, kind):
    events = list(world.journal.events())
    last = max(n for n, e in events if isinstance(e, kind))
    return [(n, e) for n, e in events if n != last]


def test_a_true_journal_is_found_true(traded):
    assert findings(traded).clean


def test_a_fill_left_out_is_lost_and_its_money_missing(traded):
    found = findings(traded, without(traded, OrderFilled))
    assert found.lost == 1
    assert found.ledger_difference > 1


def test_an_order_nobody_wrote_down_is_lost(traded):
    events = list(traded.journal.events())
    first = next(e for _, e in events if isinstance(e, OrderIntended))
    events = [(n, e) for n, e in events if first.request.order_id not in repr(e)]
    assert findings(traded, events).lost >= 1


def test_a_fill_told_twice_is_doubled(traded):
    events = list(traded.journal.events())
    again = next(e for _, e in events if isinstance(e, OrderFilled))
    assert findings(traded, [*events, (len(events) + 1, again)]).doubled == 1


def test_a_stop_that_is_gone_leaves_the_position_bare(traded):
    for order in traded.exchange.open_orders():
        if order.type is OrderType.STOP_LOSS and order.pair == BTC:
            traded.exchange.cancel(order.exchange_id)
    assert findings(traded).unprotected == 1


def test_a_cent_that_comes_from_nowhere_is_seen(traded):
    account = traded.exchange.engine.account
    account.deposit("USD", Decimal("0.02"), traded.exchange.engine.now)
    assert findings(traded).ledger_difference == Decimal("0.02")
    traded.forward(seconds=1)
    traded.executor.audit(traded.now)
    # Booked as a transfer now, but nobody has made one.
    assert findings(traded).ledger_difference == Decimal("0.02")
