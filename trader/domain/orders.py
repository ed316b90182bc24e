"""Orders and fills.

`order_id` is ours: known before anything is sent and journalled first. `exchange_id` is theirs.
A fill is the truth about an order; its status is a hint.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from trader.domain.markets import Pair

_NAMESPACE = uuid.UUID("6f1b6a0e-8a55-5b6e-9c7e-0d4f2f6f7f10")


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """What makes the order execute, in Kraken's words."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_LOSS = "stop-loss"
    TAKE_PROFIT = "take-profit"
    STOP_LOSS_LIMIT = "stop-loss-limit"
    TAKE_PROFIT_LIMIT = "take-profit-limit"
    TRAILING_STOP = "trailing-stop"
    TRAILING_STOP_LIMIT = "trailing-stop-limit"
    ICEBERG = "iceberg"


class Purpose(StrEnum):
    """Why the order exists."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"
    TARGET = "target"
    MANUAL = "manual"
    FLATTEN = "flatten"


class OrderState(StrEnum):
    """Where an order is in its life, as we know it.

    intended → open → filled | cancelled | expired; intended → rejected; and from intended or
    open → unknown when a request got no clear answer, until the exchange was asked.
    """

    INTENDED = "intended"
    OPEN = "open"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Nothing more can happen to it."""
        return self in _FINAL


_FINAL = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED}
)


class Liquidity(StrEnum):
    """Whether a fill gave or took liquidity; the fee depends on it."""

    MAKER = "maker"
    TAKER = "taker"


def make_order_id(
    pair: Pair, decided_for: datetime, side: Side, purpose: Purpose, attempt: int = 0
) -> str:
    """The id of an order, the same whenever the same thing is decided for the same candle.

    A UUID without dashes, a form that Kraken takes as `cl_ord_id`. Being a pure function of what
    was decided, it cannot be given twice after a crash.
    """
    name = f"{pair}|{decided_for.isoformat()}|{side}|{purpose}|{attempt}"
    return uuid.uuid5(_NAMESPACE, name).hex


def may_be_ours(order_id: str) -> bool:
    """Whether an order bears an id such as this program gives; for one that has no record left.

    Ours are UUIDs of version 5; those of apps and scripts are of version 4, orders placed by hand
    at the exchange have none.

    >>> may_be_ours(uuid.uuid5(_NAMESPACE, "BTC/USD").hex), may_be_ours(uuid.uuid4().hex)
    (True, False)
    """
    try:
        return uuid.UUID(order_id).version == 5
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is sent to the exchange.

    Attributes:
        order_id: ours, a UUID in hex.
        quantity: base, in whole lots.
        price: limit price of a limit order, trigger price of a stop-loss or take-profit, on the
            tick grid; None for a market order.
        post_only: a limit order that must not take liquidity.
    """

    order_id: str
    pair: Pair
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    post_only: bool = False

    @property
    def self_trade(self) -> str:
        """Which order ends where this one meets another of the same account, in Kraken's words.

        A sale ends the purchase it meets: a stop must not be the one that goes because a purchase
        of ours waits below it. A purchase ends itself.
        """
        return "cancel-oldest" if self.side is Side.SELL else "cancel-newest"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the exchange tells of it.

    Attributes:
        order_id: our id, empty for an order that is not ours.
        filled_quantity: base executed so far.
        average_price: mean price of the fills, quote per base, 0 before the first.
        fee_quote: fees so far.
        reason: the exchange's words for a cancellation or expiry.
    """

    exchange_id: str
    order_id: str
    pair: Pair
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    state: OrderState
    opened_at: datetime
    closed_at: datetime | None = None
    filled_quantity: Decimal = Decimal(0)
    average_price: Decimal = Decimal(0)
    cost_quote: Decimal = Decimal(0)
    fee_quote: Decimal = Decimal(0)
    post_only: bool = False
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Base still to be executed."""
        return self.quantity - self.filled_quantity


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `trade_id` is the exchange's and unique: a fill is applied once by it.

    Attributes:
        cost_quote: price × quantity as the exchange booked it.
        fee_quote: fee in quote, ≥ 0.
    """

    trade_id: str
    exchange_id: str
    order_id: str
    pair: Pair
    side: Side
    quantity: Decimal
    price: Decimal
    cost_quote: Decimal
    fee_quote: Decimal
    liquidity: Liquidity
    filled_at: datetime
