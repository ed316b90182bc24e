"""Puts the parts of a backtest together and turns what happened into a result."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ai_trader import AITrader
from config import Config
from main import Trader, risk_limits
from market_analyzer import MarketAnalyzer
from risk_manager import MarketView, RiskLimits, RiskManager
from trader import bootstrap, performance
from trader.clocks import ManualClock
from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import UsageError
from trader.domain.events import Event
from trader.domain.markets import Pair
from trader.domain.orders import Liquidity, OrderType, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal, Snapshot
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.extensions import fingerprint
from trader.learning.licence import inherited_trials, trials_in_words
from trader.ports import ModelSource
from trader.simulation.backtest import (
    BacktestResult,
    Prediction,
    Span,
    drive,
    load_histories,
    load_paths,
)
from trader.simulation.costs import Costs, fee_table
from trader.simulation.path import to_us
from trader.simulation.runs import AccountRun, account_run
from trader.storage.companions import companions_of
from trader.storage.held_candles import WholeHistory
from trader.storage.history import HistoryStore
from trader.storage.journal import MemoryJournal
from trader.storage.sentiment_log import SentimentHistory
from trader.storage.stop_switch import StopRequest
from trader.storage.trials import Trial, TrialLedger
from trader.strategies import ensemble
from trader.strategies.registry import StrategySettings, find_strategy
from trading_executor import TradingExecutor

if TYPE_CHECKING:
    from scripts.backtest_learning import TimedModels

TOO_GOOD = 3.0
"""A Sharpe ratio above this is almost always a mistake."""
TOO_GOOD_FACTOR, TOO_GOOD_HITS, TOO_GOOD_CALMAR = 5.0, 0.85, 8.0
"""So are profit factor, share of winners, and growth over the deepest fall."""
FEW_TRADES = 20
LARGE_SHARE = 0.02
"""Part of a candle's volume from which an order's size is felt."""
_SEARCHED = frozenset({"trend"})
"""Yardsticks that were themselves chosen among many; holding was not."""
_EXECUTION = (
    "tiers_by_volume", "impact", "latency_ms", "volume_share", "queue_share", "walks_book",
)  # fmt: skip
TRADING_SETTINGS = (
    "risk_per_trade", "volatility_target", "rebalance_band", "max_position_fraction",
    "stop_atr_multiple", "trailing_atr_multiple", "max_holding_days", "kelly_share",
    "entry_patience_minutes", "risk_reward", "max_daily_loss",
    "max_drawdown", "drawdown_pause_days", "max_consecutive_losses", "max_open_positions",
    "confidence_threshold", "model_type", "retrain_hours", "training_window_days",
)  # fmt: skip


class Shown(Protocol):
    """Whoever shows how far a run has come."""

    def begin(self, title: str, total: int) -> None:
        """A part of so many steps begins."""
        ...

    def at(self, count: int) -> None:
        """So many of its steps are done."""
        ...

    def tell(self, what: str) -> None:
        """What is being done just now."""
        ...

    def end(self) -> None:
        """All is done."""
        ...


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Everything that decides what a run does.

    Attributes:
        span: what is traded: whole candles, and such as there are.
        finest_path: follow the finest stored candles inside each candle of the run.
        asked: what somebody asked for, which may reach further; None for the span itself.
    """

    config: Config
    store: HistoryStore
    pairs: tuple[Pair, ...]
    timeframe: Timeframe
    span: Span
    strategy: str
    costs: Costs
    cash: Decimal
    finest_path: bool = True
    asked: Span | None = None

    @property
    def requested(self) -> Span:
        """What was asked for."""
        return self.asked or self.span

    @property
    def quote(self) -> str:
        """Currency of the account."""
        return self.pairs[0].quote

    @property
    def harder(self) -> dict[str, str]:
        """The models of execution that are not as usual, name → value."""
        usual = Costs()
        return {
            name: str(getattr(self.costs, name))
            for name in _EXECUTION
            if getattr(self.costs, name) != getattr(usual, name)
        }

    def variant(self) -> dict[str, Any]:
        """What makes this run another try than the next, as plain values."""
        costs = self.costs
        return {
            "strategy": self.strategy,
            "timeframe": str(self.timeframe),
            "start": self.span.start.isoformat(),
            "end": self.span.end.isoformat(),
            "costs": [_plain(each) for each in (costs.maker, costs.taker, costs.slippage)],
            **self.harder,
            **({} if self.finest_path else {"path": "candle"}),
            **{name: _plain(getattr(self.config, name)) for name in TRADING_SETTINGS},
            **self._own_parts(),
        }

    def _own_parts(self) -> dict[str, Any]:
        """Fingerprints of the user's own modules: what was changed under its name is new."""
        config = self.config
        named = [("STRATEGY", self.strategy), ("MODEL_TYPE", config.model_type)]
        modules = {text.partition(":")[0]: setting for setting, text in named if ":" in text}
        modules |= dict.fromkeys(config.indicators, "INDICATORS")
        parts = {name: fingerprint(setting, name) for name, setting in sorted(modules.items())}
        return {"own_parts": parts} if parts else {}


