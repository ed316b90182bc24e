"""Kraken's rules line by line: names, pages, times, references, limits, counters, nonces."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.box import BTC, KEY, Box
from trader.exchanges.kraken_limits import TIERS, Tier
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.simulation.costs import Costs

ARGS = "EGeneral:Invalid arguments"
LIMIT = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"}
UUID = "6d1b345e-2821-40e2-ad83-4ecb18a06876"


@pytest.fixture
def box() -> Box:
    return Box()


def deep(**options: Any) -> Box:
    """A box in which takers walk the book."""
    box = Box(usd="100000000", btc="100000", **options)
    box.exchange = SandboxExchange(
        box.exchange.feed,
        box.clock,
        balances={"USD": Decimal(10**9), "BTC": Decimal(10**6)},
        costs=Costs(walks_book=True),
    )
    box.wire = KrakenWire(box.exchange, [box.key], options.get("tier"))
    return box


# ── names ──────────────────────────────────────────────────────────────────────────────────

PAIR_NAMES = ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "xxbtzusd", "xbtusd", "btc/usd"]
NAMED_BY_ID = ("TradeVolume", "TradesHistory", "QueryTrades")


@pytest.mark.parametrize("name", PAIR_NAMES)
def test_an_order_may_name_its_pair_in_every_way_and_is_shown_by_its_short_name(
    box: Box, name: str
) -> None:
    txid = box.order(pair=name, price="30000")
    shown = box.ask("QueryOrders", txid=txid)[txid]["descr"]
    assert (shown["pair"], shown["order"].split()[2]) == ("XBTUSD", "XBTUSD")
    assert list(box.ask("TradeVolume", pair=name)["fees"]) == ["XXBTZUSD"]
    box.order(pair=name, ordertype="market")
    (trade,) = box.ask("TradesHistory", pair=name)["trades"].values()
    assert trade["pair"] == "XXBTZUSD"


@pytest.mark.parametrize("name", ["XBT", "ZUSD,XXBT", "btc", "USD"])
def test_assets_may_be_named_in_every_way(box: Box, name: str) -> None:
    assert set(box.read("Assets", asset=name)) <= {"XXBT", "ZUSD"}
    box.ask("Ledgers", asset=name)


def test_what_is_no_currency_is_not_here(box: Box) -> None:
    assert box.read("Assets", aclass="tokenized_asset") == {}
    assert box.read("AssetPairs", aclass_base="tokenized_asset") == {}


# ── times and references ───────────────────────────────────────────────────────────────────


def test_an_order_sleeps_until_its_time_and_ends_at_its_other_time(box: Box) -> None:
    txid = box.order(price="30000", starttm="+60", expiretm="+120", timeinforce="GTD")
    seen = []
    for _ in range(3):
        seen.append(box.ask("QueryOrders", txid=txid)[txid])
        box.forward(seconds=61)
    assert [row["status"] for row in seen] == ["pending", "open", "expired"]
    now = seen[0]["opentm"]
    assert (seen[0]["starttm"], seen[0]["expiretm"]) == (now + 60, now + 120)
    assert seen[2]["closetm"] == now + 120
    assert seen[2]["time_in_force"] == "gtd"


@pytest.mark.parametrize(
    ("form", "error"),
    [({"expiretm": "+4"}, f"{ARGS}:expiretm"), ({"expiretm": "+5"}, ""),
     ({"expiretm": str(31 * 86400 + 60)}, f"{ARGS}:expiretm"),
     ({"expiretm": "0"}, ""), ({"starttm": "0"}, ""), ({"starttm": "+0"}, ""),
     ({"starttm": "soon"}, f"{ARGS}:starttm"), ({"expiretm": "-5"}, f"{ARGS}:expiretm"),
     ({"starttm": "+90", "expiretm": "+60"}, f"{ARGS}:expiretm"),
     ({"expiretm": "+60", "timeinforce": "GTD"}, "")],
    ids=str,
)  # fmt: skip
def test_life_spans_are_checked(box: Box, form: dict[str, str], error: str) -> None:
    answer = box.post("AddOrder", **(LIMIT | form))
    assert answer["error"] == ([error] if error else [])


@pytest.mark.parametrize(
    ("ahead_s", "error"),
    [(-1, "EService:Deadline elapsed"), (0, "EService:Deadline elapsed"), (2, ""), (60, ""),
     (61, f"{ARGS}:deadline")],
)  # fmt: skip
@pytest.mark.parametrize("offset", ["Z", "+00:00", ""])
def test_a_deadline_lies_within_the_next_minute(
    box: Box, ahead_s: int, error: str, offset: str
) -> None:
    moment = box.clock.now() + timedelta(seconds=ahead_s)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + offset
    assert box.post("AddOrder", **LIMIT, deadline=text)["error"] == ([error] if error else [])


@pytest.mark.parametrize(
    ("own_id", "taken"),
    [(UUID, True), (UUID.replace("-", ""), True), (UUID.upper(), True), ("order-1", True),
     ("a" * 18, True), ("a" * 19, False), ("with space", False), ("ä", False)],
)  # fmt: skip
def test_own_ids_are_uuids_or_short_words(box: Box, own_id: str, taken: bool) -> None:
    answer = box.post("AddOrder", **LIMIT, cl_ord_id=own_id)
    assert answer["error"] == ([] if taken else [f"{ARGS}:cl_ord_id"])


def test_an_own_id_means_the_same_with_and_without_dashes(box: Box) -> None:
    txid = box.order(price="30000", cl_ord_id=UUID)
    bare = UUID.replace("-", "")
    assert list(box.ask("OpenOrders", cl_ord_id=bare)["open"]) == [txid]
    assert box.refusal("AddOrder", **LIMIT, cl_ord_id=bare) == f"{ARGS}:cl_ord_id not unique"
    assert box.ask("CancelOrder", cl_ord_id=bare) == {"count": 1}


def test_a_userref_groups_orders_and_may_be_negative(box: Box) -> None:
    mine = [box.order(price=str(p), userref="-7") for p in (30000, 31000)]
    box.order(price="32000", userref="8")
    assert set(box.ask("OpenOrders", userref="-7")["open"]) == set(mine)
    assert box.ask("CancelOrder", txid="-7") == {"count": 2}
    assert set(box.ask("ClosedOrders", userref="-7")["closed"]) == set(mine)


# ── prices relative to the last trade ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("side", "kind", "price", "wanted"),
    [("buy", "limit", "-1%", "39600.0"), ("buy", "limit", "#1%", "39600.0"),
     ("sell", "limit", "#1%", "40400.0"), ("sell", "limit", "+100", "40100.0"),
     ("sell", "stop-loss", "#500", "39500.0"), ("buy", "stop-loss", "#500", "40500.0"),
     ("sell", "take-profit", "#500", "40500.0"), ("buy", "take-profit", "#500", "39500.0")],
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_relative_prices_count_from_the_last_trade(
    box: Box, side: str, kind: str, price: str, wanted: str, as_json: bool
) -> None:
    form = LIMIT | {"type": side, "ordertype": kind, "price": price}
    answer = (box.post_json if as_json else box.post)("AddOrder", **form)
    assert answer["result"]["descr"]["order"].endswith(f" {wanted}")


@pytest.mark.parametrize(
    "close",
    [{"ordertype": "limit", "price": "45000"}, {"ordertype": "stop-loss", "price": "#5%"},
     {"ordertype": "take-profit", "price": "45000"},
     {"ordertype": "stop-loss-limit", "price": "38000", "price2": "37900"},
     {"ordertype": "take-profit-limit", "price": "45000", "price2": "44900"},
     {"ordertype": "trailing-stop", "price": "+2%"},
     {"ordertype": "trailing-stop-limit", "price": "+2%", "price2": "-1%"}],
    ids=lambda close: str(close["ordertype"]),
)  # fmt: skip
def test_each_kind_of_order_can_follow_a_fill(box: Box, close: dict[str, str]) -> None:
    form = {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "volume": "0.01"}
    answer = box.post_json("AddOrder", **form, close=close)["result"]
    (opened,) = box.ask("OpenOrders")["open"].values()
    assert opened["refid"] == answer["txid"][0]
    descr = opened["descr"]
    assert (descr["type"], descr["ordertype"]) == ("sell", close["ordertype"])
    assert answer["descr"]["close"] == "close position @ " + descr["order"].split(" @ ")[1]


# ── amounts in quote, fees in base ─────────────────────────────────────────────────────────


def test_a_market_buy_may_be_given_in_quote_and_its_fee_taken_in_base(box: Box) -> None:
    txid = box.order(ordertype="market", volume="4002", oflags="viqc,fcib")
    row = box.ask("QueryOrders", txid=txid)[txid]
    assert (row["vol"], row["vol_exec"]) == ("4002.00000000", "0.10000000")
    assert row["oflags"] == "viqc,fcib"
    base, quote = (
        next(iter(box.ask("Ledgers", asset=a, type="trade")["ledger"].values()))
        for a in ("XBT", "USD")
    )
    assert Decimal(base["fee"]) == Decimal("0.1") * Decimal("0.0026")
    assert (quote["fee"], quote["amount"]) == ("0.0000", "-4002.0000")


# ── merged fills ───────────────────────────────────────────────────────────────────────────


def test_fills_of_one_taker_order_are_one_trade_unless_asked_otherwise() -> None:
    box = deep()
    txid = box.order(ordertype="market", volume="100")
    single = box.ask("TradesHistory", consolidate_taker="false", ledgers="true")
    merged = box.ask("TradesHistory", ledgers="true")
    assert single["count"] > 1
    assert merged["count"] == 1
    parts, (whole,) = list(single["trades"].values()), merged["trades"].values()
    assert [Decimal(whole[f]) for f in ("vol", "cost", "fee")] == [
        sum(Decimal(part[f]) for part in parts) for f in ("vol", "cost", "fee")
    ]
    assert Decimal(whole["price"]) == pytest.approx(Decimal(whole["cost"]) / 100)
    assert sorted(whole["ledgers"]) == sorted(name for part in parts for name in part["ledgers"])
    assert list(merged["trades"]) == list(single["trades"])[-1:]
    for merge, count in (("true", 1), ("false", len(parts))):
        row = box.ask("ClosedOrders", trades="true", consolidate_taker=merge)["closed"][txid]
        assert len(row["trades"]) == count
    assert set(box.ask("QueryTrades", txid=",".join(single["trades"]))) == set(single["trades"])


def test_what_depth_shows_is_what_an_order_gets() -> None:
    box = deep()
    asks = box.read("Depth", pair="XBTUSD", count=3)["XXBTZUSD"]["asks"]
    box.order(ordertype="market", volume="100")
    fills = list(box.ask("TradesHistory", consolidate_taker="false")["trades"].values())[::-1]
    for (price, volume, _), fill in zip(asks, fills, strict=False):
        assert fill["price"] == price
        assert Decimal(fill["vol"]) == pytest.approx(Decimal(volume), abs=Decimal("0.001"))


def test_depth_shows_the_tip_of_an_own_iceberg(box: Box) -> None:
    before = box.read("Depth", pair="XBTUSD")["XXBTZUSD"]["bids"]
    price = str(Decimal(before[0][0]) + 10)  # between the best prices
    box.order(ordertype="iceberg", price=price, volume="0.5", displayvol="0.1")
    best = box.read("Depth", pair="XBTUSD")["XXBTZUSD"]["bids"][0]
    assert (Decimal(best[0]), best[1]) == (Decimal(price), "0.100")
    (txid,) = box.ask("OpenOrders")["open"]
    box.ask("AmendOrder", txid=txid, display_qty="0.2")
    assert box.read("Depth", pair="XBTUSD")["XXBTZUSD"]["bids"][0][1] == "0.200"
    assert box.refusal("AmendOrder", txid=txid, display_qty="0.01") == f"{ARGS}:display_qty"


@pytest.mark.parametrize(
    ("stptype", "old", "new"),
    [("cancel-newest", "open", "expired"), ("cancel-oldest", "expired", "closed"),
     ("cancel-both", "expired", "expired"), ("", "open", "expired")],
)  # fmt: skip
def test_an_order_never_meets_another_of_its_account(
    box: Box, stptype: str, old: str, new: str
) -> None:
    resting = box.order(type="sell", price="40010")
    taking = box.order(ordertype="market", stptype=stptype)
    rows = box.ask("QueryOrders", txid=f"{resting},{taking}")
    assert [row["status"] for row in rows.values()] == [old, new]
    assert box.refusal("AddOrder", **LIMIT, stptype="x") == f"{ARGS}:stptype"


# ── limits of the tier ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tier", TIERS.values(), ids=lambda tier: tier.name)
def test_so_many_open_orders_a_pair_and_no_more(tier: Tier) -> None:
    box = Box(tier=replace(tier, trading_threshold=10**6))
    for _ in range(tier.open_orders_per_pair):
        box.order(price="30000")
    assert box.refusal("AddOrder", **LIMIT) == "EOrder:Orders limit exceeded"
    box.order(pair="ETHUSD", price="1000", volume="0.1")
    box.ask("CancelAll")
    box.order(price="30000")


@pytest.mark.parametrize("tier", TIERS.values(), ids=lambda tier: tier.name)
def test_the_trading_counter_is_that_of_the_tier(tier: Tier) -> None:
    box = Box(tier=replace(tier, open_orders_per_pair=10**6))
    taken = 0
    while box.post("AddOrder", **LIMIT)["error"] == []:
        taken += 1
    assert taken == tier.trading_threshold
    assert box.refusal("AddOrder", **LIMIT) == "EOrder:Rate limit exceeded"
    box.forward(seconds=int(3 / tier.trading_decay) + 2)
    box.order(price="30000")


@pytest.mark.parametrize(
    ("age_s", "points"), [(1, 8), (6, 6), (12, 5), (30, 4), (60, 2), (200, 1), (301, 0)]
)
def test_a_cancel_costs_by_the_youth_of_the_order(age_s: int, points: int) -> None:
    box = Box(tier=replace(TIERS["pro"], trading_decay=1e-9))
    txid = box.order(price="30000")
    box.forward(seconds=age_s)
    box.ask("CancelOrder", txid=txid)
    counter = box.wire.trading._counters["XXBTZUSD"]
    assert counter.value(box.clock.now().timestamp()) == pytest.approx(1 + points, abs=1e-3)


@pytest.mark.parametrize("tier", TIERS.values(), ids=lambda tier: tier.name)
def test_the_rest_counter_is_that_of_the_tier_and_history_counts_twice(tier: Tier) -> None:
    for call, cost in (("Balance", 1), ("Ledgers", 2), ("TradesHistory", 2)):
        box = Box(tier=tier)
        for _ in range(int(tier.rest_maximum) // cost):
            box.ask(call)
        assert box.refusal(call) == "EAPI:Rate limit exceeded"
        assert box.post("AddOrder", **LIMIT)["error"] == []  # has a counter of its own


# ── nonces from run to run ─────────────────────────────────────────────────────────────────


def reopened(box: Box, folder: Path, key: Any = KEY) -> None:
    box.wire.close()
    box.key = key
    box.wire = KrakenWire(box.exchange, [key], nonces=folder)


def test_a_nonce_that_was_used_before_a_restart_is_used_up(tmp_path: Path) -> None:
    box = Box()
    reopened(box, tmp_path)
    box.send("Balance", b"nonce=500", "500")
    reopened(box, tmp_path)
    for nonce, error in (("500", ["EAPI:Invalid nonce"]), ("499", ["EAPI:Invalid nonce"]),
                         ("501", [])):  # fmt: skip
        assert box.send("Balance", f"nonce={nonce}".encode(), nonce)["error"] == error
    assert KEY.key not in "".join(p.name for p in tmp_path.iterdir())
    box.wire.close()


def test_a_window_does_not_reach_back_over_a_restart(tmp_path: Path) -> None:
    wide = replace(KEY, nonce_window=100)
    box = Box()
    reopened(box, tmp_path, wide)
    box.send("Balance", b"nonce=500", "500")
    reopened(box, tmp_path, wide)
    assert box.send("Balance", b"nonce=480", "480")["error"] == ["EAPI:Invalid nonce"]
    assert box.send("Balance", b"nonce=600", "600")["error"] == []
    assert box.send("Balance", b"nonce=560", "560")["error"] == []
    box.wire.close()


def test_without_a_folder_nonces_are_forgotten(box: Box) -> None:
    box.send("Balance", b"nonce=500", "500")
    box.wire = KrakenWire(box.exchange, [KEY])
    assert box.send("Balance", b"nonce=1", "1")["error"] == []
    assert BTC in box.exchange.markets
