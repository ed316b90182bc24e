"""The loop body of the trader, and the one place where its parts are put together.

`Trader.step` is one pass over all pairs. Backtest, paper and live run the same step; they differ
in the exchange, the clock and the journal they are given.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ai_trader import AITrader
from config import Config
from market_analyzer import MarketAnalyzer
from monitor import EventSink, Monitor, Vitals
from paper import paper
from risk_manager import ManualOrder, MarketView, RiskLimits, RiskManager
from trader.alerts import AlertDesk, AlertOutbox, AppriseChannel, QuietHours, mail_url
from trader.clocks import SystemClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import (
    ExchangeError,
    HistoryError,
    JournalError,
    RuleError,
    TraderError,
    UsageError,
)
from trader.domain.events import (
    DustLeft,
    EmergencyStopped,
    EquityMarked,
    Event,
    ForecastMade,
    ForecastScored,
    HealthChanged,
    ModelAdopted,
    ModelDoubted,
    ModelTrusted,
    Reconciled,
    Resumed,
    SignalMade,
    Troubled,
)
from trader.domain.markets import OrderBook, Pair, PublicTrade, to_decimal
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import Purpose, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal, Snapshot
from trader.learning.drift import DriftReference
from trader.learning.features import feature_names
from trader.learning.forecast import Outlook
from trader.learning.tracking import Tracker
from trader.learning.trend import trend_in, volatility_of
from trader.ports import AlertChannel, Clock, Exchange, ModelSource
from trader.risk.correlation import DAYS, correlations
from trader.risk.limits import PENDING
from trader.risk.stops import daily_atr, daily_atr_of
from trader.simulation.costs import table_rates
from trader.storage.account_lock import AccountLock
from trader.storage.day_log import DayLog, redactor
from trader.storage.held_candles import CandleSource, HeldCandles, WholeHistory
from trader.storage.journal import SqliteJournal
from trader.storage.model_store import ModelStore
from trader.storage.reserve import Reserve
from trader.storage.state_file import forget_replays, state_file
from trader.storage.stop_switch import StopRequest, StopSwitch
from trader.strategies.registry import StrategySettings
from trading_executor import TradingExecutor
from venues import Venue, Wishes, live, server_time_of

ZERO = Decimal(0)
LEADER = "BTC"
GRACE = timedelta(seconds=60)
"""So long after its close a candle may be missing before anybody is warned."""
TRADES_HELD = 1000
"""Closed trades the running loop has in memory; reports read them all from the journal."""

Alarm = Callable[[datetime, datetime, Mapping[Pair, Decimal]], datetime | None]
"""(now, until, prices looked for) → the first moment in between at which something happens."""


@dataclass(frozen=True, slots=True)
class PairReport:
    """What one step did about one pair; without a signal, `note` says why nothing was decided."""

    pair: Pair
    closed_at: datetime | None = None
    price: float | None = None
    signal: Signal | None = None
    verdict: Approval | Refusal | None = None
    order: TrackedOrder | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did."""

    at: datetime
    pairs: tuple[PairReport, ...]
    next_close_at: datetime
    troubles: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether a candle was decided on."""
        return any(report.signal is not None for report in self.pairs)


@dataclass(slots=True)
class _Past:
    """What the journal says of earlier sessions."""

    decided: dict[Pair, datetime] = field(default_factory=dict)
    models: dict[Pair, str] = field(default_factory=dict)
    health: dict[str, str] = field(default_factory=dict)
    stopped: bool = False

    def take(self, event: Event) -> None:
        match event:
            case SignalMade(signal=signal):
                self.decided[signal.pair] = signal.closed_at
            case ModelAdopted(pair=pair, model_id=model_id):
                self.models[pair] = model_id
            case HealthChanged(check=check, state=state):
                self.health[check] = state
            case EmergencyStopped():
                self.stopped = True
            case Resumed():
                self.stopped = False


class Trader:
    """One pass over all pairs, again and again.

    Args:
        pairs: what is traded, all priced in one currency.
        candles: hands out what was known at a moment.
        monitor: told after every step; None where nobody watches.
        stop_request: asked in every step; a request stops all buying and, if it says so, sells.
        slippage: fraction of the price a market order is expected to lose.
        leader: a market whose state the strategies want to know; traded only if among `pairs`.
        live_view: whether order book and public trades are read for each decision.
        outside: sentiment from outside sources at a moment; never waits.
        recalled: the sentiment of a pair on record, as it was known at a moment.
        audits: whether balances are compared with the exchange's at each new candle.
        alone: nobody else can move the account, so only fills give a reason to compare.
        alarm: tells when something will happen between two candles, where time can jump.
        journals_forecasts: whether forecasts and their outcomes go into the journal; a run over
            history in memory watches them all the same.
        debug: raise unforeseen errors instead of journalling them.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        executor: TradingExecutor,
        pairs: Iterable[Pair],
        timeframe: Timeframe,
        candles: CandleSource,
        analyzer: MarketAnalyzer,
        ai: AITrader,
        risk: RiskManager,
        monitor: Monitor | None = None,
        stop_request: Callable[[], StopRequest | None] = lambda: None,
        slippage: Decimal = ZERO,
        leader: Pair | None = None,
        live_view: bool = False,
        outside: Callable[[datetime], Mapping[str, float | None]] = lambda _: {},
        recalled: Callable[[Pair, datetime], Mapping[str, float | None]] = lambda _, __: {},
        audits: bool = False,
        alone: bool = False,
        alarm: Alarm | None = None,
        journals_forecasts: bool = True,
        debug: bool = False,
    ) -> None:
        self.clock = clock
        self.executor = executor
        self.timeframe = timeframe
        self.candles = candles
        self.analyzer = analyzer
        self.ai = ai
        self.risk = risk
        self.monitor = monitor
        self.stop_request = stop_request
        self.slippage = slippage
        self.live_view = live_view
        self.outside = outside
        self.recalled = recalled
        self.remember: Callable[[Pair, datetime, Mapping[str, float | None]], object] | None = None
        self.audits = audits
        self.alone = alone
        self._audited_fills = -1
        self._still_at: datetime | None = None
        self.alarm = alarm
        self.debug = debug
        self.journals_forecasts = journals_forecasts
        self.tracker = Tracker()
        self._features_seen: date | None = None
        self.pairs = tuple(sorted(pairs, key=lambda pair: pair.base != LEADER))
        self.leader = leader if leader is not None else self._leader_among(self.pairs)
        self.prices: dict[Pair, Decimal] = {}
        self._candles: dict[Pair, Candles] = {}
        self.outlook: dict[str, Any] = {}
        self.stopped: StopRequest | None = None
        self.stop_done = False
        self._past = _Past()
        self._leader_snapshot: Snapshot | None = None
        self._troubles: list[str] = []
        self._books: dict[Pair, OrderBook] = {}

    @property
    def exchange(self) -> Exchange:
        """Where orders go."""
        return self.executor.exchange

    @property
    def portfolio(self) -> Portfolio:
        """What is held."""
        return self.executor.portfolio

    # -- start -----------------------------------------------------------------------------

    def recover(self) -> Reconciled:
        """The one way to start: replay the journal, ask the exchange, note every difference.

        Raises:
            ExchangeError: if the exchange cannot be asked; nothing may be decided then.
        """

        def watch(event: Event) -> None:
            self._past.take(event)
            self.tracker.apply(event)

        self.executor.restore(watch=watch)
        return self.executor.reconcile(self.clock.now())

    # -- the loop body ---------------------------------------------------------------------

    def step(self) -> StepReport:
        """Settle, look at the stop switch, decide on each newly closed candle, report.

        A fault in one pair is journalled and the others go on. When the account itself cannot be
        brought up to date, nothing is decided.

        Raises:
            JournalError: if the journal cannot be written; nothing can be done without it.
        """
        now = self.clock.now()
        self._troubles = []
        reports: tuple[PairReport, ...] = ()
        if self.settle():
            found = self._look_at_all(now)
            ready = {pair: c for pair, c in found.items() if isinstance(c, Candles)}
            self._mark(ready, now)
            for pair, candles in ready.items():
                found[pair] = self._decide_safely(pair, candles, now)
            reports = tuple(r for p in self.pairs if isinstance(r := found[p], PairReport))
        next_close = self.timeframe.last_closed_at(now) + self.timeframe.delta
        report = StepReport(now, reports, next_close, tuple(self._troubles))
        if self.monitor is not None:
            sound = {"sound": not self._troubles}
            self.monitor.observe(now, {**self._outlook(next_close), **sound})
        return report

    def mark(self) -> None:
        """Settle and journal what the account is worth, without deciding: the end of a run."""
        now = self.clock.now()
        self._troubles = []
        if self.settle():
            found = self._look_at_all(now)
            self._mark({p: c for p, c in found.items() if isinstance(c, Candles)}, now)

    def settle(self) -> bool:
        """Bring orders, fills and stops up to date and obey the stop switch; False on a fault."""
        now = self.clock.now()
        still, self._still_at = self._still_at == now, None
        done = still or self._attempt("settling", lambda: self.executor.settle(now))
        return self._attempt("stopping", lambda: self._obey_stop(now)) and done

    def approach(self, moment: datetime) -> None:
        """Let time pass up to the moment, waking for what happens in between.

        For clocks that jump: a target that is reached inside a candle, or an entry that fills
        there, is acted on at that moment, as the live loop would.
        """
        while True:
            now = self.clock.now()
            wake = self._next_wake(now, moment)
            if wake is None:
                break
            self.clock.sleep_until(wake)
            self.settle()
        self.clock.sleep_until(moment)

    def _next_wake(self, now: datetime, until: datetime) -> datetime | None:
        """When to look before a moment; notes where nothing at all can have happened by then."""
        look = self.executor.next_look(now)
        moments = [look]
        if self.alarm is not None:
            live, targets = self.executor.orders.live(), self.executor.watched_targets()
            waiting = any(order.request.side is Side.BUY for order in live)
            rests = self.alone and look is None and self.executor.rests
            asked = targets or waiting or (rests and live)
            news = self.alarm(now, until, targets) if asked else None
            self._still_at = until if rests and news is None else None
            if targets or waiting:
                moments.append(news)
        ahead = [m for m in moments if m is not None and now < m < until]
        return min(ahead) if ahead else None

    def beat(self) -> None:
        """Tell the monitor that the loop is alive, between two steps."""
        if self.monitor is not None:
            now = self.clock.now()
            due = self.timeframe.last_closed_at(now) + self.timeframe.delta
            self.monitor.observe(now, self._outlook(due))

    def stop_changed(self) -> bool:
        """Whether the stop switch stands otherwise than when it was last obeyed."""
        request = self.stop_request()
        return request != self.stopped or (request is not None and not self.stop_done)

    # -- emergency stop --------------------------------------------------------------------

    def _obey_stop(self, now: datetime) -> None:
        request = self.stop_request()
        if request is None:
            if self._past.stopped:
                self.executor.call_off_flattening()
                self.executor.record(Resumed(now, "the stop was lifted"))
                self._past.stopped = False
            self.stopped = None
            self.stop_done = False
            return
        stronger = self.stopped is not None and request.flatten and not self.stopped.flatten
        if not self._past.stopped or stronger:
            self.executor.record(
                EmergencyStopped(now, request.reason, request.flatten, request.who)
            )
            self._past.stopped = True
        self.stopped = request
        done = self.executor.stand_down(now, request.reason, flatten=request.flatten)
        self.stop_done = done

    # -- one pair --------------------------------------------------------------------------

    def _watched(self) -> tuple[Pair, ...]:
        """The leader first, what is traded, and what is held besides: its price is needed."""
        leader = () if self.leader is None else (self.leader,)
        return tuple(dict.fromkeys((*leader, *self.pairs, *self.portfolio.positions)))

    def _look_at_all(self, now: datetime) -> dict[Pair, Candles | PairReport]:
        watched = self._watched()
        self.candles.fetch(watched, now)
        return {pair: self._look(pair, now) for pair in watched}

    def _look(self, pair: Pair, now: datetime) -> Candles | PairReport:
        """The candles to decide on, or why there is nothing to decide."""
        found: list[Candles] = []
        if not self._attempt(str(pair), lambda: found.append(self.candles.candles(pair, now))):
            return PairReport(pair, note=self._troubles[-1])
        candles = found[0]
        if not len(candles):
            return PairReport(pair, note="no candles yet")
        closed_at = candles.closed_at
        if now - closed_at >= self.timeframe.delta:
            # Just after a close the exchange may need a moment to show the candle.
            late = int((now - closed_at - GRACE) / self.timeframe.delta)
            if not late:
                return PairReport(pair, closed_at, note="the newest candle is not there yet")
            self._health(now, f"candles {pair}", "warn", f"the newest is {late} candles old")
            return PairReport(pair, closed_at, note=f"no candle since {closed_at:%H:%M} UTC")
        self._health(now, f"candles {pair}", "ok", "up to date")
        # Also where nothing is decided: the other pairs are weighed against all that is held.
        self.prices[pair] = to_decimal(float(candles.close[-1]))
        self._candles[pair] = candles
        decided = self._past.decided.get(pair)
        # Not only the same one: a clock that was set back must not bring old candles back.
        if decided is not None and closed_at <= decided:
            return PairReport(pair, closed_at, note="decided already")
        return candles

    def _mark(self, fresh: Mapping[Pair, Candles], now: datetime) -> None:
        """Journal what the account is worth at the closes that are decided on next.

        Before the decisions, so that the limits on loss see this very candle.
        """
        if not fresh:
            return
        self._audit(now)
        self._attempt("telling dust", lambda: self._tell_dust(now))
        if any(pair not in self.prices for pair in self.portfolio.positions):
            return
        equity = self.portfolio.equity(self.prices)
        prices = tuple(sorted(self.prices.items()))
        self.executor.record(EquityMarked(now, equity, self.portfolio.cash, prices))
        change = self.risk.change(self.portfolio, now)
        if change is not None:
            self.executor.record(change)

    def _tell_dust(self, now: datetime) -> None:
        """Journal of which positions too little is left to be sold: they are none any more."""
        for pair in self.portfolio.open_pairs:
            position, price = self.portfolio.positions[pair], self.prices.get(pair)
            if price is None or self.executor.orders.live(pair):
                continue
            rules = self.exchange.market_rules(pair)
            if rules.is_dust(position.quantity, price):
                reason = (
                    f"the exchange takes no less than {rules.order_minimum:f} {pair.base} and "
                    f"{rules.cost_minimum:f} {pair.quote}"
                )
                self.executor.record(DustLeft(now, pair, position.quantity, reason))

    def _audit(self, now: datetime) -> None:
        fills = self.executor.orders.fill_count
        if self.audits and not (self.alone and fills == self._audited_fills):
            self._attempt("comparing balances", lambda: self.executor.audit(now))
            self._audited_fills = fills

    def _decide_safely(self, pair: Pair, candles: Candles, now: datetime) -> PairReport:
        reports: list[PairReport] = []
        done = self._attempt(str(pair), lambda: reports.append(self._decide(pair, candles, now)))
        return reports[0] if done else PairReport(pair, note=self._troubles[-1])

    def _decide(self, pair: Pair, candles: Candles, now: datetime) -> PairReport:
        """From candles to an order. All reading comes before the first line in the journal."""
        snapshot = self._analyze(pair, candles)
        if pair not in self.pairs:
            return PairReport(pair, snapshot.closed_at, snapshot.price)
        outlook = Outlook()
        if self.ai.strategy.learns:
            outlook = self._consult(pair, candles, snapshot, now)
        signal = self.ai.decide(snapshot, self._weight(pair), now, outlook)
        market = None
        if signal.action is not Action.HOLD or self._ends_positions(pair):
            market = self.market_view(pair, candles, now, snapshot, signal.model_id)
        self._note_model(pair, signal, now)
        self._note_forecast(snapshot, outlook, signal, now)
        self.executor.record(SignalMade(now, signal, snapshot.price, snapshot.digest))
        self._past.decided[pair] = signal.closed_at
        if not (signal.action is Action.BUY and self.executor.waits(pair)):
            self._expire_entries(pair, signal.closed_at, now)
        verdict = None
        if market is not None:
            self._tend_position(candles, market, now)
            verdict = self.risk.review(signal, self.portfolio, market, now)
        if isinstance(verdict, Refusal) and verdict.rule != PENDING:
            # What has been forbidden since must not be bought by a purchase that still waits.
            self._expire_entries(pair, signal.closed_at, now)
        order = self.executor.carry_out(verdict, now)
        return PairReport(pair, signal.closed_at, snapshot.price, signal, verdict, order)

    def _expire_entries(self, pair: Pair, closed_at: datetime, now: datetime) -> None:
        """Cancel older purchases of the pair; a cancel that fails must not cost the decision."""
        what = f"{pair}, cancelling an older purchase"
        self._attempt(what, lambda: self.executor.expire_entries(pair, closed_at, now))

    def _ends_positions(self, pair: Pair) -> bool:
        """Whether the pair is held and its stop follows the price or its time may be up."""
        limits = self.risk.limits
        moves = limits.trailing_atr_multiple > 0 or limits.max_holding_days > 0
        return moves and self.portfolio.open_position(pair) is not None

    def _tend_position(self, candles: Candles, market: MarketView, now: datetime) -> None:
        """Raise the stop of what is held of the pair, or sell it when its time is up."""
        pair = market.pair
        position = self.portfolio.open_position(pair)
        if position is None:
            return
        if self.risk.held_too_long(position, now):
            days = self.risk.limits.max_holding_days
            self.executor.close(pair, candles.closed_at, f"held for {days} days", now)
            return
        if self.risk.limits.trailing_atr_multiple <= 0:
            return
        since = candles.closed_at_seconds() >= int(position.opened_at.timestamp())
        highest = float(candles.close[since].max(initial=0.0))
        stop = self.risk.stop_of(position, market, to_decimal(highest))
        if stop is not None:
            self.executor.move_stop(pair, stop, f"follows the highest close {highest:g}", now)

    def _analyze(self, pair: Pair, candles: Candles) -> Snapshot:
        book: OrderBook | None = None
        trades: tuple[PublicTrade, ...] = ()
        if self.live_view:
            book = self._books[pair] = self.exchange.order_book(pair)
            trades = self.exchange.recent_trades(pair)
        leader = self._leader_snapshot if pair != self.leader else None
        if leader is not None and leader.closed_at != candles.closed_at:
            leader = None
        known = dict.fromkeys((*self.pairs, *(() if self.leader is None else (self.leader,))))
        markets = {other: self._candles[other] for other in known if other in self._candles}
        snapshot = self.analyzer.analyze(
            pair, candles, book=book, trades=trades, leader=leader, markets=markets,
            outside=self._beside(pair),
        )  # fmt: skip
        if self.remember is not None and self.live_view:
            self.remember(pair, self.clock.now(), snapshot.sentiment)
        if pair == self.leader:
            self._leader_snapshot = snapshot
        return snapshot

    def _beside(self, pair: Pair) -> dict[str, float | None]:
        """Sentiment on record and of now; what is known wins over what is not."""
        now = self.clock.now()
        recalled = dict(self.recalled(pair, now))
        fresh = self.outside(now)
        return {
            **recalled,
            **{n: v for n, v in fresh.items() if v is not None or n not in recalled},
        }

    def market_view(
        self,
        pair: Pair,
        candles: Candles,
        now: datetime,
        snapshot: Snapshot | None = None,
        model_id: str = "",
    ) -> MarketView:
        """Everything the risk rules want to know of the pair's market now.

        Args:
            pair: the market.
            candles: what is known of it.
            now: the present moment.
            snapshot: the analysis of these candles, where there is one already.
            model_id: the model that spoke, if one did.

        Raises:
            ExchangeError: if the exchange does not answer.
        """
        ticker = self.exchange.ticker(pair)
        atr = daily_atr(candles) if snapshot is None else daily_atr_of(snapshot)
        # A stop that was lifted a moment ago holds until that stands in the journal.
        stop = self.stop_request() or self.stopped
        doubt = self.tracker.doubt_of(model_id)
        return MarketView(
            pair=pair,
            rules=self.exchange.market_rules(pair),
            fees=self.exchange.fee_rates(pair),
            price=ticker.last,
            bid=ticker.bid,
            ask=ticker.ask,
            data_closed_at=candles.closed_at,
            daily_atr=None if atr is None else to_decimal(atr),
            slippage=self.slippage,
            timeframe=self.timeframe,
            prices={**self.prices, pair: ticker.last},
            pending=self._pending(),
            volatility=_volatility(candles, snapshot),
            correlations=self._correlations(pair, candles),
            ask_depth=_ask_depth(self._books.get(pair)),
            model_trouble="" if doubt is None else doubt.reason,
            emergency="" if stop is None else stop.reason or "emergency stop",
        )

    def _correlations(self, pair: Pair, candles: Candles) -> dict[Pair, float]:
        """How closely the pair moves with each other pair that is held."""
        others = {p: c for p, c in self._candles.items() if p in self.portfolio.positions}
        if not others.keys() - {pair}:
            return {}
        newest = math.ceil((DAYS + 2) * 86400 / self.timeframe.seconds)
        seen = {p: c[-newest:] for p, c in {**others, pair: candles}.items()}
        return correlations(seen, pair)

    def _pending(self) -> dict[Pair, Decimal]:
        bound: dict[Pair, Decimal] = {}
        for order in self.executor.orders.live():
            if order.request.side is Side.BUY:
                price = order.request.price or self.prices.get(order.pair, ZERO)
                bound[order.pair] = bound.get(order.pair, ZERO) + order.remaining * price
        for pair, cost in self.executor.waiting_cost().items():
            bound.setdefault(pair, cost)  # between two orders of one purchase
        return bound

    def _weight(self, pair: Pair) -> float:
        position = self.portfolio.open_position(pair)
        if position is None:
            return 0.0
        priced = self.portfolio.positions.keys() <= self.prices.keys()
        equity = self.portfolio.equity(self.prices) if priced else self.portfolio.last_equity
        return float(position.quantity * self.prices[pair] / equity) if equity > 0 else 0.0

    def _note_model(self, pair: Pair, signal: Signal, now: datetime) -> None:
        if not self.ai.strategy.learns or self._past.models.get(pair) == signal.model_id:
            return
        reason = "a newer model is in use" if signal.model_id else "no model: plain trend rule"
        self.executor.record(ModelAdopted(now, pair, signal.model_id, reason))
        self._past.models[pair] = signal.model_id

    # -- the live record of the models -----------------------------------------------------

    def _consult(self, pair: Pair, candles: Candles, snapshot: Snapshot, now: datetime) -> Outlook:
        """What the model says, once its earlier forecasts were held against what came of them."""
        scored = self.tracker.due(pair, candles, now)
        if scored is not None:
            self._track(scored)
        for event in self.tracker.news(now):
            self._track(event)
        return self.tracker.tempered(self.ai.outlook(snapshot, now))

    def _note_forecast(
        self, snapshot: Snapshot, outlook: Outlook, signal: Signal, now: datetime
    ) -> None:
        """Journal what the model says of the candle; the features behind it where they matter."""
        if not outlook.chances:
            return
        asked = self.live_view or signal.action is not Action.HOLD
        self._track(
            ForecastMade(
                now, snapshot.pair, snapshot.closed_at, outlook.model_id, outlook.chances,
                outlook.buckets() if self.live_view else "", outlook.strange,
                outlook.account_for_main() if asked and self.journals_forecasts else None,
            )
        )  # fmt: skip
        if self.live_view and outlook.reference is not None:
            self._watch_features(outlook.reference, now)

    def _watch_features(self, reference: DriftReference, now: datetime) -> None:
        """Once a day: are this month's features further off than any of the training's months?"""
        if self._features_seen == now.date():
            return
        self._features_seen = now.date()
        drift = self.tracker.feature_drift(reference, feature_names())
        if drift is not None:
            self._health(now, "features", "warn" if drift.unusual else "ok", drift.in_words())

    def _track(self, event: ForecastMade | ForecastScored | ModelDoubted | ModelTrusted) -> None:
        if self.journals_forecasts:
            self.executor.record(event)
        self.tracker.apply(event)

    # -- orders by hand --------------------------------------------------------------------

    def plan_manual(self, pair: Pair, wanted: ManualOrder) -> Approval | Refusal:
        """What a person's order would be, or the rule that forbids it; nothing is sent.

        Raises:
            UsageError: if the order makes no sense.
            ExchangeError: if the market is not known or the exchange does not answer.
        """
        now = self.clock.now()
        self.exchange.market_rules(pair)
        candles = self.candles.candles(pair, now)
        if not len(candles):
            raise HistoryError(f"{pair}: there are no candles yet to judge an order by")
        for other in self.portfolio.positions:
            if other != pair:
                self.prices[other] = self.exchange.ticker(other).last
        return self.risk.review_manual(
            wanted, self.portfolio, self.market_view(pair, candles, now), now
        )

    def carry_out_manual(self, verdict: Approval | Refusal) -> TrackedOrder | None:
        """Send what `plan_manual` allowed; a refusal is journalled."""
        return self.executor.carry_out(verdict, self.clock.now(), Purpose.MANUAL)

    # -- troubles --------------------------------------------------------------------------

    def _attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do it; a fault is journalled, remembered for the report, and the loop goes on."""
        try:
            action()
        except JournalError:
            raise
        except TraderError as fault:
            advice = f" ({fault.hint})" if isinstance(fault, UsageError) and fault.hint else ""
            self._trouble(fault.category, f"{what}: {fault.message}{advice}")
            return False
        except Exception as fault:  # the one catch-all, at the top of the loop
            if self.debug:
                raise
            self._trouble("internal", f"{what}: {type(fault).__name__}: {fault}")
            return False
        return True

    def _trouble(self, category: str, message: str) -> None:
        self._troubles.append(message)
        self.executor.record(Troubled(self.clock.now(), category, message))

    def note_health(self, check: str, state: str, detail: str) -> None:
        """Journal the state of something that is looked after beside the loop, if it changed.

        Args:
            check: its name.
            state: `ok`, `warn` or `fail`.
            detail: in words.
        """
        self._health(self.clock.now(), check, state, detail)

    def _health(self, now: datetime, check: str, state: str, detail: str) -> None:
        if self._past.health.get(check, "ok") != state:
            self.executor.record(HealthChanged(now, check, state, detail))
            self._past.health[check] = state

    def _outlook(self, next_close: datetime) -> dict[str, Any]:
        return {
            **self.outlook,
            "next_decision_at": next_close.isoformat(),
            "limits": self.risk.limits_status(
                self.portfolio, self.clock.now(), self.stopped.reason if self.stopped else ""
            ),
            "prices": {str(pair): str(price) for pair, price in self.prices.items()},
            "unprotected": {
                str(pair): why
                for pair, why in self.executor.unprotected.items()
                if self.portfolio.open_position(pair) is not None
            },
            "holdings": [str(pair) for pair in self.portfolio.positions],
            "quantities": {str(p): str(h.quantity) for p, h in self.portfolio.positions.items()},
            "stopped": None if self.stopped is None else self.stopped.reason,
            "stop_request": None if self.stopped is None else asdict(self.stopped),
            "stop_done": self.stop_done,
        }

    @staticmethod
    def _leader_among(pairs: tuple[Pair, ...]) -> Pair | None:
        return pairs[0] if pairs and pairs[0].base == LEADER else None


# -- putting the parts together -----------------------------------------------------------------


@dataclass(slots=True)
class Parts:
    """The running program."""

    config: Config
    venue: Venue
    journal: SqliteJournal
    trader: Trader
    monitor: Monitor
    closers: list[Callable[[], object]] = field(default_factory=list)

    def close(self) -> None:
        """Give back files, threads and the lock on the account, last opened first."""
        while self.closers:
            self.closers.pop()()


def assemble(
    config: Config, wishes: Wishes | None = None, *, sinks: Iterable[EventSink] = ()
) -> Parts:
    """Build everything the settings describe; nothing is traded yet.

    Args:
        config: the settings.
        wishes: what the command line adds.
        sinks: told of every event, beside day log and alerts.

    Raises:
        TraderError: if something is missing, busy or not allowed; what was opened is closed.
    """
    wishes = wishes or Wishes()
    _demand_writable(config.data_dir, "DATA_DIR")
    venue = paper(config, wishes) if config.sandbox else live(config)
    venue.demands_licence = not config.sandbox and not wishes.unlicensed
    closers: list[Callable[[], object]] = []
    try:
        lock = AccountLock(config.data_dir, venue.book)
        lock.acquire()
        closers.append(lock.release)
        reserve = Reserve(config.data_dir)
        journal = SqliteJournal(
            config.data_dir / "trader.db", venue.book, durable=venue.durable, reserve=reserve
        )
        closers.append(journal.close)
        reserve.keep()
        monitor = _monitor(config, venue, journal, sinks, closers)
        trader = _trader(config, wishes, venue, journal, monitor)
        _with_sentiment(config, venue, trader, closers)
        if not config.sandbox:
            _demand_licence(config, venue, anyway=wishes.unlicensed)
    except BaseException:
        while closers:
            closers.pop()()
        raise
    return Parts(config, venue, journal, trader, monitor, closers)


def _demand_writable(folder: Path, setting: str) -> None:
    """Say it in one line before anything begins, not when the first order has to be noted."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        raise JournalError(
            f"{setting} {folder} cannot be written ({fault.strerror or fault})",
            "Nothing is traded without a journal. Free space, or choose another folder.",
        ) from fault


