"""Bytes of any kind, in both directions: a clean answer or a clean error, and never an order."""

import contextlib
import json
import re
import urllib.parse
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kraken_client import KrakenClient
from tests.exchanges.box import BTC, KEY, Box
from trader.domain.candles import Timeframe
from trader.domain.errors import ExchangeError, OutcomeUnknown
from trader.domain.orders import OrderRequest, OrderType, Side
from trader.exchanges.wire.keys import sign

BOX = Box(minutes=300)
GOOD = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "30000"}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
FORM_REST = urllib.parse.urlencode(GOOD).encode()
JSON_REST = json.dumps(GOOD).encode()[1:]
METHODS = sorted(BOX.wire._private)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def orders_there() -> int:
    return len(BOX.exchange.engine.orders)


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """A good message with some bytes cut out, doubled, swapped or replaced."""
    body = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        if not body:
            break
        at = draw(st.integers(0, len(body) - 1))
        until = draw(st.integers(at, min(len(body), at + 12)))
        piece = draw(st.binary(max_size=6) | st.just(bytes(body[at:until]) * 2))
        body[at:until] = piece
    return bytes(body)


def sent(method: str, body: bytes, nonce: str, content_type: str, *, honest: bool) -> Any:
    """Our signature over whatever it is, so that it reaches what lies behind the door."""
    path = f"/0/private/{method}"
    signature = sign(KEY.secret, path, nonce, body) if honest else "QUJD"
    headers = {"API-Key": KEY.key, "API-Sign": signature, "Content-Type": content_type}
    status, kind, content = BOX.wire.handle("POST", path, "", headers, body)
    assert (status, kind) == (200, JSON)
    return json.loads(content)


@pytest.mark.slow
@QUICK
@given(st.data(), st.sampled_from(METHODS), st.booleans(), st.booleans())
def test_a_spoilt_request_is_answered_cleanly_and_places_only_what_it_says(
    data: st.DataObject, method: str, as_json: bool, honest: bool
) -> None:
    # Spoilt is what comes after the nonce, so that it gets past the door.
    rest = data.draw(spoilt(JSON_REST if as_json else FORM_REST))
    BOX.nonce += 1
    body = (b'{"nonce": %d, ' if as_json else b"nonce=%d&") % BOX.nonce + rest
    before = orders_there()
    answer = sent(method, body, str(BOX.nonce), JSON if as_json else FORM, honest=honest)
    assert "EGeneral:Internal error" not in answer["error"]
    made = orders_there() - before
    assert made == (0 if answer["error"] else len(answer["result"].get("txid", [])))
    if not honest:
        assert answer["error"]
        assert made == 0


@QUICK
@given(st.sampled_from(METHODS), st.binary(max_size=200), st.sampled_from([FORM, JSON, "", "x/y"]))
def test_bytes_without_a_true_signature_never_become_an_order(
    method: str, body: bytes, content_type: str
) -> None:
    before = orders_there()
    answer = sent(method, body, "1", content_type, honest=False)
    assert answer["error"]
    assert orders_there() == before


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["XBTUSD", "buy", "limit", "0.01", "30000", "O", "-1", "1e9"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=4),
    max_leaves=8,
)  # fmt: skip
FIELDS = ["pair", "type", "ordertype", "volume", "price", "price2", "oflags", "orders", "txid",
          "close", "deadline", "userref", "cl_ord_id", "displayvol", "validate", "cl_ord_ids",
          "start", "ofs", "stptype", "order_qty", "limit_price", "display_qty"]  # fmt: skip


@pytest.mark.slow
@QUICK
@given(st.sampled_from(METHODS), st.dictionaries(st.sampled_from(FIELDS), ANY_JSON, max_size=6))
def test_fields_of_any_type_are_answered_cleanly(method: str, fields: dict[str, Any]) -> None:
    BOX.nonce += 1
    body = json.dumps({"nonce": BOX.nonce, **GOOD, **fields}).encode()
    answer = sent(method, body, str(BOX.nonce), JSON, honest=True)
    assert "EGeneral:Internal error" not in answer["error"]


# ── answers ────────────────────────────────────────────────────────────────────────────────


