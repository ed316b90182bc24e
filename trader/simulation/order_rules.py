"""What an order must be like to be taken: the exchange's rules, refused in its own words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from trader.domain.errors import BelowMinimum, OrderRejected
from trader.domain.markets import MarketRules, unit_of
from trader.domain.orders import OrderType, Side
from trader.simulation.orders import (
    LIMIT_TYPES,
    STOP_TYPES,
    TRAILING_TYPES,
    TRIGGERED_LIMIT_TYPES,
    OrderRecord,
    OrderSpec,
)

LARGEST = Decimal(10) ** 15


def amended(
    record: OrderRecord,
    quantity: Decimal | None,
    limit: Decimal | None,
    stop: Decimal | None,
    post_only: bool | None,
    display: Decimal | None = None,
) -> OrderSpec:
    """What the order would have looked like had it been given so at first."""
    spec = record.spec
    changed: dict[str, object] = {"quantity": record.quantity if quantity is None else quantity}
    if stop is not None:
        if spec.type not in STOP_TYPES or record.triggered_at is not None:
            raise OrderRejected(
                "only a stop or target that waits has a trigger to amend",
                "",
                "EGeneral:Invalid arguments:trigger_price",
            )
        changed["price"] = stop
    if limit is not None:
        if spec.type not in LIMIT_TYPES and spec.type not in TRIGGERED_LIMIT_TYPES:
            raise OrderRejected(
                f"a {spec.type} order has no limit to amend",
                "",
                "EGeneral:Invalid arguments:limit_price",
            )
        changed["price" if spec.type in LIMIT_TYPES else "price2"] = limit
    if post_only is not None:
        changed["post_only"] = post_only
    if display is not None:
        if spec.type is not OrderType.ICEBERG:
            raise OrderRejected(
                f"a {spec.type} order is shown in full",
                "",
                "EGeneral:Invalid arguments:display_qty",
            )
        changed["display"] = display
    return replace(spec, **changed)  # type: ignore[arg-type]


def check_order(spec: OrderSpec, rules: MarketRules, price: Decimal | None) -> None:
    """Refuse what breaks a rule of the market.

    Args:
        spec: the order.
        rules: of its market.
        price: the price now, for the minimum of a market order's cost; None if unknown.

    Raises:
        OrderRejected: with the exchange's own words in `code`.
    """
    _check_numbers(spec)
    _check_status(spec, rules)
    _check_type(spec)
    _check_price(spec, rules)
    _check_quantity(spec, rules, price)


def _check_numbers(spec: OrderSpec) -> None:
    named = {"volume": spec.quantity, "price": spec.price, "price2": spec.price2}
    for name, value in named.items():
        if value is not None and not (value.is_finite() and abs(value) < LARGEST):
            raise OrderRejected(
                f"{name} {value}: expected a number below {LARGEST}",
                "",
                f"EGeneral:Invalid arguments:{name}",
            )


def check_times(spec: OrderSpec, at: int) -> None:
    """Refuse an order whose life ends before it begins.

    Raises:
        OrderRejected: then.
    """
    begins = max(at, spec.starts_at or at)
    if spec.expires_at is not None and spec.expires_at <= begins:
        raise OrderRejected(
            "the order would expire before it begins", "", "EGeneral:Invalid arguments:expiretm"
        )


def _check_status(spec: OrderSpec, rules: MarketRules) -> None:
    status = rules.status
    refused = (
        status in ("cancel_only", "reduce_only")
        or (status == "post_only" and not spec.post_only)
        or (status == "limit_only" and spec.type not in LIMIT_TYPES)
    )
    if refused:
        raise OrderRejected(
            f"{spec.pair} is in {status} mode", "Try later.", f"EService:Market in {status} mode"
        )


def _check_type(spec: OrderSpec) -> None:
    if spec.post_only and spec.type not in LIMIT_TYPES:
        raise OrderRejected("only limit orders can be post-only", "", "EOrder:Invalid order")
    if spec.quantity_in_quote and (spec.type is not OrderType.MARKET or spec.side is Side.SELL):
        raise OrderRejected(
            "only a market buy can be given in quote", "", "EGeneral:Invalid arguments:viqc"
        )


def _check_price(spec: OrderSpec, rules: MarketRules) -> None:
    if spec.type is OrderType.MARKET:
        return
    wanted = [("price", spec.price)]
    if spec.type in TRIGGERED_LIMIT_TYPES:
        wanted.append(("price2", spec.price2))
    for name, price in wanted:
        trailing = spec.type in TRAILING_TYPES
        if price is None or (price <= 0 and not (trailing and name == "price2")):
            raise OrderRejected(
                f"a {spec.type} order needs a {name} above 0",
                "",
                f"EGeneral:Invalid arguments:{name}",
            )
        if trailing:
            continue
        if price != price.quantize(unit_of(rules.price_decimals)):
            raise OrderRejected(
                f"{name} {price} has more than {rules.price_decimals} decimals",
                f"The tick of {spec.pair} is {rules.tick}.",
                f"EOrder:Invalid price:{spec.pair} price can only be specified up to "
                f"{rules.price_decimals} decimals.",
            )
        if price % rules.tick:
            raise OrderRejected(
                f"{name} {price} is off the tick {rules.tick}", "", "EOrder:Tick size check failed"
            )


def _check_quantity(spec: OrderSpec, rules: MarketRules, price: Decimal | None) -> None:
    quantity = spec.quantity
    if quantity <= 0:
        raise OrderRejected(
            f"quantity {quantity}: expected a number above 0",
            "",
            "EGeneral:Invalid arguments:volume",
        )
    if spec.quantity_in_quote:
        if quantity < rules.cost_minimum:
            raise _too_small(f"{quantity} {spec.pair.quote}", rules)
        return
    if quantity != quantity.quantize(unit_of(rules.lot_decimals)):
        raise OrderRejected(
            f"quantity {quantity} has more than {rules.lot_decimals} decimals",
            f"The lot of {spec.pair} is {rules.lot}.",
            "EGeneral:Invalid arguments:volume",
        )
    if quantity < rules.order_minimum:
        raise BelowMinimum(
            f"quantity {quantity} {spec.pair.base} is below the minimum {rules.order_minimum}",
            "",
            "EGeneral:Invalid arguments:volume minimum not met",
        )
    priced = price if spec.type is OrderType.MARKET or spec.type in TRAILING_TYPES else spec.price
    if priced is not None and priced * quantity < rules.cost_minimum:
        raise _too_small(f"{priced * quantity:f} {spec.pair.quote}", rules)


def _too_small(cost: str, rules: MarketRules) -> BelowMinimum:
    return BelowMinimum(
        f"a cost of {cost} is below the minimum {rules.cost_minimum}",
        "",
        "EOrder:Cost minimum not met",
    )