def _plain(value: object) -> str:
    """The same text for the same value: 1.0 is 1."""
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent, by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside towards the phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def take(self, outer: str, inner: str) -> None:
        """Count what was spent in an inner phase no longer towards the outer one."""
        if inner in self.seconds:
            self.seconds[outer] -= self.seconds[inner]

    def rounded(self) -> dict[str, float]:
        """Seconds by phase and in all."""
        parts = {name: round(spent, 3) for name, spent in self.seconds.items()}
        return {**parts, "total": round(sum(self.seconds.values()), 3)}


@dataclass(frozen=True, slots=True)
class Incidents:
    """What befalls an account beside its market.

    Attributes:
        stop: the emergency stop, from the first moment until the second; None for none.
        flatten: whether it sells what is held.
        box: makes the exchange; one that refuses orders, for instance.
    """

    stop: tuple[datetime, datetime] | None = None
    flatten: bool = True
    box: Callable[..., SandboxExchange] = SandboxExchange

    def stop_at(self, now: datetime) -> StopRequest | None:
        """The stop in force."""
        if self.stop is None or not self.stop[0] <= now < self.stop[1]:
            return None
        return StopRequest("a rehearsal", self.flatten, "rehearsal", self.stop[0].isoformat())


class SharedAnalyzer(MarketAnalyzer):
    """For several accounts on one prepared history: what one has looked at the next looks up.

    Beside the history itself a backtest shows nothing (no book, no outside sentiment), so a pair
    and how much of it is known decide what is seen.
    """

    MOST = 60_000

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        self._seen: dict[tuple[Pair, int], Snapshot] = {}

    def analyze(self, pair: Pair, candles: Candles, **more: Any) -> Snapshot:
        """See `MarketAnalyzer.analyze`."""
        known = pair, len(candles)
        found = self._seen.get(known)
        if found is None:
            found = super().analyze(pair, candles, **more)
            if len(self._seen) < self.MOST:
                self._seen[known] = found
        return found


class FullWeight(RiskManager):
    """What a yardstick is judged by: it may put its whole share in, without a stop."""

    def change(self, portfolio: Portfolio, now: datetime) -> None:
        """The owner's limits are not asked, so their state does not change."""

    def review(
        self, signal: Signal, portfolio: Portfolio, market: MarketView, now: datetime
    ) -> Approval | Refusal | None:
        """Buy what is missing to the wanted weight, with the cash there is; sell as ever."""
        if signal.action is not Action.BUY or signal.target_weight is None:
            return super().review(signal, portfolio, market, now)
        held = portfolio.position(signal.pair)
        worth = held.quantity * market.price if held else Decimal(0)
        equity = portfolio.equity({**market.prices, signal.pair: market.price})
        unit = (market.ask or market.price) * (1 + market.slippage) * (1 + market.fees.taker)
        # A tick of rounding on either side must not make the order unaffordable.
        cash = portfolio.cash * Decimal("0.999")
        money = min(equity * Decimal(str(signal.target_weight)) - worth, cash)
        quantity = market.rules.quantity_down(max(money, Decimal(0)) / unit)
        if quantity < market.rules.order_minimum:
            return None
        return Approval(
            signal.pair, signal.closed_at, Side.BUY, OrderType.MARKET, quantity, market.price,
            None, None, None, Decimal(0), quantity * unit, None, signal.reasons,
        )  # fmt: skip


