"""Other people's clients against the sandbox over HTTP, unmodified but for the address."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.exchanges.box import KEY, Box
from trader.domain.errors import UsageError
from trader.exchanges.sandbox_server import Address, Server

ccxt = pytest.importorskip("ccxt")
krakenex = pytest.importorskip("krakenex")


@pytest.fixture
def box() -> Box:
    return Box(start=datetime(2026, 9, 1, tzinfo=UTC))


@pytest.fixture
def served(box: Box) -> Iterator[Address]:
    with Server(box.wire, port=0) as address:
        yield address


# ── krakenex ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def old(served: Address) -> Iterator[Any]:
    api = krakenex.API(KEY.key, KEY.secret)
    api.uri = served.url
    api.session.trust_env = False
    yield api
    api.close()


def result(answer: dict[str, Any]) -> Any:
    assert answer["error"] == []
    return answer["result"]


def asked(api: Any, method: str, form: dict[str, Any] | None = None) -> Any:
    """One private call."""
    return result(api.query_private(method, form or {}))


def test_krakenex_trades_from_balance_to_history(old: Any, box: Box) -> None:
    assert asked(old, "Balance") == {"ZUSD": "100000.0000", "XXBT": "2.0000000000"}
    order = {
        "pair": "XXBTZUSD", "type": "buy", "ordertype": "limit", "volume": "0.01",
        "price": "30000", "close[ordertype]": "stop-loss", "close[price]": "29000",
    }  # fmt: skip
    answer = asked(old, "AddOrder", order)
    assert answer["descr"] == {
        "order": "buy 0.01000000 XBTUSD @ limit 30000.0",
        "close": "close position @ stop loss 29000.0",
    }
    (txid,) = answer["txid"]
    assert list(asked(old, "OpenOrders")["open"]) == [txid]
    assert asked(old, "CancelOrder", {"txid": txid}) == {"count": 1}
    assert asked(old, "OpenOrders") == {"open": {}}
    market = {"pair": "XBTUSD", "type": "sell", "ordertype": "market", "volume": "0.5"}
    (sold,) = asked(old, "AddOrder", market)["txid"]
    (trade,) = asked(old, "TradesHistory")["trades"].values()
    assert (trade["ordertxid"], trade["vol"], trade["type"]) == (sold, "0.50000000", "sell")
    assert asked(old, "Balance")["XXBT"] == "1.5000000000"
    checked = asked(old, "AddOrder", market | {"validate": True})
    assert list(checked) == ["descr"]


def test_krakenex_reads_the_market(old: Any) -> None:
    pair = {"pair": "XBTUSD"}
    assert "XXBTZUSD" in result(old.query_public("Ticker", pair))
    assert len(result(old.query_public("OHLC", pair | {"interval": 1}))["XXBTZUSD"]) == 721
    assert old.query_public("Ticker", {"pair": "NOPE"})["error"] == ["EQuery:Unknown asset pair"]


# ── ccxt ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unified(served: Address) -> Iterator[Any]:
    exchange = ccxt.kraken(
        {
            "apiKey": KEY.key,
            "secret": KEY.secret,
            "enableRateLimit": False,
            "urls": {"api": {"public": served.url, "private": served.url}},
        }
    )
    exchange.session.trust_env = False
    yield exchange
    exchange.session.close()


def test_ccxt_reads_the_market(unified: Any, box: Box) -> None:
    markets = unified.load_markets()
    assert set(markets) == {"BTC/USD", "ETH/USD"}
    assert markets["BTC/USD"]["precision"] == {"amount": 1e-8, "price": 0.1, "cost": 1e-05} or (
        markets["BTC/USD"]["precision"]["price"] == 0.1
    )
    ticker = unified.fetch_ticker("BTC/USD")
    assert (ticker["bid"], ticker["last"], ticker["ask"]) == (39980.0, 40000.0, 40020.0)
    assert set(unified.fetch_tickers()) == {"BTC/USD", "ETH/USD"}
    candles = unified.fetch_ohlcv("BTC/USD", "1m")
    assert len(candles) >= 720
    assert candles[-1][0] == int(box.clock.now().timestamp()) * 1000
    since = candles[-10][0]
    assert unified.fetch_ohlcv("BTC/USD", "1m", since=since)[0][0] == since
    book = unified.fetch_order_book("BTC/USD", limit=10)
    assert len(book["bids"]) == len(book["asks"]) == 10
    assert book["bids"][0][0] < book["asks"][0][0]
    trades = unified.fetch_trades("BTC/USD", limit=20)
    assert trades
    assert unified.fetch_time() == int(box.clock.now().timestamp() * 1000)
    assert unified.fetch_status()["status"] == "ok"
    assert "BTC" in unified.fetch_currencies()


def test_ccxt_trades_and_keeps_its_books(unified: Any) -> None:
    balance = unified.fetch_balance()
    assert (balance["USD"]["free"], balance["BTC"]["total"]) == (100000.0, 2.0)
    limit = unified.create_order("BTC/USD", "limit", "buy", 0.01, 30000)
    assert (limit["side"], limit["type"], limit["amount"], limit["price"]) == (
        "buy", "limit", 0.01, 30000.0,
    )  # fmt: skip
    (found,) = unified.fetch_open_orders("BTC/USD")
    assert (found["id"], found["status"], found["price"]) == (limit["id"], "open", 30000.0)
    assert 300 < unified.fetch_balance()["USD"]["used"] < 305
    assert unified.cancel_order(limit["id"])["info"]
    assert unified.fetch_open_orders() == []
    assert unified.fetch_order(limit["id"])["status"] == "canceled"
    market = unified.create_order("BTC/USD", "market", "buy", 0.1)
    (trade,) = unified.fetch_my_trades("BTC/USD")
    assert (trade["order"], trade["amount"], trade["price"]) == (market["id"], 0.1, 40020.0)
    assert trade["fee"]["cost"] == pytest.approx(4002 * 0.008)
    done = unified.fetch_order(market["id"])
    assert (done["status"], done["filled"], done["average"]) == ("closed", 0.1, 40020.0)
    assert {o["id"] for o in unified.fetch_closed_orders()} == {market["id"]} or len(
        unified.fetch_closed_orders()
    ) == 2
    fee = unified.fetch_trading_fee("BTC/USD")
    assert (fee["maker"], fee["taker"]) == (0.004, 0.008)
    assert unified.fetch_ledger()
    assert unified.fetch_positions() == []


def test_ccxt_sends_every_kind_of_order(unified: Any) -> None:
    sell = ("BTC/USD", "limit", "sell", 0.01)
    kinds = [
        unified.create_order(*sell, 50000, {"postOnly": True}),
        unified.create_order("BTC/USD", "market", "sell", 0.01, None, {"stopLossPrice": 30000}),
        unified.create_order("BTC/USD", "market", "sell", 0.01, None, {"takeProfitPrice": 50000}),
        unified.create_order(*sell, 29000, {"stopLossPrice": 30000}),
        unified.create_order("BTC/USD", "market", "sell", 0.01, None, {"trailingPercent": "5"}),
        unified.create_order("BTC/USD", "market", "sell", 0.01, None, {"trailingAmount": "100"}),
        unified.create_order(*sell, 55000, {"clientOrderId": "abc123"}),
    ]
    types = {o["id"]: o["type"] for o in unified.fetch_open_orders()}
    assert set(types) == {order["id"] for order in kinds}
    edited = unified.edit_order(kinds[0]["id"], "BTC/USD", "limit", "sell", 0.02, 51000)
    assert edited["id"]
    assert unified.fetch_order(kinds[0]["id"])["price"] == 51000
    unified.cancel_orders([kinds[0]["id"], kinds[1]["id"]])
    unified.cancel_all_orders()
    assert unified.fetch_open_orders() == []
    batch = unified.create_orders(
        [
            {"symbol": "BTC/USD", "type": "limit", "side": "buy", "amount": 0.01, "price": 30000},
            {"symbol": "BTC/USD", "type": "limit", "side": "buy", "amount": 0.01, "price": 31000},
        ]
    )
    assert len(batch) == 2
    unified.cancel_all_orders_after(60000)


def test_ccxt_raises_its_own_classes(unified: Any, served: Address) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        unified.create_order("BTC/USD", "limit", "buy", 100, 30000)
    with pytest.raises(ccxt.InvalidOrder):
        unified.cancel_order("OAAAAA-AAAAA-AAAAAA")
    order = unified.create_order("BTC/USD", "market", "buy", 0.01)
    with pytest.raises(ccxt.OrderNotFound):
        unified.cancel_order(order["id"])
    with pytest.raises(ccxt.InvalidOrder):
        unified.create_order("BTC/USD", "limit", "buy", 0.00001, 30000)
    with pytest.raises(ccxt.ExchangeError, match="EQuery:Unknown asset pair"):
        unified.publicGetTicker({"pair": "NOPE"})
    unified.nonce = lambda: 1
    with pytest.raises(ccxt.InvalidNonce):
        unified.fetch_balance()
    unified.apiKey = "nobody"
    with pytest.raises(ccxt.AuthenticationError):
        unified.fetch_balance()


# ── python-kraken-sdk ──────────────────────────────────────────────────────────────────────


def test_python_kraken_sdk_trades(served: Address) -> None:
    spot = pytest.importorskip("kraken.spot")
    exceptions = pytest.importorskip("kraken.exceptions")
    arguments = {"key": KEY.key, "secret": KEY.secret, "url": served.url}
    with spot.User(**arguments) as user, spot.Trade(**arguments) as trade:
        with spot.Market(url=served.url) as market:
            assert "XXBTZUSD" in market.get_asset_pairs(pair="XBTUSD")
            assert "XXBTZUSD" in market.get_ticker(pair="XBTUSD")
            assert len(market.get_ohlc(pair="XBTUSD", interval=1)["XXBTZUSD"]) == 721
            assert market.get_order_book(pair="XBTUSD", count=3)
            assert market.get_recent_trades(pair="XBTUSD")
            assert market.get_system_status()["status"] == "online"
        assert user.get_account_balance()["XXBT"] == "2.0000000000"
        order = trade.create_order(
            ordertype="limit", side="buy", pair="XBTUSD", volume="0.01", price="30000"
        )
        (txid,) = order["txid"]
        assert list(user.get_open_orders()["open"]) == [txid]
        assert user.get_orders_info(txid=txid)[txid]["status"] == "open"
        trade.amend_order(extra_params={"txid": txid, "limit_price": "31000"})
        assert trade.cancel_order(txid=txid) == {"count": 1}
        trade.create_order(ordertype="market", side="sell", pair="XBTUSD", volume="0.01")
        assert user.get_trades_history()["count"] == 1
        assert user.get_closed_orders()["count"] == 2
        assert user.get_ledgers_info()["count"] == 4
        assert user.get_trade_volume(pair="XBTUSD")["fees"]["XXBTZUSD"]["fee"] == "0.8000"
        batch = trade.create_order_batch(
            orders=[
                {"ordertype": "limit", "type": "buy", "volume": "0.01", "price": "30000"},
                {"ordertype": "limit", "type": "buy", "volume": "0.01", "price": "31000"},
            ],
            pair="XBTUSD",
        )
        assert len(batch["orders"]) == 2
        assert trade.cancel_all_orders() == {"count": 2}
        with pytest.raises(exceptions.KrakenInsufficientFundsError):
            trade.create_order(ordertype="market", side="sell", pair="XBTUSD", volume="99")
        with pytest.raises(exceptions.KrakenUnknownAssetError):
            trade.create_order(ordertype="market", side="sell", pair="NOPE", volume="1")


# ── the server itself ──────────────────────────────────────────────────────────────────────


def test_two_servers_cannot_have_one_port(box: Box, served: Address) -> None:
    with pytest.raises(UsageError, match=f"port {served.port}") as caught:
        Server(box.wire, port=served.port)
    assert "--port" in caught.value.hint


@pytest.mark.parametrize("port", [-1, 70000])
def test_an_impossible_port_is_refused(box: Box, port: int) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        Server(box.wire, port=port)


@pytest.mark.slow
def test_requests_at_the_same_time_do_not_mix(box: Box, served: Address) -> None:
    found: list[str] = []

    def ask(pair: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(20):
            with opener.open(f"{served.url}/0/public/Ticker?pair={pair}", timeout=10) as reply:
                (key,) = json.load(reply)["result"]
                found.append(f"{pair} {key}")

    threads = [threading.Thread(target=ask, args=(p,)) for p in ("XBTUSD", "ETHUSD") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {"XBTUSD XXBTZUSD", "ETHUSD XETHZUSD"}
    assert len(found) == 120
