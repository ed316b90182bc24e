"""What trading costs: fees of the date and tier, slippage. Always against you."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from trader.domain.markets import FeeRates, MarketRules, unit_of
from trader.domain.orders import Side

if TYPE_CHECKING:
    from trader.domain.candles import FloatArray

ONE = Decimal(1)
ZERO = Decimal(0)
_IMPACT_UNIT = Decimal("0.000001")

STABLE_BASES = frozenset({"USDT", "USDC", "DAI", "EUR", "GBP", "CAD", "AUD", "CHF", "JPY"})
"""Base assets whose pairs have fees of their own; their volume does not lower other fees."""

Tier: TypeAlias = tuple[int, str, str]
"""30-day volume in USD from which it holds, maker percent, taker percent."""


@dataclass(frozen=True, slots=True)
class FeeTable:
    """The fee tiers from one day on.

    Attributes:
        since: first day, UTC.
        tiers: of ordinary pairs, by rising volume.
        stable_tiers: of pairs whose base is a stablecoin or a national currency.
    """

    since: date
    tiers: tuple[Tier, ...]
    stable_tiers: tuple[Tier, ...]


_STABLE_2021: tuple[Tier, ...] = (
    (0, "0.20", "0.20"),
    (50_000, "0.16", "0.16"),
    (100_000, "0.12", "0.12"),
    (250_000, "0.08", "0.08"),
    (500_000, "0.04", "0.04"),
    (1_000_000, "0.02", "0.02"),
    (10_000_000, "0.00", "0.01"),
    (100_000_000, "0.00", "0.001"),
)

# Recorded AssetPairs of 2021-04-17; the entry tier held until the autumn of 2024.
_UNTIL_2024 = FeeTable(
    date(2011, 1, 1),
    (
        (0, "0.16", "0.26"),
        (50_000, "0.14", "0.24"),
        (100_000, "0.12", "0.22"),
        (250_000, "0.10", "0.20"),
        (500_000, "0.08", "0.18"),
        (1_000_000, "0.06", "0.16"),
        (2_500_000, "0.04", "0.14"),
        (5_000_000, "0.02", "0.12"),
        (10_000_000, "0.00", "0.10"),
    ),
    _STABLE_2021,
)

# Recorded AssetPairs of 2026-01-12, the same since 2024-10.
_SINCE_2024 = FeeTable(
    date(2024, 10, 1),
    (
        (0, "0.25", "0.40"),
        (10_000, "0.20", "0.35"),
        (50_000, "0.14", "0.24"),
        (100_000, "0.12", "0.22"),
        (250_000, "0.10", "0.20"),
        (500_000, "0.08", "0.18"),
        (1_000_000, "0.06", "0.16"),
        (2_500_000, "0.04", "0.14"),
        (5_000_000, "0.02", "0.12"),
        (10_000_000, "0.00", "0.10"),
        (100_000_000, "0.00", "0.08"),
        (500_000_000, "0.00", "0.05"),
    ),
    _STABLE_2021,
)

# Kraken support, "Cross-platform fee tier changes", in force from 2026-07-09. It names no tiers
# of their own for stablecoins: the ordinary ones, which are higher, are taken for them too.
_SINCE_2026_TIERS: tuple[Tier, ...] = (
    (0, "0.40", "0.80"),
    (2_500, "0.30", "0.60"),
    (10_000, "0.22", "0.38"),
    (25_000, "0.20", "0.35"),
    (50_000, "0.15", "0.30"),
    (100_000, "0.12", "0.25"),
    (250_000, "0.10", "0.22"),
    (500_000, "0.08", "0.20"),
    (1_000_000, "0.06", "0.18"),
    (2_500_000, "0.04", "0.15"),
    (5_000_000, "0.02", "0.12"),
    (10_000_000, "0.00", "0.10"),
)
_SINCE_2026 = FeeTable(date(2026, 7, 9), _SINCE_2026_TIERS, _SINCE_2026_TIERS)

FEE_TABLES = (_UNTIL_2024, _SINCE_2024, _SINCE_2026)
"""Kraken's fee tables for spot, oldest first."""


def fee_table(day: date) -> FeeTable:
    """The table in force on a day (UTC); the oldest known one before it began."""
    index = bisect_right([table.since for table in FEE_TABLES], day)
    return FEE_TABLES[max(0, index - 1)]


@lru_cache(maxsize=1024)
def fee_tier(day: date, base: str, volume_usd: Decimal = ZERO) -> tuple[Tier, Tier | None]:
    """The tier in force and the next one up (None at the top).

    Args:
        day: UTC day of the trade.
        base: base asset of the pair.
        volume_usd: volume of the account over 30 days, in USD.
    """
    table = fee_table(day)
    tiers = table.stable_tiers if base in STABLE_BASES else table.tiers
    index = bisect_right([tier[0] for tier in tiers], volume_usd) - 1
    return tiers[index], tiers[index + 1] if index + 1 < len(tiers) else None