def _trader(
    config: Config, wishes: Wishes, venue: Venue, journal: SqliteJournal, monitor: Monitor
) -> Trader:
    analyzer = MarketAnalyzer(threads=os.cpu_count() or 1)
    candles: CandleSource = HeldCandles(
        venue.exchange, venue.history, config.timeframe, remember=venue.source
    )
    if venue.whole:
        candles = WholeHistory(venue.whole)
        for pair, whole in venue.whole.items():
            analyzer.prepare(pair, whole)
    portfolio = Portfolio(config.quote, keep_trades=TRADES_HELD)
    executor = TradingExecutor(venue.exchange, journal, portfolio, clock=venue.clock)
    trader = Trader(
        clock=venue.clock,
        executor=executor,
        pairs=venue.pairs,
        timeframe=config.timeframe,
        candles=candles,
        analyzer=analyzer,
        ai=AITrader(
            config.strategy,
            _models(config, venue, wishes),
            _strategy_settings(config, venue, wishes.slippage),
        ),
        risk=RiskManager(risk_limits(config)),
        monitor=monitor,
        stop_request=_stop_request(config),
        slippage=wishes.slippage,
        live_view=venue.pace != "jump",
        audits=True,
        alone=venue.feed == "replay",
        alarm=None if venue.sandbox is None else venue.sandbox.alarm,
        debug=wishes.debug,
    )
    trader.outlook.update(
        mode=venue.mode, feed=venue.feed, label=venue.label, book=venue.book,
        history=venue.history.exchange, pace=venue.pace, speed=venue.speed,
    )  # fmt: skip
    return trader


