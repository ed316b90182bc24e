"""Kraken's wire as the sandbox speaks it: signature, nonce, names, shapes, words, errors."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchanges.box import KEY, SECRET, Box
from tests.exchanges.scripted import recorded
from trader.domain.candles import Timeframe
from trader.exchanges.kraken_limits import TIERS
from trader.exchanges.wire.forms import Form
from trader.exchanges.wire.keys import ApiKey, sign

OWN = "0123456789abcdef0123456789abcdef"
NONCE = "1616492376594"
VECTORS = [
    ("AddOrder",
     f"nonce={NONCE}&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
     "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="),
    ("Balance", f"nonce={NONCE}",
     "1nH4vwR+8FHiYh1QT649xXkGd3JR3x0DWkgv3u9Ed/Qqv6KPtgQpEU4m+Emb/VgpEji3j1XNwI+HCbfXxmrTOg=="),
    ("AddOrder",
     f"nonce={NONCE}&pair=XBTUSD&type=buy&ordertype=limit&price=37500&volume=1.25"
     "&close%5Bordertype%5D=stop-loss&close%5Bprice%5D=36000",
     "Oeik8yxkw9v2e1HGnIoj6nBgbczqmYYWVqESbRLAObGpo3qAPEe0L2M9Z4ENLzRpmXjsAhYf416cwBdZ75/c9A=="),
    ("AddOrderBatch",
     '{"nonce":"1616492376594","pair":"XBTUSD","orders":[{"ordertype":"limit","type":"buy",'
     '"volume":"1.25","price":"37500"},{"ordertype":"limit","type":"sell","volume":"1.25",'
     '"price":"42500"}]}',
     "Ew7TCvJ7h5NE7X0ktZ0b6XVgl93IBmofy8nzOIPCHUMtapfvHb3CFLqkQL5OfeVsvm5r07cvUkXjIIZKxRIZAA=="),
]  # fmt: skip


@pytest.fixture
def box() -> Box:
    return Box()


# ── signature, nonce, permission ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "body", "signature"), VECTORS)
def test_the_published_signatures_come_out(method: str, body: str, signature: str) -> None:
    assert sign(SECRET, f"/0/private/{method}", NONCE, body.encode()) == signature


@pytest.mark.parametrize(("method", "body", "signature"), VECTORS)
def test_the_published_requests_are_let_in(
    box: Box, method: str, body: str, signature: str
) -> None:
    headers = {"API-Key": KEY.key, "API-Sign": signature}
    if body.startswith("{"):
        headers["Content-Type"] = "application/json"
    _, _, content = box.wire.handle("POST", f"/0/private/{method}", "", headers, body.encode())
    assert "EAPI" not in content.decode()


def test_krakenex_signs_alike() -> None:
    import krakenex

    api = krakenex.API(KEY.key, SECRET)
    data = {"nonce": 7, "close[price]": "1 000", "pair": "XBTUSD"}
    body = b"nonce=7&close%5Bprice%5D=1+000&pair=XBTUSD"
    assert api._sign(data, "/0/private/AddOrder") == sign(SECRET, "/0/private/AddOrder", "7", body)


def test_a_body_that_was_changed_after_signing_is_refused(box: Box) -> None:
    good = b"nonce=1&pair=XBTUSD&volume=1"
    headers = {"API-Key": KEY.key, "API-Sign": sign(SECRET, "/0/private/AddOrder", "1", good)}
    changed = good.replace(b"volume=1", b"volume=9")
    _, _, content = box.wire.handle("POST", "/0/private/AddOrder", "", headers, changed)
    assert json.loads(content) == {"error": ["EAPI:Invalid signature"]}


@pytest.mark.parametrize("headers", [{}, {"API-Key": "nobody"}])
def test_unknown_keys_are_refused(box: Box, headers: dict[str, str]) -> None:
    _, _, content = box.wire.handle("POST", "/0/private/Balance", "", headers, b"nonce=1")
    assert json.loads(content) == {"error": ["EAPI:Invalid key"]}


@pytest.mark.parametrize("nonce", ["5", "4", "0", "-1", "x", "", str(1 << 64), "9" * 40])
def test_a_nonce_that_does_not_rise_is_refused(box: Box, nonce: str) -> None:
    assert box.send("Balance", b"nonce=5", "5")["error"] == []
    answer = box.send("Balance", b"nonce=" + nonce.encode(), nonce)
    assert answer == {"error": ["EAPI:Invalid nonce"]}


def test_a_nonce_window_takes_each_late_nonce_once() -> None:
    box = Box(key=replace(KEY, nonce_window=10))
    answers = [
        box.send("Balance", f"nonce={n}".encode(), str(n))["error"] for n in (20, 15, 15, 10, 11)
    ]
    invalid = ["EAPI:Invalid nonce"]
    assert answers == [[], [], invalid, invalid, []]


def test_a_nonce_in_json_may_be_a_number(box: Box) -> None:
    assert box.send("Balance", b'{"nonce": 77}', "77", "application/json")["error"] == []


def test_each_method_demands_its_permission() -> None:
    box = Box(key=replace(KEY, permissions=frozenset({"query-funds"})))
    assert box.post("Balance")["error"] == []
    for method in ("AddOrder", "CancelAll", "OpenOrders", "TradesHistory", "Ledgers"):
        assert box.refusal(method) == "EGeneral:Permission denied"


def test_the_second_factor_is_demanded_where_it_is_set() -> None:
    box = Box(key=replace(KEY, otp="123456"))
    assert box.post("Balance", otp="123456")["error"] == []
    assert box.post("Balance", otp="000000")["error"] != []


def test_a_generated_key_hides_its_secret() -> None:
    key = ApiKey.generate()
    assert key.secret not in repr(key)
    assert len(key.key) == 56


def test_unknown_methods_paths_and_verbs_are_refused(box: Box) -> None:
    assert box.get("Nonsense") == {"error": ["EGeneral:Unknown method"]}
    assert box.refusal("Nonsense") == "EGeneral:Unknown method"
    status, _, content = box.wire.handle("POST", "/0/public/Time", "", {}, b"")
    assert (status, json.loads(content)) == (200, {"error": ["EGeneral:Unknown method"]})
    assert box.wire.handle("GET", "/elsewhere", "", {}, b"")[0] == 404


def test_the_rest_counter_fills_and_decays() -> None:
    box = Box(tier=TIERS["starter"])
    for _ in range(15):
        box.ask("Balance")
    assert box.refusal("Balance") == "EAPI:Rate limit exceeded"
    box.forward(seconds=10)
    box.ask("Balance")


def test_many_wrong_keys_lock_the_door_for_a_quarter_of_an_hour() -> None:
    box = Box(tier=TIERS["pro"])
    for _ in range(25):
        box.send("Balance", b"nonce=0", "1")
    assert box.refusal("Balance") == "EGeneral:Temporary lockout"
    box.forward(minutes=16)
    box.ask("Balance")


def test_the_trading_counter_of_a_pair_fills_with_young_cancels() -> None:
    box = Box(tier=TIERS["starter"])
    for _ in range(6):
        box.ask("CancelOrder", txid=box.order(price="30000"))
    for _ in range(6):
        box.order(price="30000")
    answers = [box.post("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.01",
                        price="30000")["error"] for _ in range(2)]  # fmt: skip
    assert answers[-1] == ["EOrder:Rate limit exceeded"]
    assert box.post("AddOrder", pair="ETHUSD", type="buy", ordertype="limit", volume="0.1",
                    price="1000")["error"] == []  # fmt: skip
    assert box.ask("CancelAll")["count"] >= 6


# ── names ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "key"),
    [("XXBTZUSD", "XXBTZUSD"), ("XBTUSD", "XXBTZUSD"), ("xbtusd", "XXBTZUSD"),
     ("BTC/USD", "BTC/USD"), ("XBT/USD", "XBT/USD")],
)  # fmt: skip
@pytest.mark.parametrize("method", ["Ticker", "OHLC", "Depth", "Trades", "Spread", "AssetPairs"])
def test_answers_are_keyed_as_kraken_keys_them(box: Box, method: str, name: str, key: str) -> None:
    assert set(box.read(method, pair=name)) - {"last"} == {key}


def test_display_names_as_keys_on_request(box: Box) -> None:
    assert set(box.read("AssetPairs", assetVersion="1")) == {"BTC/USD", "ETH/USD"}
    assert set(box.read("Assets", assetVersion="1")) == {"BTC", "ETH", "USD"}


def test_several_pairs_and_all_pairs(box: Box) -> None:
    assert list(box.read("Ticker", pair="XBTUSD,ETHUSD")) == ["XXBTZUSD", "XETHZUSD"]
    assert set(box.read("Ticker")) == {"XXBTZUSD", "XETHZUSD"}


@pytest.mark.parametrize("method", ["Ticker", "OHLC", "Depth", "Trades", "AssetPairs"])
def test_unknown_pairs_are_refused(box: Box, method: str) -> None:
    assert box.get(method, pair="NOPEUSD") == {"error": ["EQuery:Unknown asset pair"]}


def test_unknown_assets_are_refused(box: Box) -> None:
    assert box.get("Assets", asset="NOPE") == {"error": ["EQuery:Unknown asset"]}


# ── shapes, beside the recordings ──────────────────────────────────────────────────────────


def kind(value: Any) -> str:
    if isinstance(value, str) and value.replace(".", "", 1).lstrip("+-").isdigit():
        return "number as text"
    if isinstance(value, bool):
        return "bool"
    return type(value).__name__


def first(mapping: dict[str, Any]) -> Any:
    return next(value for key, value in mapping.items() if key != "last")


@pytest.mark.parametrize(
    ("method", "name"),
    [("Time", "api-Time-2025-11-11.json"),
     ("SystemStatus", "api-SystemStatus-2025-11-11.json")],
)  # fmt: skip
def test_the_plain_answers_have_the_recorded_fields(box: Box, method: str, name: str) -> None:
    ours, theirs = box.read(method), recorded(name)["result"]
    assert {k: kind(v) for k, v in ours.items()} == {k: kind(v) for k, v in theirs.items()}


@pytest.mark.parametrize(
    "name", ["api-Ticker-XBTUSDT-2025-11-11.json", "api-doc-Ticker-XXBTZUSD.json"]
)
def test_a_ticker_has_the_recorded_fields_and_decimals(box: Box, name: str) -> None:
    ours, theirs = first(box.read("Ticker", pair="XBTUSD")), first(recorded(name)["result"])
    assert list(ours) == list(theirs)
    for field, values in theirs.items():
        mine = ours[field]
        if field == "o":
            mine, values = [mine], [values]
        assert [kind(v) for v in mine] == [kind(v) for v in values]
        for a, b in zip(mine, values, strict=True):
            if isinstance(a, str):
                assert len(a.partition(".")[2]) == len(b.partition(".")[2]), field


@pytest.mark.parametrize(
    ("method", "name", "query"),
    [("OHLC", "api-OHLC-BTCUSD-60m-2026-09-25.json", {"interval": 60}),
     ("Trades", "api-Trades-BTCUSD-2026-09-25.json", {}),
     ("Spread", "api-doc-Spread.json", {})],
)  # fmt: skip
def test_rows_have_the_recorded_kinds_and_decimals(
    box: Box, method: str, name: str, query: dict[str, Any]
) -> None:
    ours, theirs = box.read(method, pair="XBTUSD", **query), recorded(name)["result"]
    assert kind(ours["last"]) == kind(theirs["last"])
    mine, their = first(ours)[-1], first(theirs)[-1]
    assert [kind(v) for v in mine] == [kind(v) for v in their]
    for a, b in zip(mine, their, strict=True):
        if isinstance(a, str) and "." in b:
            assert len(a.partition(".")[2]) == len(b.partition(".")[2])


def test_depth_rows_have_the_recorded_kinds(box: Box) -> None:
    ours = first(box.read("Depth", pair="XBTUSD", count=5))
    theirs = first(recorded("api-Depth-XBTUSDT-2025-11-11.json")["result"])
    for side in ("asks", "bids"):
        assert len(ours[side]) == 5
        assert [kind(v) for v in ours[side][0]] == [kind(v) for v in theirs[side][0]]
        assert len(ours[side][0][1].partition(".")[2]) == 3


def test_pairs_have_the_recorded_fields(box: Box) -> None:
    ours = box.read("AssetPairs", pair="XBTUSD")["XXBTZUSD"]
    theirs = recorded("api-AssetPairs-main-2026-01-12.json")["result"]["XXBTZUSD"]
    assert {k: kind(v) for k, v in ours.items()} == {k: kind(v) for k, v in theirs.items()}
    for info, fields in (
        ("leverage", {"leverage_buy", "leverage_sell"}),
        ("fees", {"fees", "fees_maker", "fee_volume_currency"}),
        ("margin", {"margin_call", "margin_level"}),
    ):
        assert set(box.read("AssetPairs", pair="XBTUSD", info=info)["XXBTZUSD"]) == fields
    assert box.get("AssetPairs", info="x") == {"error": ["EGeneral:Invalid arguments:info"]}


def test_fee_tables_follow_the_date_and_are_empty_since_the_change() -> None:
    assert Box().read("AssetPairs")["XXBTZUSD"]["fees"][0] == [0, 0.26]
    late = Box(start=datetime(2026, 9, 1, tzinfo=UTC)).read("AssetPairs")["XXBTZUSD"]
    assert late["fees"] == late["fees_maker"] == []


def test_assets_have_the_recorded_fields(box: Box) -> None:
    ours = box.read("Assets", asset="XBT,ZUSD")
    assert list(ours) == ["XXBT", "ZUSD"]
    assert {"aclass", "altname", "decimals", "display_decimals", "status"} <= set(ours["XXBT"])


ORDER_OPTIONAL = {"aclass", "trigger", "trades", "cl_ord_id", "reason", "closetm"}


def test_an_open_order_has_the_recorded_fields_and_kinds(box: Box) -> None:
    box.order(price="35000")
    ours = first(box.ask("OpenOrders")["open"])
    theirs = first(recorded("api-doc-QueryOrders-trailing-stop-recorded.json")["result"])
    assert set(ours) == set(theirs) - {"reason", "closetm"}
    assert set(ours["descr"]) == set(theirs["descr"])
    for field, value in ours.items():
        if field not in ("descr", "opentm"):
            assert kind(value) == kind(theirs[field]), field


def test_a_closed_order_has_the_recorded_fields(box: Box) -> None:
    box.ask("CancelOrder", txid=box.order(price="35000"))
    ours = first(box.ask("ClosedOrders")["closed"])
    theirs = first(recorded("api-doc-QueryOrders-trailing-stop-recorded.json")["result"])
    assert set(ours) == set(theirs)
    assert ours["reason"] == theirs["reason"] == "User requested"


def bought(box: Box) -> str:
    return box.order(ordertype="market", volume="0.1")


def test_a_fill_has_the_documented_fields(box: Box) -> None:
    order = bought(box)
    history = box.ask("TradesHistory")
    ours = first(history["trades"])
    theirs = first(recorded("api-doc-TradesHistory.json")["result"]["trades"])
    assert set(theirs) <= set(ours)
    assert history["count"] == 1
    assert (ours["ordertxid"], ours["pair"], ours["maker"]) == (order, "XXBTZUSD", False)
    for field, value in theirs.items():
        if field not in ("price", "cost"):
            assert kind(ours[field]) == kind(value), field


def test_ledger_entries_add_up_and_have_the_documented_fields(box: Box) -> None:
    bought(box)
    entries = box.ask("Ledgers", type="trade")["ledger"]
    theirs = first(recorded("api-doc-Ledgers.json")["result"]["ledger"])
    assert len(entries) == 2
    assert all(set(entry) == set(theirs) for entry in entries.values())
    (trade,) = box.ask("TradesHistory")["trades"]
    assert {entry["refid"] for entry in entries.values()} == {trade}
    assert first(box.ask("QueryLedgers", id=next(iter(entries)))) == first(entries)


@pytest.mark.parametrize(
    ("method", "name"),
    [("TradeVolume", "api-doc-TradeVolume.json"), ("TradeBalance", "api-doc-TradeBalance.json"),
     ("GetApiKeyInfo", "api-doc-GetApiKeyInfo.json"),
     ("GetWebSocketsToken", "api-doc-GetWebSocketsToken.json")],
)  # fmt: skip
def test_other_private_answers_have_the_documented_fields(
    box: Box, method: str, name: str
) -> None:
    ours = box.ask(method, pair="XBTUSD")
    theirs = recorded(name)["result"]
    missing = set(theirs) - set(ours) - {"ml"}
    assert missing == set()
    if method == "TradeVolume":
        assert set(ours["fees"]["XXBTZUSD"]) == set(theirs["fees"]["XXBTZUSD"])


def test_balances_are_written_in_the_decimals_of_the_asset(box: Box) -> None:
    box.order(price="35000", volume="1")
    assert box.ask("Balance") == {"ZUSD": "100000.0000", "XXBT": "2.0000000000"}
    extended = box.ask("BalanceEx")
    assert extended["XXBT"] == {"balance": "2.0000000000", "hold_trade": "0.0000000000"}
    assert float(extended["ZUSD"]["hold_trade"]) > 35000


def test_positions_are_an_array_when_asked_by_market(box: Box) -> None:
    assert box.ask("OpenPositions") == {}
    assert box.ask("OpenPositions", docalcs="true", consolidation="market") == []


# ── candles and trades ─────────────────────────────────────────────────────────────────────


def test_candles_are_the_newest_720_and_the_forming_one() -> None:
    box = Box(minutes=3000)
    answer = box.read("OHLC", pair="XBTUSD", interval=1)
    rows = answer["XXBTZUSD"]
    now = int(box.clock.now().timestamp())
    assert len(rows) == 721
    assert rows[-1][0] == now
    assert answer["last"] == now - 60
    assert [r[0] for r in rows] == list(range(now - 720 * 60, now + 60, 60))
    assert len(box.read("OHLC", pair="XBTUSD", interval=1, since=0)["XXBTZUSD"]) == 721


def test_candles_finer_than_the_feeds_lie_on_the_path_that_orders_fill_on() -> None:
    box = Box(timeframe=Timeframe(3600), closes=[40_000.0, 41_000.0, 42_000.0], at=150)
    coarse = box.read("OHLC", pair="XBTUSD", interval=60)["XXBTZUSD"]
    fine = box.read("OHLC", pair="XBTUSD", interval=1)
    rows = fine["XXBTZUSD"]
    assert len(rows) == 151
    assert fine["last"] == rows[-2][0]
    hour = [row for row in rows if row[0] // 3600 == coarse[0][0] // 3600]
    assert len(hour) == 60
    assert (hour[0][1], hour[-1][4]) == (coarse[0][1], coarse[0][4])
    assert max(float(row[2]) for row in hour) == float(coarse[0][2])
    assert min(float(row[3]) for row in hour) == float(coarse[0][3])
    assert sum(float(row[6]) for row in hour) == pytest.approx(float(coarse[0][6]))
    assert rows[-1][4] == box.read("Ticker", pair="XBTUSD")["XXBTZUSD"]["c"][0][:-4]


def test_since_is_exclusive_and_last_is_the_cursor(box: Box) -> None:
    last = box.read("OHLC", pair="XBTUSD", interval=5)["last"]
    assert [r[0] for r in box.read("OHLC", pair="XBTUSD", interval=5, since=last)["XXBTZUSD"]] == [
        last + 300
    ]


@pytest.mark.parametrize("interval", ["2", "0", "-5", "abc", "1.5", "99999"])
def test_intervals_kraken_does_not_have_are_refused(box: Box, interval: str) -> None:
    answer = box.get("OHLC", pair="XBTUSD", interval=interval)
    assert answer == {"error": ["EGeneral:Invalid arguments:interval"]}


def test_trades_can_be_paged_from_the_start_without_a_hole() -> None:
    box = Box(minutes=300)
    since, ids = "0", []
    while True:
        answer = box.read("Trades", pair="XBTUSD", since=since)
        rows = answer["XXBTZUSD"]
        if not rows:
            break
        ids += [row[6] for row in rows]
        since = answer["last"]
    assert len(since) == 19
    assert len(ids) == 150 * 16
    assert ids == list(range(ids[0], ids[0] + len(ids)))


# ── descriptions, word for word ────────────────────────────────────────────────────────────

DESCRIPTIONS = [
    ({"ordertype": "market"}, "buy 0.01000000 XBTUSD @ market"),
    ({"ordertype": "limit", "price": "30000"}, "buy 0.01000000 XBTUSD @ limit 30000.0"),
    ({"type": "sell", "ordertype": "stop-loss", "price": "30000"},
     "sell 0.01000000 XBTUSD @ stop loss 30000.0"),
    ({"type": "sell", "ordertype": "stop-loss-limit", "price": "30000", "price2": "29900"},
     "sell 0.01000000 XBTUSD @ stop loss 30000.0 -> limit 29900.0"),
    ({"type": "sell", "ordertype": "take-profit", "price": "50000"},
     "sell 0.01000000 XBTUSD @ take profit 50000.0"),
    ({"ordertype": "take-profit-limit", "price": "30000", "price2": "30100"},
     "buy 0.01000000 XBTUSD @ take profit 30000.0 -> limit 30100.0"),
    ({"type": "sell", "ordertype": "trailing-stop", "price": "+1%"},
     "sell 0.01000000 XBTUSD @ trailing stop +1.0000%"),
    ({"type": "sell", "ordertype": "trailing-stop", "price": "+100"},
     "sell 0.01000000 XBTUSD @ trailing stop +100.0"),
    ({"type": "sell", "ordertype": "trailing-stop-limit", "price": "+5%", "price2": "-1%"},
     "sell 0.01000000 XBTUSD @ trailing stop +5.0000% -> limit -1.0000%"),
    ({"type": "sell", "ordertype": "trailing-stop-limit", "price": "+5%", "price2": "-100"},
     "sell 0.01000000 XBTUSD @ trailing stop +5.0000% -> limit -100.0"),
    ({"type": "sell", "ordertype": "trailing-stop-limit", "price": "+100", "price2": "-1%"},
     "sell 0.01000000 XBTUSD @ trailing stop +100.0 -> limit -1.0000%"),
    ({"ordertype": "market", "oflags": "viqc", "volume": "10"},
     "buy 10.00000000 XBTUSD @ market"),
    ({"ordertype": "limit", "price": "-5%"}, "buy 0.01000000 XBTUSD @ limit 38000.0"),
    ({"ordertype": "limit", "price": "#100"}, "buy 0.01000000 XBTUSD @ limit 39900.0"),
    ({"type": "sell", "ordertype": "limit", "price": "+100"},
     "sell 0.01000000 XBTUSD @ limit 40100.0"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "words"), DESCRIPTIONS)
def test_an_order_is_described_in_krakens_words(
    box: Box, form: dict[str, str], words: str
) -> None:
    fields = {"pair": "XBTUSD", "type": "buy", "volume": "0.01"} | form
    answer = box.ask("AddOrder", **fields)
    assert answer["descr"] == {"order": words}
    (txid,) = answer["txid"]
    assert box.ask("QueryOrders", txid=txid)[txid]["descr"]["order"] == words


@pytest.mark.parametrize("encode", [False, True])
def test_a_conditional_close_is_read_and_described(box: Box, encode: bool) -> None:
    fields = [("pair", "XBTUSD"), ("type", "buy"), ("ordertype", "market"), ("volume", "0.01"),
              ("close[ordertype]", "stop-loss-limit"), ("close[price]", "27000"),
              ("close[price2]", "26000")]  # fmt: skip
    text = "&".join(f"{k}={v}" for k, v in [("nonce", "9"), *fields])
    if encode:
        text = text.replace("[", "%5B").replace("]", "%5D")
    answer = box.send("AddOrder", text.encode(), "9")
    box.nonce = 9
    assert answer["result"]["descr"]["close"] == (
        "close position @ stop loss 27000.0 -> limit 26000.0"
    )
    (closing,) = box.ask("OpenOrders")["open"].values()
    assert (
        closing["descr"]["order"] == "sell 0.01000000 XBTUSD @ stop loss 27000.0 -> limit 26000.0"
    )
    assert closing["refid"] == answer["result"]["txid"][0]


def test_a_plus_that_became_a_space_is_a_plus(box: Box) -> None:
    body = b"nonce=3&pair=XBTUSD&type=sell&ordertype=trailing-stop&volume=0.01&price=+5%25"
    assert box.send("AddOrder", body, "3")["result"]["descr"]["order"].endswith("+5.0000%")


@pytest.mark.parametrize("word", ["true", "True", "1"])
def test_validating_places_nothing_whatever_true_is_called(box: Box, word: str) -> None:
    answer = box.ask("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.01",
                     validate=word)  # fmt: skip
    assert list(answer) == ["descr"]
    assert box.ask("TradesHistory")["count"] == 0


# ── refusals ───────────────────────────────────────────────────────────────────────────────

REFUSALS = [
    ({"pair": "NOPE"}, "EQuery:Unknown asset pair"),
    ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
    ({"ordertype": "guess"}, "EGeneral:Invalid arguments:ordertype"),
    ({"volume": "0"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "abc"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "NaN"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "1e999999"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
    ({"price": "1", "volume": "0.0001"}, "EOrder:Cost minimum not met"),
    ({"price": "30000.55"},
     "EOrder:Invalid price:XXBTZUSD price can only be specified up to 1 decimals."),
    ({"price": ""}, "EGeneral:Invalid arguments:price"),
    ({"price": "5%"}, "EGeneral:Invalid arguments:price"),
    ({"volume": "1000"}, "EOrder:Insufficient funds"),
    ({"oflags": "post", "price": "50000"}, "EOrder:Post only order"),
    ({"oflags": "fcib,fciq"}, "EGeneral:Invalid arguments:oflags"),
    ({"oflags": "viqc"}, "EGeneral:Invalid arguments:viqc"),
    ({"leverage": "5"}, "EOrder:Cannot open position"),
    ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
    ({"timeinforce": "XXX"}, "EGeneral:Invalid arguments:timeinforce"),
    ({"cl_ord_id": "x" * 19}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"cl_ord_id": "a", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"userref": "99999999999"}, "EGeneral:Invalid arguments:userref"),
    ({"deadline": "2020-01-03T00:00:00Z"}, "EService:Deadline elapsed"),
    ({"deadline": "2020-01-03T02:00:00Z"}, "EGeneral:Invalid arguments:deadline"),
    ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
    ({"trigger": "index"}, "EGeneral:Invalid arguments:Index unavailable"),
    ({"ordertype": "trailing-stop", "price": "100"}, "EGeneral:Invalid arguments:price"),
    ({"ordertype": "iceberg", "displayvol": "0.0001"}, "EGeneral:Invalid arguments:displayvol"),
    ({"validate": "perhaps"}, "EGeneral:Invalid arguments:validate"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "error"), REFUSALS, ids=str)
def test_a_bad_order_is_refused_in_krakens_words(
    box: Box, form: dict[str, str], error: str
) -> None:
    fields = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01",
              "price": "30000"}  # fmt: skip
    assert box.refusal("AddOrder", **(fields | form)) == error
    assert box.ask("OpenOrders") == {"open": {}}


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("maintenance", "EService:Unavailable"),
        ("cancel_only", "EService:Market in cancel_only mode"),
        ("post_only", "EService:Market in post_only mode"),
    ],
)
def test_modes_of_maintenance_refuse_orders(box: Box, mode: str, error: str) -> None:
    order = box.order(price="30000")
    box.wire.public.status = mode
    fields = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01",
              "price": "30000"}  # fmt: skip
    assert box.refusal("AddOrder", **fields) == error
    assert box.read("SystemStatus")["status"] == mode
    if mode == "post_only":
        box.ask("AddOrder", **fields, oflags="post")
    if mode != "maintenance":
        assert box.ask("CancelOrder", txid=order)["count"] == 1


# ── cancels, queries, pages ────────────────────────────────────────────────────────────────


def test_cancels_by_id_userref_and_own_id(box: Box) -> None:
    box.order(price="30000", cl_ord_id=OWN)
    assert box.ask("CancelOrder", cl_ord_id=OWN) == {"count": 1}
    for _ in range(2):
        box.order(price="30000", userref="7")
    assert box.ask("CancelOrder", txid="7") == {"count": 2}
    order = box.order(price="30000")
    assert box.ask("CancelOrder", txid=order) == {"count": 1}
    assert box.refusal("CancelOrder", txid=order) == "EOrder:Unknown order"
    assert box.refusal("CancelOrder", txid="OAAAAA-AAAAA-AAAAAA") == "EOrder:Invalid order"
    assert box.refusal("CancelOrder", txid="nonsense") == "EOrder:Invalid order"
    assert box.refusal("CancelOrder") == "EGeneral:Invalid arguments:txid"


def test_an_own_id_is_unique_among_open_orders_only(box: Box) -> None:
    order = box.order(price="30000", cl_ord_id=OWN)
    assert (
        box.refusal("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.01",
                    price="30000", cl_ord_id=OWN)
        == "EGeneral:Invalid arguments:cl_ord_id not unique"
    )  # fmt: skip
    box.ask("CancelOrder", txid=order)
    again = box.order(price="30000", cl_ord_id=OWN)
    assert list(box.ask("OpenOrders", cl_ord_id=OWN)["open"]) == [again]
    assert set(box.ask("QueryOrders", cl_ord_id=OWN)) == {order, again}
    assert list(box.ask("ClosedOrders", cl_ord_id=OWN)["closed"]) == [order]


def test_closed_orders_come_in_pages_newest_first(box: Box) -> None:
    orders = []
    for _ in range(60):
        orders.append(box.order(price="30000"))
        box.ask("CancelOrder", txid=orders[-1])
        box.forward(seconds=1)
    page = box.ask("ClosedOrders")
    assert page["count"] == 60
    assert list(page["closed"]) == orders[:-51:-1]
    assert list(box.ask("ClosedOrders", ofs=50)["closed"]) == orders[9::-1]
    assert "count" not in box.ask("ClosedOrders", without_count="true")
    ended = page["closed"][orders[30]]["closetm"]
    after = box.ask("ClosedOrders", start=ended, closetime="close")
    assert after["count"] == 29
    assert box.ask("ClosedOrders", start=orders[30], closetime="close")["count"] == 29
    assert box.ask("ClosedOrders", end=ended, closetime="close")["count"] == 31


def test_trades_and_ledger_can_be_asked_from_a_moment_or_an_entry_on(box: Box) -> None:
    moments = []
    for _ in range(3):
        bought(box)
        moments.append(box.clock.now().timestamp())
        box.forward(seconds=5)
    newest, middle, oldest = box.ask("TradesHistory")["trades"]
    assert list(box.ask("TradesHistory", start=moments[0])["trades"]) == [newest, middle]
    assert list(box.ask("TradesHistory", start=middle)["trades"]) == [newest]
    assert list(box.ask("TradesHistory", end=moments[0])["trades"]) == [oldest]
    assert list(box.ask("TradesHistory", limit="1", ofs="1")["trades"]) == [middle]
    assert set(box.ask("TradesHistory", pair="ETHUSD")["trades"]) == set()
    assert list(box.ask("QueryTrades", txid=f"{oldest},{newest}")) == [oldest, newest]
    assert box.refusal("QueryTrades", txid="TAAAAA-AAAAA-AAAAAA") == "EQuery:Invalid trade"
    entries = box.ask("Ledgers", asset="XBT")["ledger"]
    assert [entry["type"] for entry in entries.values()] == ["trade"] * 3 + ["deposit"]
    first = list(entries)[2]
    assert len(box.ask("Ledgers", asset="XBT", start=first)["ledger"]) == 2
    wrong = "EGeneral:Invalid arguments:start"
    assert box.refusal("TradesHistory", start="TAAAAA-AAAAA-AAAAAA") == wrong


def test_a_batch_of_orders_and_a_batch_of_cancels(box: Box) -> None:
    orders = [{"ordertype": "limit", "type": "buy", "volume": "0.01", "price": "30000"},
              {"ordertype": "limit", "type": "buy", "volume": "3", "price": "39000"}]  # fmt: skip
    good, poor = box.post_json("AddOrderBatch", pair="XBTUSD", orders=orders)["result"]["orders"]
    assert good["descr"]["order"] == "buy 0.01000000 XBTUSD @ limit 30000.0"
    assert isinstance(good["txid"], str)
    assert poor == {"error": "EOrder:Insufficient funds"}
    bad = [*orders, {"ordertype": "limit", "type": "buy", "volume": "0.01", "price": "1.234"}]
    assert box.post_json("AddOrderBatch", pair="XBTUSD", orders=bad)["error"][0].startswith(
        "EOrder:Invalid price"
    )
    assert len(box.ask("OpenOrders")["open"]) == 1
    answer = box.post_json("CancelOrderBatch", orders=[good["txid"]])
    assert answer["result"] == {"count": 1}


def test_an_amended_order_keeps_its_id_and_holds_what_it_needs(box: Box) -> None:
    order = box.order(price="30000", cl_ord_id=OWN)
    answer = box.ask("AmendOrder", cl_ord_id=OWN, order_qty="0.02", limit_price="31000")
    assert list(answer) == ["amend_id"]
    found = box.ask("QueryOrders", txid=order)[order]
    assert found["descr"]["order"] == "buy 0.02000000 XBTUSD @ limit 31000.0"
    assert (found["misc"], found["vol"]) == ("amended", "0.02000000")
    held = float(box.ask("BalanceEx")["ZUSD"]["hold_trade"])
    assert held == pytest.approx(620, rel=0.01)


def test_an_amendment_that_breaks_a_rule_leaves_the_order_as_it_was(box: Box) -> None:
    order = box.order(price="30000")
    before = box.ask("QueryOrders", txid=order), box.ask("BalanceEx")
    assert box.refusal("AmendOrder", txid=order, order_qty="100") == "EOrder:Insufficient funds"
    assert box.refusal("AmendOrder", txid=order, limit_price="50000", post_only="true") == (
        "EOrder:Post only order"
    )
    assert box.refusal("AmendOrder", txid=order, limit_price="1.23").startswith("EOrder:Invalid p")
    assert box.refusal("AmendOrder", txid=order) == "EGeneral:Invalid arguments"
    assert box.refusal("AmendOrder", txid=order, trigger_price="30000") == (
        "EGeneral:Invalid arguments:trigger_price"
    )
    assert (box.ask("QueryOrders", txid=order), box.ask("BalanceEx")) == before
    box.ask("CancelOrder", txid=order)
    assert box.refusal("AmendOrder", txid=order, order_qty="0.02") == "EOrder:Unknown order"


def test_an_amended_price_that_crosses_fills(box: Box) -> None:
    order = box.order(price="30000")
    box.ask("AmendOrder", txid=order, limit_price="41000")
    assert box.ask("QueryOrders", txid=order)[order]["status"] == "closed"


def test_an_amended_stop_triggers_at_its_new_price(box: Box) -> None:
    order = box.order(type="sell", ordertype="stop-loss", price="30000")
    box.ask("AmendOrder", txid=order, trigger_price="39970")
    box.forward(minutes=2)
    assert box.ask("QueryOrders", txid=order)[order]["status"] == "closed"


def test_an_edited_order_gets_a_new_id(box: Box) -> None:
    order = box.order(price="30000")
    answer = box.ask("EditOrder", pair="XBTUSD", txid=order, price="31000", volume="0.03")
    assert answer["originaltxid"] == order
    assert answer["descr"]["order"] == "buy 0.03000000 XBTUSD @ limit 31000.0"
    found = box.ask("QueryOrders", txid=f"{order},{answer['txid']}")
    assert [row["status"] for row in found.values()] == ["canceled", "open"]
    assert found[order]["reason"] == "Order replaced"


def test_an_edit_that_is_refused_leaves_the_old_order(box: Box) -> None:
    order = box.order(price="30000")
    held = box.ask("BalanceEx")
    fields = {"pair": "XBTUSD", "txid": order}
    assert box.refusal("EditOrder", **fields, volume="500") == "EOrder:Insufficient funds"
    assert box.ask("EditOrder", **fields, volume="0.02", validate="true")["status"] == "ok"
    assert list(box.ask("OpenOrders")["open"]) == [order]
    assert box.ask("BalanceEx") == held


def test_the_dead_mans_switch_cancels_when_nobody_calls_again(box: Box) -> None:
    box.order(price="30000")
    answer = box.ask("CancelAllOrdersAfter", timeout="60")
    assert answer["currentTime"] < answer["triggerTime"]
    box.forward(seconds=50)
    box.ask("CancelAllOrdersAfter", timeout="60")
    box.forward(seconds=50)
    assert len(box.ask("OpenOrders")["open"]) == 1
    box.forward(seconds=11)
    assert box.ask("OpenOrders")["open"] == {}
    box.order(price="30000")
    box.ask("CancelAllOrdersAfter", timeout="60")
    box.ask("CancelAllOrdersAfter", timeout="0")
    box.forward(minutes=5)
    assert len(box.ask("OpenOrders")["open"]) == 1


# ── any bytes ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["/0/public/", "/0/private/", "/", "//0"]),
    st.sampled_from(["Time", "Ticker", "OHLC", "Trades", "Depth", "AddOrder", "Balance", ""])
    | st.text(max_size=8),
    st.text(max_size=40),
    st.binary(max_size=80),
    st.dictionaries(st.sampled_from(["API-Key", "API-Sign", "Content-Type"]), st.text(max_size=9)),
)
def test_any_bytes_as_a_request_get_a_clean_answer(
    verb: str, folder: str, call: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    status, kind_, content = SHARED_BOX.wire.handle(verb, folder + call, query, headers, body)
    if status == 200:
        answer = json.loads(content)
        assert kind_ == "application/json"
        assert "EGeneral:Internal error" not in answer["error"]


SHARED_BOX = Box(minutes=300)
FIELDS = ["pair", "type", "ordertype", "volume", "price", "price2", "oflags", "timeinforce",
          "starttm", "expiretm", "deadline", "userref", "cl_ord_id", "close[ordertype]",
          "close[price]", "displayvol", "leverage", "txid", "orders", "start", "end", "ofs",
          "asset", "id", "timeout", "trades", "validate", "closetime", "limit"]  # fmt: skip
VALUES = [
    "XBTUSD",
    "buy",
    "sell",
    "limit",
    "market",
    "stop-loss",
    "trailing-stop",
    "1",
    "0.01",
    "-1",
    "+5%",
    "#1",
    "%",
    "+",
    "1e40",
    "NaN",
    "Infinity",
    "",
    "30000",
    "0",
    "9" * 30,
    "2020-01-03T01:00:10Z",
    "9999-12-31T23:59:59-14:00",
    "iceberg",
    "post",
    "\x00",
    "٣",
]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(SHARED_BOX.wire._private)),
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES) | st.text(max_size=6)),
    st.booleans(),
)
def test_any_fields_from_an_owner_get_a_clean_answer(
    method: str, fields: dict[str, str], as_json: bool
) -> None:
    answer = (SHARED_BOX.post_json if as_json else SHARED_BOX.post)(method, **fields)
    assert "EGeneral:Internal error" not in answer["error"]


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SHARED_BOX.wire.public.methods)),
    st.dictionaries(
        st.sampled_from(["pair", "since", "count", "interval", "info", "asset", "assetVersion"]),
        st.sampled_from([*VALUES, "BTC/USD,ETHUSD", "60"]) | st.text(max_size=6),
    ),
)
def test_any_query_gets_a_clean_answer(method: str, query: dict[str, str]) -> None:
    assert "EGeneral:Internal error" not in SHARED_BOX.get(method, **query)["error"]


def test_nested_json_of_any_shape_is_no_crash(box: Box) -> None:
    for orders in ([[]], {"a": 1}, [{"price": {}}, {"volume": []}], "x", [None, None]):
        answer = box.post_json("AddOrderBatch", pair="XBTUSD", orders=orders)
        assert answer["error"][0].startswith("EGeneral:Invalid arguments")


def test_a_form_reads_booleans_and_lists() -> None:
    form = Form.of_query("a=True&b=0&c=A%2CB&d=")
    assert (form.flag("a"), form.flag("b"), form.flag("d"), form.flag("none")) == (
        True, False, False, False,
    )  # fmt: skip
    assert form.names("c") == ["A", "B"]
