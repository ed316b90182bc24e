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
    # A third of the purchases waits as a maker, follows the touch and takes in the end.
    entry_patience_minutes=45,
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
    """The plan with near stops and targets; some purchases and sales wait at a price.

    A third of the purchases keeps the patience the rules gave it, a third waits at one price below
    the market, a third takes at once.
    """

    def away(low: float, high: float) -> Decimal:
        return Decimal(repr(round(chance.uniform(low, high), 6)))

    if plan.side is Side.SELL:
        waits = chance.random() < 0.2
        above = rules.price_up(plan.entry * (ONE + away(0.0005, 0.01)))
        return _at(plan, above if waits else None)
    near = replace(
        plan,
        stop=rules.price_down(plan.entry * (ONE - away(0.012, 0.04))),
        take_profit=rules.price_up(plan.entry * (ONE + away(0.003, 0.03))),
    )
    roll = chance.random()
    if roll < 1 / 3 and plan.patience is not None:
        return near
    below = rules.price_down(plan.entry * (ONE - away(0.0005, 0.01)))
    return _at(near, below if roll < 2 / 3 else None)


def _at(plan: Approval, limit: Decimal | None) -> Approval:
    """The plan as a resting order at this price, or as one that takes at once."""
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return replace(plan, order_type=kind, limit_price=limit, patience=None)


def _dice(purpose: str, pair: object, closed_at: datetime) -> Random:
    return Random(f"{purpose}|{pair}|{closed_at.isoformat()}")
