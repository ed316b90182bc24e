"""What the simulated exchange keeps of orders, trades and the ledger.

All moments are whole microseconds since 1970, UTC; all amounts exact decimals.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from decimal import Decimal

from trader.domain.markets import Pair
from trader.domain.orders import Liquidity, OrderType, Side

ZERO = Decimal(0)

STOP_TYPES = frozenset(
    {
        OrderType.STOP_LOSS,
        OrderType.STOP_LOSS_LIMIT,
        OrderType.TAKE_PROFIT,
        OrderType.TAKE_PROFIT_LIMIT,
    }
)
TRAILING_TYPES = frozenset({OrderType.TRAILING_STOP, OrderType.TRAILING_STOP_LIMIT})
LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.ICEBERG})
TRIGGERED_LIMIT_TYPES = frozenset(
    {OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT, OrderType.TRAILING_STOP_LIMIT}
)
TRIGGERED_TYPES = STOP_TYPES | TRAILING_TYPES


@dataclass(frozen=True, slots=True)
class CloseSpec:
    """The order that is to follow each fill of another one, on the other side."""

    type: OrderType
    price: Decimal | None = None
    price2: Decimal | None = None
    percent: bool = False
    percent2: bool = False


@dataclass(frozen=True, slots=True)
class OrderSpec:
    """An order as it was asked for, in full.

    Attributes:
        quantity: base; quote with `quantity_in_quote`.
        price: limit price, or trigger price, or the distance of a trailing stop.
        price2: limit price of a triggered limit order; for a trailing one its signed distance
            from the trigger.
        percent: whether the distance of a trailing stop is percent of the price.
        percent2: whether that of its limit is percent of the trigger.
        time_in_force: `GTC`, `IOC`, `FOK` or `GTD`.
        starts_at: moment before which the order sleeps, None for at once.
        expires_at: moment at which it ends, None for never.
        client_id: the client's id (`cl_ord_id`), unique among open orders.
        fee_in_base: the fee is taken in base instead of quote.
        quantity_in_quote: a market buy for an amount of quote.
        display: quantity an iceberg shows.
        flags: order flags as given, for the record.
        self_trade: which order ends where one would meet another of the same account:
            `cancel-newest`, `cancel-oldest` or `cancel-both`.
        close: the order to follow each fill.
    """

    pair: Pair
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    price2: Decimal | None = None
    post_only: bool = False
    percent: bool = False
    percent2: bool = False
    time_in_force: str = "GTC"
    starts_at: int | None = None
    expires_at: int | None = None
    userref: int | None = None
    client_id: str = ""
    fee_in_base: bool = False
    quantity_in_quote: bool = False
    display: Decimal | None = None
    flags: tuple[str, ...] = ("fciq",)
    trigger: str = "last"
    close: CloseSpec | None = None
    self_trade: str = "cancel-newest"


@dataclass(slots=True)
class OrderRecord:
    """One order and all that became of it.

    Attributes:
        id: `OXXXXX-XXXXX-XXXXXX`.
        seq: rises with every order; decides who is first at the same moment.
        status: `pending`, `open`, `closed`, `canceled` or `expired`, in Kraken's words.
        quantity: base wanted (the request's unless amended or given in quote).
        filled: base executed.
        cost: price × quantity of the fills, in the pair's cost decimals.
        fee: fees so far in quote (in base with `fee_in_base`).
        limit: limit price in force, None without.
        stop: trigger price in force, None without or once triggered.
        peak: best price since entry of a trailing stop.
        through: price beyond which a resting limit order fills.
        active_from: only the path after this moment concerns the order; it is also what decides
            who is first at a level.
        ahead: base of others that must trade at its level before it, None while that is not known.
        shown: what is left of the part of an iceberg that is in the book.
        triggered_at: when its trigger was reached.
        reason: why it was cancelled or expired.
        misc: `stopped`, `touched`, `partial`, `amended`.
        refid: the order that this one closes.
    """

    id: str
    seq: int
    spec: OrderSpec
    opened_at: int
    quantity: Decimal
    status: str = "pending"
    limit: Decimal | None = None
    stop: Decimal | None = None
    peak: Decimal | None = None
    peak_at: int = 0
    through: Decimal | None = None
    active_from: int = 0
    ahead: Decimal | None = None
    shown: Decimal | None = None
    triggered_at: int | None = None
    amended_at: int | None = None
    closed_at: int | None = None
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    held: Decimal = ZERO
    held_asset: str = ""
    reason: str = ""
    refid: str = ""
    misc: list[str] = field(default_factory=list)
    trades: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """It can still fill."""
        return self.status in ("pending", "open")

    @property
    def remaining(self) -> Decimal:
        """Base still to be executed."""
        return self.quantity - self.filled

    @property
    def displayed(self) -> Decimal:
        """Base that the order book shows of it."""
        display = self.spec.display
        if display is None:
            return self.remaining
        return min(self.remaining, display if self.shown is None else self.shown)

    @property
    def average_price(self) -> Decimal:
        """Mean price of the fills, 0 before the first."""
        return self.cost / self.filled if self.filled else ZERO


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """One execution.

    Attributes:
        id: `TXXXXX-XXXXX-XXXXXX`.
        number: the public trade number, rising.
        fee: in quote, also where it was charged in base.
        fee_base: what was charged in base instead, 0 without `fee_in_base`.
    """

    id: str
    number: int
    order_id: str
    client_id: str
    pair: Pair
    side: Side
    type: OrderType
    at: int
    price: Decimal
    quantity: Decimal
    cost: Decimal
    fee: Decimal
    liquidity: Liquidity
    fee_base: Decimal = ZERO
    ledgers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One movement of one asset: balance = balance before + amount − fee.

    Attributes:
        id: `LXXXXX-XXXXX-XXXXXX`.
        refid: the trade or transfer it belongs to.
        type: `trade`, `deposit` or `withdrawal`.
    """

    id: str
    refid: str
    at: int
    type: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


def own_id_key(client_id: str) -> str:
    """What two ids of the client's have in common when they are one: a UUID needs no dashes.

    >>> own_id_key("6D1B345E-2821-40E2-AD83-4ECB18A06876")
    '6d1b345e282140e2ad834ecb18a06876'
    """
    uuid = _UUID.fullmatch(client_id)
    return client_id.replace("-", "").lower() if uuid else client_id


_ALPHABET = b"234567ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERS = bytes(_ALPHABET[byte & 31] for byte in range(256))


def record_id(kind: str, seed: int, number: int) -> str:
    """An id of Kraken's form, the same for the same seed and number.

    Args:
        kind: `O` order, `T` trade, `L` ledger entry.
        seed: of the account.
        number: counter of the kind.

    >>> record_id("O", 0, 1)[0], len(record_id("O", 0, 1))
    ('O', 19)
    """
    digest = hashlib.sha256(f"{kind}|{seed}|{number}".encode()).digest()
    letters = digest[:16].translate(_LETTERS).decode()
    return f"{kind}{letters[:5]}-{letters[5:10]}-{letters[10:16]}"
