"""How much of a pair may be bought at most, by each limit on its own. Pure.

A cap is a function `Purchase → Cap | None`; the smallest one decides and names itself in the
plan's reasons, or in the refusal when it leaves less than the exchange takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from trader.domain.markets import to_decimal, unit_of
from trader.risk import sizing
from trader.risk.limits import ZERO, RiskContext
from trader.risk.sizing import ONE, RoundTrip


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase whose size is to be found.

    Attributes:
        entry: expected price, quote per base.
        stop: protective stop of the whole position afterwards.
        target: take-profit price, None for none.
        target_weight: fraction of equity the strategy wants in the pair, None if it only names
            a direction.
        loss_per_unit: quote lost on one base when the stop is hit, costs included.
        held_quote: worth of what is held of the pair already.
        price_paid: expected price with slippage, fee not included.
    """

    context: RiskContext
    entry: Decimal
    stop: Decimal
    target: Decimal | None
    costs: RoundTrip
    target_weight: float | None = None
    loss_per_unit: Decimal = field(init=False)
    held_quote: Decimal = field(init=False)
    price_paid: Decimal = field(init=False)

    def __post_init__(self) -> None:
        """Reckon what every cap asks for, once."""
        held = self.context.value_of(self.context.market.pair)
        object.__setattr__(self, "loss_per_unit", self.costs.loss(self.entry, self.stop))
        object.__setattr__(self, "held_quote", held)
        object.__setattr__(self, "price_paid", self.entry * (1 + self.costs.entry_slippage))


@dataclass(frozen=True, slots=True)
class Cap:
    """The most a rule allows.

    Attributes:
        quantity: base, ≥ 0, not rounded.
        say: makes the `words`; most caps do not decide and are never put into words.
    """

    rule: str
    quantity: Decimal
    say: Callable[[], str]

    @property
    def words(self) -> str:
        """The numbers behind it."""
        return self.say()


CapRule: TypeAlias = Callable[[Purchase], Cap | None]


def risk_per_trade(purchase: Purchase) -> Cap:
    """When the stop is hit the whole position has lost no more than the fraction of equity.

    Against what was paid for it, costs included: profit that is given back is no loss of the
    trade. (It is one of the account, which the limit on its drawdown looks after.)
    """
    context = purchase.context
    fraction = context.limits.risk_per_trade
    held = context.held
    bound = ZERO
    if held is not None:
        back = held.quantity * purchase.costs.received(purchase.stop)
        bound = max(ZERO, held.cost_quote - back)
    budget = fraction * context.equity - bound
    quantity = sizing.risk_quantity(budget, purchase.loss_per_unit)
    in_use = f", {bound:,.2f} in use" if bound else ""
    return Cap(
        "risk-per-trade", quantity,
        lambda: f"{fraction:.2%} of equity {context.equity:,.2f} at risk{in_use}",
    )  # fmt: skip


def position_fraction(purchase: Purchase) -> Cap:
    """The position is worth no more than its fraction of equity."""
    fraction, held = purchase.context.limits.max_position_fraction, purchase.held_quote
    return _by_weight(
        "max-position-fraction", purchase, fraction, held,
        lambda: f"{fraction:.2%} of equity in one pair, {held:,.2f} held",
    )  # fmt: skip


def exposure(purchase: Purchase) -> Cap:
    """All positions and pending purchases are worth no more than their fraction of equity."""
    context = purchase.context
    held = sum(map(context.value_of, context.portfolio.positions), ZERO)
    held += sum(context.market.pending.values(), ZERO)
    fraction = context.limits.max_exposure
    return _by_weight(
        "max-exposure", purchase, fraction, held,
        lambda: f"{fraction:.2%} of equity in all pairs, {held:,.2f} taken",
    )  # fmt: skip


def correlated_exposure(purchase: Purchase) -> Cap | None:
    """The position and what moves with it are worth no more than their fraction of equity.

    Other positions count by their correlation with this pair; negative ones count nothing.
    """
    context = purchase.context
    known = context.market.correlations
    others = {p: known[p] for p in context.portfolio.positions if p in known}
    others.pop(context.market.pair, None)
    if not others:
        return None
    weight = [context.value_of(pair) * to_decimal(max(0.0, rho)) for pair, rho in others.items()]
    held = purchase.held_quote + sum(weight, ZERO)
    fraction = context.limits.max_correlated_exposure
    return _by_weight(
        "max-correlated-exposure", purchase, fraction, held,
        lambda: f"{fraction:.2%} of equity in what moves together, {held:,.2f} taken",
    )  # fmt: skip


def target_weight(purchase: Purchase) -> Cap | None:
    """No more than the strategy asks for."""
    if purchase.target_weight is None:
        return None
    wanted = to_decimal(purchase.target_weight)
    return _by_weight(
        "target-weight", purchase, wanted, purchase.held_quote,
        lambda: f"the strategy wants {wanted:.2%} of equity",
    )  # fmt: skip