@dataclass(slots=True)
class Arena:
    """The history of a run, analysed once, on which any number of accounts trade."""

    settings: RunSettings
    histories: Mapping[Pair, Candles]
    analyzer: MarketAnalyzer
    paths: Mapping[Pair, Candles]

    @classmethod
    def open(cls, settings: RunSettings, watch: Stopwatch) -> Arena:
        """Load and analyse the history.

        Raises:
            HistoryError: if a pair has none inside the span.
        """
        with watch.phase("load"):
            histories = load_histories(
                settings.store, settings.pairs, settings.timeframe, settings.span
            )
            span, paths = settings.span, dict(histories)
            if settings.finest_path:
                paths = load_paths(settings.store, histories, span.start, span.end)
        with watch.phase("analyze"):
            analyzer = SharedAnalyzer(threads=os.cpu_count() or 1)
            for pair, candles in histories.items():
                analyzer.prepare(pair, candles)
        return cls(settings, histories, analyzer, paths)

    def trade(
        self,
        name: str,
        strategy: str,
        risk: RiskManager,
        models: ModelSource | None,
        shown: Shown,
    ) -> AccountRun:
        """Let one account trade through the span: what it came to."""
        settings = self.settings
        events = self.events(name, strategy, risk, models, shown)
        return account_run(
            name, settings.quote, settings.cash, events, settings.span.start, settings.timeframe
        )

    def events(
        self,
        name: str,
        strategy: str,
        risk: RiskManager,
        models: ModelSource | None,
        shown: Shown,
        incidents: Incidents | None = None,
    ) -> list[Event]:
        """Let one account trade through the span: everything that happened.

        Args:
            name: what to call it.
            strategy: a registered strategy.
            risk: judges its wishes.
            models: for strategies that learn.
            shown: told how far it is.
            incidents: what befalls the exchange and the account on the way.
        """
        settings = self.settings
        moments = settings.span.moments(settings.timeframe)
        clock = ManualClock(settings.span.start)
        happens = incidents or Incidents()
        exchange = happens.box(
            ReplayFeed(self.paths), clock, balances={settings.quote: settings.cash},
            costs=settings.costs,
        )  # fmt: skip
        journal = MemoryJournal()
        trader = Trader(
            clock=clock,
            executor=TradingExecutor(exchange, journal, Portfolio(settings.quote)),
            pairs=settings.pairs,
            timeframe=settings.timeframe,
            candles=WholeHistory(self.histories),
            analyzer=self.analyzer,
            ai=AITrader(strategy, models, strategy_settings(settings)),
            risk=risk,
            stop_request=lambda: happens.stop_at(clock.now()),
            slippage=settings.costs.slippage,
            alarm=exchange.alarm,
            journals_forecasts=False,
            # The exchange books to its own decimals: what that rounds off is taken in here too.
            audits=True,
            alone=True,
            recalled=SentimentHistory(settings.store).at,
        )
        trader.recover()
        shown.begin(name, len(moments))
        drive(trader, moments, shown.at)
        shown.end()
        return [event for _, event in journal.events()]


def strategy_settings(settings: RunSettings) -> StrategySettings:
    """What the strategies are told of the account."""
    fees = settings.costs.rates(settings.span.start.date(), settings.pairs[0].base)
    return StrategySettings(
        share=1 / len(settings.pairs),
        confidence_threshold=settings.config.confidence_threshold,
        maker_fee=float(fees.maker),
        taker_fee=float(fees.taker),
        slippage=float(settings.costs.slippage),
        volatility_target=float(settings.config.volatility_target),
        rebalance_band=float(settings.config.rebalance_band),
    )


def limits_of(settings: RunSettings) -> RiskLimits:
    """The owner's limits; an emergency stop is about the account of today, not about history."""
    return replace(risk_limits(settings.config), emergency_stop=False)


def models_of(arena: Arena, watch: Stopwatch, shown: Shown) -> TimedModels | None:
    """Models for a strategy that learns, trained as time passes; None for one that does not."""
    settings = arena.settings
    if not find_strategy(settings.strategy).learns:
        return None
    from scripts.backtest_learning import TimedModels

    return TimedModels(
        {pair: arena.histories[pair] for pair in settings.pairs}, settings.config,
        settings.store.exchange, settings.span, settings.costs, watch.phase, shown.tell,
        companions_of(
            settings.config.data_dir, settings.store.exchange, settings.pairs,
            settings.timeframe, settings.span.end,
        ),
    )  # fmt: skip


