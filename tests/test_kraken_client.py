"""The client against recorded and against impossible answers; the sandbox is tested elsewhere."""

import contextlib
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraken_client import KrakenClient
from tests.exchanges.box import KEY as BOX_KEY
from tests.exchanges.box import Box
from tests.exchanges.scripted import Answer, Scripted, ok, recorded, refused
from trader.domain.candles import Timeframe
from trader.domain.errors import (
    AuthError,
    ExchangeError,
    InsufficientFunds,
    NonceError,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    UnexpectedAnswer,
    UnknownPair,
    Unreachable,
    UsageError,
)
from trader.domain.markets import Balance, BookLevel, FeeRates, Pair
from trader.domain.orders import (
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.sandbox_server import Server
from trader.exchanges.transport import NoReply

BTC = Pair("BTC", "USD")
NOW = datetime(2026, 9, 25, 18, 30, tzinfo=UTC)
KEY, SECRET = "KEYKEYKEY", "c2VjcmV0c2VjcmV0"
OWN = "0123456789abcdef0123456789abcdef"
EARLY = datetime(2010, 1, 1, tzinfo=UTC)


def client(script: Scripted, **options: Any) -> KrakenClient:
    return KrakenClient(
        KEY,
        SECRET,
        url="http://sandbox",
        now=lambda: NOW,
        handler=script,
        sleep=lambda seconds: None,
        **options,
    )


def limit_order(**changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "order_id": OWN, "pair": BTC, "side": Side.BUY, "type": OrderType.LIMIT,
        "quantity": Decimal("0.00012"), "price": Decimal("60000.0"),
    }  # fmt: skip
    return OrderRequest(**(fields | changes))


# ── what nobody expects of a paged or mixed answer ─────────────────────────────────────────


def test_pages_that_repeat_themselves_end_in_an_error() -> None:
    page = ok({"closed": own_order("O1", status="closed"), "count": 10**40})
    with pytest.raises(UnexpectedAnswer, match="repeats itself from entry 1"):
        client(Scripted(ClosedOrders=page)).closed_orders(EARLY)


def test_an_order_of_the_owners_that_nobody_has_described_hides_no_other() -> None:
    rows = own_order("O1", status="open")
    strange = {**rows["O1"], "cl_ord_id": None}
    strange["descr"] = {**strange["descr"], "ordertype": "moon-shot"}
    script = Scripted(OpenOrders=ok({"open": {"O2": strange, **rows}}))
    assert [order.exchange_id for order in client(script).open_orders()] == ["O1"]


def test_an_order_of_ours_that_cannot_be_read_is_an_error() -> None:
    ours = make_order_id(BTC, NOW, Side.BUY, Purpose.ENTRY)
    rows = own_order("O1", status="open", cl_ord_id=ours)
    rows["O1"]["descr"]["ordertype"] = "moon-shot"
    with pytest.raises(UnexpectedAnswer):
        client(Scripted(OpenOrders=ok({"open": rows}))).open_orders()


def test_a_list_of_pairs_that_is_empty_is_refused() -> None:
    with pytest.raises(UnexpectedAnswer, match="no pair"):
        client(Scripted(AssetPairs=ok({}))).market_rules(BTC)


def test_a_pair_that_cannot_be_read_hides_no_other() -> None:
    pairs = recorded("api-AssetPairs-main-2026-01-12.json")
    pairs["result"]["XETHZUSD"].pop("lot_decimals")
    exchange = client(Scripted(AssetPairs=pairs))
    assert exchange.market_rules(BTC).pair == BTC
    with pytest.raises(UnexpectedAnswer, match="XETHZUSD"):
        exchange.market_rules(Pair("ETH", "USD"))


# ── public answers ─────────────────────────────────────────────────────────────────────────


def test_candles_end_with_the_last_closed_one() -> None:
    script = Scripted(OHLC=recorded("api-OHLC-BTCUSD-60m-2026-09-25.json"))
    candles = client(script).candles(BTC, Timeframe.parse("1h"))
    assert [int(t) for t in candles.opened_at] == [1790348400, 1790352000, 1790355600]
    assert candles.row(2).close == Decimal("83765.4")
    assert script.calls("OHLC") == [{"pair": "XXBTZUSD", "interval": "60"}]


def test_720_candles_of_a_recording_are_read_without_those_in_which_nothing_traded() -> None:
    answer = recorded("api-OHLC-XBTUSDT-1m-2025-11-11.json")
    rows = answer["result"]["XBTUSDT"]
    script = Scripted(OHLC=answer)
    candles = client(script).candles(Pair("BTC", "USDT"), Timeframe.parse("1m"))
    assert len(rows) == 721
    assert len(candles) == sum(row[7] > 0 for row in rows[:-1])


def test_a_length_that_kraken_does_not_have_is_refused_before_asking() -> None:
    script = Scripted()
    with pytest.raises(UsageError, match="2h"):
        client(script).candles(BTC, Timeframe.parse("2h"))
    assert script.requests == []


def test_candles_out_of_order_are_an_answer_nobody_described() -> None:
    answer = recorded("api-OHLC-BTCUSD-60m-2026-09-25.json")
    answer["result"]["BTC/USD"].reverse()
    with pytest.raises(UnexpectedAnswer):
        client(Scripted(OHLC=answer)).candles(BTC, Timeframe.parse("1h"))


def test_ticker_book_and_trades_are_exact() -> None:
    script = Scripted(
        Ticker=recorded("api-doc-Ticker-XXBTZUSD.json"),
        Depth=recorded("api-doc-Depth-XXBTZUSD.json"),
        Trades=recorded("api-Trades-BTCUSD-2026-09-25.json"),
    )
    exchange = client(script)
    ticker = exchange.ticker(BTC)
    assert (ticker.bid, ticker.ask, str(ticker.last)) == (
        Decimal(30300), Decimal("30300.1"), "30303.2",
    )  # fmt: skip
    book = exchange.order_book(BTC, depth=3)
    assert book.bids[0] == BookLevel(Decimal(30297), Decimal("1.115"))
    assert len(book.asks) == 3
    trades = exchange.recent_trades(BTC)
    assert [t.side for t in trades] == ["sell", "buy", "buy"]
    assert trades[-1].trade_id == 109118760


@pytest.mark.parametrize(
    ("call", "name"),
    [("Trades", "api-Trades-XBTUSDT-2025-11-11.json"),
     ("Trades", "api-doc-Trades-XXBTZUSD.json"),
     ("Trades", "public/Trades_XBTUSD_2013-11-27.json")],
)  # fmt: skip
def test_all_recorded_trades_are_read(call: str, name: str) -> None:
    found = client(Scripted(**{call: recorded(name)})).recent_trades(BTC)
    assert len(found) == len(recorded(name)["result"][next(iter(recorded(name)["result"]))])


def test_all_recorded_books_and_tickers_are_read() -> None:
    script = Scripted(
        Depth=[recorded("api-Depth-XBTUSDT-2025-11-11.json"),
               recorded("public/Depth_XBTEUR_2014-02-08.json")],
        Ticker=recorded("api-Ticker-XBTUSDT-2025-11-11.json"),
        Time=recorded("api-Time-2025-11-11.json"),
        SystemStatus=recorded("api-SystemStatus-2025-11-11.json"),
    )  # fmt: skip
    exchange = client(script)
    assert exchange.order_book(BTC).asks
    assert exchange.order_book(BTC).asks
    assert exchange.ticker(BTC).bid < exchange.ticker(BTC).ask
    assert exchange.server_time() == datetime(2025, 11, 11, 0, 17, 4, tzinfo=UTC)
    assert exchange.system_status() == "online"


def test_market_rules_come_from_the_exchange() -> None:
    rules = client(Scripted()).market_rules(BTC)
    assert (rules.tick, rules.order_minimum, rules.base_decimals) == (
        Decimal("0.1"), Decimal("0.00005"), 10,
    )  # fmt: skip


def test_market_rules_are_read_again_and_the_old_ones_serve_meanwhile() -> None:
    sample = recorded("api-AssetPairs-main-2026-01-12.json")
    changed = recorded("api-AssetPairs-main-2026-01-12.json")
    changed["result"]["XXBTZUSD"]["ordermin"] = "0.0002"
    exchange = client(
        Scripted(AssetPairs=[sample, refused("EService:Unavailable"), changed]),
        metadata_s=0.0,
        retries=Retries(attempts=1),
    )
    minima = [exchange.market_rules(BTC).order_minimum for _ in range(3)]
    assert minima == [Decimal("0.00005"), Decimal("0.00005"), Decimal("0.0002")]


def test_an_unknown_pair_is_not_asked_for() -> None:
    script = Scripted()
    with pytest.raises(UnknownPair, match="NOPE/USD"):
        client(script).ticker(Pair("NOPE", "USD"))
    assert not script.calls("Ticker")


def test_candles_of_several_pairs_do_not_mix() -> None:
    def answer(form: dict[str, str]) -> Answer:
        price = {"XXBTZUSD": "60000", "XETHZUSD": "3000", "SOLUSD": "150"}[form["pair"]]
        row = [3600, price, price, price, price, price, "1", 1]
        return ok({form["pair"]: [row, [7200, *row[1:]]], "last": 3600})

    pairs = [BTC, Pair("ETH", "USD"), Pair("SOL", "USD")]
    found = client(Scripted(OHLC=answer)).candles_of(pairs, Timeframe.parse("1h"))
    assert [float(found[pair].close[0]) for pair in pairs] == [60000, 3000, 150]


def test_candles_of_several_pairs_are_asked_for_at_the_same_time() -> None:
    class Slow(Scripted):
        def handle(self, *request: Any) -> tuple[int, str, bytes]:
            if "/OHLC" in request[1]:
                waiting.wait(timeout=5)
            return super().handle(*request)

    waiting = threading.Barrier(3)  # nobody is answered before all three have asked

    def answer(form: dict[str, str]) -> Answer:
        row = [3600, "1", "1", "1", "1", "1", "1", 1]
        return ok({form["pair"]: [row, [7200, *row[1:]]], "last": 3600})

    pairs = [BTC, Pair("ETH", "USD"), Pair("SOL", "USD")]
    with Server(Slow(OHLC=answer)) as address:
        reader = KrakenClient(url=address.url)
        assert set(reader.candles_of(pairs, Timeframe.parse("1h"))) == set(pairs)
        reader.close()


# ── the account ────────────────────────────────────────────────────────────────────────────


def test_balances_bear_common_names_and_what_is_held() -> None:
    script = Scripted(BalanceEx=recorded("api-doc-BalanceEx.json"))
    assert client(script).balances() == {
        "USD": Balance("USD", Decimal("25435.21"), Decimal("8249.76")),
        "BTC": Balance("BTC", Decimal("1.2435"), Decimal("0.8423")),
    }


def test_staked_balances_are_not_mixed_with_free_ones() -> None:
    found = client(Scripted(BalanceEx=recorded("api-doc-Balance.json"))).balances()
    assert {"USD", "BTC", "ETH2.S", "USD.M"} <= set(found)
    assert found["USD"].total == Decimal("171288.6158")


def test_fees_come_from_the_account() -> None:
    script = Scripted(TradeVolume=recorded("api-doc-TradeVolume.json"))
    assert client(script).fee_rates(BTC) == FeeRates(Decimal(0), Decimal("0.001"))


@pytest.mark.parametrize(
    "result", [{"currency": "ZUSD", "volume": "0.0", "fees": None, "fees_maker": None},
               {"currency": "ZUSD", "volume": "0.0"}],
)  # fmt: skip
def test_without_fees_in_the_answer_the_table_of_the_day_serves(result: dict[str, Any]) -> None:
    rates = client(Scripted(TradeVolume=ok(result))).fee_rates(BTC)
    assert rates == FeeRates(Decimal("0.0040"), Decimal("0.0080"))


def test_open_and_closed_orders_of_the_documentation_are_read() -> None:
    script = Scripted(
        OpenOrders=recorded("api-doc-OpenOrders.json"),
        ClosedOrders=recorded("api-doc-ClosedOrders.json"),
    )
    newest = client(script).open_orders()[-1]
    assert newest.exchange_id == "OQCLML-BW3P3-BUCMWZ"
    assert (newest.filled_quantity, newest.average_price) == (Decimal("0.375"), Decimal(30010))
    closed = client(script).closed_orders(EARLY)
    assert {o.state for o in closed} == {OrderState.CANCELLED}
    assert closed[0].type is OrderType.TAKE_PROFIT_LIMIT
    assert closed[0].reason == "User requested"


def test_recorded_single_orders_are_read() -> None:
    script = Scripted(
        QueryOrders=[recorded("api-doc-QueryOrders-trailing-stop-recorded.json"),
                     recorded("private/QueryOrders_market_sell.json")]
    )  # fmt: skip
    exchange = client(script)
    trailing = exchange.order("OICRC3-KX7OB-QB2B2S")
    assert (trailing.price, trailing.quantity) == (Decimal("3.9864"), Decimal("49.96"))
    market = exchange.order("OHR2QC-2XDSQ-WHOFMW")
    assert (market.state, market.price) == (OrderState.FILLED, None)


def test_an_order_the_exchange_never_had_is_not_found() -> None:
    with pytest.raises(OrderNotFound):
        client(Scripted(QueryOrders=ok({}))).order("OAAAAA-AAAAA-AAAAAA")
    with pytest.raises(OrderNotFound):
        client(Scripted(QueryOrders=refused("EOrder:Invalid order"))).order("rubbish")


def own_order(txid: str, **changes: Any) -> dict[str, Any]:
    row = recorded("api-doc-QueryOrders.json")["result"]["OMMDB2-FSB6Z-7W3HPO"]
    return {txid: row | {"cl_ord_id": OWN} | changes}


def test_our_id_is_found_among_open_orders_first() -> None:
    script = Scripted(OpenOrders=ok({"open": own_order("O1", status="open", closetm=None)}))
    found = client(script).find_order(OWN, EARLY)
    assert found is not None
    assert found.exchange_id == "O1"
    assert not script.calls("ClosedOrders")


NO_TRADES = ok({"trades": {}, "count": 0})


def test_our_id_is_found_among_closed_orders_and_others_are_passed_over() -> None:
    rows = own_order("O1") | own_order("O2", cl_ord_id="f" * 32)
    script = Scripted(
        OpenOrders=ok({"open": {}}),
        ClosedOrders=ok({"closed": rows, "count": 2}),
        TradesHistory=NO_TRADES,
    )
    found = client(script).find_order(OWN, EARLY)
    assert found is not None
    assert (found.exchange_id, found.state) == ("O1", OrderState.FILLED)
    assert client(script).find_order("e" * 32, EARLY) is None


def test_our_id_is_found_in_the_trades_where_the_lists_of_orders_leave_it_out() -> None:
    script = Scripted(
        OpenOrders=ok({"open": {}}),
        ClosedOrders=ok({"closed": {}, "count": 0}),
        TradesHistory=ok({"trades": {"T1": trade(1, "O1")}, "count": 1}),
        QueryOrders=ok(own_order("O1")),
    )
    found = client(script).find_order(OWN, EARLY)
    assert found is not None
    assert found.exchange_id == "O1"


def test_an_id_that_comes_back_with_dashes_is_ours() -> None:
    dashed = "01234567-89ab-cdef-0123-456789abcdef"
    script = Scripted(OpenOrders=ok({"open": own_order("O1", cl_ord_id=dashed, status="open")}))
    assert client(script).find_order(OWN, EARLY) is not None


def trade(number: int, order: str = "O1") -> dict[str, Any]:
    row = recorded("api-doc-TradesHistory.json")["result"]["trades"]["THVRQM-33VKH-UCI7BS"]
    return row | {"ordertxid": order, "time": 1700000000 + number}


def test_all_pages_of_fills_come_oldest_first_with_our_order_ids() -> None:
    everything = {f"T{n:03}": trade(n) for n in range(119, -1, -1)}

    def answer(form: dict[str, str]) -> Answer:
        first = int(form["ofs"])
        keys = list(everything)[first : first + 50]
        return ok({"trades": {k: everything[k] for k in keys}, "count": 120})

    script = Scripted(TradesHistory=answer, QueryOrders=ok(own_order("O1")))
    fills = client(script).fills(datetime.fromtimestamp(1700000010, UTC))
    assert [f.trade_id for f in fills] == [f"T{n:03}" for n in range(10, 120)]
    assert {f.order_id for f in fills} == {OWN}
    assert fills[0].liquidity is Liquidity.MAKER
    assert len(script.calls("TradesHistory")) == 3
    assert script.calls("TradesHistory")[0]["consolidate_taker"] == "false"
    assert len(script.calls("QueryOrders")) == 1


def test_fills_without_a_count_are_read_to_the_last_page() -> None:
    def answer(form: dict[str, str]) -> Answer:
        size = 50 if form["ofs"] == "0" else 7
        first = int(form["ofs"])
        return ok({"trades": {f"T{first + n}": trade(n) for n in range(size)}})

    script = Scripted(TradesHistory=answer, QueryOrders=ok(own_order("O1")))
    assert len(client(script).fills(EARLY)) == 57


@pytest.mark.parametrize(
    "name", ["api-doc-TradesHistory.json", "private/TradesHistory.json",
             "private/TradesHistory_several.json"],
)  # fmt: skip
def test_recorded_trade_histories_are_read(name: str) -> None:
    script = Scripted(TradesHistory=recorded(name), QueryOrders=refused("EOrder:Invalid order"))
    fills = client(script).fills(EARLY)
    assert len(fills) == len(recorded(name)["result"]["trades"])
    assert {f.order_id for f in fills} == {""}


def test_a_key_that_may_withdraw_is_refused_with_the_box_to_untick() -> None:
    exchange = client(Scripted(GetApiKeyInfo=recorded("api-doc-GetApiKeyInfo.json")))
    assert "withdraw-funds" in exchange.key_permissions()
    with pytest.raises(AuthError, match="withdraw") as caught:
        exchange.check_key()
    assert "untick" in caught.value.hint


def test_a_key_that_may_not_trade_is_told_what_it_lacks() -> None:
    info = ok({"permissions": ["query-funds", "query-open-trades", "query-closed-trades"]})
    with pytest.raises(AuthError, match="close-trades, modify-trades"):
        client(Scripted(GetApiKeyInfo=info)).check_key()


def test_private_calls_without_a_key_are_refused_before_anything_is_sent() -> None:
    script = Scripted()
    exchange = KrakenClient(url="http://sandbox", handler=script, now=lambda: NOW)
    with pytest.raises(AuthError, match="key"):
        exchange.cancel_all()
    assert script.requests == []


# ── orders ─────────────────────────────────────────────────────────────────────────────────


def test_an_order_goes_out_once_with_id_and_deadline_and_exact_numbers() -> None:
    script = Scripted(AddOrder=recorded("api-doc-AddOrder.json"))
    assert client(script).place(limit_order(post_only=True), NOW) == "OUF4EM-FRGI2-MQMWZD"
    (form,) = script.calls("AddOrder")
    form.pop("nonce")
    assert form == {
        "pair": "XXBTZUSD", "type": "buy", "ordertype": "limit", "volume": "0.00012",
        "price": "60000.0", "oflags": "fciq,post", "cl_ord_id": OWN,
        "deadline": "2026-09-25T18:30:30.000000Z",
    }  # fmt: skip


def test_a_tiny_volume_is_never_written_with_an_exponent() -> None:
    script = Scripted(AddOrder=recorded("api-doc-AddOrder.json"))
    client(script).place(limit_order(quantity=Decimal("5E-8")), NOW)
    assert script.calls("AddOrder")[0]["volume"] == "0.00000005"


UNCLEAR: list[Answer] = [
    NoReply("no answer within 10 s"),
    (502, b"<html>Bad gateway</html>"),
    (520, b""),
    (429, b"slow down"),
    (403, b"<html>Cloudflare</html>"),
    b'{"error":[],"result":{"txid":["OUF4EM',
    b"<html></html>",
    b"",
    b"[]",
    b'{"error":[]}',
    b'{"error":[],"result":{}}',
    b'{"error":[],"result":{"txid":[]}}',
    b'{"error":[],"result":{"txid":"OUF4EM-FRGI2-MQMWZD"}}',
    b'{"error":"EOrder:Insufficient funds"}',
    b'{"result":{"txid":["OUF4EM-FRGI2-MQMWZD"]}}',
    refused("EService:Unavailable"),
    refused("EService:Timeout"),
    refused("EGeneral:Internal error"),
    refused("EOrder:Never seen before"),
]


@pytest.mark.parametrize("answer", UNCLEAR, ids=repr)
def test_an_unclear_answer_to_an_order_leaves_the_outcome_unknown_and_sends_once(
    answer: Answer,
) -> None:
    script = Scripted(AddOrder=answer)
    with pytest.raises(OutcomeUnknown):
        client(script).place(limit_order(), NOW)
    assert len(script.calls("AddOrder")) == 1


def test_an_order_that_never_left_is_not_unknown() -> None:
    script = Scripted(AddOrder=NoReply("no connection", sent=False))
    with pytest.raises(Unreachable, match="not sent"):
        client(script).place(limit_order(), NOW)


def test_a_refused_order_says_why() -> None:
    script = Scripted(AddOrder=refused("EOrder:Insufficient funds"))
    with pytest.raises(InsufficientFunds) as caught:
        client(script).place(limit_order(), NOW)
    assert caught.value.code == "EOrder:Insufficient funds"


def test_an_overtaken_nonce_is_looked_up_and_then_sent_again() -> None:
    script = Scripted(
        AddOrder=[refused("EAPI:Invalid nonce"), recorded("api-doc-AddOrder.json")],
        OpenOrders=ok({"open": {}}),
        ClosedOrders=ok({"closed": {}, "count": 0}),
        TradesHistory=NO_TRADES,
    )
    assert client(script).place(limit_order(), NOW) == "OUF4EM-FRGI2-MQMWZD"
    first, second = script.calls("AddOrder")
    assert int(first["nonce"]) < int(second["nonce"])


def test_a_market_purchase_whose_nonce_was_overtaken_is_in_doubt_and_not_sent_again() -> None:
    script = Scripted(
        AddOrder=[refused("EAPI:Invalid nonce"), recorded("api-doc-AddOrder.json")],
        OpenOrders=ok({"open": {}}),
        ClosedOrders=ok({"closed": {}, "count": 0}),
        TradesHistory=NO_TRADES,
    )
    with pytest.raises(OutcomeUnknown, match="Invalid nonce"):
        client(script).place(limit_order(type=OrderType.MARKET, price=None), NOW)
    assert len(script.calls("AddOrder")) == 1
    assert len(script.calls("ClosedOrders")) == 2  # looked for twice: it may show late


def test_an_overtaken_nonce_whose_order_lives_is_not_sent_again() -> None:
    script = Scripted(
        AddOrder=refused("EAPI:Invalid nonce"),
        OpenOrders=ok({"open": own_order("O1", status="open")}),
    )
    assert client(script).place(limit_order(), NOW) == "O1"
    assert len(script.calls("AddOrder")) == 1


def test_a_nonce_refused_for_ever_ends_in_advice() -> None:
    script = Scripted(
        AddOrder=refused("EAPI:Invalid nonce"),
        OpenOrders=ok({"open": {}}),
        ClosedOrders=ok({"closed": {}, "count": 0}),
        TradesHistory=NO_TRADES,
    )
    with pytest.raises(NonceError) as caught:
        client(script).place(limit_order(), NOW)
    assert "key of its own" in caught.value.hint


def test_a_cancel_that_gets_no_answer_is_unknown_and_one_that_is_too_late_not_found() -> None:
    script = Scripted(CancelOrder=[(504, b""), refused("EOrder:Unknown order"), ok({"count": 1})])
    exchange = client(script)
    with pytest.raises(OutcomeUnknown):
        exchange.cancel("O1")
    with pytest.raises(OrderNotFound):
        exchange.cancel("O1")
    exchange.cancel("O1")


def test_validating_sends_the_flag_and_returns_krakens_words() -> None:
    script = Scripted(AddOrder=recorded("api-doc-AddOrder.json"))
    words = client(script).validate(limit_order())
    assert words.startswith("buy 2.12340000 XBTUSD @ limit")
    assert script.calls("AddOrder")[0]["validate"] == "true"


# ── repetition, limits, secrets ────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault", [NoReply("gone"), (502, b"<html>"), b'{"error":[],"res', refused("EService:Busy"),
              refused("EAPI:Invalid nonce"), (429, b""), refused("EAPI:Rate limit exceeded")],
    ids=repr,
)  # fmt: skip
def test_a_read_is_repeated_until_it_succeeds(fault: Answer) -> None:
    script = Scripted(BalanceEx=[fault, fault, recorded("api-doc-BalanceEx.json")])
    assert client(script).balances()["USD"].total == Decimal("25435.21")
    assert len(script.calls("BalanceEx")) == 3