@lru_cache(maxsize=1024)
def table_rates(day: date, base: str, volume_usd: Decimal = ZERO) -> FeeRates:
    """Maker and taker fee as fractions.

    >>> table_rates(date(2026, 7, 9), "BTC").taker
    Decimal('0.0080')
    """
    (_, maker, taker), _ = fee_tier(day, base, volume_usd)
    return FeeRates(Decimal(maker) / 100, Decimal(taker) / 100)


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost model of a run.

    Attributes:
        maker: fee of a resting order as a fraction; None takes the table of the date.
        taker: fee of a marketable order as a fraction; None takes the table of the date.
        slippage: by how much a taker's price is worse than the path's, as a fraction; it stands
            for half the spread, depth and delay together.
        impact: how much a taker's own size adds to that, in daily volatilities for an order of a
            whole day's volume; see `market_impact`. 0 for sizes that do not move the market.
        volume_share: part of a candle's volume that resting orders may get, as a fraction.
        walks_book: whether a taker takes level after level of the book, each dearer than the one
            before; False fills it whole at the best price, which fits sizes that do not move
            the market.
        queue_share: part of a candle's volume that lies ahead of a resting order at its level
            and takes the first of what resting orders get; 0 for none.
        latency_ms: how long an order is on its way before it can do anything.
        tiers_by_volume: whether the account's 30-day volume lowers its fees; False keeps the
            entry tier, the pessimistic choice.
    """

    maker: Decimal | None = None
    taker: Decimal | None = None
    slippage: Decimal = Decimal("0.0005")
    volume_share: Decimal = Decimal("0.1")
    tiers_by_volume: bool = False
    walks_book: bool = False
    queue_share: Decimal = ZERO
    impact: Decimal = ZERO
    latency_ms: int = 0

    def rates(self, day: date, base: str, volume_usd: Decimal = ZERO) -> FeeRates:
        """Fees of a trade on that day, as fractions.

        Args:
            day: UTC day of the trade.
            base: base asset of the pair.
            volume_usd: 30-day volume, counts only with `tiers_by_volume`.
        """
        table = table_rates(day, base, volume_usd if self.tiers_by_volume else ZERO)
        return FeeRates(
            table.maker if self.maker is None else self.maker,
            table.taker if self.taker is None else self.taker,
        )


def taker_price(side: Side, price: Decimal, slippage: Decimal, rules: MarketRules) -> Decimal:
    """What a taker pays or gets when the path stands at `price`.

    price × (1 ± slippage), rounded to the tick against the taker, and never below one tick.

    >>> from trader.domain.markets import Pair
    >>> rules = MarketRules(Pair("BTC", "USD"), Decimal("0.1"), Decimal("0.00000001"),
    ...                     Decimal("0.0001"), Decimal("0.5"), 5, 10, 4)
    >>> taker_price(Side.BUY, Decimal(1000), Decimal("0.001"), rules)
    Decimal('1001.0')
    """
    if side is Side.BUY:
        return rules.price_up(price * (ONE + slippage))
    return max(rules.price_down(price * (ONE - slippage)), rules.tick)


def market_impact(
    impact: Decimal, volatility_daily: float, quantity: Decimal, volume_daily: float
) -> Decimal:
    """By how much an order's own size worsens its price, as a fraction: the square-root law.

    impact × daily volatility × √(quantity / daily volume), to a hundredth of a basis point.

    Args:
        impact: the factor; about 1 in every market in which it was measured.
        volatility_daily: of the market, as a fraction.
        quantity: of the order, base.
        volume_daily: traded in a day, base; nothing traded counts as if the order were all of it.

    Source: Tóth et al. (2011), Anomalous Price Impact and the Critical Nature of Liquidity;
    for crypto Donier & Bonart (2015), A Million Metaorder Analysis of Market Impact on Bitcoin.

    >>> market_impact(Decimal(1), 0.03, Decimal(1), 10_000)
    Decimal('0.000300')
    """
    if not impact:
        return ZERO
    share = 1.0 if volume_daily <= 0 else min(1.0, float(quantity) / volume_daily)
    moved = float(impact) * volatility_daily * math.sqrt(share)
    return Decimal(moved).quantize(_IMPACT_UNIT, ROUND_HALF_EVEN)


def range_volatility(high: FloatArray, low: FloatArray, candles_per_day: float) -> float:
    """Volatility of a day from the ranges of its candles, as a fraction.

    √(mean (ln high/low)² / (4 ln 2) × candles a day); 0 without candles.

    Source: Parkinson (1980), The Extreme Value Method for Estimating the Variance of the Rate of
    Return.
    """
    if not len(high):
        return 0.0
    import numpy as np  # who has candles has it; an emergency stop does without

    ranges = np.log(high / low) ** 2
    return math.sqrt(float(ranges.mean()) / (4 * math.log(2)) * candles_per_day)


def fee_of(cost: Decimal, rate: Decimal, rules: MarketRules) -> Decimal:
    """The fee of a trade in the pair's cost decimals: nearest, half to even, at least one unit.

    Source: Kraken's support pages (minimum fee) and recorded trades (rounding to nearest).
    """
    unit = unit_of(rules.cost_decimals)
    if rate <= 0:
        return (cost * rate).quantize(unit, ROUND_HALF_EVEN)
    return max((cost * rate).quantize(unit, ROUND_HALF_EVEN), unit)