def run_backtest(settings: RunSettings, shown: Shown) -> BacktestResult:
    """Trade the strategy and its yardsticks over the span.

    Raises:
        TraderError: if history, strategy or models do not allow it.
    """
    entry = find_strategy(settings.strategy)
    watch = Stopwatch()
    arena = Arena.open(settings, watch)
    risk = RiskManager(limits_of(settings))
    models = models_of(arena, watch, shown)
    with watch.phase("trade"):
        run = arena.trade(entry.name, entry.name, risk, models, shown)
    demand_decisions(run)
    watch.take("trade", "train")
    with watch.phase("baselines"):
        baselines = _baselines(arena, run, risk, shown)
    with watch.phase("measure"):
        window = {
            pair: arena.histories[pair].between(settings.span.start, settings.span.end)
            for pair in settings.pairs
        }
        tries = count_trials(settings, run)
        document = _document(settings, run, baselines, tries)
        document["candles"] = sum(len(candles) for candles in window.values())
        predictions = _judge(settings, models, run, baselines, tries, document)
        notes = _notes(settings, run, window, document)
        document["notes"] = list(notes)
    document["seconds"] = watch.rounded()
    return BacktestResult(
        settings.pairs, settings.timeframe, settings.span, entry.name, window, run, baselines,
        document, slippage_paid(run, arena.paths), predictions, notes,
    )  # fmt: skip


def demand_decisions(run: AccountRun) -> None:
    """A run that failed at every candle is no result, though it looks like one of cash.

    Raises:
        UsageError: with what failed first.
    """
    if run.troubles and not run.decisions:
        raise UsageError(
            f"nothing was ever decided, {len(run.troubles):,} steps failed; the first: "
            f"{run.troubles[0].message}",
            "A strategy of one's own is a function (situation) -> Signal; see examples/.",
        )


def slippage_paid(run: AccountRun, paths: Mapping[Pair, Candles]) -> float:
    """What takers paid more, or got less, than the path's price of the moment, in quote."""
    feed, lost = ReplayFeed(paths), Decimal(0)
    for execution in run.executions:
        fill = execution.fill
        price = feed.price(fill.pair, to_us(fill.filled_at))
        if fill.liquidity is Liquidity.TAKER and price is not None:
            worse = fill.price - price if fill.side is Side.BUY else price - fill.price
            lost += worse * fill.quantity
    return float(lost)


def _judge(
    settings: RunSettings,
    models: TimedModels | None,
    run: AccountRun,
    baselines: Mapping[str, AccountRun],
    tries: Tries,
    document: dict[str, Any],
) -> tuple[Prediction, ...]:
    """Put calibration and licence into the document; the forecasts."""
    if models is None:
        return ()
    from scripts.backtest_learning import licence_of, predictions_of, scores_of

    scores = scores_of(models, settings.span)
    licence = licence_of(run, baselines, scores, tries.count)
    document["calibration"] = None if scores is None else scores.as_dict()
    document["licence"] = {"granted": licence.granted, "reasons": list(licence.reasons)}
    return predictions_of(models, settings.span, run)


def _baselines(
    arena: Arena, run: AccountRun, risk: RiskManager, shown: Shown
) -> dict[str, AccountRun]:
    """The yardsticks through the same rules; the strategy's own run where it is one of them."""
    from scripts.backtest_fast import yardstick

    free = FullWeight(risk.limits)
    wanted = {
        "buy_and_hold": ("buy and hold", "buy-and-hold", free),
        "vol_target_hold": ("hold at a steady volatility", "vol-target-hold", free),
        "trend": ("plain trend rule", "trend", risk),
    }
    return {
        key: run
        if (strategy, judge) == (run.name, risk)
        else yardstick(arena, name, strategy, judge, shown)
        or arena.trade(name, strategy, judge, None, shown)
        for key, (name, strategy, judge) in wanted.items()
    }


def series_of(settings: RunSettings) -> list[str]:
    """The names of the candles a run was made on, as the ledger knows them."""
    return [f"{settings.store.exchange}:{pair}" for pair in settings.pairs]


@dataclass(frozen=True, slots=True)
class Tries:
    """All that luck could choose from: what the ledger has, and what lies in the design.

    Attributes:
        sharpes: daily Sharpe ratios of the recorded variants on this data.
        inherited: variants tried on the same candles before the design was chosen.
    """

    sharpes: tuple[float, ...] = ()
    inherited: int = 0

    @property
    def count(self) -> int:
        """How many in all."""
        return max(1, len(self.sharpes)) + self.inherited  # as `trials_behind` has it

    def as_dict(self) -> dict[str, Any]:
        """How many of them are recorded, how many inherited, and the same said in words."""
        return {
            "recorded": len(self.sharpes),
            "inherited": self.inherited,
            "words": trials_in_words(self.count, self.inherited),
        }