class Parrot:
    """Answers everything with the metadata it must have, and one method with given bytes."""

    def __init__(self) -> None:
        self.box = Box(minutes=300)
        self.method, self.body, self.status = "", b"", 200
        self.orders_sent = 0

    def handle(
        self, verb: str, path: str, query: str, headers: Any, body: bytes
    ) -> tuple[int, str, bytes]:
        name = path.rsplit("/", 1)[1]
        self.orders_sent += name == "AddOrder"
        if name == self.method:
            return self.status, JSON, self.body
        return self.box.wire.handle(verb, path, query, headers, body)


PARROT = Parrot()
CLIENT = KrakenClient(
    KEY.key, KEY.secret, url="http://sandbox", handler=PARROT, sleep=lambda _: None,
    now=PARROT.box.clock.now, metadata_s=1e9,
)  # fmt: skip
LONG_AGO = datetime(2015, 1, 1, tzinfo=UTC)
READS = {
    "OHLC": lambda: CLIENT.candles(BTC, Timeframe(60)),
    "Ticker": lambda: CLIENT.ticker(BTC),
    "Depth": lambda: CLIENT.order_book(BTC),
    "Trades": lambda: CLIENT.recent_trades(BTC),
    "BalanceEx": lambda: CLIENT.balances(),
    "OpenOrders": lambda: CLIENT.open_orders(),
    "TradesHistory": lambda: CLIENT.fills(LONG_AGO),
    "TradeVolume": lambda: CLIENT.fee_rates(BTC),
    "GetApiKeyInfo": lambda: CLIENT.key_permissions(),
    "Time": lambda: CLIENT.server_time(),
}
ORDER = OrderRequest("ab" * 16, BTC, Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(30000))


def good_answers() -> dict[str, bytes]:
    """What the sandbox really answers to each read."""
    box = PARROT.box
    box.order(ordertype="market")
    box.order(price="30000", cl_ord_id="cd" * 16)
    found = {}
    for method in READS:
        public = method in box.wire.public.methods
        answer = box.get(method, pair="XBTUSD", count=5) if public else box.post(
            method, pair="XBTUSD")  # fmt: skip
        result = answer["result"]
        if method == "OHLC":
            result["XXBTZUSD"] = result["XXBTZUSD"][-4:]
        found[method] = json.dumps(answer).encode()
    return found


CLIENT.market_rules(BTC)
ANSWERS = good_answers()


@pytest.mark.slow
@settings(QUICK, max_examples=300)
@given(st.data(), st.sampled_from(sorted(READS)), st.sampled_from([200, 200, 200, 502, 429]))
def test_a_spoilt_answer_to_a_read_is_a_value_or_a_clean_error(
    data: st.DataObject, method: str, status: int
) -> None:
    body = data.draw(st.binary(max_size=60) | spoilt(ANSWERS[method]))
    PARROT.method, PARROT.body, PARROT.status = method, body, status
    with contextlib.suppress(ExchangeError):
        READS[method]()


@pytest.mark.slow
@QUICK
@given(st.data(), st.sampled_from([200, 200, 502, 520]))
def test_a_spoilt_answer_to_an_order_is_an_id_a_refusal_or_unknown_and_sent_once(
    data: st.DataObject, status: int
) -> None:
    good = b'{"error":[],"result":{"descr":{"order":"x"},"txid":["OABCDE-ABCDE-ABCDEF"]}}'
    body = data.draw(st.binary(max_size=60) | spoilt(good))
    PARROT.method, PARROT.body, PARROT.status = "AddOrder", body, status
    PARROT.orders_sent = 0
    found, fault = "", None
    try:
        found = CLIENT.place(ORDER, PARROT.box.clock.now())
    except ExchangeError as refusal:
        fault = refusal
    if isinstance(fault, OutcomeUnknown):
        assert PARROT.orders_sent == 1
    elif fault is None:
        assert status == 200
        assert json.loads(body)["result"]["txid"] == [found]
        assert re.fullmatch("[0-9A-Z]{6}-[0-9A-Z]{5}-[0-9A-Z]{6}", found)
    else:
        assert json.loads(body)["error"]