@pytest.mark.parametrize("error", ["EAPI:Invalid key", "EGeneral:Permission denied"])
def test_a_read_that_cannot_succeed_is_not_repeated(error: str) -> None:
    script = Scripted(BalanceEx=refused(error))
    with pytest.raises(AuthError):
        client(script).balances()
    assert len(script.calls("BalanceEx")) == 1


def test_a_lockout_is_not_waited_for() -> None:
    script = Scripted(BalanceEx=refused("EGeneral:Temporary lockout"))
    with pytest.raises(RateLimited) as caught:
        client(script).balances()
    assert caught.value.retry_after_s == 900
    assert len(script.calls("BalanceEx")) == 1


def test_repetition_ends_after_the_allowed_attempts() -> None:
    script = Scripted(Time=(502, b""))
    with pytest.raises(Unreachable, match="502"):
        client(script, retries=Retries(attempts=3)).server_time()
    assert len(script.calls("Time")) == 3


def test_a_warning_does_not_spoil_an_answer() -> None:
    answer = recorded("api-Time-2025-11-11.json") | {"error": ["WGeneral:Nearly full"]}
    assert client(Scripted(Time=answer)).server_time().year == 2025


@pytest.mark.parametrize("answer", [*UNCLEAR, refused("EAPI:Invalid signature")], ids=repr)
def test_secrets_are_in_no_error_and_no_repr(answer: Answer) -> None:
    exchange = client(Scripted(AddOrder=answer), retries=Retries(attempts=1))
    with pytest.raises(ExchangeError) as caught:
        exchange.place(limit_order(), NOW)
    shown = f"{caught.value!r}{caught.value.as_dict()}{caught.value.__cause__!r}{exchange!r}"
    assert SECRET not in shown
    assert KEY not in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["NaN", "-1", "1e400", "0", "XXBTZUSD"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["error", "result", "open", "closed", "trades", "count", "last", "txid",
                         "descr", "vol", "XXBTZUSD", "a", "b", "c", "bids", "asks", "unixtime"])
        | st.text(max_size=4), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


