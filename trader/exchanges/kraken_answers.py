"""Kraken's results → values of ours. Pure; whatever does not fit is an `UnexpectedAnswer`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from trader.domain.errors import HistoryError, UnexpectedAnswer, UsageError
from trader.domain.markets import (
    Balance,
    BookLevel,
    FeeRates,
    OrderBook,
    Pair,
    PublicTrade,
    Ticker,
)
from trader.domain.orders import (
    Fill,
    Liquidity,
    Order,
    OrderState,
    OrderType,
    Side,
    may_be_ours,
)
from trader.domain.timeframes import Timeframe
from trader.exchanges.kraken_names import KrakenNames

if TYPE_CHECKING:
    from trader.domain.candles import Candles
    from trader.domain.tape import Tape

T = TypeVar("T")

_FAULTS = (
    KeyError, TypeError, ValueError, ArithmeticError, AttributeError, IndexError, StopIteration,
    HistoryError, UsageError,
)  # fmt: skip

_STATES = {
    "pending": OrderState.OPEN,
    "open": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "expired": OrderState.EXPIRED,
}
_ORDER_ID = re.compile(r"[0-9A-Z]{6}-[0-9A-Z]{5}-[0-9A-Z]{6}")
# An order type that this program never sends counts as the one that executes in the same way.
_TYPES = {"settle-position": OrderType.MARKET}


def read_as(call: str, parse: Callable[[Any], T], result: Any) -> T:
    """Parse a result.

    Raises:
        UnexpectedAnswer: if it has not the shape that Kraken documents.
    """
    try:
        return parse(result)
    except UnexpectedAnswer:
        raise
    except _FAULTS as fault:
        raise UnexpectedAnswer(
            f"Kraken's answer to {call} has not the documented shape "
            f"({type(fault).__name__}: {str(fault)[:120]})",
            "Kraken may have changed its interface; see its changelog.",
        ) from fault


def parse_json(body: bytes) -> Any:
    """JSON with exact decimals.

    Raises:
        ValueError: if it is none.
    """
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except RecursionError as fault:
        raise ValueError("nested too deeply") from fault


def _no_constant(text: str) -> Any:
    raise ValueError(f"'{text}' is no number of JSON")


def moment(seconds: Any) -> datetime:
    """An aware UTC moment from Unix seconds."""
    return datetime.fromtimestamp(float(seconds), UTC)


def amount(value: Any) -> Decimal:
    """A finite decimal from the string or number in which Kraken writes it.

    Raises:
        ValueError: for NaN and infinities.
    """
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"{value} is no amount")
    return number


def price(value: Any) -> Decimal:
    """A positive amount, without the zeros that only pad it (`30300.10000` is 30300.1)."""
    number = amount(value)
    if number <= 0:
        raise ValueError(f"{value} is no price")
    return trimmed(number)


def trimmed(number: Decimal) -> Decimal:
    """The same number without trailing zeros after the point."""
    tidy = number.normalize()
    return tidy if int(tidy.as_tuple().exponent) <= 0 else tidy.quantize(Decimal(1))


def only_entry(result: Mapping[str, Any]) -> Any:
    """The one entry that is not `last`: Kraken keys it by whichever name it likes."""
    return next(value for key, value in result.items() if key != "last")


def server_time(result: Any) -> datetime:
    """`Time`."""
    return moment(result["unixtime"])


def candles(result: Any, timeframe: Timeframe) -> Candles:
    """`OHLC` without the candle that is still forming, and without those in which nothing traded.

    `last` is the opening of the newest finished candle; where it is missing the last row is taken
    for the forming one, which Kraken always sends.
    """
    import numpy as np  # only who asks for candles needs it: an emergency stop does not

    from trader.domain.candles import Candles

    rows = only_entry(result)
    last = result.get("last")
    newest = int(last) if last is not None else int(rows[-1][0]) - 1 if rows else 0
    if not rows:
        return Candles.empty(timeframe)
    # Column by column: a loop over hundreds of pairs has this as its largest part.
    columns = list(zip(*rows, strict=True))
    times, trades = (np.fromiter(map(int, columns[i]), np.int64, len(rows)) for i in (0, 7))
    opens, highs, lows, closes, volumes = (
        np.fromiter(map(float, columns[i]), np.float64, len(rows)) for i in (1, 2, 3, 4, 6)
    )
    kept = (times <= newest) & ((trades > 0) | (volumes > 0))
    return Candles(
        timeframe, times[kept], opens[kept], highs[kept], lows[kept], closes[kept], volumes[kept],
        trades[kept],
    )  # fmt: skip


def ticker(result: Any, pair: Pair, at: datetime) -> Ticker:
    """`Ticker` of one pair."""
    row = only_entry(result)
    return Ticker(
        pair, at, bid=price(row["b"][0]), ask=price(row["a"][0]), last=price(row["c"][0])
    )


def order_book(result: Any, pair: Pair, at: datetime) -> OrderBook:
    """`Depth`."""
    row = only_entry(result)
    bids, asks = (
        tuple(BookLevel(price(level[0]), amount(level[1])) for level in row[side])
        for side in ("bids", "asks")
    )
    return OrderBook(pair, at, bids, asks)


def public_trades(result: Any) -> tuple[PublicTrade, ...]:
    """`Trades`; answers of former years have no trade id."""
    return tuple(
        PublicTrade(
            at=moment(row[2]),
            price=price(row[0]),
            quantity=amount(row[1]),
            side={"b": "buy", "s": "sell"}[row[3]],
            trade_id=int(row[6]) if len(row) > 6 else 0,
        )
        for row in only_entry(result)
    )


@dataclass(frozen=True, slots=True)
class TradePage:
    """One answer of `Trades`.

    Attributes:
        tape: its trades, oldest first.
        next_ns: from where to ask on.
    """

    tape: Tape
    next_ns: int


def trade_page(result: Any, since_ns: int) -> TradePage:
    """`Trades` as columns, times in whole nanoseconds as Kraken wrote them."""
    import numpy as np

    from trader.domain.tape import Tape

    rows = only_entry(result)
    last = int(result.get("last") or since_ns)
    sides = {"b": 1, "s": -1}
    return TradePage(
        Tape(
            np.array([int(_exact(row[2]) * 1_000_000_000) for row in rows], dtype=np.int64),
            np.array([float(row[0]) for row in rows], dtype=np.float64),
            np.array([float(row[1]) for row in rows], dtype=np.float64),
            np.array([sides[row[3]] for row in rows], dtype=np.int8),
            np.array([int(row[6]) if len(row) > 6 else 0 for row in rows], dtype=np.int64),
        ),
        last,
    )


def _exact(number: Any) -> Decimal:
    return number if isinstance(number, Decimal) else Decimal(str(number))


def balances(result: Any, names: KrakenNames) -> dict[str, Balance]:
    """`BalanceEx`, or `Balance` (then nothing is known to be held); zeros are left out.

    What earns rewards by itself (`XBT.F`) is traded as the asset itself and counts with it.
    """
    found: dict[str, Balance] = {}
    for asset_id, row in result.items():
        asset = names.asset(asset_id)
        whole = isinstance(row, Mapping)
        total = amount(row["balance"] if whole else row)
        if whole:
            total += amount(row.get("credit") or 0) - amount(row.get("credit_used") or 0)
        held = amount(row.get("hold_trade") or 0) if whole else Decimal(0)
        if total or held:
            before = found.get(asset, Balance(asset, Decimal(0), Decimal(0)))
            found[asset] = Balance(asset, before.total + total, before.held + held)
    return found


def fee_rates(result: Any, pair_id: str) -> FeeRates | None:
    """`TradeVolume`; None where Kraken tells no rate for the pair."""
    taker = ((result.get("fees") or {}).get(pair_id) or {}).get("fee")
    maker = ((result.get("fees_maker") or {}).get(pair_id) or {}).get("fee")
    if taker is None:
        return None
    return FeeRates(
        maker=amount(taker if maker is None else maker) / 100, taker=amount(taker) / 100
    )


def new_order_id(result: Any) -> str:
    """`AddOrder`: the id of the order that now exists."""
    txids = result["txid"]
    if not (isinstance(txids, list) and len(txids) == 1 and _ORDER_ID.fullmatch(str(txids[0]))):
        raise ValueError("txid")
    return str(txids[0])


def orders(result: Any, names: KrakenNames) -> tuple[Order, ...]:
    """A map of order id → order object."""
    return tuple(order(txid, row, names) for txid, row in result.items())


def readable_orders(result: Any, names: KrakenNames) -> tuple[Order, ...]:
    """As `orders`, without those of somebody else that nobody has described.

    Ours all bear an id such as we give. One kind of order more that the owner places by hand must
    not keep the program from its own.
    """
    found = []
    for txid, row in result.items():
        try:
            found.append(order(txid, row, names))
        except (KeyError, TypeError, ValueError, ArithmeticError):
            if not isinstance(row, Mapping) or may_be_ours(own_id(row.get("cl_ord_id"))):
                raise
    return tuple(found)


def order(txid: str, row: Any, names: KrakenNames) -> Order:
    """One order object of OpenOrders, ClosedOrders or QueryOrders."""
    descr = row["descr"]
    closed = row.get("closetm")
    return Order(
        exchange_id=txid,
        order_id=own_id(row.get("cl_ord_id")),
        pair=pair_named(descr["pair"], names),
        side=Side(descr["type"]),
        type=_TYPES.get(descr["ordertype"]) or OrderType(descr["ordertype"]),
        quantity=amount(row["vol"]),
        price=_order_price(row, descr),
        state=_STATES[row["status"]],
        opened_at=moment(row["opentm"]),
        closed_at=moment(closed) if closed else None,
        filled_quantity=amount(row["vol_exec"]),
        average_price=trimmed(amount(row["price"])),
        cost_quote=amount(row["cost"]),
        fee_quote=amount(row["fee"]),
        post_only="post" in str(row.get("oflags") or "").split(","),
        reason=str(row.get("reason") or ""),
    )


def _order_price(row: Mapping[str, Any], descr: Mapping[str, Any]) -> Decimal | None:
    text = str(descr["price"])
    if text[:1] in "+-#" or text.endswith("%"):  # relative: what counts is the present trigger
        text = str(row.get("stopprice") or 0)
    number = amount(text)
    return trimmed(number) if number > 0 else None


def own_ids(result: Any) -> dict[str, str]:
    """A map of order id → order object: the exchange's ids to ours, whatever else they say."""
    return {txid: own_id(row.get("cl_ord_id")) for txid, row in result.items()}


