"""A new exchange: any that ccxt knows, here Kraken, as a `ports.Exchange`.

    pip install ccxt
    EXCHANGE=examples.ccxt_exchange:CcxtExchange

Numbers are kept as texts until they are Decimals. Before an order is sent it is held against the
market's rules, because ccxt would round it silently. What another exchange says differently
(times of closing, words for triggers) is in `_Rows`; the class attribute `ccxt_id` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

import ccxt

from trader.domain import errors
from trader.domain.candles import Candle, Candles, Timeframe
from trader.domain.markets import (
    Balance,
    BookLevel,
    FeeRates,
    MarketRules,
    OrderBook,
    Pair,
    PublicTrade,
    Ticker,
    to_decimal,
)
from trader.domain.orders import Fill, Liquidity, Order, OrderRequest, OrderState, OrderType, Side
from trader.ports import ExchangeSettings

Result = TypeVar("Result")
ZERO = Decimal(0)
PAGE = 50
BOOKED_DECIMALS = 10

# The first class that fits decides, so the particular ones stand before the general ones.
FAULTS: tuple[tuple[type[Exception], type[errors.ExchangeError]], ...] = (
    (ccxt.InsufficientFunds, errors.InsufficientFunds),
    (ccxt.OrderNotFound, errors.OrderNotFound),
    (ccxt.BadSymbol, errors.UnknownPair),
    (ccxt.InvalidOrder, errors.OrderRejected),
    (ccxt.AuthenticationError, errors.AuthError),
    (ccxt.InvalidNonce, errors.NonceError),
    (ccxt.RateLimitExceeded, errors.RateLimited),
    (ccxt.OnMaintenance, errors.ExchangeBusy),
)
# What this exchange says in words that ccxt has no class for.
WORDS: tuple[tuple[str, type[errors.ExchangeError]], ...] = (
    ("EOrder:Invalid order", errors.OrderNotFound),
    ("EOrder:Post only order", errors.OrderRejected),
)
_STATES = {
    "open": OrderState.OPEN, "closed": OrderState.FILLED, "canceled": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED, "rejected": OrderState.REJECTED,
}  # fmt: skip


class CcxtExchange:
    """One account at an exchange that ccxt knows.

    Args:
        api: an exchange of ccxt, made with `number=str`.
    """

    ccxt_id: ClassVar[str] = "kraken"

    def __init__(self, api: Any) -> None:
        self.name = f"ccxt-{self.ccxt_id}"
        self._api = api
        self._rows = _Rows(self._pair)

    @classmethod
    def from_settings(cls, settings: ExchangeSettings) -> CcxtExchange:
        """With the key and the address of the program's settings."""
        api = getattr(ccxt, cls.ccxt_id)({
            "apiKey": settings.key, "secret": settings.secret, "enableRateLimit": True,
            "urls": {"api": {"public": settings.url, "private": settings.url}},
        })  # fmt: skip
        api.number = str
        return cls(api)

    # -- reads ---------------------------------------------------------------------------------

    def server_time(self) -> datetime:
        """The exchange's clock."""
        return _moment(self._read(self._api.fetch_time))

    def market_rules(self, pair: Pair) -> MarketRules:
        """Tick, lot and minima."""
        market = self._market(pair)
        limits, precision = market["limits"], market["precision"]
        lot = _number(precision["amount"])
        return MarketRules(
            pair, _number(precision["price"]), lot, _number(limits["amount"]["min"]),
            _number(limits["cost"]["min"]), int(market["info"].get("cost_decimals", 8)),
            BOOKED_DECIMALS, 4, "online" if market["active"] else "cancel_only",
        )  # fmt: skip

    def fee_rates(self, pair: Pair) -> FeeRates:
        """What the account pays on the pair."""
        self._market(pair)
        found = self._read(lambda: self._api.fetch_trading_fee(str(pair)))
        return FeeRates(_number(found["maker"]), _number(found["taker"]))

    def candles(self, pair: Pair, timeframe: Timeframe, since: datetime | None = None) -> Candles:
        """The newest closed candles the exchange serves, only from `since` on if it is given."""
        self._market(pair)
        now = self.server_time()
        first = None if since is None else round(1000 * since.timestamp())
        rows = self._read(lambda: self._api.fetch_ohlcv(str(pair), str(timeframe), first, 720))
        candles = [_candle(row) for row in rows]
        return Candles.of(timeframe, [c for c in candles if c.volume > 0]).known_at(now)

    def ticker(self, pair: Pair) -> Ticker:
        """Best prices and last trade."""
        self._market(pair)
        row = self._read(lambda: self._api.fetch_ticker(str(pair)))
        bid, ask, last = (_number(row[name]) for name in ("bid", "ask", "last"))
        return Ticker(pair, self.server_time(), bid, ask, last)

    def order_book(self, pair: Pair, depth: int = 25) -> OrderBook:
        """The best levels of both sides."""
        self._market(pair)
        book = self._read(lambda: self._api.fetch_order_book(str(pair), limit=depth))

        def levels(side: str) -> tuple[BookLevel, ...]:
            return tuple(BookLevel(_number(row[0]), _number(row[1])) for row in book[side])

        return OrderBook(pair, self.server_time(), levels("bids"), levels("asks"))

    def recent_trades(self, pair: Pair) -> tuple[PublicTrade, ...]:
        """The newest public trades, oldest first."""
        self._market(pair)
        rows = self._read(lambda: self._api.fetch_trades(str(pair)))
        trades = (
            PublicTrade(_moment(r["timestamp"]), _number(r["price"]), _number(r["amount"]),
                        r["side"], int(r["id"] or 0))
            for r in rows
        )  # fmt: skip
        return tuple(sorted(trades, key=lambda trade: trade.at))

    def balances(self) -> Mapping[str, Balance]:
        """Asset → balance with what open orders hold."""
        found = self._read(self._api.fetch_balance)
        return {
            asset: Balance(asset, _number(row["total"]), _number(row["used"]))
            for asset, row in ((a, found[a]) for a in found["total"])
        }

    def order(self, exchange_id: str) -> Order:
        """One order as it is now."""
        return self._rows.order(self._read(lambda: self._api.fetch_order(exchange_id)))

    def find_order(self, order_id: str, since: datetime) -> Order | None:
        """Our id among open orders, then among those closed since."""
        for found in (*self.open_orders(), *reversed(self.closed_orders(since))):
            if found.order_id == order_id:
                return found
        return None

    def open_orders(self) -> tuple[Order, ...]:
        """Every open order of the account, oldest first."""
        rows = [self._rows.order(row) for row in self._read(self._api.fetch_open_orders)]
        return tuple(sorted(rows, key=lambda order: order.opened_at))

    def closed_orders(self, since: datetime) -> tuple[Order, ...]:
        """Orders that ended at or after that moment, oldest first."""
        rows = self._pages(self._api.fetch_closed_orders, since)
        orders = [self._rows.order(row) for row in rows]
        ended = [o for o in orders if o.closed_at is not None and o.closed_at >= since]
        return tuple(sorted(ended, key=lambda order: order.closed_at or since))

    def fills(self, since: datetime) -> tuple[Fill, ...]:
        """Every fill of the account at or after that moment, oldest first."""
        rows = self._pages(self._api.fetch_my_trades, since)
        own = {
            o.exchange_id: o.order_id for o in (*self.open_orders(), *self.closed_orders(since))
        }
        fills = [self._rows.fill(row, own) for row in rows]
        return tuple(sorted((f for f in fills if f.filled_at >= since), key=lambda f: f.filled_at))

    # -- requests that change something ---------------------------------------------------------

    def place(self, request: OrderRequest, now: datetime) -> str:
        """Send an order once; a lost or strange answer leaves the outcome unknown."""
        _demand_grid(request, self.market_rules(request.pair))
        params: dict[str, Any] = {"clientOrderId": request.order_id}
        if request.post_only:
            params["postOnly"] = True
        kind, price = request.type.value, None if request.price is None else str(request.price)
        if request.type in {OrderType.STOP_LOSS, OrderType.TAKE_PROFIT}:
            trigger = "stopLossPrice" if request.type is OrderType.STOP_LOSS else "takeProfitPrice"
            kind, price, params[trigger] = "market", None, str(request.price)
        row = self._change(
            lambda: self._api.create_order(
                str(request.pair), kind, request.side.value, str(request.quantity), price, params
            )
        )
        return str(row["id"])

    def amend(self, exchange_id: str, request: OrderRequest, now: datetime) -> None:
        """Refused: exchanges differ too much in this. The caller cancels and places anew."""
        raise errors.OrderRejected("orders are not changed in place here")

    def cancel(self, exchange_id: str) -> None:
        """Cancel one order."""
        self._change(lambda: self._api.cancel_order(exchange_id))

    def cancel_all(self) -> int:
        """Cancel every open order of the account; how many."""
        count = len(self.open_orders())
        self._change(self._api.cancel_all_orders)
        return count

    # -- the seam to ccxt -----------------------------------------------------------------------

    def close(self) -> None:
        """Give the connections back."""
        self._api.session.close()

    def _market(self, pair: Pair) -> Any:
        self._read(self._api.load_markets)
        return self._read(lambda: self._api.market(str(pair)))

    def _pair(self, symbol: str) -> Pair:
        return Pair.parse(symbol)

    def _pages(self, fetch: Callable[..., Any], since: datetime) -> list[Any]:
        """All rows since the moment; ends with the first page that is not full."""
        rows: dict[str, Any] = {}
        while True:
            before = len(rows)
            start = int(since.timestamp() * 1000) - 1000
            page = self._read(lambda: fetch(None, start, None, {"ofs": before}))  # noqa: B023
            rows |= {str(row["id"]): row for row in page}
            if len(rows) == before or len(page) < PAGE:
                return list(rows.values())

    @staticmethod
    def _read(call: Callable[[], Result]) -> Result:
        try:
            return call()
        except ccxt.BaseError as fault:
            raise _fault(fault, errors.Unreachable, errors.UnexpectedAnswer) from fault

    @staticmethod
    def _change(call: Callable[[], Result]) -> Result:
        try:
            return call()
        except ccxt.BaseError as fault:
            raise _fault(fault, errors.OutcomeUnknown, errors.OutcomeUnknown) from fault