def _every_call(exchange: KrakenClient) -> list[Any]:
    return [
        exchange.server_time,
        lambda: exchange.candles(BTC, Timeframe.parse("1h")),
        lambda: exchange.ticker(BTC),
        lambda: exchange.order_book(BTC),
        lambda: exchange.recent_trades(BTC),
        exchange.balances,
        lambda: exchange.fee_rates(BTC),
        exchange.key_permissions,
        exchange.open_orders,
        lambda: exchange.closed_orders(EARLY),
        lambda: exchange.fills(EARLY),
        lambda: exchange.order("O1"),
        lambda: exchange.cancel("O1"),
        exchange.cancel_all,
        lambda: exchange.place(limit_order(), NOW + timedelta(0)),
    ]


def _answers_only(body: bytes) -> Scripted:
    calls = ("Time OHLC Ticker Depth Trades BalanceEx TradeVolume GetApiKeyInfo OpenOrders "
             "ClosedOrders TradesHistory QueryOrders CancelOrder CancelAll AddOrder")  # fmt: skip
    return Scripted(**dict.fromkeys(calls.split(), body))


def _survives(body: bytes) -> None:
    exchange = client(_answers_only(body), retries=Retries(attempts=1))
    for call in _every_call(exchange):
        with contextlib.suppress(ExchangeError):
            call()


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_an_answer_give_a_clean_error(body: bytes) -> None:
    _survives(body)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(JSON)
