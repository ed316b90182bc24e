"""What an order waits for, and when the path brings it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from trader.domain.markets import MarketRules
from trader.domain.orders import OrderType, Side
from trader.simulation.orders import TRAILING_TYPES, TRIGGERED_TYPES, ZERO, OrderRecord
from trader.simulation.path import (
    Knot,
    Stretch,
    crossing,
    first_touch,
    path,
    price_at,
    reaches,
)

INFINITE = float("inf")


def waits_for_trigger(record: OrderRecord) -> bool:
    """Whether it is a stop or target that has not been reached."""
    return record.triggered_at is None and record.spec.type in TRIGGERED_TYPES


def is_trailing(record: OrderRecord) -> bool:
    """Whether its trigger still follows the price."""
    return record.triggered_at is None and record.spec.type in TRAILING_TYPES


def is_rising(record: OrderRecord) -> bool:
    """Whether it waits for the price to rise (or for it to fall)."""
    sells = record.spec.side is Side.SELL
    if not waits_for_trigger(record):
        return sells
    profit = record.spec.type in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
    return sells if profit else not sells


def level_of(record: OrderRecord) -> Decimal | None:
    """The price it waits for; None takes any."""
    if waits_for_trigger(record):
        return record.stop
    return record.through if record.through is not None else record.limit


def watched(records: Iterable[OrderRecord]) -> tuple[float, float]:
    """The highest price some order waits to fall to, and the lowest one waits to rise to."""
    falls_to, rises_to = -INFINITE, INFINITE
    for record in records:
        level = level_of(record)
        if level is None or is_trailing(record):
            return INFINITE, -INFINITE
        if is_rising(record):
            rises_to = min(rises_to, float(level))
        else:
            falls_to = max(falls_to, float(level))
    return falls_to, rises_to


def next_touch(record: OrderRecord, stretch: Stretch, rules: MarketRules) -> Knot | None:
    """The moment of the stretch that concerns the order next, and the price then."""
    if is_trailing(record):
        # On a copy: the moment found may lie beyond what is asked for now.
        copy = replace(record)
        begin_trailing(copy, stretch, rules)
        return walk_trailing(copy, stretch, stretch.end, rules)
    level, rising = level_of(record), is_rising(record)
    if level is None:
        return path(stretch)[0] if stretch.start > record.active_from else None
    # As floats: a float and the decimal it stands for differ in the seventeenth digit.
    near = float(level)
    if not (stretch.high >= near if rising else stretch.low <= near):
        return None
    strict = not waits_for_trigger(record)
    return first_touch(stretch, level, rising=rising, strict=strict, after=record.active_from)


def begin_trailing(record: OrderRecord, stretch: Stretch, rules: MarketRules) -> None:
    """Start following with the first price there is."""
    if record.peak is None and stretch.start > record.active_from:
        record.peak_at, record.peak = path(stretch)[0]
        record.stop = trailing_stop(record, rules)


def walk_trailing(
    record: OrderRecord, stretch: Stretch, until: int, rules: MarketRules
) -> Knot | None:
    """Follow the path up to a moment, or until it turns back by the distance: then and there."""
    if record.peak is None:
        return None
    rising = is_rising(record)
    for start, end in _legs(stretch, record.peak_at, until):
        stop = record.stop
        if stop is not None and reaches(end[1], stop, rising=rising, strict=False):
            if start == end:
                return start
            return max(crossing(start, end, stop), record.active_from + 1), stop
        _raise_peak(record, end, rules)
    return None


def trailing_stop(record: OrderRecord, rules: MarketRules) -> Decimal | None:
    """The trigger of a trailing stop: its peak less the distance, on the tick grid."""
    spec, peak = record.spec, record.peak
    if peak is None or spec.price is None:
        return None
    distance = peak * spec.price / 100 if spec.percent else spec.price
    if spec.side is Side.SELL:
        return max(rules.price_down(peak - distance), rules.tick)
    return rules.price_up(peak + distance)


def trailing_limit(record: OrderRecord, rules: MarketRules) -> Decimal:
    """The limit of a trailing stop that has triggered: its signed distance from the trigger."""
    spec, stop = record.spec, record.stop or ZERO
    distance = spec.price2 or ZERO
    shift = stop * distance / 100 if spec.percent2 else distance
    return max(rules.price_nearest(stop + shift), rules.tick)


def _raise_peak(record: OrderRecord, knot: Knot, rules: MarketRules) -> None:
    at, price = knot
    record.peak_at = max(record.peak_at, at)
    better = max if record.spec.side is Side.SELL else min
    if record.peak is not None and better(record.peak, price) != record.peak:
        record.peak = price
        record.stop = trailing_stop(record, rules)


def _legs(stretch: Stretch, after: int, until: int) -> Iterable[tuple[Knot, Knot]]:
    """The straight pieces of the path in (after, until], the opening as a piece of no length."""
    knots = path(stretch)
    # What has seen the last candle's close at this moment has not yet seen the opening.
    if after <= stretch.start <= until:
        yield knots[0], knots[0]
    for start, end in pairwise(knots):
        if end[0] <= after or start[0] >= until:
            continue
        yield start, end if end[0] <= until else (until, price_at(stretch, until))