def _with_sentiment(
    config: Config, venue: Venue, trader: Trader, closers: list[Callable[[], object]]
) -> None:
    """What is on record for every run; outside sources and new records for one that is live."""
    from trader.storage.sentiment_log import Said, SentimentHistory, SentimentLog

    trader.recalled = SentimentHistory(venue.history).at
    log = SentimentLog(config.data_dir, venue.history.exchange)
    lasts = config.timeframe.delta * 3 / 2
    if venue.feed not in {"simulated", "replay"}:
        # A made-up book is no record of anything.
        trader.remember = lambda pair, now, found: log.note(pair, now, found, lasts)
    if not (config.sentiment_sources and trader.live_view):
        return
    from trader.exchanges.outside import OutsideSentiment, Reading, open_sources

    def record(found: Mapping[str, Reading]) -> None:
        now = datetime.now(UTC)
        log.record_all(
            [(n, None, Said(r.value, now, r.published_at, r.until)) for n, r in found.items()],
            "outside",
        )

    sentiment = OutsideSentiment(open_sources(config.sentiment_sources), record=record)
    closers.append(sentiment.close)
    trader.outside = sentiment.at


DEPTH_WITHIN = Decimal("0.005")
"""What is offered up to so far above the best ask counts as depth, as a fraction."""


