"""Every recorded answer, one by one: the client reads it, and the sandbox answers in its shape.

The table names each file of the collection once; what is left out has its reason beside it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from kraken_client import KrakenClient
from tests.exchanges.box import KEY, Box
from tests.exchanges.scripted import Scripted, recorded
from tests.shared_data import shared
from trader.domain.candles import Timeframe
from trader.domain.errors import TraderError, UnexpectedAnswer
from trader.domain.markets import Pair

BTC = Pair("BTC", "USD")
START = datetime(2026, 1, 12, tzinfo=UTC)
LONG_AGO = datetime(2009, 1, 1, tzinfo=UTC)
FOLDER = "data/kraken-responses"
OWN = "0123456789abcdef0123456789abcdef"

Ask = Callable[[Box], Any]
Read = Callable[[KrakenClient], Any]


@dataclass(frozen=True)
class Recording:
    """What to do with a recorded answer.

    Attributes:
        file: in the folder of recordings.
        ask: how the sandbox is brought to give such an answer.
        method: Kraken's name of the call.
        read: how our client is brought to read it; None where it never makes the call.
        ids: paths of the objects whose keys are ids and not names of fields.
        lacks: fields that are not compared; a comment says why.
    """

    file: str
    method: str
    ask: Ask
    read: Read | None = None
    ids: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


def public(method: str, **query: Any) -> Ask:
    return lambda box: box.read(method, **query)


def private(method: str, **form: Any) -> Ask:
    def ask(box: Box) -> Any:
        lively(box)
        return box.ask(method, **form)

    return ask


def lively(box: Box) -> None:
    """An account in which everything has happened once."""
    box.order(ordertype="market", volume="0.1")
    box.ask("CancelOrder", txid=box.order(price="35000"))
    box.order(price="35000", cl_ord_id=OWN)


def added(method: str = "AddOrder", **more: str) -> Ask:
    fields = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01",
              "price": "35000"}  # fmt: skip
    return lambda box: box.ask(method, **(fields | more))


def on_an_order(method: str, **form: str) -> Ask:
    def ask(box: Box) -> Any:
        txid = box.order(price="35000")
        return box.ask(method, txid=txid, **form)

    return ask


def by_id(method: str, listing: str, key: str, field: str) -> Ask:
    """A call by id, of an entry that another call lists."""

    def ask(box: Box) -> Any:
        lively(box)
        entry = next(iter(box.ask(listing)[key]))
        return box.ask(method, **{field: entry, "trades": "true"})

    return ask


def trailing(box: Box) -> Any:
    txid = box.order(type="sell", ordertype="trailing-stop", price="+1%")
    box.ask("CancelOrder", txid=txid)
    return box.ask("QueryOrders", txid=txid)


def batch(box: Box) -> Any:
    close = {"ordertype": "stop-loss-limit", "price": "27000", "price2": "26000"}
    first = {"ordertype": "limit", "type": "buy", "volume": "0.01", "price": "28300",
             "close": close}  # fmt: skip
    second = {"ordertype": "limit", "type": "sell", "volume": "0.01", "price": "50000"}
    return box.post_json("AddOrderBatch", pair="XBTUSD", orders=[first, second])["result"]


def cancelled_batch(box: Box) -> Any:
    return box.post_json("CancelOrderBatch", orders=[box.order(price="35000")])["result"]


def candles(timeframe: str) -> Read:
    return lambda client: client.candles(BTC, Timeframe.parse(timeframe))


def tokenized(client: KrakenClient) -> Any:
    return client.pairs()


def rules(client: KrakenClient) -> Any:
    return client.pairs(), [client.market_rules(pair) for pair in client.pairs()]


def orders(client: KrakenClient) -> Any:
    return client._orders_by_id(["X"])


OPEN_ORDERS: Read = lambda client: client.open_orders()  # noqa: E731
CLOSED_ORDERS: Read = lambda client: client.closed_orders(LONG_AGO)  # noqa: E731
FILLS: Read = lambda client: client.fills(LONG_AGO)  # noqa: E731
TICKER: Read = lambda client: client.ticker(BTC)  # noqa: E731
BOOK: Read = lambda client: client.order_book(BTC)  # noqa: E731
TRADES: Read = lambda client: client.recent_trades(BTC)  # noqa: E731
BALANCES: Read = lambda client: client.balances()  # noqa: E731
FEES: Read = lambda client: client.fee_rates(BTC)  # noqa: E731
TOP, OPEN, CLOSED, FILLED, LEDGER = ("",), ("open",), ("closed",), ("trades",), ("ledger",)
OF_PAIRS = ("fees", "fees_maker")

RECORDINGS = [
    Recording("api-Time-2025-11-11.json", "Time", public("Time"), lambda c: c.server_time()),
    Recording("api-SystemStatus-2025-11-11.json", "SystemStatus", public("SystemStatus"),
              lambda c: c.system_status()),
    Recording("api-Assets-sample-2026-09-25.json", "Assets", public("Assets"), rules, TOP),
    Recording("api-doc-Assets.json", "Assets", public("Assets"), rules, TOP),
    Recording("public/Assets.json", "Assets", public("Assets"), rules, TOP),
    *(Recording(f"api-AssetPairs-{name}.json", "AssetPairs", public("AssetPairs"), rules, TOP)
      for name in ("XBTUSDT-2025-11-11", "all-2026-01-12", "main-2026-01-12",
                   "sample-2026-09-25")),
    Recording("public/AssetPairs_all_2021-04-17.json", "AssetPairs", public("AssetPairs"), rules,
              TOP),
    Recording("api-Ticker-XBTUSDT-2025-11-11.json", "Ticker", public("Ticker"), TICKER, TOP),
    Recording("api-doc-Ticker-XXBTZUSD.json", "Ticker", public("Ticker"), TICKER, TOP),
    *(Recording(name, "OHLC", public("OHLC", pair="XBTUSD", interval=60), candles(timeframe), TOP)
      for name, timeframe in (("api-OHLC-BTCUSD-60m-2026-09-25.json", "1h"),
                              ("api-OHLC-XBTUSDT-1m-2025-11-11.json", "1m"),
                              ("api-doc-OHLC-XXBTZUSD.json", "1m"))),
    *(Recording(name, "Depth", public("Depth", pair="XBTUSD"), BOOK, TOP)
      for name in ("api-Depth-XBTUSDT-2025-11-11.json", "api-doc-Depth-XXBTZUSD.json",
                   "public/Depth_XBTEUR_2014-02-08.json")),
    *(Recording(name, "Trades", public("Trades", pair="XBTUSD"), TRADES, TOP)
      for name in ("api-Trades-BTCUSD-2026-09-25.json", "api-Trades-XBTUSDT-2025-11-11.json",
                   "api-doc-Trades-XXBTZUSD.json", "public/Trades_XBTUSD_2013-11-27.json")),
    *(Recording(name, "Spread", public("Spread", pair="XBTUSD"), None, TOP)
      for name in ("api-doc-Spread.json", "public/Spread_XBTUSD_2014-02-08.json")),
    Recording("api-doc-Balance.json", "Balance", private("Balance"), None, TOP),
    Recording("private/Balance.json", "Balance", private("Balance"), None, TOP),
    Recording("api-doc-BalanceEx.json", "BalanceEx", private("BalanceEx"), BALANCES, TOP),
    *(Recording(name, "TradeBalance", private("TradeBalance"), None, (), ("ml",))
      for name in ("api-doc-TradeBalance.json", "private/TradeBalance.json")),
    *(Recording(name, "TradeVolume", private("TradeVolume", pair="XBTUSD"), FEES, OF_PAIRS)
      for name in ("api-doc-TradeVolume.json", "private/TradeVolume_all_pairs.json")),
    *(Recording(name, "OpenOrders", private("OpenOrders", trades="true"), OPEN_ORDERS, OPEN)
      for name in ("api-doc-OpenOrders.json", "private/OpenOrders.json")),
    *(Recording(name, "ClosedOrders", private("ClosedOrders", trades="true"), CLOSED_ORDERS,
                CLOSED)
      for name in ("api-doc-ClosedOrders.json", "private/ClosedOrders.json")),
    *(Recording(name, "QueryOrders", by_id("QueryOrders", "ClosedOrders", "closed", "txid"),
                orders, TOP)
      for name in ("api-doc-QueryOrders.json", "private/QueryOrders_market_sell.json")),
    Recording("api-doc-QueryOrders-trailing-stop-recorded.json", "QueryOrders", trailing, orders,
              TOP),
    *(Recording(name, "TradesHistory", private("TradesHistory", ledgers="true"), FILLS, FILLED)
      for name in ("api-doc-TradesHistory.json", "private/TradesHistory.json")),
    # Its count was written down as text.
    Recording("private/TradesHistory_several.json", "TradesHistory", private("TradesHistory"),
              FILLS, FILLED, ("count",)),
    Recording("api-doc-QueryTrades.json", "QueryTrades",
              by_id("QueryTrades", "TradesHistory", "trades", "txid"), None, TOP),
    Recording("api-doc-Ledgers.json", "Ledgers", private("Ledgers"), None, LEDGER),
    Recording("api-doc-QueryLedgers.json", "QueryLedgers",
              by_id("QueryLedgers", "Ledgers", "ledger", "id"), None, TOP),
    Recording("api-doc-GetApiKeyInfo.json", "GetApiKeyInfo", private("GetApiKeyInfo"),
              lambda c: c.key_permissions()),
    *(Recording(name, "GetWebSocketsToken", private("GetWebSocketsToken"))
      for name in ("api-doc-GetWebSocketsToken.json", "private/GetWebSocketsToken.json")),
    Recording("api-doc-AddOrder.json", "AddOrder",
              added(**{"close[ordertype]": "stop-loss-limit", "close[price]": "22000",
                       "close[price2]": "21000"})),
    # An older answer repeated the parts of the description.
    Recording("private/AddOrder.json", "AddOrder", added(), None, (),
              ("pair", "type", "ordertype", "price", "price2", "leverage")),
    Recording("api-doc-AddOrderBatch.json", "AddOrderBatch", batch),
    Recording("api-doc-AmendOrder.json", "AmendOrder",
              on_an_order("AmendOrder", limit_price="34000")),
    Recording("api-doc-EditOrder.json", "EditOrder",
              on_an_order("EditOrder", pair="XBTUSD", price="34000")),
    Recording("api-doc-CancelOrder.json", "CancelOrder", on_an_order("CancelOrder"),
              lambda c: c.cancel("X")),
    Recording("api-doc-CancelOrderBatch.json", "CancelOrderBatch", cancelled_batch),
    Recording("api-doc-CancelAll.json", "CancelAll", private("CancelAll"),
              lambda c: c.cancel_all()),
    Recording("api-doc-CancelAllOrdersAfter.json", "CancelAllOrdersAfter",
              private("CancelAllOrdersAfter", timeout="60"), lambda c: c.cancel_all_after(60)),
]  # fmt: skip

ELSEWHERE = {
    "api-error-envelopes.json": "errors, read in the test below",
    "api-doc-OpenPositions.json": "positions exist with margin only; there are none here",
    "private/OpenPositions.json": "positions exist with margin only; there are none here",
    "public/AssetPairs_tokenized.json": "tokenized stocks are not traded here; read below",
    "api-ws2-book-BTCUSD-replay.json": "WebSocket, which the sandbox does not speak",
    "api-ws2-public-messages-2026-09-25.json": "WebSocket, which the sandbox does not speak",
    "websocket-v1/capture_2021-04-17_a.jsonl": "WebSocket, which the sandbox does not speak",
    "README.md": "no answer",
}


def test_every_recording_is_in_the_table_or_says_why_not() -> None:
    folder = shared(FOLDER)
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    named = [recording.file for recording in RECORDINGS]
    assert len(named) == len(set(named))
    assert there == {*named, *ELSEWHERE}


# ── what the sandbox answers ───────────────────────────────────────────────────────────────

# Fields that Kraken has had for some of its answers only.
OPTIONAL = {"collateral_value", "margin_rate", "trigger", "limitprice", "stopprice", "trades",
            "margin", "sender_sub_id", "close", "leverage", "reason", "closetm", "userref",
            "execution_venue", "long_position_limit", "short_position_limit", "margin_call",
            "margin_stop", "costmin", "cost_decimals", "trade_id"}  # fmt: skip
# Null in some answers and a value in others.
NULLABLE = {"refid", "userref", "reason", "cl_ord_id", "nextfee", "nextvolume", "tiervolume"}
# The documentation shows bare numbers here; real answers have text.
AS_TEXT = {"balance", "hold_trade"}


def kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "number as text" if value.lstrip("+-").replace(".", "", 1).isdigit() else "text"
    return type(value).__name__


def differences(theirs: Any, ours: Any, recording: Recording, path: str = "") -> Iterator[str]:
    """Where our answer is not of the shape of the recorded one."""
    if isinstance(theirs, dict):
        if not isinstance(ours, dict):
            yield f"{path}: {kind(ours)} for an object"
        elif path in recording.ids:
            yield from _of_entries(theirs, ours, recording, path)
        else:
            yield from _of_fields(theirs, ours, recording, path)
    elif isinstance(theirs, list):
        yield from _of_lists(theirs, ours, recording, path)
    elif kind(theirs) != kind(ours) and not _may_differ(theirs, ours, path):
        yield f"{path}: {kind(ours)} {ours!r} for {kind(theirs)} {theirs!r}"


def _of_entries(
    theirs: dict[str, Any], ours: dict[str, Any], recording: Recording, path: str
) -> Iterator[str]:
    """Each of theirs has the shape of one of ours."""
    mine = [value for name, value in ours.items() if name != "last"]
    for name, value in theirs.items():
        if name != "last":
            found = [list(differences(value, m, recording, f"{path}.*")) for m in mine]
            yield from min(found, key=len) if found else [f"{path}: ours is empty"]


def _of_fields(
    theirs: dict[str, Any], ours: dict[str, Any], recording: Recording, path: str
) -> Iterator[str]:
    for name, value in theirs.items():
        if name in recording.lacks:
            continue
        if name in ours:
            yield from differences(value, ours[name], recording, f"{path}.{name}".strip("."))
        elif name not in OPTIONAL:
            yield f"{path}: no {name}"


def _of_lists(theirs: list[Any], ours: Any, recording: Recording, path: str) -> Iterator[str]:
    if not isinstance(ours, list):
        yield f"{path}: {kind(ours)} for a list"
    elif theirs and not ours and path.split(".")[-1] not in ("ip_allowlist", "leverage_buy"):
        yield f"{path}: ours is empty"
    elif theirs and isinstance(theirs[0], list | dict):
        for row in theirs[:50]:
            yield from differences(row, ours[0], recording, f"{path}[]")
    elif ours and path.endswith("[]"):
        for index, (their, mine) in enumerate(zip(theirs, ours, strict=False)):
            yield from differences(their, mine, recording, f"{path}{index}")
    elif theirs and ours:
        yield from differences(theirs[0], ours[0], recording, f"{path}[]")


def _may_differ(theirs: Any, ours: Any, path: str) -> bool:
    name = path.split(".")[-1]
    if name in NULLABLE:
        return theirs in (None, "None") or ours is None
    if name in AS_TEXT:
        return kind(ours) == "number as text"
    # Words: one of them happens to be all digits, or none was needed.
    texts = {"text", "number as text"}
    words = {"misc", "oflags", "close", "altname", "iban", "api_key", "price", "token"}
    return {kind(theirs), kind(ours)} <= texts and name in words


@pytest.mark.slow
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: r.file)
def test_the_sandbox_answers_in_the_recorded_shape(recording: Recording) -> None:
    theirs = recorded(recording.file)["result"]
    ours = recording.ask(Box(start=START))
    assert list(differences(theirs, ours, recording)) == []
    if isinstance(theirs, dict) and "last" in theirs:
        assert kind(ours["last"]) == kind(theirs["last"])


@pytest.mark.parametrize(
    "spoilt",
    [lambda r: r.pop("status"), lambda r: r.update(vol=1.0), lambda r: r.update(opentm="1"),
     lambda r: r["descr"].pop("order"), lambda r: r.update(descr=None)],
)  # fmt: skip
def test_the_comparison_sees_a_field_that_is_missing_or_of_another_kind(
    spoilt: Callable[[dict[str, Any]], Any],
) -> None:
    recording = next(r for r in RECORDINGS if r.method == "OpenOrders")
    theirs = recorded(recording.file)["result"]
    ours = recording.ask(Box(start=START))
    for row in ours["open"].values():
        spoilt(row)
    assert list(differences(theirs, ours, recording)) != []


# ── what the client reads ──────────────────────────────────────────────────────────────────

READABLE = [recording for recording in RECORDINGS if recording.read is not None]


def client_of(script: Scripted) -> KrakenClient:
    return KrakenClient(
        KEY.key, KEY.secret, url="http://sandbox", handler=script, sleep=lambda _: None,
        now=lambda: START,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("recording", READABLE, ids=lambda r: r.file)
def test_the_client_reads_the_recorded_answer(recording: Recording) -> None:
    answers: dict[str, Any] = {recording.method: recorded(recording.file)}
    if recording.method in ("TradesHistory", "ClosedOrders"):
        key = "trades" if recording.method == "TradesHistory" else "closed"
        answers[recording.method] = [answers[recording.method],
                                     {"error": [], "result": {key: {}, "count": 0}}]  # fmt: skip
    answers.setdefault("QueryOrders", {"error": [], "result": {}})
    found = recording.read(client_of(Scripted(**answers))) if recording.read else None
    assert found is None or found != ()


def test_tokenized_stocks_are_read_over() -> None:
    script = Scripted(AssetPairs=recorded("public/AssetPairs_tokenized.json"))
    assert tokenized(client_of(script)) is not None


@pytest.mark.parametrize("index", range(11))
def test_each_recorded_error_becomes_one_of_ours(index: int) -> None:
    envelopes = json.loads(shared(f"{FOLDER}/api-error-envelopes.json").read_text())
    assert len(envelopes) == 11
    with pytest.raises(TraderError) as caught:
        client_of(Scripted(BalanceEx=envelopes[index])).balances()
    assert not isinstance(caught.value, UnexpectedAnswer)
    assert caught.value.message
