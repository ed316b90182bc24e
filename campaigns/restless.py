"""A strategy that trades for the sake of trading, so that much can go wrong.

It decides by chance drawn from pair and candle alone: a program that was killed and started again
decides the same. Stops and targets lie so near that both are met often.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from risk_manager import MarketView, RiskManager
from trader.domain.markets import MarketRules
from trader.domain.orders import OrderType, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal
from trader.risk.limits import RiskLimits
from trader.strategies.registry import Situation

NAME = "campaigns.restless:decide"
ONE = Decimal(1)

LIMITS = RiskLimits(
    risk_per_trade=Decimal("0.2"),
    max_position_fraction=Decimal("0.45"),
    max_correlated_exposure=ONE,
    stop_atr_multiple=Decimal(2),
    # Losing is part of the exercise: nothing may end the trading.
    max_daily_loss=ONE,
    max_drawdown=ONE,
    max_consecutive_losses=1_000_000,
    cool_down=timedelta(0),
)


def decide(situation: Situation) -> Signal:
    """Buy, add, sell a part or all, or nothing: by the dice of this candle."""
    snapshot, held = situation.snapshot, situation.held_weight
    chance = _dice("signal", snapshot.pair, snapshot.closed_at)
    roll = chance.random()
    action, weight = Action.HOLD, held
    if held < 0.01:
        if roll < 0.5:
            action, weight = Action.BUY, chance.uniform(0.1, 0.4)
    elif roll < 0.2:
        action, weight = Action.SELL, 0.0
    elif roll < 0.35:
        action, weight = Action.SELL, held / 2
    elif roll < 0.5:
        action, weight = Action.BUY, min(0.44, held + 0.1)
    return Signal(
        snapshot.pair, snapshot.closed_at, action, 1.0, ("the dice say so",), "restless", weight
    )


class RestlessRisk(RiskManager):
    """The real rules, and then prices that make for eventful trades."""

    def __init__(self) -> None:
        super().__init__(LIMITS)

    def review(
        self, signal: Signal, portfolio: Portfolio, market: MarketView, now: datetime
    ) -> Approval | Refusal | None:
        """What the rules say; approved prices are moved close to the market's."""
        verdict = super().review(signal, portfolio, market, now)
        if not isinstance(verdict, Approval):
            return verdict
        chance = _dice("prices", signal.pair, signal.closed_at)
        return eventful(verdict, chance, market.rules)


def eventful(plan: Approval, chance: Random, rules: MarketRules) -> Approval:
    """The plan with near stops and targets; half the purchases and some sales wait at a price."""

    def away(low: float, high: float) -> Decimal:
        return Decimal(repr(round(chance.uniform(low, high), 6)))

    waits = chance.random() < (0.5 if plan.side is Side.BUY else 0.2)
    kind = OrderType.LIMIT if waits else OrderType.MARKET
    if plan.side is Side.SELL:
        limit = rules.price_up(plan.entry * (ONE + away(0.0005, 0.01))) if waits else None
        return replace(plan, order_type=kind, limit_price=limit)
    limit = rules.price_down(plan.entry * (ONE - away(0.0005, 0.01))) if waits else None
    return replace(
        plan,
        order_type=kind,
        limit_price=limit,
        stop=rules.price_down(plan.entry * (ONE - away(0.012, 0.04))),
        take_profit=rules.price_up(plan.entry * (ONE + away(0.003, 0.03))),
    )


def _dice(purpose: str, pair: object, closed_at: datetime) -> Random:
    return Random(f"{purpose}|{pair}|{closed_at.isoformat()}")
