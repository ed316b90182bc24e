"""The rules that may refuse a trade, in the order they are asked. Pure.

A rule is a function `RiskContext → Refusal | None`; a refusal names the rule and the numbers.
Rules in `ALWAYS` hold for every order; those in `RISK_ADDING` for purchases only, so that a way
out of a position is never blocked by a limit on getting in. How much a purchase may be at most
is the matter of `trader.risk.caps`. docs/risk-states.md has the states these rules make.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from trader.domain.candles import Timeframe
from trader.domain.markets import FeeRates, MarketRules, Pair
from trader.domain.orders import OrderType, Side
from trader.domain.portfolio import Portfolio, Position, fall
from trader.domain.signals import Refusal

ZERO = Decimal(0)
_MINUTE = "%Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What the owner of the account allows. Fractions of equity: 0.01 is one percent.

    Attributes:
        risk_per_trade: lost at most when the stop of a position is hit, costs included.
        max_position_fraction: largest value of one position.
        max_exposure: largest value of all positions together.
        max_correlated_exposure: largest value of a position and what moves with it.
        stop_atr_multiple: distance of the stop in daily average true ranges.
        risk_reward: distance of the target in stop distances; 0 sets none.
        max_daily_loss: loss of a UTC day, realised and open; one that closes with it forbids the
            day after as well.
        max_drawdown: fall from the highest equity.
        drawdown_pause_days: pause after that fall; then purchases are smaller until half of the
            fall is made good. 0 waits for a person.
        recovery_share: part of the usual size while that lasts.
        max_consecutive_losses: losing trades in a row before a pause.
        cool_down: length of that pause, from the last loss on.
        confidence_threshold: probability a model's own forecast must have.
        edge_margin: by which that probability must exceed break-even, where there is a target.
        max_spread: between bid and ask, as a fraction of their mean.
        max_data_age: age of the newest closed candle, in candles.
        smallest_addition: value of an addition to a position, as a fraction of equity; smaller
            ones are not worth their fees.
        volatility_target: annualised volatility one position may bring to the account; 0 sets
            no such cap.
        kelly_share: part of Kelly's fraction as a cap where a probability and a target are
            known; 0 sets no such cap.
        trailing_atr_multiple: the stop follows the highest close since the entry at this distance
            in daily ranges; 0 leaves it where it is.
        max_holding_days: a position held so long is sold; 0 for as long as the strategy wants.
        depth_share: part of what is offered near the best ask that one purchase may take.
        entry_patience_minutes: how long a purchase waits as a maker before it takes; 0 takes at
            once.
        emergency_stop: nothing is bought.
    """

    risk_per_trade: Decimal = Decimal("0.04")
    max_position_fraction: Decimal = Decimal("0.5")
    max_exposure: Decimal = Decimal(1)
    max_correlated_exposure: Decimal = Decimal("0.75")
    stop_atr_multiple: Decimal = Decimal(4)
    risk_reward: Decimal = ZERO
    max_daily_loss: Decimal = Decimal("0.03")
    max_drawdown: Decimal = Decimal("0.20")
    drawdown_pause_days: int = 30
    recovery_share: Decimal = Decimal("0.5")
    max_consecutive_losses: int = 5
    cool_down: timedelta = timedelta(hours=24)
    max_open_positions: int = 3
    confidence_threshold: float = 0.55
    edge_margin: float = 0.0
    max_spread: Decimal = Decimal("0.01")
    max_data_age: Decimal = Decimal(2)
    smallest_addition: Decimal = Decimal("0.01")
    volatility_target: Decimal = ZERO
    kelly_share: Decimal = ZERO
    trailing_atr_multiple: Decimal = ZERO
    max_holding_days: int = 0
    depth_share: Decimal = Decimal("0.25")
    entry_patience_minutes: int = 0
    emergency_stop: bool = False

    @classmethod
    def of(cls, settings: object) -> RiskLimits:
        """The limits among settings that bear the same names; defaults for those that do not."""
        names = [f.name for f in dataclasses.fields(cls) if hasattr(settings, f.name)]
        return cls(**{name: getattr(settings, name) for name in names})


