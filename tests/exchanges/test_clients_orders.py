"""Every kind of order that other people's clients can send, and the errors they raise in turn."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.exchanges.box import KEY, Box
from trader.exchanges.kraken_limits import TIERS
from trader.exchanges.sandbox_server import KrakenWire, Server

ccxt = pytest.importorskip("ccxt")
krakenex = pytest.importorskip("krakenex")
spot = pytest.importorskip("kraken.spot")
kraken_errors = pytest.importorskip("kraken.exceptions")

START = datetime(2026, 9, 1, tzinfo=UTC)
SYMBOL = "BTC/USD"


class Desk:
    """A box behind a port, and the three clients, unmodified but for the address."""

    def __init__(self, box: Box, url: str) -> None:
        self.box = box
        self.old = krakenex.API(KEY.key, KEY.secret)
        self.old.uri = url
        self.unified = ccxt.kraken(
            {"apiKey": KEY.key, "secret": KEY.secret, "enableRateLimit": False,
             "urls": {"api": {"public": url, "private": url}}}
        )  # fmt: skip
        for session in (self.old.session, self.unified.session):
            session.trust_env = False
        self.trade = spot.Trade(key=KEY.key, secret=KEY.secret, url=url)
        self.user = spot.User(key=KEY.key, secret=KEY.secret, url=url)

    def close(self) -> None:
        self.old.close()
        self.unified.session.close()
        self.trade.__exit__()
        self.user.__exit__()

    def ask_old(self, method: str, **form: Any) -> Any:
        return self.old.query_private(method, form)

    def seen(self, txid: str) -> dict[str, Any]:
        """The order as the exchange holds it, past all clients."""
        record = self.box.exchange.record(txid)
        spec = record.spec
        return {"type": spec.type.value, "side": spec.side.value, "status": record.status,
                "price": spec.price, "price2": spec.price2, "percent": spec.percent}  # fmt: skip


@pytest.fixture
def desk() -> Iterator[Desk]:
    box = Box(start=START)
    with Server(box.wire) as address:
        made = Desk(box, address.url)
        yield made
        made.close()


# ── krakenex: every kind there is ──────────────────────────────────────────────────────────

KINDS: dict[str, dict[str, str]] = {
    "market": {},
    "limit": {"price": "50000"},
    "iceberg": {"price": "50000", "displayvol": "0.01"},
    "stop-loss": {"price": "30000"},
    "stop-loss-limit": {"price": "30000", "price2": "29900"},
    "take-profit": {"price": "50000"},
    "take-profit-limit": {"price": "50000", "price2": "49900"},
    "trailing-stop": {"price": "+5%"},
    "trailing-stop-limit": {"price": "+500", "price2": "-100"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_krakenex_places_amends_and_cancels_each_kind(desk: Desk, kind: str) -> None:
    form = {"pair": "XBTUSD", "type": "sell", "ordertype": kind, "volume": "0.05", **KINDS[kind]}
    placed = desk.ask_old("AddOrder", **form)
    assert placed["error"] == []
    (txid,) = placed["result"]["txid"]
    assert desk.seen(txid)["type"] == kind
    if kind == "market":
        assert desk.seen(txid)["status"] == "closed"
        assert desk.ask_old("TradesHistory")["result"]["count"] == 1
        return
    amended = desk.ask_old("AmendOrder", txid=txid, order_qty="0.06")
    assert list(amended["result"]) == ["amend_id"]
    assert desk.ask_old("CancelOrder", txid=txid)["result"] == {"count": 1}
    (closed,) = desk.ask_old("ClosedOrders")["result"]["closed"].values()
    assert (closed["status"], closed["vol"]) == ("canceled", "0.06000000")
    assert desk.ask_old("CancelOrder", txid=txid) == {"error": ["EOrder:Unknown order"]}


@pytest.mark.slow
def test_clients_whose_nonce_is_the_millisecond_may_ask_as_fast_as_they_can(desk: Desk) -> None:
    for _ in range(60):
        assert desk.ask_old("Balance")["error"] == []
        desk.unified.fetch_balance()


# ── ccxt ───────────────────────────────────────────────────────────────────────────────────

Create = Callable[[Any], dict[str, Any]]
SELL = (SYMBOL, "market", "sell", 0.01, None)
CCXT_KINDS: dict[str, tuple[Create, str]] = {
    "market": (lambda x: x.create_order(SYMBOL, "market", "buy", 0.01), "market"),
    "market for an amount": (lambda x: x.create_market_buy_order_with_cost(SYMBOL, 500), "market"),
    "limit": (lambda x: x.create_order(SYMBOL, "limit", "sell", 0.01, 50000), "limit"),
    "post only": (lambda x: x.create_post_only_order(SYMBOL, "limit", "sell", 0.01, 50000)
                  if x.has["createPostOnlyOrder"]
                  else x.create_order(SYMBOL, "limit", "sell", 0.01, 50000, {"postOnly": True}),
                  "limit"),
    "immediate or cancel": (lambda x: x.create_order(SYMBOL, "limit", "buy", 0.01, 41000,
                                                     {"timeInForce": "IOC"}), "limit"),
    "stop": (lambda x: x.create_order(*SELL, {"stopLossPrice": 30000}), "stop-loss"),
    "stop with limit": (lambda x: x.create_order(SYMBOL, "limit", "sell", 0.01, 29000,
                                                 {"stopLossPrice": 30000}), "stop-loss-limit"),
    "target": (lambda x: x.create_order(*SELL, {"takeProfitPrice": 50000}), "take-profit"),
    "target with limit": (lambda x: x.create_order(SYMBOL, "limit", "sell", 0.01, 49000,
                                                   {"takeProfitPrice": 50000}),
                          "take-profit-limit"),
    "trailing percent": (lambda x: x.create_trailing_percent_order(*SELL, "5"), "trailing-stop"),
    "trailing amount": (lambda x: x.create_trailing_amount_order(*SELL, "100"), "trailing-stop"),
    "trailing percent with limit": (
        lambda x: x.create_order(*SELL, {"trailingPercent": "5", "trailingLimitPercent": "1"}),
        "trailing-stop-limit"),
    "trailing amount with limit": (
        lambda x: x.create_order(*SELL, {"trailingAmount": "500", "trailingLimitAmount": "100"}),
        "trailing-stop-limit"),
    "with a close": (lambda x: x.create_order(SYMBOL, "limit", "buy", 0.01, 30000,
                                              {"close": {"ordertype": "stop-loss",
                                                         "price": 29000}}), "limit"),
    "with an own id": (lambda x: x.create_order(SYMBOL, "limit", "sell", 0.01, 50000,
                                                {"clientOrderId": "abc123"}), "limit"),
}  # fmt: skip


@pytest.mark.parametrize("name", CCXT_KINDS)
def test_ccxt_places_finds_and_cancels_each_kind(desk: Desk, name: str) -> None:
    create, kind = CCXT_KINDS[name]
    placed = create(desk.unified)
    assert desk.seen(placed["id"])["type"] == kind
    found = desk.unified.fetch_order(placed["id"])
    assert (found["id"], found["symbol"], found["side"]) == (placed["id"], SYMBOL, placed["side"])
    if desk.seen(placed["id"])["status"] == "open":
        assert [o["id"] for o in desk.unified.fetch_open_orders(SYMBOL)] == [placed["id"]]
        assert found["status"] == "open"
        desk.unified.cancel_order(placed["id"])
        assert desk.unified.fetch_order(placed["id"])["status"] == "canceled"
    else:
        assert (found["status"], found["filled"] > 0) == ("closed", True)
        (trade,) = desk.unified.fetch_order_trades(placed["id"], SYMBOL, None, None, {
            "trades": found["info"]["trades"]})  # fmt: skip
        assert trade["order"] == placed["id"]


def test_ccxt_reads_history_ledger_and_own_orders(desk: Desk) -> None:
    bought = desk.unified.create_order(SYMBOL, "market", "buy", 0.1)
    resting = desk.unified.create_order(SYMBOL, "limit", "sell", 0.1, 50000)
    orders = desk.unified.fetch_orders_by_ids([bought["id"], resting["id"]])
    assert [o["status"] for o in orders] == ["closed", "open"]
    entries = desk.unified.fetch_ledger()
    assert {entry["currency"] for entry in entries} == {"USD", "BTC"}
    assert desk.unified.fetch_ledger_entry(entries[0]["id"])["id"] == entries[0]["id"]
    since = int(desk.box.clock.now().timestamp() * 1000) - 1000
    assert [t["order"] for t in desk.unified.fetch_my_trades(SYMBOL, since)] == [bought["id"]]
    assert [o["id"] for o in desk.unified.fetch_closed_orders(SYMBOL, since)] == [bought["id"]]
    edited = desk.unified.edit_order(resting["id"], SYMBOL, "limit", "sell", 0.2, 51000)
    assert edited["id"]  # of the amendment; the order keeps its own
    assert desk.unified.fetch_order(resting["id"])["amount"] == 0.2


def test_ccxt_raises_a_class_for_each_of_the_exchanges_errors(desk: Desk) -> None:
    buy = (SYMBOL, "limit", "buy", 0.01, 30000)
    public = desk.box.wire.public
    for mode, error in (("cancel_only", ccxt.OnMaintenance), ("post_only", ccxt.OnMaintenance),
                        ("maintenance", ccxt.ExchangeNotAvailable)):  # fmt: skip
        public.status = mode
        with pytest.raises(error):
            desk.unified.create_order(*buy)
    assert desk.unified.fetch_status()["status"] != "ok"
    public.status = "online"
    for args, error in (
        ((SYMBOL, "limit", "buy", 1000, 30000), ccxt.InsufficientFunds),
        ((SYMBOL, "limit", "buy", 0.00001, 30000), ccxt.InvalidOrder),
        (("DOGE/NOPE", "limit", "buy", 1, 1), ccxt.BadSymbol),
        ((*buy, {"postOnly": True, "price": "50000"}), ccxt.ExchangeError),
        ((SYMBOL, "market", "sell", 0.01, None, {"oflags": "viqc"}), ccxt.InvalidOrder),
    ):
        with pytest.raises(error):
            desk.unified.create_order(*args)
    desk.unified.create_order(*buy, {"clientOrderId": "abc"})
    with pytest.raises(ccxt.ExchangeError, match="not unique"):
        desk.unified.create_order(*buy, {"clientOrderId": "abc"})


@pytest.mark.parametrize(
    ("change", "theirs", "other"),
    [
        ({"permissions": frozenset()}, "PermissionDenied", "KrakenPermissionDeniedError"),
        ({"secret": "QUJD"}, "ExchangeError", "KrakenInvalidSignatureError"),
        ({"key": "somebody else"}, "AuthenticationError", "KrakenInvalidAPIKeyError"),
    ],
    ids=["permission", "signature", "key"],
)
def test_a_key_that_is_not_let_in_is_a_class_of_each_client(
    desk: Desk, change: dict[str, Any], theirs: str, other: str
) -> None:
    desk.box.wire._keys = KrakenWire(desk.box.exchange, [replace(KEY, **change)])._keys
    with pytest.raises(getattr(ccxt, theirs)):
        desk.unified.fetch_balance()
    with pytest.raises(getattr(kraken_errors, other)):
        desk.user.get_account_balance()


def test_limits_are_a_class_of_each_client(desk: Desk) -> None:
    desk.box.wire._keys = KrakenWire(desk.box.exchange, [KEY], TIERS["starter"])._keys
    for _ in range(15):
        desk.unified.fetch_balance()
        time.sleep(0.002)  # its nonce is the millisecond
    with pytest.raises(ccxt.DDoSProtection):
        desk.unified.fetch_balance()
    with pytest.raises(kraken_errors.KrakenApiLimitExceededError):
        desk.user.get_account_balance()


# ── python-kraken-sdk ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_python_kraken_sdk_places_amends_and_cancels_each_kind(desk: Desk, kind: str) -> None:
    answer = desk.trade.create_order(
        ordertype=kind, side="sell", pair="XBTUSD", volume="0.05", **KINDS[kind]
    )
    (txid,) = answer["txid"]
    assert desk.seen(txid)["type"] == kind
    assert desk.user.get_orders_info(txid=txid)[txid]["descr"]["ordertype"] == kind
    if kind == "market":
        (trade,) = desk.user.get_trades_history()["trades"]
        assert list(desk.user.get_trades_info(txid=trade)) == [trade]
        return
    assert desk.trade.amend_order(txid=txid, order_qty="0.06")["amend_id"]
    assert desk.trade.cancel_order(txid=txid) == {"count": 1}
    assert desk.user.get_closed_orders()["closed"][txid]["status"] == "canceled"
    with pytest.raises(kraken_errors.KrakenUnknownOrderError):
        desk.trade.cancel_order(txid=txid)


def test_python_kraken_sdk_edits_batches_and_winds_up_the_switch(desk: Desk) -> None:
    limit = {"ordertype": "limit", "side": "buy", "pair": "XBTUSD", "volume": "0.01"}
    (txid,) = desk.trade.create_order(
        **limit, price="30000", close_ordertype="stop-loss", close_price="29000",
        timeinforce="GTD", expiretm="+60", cl_ord_id="abc",
    )["txid"]  # fmt: skip
    assert desk.user.get_open_orders()["open"][txid]["descr"]["close"]
    assert desk.trade.cancel_order(cl_ord_id="abc") == {"count": 1}
    (txid,) = desk.trade.create_order(**limit, price="30000", oflags=["post"])["txid"]
    edited = desk.trade.edit_order(txid=txid, pair="XBTUSD", volume="0.02", price="31000")
    assert edited["originaltxid"] == txid
    assert desk.trade.cancel_order_batch(orders=[edited["txid"]]) == {"count": 1}
    assert desk.trade.cancel_all_orders_after_x(timeout=60)["triggerTime"]
    assert desk.user.get_balance(currency="XBT")["available_balance"] == 2
    assert desk.user.get_trade_balance()["eb"]
    assert desk.user.get_open_positions() == []  # it asks by market, which is a list


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"volume": "99999"}, "KrakenInsufficientFundsError"),
        ({"pair": "NOPE"}, "KrakenUnknownAssetError"),
        ({"price": "1", "volume": "0.0001"}, "KrakenCostMinimumNotMetError"),
        ({"leverage": "5"}, "KrakenCannotOpenPositionError"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "KrakenDeadlineElapsedError"),
        (
            {"trigger": "index", "ordertype": "stop-loss"},
            "KrakenInvalidArgumentsError",
        ),
    ],
    ids=str,
)
def test_python_kraken_sdk_raises_its_own_classes(
    desk: Desk, form: dict[str, str], error: str
) -> None:
    order = {"ordertype": "limit", "side": "buy", "pair": "XBTUSD", "volume": "0.01",
             "price": "30000"}  # fmt: skip
    with pytest.raises(getattr(kraken_errors, error)):
        desk.trade.create_order(**(order | form))


def test_python_kraken_sdk_hands_through_what_it_has_no_class_for(desk: Desk) -> None:
    answer = desk.trade.create_order(
        ordertype="limit", side="buy", pair="XBTUSD", volume="0.01", price="50000", oflags="post"
    )
    assert answer == {"error": ["EOrder:Post only order"]}


@pytest.mark.parametrize(
    ("mode", "error"),
    [("maintenance", "KrakenServiceUnavailableError"),
     ("cancel_only", "KrakenMarketInOnlyCancelModeError"),
     ("post_only", "KrakenMarketInOnlyPostModeError")],
)  # fmt: skip
def test_python_kraken_sdk_has_a_class_for_each_mode(desk: Desk, mode: str, error: str) -> None:
    desk.box.wire.public.status = mode
    with pytest.raises(getattr(kraken_errors, error)):
        desk.trade.create_order(
            ordertype="limit", side="buy", pair="XBTUSD", volume="0.01", price="30000"
        )
