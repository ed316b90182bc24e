"""Pairs and the rules of their markets; the only place where prices and quantities are rounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import cache

from trader.domain.errors import UsageError

_KNOWN_QUOTES = (
    "USDT", "USDC", "PYUSD", "USD", "EUR", "GBP", "CAD", "AUD", "CHF", "JPY", "DAI", "XBT", "BTC",
    "ETH", "DOT",
)  # fmt: skip
_COMMON_NAME = {"XBT": "BTC", "XDG": "DOGE"}


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What is traded for what, by the names people use (BTC, not XBT).

    There is one object for each pair, so that comparing and looking up, which every step does
    hundreds of times, need no look at the names.

    >>> str(Pair.parse("xbtusd"))
    'BTC/USD'
    >>> Pair("BTC", "USD") is Pair.parse("xbtusd")
    True
    """

    base: str
    quote: str

    def __new__(cls, base: str, quote: str) -> Pair:
        """The object of this pair; made when it is first named."""
        return _PAIRS.setdefault((base, quote), object.__new__(cls))

    def __reduce__(self) -> tuple[type[Pair], tuple[str, str]]:
        """Copied and sent to another process by its names."""
        return Pair, (self.base, self.quote)

    def __lt__(self, other: Pair) -> bool:
        return (self.base, self.quote) < (other.base, other.quote)

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read `BTC/USD`, `BTC-USD`, `XBT/USD`, `BTCUSD` or `XBTUSDT`.

        Raises:
            UsageError: if no pair can be read from the text.
        """
        parts = re.split(r"[/\-_]", text.strip().upper())
        if len(parts) == 1:
            parts = _split_joined(parts[0])
        if len(parts) != 2 or not all(re.fullmatch(r"[A-Z0-9.]{1,12}", part) for part in parts):
            raise UsageError(
                f"pair '{text[:40]}': expected base and quote, such as BTC/USD",
                "Write the pair as BASE/QUOTE.",
            )
        base, quote = (_COMMON_NAME.get(part, part) for part in parts)
        return cls(base, quote)

    @property
    def slug(self) -> str:
        """The pair as part of a file name: `BTC-USD`."""
        return f"{self.base}-{self.quote}"

    def __str__(self) -> str:
        return f"{self.base}/{self.quote}"


_PAIRS: dict[tuple[str, str], Pair] = {}


def _split_joined(text: str) -> list[str]:
    for quote in _KNOWN_QUOTES:
        if text.endswith(quote) and len(text) > len(quote):
            return [text[: -len(quote)], quote]
    return [text]


@dataclass(frozen=True, slots=True)
class MarketRules:
    """What the exchange demands of an order on one pair.

    Attributes:
        tick: smallest price step, quote per base.
        lot: smallest quantity step, base.
        order_minimum: smallest quantity, base.
        cost_minimum: smallest price × quantity, quote.
        cost_decimals: decimals of costs and fees.
        base_decimals: decimals in which the exchange books the base asset.
        quote_decimals: decimals in which the exchange books the quote asset.
        status: `online`, `cancel_only`, `post_only`, `limit_only` or `reduce_only`.
    """

    pair: Pair
    tick: Decimal
    lot: Decimal
    order_minimum: Decimal
    cost_minimum: Decimal
    cost_decimals: int
    base_decimals: int
    quote_decimals: int
    status: str = "online"

    @property
    def price_decimals(self) -> int:
        """Decimals of a price."""
        return _decimals(self.tick)

    @property
    def lot_decimals(self) -> int:
        """Decimals of a quantity."""
        return _decimals(self.lot)

    def takes(self, *, buy: bool, limit: bool, post_only: bool = False) -> bool:
        """Whether the market's mode allows such an order now."""
        return {
            "online": True,
            "reduce_only": not buy,
            "limit_only": limit,
            "post_only": limit and post_only,
        }.get(self.status, False)

    def price_down(self, price: Decimal) -> Decimal:
        """The next price on the tick grid at or below."""
        return _on_grid(price, self.tick, ROUND_FLOOR)

    def price_up(self, price: Decimal) -> Decimal:
        """The next price on the tick grid at or above."""
        return _on_grid(price, self.tick, ROUND_CEILING)

    def price_nearest(self, price: Decimal) -> Decimal:
        """The nearest price on the tick grid."""
        return _on_grid(price, self.tick, ROUND_HALF_EVEN)

    def quantity_down(self, quantity: Decimal) -> Decimal:
        """The largest quantity in whole lots, and in decimals that can be booked, not above.

        Lots may be finer than what the exchange books of the asset; selling what was bought
        then fails for lack of funds, so the coarser of the two grids counts.
        """
        step = max(self.lot, unit_of(self.base_decimals))
        return _on_grid(quantity, step, ROUND_DOWN)

    def is_dust(self, quantity: Decimal, price: Decimal) -> bool:
        """Whether so little is held that no order selling it is taken at that price."""
        whole = self.quantity_down(quantity)
        return whole < self.order_minimum or whole * price < self.cost_minimum

    def booked_cost(self, amount: Decimal) -> Decimal:
        """A cost or fee in the decimals of the pair, half to even."""
        return amount.quantize(unit_of(self.cost_decimals), ROUND_HALF_EVEN)


def to_decimal(value: float) -> Decimal:
    """The shortest decimal that reads back as the same float: from arrays to the order.

    >>> to_decimal(0.1)
    Decimal('0.1')
    """
    return Decimal(repr(float(value)))


@cache
def unit_of(decimals: int) -> Decimal:
    """The smallest step of a number with so many decimals.

    >>> unit_of(2)
    Decimal('0.01')
    """
    return Decimal(1).scaleb(-decimals)


@cache
def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _on_grid(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    return ((value / step).to_integral_value(rounding) * step).quantize(unit_of(_decimals(step)))


@dataclass(frozen=True, slots=True)
class FeeRates:
    """What the account pays on one pair, as fractions of the cost (0.004 is 40 basis points)."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True, slots=True)
class Ticker:
    """Best prices and last trade at one moment, quote per base."""

    pair: Pair
    at: datetime
    bid: Decimal
    ask: Decimal
    last: Decimal

    @property
    def mid(self) -> Decimal:
        """Half-way between bid and ask."""
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price level: price in quote per base, quantity in base."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Open interest of others, best level first on both sides."""

    pair: Pair
    at: datetime
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """Somebody's trade; `side` is the taker's (`buy` or `sell`)."""

    at: datetime
    price: Decimal
    quantity: Decimal
    side: str
    trade_id: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """Amount of one asset in the account; `held` is bound by open orders and part of `total`."""

    asset: str
    total: Decimal
    held: Decimal = Decimal(0)

    @property
    def available(self) -> Decimal:
        """What a new order may use."""
        return self.total - self.held
