"""A replay over real candles through the whole program, Kraken's wire and the journal included."""

import math
from datetime import UTC, datetime

import pytest

from commands.loop import Loop
from config import load_config
from main import assemble
from tests.shared_data import shared
from trader.domain.events import OrderFilled, OrderIntended
from trader.domain.orders import Purpose
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from venues import Wishes

CYCLES = 400
LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    candles = shared("data/ohlcvt/XBTUSD_60.csv.gz")
    import_ohlcvt(HistoryStore(folder), candles, now=datetime(2024, 1, 1, tzinfo=UTC))
    return {
        "SANDBOX_FEED": "replay",
        "STRATEGY": "sma-cross",
        "RISK_REWARD": "1",
        "STOP_ATR_MULTIPLE": "0.5",
        "DATA_DIR": str(folder),
        "LOGS_DIR": str(folder),
        "MODELS_DIR": str(folder),
    }


def replayed(settings):
    """A finished run: everything put together as `start` does it."""
    config = load_config(None, settings)
    start = datetime(2021, 5, 1, tzinfo=UTC)
    wishes = Wishes(speed=math.inf, start=start, cycles=CYCLES, debug=True)
    parts = assemble(config, wishes)
    parts.trader.recover()
    Loop(parts, CYCLES).run()
    return parts


@pytest.fixture(scope="module")
def run(settings):
    parts = replayed(settings)
    yield parts
    parts.close()


@pytest.mark.slow
def test_the_replay_has_entries_stops_and_targets(run):
    purposes = {o.purpose for o in run.trader.executor.orders.all_orders() if o.filled}
    assert {Purpose.ENTRY, Purpose.STOP, Purpose.TARGET} <= purposes


@pytest.mark.slow
def test_every_order_and_fill_of_the_exchange_is_in_the_journal_and_no_other(run):
    events = [event for _, event in run.journal.events()]
    sandbox = run.venue.sandbox
    theirs = {fill.trade_id: fill for fill in sandbox.fills(LONG_AGO)}
    assert {e.fill.trade_id: e.fill for e in events if isinstance(e, OrderFilled)} == theirs
    intended = [e.request.order_id for e in events if isinstance(e, OrderIntended)]
    assert intended == [record.spec.client_id for record in sandbox.records()]


def test_every_order_ended_here_as_it_ended_there(run):
    sandbox = run.venue.sandbox
    for order in run.trader.executor.orders.all_orders():
        there = sandbox.order(order.exchange_id)
        assert (order.state, order.filled) == (there.state, there.filled_quantity)


def test_balances_agree_to_the_last_decimal(run):
    run.trader.executor.audit(run.trader.clock.now())
    balances = {a: b.total for a, b in run.venue.sandbox.balances().items() if b.total}
    held = run.trader.portfolio.holdings()
    assert {asset: amount for asset, amount in held.items() if amount} == balances


@pytest.mark.slow
def test_the_same_replay_gives_the_same_journal(run, settings):
    again = replayed(settings)
    try:
        assert again.journal.book != run.journal.book
        run_events = [e for _, e in run.journal.events()]
        again_events = [e for _, e in again.journal.events()]
        assert again_events == run_events[: len(again_events)]
    finally:
        again.close()