def _ask_depth(book: OrderBook | None) -> Decimal | None:
    """Base offered near the best ask; None where no book was read."""
    if book is None or not book.asks:
        return None
    furthest = book.asks[0].price * (1 + DEPTH_WITHIN)
    return sum((level.quantity for level in book.asks if level.price <= furthest), ZERO)


def _volatility(candles: Candles, snapshot: Snapshot | None) -> Decimal | None:
    """Of the pair at its newest candle, a year; None while it is not known."""
    if snapshot is not None:
        value = float(trend_in(snapshot.analysis).volatility[snapshot.index])
    else:
        value = float(volatility_of(candles)[-1])
    return to_decimal(value) if math.isfinite(value) else None


def risk_limits(config: Config) -> RiskLimits:
    """The owner's limits."""
    return RiskLimits.of(config)


def _strategy_settings(config: Config, venue: Venue, slippage: Decimal) -> StrategySettings:
    try:
        fees = venue.exchange.fee_rates(venue.pairs[0])
    except ExchangeError:
        fees = table_rates(venue.clock.now().date(), venue.pairs[0].base)
    return StrategySettings(
        share=1 / len(venue.pairs),
        confidence_threshold=config.confidence_threshold,
        maker_fee=float(fees.maker),
        taker_fee=float(fees.taker),
        slippage=float(slippage),
        volatility_target=float(config.volatility_target),
        rebalance_band=float(config.rebalance_band),
    )


