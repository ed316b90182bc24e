"""Storms: random trading with lost answers, crashes, hand trades and deposits.

After each storm the program is started again, and then everything must be as if nothing had
happened: no order lost or doubled, no fill twice, no position without its stop, no cent missing.
"""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trading_box import BTC, Box
from trader.domain.errors import (
    ExchangeBusy,
    ExchangeError,
    InsufficientFunds,
    OrderRejected,
    OutcomeUnknown,
    Unreachable,
)
from trader.domain.events import OrderIntended
from trader.domain.orders import OrderRequest, OrderType, Side
from trader.domain.signals import Approval, Patience
from trader.storage.journal import MemoryJournal

D = Decimal


class Crash(BaseException):
    """The process is gone: nothing that catches errors may catch this."""


class Mortal(MemoryJournal):
    """A journal in whose append the process may die, before or after the line is written."""

    def __init__(self):
        super().__init__()
        self.dies_in = None
        self.written_first = False

    def append(self, event):
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.dies_in = None
                if self.written_first:
                    super().append(event)
                raise Crash
        super().append(event)


def market(seed):
    """A wild walk of 300 hours around 100."""
    steps = np.random.default_rng(seed).normal(0, 0.02, 300)
    close = 100 * np.exp(np.cumsum(steps))
    rows = []
    for before, now in zip(np.concatenate([[100.0], close[:-1]]), close, strict=True):
        rows.append((before, max(before, now) * 1.01, min(before, now) * 0.99, now))
    return [tuple(round(price, 1) for price in row) for row in rows]


FAULTS = (
    OutcomeUnknown("time-out"), Unreachable("no answer"), ExchangeBusy("overload"),
    OrderRejected("no"), InsufficientFunds("not booked yet"),
)  # fmt: skip
WRITES, READS = ("place", "cancel"), ("open_orders", "order", "fills", "balances", "find_order")

seeds = st.integers(0, 50)
hours = st.floats(0.01, 6)
faults = st.one_of(
    st.tuples(st.sampled_from(WRITES), st.sampled_from(FAULTS), st.booleans()),
    st.tuples(st.sampled_from(READS), st.just(Unreachable("no answer")), st.just(True)),
    st.tuples(st.sampled_from(WRITES), st.just(Crash()), st.booleans()),
)
moves = st.one_of(
    st.tuples(st.just("buy"), st.sampled_from(["0.5", "2", "7"]), st.sampled_from([3, 10, None])),
    st.tuples(st.just("sell"), st.sampled_from(["0.3", "2", "50"]), st.none()),
    st.tuples(st.just("limit"), st.sampled_from(["1", "4"]), st.sampled_from([1, 4])),
    st.tuples(st.just("patient"), st.sampled_from(["1", "6"]), st.sampled_from([0, 1, 3])),
    st.tuples(st.just("wait"), hours, st.none()),
    st.tuples(st.just("hand"), st.sampled_from(["buy", "sell", "cash", "take"]), st.none()),
    st.tuples(st.just("flat"), st.none(), st.none()),
    st.tuples(st.just("restart"), st.none(), st.none()),
    st.tuples(st.just("break"), faults, st.none()),
    st.tuples(st.just("die"), st.integers(0, 6), st.booleans()),
)


