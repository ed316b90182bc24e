"""Lots: what was bought when and for how much, and what each sale of it earned. Pure.

First in, first out, for each pair on its own; fees belong to the lot (bought) or lower what was
received (sold). Coins that came or went otherwise than by a fill of the bot have no cost here:
they are told as lots with the note that their cost is not known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trader.domain.events import CashAdjusted, Event, OrderFilled
from trader.domain.orders import Fill, Side
from trader.domain.portfolio import ZERO

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
    """

    asset: str
    quantity: Decimal
    acquired_at: datetime
    cost_quote: Decimal
    disposed_at: datetime | None = None
    proceeds_quote: Decimal | None = None
    note: str = ""

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
            case OrderFilled(fill=fill) if fill.trade_id not in seen:
                seen.add(fill.trade_id)
                queue = held.setdefault(fill.pair.base, deque())
                if fill.side is Side.BUY:
                    cost = fill.cost_quote + fill.fee_quote
                    queue.append(Lot(fill.pair.base, fill.quantity, fill.filled_at, cost))
                else:
                    sold += _sell(queue, fill)
            case CashAdjusted(at=at, asset=asset, amount=amount) if asset != quote and amount:
                queue = held.setdefault(asset, deque())
                if amount > 0:
                    queue.append(Lot(asset, amount, at, ZERO, note=UNKNOWN_COST))
                else:
                    _take(queue, -amount)
    return sold + [lot for queue in held.values() for lot in queue]


def _sell(queue: deque[Lot], fill: Fill) -> list[Lot]:
    proceeds, left = fill.cost_quote - fill.fee_quote, fill.quantity
    parts = _take(queue, fill.quantity)
    missing = fill.quantity - sum((part.quantity for part in parts), ZERO)
    if missing > 0:
        parts.append(Lot(fill.pair.base, missing, fill.filled_at, ZERO, note=UNKNOWN_COST))
    told = []
    for part in parts:
        share = proceeds if part.quantity == left else proceeds * part.quantity / left
        proceeds, left = proceeds - share, left - part.quantity
        told.append(Lot(part.asset, part.quantity, part.acquired_at, part.cost_quote,
                        fill.filled_at, share, part.note))  # fmt: skip
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
        taken.append(Lot(lot.asset, quantity, lot.acquired_at, cost, note=lot.note))
        queue.appendleft(Lot(lot.asset, lot.quantity - quantity, lot.acquired_at,
                             lot.cost_quote - cost, note=lot.note))  # fmt: skip
        quantity = ZERO
    return taken


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
