"""How a purchase waits for a better price, and when it stops waiting. Pure.

A purchase begins as a post-only limit order at the best bid: it pays the maker's fee and saves the
spread, but it may not fill. It follows the bid upwards only as far as buying at once would have
cost; when its time is up the rest is bought at the ask, unless the price has run away by more than
a round trip costs: then the next decision begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from trader.domain.markets import FeeRates, MarketRules, Ticker
from trader.domain.signals import Patience

LOOK_EVERY = timedelta(minutes=30)
"""So often the price of a waiting order is compared with the market."""
MOST_ORDERS = 12
"""Orders of one purchase, the last one (which takes) not counted."""


class Move(StrEnum):
    """What to do about a purchase that waits."""

    WAIT = "wait"
    FOLLOW = "follow"
    TAKE = "take"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Step:
    """A move, its reason, and for FOLLOW the new limit price."""

    move: Move
    reason: str = ""
    price: Decimal | None = None


def patience(
    entry: Decimal, fees: FeeRates, slippage: Decimal, now: datetime, longest: timedelta
) -> Patience | None:
    """How a purchase may wait; None where waiting saves nothing.

    Args:
        entry: what buying at once would be expected to cost, quote per base.
        fees: of the account.
        slippage: fraction a market order is expected to lose.
        now: the moment of the decision.
        longest: how long it may wait; 0 for not at all.
    """
    saving = fees.taker + slippage - fees.maker
    if longest <= timedelta(0) or saving <= 0:
        return None
    round_trip = 2 * (fees.taker + slippage)
    return Patience(now + longest, entry * (1 + saving), entry * (1 + round_trip))


def next_step(
    plan: Patience, now: datetime, ticker: Ticker, resting: Decimal | None, orders: int,
    rules: MarketRules,
) -> Step:  # fmt: skip
    """What to do now.

    Args:
        plan: the purchase's own limits.
        now: the present moment.
        ticker: the market now.
        resting: price of the order that waits, None if none does.
        orders: how many there were.
        rules: for the tick.
    """
    if now >= plan.until:
        if ticker.ask > plan.give_up_above:
            return Step(
                Move.GIVE_UP,
                f"the ask {ticker.ask.normalize():f} has run away by more than a round trip costs",
            )
        return Step(Move.TAKE, f"not filled as a maker until {plan.until:%H:%M} UTC")
    price = rules.price_down(min(ticker.bid, plan.follow_to))
    if orders >= MOST_ORDERS or (resting is not None and price <= resting):
        return Step(Move.WAIT)
    return Step(Move.FOLLOW, f"the bid is {ticker.bid.normalize():f}", price)
