"""Lots: what was bought when and for how much, and what each sale of it earned. Pure.

First in, first out, for each pair on its own; fees belong to the lot (bought) or lower what was
received (sold). Coins that came or went otherwise than by a fill of the bot have no cost here:
they are told as lots with the note that their cost is not known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from trader.domain.events import CashAdjusted, Event, OrderFilled
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Purpose, Side
from trader.domain.portfolio import ZERO

if TYPE_CHECKING:
    from trader.simulation.runs import Execution

LOT_COLUMNS = (
    "asset", "quantity", "acquired_at", "cost_quote", "disposed_at", "proceeds_quote",
    "profit_quote", "days_held", "note",
)  # fmt: skip
UNKNOWN_COST = "not bought by the bot: its cost is not known here"


@dataclass(frozen=True, slots=True)
class Lot:
    """A quantity bought at one moment, and sold at one other or held still.

    Attributes:
        cost_quote: what it cost, its share of the fee included.
        disposed_at: None while it is held; likewise `proceeds_quote`, fees already taken off.
        note: empty, or why the cost is not known.
        bought: the fill that it is of; None where it came otherwise.
        sold: the fill that sold it, and what for.
    """

    asset: str
    quantity: Decimal
    acquired_at: datetime
    cost_quote: Decimal
    disposed_at: datetime | None = None
    proceeds_quote: Decimal | None = None
    note: str = ""
    bought: Fill | None = None
    sold: Fill | None = None
    purpose: Purpose | None = None

    @property
    def profit_quote(self) -> Decimal | None:
        """Proceeds less cost, None while it is held."""
        return None if self.proceeds_quote is None else self.proceeds_quote - self.cost_quote


def lots(quote: str, events: Iterable[Event]) -> list[Lot]:
    """Every lot of the account: the sold ones in the order of their sale, then what is held.

    Costs and proceeds add up to those of the fills to the last digit: a part takes its share
    exactly as far as Decimals go, the last part of a fill what is left of it.
    """
    held: dict[str, deque[Lot]] = {}
    sold: list[Lot] = []
    seen: set[str] = set()
    for event in events:
        match event:
            case OrderFilled(fill=fill, purpose=purpose) if fill.trade_id not in seen:
                seen.add(fill.trade_id)
                queue = held.setdefault(fill.pair.base, deque())
                if fill.side is Side.BUY:
                    cost = fill.cost_quote + fill.fee_quote
                    lot = Lot(fill.pair.base, fill.quantity, fill.filled_at, cost, bought=fill)
                    queue.append(lot)
                else:
                    sold += _sell(queue, fill, purpose)
            case CashAdjusted(at=at, asset=asset, amount=amount) if asset != quote and amount:
                queue = held.setdefault(asset, deque())
                if amount > 0:
                    queue.append(Lot(asset, amount, at, ZERO, note=UNKNOWN_COST))
                else:
                    _take(queue, -amount)
    return sold + [lot for queue in held.values() for lot in queue]


def _sell(queue: deque[Lot], fill: Fill, purpose: Purpose) -> list[Lot]:
    proceeds, left = fill.cost_quote - fill.fee_quote, fill.quantity
    parts = _take(queue, fill.quantity)
    missing = fill.quantity - sum((part.quantity for part in parts), ZERO)
    if missing > 0:
        parts.append(Lot(fill.pair.base, missing, fill.filled_at, ZERO, note=UNKNOWN_COST))
    told = []
    for part in parts:
        share = proceeds if part.quantity == left else proceeds * part.quantity / left
        proceeds, left = proceeds - share, left - part.quantity
        told.append(
            replace(
                part,
                disposed_at=fill.filled_at,
                proceeds_quote=share,
                sold=fill,
                purpose=purpose,
            )
        )
    return told


def _take(queue: deque[Lot], quantity: Decimal) -> list[Lot]:
    """The oldest lots of so much, the last one in part; fewer if there are not so many."""
    taken: list[Lot] = []
    while quantity > 0 and queue:
        lot = queue.popleft()
        if lot.quantity <= quantity:
            taken.append(lot)
            quantity -= lot.quantity
            continue
        cost = lot.cost_quote * quantity / lot.quantity
        taken.append(replace(lot, quantity=quantity, cost_quote=cost))
        rest = replace(lot, quantity=lot.quantity - quantity, cost_quote=lot.cost_quote - cost)
        queue.appendleft(rest)
        quantity = ZERO
    return taken


@dataclass(frozen=True, slots=True)
class Sale:
    """The end of a holding.

    Attributes:
        profit_quote: proceeds less cost, after the fees of buying and selling.
    """

    at: datetime
    price: Decimal
    profit_quote: Decimal
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Holding:
    """What one order bought at one moment and one other sold at one moment, or is held still.

    The two prices are those that were paid at the two moments: the mean, where an order went
    through several prices at once.

    Attributes:
        fees_quote: its share of the fees of buying and of selling.
        sale: None while it is held.
    """

    pair: Pair
    quantity: Decimal
    entry_at: datetime
    entry_price: Decimal
    fees_quote: Decimal
    sale: Sale | None


def holdings(executions: Iterable[Execution]) -> list[Holding]:
    """The lots of these executions as one reads them: sold ones first, in the order of sale.

    quantity · (sale − entry) − fees, with the last price for what is held still, adds up to what
    the account earned.
    """
    filled = [OrderFilled(e.fill.filled_at, e.fill, e.purpose) for e in executions]
    together: dict[tuple[object, ...], list[Lot]] = {}
    for lot in lots("", filled):
        key = (*_order_and_moment(lot.bought), *_order_and_moment(lot.sold))
        together.setdefault(key, []).append(lot)
    return [_holding(parts) for parts in together.values()]


def _order_and_moment(fill: Fill | None) -> tuple[object, ...]:
    return (None, None) if fill is None else (fill.order_id, fill.filled_at)


def _holding(parts: Sequence[Lot]) -> Holding:
    first = parts[0]
    bought = [(part.quantity, part.bought) for part in parts if part.bought is not None]
    sold = [(part.quantity, part.sold) for part in parts if part.sold is not None]
    pair = (bought or sold)[0][1].pair
    sale = None
    if first.disposed_at is not None and first.purpose is not None:
        profit = sum((part.profit_quote or ZERO for part in parts), ZERO)
        sale = Sale(first.disposed_at, _mean_price(sold), profit, first.purpose)
    return Holding(
        pair, sum((part.quantity for part in parts), ZERO), first.acquired_at,
        _mean_price(bought), _fees(bought) + _fees(sold), sale,
    )  # fmt: skip


def _mean_price(fills: Sequence[tuple[Decimal, Fill]]) -> Decimal:
    """Weighted by what was taken of each fill; 0 for what came by no fill."""
    prices = {fill.price for _, fill in fills}
    if len(prices) < 2:  # exactly what was paid, not a quotient near it
        return next(iter(prices), ZERO)
    quantity = sum((amount for amount, _ in fills), ZERO)
    return sum((amount * fill.price for amount, fill in fills), ZERO) / quantity


def _fees(fills: Iterable[tuple[Decimal, Fill]]) -> Decimal:
    return sum((fill.fee_quote * amount / fill.quantity for amount, fill in fills), ZERO)


def lot_rows(found: Iterable[Lot]) -> list[dict[str, str]]:
    """The lots as text by column; amounts with all their digits."""
    return [dict(zip(LOT_COLUMNS, _row(lot), strict=True)) for lot in found]


def _row(lot: Lot) -> tuple[str, ...]:
    days = "" if lot.disposed_at is None else str((lot.disposed_at - lot.acquired_at).days)
    times = [None if at is None else at.isoformat() for at in (lot.acquired_at, lot.disposed_at)]
    profit = "" if lot.profit_quote is None or lot.note else f"{lot.profit_quote:f}"
    proceeds = "" if lot.proceeds_quote is None else f"{lot.proceeds_quote:f}"
    cost = "" if lot.note else f"{lot.cost_quote:f}"
    return (lot.asset, f"{lot.quantity:f}", times[0] or "", cost, times[1] or "", proceeds,
            profit, days, lot.note)  # fmt: skip
