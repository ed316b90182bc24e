"""The loop body on a sandbox exchange: what is decided, when, and what a fault does."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from main import Trader
from market_analyzer import MarketAnalyzer
from risk_manager import RiskLimits, RiskManager
from tests.trading_box import BTC, CALM, ETH, HOUR, START, Box, hours
from trader.domain.candles import Candles
from trader.domain.errors import ExchangeBusy, OrderRejected, RateLimited, Unreachable
from trader.domain.events import (
    EmergencyStopped,
    EquityMarked,
    ForecastMade,
    ForecastScored,
    HealthChanged,
    ModelAdopted,
    ModelDoubted,
    OrderIntended,
    Resumed,
    SignalMade,
    TradeRefused,
    Troubled,
)
from trader.domain.orders import Purpose
from trader.domain.signals import Action, Signal
from trader.learning.forecast import Forecast, Outlook
from trader.simulation.runs import decisions_digest
from trader.storage.held_candles import HeldCandles, WholeHistory
from trader.storage.stop_switch import StopRequest

D = Decimal


class Scripted:
    """Wants what was written down for the hour, else nothing."""

    class strategy:  # noqa: N801 - stands where the registered strategy stands
        learns = False

    def __init__(self, script):
        self.script = script
        self.seen = []
        self.weights = []

    def outlook(self, _snapshot, _now):
        return Outlook()

    def decide(self, snapshot, held_weight, now, _outlook):
        hour = round((now - START).total_seconds() / 3600)
        self.seen.append((snapshot.pair, hour, snapshot.leader))
        self.weights.append(held_weight)
        action = self.script.get((snapshot.pair, hour), Action.HOLD)
        return Signal(snapshot.pair, snapshot.closed_at, action, 0.9, ("scripted",), "script")


class Forecasting(Scripted):
    """Follows a model that is always sure of a rise."""

    class strategy:  # noqa: N801
        learns = True

    def outlook(self, _snapshot, _now):
        forecast = Forecast(1.0, self.said, 0.5, 0.01, np.array([0.01]), np.array([self.said]))
        return Outlook({1.0: forecast}, "m1", main_horizon=1.0)

    def decide(self, snapshot, _held, _now, outlook):
        reasons = (outlook.silence or "the model speaks",)
        return Signal(
            snapshot.pair, snapshot.closed_at, Action.HOLD, 0.5, reasons, "script",
            model_id=outlook.model_id,
        )  # fmt: skip


LIMITS = RiskLimits(max_data_age=D(2), stop_atr_multiple=D(2), max_position_fraction=D("0.25"))
WARM = [(100, 101, 99, 100)] * 24 * 40


class Floor:
    """A box with a trader in it, after forty quiet days."""

    def __init__(self, rows=None, script=None, *, eth=None, limits=LIMITS, warm=WARM):
        more = {} if eth is None else {ETH: hours(warm + eth)}
        self.box = Box(warm + (rows or CALM), more=more)
        histories = {BTC: self.box.real.feed.base(BTC), **more}
        self.ai = Scripted(
            {(pair, hour + len(warm)): action for (pair, hour), action in (script or {}).items()}
        )
        self.stop = None
        self.histories = histories
        self.box.clock.sleep_until(START + timedelta(hours=len(warm)))
        self.trader = self.new_trader(limits)

    def new_trader(self, limits=LIMITS, *, alone=False):
        trader = Trader(
            clock=self.box.clock,
            executor=self.box.new_executor(),
            pairs=sorted(self.histories, reverse=True),
            timeframe=HOUR,
            candles=WholeHistory(self.histories),
            analyzer=MarketAnalyzer(),
            ai=self.ai,
            risk=RiskManager(limits),
            stop_request=lambda: self.stop,
            audits=True,
            alone=alone,
            alarm=self.box.real.alarm,
            debug=True,
        )
        for pair, candles in self.histories.items():
            trader.analyzer.prepare(pair, candles)
        trader.recover()
        self.box.executor = trader.executor
        return trader

    def run(self, count):
        """So many candles, the first one now."""
        reports = []
        for _ in range(count):
            reports.append(self.trader.step())
            self.trader.approach(self.box.now + timedelta(hours=1))
        return reports

    def events(self, kind):
        return self.box.events(kind)


BUY_AT_1 = {(BTC, 1): Action.BUY}


def test_each_closed_candle_is_decided_on_once_however_often_the_loop_looks():
    floor = Floor()
    floor.trader.step()
    floor.box.clock.sleep_until(floor.box.now + timedelta(minutes=5))
    report = floor.trader.step()
    assert len(floor.events(SignalMade)) == 1
    assert (report.pairs[0].note, report.decided) == ("decided already", False)
    assert report.next_close_at == START + timedelta(hours=len(WARM) + 1)


def test_an_approved_signal_becomes_a_guarded_position_in_the_same_step():
    floor = Floor(script=BUY_AT_1)
    floor.run(2)
    assert floor.box.position.quantity > 0
    assert floor.box.stops() == [(floor.box.position.quantity, floor.box.position.stop)]
    floor.box.assert_agrees()


def test_the_leading_market_is_decided_first_and_shown_to_the_others():
    floor = Floor(eth=CALM)
    floor.run(1)
    (first, _, _), (second, _, leader) = floor.ai.seen
    assert (first, second, leader.pair) == (BTC, ETH, BTC)


def test_the_account_is_marked_at_the_close_before_the_decision_on_it():
    floor = Floor(script=BUY_AT_1)
    floor.run(3)
    marks = floor.events(EquityMarked)
    assert [mark.equity for mark in marks[:2]] == [D(10000), D(10000)]
    position = floor.box.position
    assert marks[2].equity == marks[2].cash + position.quantity * 100
    assert [type(e) for _, e in floor.box.journal.events()].count(EquityMarked) == 3


def test_a_weight_already_held_is_told_to_the_strategy():
    floor = Floor(script=BUY_AT_1)
    floor.run(3)
    assert floor.ai.weights[:2] == [0.0, 0.0]
    assert 0 < floor.ai.weights[2] < 0.26


def test_a_fault_in_one_pair_is_journalled_and_the_others_go_on():
    floor = Floor(eth=CALM, script={(BTC, 0): Action.BUY})
    floor.trader.executor.exchange.breaks.append(("ticker", Unreachable("no answer"), True))
    report = floor.trader.step()
    assert [event.category for event in floor.events(Troubled)] == ["unreachable"]
    assert [event.signal.pair for event in floor.events(SignalMade)] == [ETH]
    assert report.troubles == ("BTC/USD: no answer",)


def test_a_pair_that_failed_is_decided_in_the_next_pass():
    floor = Floor(script={(BTC, 0): Action.BUY})
    floor.trader.executor.exchange.breaks.append(("ticker", Unreachable("no answer"), True))
    floor.trader.step()
    floor.trader.step()
    assert len(floor.events(SignalMade)) == 1


def test_nothing_is_decided_while_the_account_cannot_be_brought_up_to_date():
    floor = Floor(script=BUY_AT_1)
    floor.run(2)
    floor.trader.executor.exchange.breaks.append(("open_orders", Unreachable("no answer"), True))
    report = floor.trader.step()
    assert (report.decided, len(floor.events(SignalMade))) == (False, 2)


def test_a_candle_that_closed_long_ago_is_not_acted_on():
    floor = Floor([CALM[0], CALM[0], None, None, *CALM], script={(BTC, 3): Action.BUY})
    reports = floor.run(5)
    assert [report.decided for report in reports] == [True, True, True, False, False]
    assert [event.state for event in floor.events(HealthChanged)] == ["warn"]
    assert floor.events(OrderIntended) == []


class SetBack:
    """A machine whose clock somebody has set back."""

    def __init__(self, clock, by):
        self._clock, self._by = clock, by

    def now(self):
        return self._clock.now() - self._by

    def sleep_until(self, moment):
        self._clock.sleep_until(moment + self._by)


def test_after_a_long_sleep_only_the_newest_candle_is_decided_on():
    floor = Floor([(100, 101, 99, 100)] * 20, script={(BTC, 3): Action.BUY})
    floor.run(2)
    floor.box.clock.sleep_until(floor.box.clock.now() + timedelta(hours=9))
    report = floor.trader.step()
    assert (report.decided, len(floor.events(SignalMade))) == (True, 3)
    assert floor.events(OrderIntended) == []


def test_a_clock_that_is_set_back_brings_no_old_candle_back():
    floor = Floor([(100, 101, 99, 100)] * 20)
    floor.run(3)
    decided = len(floor.events(SignalMade))
    floor.trader.clock = SetBack(floor.box.clock, timedelta(hours=2))
    report = floor.trader.step()
    assert (report.decided, report.troubles) == (False, ())
    assert len(floor.events(SignalMade)) == decided


def test_a_candle_that_shows_up_a_moment_late_warns_nobody():
    floor = Floor([CALM[0], None, *CALM])
    floor.run(2)
    floor.trader.step()
    assert floor.events(HealthChanged) == []


def test_a_target_touched_inside_a_candle_is_sold_there_and_the_stop_is_gone():
    rows = [(100, 101, 99, 100)] * 2 + [(100, 160, 99, 100)] + CALM
    limits = RiskLimits(risk_reward=D(2), stop_atr_multiple=D(2))
    floor = Floor(rows, script=BUY_AT_1, limits=limits)
    floor.run(2)
    target = floor.box.position.take_profit
    assert target < 160
    floor.run(1)
    (trade,) = floor.box.portfolio.trades
    assert trade.exit_purpose is Purpose.TARGET
    assert abs(trade.exit_price - target) <= D("0.1")
    assert floor.box.real.open_orders() == ()
    floor.box.assert_agrees()


def test_in_one_candle_that_touches_stop_and_target_the_stop_came_first():
    rows = [(100, 101, 99, 100)] * 2 + [(100, 160, 50, 100)] + CALM
    limits = RiskLimits(risk_reward=D(2), stop_atr_multiple=D(2))
    floor = Floor(rows, script=BUY_AT_1, limits=limits)
    floor.run(4)
    assert [t.exit_purpose for t in floor.box.portfolio.trades] == [Purpose.STOP]


def test_where_nothing_can_have_happened_the_account_is_not_settled_and_the_trading_is_the_same():
    rows = [(100, 101, 99, 100)] * 40 + [(100, 100, 50, 60)] + CALM
    settled, journals = [], []
    for alone in (False, True):
        wishes = {2: Action.BUY, 4: Action.SELL, 10: Action.BUY}
        floor = Floor(rows, script={(BTC, hour): action for hour, action in wishes.items()})
        floor.trader = floor.new_trader(alone=alone)
        count, real = [], floor.trader.executor.settle
        floor.trader.executor.settle = lambda now, real=real, count=count: (
            count.append(now), real(now)
        )  # fmt: skip
        floor.run(44)
        assert [t.exit_purpose for t in floor.box.portfolio.trades] == [Purpose.EXIT, Purpose.STOP]
        settled.append(len(count))
        journals.append(decisions_digest([event for _, event in floor.box.journal.events()]))
    assert journals[0] == journals[1]
    assert settled[1] < settled[0] - 25


def test_a_stopped_trader_buys_nothing_and_says_why():
    floor = Floor(script={(BTC, 0): Action.BUY})
    floor.stop = StopRequest("enough", False, "test", "")
    floor.run(2)
    assert [e.reason for e in floor.events(EmergencyStopped)] == ["enough"]
    assert [e.refusal.rule for e in floor.events(TradeRefused)] == ["emergency-stop"]
    assert floor.box.position is None


def test_a_stop_that_is_lifted_in_the_middle_of_a_step_holds_to_its_end():
    floor = Floor(script=BUY_AT_1)
    floor.stop = StopRequest("enough", False, "test", "")
    floor.run(1)
    decide = floor.ai.decide

    def lifted(*words):
        floor.stop = None
        return decide(*words)

    floor.ai.decide = lifted
    floor.run(1)
    assert [e.refusal.rule for e in floor.events(TradeRefused)] == ["emergency-stop"]
    assert not floor.events(Resumed)
    floor.run(1)
    assert floor.events(Resumed)


def test_a_stop_with_flatten_sells_within_one_pass_and_a_lifted_one_lets_trade_again():
    floor = Floor(script={**BUY_AT_1, (BTC, 5): Action.BUY})
    floor.run(3)
    floor.stop = StopRequest("enough", True, "test", "")
    floor.trader.settle()
    assert (floor.box.position, floor.box.real.open_orders()) == (None, ())
    assert floor.trader.stop_done
    floor.stop = None
    floor.run(3)
    assert len(floor.events(Resumed)) == 1
    assert floor.box.position.quantity > 0


def test_a_restarted_trader_does_not_decide_the_same_candle_again():
    floor = Floor(script={(BTC, 0): Action.BUY})
    floor.trader.step()
    before = len(floor.events(SignalMade))
    report = floor.new_trader().step()
    assert (len(floor.events(SignalMade)), report.decided) == (before, False)
    floor.box.assert_agrees()


def test_twice_the_same_run_gives_the_same_journal_to_the_byte():
    rows = [(100, 101, 99, 100), (100, 109, 98, 108), (108, 110, 70, 72), *CALM]
    digests = []
    for _ in range(2):
        floor = Floor(rows, script={**BUY_AT_1, (BTC, 6): Action.BUY, (BTC, 9): Action.SELL})
        floor.run(12)
        digests.append(floor.box.journal.digest())
    assert digests[0] == digests[1]


def test_an_unforeseen_error_is_journalled_and_raised_only_when_debugging():
    floor = Floor()

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("surprise")

    floor.ai.decide = broken
    with pytest.raises(ZeroDivisionError):
        floor.trader.step()
    floor.trader.debug = False
    floor.trader.step()
    assert [event.category for event in floor.events(Troubled)] == ["internal"]


def test_a_learning_strategy_without_a_model_says_so_once():
    floor = Floor()
    floor.ai.strategy = type("learning", (), {"learns": True})
    floor.run(3)
    assert [e.reason for e in floor.events(ModelAdopted)] == ["no model: plain trend rule"]


# -- held candles ---------------------------------------------------------------------------


def test_held_candles_continue_the_store_with_the_exchanges_newest():
    box = Box(CALM)

    class Store:
        def load(self, pair, timeframe, start=None, end=None):
            return hours(CALM[:10])

    box.clock.sleep_until(START + timedelta(hours=20))
    held = HeldCandles(box.exchange, Store(), HOUR).candles(BTC, box.now)
    assert (len(held), held.closed_at) == (20, box.now)


def test_held_candles_ask_the_exchange_only_when_a_candle_has_closed_since():
    box = Box(CALM)
    source = HeldCandles(box.exchange, None, HOUR)
    box.exchange.calls.clear()
    for minutes in (0, 20, 20, 20):
        box.clock.sleep_until(box.now + timedelta(minutes=minutes))
        source.candles(BTC, box.now)
    assert box.exchange.calls == ["candles", "candles"]


def test_held_candles_never_show_what_closes_later():
    box = Box(CALM)
    whole: Candles = hours(CALM)
    assert len(WholeHistory({BTC: whole}).candles(BTC, box.now)) == 1


def test_what_lies_before_a_long_hole_is_forgotten():
    rows = [CALM[0]] * 5 + [None] * 100 + [CALM[0]] * 5
    box = Box(rows)
    box.clock.sleep_until(START + timedelta(hours=110))
    assert len(HeldCandles(box.exchange, None, HOUR).candles(BTC, box.now)) == 5


def test_a_death_between_two_pairs_leaves_the_second_to_be_decided_after_the_start():
    script = {(BTC, 0): Action.BUY, (ETH, 0): Action.BUY}
    floor = Floor(script=script, eth=CALM)
    floor.run(1)
    assert set(floor.trader.portfolio.positions) == {BTC, ETH}

    class Death(BaseException):
        pass

    def dies(snapshot, held_weight, now, outlook):
        if snapshot.pair == ETH:
            raise Death
        return Scripted.decide(floor.ai, snapshot, held_weight, now, outlook)

    floor.ai.decide = dies
    with pytest.raises(Death):
        floor.trader.step()
    del floor.ai.decide
    report = floor.new_trader().step()
    assert [(r.pair, r.signal is None, r.note) for r in report.pairs] == [
        (BTC, True, "decided already"), (ETH, False, ""),
    ]  # fmt: skip
    assert report.troubles == ()


def forecasting(rows, said=0.9):
    floor = Floor(rows)
    floor.trader.ai = Forecasting({})
    floor.trader.ai.said = said
    return floor


FALLING = [(100 - i / 10, 100 - i / 10, 99 - i / 10, 99.9 - i / 10) for i in range(40)]


def test_forecasts_and_what_came_of_them_are_in_the_journal():
    floor = forecasting(FALLING)
    floor.run(3)
    assert [e.chances[0].probability for e in floor.events(ForecastMade)] == [0.9] * 3
    scored = [o for e in floor.events(ForecastScored) for o in e.outcomes]
    assert [o.closed_at for o in scored] == [e.closed_at for e in floor.events(ForecastMade)][:2]
    assert scored[1].gained == pytest.approx(float(FALLING[1][3] / FALLING[1][0] - 1))


def test_a_model_that_is_wrong_too_often_is_silenced_and_it_is_told():
    floor = forecasting(FALLING)
    floor.run(30)
    (doubted,) = floor.events(ModelDoubted)
    assert "less often than was said" in doubted.reason
    reasons = [e.signal.reasons[0] for e in floor.events(SignalMade)]
    assert reasons[0] == "the model speaks"
    assert reasons[-1].startswith("model m1 is doubted since")
    assert len(floor.events(ForecastMade)) == 30


def test_the_doubt_outlives_a_restart_and_is_not_told_twice():
    floor = forecasting(FALLING)
    floor.run(30)
    floor.trader = floor.new_trader()
    floor.trader.ai = Forecasting({})
    floor.trader.ai.said = 0.9
    floor.run(2)
    assert len(floor.events(ModelDoubted)) == 1
    assert "doubted" in floor.events(SignalMade)[-1].signal.reasons[0]


# -- purchases that wait ---------------------------------------------------------------------

PATIENT = replace(LIMITS, entry_patience_minutes=150)


def waiting(monkeypatch, limits, **options):
    """A floor whose purchases wait at 95, where a market around 100 does not come."""

    def at_95(self, plan, context):
        found = usual(self, plan, context)
        if found.patience is None or found.pair != BTC:
            return found
        patience = replace(found.patience, follow_to=Decimal(95))
        return replace(found, limit_price=Decimal(95), patience=patience)

    usual = RiskManager._patient
    monkeypatch.setattr(RiskManager, "_patient", at_95)
    return Floor(limits=limits, **options)


def test_a_purchase_that_waits_is_given_up_when_a_limit_forbids_it_since(monkeypatch):
    crash = [*CALM[:2], (50, 51, 49, 50), *[(50, 51, 49, 50)] * 45]
    script = {(BTC, hour): Action.BUY for hour in range(1, 8)}
    limits = replace(PATIENT, max_drawdown=Decimal("0.09"))
    floor = waiting(monkeypatch, limits, script=script, eth=crash)
    floor.box.buy("20", stop="96", pair=ETH)
    floor.run(2)
    assert floor.trader.executor.waits(BTC)
    floor.run(2)
    assert not floor.trader.executor.waits(BTC)
    assert floor.box.position is None
    refused = [e.refusal.rule for e in floor.events(TradeRefused) if e.refusal.pair == BTC]
    assert refused[:2] == ["entry-given-up", "drawdown"]


def test_a_purchase_between_two_of_its_orders_still_takes_its_place(monkeypatch):
    both = {(BTC, 1): Action.BUY, (ETH, 1): Action.BUY}
    limits = replace(PATIENT, max_open_positions=1, max_correlated_exposure=Decimal(1))
    floor = Floor(script=both, eth=CALM, limits=limits)
    floor.run(1)
    floor.box.exchange.breaks.append(("place", OrderRejected("EOrder:Post only order"), True))
    (report,) = floor.run(1)
    verdicts = {r.pair: r.verdict for r in report.pairs}
    assert verdicts[ETH].rule == "max-open-positions"


def test_a_sale_that_was_decided_is_made_although_cancelling_an_older_purchase_failed():
    floor = Floor(script={(BTC, 1): Action.SELL})
    floor.trader.debug = False
    floor.box.buy("2", stop="96")
    floor.box.buy("1", limit="50")
    floor.run(1)
    floor.box.exchange.breaks.append(("cancel", RateLimited("slowly", "", 5.0), True))
    floor.run(2)
    assert floor.box.position is None


def test_a_stop_that_is_lifted_leaves_what_it_has_not_sold():
    floor = Floor(script=BUY_AT_1)
    floor.run(2)
    held = floor.box.position.quantity
    floor.stop = StopRequest("drill", flatten=True, who="test", at="")
    floor.box.exchange.breaks.append(("place", ExchangeBusy("maintenance"), True))
    floor.trader.settle()
    floor.stop = None
    floor.trader.settle()
    floor.run(1)
    assert floor.box.position.quantity == held
    assert len(floor.box.stops()) == 1
