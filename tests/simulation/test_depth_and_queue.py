"""Who stands before whom in the book: depth, queues, icebergs, orders of one account."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest

from tests.drawn_market import BTC, FREE, START, at, market_of, order
from trader.domain.errors import OrderRejected
from trader.domain.orders import Side
from trader.simulation.path import to_us

FLAT = (100, 100, 100, 100)
THROUGH = (100, 100, 80, 100)
DEEP = replace(FREE, walks_book=True)


def fills(exchange):
    return [(fill.price, fill.quantity) for fill in exchange.fills(START)]


def state(exchange, placed):
    record = exchange.record(placed.id)
    return record.status, record.reason


# ---- depth


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_taker_gets_exactly_what_the_book_shows_level_by_level(side):
    exchange, _ = market_of([FLAT] * 3, DEEP, usd=10**7, btc=10**5, hour=2)
    book = exchange.order_book(BTC, 4)
    shown = book.asks if side == "buy" else book.bids
    wanted = sum(level.quantity for level in shown[:3]) + shown[3].quantity / 2
    placed = exchange.submit(order(side, "market", wanted.quantize(Decimal("0.00000001"))))
    found = fills(exchange)
    assert found[:3] == [(level.price, level.quantity) for level in shown[:3]]
    assert found[3][0] == shown[3].price
    assert exchange.record(placed.id).status == "closed"
    prices = [price for price, _ in found]
    assert all(a < b if side == "buy" else a > b for a, b in pairwise(prices))


def test_without_the_setting_a_taker_fills_whole_at_the_best_price():
    exchange, _ = market_of([FLAT] * 3, FREE, usd=10**7, hour=2)
    exchange.submit(order("buy", "market", 5000))
    assert fills(exchange) == [(Decimal("100.0"), Decimal(5000))]


def test_a_limit_takes_what_it_may_pay_and_rests_for_the_remainder():
    exchange, _ = market_of([FLAT] * 3, DEEP, usd=10**7, hour=2)
    asks = exchange.order_book(BTC, 3).asks
    placed = exchange.submit(order("buy", "limit", 5000, asks[1].price))
    assert fills(exchange) == [(a.price, a.quantity) for a in asks[:2]]
    record = exchange.record(placed.id)
    assert (record.status, record.misc) == ("open", ["partial"])
    best = exchange.order_book(BTC, 1).bids[0]
    assert best.price == asks[1].price
    assert best.quantity == record.remaining


def test_immediate_or_cancel_takes_what_is_there_and_fill_or_kill_all_or_nothing():
    exchange, _ = market_of([FLAT] * 3, DEEP, usd=10**7, hour=2)
    first = exchange.order_book(BTC, 1).asks[0]
    killed = exchange.submit(order("buy", "limit", 5000, first.price, time_in_force="FOK"))
    assert fills(exchange) == []
    assert state(exchange, killed) == ("canceled", "FOK not filled")
    taken = exchange.submit(order("buy", "limit", 5000, first.price, time_in_force="IOC"))
    assert fills(exchange) == [(first.price, first.quantity)]
    assert state(exchange, taken) == ("canceled", "IOC not filled")


def test_a_market_order_for_an_amount_of_quote_walks_the_book_and_spends_no_more():
    exchange, _ = market_of([FLAT] * 3, DEEP, usd=10**6, hour=2)
    asks = exchange.order_book(BTC, 3).asks
    amount = sum(a.price * a.quantity for a in asks[:2])
    exchange.submit(order("buy", "market", amount.quantize(Decimal(1)), quantity_in_quote=True))
    spent = sum(price * quantity for price, quantity in fills(exchange))
    assert amount - 1 < spent <= amount + 1
    assert len(fills(exchange)) >= 2


def test_a_stop_in_the_past_walks_the_book_of_that_moment():
    exchange, clock = market_of([FLAT, THROUGH, FLAT], DEEP, btc=10**5, hour=1)
    exchange.submit(order("sell", "stop-loss", 3000, 90))
    twin, other = market_of([FLAT, THROUGH, FLAT], DEEP, btc=10**5, hour=1)
    twin.submit(order("sell", "stop-loss", 3000, 90))
    clock.sleep_until(at(3))
    for quarter in range(4, 13):
        other.sleep_until(at(quarter / 4))
        twin.balances()
    assert len(fills(exchange)) > 1
    assert fills(exchange) == fills(twin)


# ---- queue


@pytest.mark.parametrize(("share", "first"), [("0", 1), ("0.15", 2), ("0.25", 3)])
def test_with_a_queue_a_resting_order_waits_until_those_before_it_are_served(share, first):
    rows = [FLAT, (100, 100, 80, 80, 100), (80, 80, 80, 80, 100), (80, 80, 80, 80, 100)]
    exchange, clock = market_of(rows, replace(FREE, queue_share=Decimal(share)))
    exchange.submit(order("buy", "limit", 1, 90))
    clock.sleep_until(at(first - 0.01))
    assert fills(exchange) == []
    clock.sleep_until(at(first + 0.5))
    assert fills(exchange) == [(Decimal(90), Decimal(1))]


def test_of_two_orders_at_one_price_the_older_is_first_until_its_price_is_amended():
    rows = [FLAT, (100, 100, 80, 100, 10)]  # a tenth of the volume: 1
    for amend, winner in ((False, 0), (True, 1)):
        exchange, clock = market_of(rows)
        placed = [exchange.submit(order("buy", "limit", 1, price)) for price in (90, 90)]
        clock.sleep_until(at(0.5))
        if amend:
            exchange.amend_record(placed[0].id, limit=Decimal(91))
            exchange.amend_record(placed[0].id, limit=Decimal(90))
        clock.sleep_until(at(2))
        filled = [exchange.record(p.id).filled for p in placed]
        assert (filled[winner], filled[1 - winner]) == (1, 0)


def test_more_quantity_loses_the_place_in_the_queue_and_less_keeps_it():
    rows = [FLAT, (100, 100, 80, 100, 10)]
    for quantity, winner in ((Decimal(2), 1), (Decimal("0.9"), 0)):
        exchange, clock = market_of(rows)
        placed = [exchange.submit(order("buy", "limit", 1, 90)) for _ in range(2)]
        clock.sleep_until(at(0.5))
        exchange.amend_record(placed[0].id, quantity=quantity)
        clock.sleep_until(at(2))
        assert (
            exchange.record(placed[winner].id).filled
            > exchange.record(placed[1 - winner].id).filled
        )


def test_a_better_price_is_first_whoever_is_older():
    exchange, clock = market_of([FLAT, (100, 100, 80, 100, 10)])
    older, better = (exchange.submit(order("buy", "limit", 1, p)) for p in (90, 95))
    clock.sleep_until(at(2))
    assert [exchange.record(o.id).filled for o in (older, better)] == [0, 1]


def test_a_trailing_stop_that_sleeps_does_not_follow_the_price_before_it_wakes():
    rows = [(100, 120, 100, 120), (100, 100, 100, 100), (100, 100, 100, 100)]
    exchange, clock = market_of(rows)
    wakes = to_us(at(1.5))
    placed = exchange.submit(order("buy", "trailing-stop", 1, 10, starts_at=wakes))
    clock.sleep_until(at(3))
    assert (fills(exchange), exchange.record(placed.id).stop) == ([], 110)


# ---- icebergs


def test_an_iceberg_shows_a_part_and_stands_at_the_end_of_the_queue_with_each_new_one():
    rows = [FLAT, (100, 100, 80, 100, 45)]  # a tenth of the volume: 4.5
    exchange, clock = market_of(rows)
    iceberg = exchange.submit(order("buy", "iceberg", 5, 90, display=Decimal(2)))
    clock.sleep_until(at(2))
    assert [f.quantity for f in exchange.fills(START)] == [2, 2, Decimal("0.5")]
    record = exchange.record(iceberg.id)
    assert (record.filled, record.displayed) == (Decimal("4.5"), Decimal("0.5"))


def test_the_book_shows_own_orders_and_of_an_iceberg_only_the_tip():
    exchange, _ = market_of([FLAT] * 2, hour=1)
    before = exchange.order_book(BTC, 100)
    price = before.bids[2].price - Decimal("0.1")
    exchange.submit(order("buy", "iceberg", 5, price, display=Decimal("0.5")))
    exchange.submit(order("buy", "limit", 1, before.bids[1].price))
    bids = {level.price: level.quantity for level in exchange.order_book(BTC, 100).bids}
    others = {level.price: level.quantity for level in before.bids}
    assert bids[price] - others.get(price, 0) == Decimal("0.5")
    assert bids[before.bids[1].price] - before.bids[1].quantity == 1
    assert exchange.order_book(BTC, 100).asks == before.asks


def test_what_an_iceberg_shows_can_be_amended_and_only_of_an_iceberg():
    exchange, _ = market_of([FLAT])
    iceberg = exchange.submit(order("buy", "iceberg", 5, 90, display=Decimal(1)))
    exchange.amend_record(iceberg.id, display=Decimal(2))
    assert exchange.record(iceberg.id).displayed == 2
    plain = exchange.submit(order("buy", "limit", 1, 90))
    with pytest.raises(OrderRejected) as refusal:
        exchange.amend_record(plain.id, display=Decimal(1))
    assert refusal.value.code == "EGeneral:Invalid arguments:display_qty"


# ---- orders of one account

WIDE = replace(FREE, slippage=Decimal("0.02"))  # best prices 98 and 102 around 100


@pytest.mark.parametrize(
    ("wish", "resting", "incoming"),
    [("cancel-newest", "open", "expired"), ("cancel-oldest", "expired", "closed"),
     ("cancel-both", "expired", "expired")],
)  # fmt: skip
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_taker_that_would_meet_its_own_order_ends_one_of_them(side, wish, resting, incoming):
    exchange, _ = market_of([FLAT], WIDE)
    other = "sell" if side == "buy" else "buy"
    old = exchange.submit(order(other, "limit", 1, 101 if side == "buy" else 99))
    new = exchange.submit(order(side, "market", 1, self_trade=wish))
    assert (state(exchange, old)[0], state(exchange, new)[0]) == (resting, incoming)
    assert len(fills(exchange)) == (incoming == "closed")
    ended = old if resting == "expired" else new
    assert state(exchange, ended)[1] == "Self trade prevention"


def test_a_limit_that_would_rest_beyond_an_own_order_meets_it_too():
    exchange, _ = market_of([FLAT], WIDE)
    exchange.submit(order("sell", "limit", 1, 101))
    crossing = exchange.submit(order("buy", "limit", 1, Decimal("101.5")))
    below = exchange.submit(order("buy", "limit", 1, 100))
    assert [state(exchange, o)[0] for o in (crossing, below)] == ["expired", "open"]


def test_what_lies_before_the_own_order_is_taken_first():
    costs = replace(DEEP, slippage=Decimal(0))
    exchange, _ = market_of([FLAT] * 3, costs, usd=10**7, btc=10**4, hour=2)
    asks = exchange.order_book(BTC, 4).asks
    own = exchange.submit(order("sell", "limit", 1, asks[2].price))
    taker = exchange.submit(order("buy", "market", 5000))
    assert fills(exchange) == [(a.price, a.quantity) for a in asks[:2]]
    assert [state(exchange, o)[0] for o in (own, taker)] == ["open", "expired"]


def test_a_protective_stop_is_not_kept_from_selling_by_an_order_the_market_has_passed():
    exchange, clock = market_of([FLAT, (100, 100, 80, 80, 0)])
    exchange.submit(order("buy", "limit", 1, 90))
    exchange.submit(order("sell", "stop-loss", 1, 85))
    clock.sleep_until(at(2))
    assert [fill.side for fill in exchange.fills(START)] == [Side.SELL]
