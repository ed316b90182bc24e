"""Records of the sandbox in Kraken's words: orders, trades, ledger entries, descriptions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trader.domain.markets import MarketRules
from trader.domain.orders import Liquidity, OrderType, Side
from trader.exchanges.markets import Asset, Market
from trader.simulation.orders import (
    TRAILING_TYPES,
    TRIGGERED_LIMIT_TYPES,
    CloseSpec,
    LedgerEntry,
    OrderRecord,
    OrderSpec,
    TradeRecord,
)

PRICE_DECIMALS_SHOWN = 5
_NO_POSITION = "TKH2SE-M7IF5-CFI7LT"


_FORMS = [f".{decimals}f" for decimals in range(32)]  # half to even, as decimals are by default


class Rendered(str):
    """A result that is JSON text already: what does not change is written once."""

    __slots__ = ()


def fixed(value: Decimal, decimals: int) -> str:
    """A number with so many decimals, half to even, without an exponent."""
    return format(value, _FORMS[decimals])


def shown_price(value: Decimal, rules: MarketRules) -> str:
    """A price in public answers: with five decimals, or more where the pair has more."""
    return fixed(value, max(PRICE_DECIMALS_SHOWN, rules.price_decimals))


def money(value: Decimal, rules: MarketRules) -> str:
    """Cost, fee or average price of an order, in the pair's cost decimals."""
    return fixed(value, max(rules.cost_decimals, rules.price_decimals))


def seconds(at_us: int | None) -> float:
    """Unix seconds with a fraction; 0 for none."""
    return 0 if at_us is None else at_us / 1_000_000


def order_object(record: OrderRecord, market: Market, *, trades: bool) -> dict[str, Any]:
    """An order as OpenOrders, ClosedOrders and QueryOrders show it."""
    spec, rules = record.spec, market.rules
    found: dict[str, Any] = {
        "refid": record.refid or None,
        "userref": spec.userref or 0,
        "status": record.status,
        "opentm": seconds(record.opened_at),
        "starttm": seconds(spec.starts_at),
        "expiretm": seconds(spec.expires_at),
        "descr": _descr(record, market),
        "vol": fixed(_volume(record), rules.lot_decimals),
        "vol_exec": fixed(record.filled, rules.lot_decimals),
        "cost": money(record.cost, rules),
        "fee": money(record.fee, rules),
        "price": money(record.average_price, rules),
        "stopprice": money(_stop_price(record), rules),
        "limitprice": money(_limit_price(record), rules),
        "misc": ",".join(record.misc),
        "oflags": ",".join(spec.flags),
    }
    if spec.client_id:
        found["cl_ord_id"] = spec.client_id
    if spec.trigger == "index":
        found["trigger"] = "index"
    if spec.time_in_force != "GTC":
        found["time_in_force"] = spec.time_in_force.lower()
    if trades and record.trades:
        found["trades"] = list(record.trades)
    if record.closed_at is not None:
        found["closetm"] = seconds(record.closed_at)
        found["reason"] = record.reason or None
    return found


def _volume(record: OrderRecord) -> Decimal:
    return record.spec.quantity if record.spec.quantity_in_quote else record.quantity


def _stop_price(record: OrderRecord) -> Decimal:
    trailing = record.spec.type in TRAILING_TYPES
    return record.stop if trailing and record.stop is not None else Decimal(0)


def _limit_price(record: OrderRecord) -> Decimal:
    """The peak of a trailing order, the limit of a triggered one."""
    if record.spec.type in TRAILING_TYPES and record.peak is not None:
        return record.peak
    triggered = record.triggered_at is not None and record.spec.type in TRIGGERED_LIMIT_TYPES
    return record.limit if triggered and record.limit is not None else Decimal(0)


def _descr(record: OrderRecord, market: Market) -> dict[str, str]:
    spec, rules = record.spec, market.rules
    return {
        "pair": market.altname,
        "aclass": "forex",
        "type": spec.side.value,
        "ordertype": spec.type.value,
        "price": _price_word(record, rules),
        "price2": _price2_word(spec, rules),
        "leverage": "none",
        "order": describe(spec, market, record),
        "close": describe_close(spec.close, rules) if spec.close else "",
    }