@dataclass(frozen=True, slots=True)
class MarketView:
    """What is known of a market when an order is weighed.

    Attributes:
        rules: what the exchange demands of an order.
        fees: what the account pays.
        price: last or expected price, quote per base.
        data_closed_at: when the newest closed candle closed, or a live price was read.
        bid: best bid, None if unknown; likewise `ask`.
        daily_atr: average true range of a day, quote; None if unknown
            (`trader.risk.stops.daily_atr`).
        slippage: fraction of the price a market order is expected to lose.
        timeframe: of the candles decided on; tells how old data may be.
        prices: of all held pairs, for the worth of the account.
        pending: pair → quote bound by purchases that are not filled yet.
        available_quote: what the exchange would let us spend; None takes the portfolio's cash.
        volatility: annualised, None if unknown.
        correlations: with other pairs, of daily returns; empty if unknown.
        ask_depth: base offered near the best ask; None if unknown.
        model_trouble: why the model in use is not to be followed, empty for none.
        emergency: why there is an emergency stop, empty for none.
    """

    pair: Pair
    rules: MarketRules
    fees: FeeRates
    price: Decimal
    data_closed_at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    daily_atr: Decimal | None = None
    slippage: Decimal = ZERO
    timeframe: Timeframe | None = None
    prices: Mapping[Pair, Decimal] = field(default_factory=dict)
    pending: Mapping[Pair, Decimal] = field(default_factory=dict)
    available_quote: Decimal | None = None
    volatility: Decimal | None = None
    correlations: Mapping[Pair, float] = field(default_factory=dict)
    ask_depth: Decimal | None = None
    model_trouble: str = ""
    emergency: str = ""

    def price_of(self, pair: Pair) -> Decimal | None:
        """The price of this or a held pair, None if unknown."""
        return self.price if pair == self.pair else self.prices.get(pair)


@dataclass(frozen=True, slots=True)
class RiskContext:
    """One wish to trade and everything it is judged by.

    Attributes:
        closed_at: close of the candle, or moment of the manual order, it is about.
        probability: calibrated chance of a rise where a model speaks for itself, else None.
        held: the position in the pair; None for none, and where only dust is held.
        equity: worth of the account now, quote; a held pair without a price counts at its entry
            (a purchase in such a state is refused by `prices_known`).
    """

    limits: RiskLimits
    portfolio: Portfolio
    market: MarketView
    now: datetime
    side: Side
    closed_at: datetime
    order_type: OrderType = OrderType.MARKET
    post_only: bool = False
    probability: float | None = None
    held: Position | None = field(init=False)
    equity: Decimal = field(init=False)

    def __post_init__(self) -> None:
        """Reckon what nearly every rule asks for, once."""
        object.__setattr__(self, "held", self.portfolio.open_position(self.market.pair))
        worth = sum(map(self.value_of, self.portfolio.positions), ZERO)
        object.__setattr__(self, "equity", self.portfolio.cash + worth)

    def value_of(self, pair: Pair) -> Decimal:
        """Worth of what is held of a pair, quote."""
        held = self.portfolio.position(pair)
        if held is None:
            return ZERO
        price = self.market.price_of(pair)
        return held.quantity * (held.entry_price if price is None else price)

    def refuse(self, rule: str, reason: str) -> Refusal:
        """A refusal of this wish."""
        return Refusal(self.market.pair, self.closed_at, rule, reason)


Rule: TypeAlias = Callable[[RiskContext], Refusal | None]


class RiskState(StrEnum):
    """What the account as a whole may do; docs/risk-states.md is the table."""

    TRADING = "trading"
    NO_NEW_RISK = "no new risk"
    REDUCE_ONLY = "reduce only"
    STOPPED = "flat and stopped"


def market_status(context: RiskContext) -> Refusal | None:
    """The market takes such an order now."""
    status, kind = context.market.rules.status, context.order_type
    if context.market.rules.takes(
        buy=context.side is Side.BUY,
        limit=kind is OrderType.LIMIT,
        post_only=context.post_only,
    ):
        return None
    return context.refuse(
        "market-status", f"the market is in mode {status}: no {kind} {context.side} order"
    )


def price_known(context: RiskContext) -> Refusal | None:
    """There is a price above zero."""
    price = context.market.price
    if price.is_finite() and price > 0:
        return None
    return context.refuse("stale-data", f"no valid price of {context.market.pair}: {price}")


