"""Faults on demand, and a client that survives them: nothing lost, nothing doubled."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kraken_client import KrakenClient
from tests.exchanges.box import BTC, KEY, Box
from trader.domain.candles import Timeframe
from trader.domain.errors import (
    ExchangeError,
    OrderNotFound,
    OutcomeUnknown,
    Unreachable,
    UsageError,
)
from trader.domain.markets import Pair
from trader.domain.orders import OrderRequest, OrderState, OrderType, Side
from trader.exchanges.faults import FAULTS, FaultRule, FaultyWire, load_rules
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.sandbox_server import Server
from trader.exchanges.transport import Timeouts

EARLY = datetime(2010, 1, 1, tzinfo=UTC)
ONCE = Retries(attempts=1)


def client(box: Box, wire: FaultyWire, **options: Any) -> KrakenClient:
    return KrakenClient(
        KEY.key, KEY.secret, url="http://sandbox", handler=wire, now=box.clock.now,
        sleep=lambda seconds: None, seed=1, **options,
    )  # fmt: skip


def order(side: Side = Side.BUY, **changes: Any) -> OrderRequest:
    fields: dict[str, Any] = {
        "order_id": uuid.uuid4().hex, "pair": BTC, "side": side, "type": OrderType.MARKET,
        "quantity": Decimal("0.001"),
    }  # fmt: skip
    return OrderRequest(**(fields | changes))


def test_there_are_at_least_25_kinds() -> None:
    assert len(FAULTS) >= 25


def test_every_kind_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "sandbox.md").read_text()
    assert [kind for kind in FAULTS if f"`{kind}`" not in text] == []


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_every_call_under_every_fault_gives_a_value_or_a_clean_error(kind: str) -> None:
    box = Box(minutes=300)
    wire = FaultyWire(box.wire, [FaultRule(1.0, (kind,))], seed=1)
    wire.active = False
    exchange = client(box, wire, retries=ONCE, metadata_s=0.0)
    resting = exchange.place(order(type=OrderType.LIMIT, price=Decimal(30000)), box.clock.now())
    wire.active = True
    calls = [
        exchange.server_time, lambda: exchange.market_rules(BTC), lambda: exchange.ticker(BTC),
        lambda: exchange.candles(BTC, Timeframe(60)), lambda: exchange.order_book(BTC),
        lambda: exchange.recent_trades(BTC), exchange.balances, lambda: exchange.fee_rates(BTC),
        exchange.open_orders, lambda: exchange.closed_orders(EARLY), lambda: exchange.fills(EARLY),
        lambda: exchange.order(resting), lambda: exchange.place(order(), box.clock.now()),
        lambda: exchange.cancel(resting), exchange.cancel_all,
    ]  # fmt: skip
    outcomes = []
    for call in calls:
        try:
            outcomes.append(call())
        except ExchangeError as fault:
            outcomes.append(fault)
    assert wire.struck[kind] > 0
    assert len(outcomes) == len(calls)


AFTER = [k for k in sorted(FAULTS) if k.endswith("_after") or k in {
    "reset_mid_body", "truncated_json", "html_with_status_200", "empty_body", "no_result",
    "wrong_json", "slow_drip", "order_visible_late"}]  # fmt: skip


@pytest.mark.parametrize("kind", AFTER)
def test_an_order_that_was_carried_out_is_unknown_at_first_and_then_found(kind: str) -> None:
    box = Box(minutes=300)
    wire = FaultyWire(box.wire, [FaultRule(1.0, (kind,), frozenset({"AddOrder"}), times=1)])
    exchange = client(box, wire)
    request = order()
    with pytest.raises(OutcomeUnknown):
        exchange.place(request, box.clock.now())
    box.forward(seconds=31)
    found = exchange.find_order(request.order_id, EARLY)
    assert found is not None
    assert found.state is OrderState.FILLED
    (fill,) = exchange.fills(EARLY)
    assert fill.order_id == request.order_id


def test_a_request_that_a_gateway_delivers_twice_is_one_order() -> None:
    box = Box(minutes=300)
    rule = FaultRule(1.0, ("delivered_twice",), frozenset({"AddOrder", "CancelOrder"}), times=3)
    exchange = client(box, FaultyWire(box.wire, [rule]))
    exchange_id = exchange.place(order(), box.clock.now())
    assert [f.exchange_id for f in exchange.fills(EARLY)] == [exchange_id]
    limit = exchange.place(order(type=OrderType.LIMIT, price=Decimal(30000)), box.clock.now())
    with pytest.raises(OrderNotFound):
        exchange.cancel(limit)
    assert exchange.order(limit).state is OrderState.CANCELLED


def place_surely(exchange: KrakenClient, request: OrderRequest, box: Box) -> None:
    """The protocol of the unknown outcome: wait past the deadline, look, and only then repeat."""
    began = box.clock.now()
    for _ in range(200):
        try:
            exchange.place(request, box.clock.now())
            return
        except OutcomeUnknown:
            box.forward(seconds=31)
            if is_there(exchange, request, began):
                return
        except ExchangeError:
            box.forward(seconds=1)
    raise AssertionError("never placed")


def is_there(exchange: KrakenClient, request: OrderRequest, began: datetime) -> bool:
    while True:
        try:
            return exchange.find_order(request.order_id, began - timedelta(minutes=1)) is not None
        except ExchangeError:
            continue


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fifth_of_all_requests_failing_loses_and_doubles_nothing(seed: int) -> None:
    box = Box(minutes=20_000, at=5, btc="2")
    kinds = tuple(sorted(set(FAULTS) - {"changed_minimum"}))
    wire = FaultyWire(box.wire, [FaultRule(0.2, kinds)], seed=seed)
    exchange = client(box, wire)
    wanted = [order(Side.BUY if n % 2 else Side.SELL) for n in range(1500)]
    for request in wanted:
        place_surely(exchange, request, box)
    wire.active = False
    fills = Counter(fill.order_id for fill in exchange.fills(EARLY))
    assert fills == Counter(request.order_id for request in wanted)
    assert len(wire.struck) > 25


def test_the_same_seed_meets_the_same_faults() -> None:
    def struck() -> dict[str, int]:
        box = Box(minutes=300)
        wire = FaultyWire(box.wire, [FaultRule(0.5)], seed=9)
        exchange = client(box, wire, retries=ONCE)
        for _ in range(60):
            try:
                exchange.ticker(BTC)
                exchange.balances()
            except ExchangeError:
                pass
        return wire.struck

    assert struck() == struck()


def test_a_fault_strikes_as_often_and_where_the_rule_says() -> None:
    box = Box(minutes=300)
    rule = FaultRule(1.0, ("busy",), frozenset({"BalanceEx"}), times=2)
    wire = FaultyWire(box.wire, [rule])
    exchange = client(box, wire)
    exchange.ticker(BTC)
    assert exchange.balances()["BTC"].total == 2
    assert wire.struck == {"busy": 2}


def test_stale_candles_lack_the_newest_and_missing_ones_leave_gaps() -> None:
    box = Box(minutes=300)
    rules = [FaultRule(1.0, ("stale_candles",), times=1), FaultRule(1.0, ("missing_candles",))]
    wire = FaultyWire(box.wire, rules, seed=3)
    wire.active = False
    exchange = client(box, wire)
    whole = exchange.candles(BTC, Timeframe(60))
    wire.active = True
    assert exchange.candles(BTC, Timeframe(60)) == whole[:-1]
    assert exchange.candles(BTC, Timeframe(60)).gaps()


def test_a_minimum_that_moves_is_the_exchanges_new_rule() -> None:
    box = Box(minutes=300)
    wire = FaultyWire(box.wire, [FaultRule(1.0, ("changed_minimum",), times=1)])
    exchange = client(box, wire, metadata_s=0.0)
    before = box.exchange.market_rules(BTC).order_minimum
    moved = exchange.market_rules(BTC).order_minimum
    assert moved == 2 * before
    with pytest.raises(ExchangeError, match="minimum"):
        exchange.place(order(quantity=moved / 2), box.clock.now())


# ── over HTTP ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "kind", ["timeout_after", "reset_after", "reset_mid_body", "slow_drip", "http_520_after"]
)
def test_over_http_too_the_order_is_unknown_and_then_found(kind: str) -> None:
    box = Box(minutes=300)
    wire = FaultyWire(box.wire, [FaultRule(1.0, (kind,), frozenset({"AddOrder"}), times=1)])
    request = order()
    with Server(wire, hang_s=0.5) as address:
        exchange = KrakenClient(
            KEY.key, KEY.secret, url=address.url, now=box.clock.now,
            timeouts=Timeouts(connect_s=2, read_s=0.3, total_s=1),
        )  # fmt: skip
        with pytest.raises(OutcomeUnknown):
            exchange.place(request, box.clock.now())
        found = exchange.find_order(request.order_id, EARLY)
        exchange.close()
    assert found is not None
    assert len(box.exchange.fills(EARLY)) == 1


def test_nobody_at_the_address_is_unreachable_and_nothing_was_sent() -> None:
    box = Box(minutes=300)
    with Server(box.wire) as address:
        url = address.url
    exchange = KrakenClient(
        KEY.key, KEY.secret, url=url, now=box.clock.now, retries=ONCE, sleep=lambda s: None
    )
    with pytest.raises(Unreachable, match="does not answer"):
        exchange.server_time()
    with pytest.raises(Unreachable):
        exchange.cancel("OAAAAA-AAAAA-AAAAAA")


@pytest.mark.slow
def test_an_answer_that_drips_is_given_up_after_the_total_time() -> None:
    class Dripping:
        def handle(self, *request: Any) -> tuple[int, str, bytes]:
            raise AssertionError

    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(1000):
                    connection.sendall(b" ")
                    threading.Event().wait(0.05)
            except OSError:
                pass

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    exchange = KrakenClient(
        url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        retries=ONCE,
        timeouts=Timeouts(connect_s=1, read_s=5, total_s=0.5),
    )
    with pytest.raises(Unreachable, match="not complete"):
        exchange.server_time()
    exchange.close()
    listener.close()
    thread.join(5)


# ── the file ───────────────────────────────────────────────────────────────────────────────


def test_rules_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    rules = [{"rate": 0.5, "kinds": ["busy"], "calls": ["Time"], "times": 3}, {"rate": 1}]
    path.write_text(json.dumps({"seed": 4, "rules": rules}))
    assert load_rules(path) == (
        (FaultRule(0.5, ("busy",), frozenset({"Time"}), 3), FaultRule(1.0)),
        4,
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rules": [{}]}', '{"rules": [{"rate": 2}]}',
             '{"rules": [{"rate": 1, "kinds": ["earthquake"]}]}', '{"rules": 5}'],
)  # fmt: skip
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"faults\.json"):
        load_rules(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_rules(tmp_path / "none.json")


def test_a_pair_is_unknown_even_under_faults() -> None:
    box = Box(minutes=300)
    exchange = client(box, FaultyWire(box.wire, [FaultRule(0.2)], seed=5))
    with pytest.raises(ExchangeError):
        exchange.ticker(Pair("NOPE", "USD"))