def test_any_json_as_a_result_gives_a_value_or_a_clean_error(result: Any) -> None:
    _survives(json.dumps({"error": [], "result": result}).encode())


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"error":[],"result":' + b"9" * 10_000 + b"}",
             b'{"error":[],"result":{"unixtime":1e400}}', b'\xff\xfe{"error"'],
    ids=["deep", "long number", "huge number", "bad encoding"],
)  # fmt: skip
def test_hostile_json_gives_a_clean_error(body: bytes) -> None:
    _survives(body)


ASKING = """
import sys
from pathlib import Path
from kraken_client import KrakenClient
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.kraken_nonces import FileNonces
key, secret, url, nonces = sys.argv[1:]
client = KrakenClient(key, secret, url=url, nonces=FileNonces(Path(nonces)),
                      retries=Retries(attempts=1))
for _ in range(100):
    client.balances()
client.close()
"""


@pytest.mark.slow
def test_two_processes_on_one_key_have_no_nonce_error(tmp_path: Path) -> None:
    box = Box(minutes=300)
    root = Path(__file__).resolve().parents[1]
    with Server(box.wire) as address:
        words = [sys.executable, "-c", ASKING, BOX_KEY.key, BOX_KEY.secret, address.url]
        children = [
            subprocess.Popen([*words, str(tmp_path / "nonces")], cwd=root) for _ in range(2)
        ]
        assert [child.wait(60) for child in children] == [0, 0]