def _stop_request(config: Config) -> Callable[[], StopRequest | None]:
    switch = StopSwitch(config.data_dir)
    always = StopRequest("EMERGENCY_STOP is set", False, "settings", "")
    return lambda: switch.read() or (always if config.emergency_stop else None)


def _models(config: Config, venue: Venue, wishes: Wishes) -> ModelSource:
    """The models trained on this venue's candles; those of other markets are not seen."""
    if wishes.bench is not None and wishes.bench.models is not None:
        return wishes.bench.models
    return model_store(config, venue)


def model_store(config: Config, venue: Venue) -> ModelStore:
    """The stored models that may be asked here: with real money those with a licence.

    Not only at the start: a model that is refused later must not replace one that has earned its
    licence while the bot runs.
    """
    exchange = venue.history.exchange
    return ModelStore(config.models_dir, exchange, licensed=venue.demands_licence)


def _demand_licence(config: Config, venue: Venue, *, anyway: bool) -> None:
    """Live trading needs a model that has shown out of sample that it earns its costs.

    Args:
        config: the settings.
        venue: where it is to trade.
        anyway: go on without, but say what the evidence is and what is at stake.

    Raises:
        RuleError: if a pair has no licensed model and it is not to go on `anyway`.
    """
    store, now = ModelStore(config.models_dir, venue.history.exchange), venue.clock.now()
    allowed = model_store(config, venue)
    bare = []
    for pair in venue.pairs:
        asked = (pair, config.timeframe, now)
        used = allowed.model_for(*asked)
        if used is not None and used.licence.granted:
            waits = allowed.unlicensed(*asked)
            if waits:
                venue.notes.append(waiting_for_licence(waits, used.id))
            continue
        model = store.model_for(*asked)
        found = "there is no model" if model is None else "; ".join(model.licence.reasons)
        if not anyway:
            raise RuleError(
                "licence",
                f"no licence to trade {pair} live: {found}",
                "Train one: python run_trader.py train. To trade without: start --unlicensed.",
            )
        bare.append(f"UNLICENSED {pair}: nothing shows that it earns its costs ({found})")
    venue.notes += bare
    if bare:
        held = venue.exchange.balances().get(config.quote)
        stake = (held.total if held else ZERO) * config.max_drawdown
        venue.notes.append(
            f"up to {stake:,.2f} {config.quote} may be lost before it stops buying "
            f"(MAX_DRAWDOWN {config.max_drawdown:%})"
        )


