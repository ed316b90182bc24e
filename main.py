"""The loop body of the trader, and the one place where its parts are put together.

`Trader.step` is one pass over all pairs. Backtest, paper and live run the same step; they differ
in the exchange, the clock and the journal they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from ai_trader import AITrader
from market_analyzer import MarketAnalyzer
from monitor import Monitor
from risk_manager import MarketView, RiskManager
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import JournalError, TraderError
from trader.domain.events import (
    EmergencyStopped,
    EquityMarked,
    Event,
    HealthChanged,
    ModelAdopted,
    Reconciled,
    Resumed,
    SignalMade,
    Troubled,
)
from trader.domain.markets import OrderBook, Pair, PublicTrade, to_decimal
from trader.domain.order_life import TrackedOrder
from trader.domain.orders import Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal, Snapshot
from trader.ports import Clock, Exchange
from trader.risk.stops import daily_atr
from trader.storage.held_candles import CandleSource
from trader.storage.stop_switch import StopRequest
from trading_executor import TradingExecutor

ZERO = Decimal(0)
LEADER = "BTC"

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
        audits: whether balances are compared with the exchange's at each new candle.
        alarm: tells when something will happen between two candles, where time can jump.
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
        audits: bool = False,
        alarm: Alarm | None = None,
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
        self.audits = audits
        self.alarm = alarm
        self.debug = debug
        self.pairs = tuple(sorted(pairs, key=lambda pair: pair.base != LEADER))
        self.leader = leader if leader is not None else self._leader_among(self.pairs)
        self.prices: dict[Pair, Decimal] = {}
        self.outlook: dict[str, Any] = {}
        self.stopped: StopRequest | None = None
        self._past = _Past()
        self._leader_snapshot: Snapshot | None = None
        self._troubles: list[str] = []

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
        self.executor.restore(watch=self._past.take)
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
            found = {pair: self._look(pair, now) for pair in self._watched()}
            ready = {pair: c for pair, c in found.items() if isinstance(c, Candles)}
            self._mark(ready, now)
            for pair, candles in ready.items():
                found[pair] = self._decide_safely(pair, candles, now)
            reports = tuple(r for p in self.pairs if isinstance(r := found[p], PairReport))
        next_close = self.timeframe.last_closed_at(now) + self.timeframe.delta
        report = StepReport(now, reports, next_close, tuple(self._troubles))
        if self.monitor is not None:
            self.monitor.observe(now, self._outlook(next_close))
        return report

    def mark(self) -> None:
        """Settle and journal what the account is worth, without deciding: the end of a run."""
        now = self.clock.now()
        self._troubles = []
        if self.settle():
            found = {pair: self._look(pair, now) for pair in self._watched()}
            self._mark({p: c for p, c in found.items() if isinstance(c, Candles)}, now)

    def settle(self) -> bool:
        """Bring orders, fills and stops up to date and obey the stop switch; False on a fault."""
        now = self.clock.now()
        done = self._attempt("settling", lambda: self.executor.settle(now))
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
        moments = [self.executor.next_look(now)]
        waiting = any(o.request.side is Side.BUY for o in self.executor.orders.live())
        targets = self.executor.watched_targets()
        if self.alarm is not None and (targets or waiting):
            moments.append(self.alarm(now, until, targets))
        ahead = [m for m in moments if m is not None and now < m < until]
        return min(ahead) if ahead else None

    # -- emergency stop --------------------------------------------------------------------

    def _obey_stop(self, now: datetime) -> None:
        request = self.stop_request()
        if request is None:
            if self._past.stopped:
                self.executor.record(Resumed(now, "the stop was lifted"))
                self._past.stopped = False
            self.stopped = None
            return
        stronger = self.stopped is not None and request.flatten and not self.stopped.flatten
        if not self._past.stopped or stronger:
            self.executor.record(
                EmergencyStopped(now, request.reason, request.flatten, request.who)
            )
            self._past.stopped = True
        self.stopped = request
        done = self.executor.stand_down(now, request.reason, flatten=request.flatten)
        self.outlook["stop_done"] = done

    # -- one pair --------------------------------------------------------------------------

    def _watched(self) -> tuple[Pair, ...]:
        if self.leader is None or self.leader in self.pairs:
            return self.pairs
        return (self.leader, *self.pairs)

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
            late = int((now - closed_at) / self.timeframe.delta)
            self._health(now, f"candles {pair}", "warn", f"the newest is {late} candles old")
            return PairReport(pair, closed_at, note=f"no candle since {closed_at:%H:%M} UTC")
        self._health(now, f"candles {pair}", "ok", "up to date")
        if self._past.decided.get(pair) == closed_at:
            return PairReport(pair, closed_at, note="decided already")
        return candles

    def _mark(self, fresh: Mapping[Pair, Candles], now: datetime) -> None:
        """Journal what the account is worth at the closes that are decided on next.

        Before the decisions, so that the limits on loss see this very candle.
        """
        if not fresh:
            return
        for pair, candles in fresh.items():
            self.prices[pair] = to_decimal(float(candles.close[-1]))
        if self.audits:
            self._attempt("comparing balances", lambda: self.executor.audit(now))
        if any(pair not in self.prices for pair in self.portfolio.positions):
            return
        equity = self.portfolio.equity(self.prices)
        prices = tuple(sorted(self.prices.items()))
        self.executor.record(EquityMarked(now, equity, self.portfolio.cash, prices))

    def _decide_safely(self, pair: Pair, candles: Candles, now: datetime) -> PairReport:
        reports: list[PairReport] = []
        done = self._attempt(str(pair), lambda: reports.append(self._decide(pair, candles, now)))
        return reports[0] if done else PairReport(pair, note=self._troubles[-1])

    def _decide(self, pair: Pair, candles: Candles, now: datetime) -> PairReport:
        """From candles to an order. All reading comes before the first line in the journal."""
        snapshot = self._analyze(pair, candles)
        if pair not in self.pairs:
            return PairReport(pair, snapshot.closed_at, snapshot.price)
        signal = self.ai.decide(snapshot, self._weight(pair), now)
        market = None
        if signal.action is not Action.HOLD:
            market = self.market_view(pair, candles, now)
        self._note_model(pair, signal, now)
        self.executor.record(SignalMade(now, signal, snapshot.price, snapshot.digest))
        self._past.decided[pair] = signal.closed_at
        self.executor.expire_entries(pair, signal.closed_at, now)
        verdict = None
        if market is not None:
            verdict = self.risk.review(signal, self.portfolio, market, now)
        order = self.executor.carry_out(verdict, now)
        return PairReport(pair, signal.closed_at, snapshot.price, signal, verdict, order)

    def _analyze(self, pair: Pair, candles: Candles) -> Snapshot:
        book: OrderBook | None = None
        trades: tuple[PublicTrade, ...] = ()
        if self.live_view:
            book = self.exchange.order_book(pair)
            trades = self.exchange.recent_trades(pair)
        leader = self._leader_snapshot if pair != self.leader else None
        if leader is not None and leader.closed_at != candles.closed_at:
            leader = None
        snapshot = self.analyzer.analyze(pair, candles, book=book, trades=trades, leader=leader)
        if pair == self.leader:
            self._leader_snapshot = snapshot
        return snapshot

    def market_view(self, pair: Pair, candles: Candles, now: datetime) -> MarketView:
        """Everything the risk rules want to know of the pair's market now.

        Raises:
            ExchangeError: if the exchange does not answer.
        """
        ticker = self.exchange.ticker(pair)
        atr = daily_atr(candles)
        stop = self.stop_request()
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
            emergency="" if stop is None else stop.reason or "emergency stop",
        )

    def _pending(self) -> dict[Pair, Decimal]:
        bound: dict[Pair, Decimal] = {}
        for order in self.executor.orders.live():
            if order.request.side is Side.BUY:
                price = order.request.price or self.prices.get(order.pair, ZERO)
                bound[order.pair] = bound.get(order.pair, ZERO) + order.remaining * price
        return bound

    def _weight(self, pair: Pair) -> float:
        position = self.portfolio.position(pair)
        if position is None:
            return 0.0
        equity = self.portfolio.equity(self.prices)
        return float(position.quantity * self.prices[pair] / equity) if equity > 0 else 0.0

    def _note_model(self, pair: Pair, signal: Signal, now: datetime) -> None:
        if not self.ai.strategy.learns or self._past.models.get(pair) == signal.model_id:
            return
        reason = "a newer model is in use" if signal.model_id else "no model: plain trend rule"
        self.executor.record(ModelAdopted(now, pair, signal.model_id, reason))
        self._past.models[pair] = signal.model_id

    # -- troubles --------------------------------------------------------------------------

    def _attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do it; a fault is journalled, remembered for the report, and the loop goes on."""
        try:
            action()
        except JournalError:
            raise
        except TraderError as fault:
            self._trouble(fault.category, f"{what}: {fault.message}")
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

    def _health(self, now: datetime, check: str, state: str, detail: str) -> None:
        if self._past.health.get(check, "ok") != state:
            self.executor.record(HealthChanged(now, check, state, detail))
            self._past.health[check] = state

    def _outlook(self, next_close: datetime) -> dict[str, Any]:
        return {
            **self.outlook,
            "next_close_at": next_close.isoformat(),
            "prices": {str(pair): str(price) for pair, price in self.prices.items()},
            "unprotected": {str(p): why for p, why in self.executor.unprotected.items()},
            "stopped": None if self.stopped is None else self.stopped.reason,
        }

    @staticmethod
    def _leader_among(pairs: tuple[Pair, ...]) -> Pair | None:
        return pairs[0] if pairs and pairs[0].base == LEADER else None