class _Rows:
    """Rows of ccxt in the words of this program."""

    def __init__(self, pair: Callable[[str], Pair]) -> None:
        self._pair = pair

    def order(self, row: Any) -> Order:
        """An order; a trigger's price is that of the trigger."""
        info = row["info"]
        kind, price = _kind_and_price(row)
        filled = _number(row["filled"])
        state = _STATES[row["status"]]
        closed = info.get("closetm")
        return Order(
            row["id"], (row["clientOrderId"] or "").replace("-", ""), self._pair(row["symbol"]),
            Side(row["side"]), kind, _number(row["amount"]),
            None if kind is OrderType.MARKET or price is None else _number(price), state,
            _moment(row["timestamp"]), None if closed is None else _from_seconds(closed), filled,
            _number(row["average"]) if filled else ZERO, _number(row["cost"]),
            _number((row["fee"] or {}).get("cost")), bool(row["postOnly"]),
            str(info.get("reason") or ""),
        )  # fmt: skip

    def fill(self, row: Any, own: Mapping[str, str]) -> Fill:
        """One execution."""
        role = Liquidity.MAKER if row["takerOrMaker"] == "maker" else Liquidity.TAKER
        return Fill(
            row["id"], row["order"], own.get(row["order"], ""), self._pair(row["symbol"]),
            Side(row["side"]), _number(row["amount"]), _number(row["price"]),
            _number(row["cost"]), _number(row["fee"]["cost"]), role, _moment(row["timestamp"]),
        )  # fmt: skip


