"""One analysis: which candles, what they say, what would be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ai_trader import AITrader
from config import Config
from market_analyzer import MarketAnalyzer
from risk_manager import MarketView, RiskLimits, RiskManager
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, ModelError, TraderError
from trader.domain.markets import FeeRates, OrderBook, Pair, PublicTrade, to_decimal
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal, Snapshot
from trader.domain.window import window
from trader.exchanges.markets import market
from trader.indicators.context import others_of, timeframes_of
from trader.indicators.crossmarket import LEADER
from trader.ports import ModelSource
from trader.risk.stops import daily_atr
from trader.simulation.costs import Costs
from trader.storage.history import HistoryStore
from trader.strategies.registry import StrategySettings

_PATIENCE_S = 1.0
"""How long outside sources may take for a single look."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `at` None means now."""

    pair: Pair
    timeframe: Timeframe
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Market:
    """The candles of a pair, and book and takers where the exchange was asked.

    Attributes:
        source: where the candles come from, in words.
        exchange: whose candles they are; `simulated` for the made-up market.
    """

    candles: Candles
    source: str
    exchange: str = "kraken"
    book: OrderBook | None = None
    trades: tuple[PublicTrade, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The analysis and what would follow from it.

    Attributes:
        now: the moment of the question.
        source: where the candles came from, in words.
        plan: the order an account without positions would send, or None.
        refusals: the rules that forbid it.
        model: id, training moment and licence of the model in use; None without one.
        equity: worth of the account the plan is made for, in quote.
        timeframes: coarser timeframe → indicator → its newest closed value.
        others: this market among the configured ones (`trader.indicators.crossmarket`).
    """

    mode: str
    question: Question
    now: datetime
    source: str
    snapshot: Snapshot
    signal: Signal
    plan: Approval | None
    refusals: tuple[Refusal, ...]
    model: Any | None
    equity: Decimal
    timeframes: Mapping[Timeframe, Mapping[str, float]]
    others: Mapping[str, float]


def analyse(config: Config, question: Question, tell: Callable[[str], None]) -> Answer:
    """Load, analyse, decide and plan.

    Args:
        config: the settings.
        question: what is asked.
        tell: is given what the person should know meanwhile.

    Raises:
        UnknownPair: if the exchange has no such market.
        HistoryError: if there are no candles.
    """
    rules = market(question.pair).rules
    now = question.at or datetime.now(UTC)
    found = _found(config, question, now, tell)
    analyzer = MarketAnalyzer()
    markets = _markets(config, question, found)
    snapshot = analyzer.analyze(
        question.pair, found.candles, book=found.book, trades=found.trades,
        leader=_leader(question, analyzer, found, markets), markets=markets,
        outside=_outside(config, question, now),
    )  # fmt: skip
    models = _models(config, question.pair, found.exchange)
    fees = Costs().rates(snapshot.closed_at.date(), question.pair.base)
    ai = AITrader(config.strategy, models, _strategy_settings(config, fees))
    signal = ai.decide(snapshot, 0.0, now)
    view = MarketView(
        pair=question.pair, rules=rules, fees=fees, price=to_decimal(snapshot.price),
        data_closed_at=snapshot.closed_at, daily_atr=_daily_atr(found.candles),
        slippage=Costs().slippage, timeframe=question.timeframe,
        prices={question.pair: to_decimal(snapshot.price)},
        emergency=_emergency(config) if question.at is None else "",
    )  # fmt: skip
    plan, refusals = _planned(config, signal, view, now)
    model = _model_in_use(models, question, now, tell)
    return Answer(
        config.mode, question, now, found.source, snapshot, signal, plan, refusals, model,
        config.sandbox_balance, timeframes_of(snapshot), others_of(snapshot),
    )  # fmt: skip


def _strategy_settings(config: Config, fees: FeeRates) -> StrategySettings:
    return StrategySettings(
        share=1.0 / max(1, len(config.pairs)),
        confidence_threshold=config.confidence_threshold,
        maker_fee=float(fees.maker),
        taker_fee=float(fees.taker),
        slippage=float(Costs().slippage),
    )


def _markets(config: Config, question: Question, found: Market) -> dict[Pair, Candles]:
    """The pair and those it is placed among: the leading one and the configured ones."""
    markets = {question.pair: found.candles}
    for pair in (Pair(LEADER, question.pair.quote), *config.pairs):
        if pair not in markets and pair.quote == question.pair.quote:
            candles = _other(config, question, found, pair)
            if candles is not None:
                markets[pair] = candles
    return markets


def candles_of(config: Config, question: Question, now: datetime) -> Market:
    """The newest candles known at that moment, from the store.

    Raises:
        HistoryError: if nothing is stored for the pair, or nothing that old.
    """
    store = HistoryStore(config.data_dir, config.exchange)
    return _known(store.load(question.pair, question.timeframe), question, now, store.exchange)


def _known(stored: Candles, question: Question, now: datetime, exchange: str) -> Market:
    known = stored.known_at(now)
    if not len(known):
        raise HistoryError(
            f"{question.pair}: no {question.timeframe} candle had closed at "
            f"{now:%Y-%m-%d %H:%M} UTC",
            f"The stored history begins on {stored.first_opened_at:%Y-%m-%d %H:%M} UTC."
            if len(stored) else "The stored history has no whole candle of that length.",
        )  # fmt: skip
    return Market(window(known), f"stored history of {exchange}", exchange)


def _found(
    config: Config, question: Question, now: datetime, tell: Callable[[str], None]
) -> Market:
    """The candles to look at: from the store, and from the exchange in use where it is needed.

    It is asked when nothing is stored, and for the newest candles when no moment was named.
    """
    store = HistoryStore(config.data_dir, config.exchange)
    if all(pair != question.pair for pair, _ in store.pairs()):
        return _of_exchange(config, question, now, tell)
    stored = candles_of(config, question, now)
    late = now - stored.candles.closed_at
    if question.at is not None or late < question.timeframe.delta:
        return stored
    from commands.analysis_sources import continued

    fresh = continued(config, question, stored, now)
    if fresh is None:
        age = f"{late.days} days" if late.days else f"{late.seconds // 3600} h"
        tell(f"the newest stored candle is {age} old, and the exchange gives none")
    return fresh or stored


def _of_exchange(
    config: Config, question: Question, now: datetime, tell: Callable[[str], None]
) -> Market:
    from commands.analysis_sources import from_exchange

    return from_exchange(config, question, now, tell)


def _other(config: Config, question: Question, found: Market, pair: Pair) -> Candles | None:
    """Another pair's candles of the same market up to the same close; None if there are none."""
    closed_at = found.candles.closed_at
    other = Question(pair, question.timeframe, closed_at)
    try:
        if found.exchange == "simulated":
            from commands.analysis_sources import made_up

            return made_up(config, other, closed_at).candles
        return candles_of(config, other, closed_at).candles
    except TraderError:
        return None


def _leader(
    question: Question, analyzer: MarketAnalyzer, found: Market, markets: Mapping[Pair, Candles]
) -> Snapshot | None:
    """The leading market at the same close, if it is there and traded then."""
    if question.pair.base == LEADER:
        return None
    leader = Pair(LEADER, question.pair.quote)
    candles = markets.get(leader)
    if candles is None or candles.closed_at != found.candles.closed_at:
        return None
    return analyzer.analyze(leader, candles, markets=markets)


def _outside(config: Config, question: Question, now: datetime) -> dict[str, float | None]:
    """Sentiment on record at that moment, and of outside sources now, where there are any."""
    from trader.storage.sentiment_log import SentimentHistory

    store = HistoryStore(config.data_dir, config.exchange)
    recalled = SentimentHistory(store).at(question.pair, now)
    if question.at is not None or not config.sentiment_sources:
        return recalled
    from trader.exchanges.outside import OutsideSentiment, open_sources

    sources = open_sources(config.sentiment_sources)
    sentiment = OutsideSentiment(sources)
    sentiment.wait(_PATIENCE_S)
    sentiment.close()
    fresh = {name: value for name, value in sentiment.at(now).items() if value is not None}
    return {**dict.fromkeys(n for s in sources for n in s.names), **recalled, **fresh}


def _model_in_use(
    models: ModelSource | None, question: Question, now: datetime, tell: Callable[[str], None]
) -> Any | None:
    """The model that the signal is from; a damaged one is told of and left out."""
    if models is None:
        return None
    try:
        return models.model_for(question.pair, question.timeframe, now)
    except ModelError as fault:
        tell(f"{fault.message}. {fault.hint}")
        return None


def _models(config: Config, pair: Pair, exchange: str) -> ModelSource | None:
    """The models trained on candles of that exchange; None, and nothing imported, without any."""
    if not (config.models_dir / pair.slug).is_dir():
        return None
    from trader.storage.model_store import ModelStore

    return ModelStore(config.models_dir, exchange)


def _daily_atr(candles: Candles) -> Decimal | None:
    found = daily_atr(candles)
    return None if found is None else to_decimal(found)


def _emergency(config: Config) -> str:
    if config.emergency_stop:
        return "EMERGENCY_STOP is set"
    from trader.storage.stop_switch import StopSwitch

    request = StopSwitch(config.data_dir).read()
    return "" if request is None else request.reason or "emergency stop"


def _planned(
    config: Config, signal: Signal, view: MarketView, now: datetime
) -> tuple[Approval | None, tuple[Refusal, ...]]:
    """The order for a fresh account of the configured size, or what forbids it."""
    if signal.action is Action.HOLD:
        return None, ()
    portfolio = Portfolio(view.pair.quote, cash=config.sandbox_balance)
    manager = RiskManager(RiskLimits.of(config))
    verdict = manager.review(signal, portfolio, view, now)
    if isinstance(verdict, Approval):
        return verdict, ()
    refusals = manager.refusals(signal, portfolio, view, now)
    return None, refusals or ((verdict,) if verdict is not None else ())


def as_document(answer: Answer) -> dict[str, Any]:
    """The answer as the JSON that programs read."""
    snapshot, signal, model = answer.snapshot, answer.signal, answer.model
    return {
        "pair": str(answer.question.pair),
        "timeframe": str(answer.question.timeframe),
        "mode": answer.mode,
        "closed_at": snapshot.closed_at,
        "price": snapshot.price,
        "indicators": snapshot.indicators,
        "patterns": snapshot.patterns,
        "sentiment": dict(snapshot.sentiment),
        "timeframes": {str(t): dict(v) for t, v in answer.timeframes.items()},
        "cross_market": dict(answer.others),
        "signal": {
            "action": str(signal.action),
            "confidence": signal.confidence,
            "reasons": list(signal.reasons),
            "strategy": signal.strategy,
            "target_weight": signal.target_weight,
        },
        "model": {
            "id": None if model is None else model.id,
            "trained_at": getattr(model, "trained_at", None),
            "licence": _licence_document(model),
        },
        "plan": None if answer.plan is None else _plan_document(answer.plan),
        "refusals": [{"rule": r.rule, "reason": r.reason} for r in answer.refusals],
        "source": answer.source,
        "digest": snapshot.digest,
    }


def _licence_document(model: Any) -> dict[str, Any] | None:
    licence = getattr(model, "licence", None)
    if licence is None:
        return None
    return {"granted": licence.granted, "reasons": list(licence.reasons)}


def _plan_document(plan: Approval) -> dict[str, Any]:
    def number(value: Decimal | None) -> float | None:
        return None if value is None else float(value)

    return {
        "side": str(plan.side),
        "quantity": number(plan.quantity),
        "entry": number(plan.entry),
        "stop": number(plan.stop),
        "take_profit": number(plan.take_profit),
        "risk_quote": number(plan.risk_quote),
        "cost_quote": number(plan.cost_quote),
        "break_even_probability": plan.break_even_probability,
        "order_type": str(plan.order_type),
        "reasons": list(plan.reasons),
    }