class Storm:
    """A box in bad weather."""

    def __init__(self, seed):
        self.box = Box(market(seed), volume=50.0, journal=Mortal())

    def move(self, kind, what, how):
        box = self.box
        try:
            getattr(self, kind)(what, how)
            box.executor.settle(box.now)
        except ExchangeError:
            pass  # the loop would try again
        except Crash:
            self.restart()

    def price(self):
        return self.box.real.ticker(BTC).last

    def buy(self, quantity, percent):
        price = self.price()
        stop = None if percent is None else str(round(price * (100 - percent) / 100, 1))
        target = None if percent is None else str(round(price * (100 + percent) / 100, 1))
        self.box.clock.sleep_until(self.box.now + timedelta(seconds=1))
        self.box.buy(quantity, stop=stop, target=target)

    def limit(self, quantity, percent):
        price = self.price()
        self.box.clock.sleep_until(self.box.now + timedelta(seconds=1))
        self.box.buy(
            quantity, stop=str(round(price * D("0.8"), 1)),
            limit=str(round(price * (100 - percent) / 100, 1)),
        )  # fmt: skip

    def patient(self, quantity, percent):
        """A purchase that waits as a maker, so far below the market, for up to three hours."""
        price, box = self.price(), self.box
        box.clock.sleep_until(box.now + timedelta(seconds=1))
        limit, stop = (round(price * D(100 - p) / 100, 1) for p in (percent, 20))
        plan = Approval(
            BTC, box.now, Side.BUY, OrderType.LIMIT, D(quantity), price, stop,
            None, limit, D(0), D(0), None, ("test",),
            Patience(box.now + timedelta(hours=3), price * D("1.01"), price * D("1.03")),
        )  # fmt: skip
        box.executor.carry_out(plan, box.now)

    def sell(self, quantity, _):
        if self.box.position is not None:
            self.box.clock.sleep_until(self.box.now + timedelta(seconds=1))
            self.box.sell(quantity)

    def wait(self, count, _):
        self.box.clock.sleep_until(self.box.now + timedelta(hours=count))

    def flat(self, *_):
        self.box.executor.stand_down(self.box.now, "test", flatten=True)

    def hand(self, what, _):
        real, now = self.box.real, self.box.now
        try:
            if what == "cash":
                real.engine.account.deposit("USD", D("123.45"), real.engine.now)
            elif what == "take":
                real.engine.account.deposit("USD", D("-50"), real.engine.now)
            else:
                side = Side.BUY if what == "buy" else Side.SELL
                real.place(OrderRequest("", BTC, side, OrderType.MARKET, D("0.4")), now)
        except OrderRejected:
            pass

    def restart(self, *_):
        box = self.box
        box.journal.dies_in = None
        box.exchange.breaks.clear()
        try:
            box.restart()
        except ExchangeError:
            box.restart()

    def die(self, count, written_first):
        self.box.journal.dies_in, self.box.journal.written_first = count, written_first

    def __getattr__(self, name):
        if name == "break":
            return lambda fault, _: self.box.exchange.breaks.append(fault)
        raise AttributeError(name)

    def calm(self):
        """The weather clears: a fresh start, and time for every doubt to be settled."""
        self.restart()
        for _ in range(4):
            self.box.clock.sleep_until(self.box.now + timedelta(minutes=3))
            self.box.executor.settle(self.box.now)
        self.box.executor.audit(self.box.now)
        self.box.executor.settle(self.box.now)

    def check(self):
        box = self.box
        balances = {a: b.total for a, b in box.real.balances().items() if b.total}
        assert {a: v for a, v in box.portfolio.holdings().items() if v} == balances
        sent = [r.spec.client_id for r in box.real.records() if r.spec.client_id]
        intended = [e.request.order_id for e in box.events(OrderIntended)]
        assert len(set(sent)) == len(sent), "an order was doubled"
        assert set(sent) <= set(intended), "an order was sent that nobody had written down"
        ours = {f.trade_id for f in box.real.fills(box.now - timedelta(days=90)) if f.order_id}
        assert {e.fill.trade_id for e in box.events_of_fills()} == ours, "a fill was lost"
        live = {o.exchange_id for o in box.executor.orders.live()}
        assert live == {o.exchange_id for o in box.real.open_orders() if o.order_id}
        held = box.position
        if held is None:
            assert box.stops() == []
        elif BTC not in box.executor.unprotected:
            rules = box.real.market_rules(BTC)
            assert box.stops() == [(rules.quantity_down(held.quantity), held.stop)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seeds, st.lists(moves, min_size=4, max_size=25))
def test_after_any_storm_nothing_is_lost_doubled_or_unguarded(seed, script):
    storm = Storm(seed)
    for kind, what, how in script:
        storm.move(kind, what, how)
    storm.calm()
    storm.check()


@pytest.mark.parametrize("written_first", [False, True])
@pytest.mark.parametrize("line", range(14))
def test_a_death_at_any_line_of_a_round_trip_is_recovered_from(line, written_first):
    storm = Storm(1)
    storm.die(line, written_first)
    for kind, what, how in [
        ("buy", "2", 10), ("wait", 2.0, None), ("sell", "0.5", None), ("wait", 1.0, None),
        ("sell", "2", None),
    ]:  # fmt: skip
        storm.move(kind, what, how)
    storm.calm()
    storm.check()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("call", WRITES + READS)
@pytest.mark.parametrize("skip", range(3))
def test_a_death_in_any_call_to_the_exchange_is_recovered_from(call, lost, skip):
    storm = Storm(2)
    script = [("buy", "2", 10), ("wait", 2.0, None), ("sell", "0.5", None), ("wait", 1.0, None)]
    for step, (kind, what, how) in enumerate(script):
        if step == skip:
            storm.box.exchange.breaks.append((call, Crash(), lost))
        storm.move(kind, what, how)
    storm.calm()
    storm.check()