def count_trials(settings: RunSettings, run: AccountRun, kind: str = "backtest") -> Tries:
    """Put this run into the ledger; all that was tried on its data."""
    returns = run.daily_returns()
    ratio = performance.daily_sharpe(returns)
    value = 0.0 if math.isnan(ratio) else ratio
    trial = Trial(
        kind, tuple(series_of(settings)), settings.variant(), value, len(returns), run.digest
    )
    _ledger(settings).record([trial])
    return tries_of(settings, len(returns))


def tries_of(settings: RunSettings, days: int) -> Tries:
    """What was tried on the data of a run so far, the design's own search included.

    Args:
        settings: the run.
        days: how many daily returns it has.
    """
    return Tries(
        tuple(_ledger(settings).sharpes(series_of(settings), days)),
        inherited_trials(settings.store.exchange, settings.span.start),
    )


def _ledger(settings: RunSettings) -> TrialLedger:
    return TrialLedger(settings.config.data_dir / "trials.jsonl")


def figures(run: AccountRun, tries: Tries) -> dict[str, float | int | None]:
    """All metrics of a run, as the document has them."""
    return performance.measure(
        run.times,
        run.equity,
        run.cash,
        invested=run.invested,
        trades=run.trades,
        traded_quote=sum(float(e.fill.cost_quote) for e in run.executions),
        fees_quote=sum(float(e.fill.fee_quote) for e in run.executions),
        trials=tries.count,
        began=run.began,
    ).as_dict()


def _document(
    settings: RunSettings,
    run: AccountRun,
    baselines: Mapping[str, AccountRun],
    tries: Tries,
) -> dict[str, Any]:
    fees = settings.costs.rates(settings.span.start.date(), settings.pairs[0].base)
    span, requested = settings.span, settings.requested
    returns = run.daily_returns()
    return {
        "pairs": [str(pair) for pair in settings.pairs],
        "timeframe": str(settings.timeframe),
        "start": span.start.date().isoformat(),
        "end": span.last.date().isoformat(),
        "requested_start": requested.start.date().isoformat(),
        "requested_end": requested.last.date().isoformat(),
        "strategy": settings.strategy,
        "candles": 0,
        "trials": tries.count,
        "trials_counted": tries.as_dict(),
        "costs": {
            "maker_bp": float(fees.maker * 10_000),
            "taker_bp": float(fees.taker * 10_000),
            "slippage_bp": float(settings.costs.slippage * 10_000),
            **settings.harder,
        },
        "metrics": figures(run, tries),
        "baselines": {
            name: figures(account, tries if name in _SEARCHED else Tries())
            for name, account in baselines.items()
        },
        "break_even_hit_rate": _finite(performance.break_even_hit_rate(run.trades)),
        "intervals": bootstrap.intervals(returns, bootstrap.FIGURES, seed=0),
        "differences": {name: _against(returns, other) for name, other in baselines.items()},
        "calibration": None,
        "licence": None,
        "notes": [],
        "seconds": {},
        "digest": run.digest,
    }


def _against(returns: FloatArray, other: AccountRun) -> dict[str, dict[str, float]]:
    """How much better than a yardstick, paired day by day, with its range."""
    theirs = other.daily_returns()
    return bootstrap.differences(returns, theirs, bootstrap.FIGURES, seed=0)


def _timing_notes(settings: RunSettings) -> list[str]:
    """That the ensemble's timing rule rested, where the candles leave it no forecast."""
    if settings.strategy != ensemble.NAME:
        return []
    from trader.learning.dataset import horizons_for

    timing = ensemble.untimed(settings.timeframe, horizons_for(settings.timeframe))
    return [f"{ensemble.NAME}: {timing}"] if timing else []


def coverage_notes(settings: RunSettings) -> list[str]:
    """That less was traded than was asked for, and why; nothing where it was all of it."""
    span, asked = settings.span, settings.requested
    if span.in_days() == asked.in_days():
        return []
    whole = asked.whole_candles(settings.timeframe)
    sides = [("before", span.start > whole.start), ("after", span.end < whole.end)]
    lacking = " or ".join(word for word, lacks in sides if lacks)
    why = (
        f"no candle is stored {lacking} that"
        if lacking
        else f"only whole {settings.timeframe} candles count"
    )
    return [f"asked for {asked.in_days()}, traded {span.in_days()}: {why}"]


