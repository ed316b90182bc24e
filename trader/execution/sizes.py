"""How much of a position can be sold, and the stop it should have: questions, no deeds."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trader.domain.markets import MarketRules, Pair
from trader.domain.order_life import OrderBookkeeping
from trader.domain.orders import Purpose, Side
from trader.domain.portfolio import Position

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class StopTerms:
    """Quantity (base) and price (quote per base) of the stop a position should have."""

    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class NoStop:
    """Why a position can have no new stop of its own just now.

    Attributes:
        terms: of a stop too small to be placed; one that is live with these terms is left alone.
    """

    reason: str
    terms: StopTerms | None = None


def being_sold(orders: OrderBookkeeping, pair: Pair) -> Decimal:
    """Base that live orders other than the stop are about to sell."""
    return sum(
        (
            order.remaining
            for order in orders.live(pair)
            if order.request.side is Side.SELL and order.purpose is not Purpose.STOP
        ),
        ZERO,
    )


def saleable(rules: MarketRules, position: Position, wanted: Decimal | None = None) -> Decimal:
    """Base of a position that can be sold; a rest too small to sell later goes with it.

    Args:
        rules: of the position's market.
        position: what is held.
        wanted: how much is to be sold (base), None for all.
    """
    whole = rules.quantity_down(position.quantity)
    part = whole if wanted is None else min(rules.quantity_down(wanted), whole)
    if whole - part < rules.order_minimum:
        part = whole
    return part if part >= rules.order_minimum else ZERO


def wanted_stop(rules: MarketRules, position: Position, sold: Decimal) -> StopTerms | NoStop:
    """The stop that guards what is held, less what other orders are about to sell.

    Args:
        rules: of the position's market.
        position: what is held, with the stop of its plan.
        sold: base that is on its way out by something else than the stop.
    """
    if position.stop is None:
        return NoStop("its plan has no stop")
    quantity = rules.quantity_down(position.quantity - sold)
    price = rules.price_down(position.stop)
    if quantity <= 0:
        return NoStop("an order selling all of it is on its way")
    if quantity < rules.order_minimum or quantity * price < rules.cost_minimum:
        reason = f"{quantity} {position.pair.base} is below the exchange's minimum"
        return NoStop(reason, StopTerms(quantity, price))
    return StopTerms(quantity, price)