def emergency_stop(context: RiskContext) -> Refusal | None:
    """No emergency stop is in force."""
    why = context.market.emergency
    if not why and context.limits.emergency_stop:
        why = "EMERGENCY_STOP is set"
    return context.refuse("emergency-stop", f"emergency stop: {why}") if why else None


def fresh_data(context: RiskContext) -> Refusal | None:
    """The newest candle is young, and not from the future."""
    market = context.market
    length = market.timeframe.delta if market.timeframe else timedelta(hours=12)
    oldest = length * float(context.limits.max_data_age)
    age = context.now - market.data_closed_at
    if timedelta(0) <= age <= oldest:
        return None
    if age < timedelta(0):
        text = f"the newest candle closes {-age} after now: the clock is wrong"
    else:
        text = f"the newest candle closed {age} ago, more than {oldest}"
    return context.refuse("stale-data", text)


def prices_known(context: RiskContext) -> Refusal | None:
    """Every held pair has a price, so that the worth of the account is known."""
    missing = [str(p) for p in context.portfolio.open_pairs if context.market.price_of(p) is None]
    if not missing:
        return None
    return context.refuse("stale-data", f"no price of {', '.join(missing)}, which is held")


def daily_loss(context: RiskContext) -> Refusal | None:
    """Not too much was lost in this UTC day, or in the one before by its close."""
    limits = context.limits
    found = day_loss(context.portfolio, context.equity, limits, context.now)
    if found.fraction < limits.max_daily_loss:
        return None
    since = "" if found.since is None else f" since {found.since:{_MINUTE}} UTC"
    if found.since is not None and found.until is not None:
        since = f" from {found.since:{_MINUTE}} to {found.until:{_MINUTE}} UTC"
    after = f"; nothing is bought on {context.now:%Y-%m-%d}" if found.until else ""
    return context.refuse(
        "daily-loss",
        f"{_percent(found.fraction)} lost{since}, limit {_percent(limits.max_daily_loss)}{after}",
    )


def drawdown(context: RiskContext) -> Refusal | None:
    """Equity has not fallen too far from its peak."""
    portfolio, limits = context.portfolio, context.limits
    if not too_deep(portfolio, context.equity, limits, context.now):
        return None
    peak, until = portfolio.equity_peak, drawdown_pause_until(portfolio, limits)
    after = "after a look, `stop` and `resume` begin anew"
    if until is not None:
        after = f"from {until:%Y-%m-%d} on at {limits.recovery_share:.0%} of the size; {after}"
    return context.refuse(
        "drawdown",
        f"equity {_money(context.equity)} is {_percent(fall(peak, context.equity))} below its "
        f"peak {_money(peak)}, limit {_percent(limits.max_drawdown)}; {after}",
    )


def losing_streak(context: RiskContext) -> Refusal | None:
    """After a run of losses there was a pause."""
    if not pausing(context.portfolio, context.limits, context.now):
        return None
    until = pause_until(context.portfolio, context.limits)
    return context.refuse(
        "losing-streak",
        f"{context.portfolio.losing_streak} losses in a row, limit "
        f"{context.limits.max_consecutive_losses}; pause until {until:%Y-%m-%d %H:%M} UTC",
    )


PENDING = "pending-order"
"""The rule that lets a purchase of before go on in place of a new one."""


def pending_order(context: RiskContext) -> Refusal | None:
    """No purchase of the pair is under way already."""
    bound = context.market.pending.get(context.market.pair)
    if bound is None:
        return None
    return context.refuse(PENDING, f"a purchase of {_money(bound)} is under way already")


def open_positions(context: RiskContext) -> Refusal | None:
    """One more position is allowed, or it is none."""
    taken = set(context.portfolio.open_pairs) | set(context.market.pending)
    limit = context.limits.max_open_positions
    if context.market.pair in taken or len(taken) < limit:
        return None
    names = ", ".join(sorted(map(str, taken)))
    return context.refuse("max-open-positions", f"{len(taken)} of {limit} taken: {names}")


def spread(context: RiskContext) -> Refusal | None:
    """Bid and ask are not far apart."""
    bid, ask, limit = context.market.bid, context.market.ask, context.limits.max_spread
    if bid is None or ask is None:
        return None
    width = (ask - bid) / ((ask + bid) / 2) if bid > 0 else Decimal(2)
    if width <= limit:
        return None
    return context.refuse("spread", f"spread {_percent(width)}, limit {_percent(limit)}")