def describe(spec: OrderSpec, market: Market, record: OrderRecord | None = None) -> str:
    """An order in one line: `buy 0.00010000 XBTUSD @ limit 70000.0`."""
    quantity = spec.quantity if record is None or spec.quantity_in_quote else record.quantity
    start = f"{spec.side.value} {fixed(quantity, market.rules.lot_decimals)} {market.altname}"
    limit = record.limit if record is not None and spec.type in _PLAIN_LIMIT else spec.price
    return f"{start} @ {_terms(spec, limit, market.rules)}"


def describe_close(close: CloseSpec, rules: MarketRules) -> str:
    """A conditional close: `close position @ stop loss 27000.0 -> limit 26000.0`."""
    return f"close position @ {_terms(close, close.price, rules)}"


_PLAIN_LIMIT = frozenset({OrderType.LIMIT, OrderType.ICEBERG})


def _terms(spec: OrderSpec | CloseSpec, price: Decimal | None, rules: MarketRules) -> str:
    kind, price2 = spec.type, spec.price2
    word = kind.value.removesuffix("-limit").replace("-", " ")
    if kind is OrderType.MARKET or price is None:
        return word
    if kind in TRAILING_TYPES:
        first = _offset(price, spec.percent, rules)
        second = _offset(price2, spec.percent2, rules)
    else:
        first, second = fixed(price, rules.price_decimals), _plain(price2, rules)
    limit = f" -> limit {second}" if kind in TRIGGERED_LIMIT_TYPES else ""
    return f"{word} {first}{limit}"


def _plain(price: Decimal | None, rules: MarketRules) -> str:
    return "0" if price is None else fixed(price, rules.price_decimals)


def _offset(distance: Decimal | None, percent: bool, rules: MarketRules) -> str:
    value = distance or Decimal(0)
    sign = "-" if value < 0 else "+"
    if percent:
        return f"{sign}{fixed(abs(value), 4)}%"
    return f"{sign}{fixed(abs(value), rules.price_decimals)}"


def _price_word(record: OrderRecord, rules: MarketRules) -> str:
    spec = record.spec
    if spec.type is OrderType.MARKET or spec.price is None:
        return "0"
    if spec.type in TRAILING_TYPES:
        return _offset(spec.price, spec.percent, rules)
    price = record.limit if spec.type in _PLAIN_LIMIT and record.limit else spec.price
    return fixed(price, rules.price_decimals)


def _price2_word(spec: OrderSpec, rules: MarketRules) -> str:
    if spec.price2 is None or spec.type not in TRIGGERED_LIMIT_TYPES:
        return "0"
    if spec.type in TRAILING_TYPES:
        return _offset(spec.price2, spec.percent2, rules)
    return fixed(spec.price2, rules.price_decimals)


def trade_object(trade: TradeRecord, market: Market, *, ledgers: bool) -> dict[str, Any]:
    """A fill as TradesHistory and QueryTrades show it."""
    rules = market.rules
    found: dict[str, Any] = {
        "ordertxid": trade.order_id,
        "postxid": _NO_POSITION,
        "pair": market.id,
        "aclass": "forex",
        "time": seconds(trade.at),
        "type": trade.side.value,
        "ordertype": trade.type.value,
        "price": money(trade.price, rules),
        "cost": money(trade.cost, rules),
        "fee": money(trade.fee, rules),
        "vol": fixed(trade.quantity, rules.lot_decimals),
        "margin": money(Decimal(0), rules),
        "leverage": "0",
        "misc": "",
        "trade_id": trade.number,
        "maker": trade.liquidity is Liquidity.MAKER,
    }
    if ledgers:
        found["ledgers"] = list(trade.ledgers)
    return found


def ledger_object(entry: LedgerEntry, asset: Asset) -> dict[str, Any]:
    """A ledger entry as Ledgers and QueryLedgers show it."""
    return {
        "refid": entry.refid,
        "time": seconds(entry.at),
        "type": entry.type,
        "subtype": "",
        "aclass": "currency",
        "asset": asset.id,
        "amount": fixed(entry.amount, asset.decimals),
        "fee": fixed(entry.fee, asset.decimals),
        "balance": fixed(entry.balance, asset.decimals),
    }


def opposite(side: Side) -> Side:
    """The other side."""
    return Side.SELL if side is Side.BUY else Side.BUY