def _notes(
    settings: RunSettings,
    run: AccountRun,
    window: Mapping[Pair, Candles],
    document: Mapping[str, Any],
) -> tuple[str, ...]:
    notes = [*coverage_notes(settings), *_timing_notes(settings)]
    if run.troubles:
        first_fault = run.troubles[0]
        notes.append(
            f"{len(run.troubles):,} steps failed and nothing was decided in them; the first, at "
            f"{first_fault.at:%Y-%m-%d %H:%M}: {first_fault.message}"
        )
    if "drawdown" in run.refusals:
        count, first = run.refusals["drawdown"]
        notes.append(
            f"from {first:%Y-%m-%d} on the drawdown limit of {settings.config.max_drawdown:.0%} "
            f"forbade {count:,} purchases (MAX_DRAWDOWN)"
        )
    notes += _idle(run)
    notes += history_notes(settings, window)
    return (*notes, *too_good(document), *_too_large(settings, run, window))


def _idle(run: AccountRun) -> list[str]:
    """Why nothing was traded; nothing where something was."""
    if run.executions:
        return []
    refused = sorted(run.refusals.items(), key=lambda item: (-item[1][0], item[0]))
    if refused:
        why = "what was wished for was refused: " + ", ".join(
            f"{rule} {count:,} times" for rule, (count, _) in refused
        )
    else:
        why = "the strategy wished for nothing"
        why += f"; its last words: {run.last_words}" if run.last_words else ""
    return [f"nothing was traded in {run.decisions:,} decisions, so there are no ratios; {why}"]


def history_notes(settings: RunSettings, window: Mapping[Pair, Candles]) -> list[str]:
    """What to know of the time that was traded, whatever was traded in it."""
    notes = []
    if _tables_change(settings):
        notes.append("Kraken changed its fees within this time; each trade paid those of its day")
    for pair, candles in window.items():
        gaps = candles.gaps()
        if gaps:
            notes.append(
                f"{pair}: {sum(gap.candles for gap in gaps):,} candles are absent in "
                f"{len(gaps):,} runs; nothing was decided or filled in them"
            )
    return notes


def too_good(document: Mapping[str, Any]) -> list[str]:
    """What is so good that a mistake is likelier than a discovery."""
    m, found = document["metrics"], []
    if (m["sharpe"] or 0) > TOO_GOOD:
        found.append(f"a Sharpe ratio above {TOO_GOOD:g}")
    if (m["profit_factor"] or 0) > TOO_GOOD_FACTOR and m["trades"] >= FEW_TRADES:
        found.append(f"a profit factor above {TOO_GOOD_FACTOR:g} over {m['trades']} trades")
    if (m["hit_rate"] or 0) > TOO_GOOD_HITS and m["trades"] >= FEW_TRADES:
        found.append(f"more than {TOO_GOOD_HITS:.0%} of {m['trades']} trades won")
    if (m["calmar"] or 0) > TOO_GOOD_CALMAR:
        found.append(f"yearly growth above {TOO_GOOD_CALMAR:g} times the deepest fall")
    return [f"TOO GOOD: {what}; look for the mistake before believing it" for what in found]


def _too_large(
    settings: RunSettings, run: AccountRun, window: Mapping[Pair, Candles]
) -> list[str]:
    """Fixed slippage is too kind to orders that are a good part of what is traded."""
    if settings.costs.impact or settings.costs.walks_book:
        return []
    worst = 0.0
    for pair, candles in window.items():
        usual = float(np.median(candles.volume)) if len(candles) else 0.0
        sizes = [float(e.fill.quantity) for e in run.executions if e.fill.pair == pair]
        if usual > 0 and sizes:
            worst = max(worst, float(np.median(sizes)) / usual)
    if worst < LARGE_SHARE:
        return []
    return [
        f"the usual order is {worst:.0%} of a usual candle's volume: it would move the market "
        f"more than {float(settings.costs.slippage):.2%}; try --impact 1 or --book"
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tables_change(settings: RunSettings) -> bool:
    costs, span = settings.costs, settings.span
    if costs.maker is not None and costs.taker is not None:
        return False
    return fee_table(span.start.date()) is not fee_table(span.last.date())