def confidence(context: RiskContext) -> Refusal | None:
    """A model that speaks for itself is sure enough."""
    found, needed = context.probability, context.limits.confidence_threshold
    if found is None or found >= needed:
        return None
    return context.refuse("confidence", f"probability {found:.3f}, needs {needed:.3f}")


def model_health(context: RiskContext) -> Refusal | None:
    """A model that speaks for itself is not one that is doubted."""
    if context.probability is None or not context.market.model_trouble:
        return None
    return context.refuse("model-health", context.market.model_trouble)


ALWAYS: tuple[Rule, ...] = (market_status, price_known)
RISK_ADDING: tuple[Rule, ...] = (
    emergency_stop, fresh_data, prices_known, drawdown, daily_loss, losing_streak, pending_order,
    open_positions, spread, model_health, confidence,
)  # fmt: skip


def rules_for(side: Side) -> tuple[Rule, ...]:
    """The rules an order of that side must pass, in order."""
    return ALWAYS + RISK_ADDING if side is Side.BUY else ALWAYS


@dataclass(frozen=True, slots=True)
class DayLoss:
    """What a UTC day has lost, realised and open.

    Attributes:
        fraction: of the equity it began with, ≥ 0.
        since: the mark it began with, None before the first.
        until: the mark that closed it, None while it lasts.
    """

    fraction: Decimal
    since: datetime | None = None
    until: datetime | None = None


def day_loss(portfolio: Portfolio, equity: Decimal, limits: RiskLimits, now: datetime) -> DayLoss:
    """The loss that is held against the limit of a day.

    That of the day that lasts; a day lasts until the mark that closes it. Or that of the day
    before, where that one has lost too much by its close: a loss in its last candle, or in its
    only one, would else forbid nothing.
    """
    today, before = now.date(), portfolio.day_before
    if portfolio.day not in (today.isoformat(), (today - timedelta(days=1)).isoformat()):
        return DayLoss(fall(portfolio.last_equity, equity), portfolio.last_marked_at)
    found = DayLoss(fall(portfolio.day_start_equity, equity), portfolio.day_start_at)
    blocks = portfolio.day == today.isoformat() and before is not None
    if blocks and before is not None and before.loss >= max(limits.max_daily_loss, found.fraction):
        return DayLoss(before.loss, before.began_at, before.closed_at)
    return found


def too_deep(portfolio: Portfolio, equity: Decimal, limits: RiskLimits, now: datetime) -> bool:
    """Whether equity is too far below its peak and the pause after that is not over."""
    if fall(portfolio.equity_peak, equity) < limits.max_drawdown:
        return False
    until = drawdown_pause_until(portfolio, limits)
    return until is None or now < until


def lost_too_much_today(
    portfolio: Portfolio, equity: Decimal, limits: RiskLimits, now: datetime
) -> bool:
    """Whether more was lost than a day may lose: in this one, or in the one before."""
    return day_loss(portfolio, equity, limits, now).fraction >= limits.max_daily_loss


def pausing(portfolio: Portfolio, limits: RiskLimits, now: datetime) -> bool:
    """Whether the pause after a losing streak is not over."""
    until = pause_until(portfolio, limits)
    return until is not None and now < until


def drawdown_pause_until(portfolio: Portfolio, limits: RiskLimits) -> datetime | None:
    """When the pause after a drawdown ends by itself; None if it has not begun or never does."""
    if portfolio.risk_state != RiskState.REDUCE_ONLY or portfolio.risk_state_since is None:
        return None
    if not limits.drawdown_pause_days:
        return None
    return portfolio.risk_state_since + timedelta(days=limits.drawdown_pause_days)


def pause_until(portfolio: Portfolio, limits: RiskLimits) -> datetime | None:
    """When the pause after a losing streak ends; None without such a streak."""
    if portfolio.losing_streak < limits.max_consecutive_losses or portfolio.last_loss_at is None:
        return None
    return portfolio.last_loss_at + limits.cool_down


def _percent(fraction: Decimal) -> str:
    return f"{fraction * 100:.2f} %"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"