def recovery(purchase: Purchase) -> Cap | None:
    """A part of the usual size after a drawdown, until half of the fall is made good."""
    context = purchase.context
    until = context.portfolio.recovering_to
    if until is None:
        return None
    usual = context.limits.max_position_fraction
    if purchase.target_weight is not None:
        usual = min(usual, to_decimal(purchase.target_weight))
    part = context.limits.recovery_share
    return _by_weight(
        "recovery", purchase, part * usual, purchase.held_quote,
        lambda: f"{part:.0%} of the usual size after a drawdown, until equity is {until:,.2f}",
    )  # fmt: skip


def volatility(purchase: Purchase) -> Cap | None:
    """The position swings no more than the volatility target allows."""
    limit, found = purchase.context.limits.volatility_target, purchase.context.market.volatility
    if limit <= 0 or found is None or found <= 0:
        return None
    weight = sizing.volatility_weight(limit, found)
    return _by_weight(
        "volatility", purchase, weight, purchase.held_quote,
        lambda: f"volatility {found:.1%} a year, target {limit:.1%}",
    )  # fmt: skip


def kelly(purchase: Purchase) -> Cap | None:
    """No more at risk than a share of Kelly's fraction, where the odds are known."""
    context = purchase.context
    share, chance = context.limits.kelly_share, context.probability
    if share <= 0 or chance is None or purchase.target is None:
        return None
    fraction = sizing.kelly_risk_fraction(
        to_decimal(chance),
        purchase.costs.gain(purchase.entry, purchase.target),
        purchase.loss_per_unit,
        share,
        context.limits.risk_per_trade,
    )
    quantity = sizing.risk_quantity(fraction * context.equity, purchase.loss_per_unit)
    return Cap("kelly", quantity, lambda: f"{fraction:.3%} of equity at risk by the odds")


def depth(purchase: Purchase) -> Cap | None:
    """No more than a part of what is offered near the best price."""
    offered, share = purchase.context.market.ask_depth, purchase.context.limits.depth_share
    if offered is None or share <= 0:
        return None
    return Cap(
        "depth", share * offered,
        lambda: f"{share:.0%} of the {offered:f} offered near the best price",
    )  # fmt: skip


def cash(purchase: Purchase) -> Cap:
    """No more than the cash pays, fee and slippage included."""
    context = purchase.context
    free = context.portfolio.cash
    if context.market.available_quote is not None:
        free = min(free, context.market.available_quote)
    else:
        free -= sum(context.market.pending.values(), ZERO)
    # Each fill's cost and fee are rounded by the exchange: a little is kept back for that.
    free -= 20 * unit_of(context.market.rules.cost_decimals)
    paid = purchase.costs.paid(purchase.entry)
    return Cap(
        "cash", sizing.affordable_quantity(free, paid),
        lambda: f"{max(free, ZERO):,.2f} {context.market.pair.quote} free",
    )  # fmt: skip


SIZE_CAPS: tuple[CapRule, ...] = (
    target_weight, recovery, position_fraction, exposure, correlated_exposure, volatility, depth,
    cash,
)  # fmt: skip
"""Those that do not depend on the stop."""
CAPS: tuple[CapRule, ...] = (
    target_weight, recovery, risk_per_trade, position_fraction, exposure, correlated_exposure,
    volatility, kelly, depth, cash,
)  # fmt: skip


def caps_of(purchase: Purchase) -> list[Cap]:
    """Every cap that applies, the smallest first; of equals the one asked first."""
    found = [cap for rule in CAPS if (cap := rule(purchase)) is not None]
    return sorted(found, key=lambda cap: cap.quantity)


def raised_stop(purchase: Purchase, highest: Decimal) -> Decimal:
    """The lowest stop, from the purchase's up, at which all that is wanted may be bought.

    At that stop the whole position loses what one trade may lose, and so does what is added by
    itself, for profit that what is held has behind the stop gives no room:
    paid for what is held + added · paid − received(stop) · (held + added) = budget, and
    added · (paid − received(stop)) = budget; the higher stop of the two.

    Args:
        purchase: an addition, with the stop that the position has.
        highest: not raised above this, however much is wanted.
    """
    context = purchase.context
    wanted = min(cap.quantity for rule in SIZE_CAPS if (cap := rule(purchase)) is not None)
    if context.held is None or wanted <= risk_per_trade(purchase).quantity:
        return purchase.stop
    added = wanted * purchase.costs.paid(purchase.entry)
    budget = context.limits.risk_per_trade * context.equity
    whole = (context.held.cost_quote + added - budget) / (context.held.quantity + wanted)
    needed = max(whole, (added - budget) / wanted) / purchase.costs.received(ONE)
    return min(max(context.market.rules.price_up(needed), purchase.stop), highest)


def _by_weight(
    rule: str, purchase: Purchase, weight: Decimal, held: Decimal, say: Callable[[], str]
) -> Cap:
    quantity = sizing.weight_quantity(weight, purchase.context.equity, held, purchase.price_paid)
    return Cap(rule, quantity, say)
