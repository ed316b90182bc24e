"""The ledger: every fill, fee and transfer of an account in exact decimals, and its totals. Pure.

`csv_text` has all that is known, one line each; `koinly_text` is the universal form that tax
programs such as Koinly read. Amounts are never rounded and never written with an exponent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trader.domain.events import ROUNDING, CashAdjusted, Event, OrderFilled
from trader.domain.orders import Fill, Side
from trader.domain.portfolio import ZERO

COLUMNS = (
    "time", "kind", "pair", "side", "quantity", "price", "cost_quote", "fee_quote", "liquidity",
    "purpose", "asset", "amount", "balance_quote", "trade_id", "exchange_id", "order_id", "reason",
)  # fmt: skip
KOINLY_COLUMNS = (
    "Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount",
    "Fee Currency", "Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes:
        asset: what `amount` is of: the quote currency for fills, any asset for transfers.
        amount: what came (or went, negative) of it; for a fill cost and fee together.
        balance_quote: quote currency after this line.
        fill: the execution behind it, None for a transfer.
    """

    at: datetime
    asset: str
    amount: Decimal
    balance_quote: Decimal
    purpose: str = ""
    reason: str = ""
    fill: Fill | None = None


def ledger(quote: str, events: Iterable[Event]) -> list[Entry]:
    """The lines of an account, oldest first; a fill told of twice is one line."""
    entries: list[Entry] = []
    seen: set[str] = set()
    balance = ZERO
    for event in events:
        match event:
            case CashAdjusted(at=at, asset=asset, amount=amount, reason=reason):
                balance += amount if asset == quote else ZERO
                entries.append(Entry(at, asset, amount, balance, "", reason))
            case OrderFilled(fill=fill, purpose=purpose) if fill.trade_id not in seen:
                seen.add(fill.trade_id)
                change = _change(fill)
                balance += change
                entries.append(Entry(fill.filled_at, quote, change, balance, purpose, "", fill))
    return entries


def totals(quote: str, entries: Iterable[Entry]) -> dict[str, Any]:
    """Sums that agree: balance = transfers + rounding + sold − bought − fees; what is held."""
    sums = {"transfers": ZERO, "rounding": ZERO, "bought": ZERO, "sold": ZERO, "fees": ZERO}
    held: dict[str, Decimal] = {}
    for entry in entries:
        fill = entry.fill
        if fill is None:
            if entry.asset == quote:
                sums["rounding" if entry.reason == ROUNDING else "transfers"] += entry.amount
            else:
                held[entry.asset] = held.get(entry.asset, ZERO) + entry.amount
            continue
        sums["bought" if fill.side is Side.BUY else "sold"] += fill.cost_quote
        sums["fees"] += fill.fee_quote
        moved = fill.quantity if fill.side is Side.BUY else -fill.quantity
        held[fill.pair.base] = held.get(fill.pair.base, ZERO) + moved
    balance = sums["transfers"] + sums["rounding"] + sums["sold"] - sums["bought"] - sums["fees"]
    return {**{name: exact(value) for name, value in sums.items()}, "balance": exact(balance),
            "held": {asset: exact(amount) for asset, amount in sorted(held.items()) if amount},
            "quote": quote}  # fmt: skip


def rows(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """The lines as text by column, as they stand in the CSV and the JSON."""
    return [dict(zip(COLUMNS, _row(entry), strict=True)) for entry in entries]


def csv_text(entries: Iterable[Entry]) -> str:
    """All that is known, one line each, with a header."""
    return table(COLUMNS, map(_row, entries))


def koinly_text(entries: Iterable[Entry]) -> str:
    """Koinly's universal form: what was sent, what was received, the fee."""
    return table(KOINLY_COLUMNS, map(_koinly_row, entries))


def exact(amount: Decimal) -> str:
    """All digits, no exponent.

    >>> exact(Decimal("1E-8"))
    '0.00000001'
    """
    return f"{amount:f}"


def _change(fill: Fill) -> Decimal:
    if fill.side is Side.BUY:
        return -fill.cost_quote - fill.fee_quote
    return fill.cost_quote - fill.fee_quote


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _row(entry: Entry) -> tuple[str, ...]:
    fill = entry.fill
    amounts = (entry.asset, exact(entry.amount), exact(entry.balance_quote))
    if fill is None:
        middle = ("transfer", "", "", "", "", "", "", "", "")
        return (_time(entry.at), *middle, *amounts, "", "", "", entry.reason)
    middle = (
        "fill", str(fill.pair), fill.side.value, exact(fill.quantity), exact(fill.price),
        exact(fill.cost_quote), exact(fill.fee_quote), fill.liquidity.value, entry.purpose,
    )  # fmt: skip
    ids = (fill.trade_id, fill.exchange_id, fill.order_id)
    return (_time(entry.at), *middle, *amounts, *ids, entry.reason)


def _koinly_row(entry: Entry) -> tuple[str, ...]:
    date = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    fill = entry.fill
    if fill is None:
        amount = (exact(abs(entry.amount)), entry.asset)
        sent, received = (("", ""), amount) if entry.amount >= 0 else (amount, ("", ""))
        return (date, *sent, *received, "", "", "", "", "", entry.reason, "")
    base, quote = (exact(fill.quantity), fill.pair.base), (exact(fill.cost_quote), fill.pair.quote)
    sent, received = (quote, base) if fill.side is Side.BUY else (base, quote)
    fee = (exact(fill.fee_quote), fill.pair.quote) if fill.fee_quote else ("", "")
    return (date, *sent, *received, *fee, *quote, "", f"{fill.pair} {entry.purpose}",
            fill.trade_id)  # fmt: skip


def table(header: Iterable[str], lines: Iterable[tuple[str, ...]]) -> str:
    """CSV with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue()