def waiting_for_licence(model_id: str, used: str) -> str:
    """What a person should know of a newer model that may not trade real money."""
    goes_on = f"{used} stays in use" if used else "the plain trend rule decides"
    return (
        f"model {model_id} is newer but has no licence for real money: {goes_on} (to use it "
        "nevertheless: start --unlicensed)"
    )


def _monitor(
    config: Config,
    venue: Venue,
    journal: SqliteJournal,
    sinks: Iterable[EventSink],
    closers: list[Callable[[], object]],
) -> Monitor:
    machine = SystemClock()
    hide = redactor(
        [config.kraken_api_key, config.kraken_api_secret, config.webhook_url, config.smtp_url,
         config.dashboard_password]
    )  # fmt: skip
    watching: list[EventSink] = list(sinks)
    if venue.pace != "jump":
        try:
            _demand_writable(config.logs_dir, "LOGS_DIR")
        except JournalError as fault:
            # Trading goes on: the journal has everything the log would say.
            venue.notes.append(f"{fault.message}: no log is kept")
        log = DayLog(config.logs_dir, lambda: machine.now().date(), config.log_level, hide)
        watching.append(log)
    channels = _channels(config)
    if channels and venue.pace != "jump":
        desk = AlertDesk(
            AlertOutbox(config.data_dir / "alerts.db", hide), channels, machine.now,
            quiet=_quiet_hours(config.alert_quiet_hours), fills=config.alert_fills,
        )  # fmt: skip
        desk.start()
        closers.append(desk.close)
        watching.append(desk)
    pause_s = 0.5 if venue.pace == "jump" else 0.0
    forget_replays(config.data_dir, machine.now)
    state = state_file(config.data_dir, venue.book, machine.now, pause_s)
    vitals = None
    if venue.pace != "jump":
        vitals = Vitals(config.data_dir, machine.now, server_time_of(config, venue))
    told = {e.check: e.state for _, e in journal.events(0, kinds=(HealthChanged,))
            if isinstance(e, HealthChanged)}  # fmt: skip
    return Monitor(journal, watching, state, after=len(journal), vitals=vitals, told=told)


def _quiet_hours(text: str) -> QuietHours | None:
    begins, _, ends = text.partition("-")
    return QuietHours(int(begins), int(ends)) if ends else None


def _channels(config: Config) -> list[AlertChannel]:
    addresses: list[str] = [config.webhook_url] if config.webhook_url else []
    if config.alert_email and config.smtp_url:
        addresses.append(mail_url(config.smtp_url, config.alert_email))
    return [AppriseChannel(address) for address in addresses]