def _kind_and_price(row: Any) -> tuple[OrderType, Any]:
    """Ccxt tells a triggered market order as a market order with a trigger beside it."""
    for name, kind in (
        ("stopLossPrice", OrderType.STOP_LOSS), ("takeProfitPrice", OrderType.TAKE_PROFIT)
    ):  # fmt: skip
        if row.get(name) is not None and row["type"] in {"market", kind.value}:
            return kind, row[name]
    return OrderType(row["type"]), row["price"]


def _demand_grid(request: OrderRequest, rules: MarketRules) -> None:
    """Refuse a price or quantity off the grid, as the exchange would; ccxt rounds silently."""
    if rules.quantity_down(request.quantity) != request.quantity:
        raise errors.OrderRejected(f"quantity {request.quantity} is not in lots of {rules.lot}")
    if request.price is not None and rules.price_nearest(request.price) != request.price:
        raise errors.OrderRejected(f"price {request.price} is not on ticks of {rules.tick}")
    cost = request.quantity * (request.price or ZERO)
    if request.quantity < rules.order_minimum or 0 < cost < rules.cost_minimum:
        raise errors.BelowMinimum(
            f"{request.quantity} is below the minimum of {rules.order_minimum} "
            f"or {rules.cost_minimum} {request.pair.quote}"
        )


def _fault(
    fault: Exception, lost: type[errors.ExchangeError], strange: type[errors.ExchangeError]
) -> errors.ExchangeError:
    """The error of ours; `lost` for a network fault, `strange` for what nobody has described."""
    text = str(fault)[:200]
    for words, ours in WORDS:
        if words in text:
            return ours(text)
    for theirs, ours in FAULTS:
        if isinstance(fault, theirs):
            return ours(text)
    return (lost if isinstance(fault, ccxt.NetworkError) else strange)(text)


def _candle(row: Any) -> Candle:
    """A row of ccxt; it does not tell how many trades there were."""
    opened, high, low, close, volume = (_number(value) for value in row[1:6])
    return Candle(_moment(row[0]), opened, high, low, close, volume)


def _number(value: Any) -> Decimal:
    if value is None:
        return ZERO
    with suppress(TypeError):
        return Decimal(value) if isinstance(value, str) else to_decimal(value)
    raise errors.UnexpectedAnswer(f"expected a number, found {value!r}")


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _from_seconds(seconds: Any) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
