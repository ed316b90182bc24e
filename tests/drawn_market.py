"""A market drawn by hand: hourly candles of BTC/USD from 2024-01-01, easy prices."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import OrderType, Side
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.costs import Costs
from trader.simulation.orders import OrderSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = Timeframe(3600)
BTC = Pair("BTC", "USD")
FREE = Costs(maker=Decimal(0), taker=Decimal(0), slippage=Decimal(0))

Row = tuple[float, float, float, float] | tuple[float, float, float, float, float]


def drawn(rows: Sequence[Row | None]) -> Candles:
    """Candles from (open, high, low, close[, volume = 1000]); None leaves an hour out."""
    kept = [(i, (*row, 1000.0)[:5]) for i, row in enumerate(rows) if row is not None]
    first = int(START.timestamp())
    columns = np.array([row for _, row in kept], dtype=np.float64).T
    times = np.array([first + 3600 * i for i, _ in kept], dtype=np.int64)
    return Candles(HOUR, times, *columns, np.full(len(kept), 10, dtype=np.int64))


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def market_of(
    rows: Sequence[Row | None],
    costs: Costs = FREE,
    usd: object = 100_000,
    btc: object = 10,
    hour: float = 0,
    **options: object,
) -> tuple[SandboxExchange, ManualClock]:
    clock = ManualClock(at(hour))
    balances = {"USD": Decimal(str(usd)), "BTC": Decimal(str(btc))}
    feed = ReplayFeed({BTC: drawn(rows)})
    return SandboxExchange(feed, clock, balances=balances, costs=costs, **options), clock


def order(
    side: str, kind: str, quantity: object, price: object = None, **options: object
) -> OrderSpec:
    return OrderSpec(
        BTC,
        Side(side),
        OrderType(kind),
        Decimal(str(quantity)),
        None if price is None else Decimal(str(price)),
        **options,
    )
