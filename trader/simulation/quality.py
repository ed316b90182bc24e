"""How well orders were executed: what was expected, what was paid, and how long it took. Pure.

Read from the journal alone, so it is there for every order ever sent. A backtest can take its
slippage from what an account has really met: `measured_slippage`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trader.domain.events import Event, OrderEnded, OrderFilled, OrderIntended
from trader.domain.orders import Liquidity, OrderType, Purpose, Side

ZERO = Decimal(0)
FEWEST = 30
"""Orders below which a mean says too little."""


@dataclass(slots=True)
class OrderQuality:
    """One order and what became of it.

    Attributes:
        expected: price when it was decided, quote per base; None where none was journalled.
        filled: base executed; `cost` and `fee` in quote, `made` the part of `filled` that gave
            liquidity.
        filled_at: of the last fill.
        ended: it is over.
    """

    order_id: str
    side: Side
    purpose: Purpose
    type: OrderType
    wanted: Decimal
    intended_at: datetime
    expected: Decimal | None
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    made: Decimal = ZERO
    filled_at: datetime | None = None
    ended: bool = False

    @property
    def slippage(self) -> Decimal | None:
        """Fraction by which it filled worse than expected (negative: better); None if unknown."""
        if not self.filled or not self.expected:
            return None
        worse = self.cost / self.filled / self.expected - 1
        return worse if self.side is Side.BUY else -worse

    @property
    def waited(self) -> timedelta | None:
        """From the intent to the last fill, None without a fill."""
        return None if self.filled_at is None else self.filled_at - self.intended_at


def order_qualities(events: Iterable[Event]) -> list[OrderQuality]:
    """Every order in a journal, oldest first."""
    found: dict[str, OrderQuality] = {}
    for event in events:
        match event:
            case OrderIntended(request=q):
                found[q.order_id] = OrderQuality(
                    q.order_id, q.side, event.purpose, q.type, q.quantity, event.at,
                    event.expected,
                )  # fmt: skip
            case OrderFilled(fill=f) if f.order_id in found:
                order = found[f.order_id]
                order.filled += f.quantity
                order.cost += f.cost_quote
                order.fee += f.fee_quote
                order.made += f.quantity if f.liquidity is Liquidity.MAKER else ZERO
                order.filled_at = f.filled_at
            case OrderEnded(order_id=order_id) if order_id in found:
                found[order_id].ended = True
    return list(found.values())


def measured_slippage(qualities: Iterable[OrderQuality]) -> tuple[int, Decimal | None]:
    """How many orders took liquidity, and the mean fraction they lost against what was expected.

    Weighted by what was traded; never below 0: a run of luck is no cost model. None with fewer
    than 30 orders.
    """
    taken = [(q.cost, q.slippage) for q in qualities if q.slippage is not None and not q.made]
    if len(taken) < FEWEST:
        return len(taken), None
    lost = sum((cost * slippage for cost, slippage in taken if slippage is not None), ZERO)
    return len(taken), max(ZERO, lost / sum((cost for cost, _ in taken), ZERO))


def summary(qualities: list[OrderQuality]) -> dict[str, Any]:
    """What a person wants to know of all orders, as plain values.

    `slippage_bp` against what was expected when the order was decided, takers and makers each;
    `maker_share` of what was bought by value; `unfilled` orders that ended without a fill.
    """
    bought = [q for q in qualities if q.side is Side.BUY and q.filled]
    value = sum((q.cost for q in bought), ZERO)
    made = sum((q.cost * q.made / q.filled for q in bought), ZERO)
    waits = sorted(q.waited.total_seconds() for q in bought if q.waited is not None)
    return {
        "orders": len(qualities),
        "unfilled": sum(q.ended and not q.filled for q in qualities),
        "taker_slippage_bp": _mean_bp([q for q in qualities if not q.made]),
        "maker_slippage_bp": _mean_bp([q for q in qualities if q.made]),
        "maker_share": round(float(made / value), 4) if value else None,
        "median_wait_s": waits[len(waits) // 2] if waits else None,
    }


def _mean_bp(qualities: list[OrderQuality]) -> float | None:
    known = [(q.cost, q.slippage) for q in qualities if q.slippage is not None]
    cost = sum((c for c, _ in known), ZERO)
    if not cost:
        return None
    return round(float(sum((c * s for c, s in known if s is not None), ZERO) / cost * 10_000), 2)
