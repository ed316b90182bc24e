"""The path of the price inside a candle: the one convention of backtest and sandbox.

A candle tells where the price was, not in which order. Here it always goes open → low → high →
close, reaching them at 0, 1/3, 2/3 and the end of the interval on straight lines. Of a stop and
a target inside one candle the stop of a long position therefore comes first.

Moments are whole microseconds since 1970, UTC; prices on the path are exact decimals.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import TypeAlias

from trader.domain.markets import to_decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Knot: TypeAlias = tuple[int, Decimal]
"""A moment and the price then."""


def to_us(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment: int) -> datetime:
    """The aware moment, UTC."""
    return _EPOCH + timedelta(microseconds=moment)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of the market's path: one candle, by its four prices.

    Attributes:
        start: first moment, microseconds.
        end: the moment the interval ends; the next stretch may begin then.
        volume: base traded in it.
    """

    start: int
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def path(stretch: Stretch) -> tuple[Knot, Knot, Knot, Knot]:
    """The corners of the path: open, low, high, close, a third of the interval apart."""
    third = (stretch.end - stretch.start) // 3
    return (
        (stretch.start, to_decimal(stretch.open)),
        (stretch.start + third, to_decimal(stretch.low)),
        (stretch.start + 2 * third, to_decimal(stretch.high)),
        (stretch.end, to_decimal(stretch.close)),
    )


def price_at(stretch: Stretch, at: int) -> Decimal:
    """The price on the path at a moment of the stretch, both ends included."""
    if at <= stretch.start:
        return to_decimal(stretch.open)
    knots = path(stretch)
    for (began, first), (ended, last) in pairwise(knots):
        if at <= began:
            return first
        if at < ended:
            return first + (last - first) * (at - began) / (ended - began)
    return knots[-1][1]


def first_touch(
    stretch: Stretch, level: Decimal, *, rising: bool, strict: bool, after: int
) -> Knot | None:
    """When the path first reaches a level, and the price then.

    Args:
        stretch: the candle.
        level: price looked for.
        rising: True looks for prices at or above the level, False for those at or below.
        strict: whether the price must go beyond the level; touching it is not enough then.
        after: only moments later than this count.

    Returns:
        The moment and the price: the level itself where the path crosses it, the opening price
        where the candle opens beyond it. None if it is not reached.
    """
    knots = path(stretch)
    began, opening = knots[0]
    if began > after and reaches(opening, level, rising=rising, strict=strict):
        return began, opening
    for start, end in pairwise(knots):
        if end[0] > after and reaches(end[1], level, rising=rising, strict=strict):
            # Leaving the level is later than standing on it.
            leaves = strict and start[1] == level
            return max(crossing(start, end, level) + leaves, after + 1), level
    return None


def reaches(price: Decimal, level: Decimal, *, rising: bool, strict: bool) -> bool:
    """Whether the price is at or beyond the level; only beyond it if `strict`."""
    if price == level:
        return not strict
    return price > level if rising else price < level


def crossing(start: Knot, end: Knot, level: Decimal) -> int:
    """The moment a straight line passes a level, rounded up; its start if it began beyond."""
    (began, first), (ended, last) = start, end
    rise = last - first
    if rise == 0 or (level - first) / rise <= 0:
        return began
    share = (level - first) * (ended - began) / rise
    return began + int(share.to_integral_value(ROUND_CEILING))