def own_id(value: Any) -> str:
    """Our order id as we write it, empty for an order without one."""
    return str(value or "").replace("-", "").lower()


def pair_named(name: str, names: KrakenNames) -> Pair:
    """The pair of any of Kraken's names.

    A pair that is no longer listed is read from its name, and kept under it where that fails: an
    old trade of the user's must not hide the new ones.
    """
    found = names.named(name)
    if found:
        return found.pair
    try:
        return Pair.parse(name)
    except UsageError:
        return Pair(str(name), "")


def fills(result: Any, names: KrakenNames, own_ids: Mapping[str, str]) -> Iterator[Fill]:
    """The `trades` of TradesHistory, oldest first. `own_ids` maps the exchange's ids to ours.

    Fills of one moment follow their public numbers, in which they happened.
    """
    for trade_id, row in sorted(result.items(), key=_place_in_time):
        yield Fill(
            trade_id=trade_id,
            exchange_id=row["ordertxid"],
            order_id=own_ids.get(row["ordertxid"], ""),
            pair=pair_named(row["pair"], names),
            side=Side(row["type"]),
            quantity=amount(row["vol"]),
            price=price(row["price"]),
            cost_quote=amount(row["cost"]),
            fee_quote=amount(row["fee"]),
            liquidity=_liquidity(row),
            filled_at=moment(row["time"]),
        )


def _place_in_time(entry: tuple[str, Any]) -> tuple[float, int, str]:
    trade_id, row = entry
    return float(row["time"]), int(row.get("trade_id") or 0), trade_id


def _liquidity(row: Mapping[str, Any]) -> Liquidity:
    return Liquidity.MAKER if row.get("maker") is True else Liquidity.TAKER


def page(result: Any, key: str) -> tuple[dict[str, Any], int | None]:
    """One page of a paged answer and how many entries there are in all, if told."""
    entries = result[key]
    if not isinstance(entries, dict):
        raise TypeError(f"{key} is no object")
    count = result.get("count")
    return entries, None if count is None else int(count)
