"""Simulated fills on another exchange's prices, a sandbox in the place of the real one."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from kraken_client import KrakenClient
from tests.drawn_market import BTC, FREE, HOUR, START, at, drawn, order
from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import UnknownPair, Unreachable
from trader.domain.markets import Pair
from trader.exchanges.feeds import KrakenFeed, ReplayFeed
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire

ROWS = [(100, 130, 70, 110), (110, 120, 60, 90), (90, 150, 80, 140), (140, 140, 140, 140)]


class Cable:
    """The way to the other exchange, which can be cut."""

    def __init__(self, wire: KrakenWire) -> None:
        self.wire = wire
        self.cut = False
        self.asked: list[str] = []

    def handle(self, method, path, *rest):
        self.asked.append(path)
        if self.cut:
            return 502, "text/html", b"<html>bad gateway</html>"
        return self.wire.handle(method, path, *rest)


def opened(hour: float, candles=None) -> tuple[SandboxExchange, ManualClock, Cable]:
    clock = ManualClock(at(hour))
    other = SandboxExchange(ReplayFeed({BTC: candles or drawn(ROWS)}), clock, costs=FREE)
    cable = Cable(KrakenWire(other, []))
    reader = KrakenClient(now=clock.now, handler=cable, retries=Retries(attempts=1))
    balances = {"USD": Decimal(10_000), "BTC": Decimal(10)}
    ours = SandboxExchange(KrakenFeed(reader, [BTC]), clock, balances=balances, costs=FREE)
    return ours, clock, cable


def step(clock: ManualClock, until: float, then: Callable[[], object]) -> None:
    hour = (clock.now() - START).total_seconds() / 3600
    while hour < until:
        hour = min(until, hour + 1 / 60)
        clock.sleep_until(at(hour))
        then()


def test_candles_and_prices_are_those_of_the_other_exchange():
    ours, _, _ = opened(2.5)
    assert ours.candles(BTC, HOUR) == drawn(ROWS)[:2]
    assert ours.ticker(BTC).last == Decimal(115)


def test_a_market_order_fills_at_the_price_now():
    ours, _, _ = opened(0.5)
    ours.submit(order("buy", "market", 1))
    assert [trade.price for trade in ours.trades()] == [100]


def test_a_resting_order_fills_when_the_others_trades_go_through():
    ours, clock, _ = opened(1)
    placed = ours.submit(order("buy", "limit", 1, 80))
    step(clock, 1.15, ours.balances)
    assert ours.record(placed.id).status == "open"  # 87.5 by now
    step(clock, 1.4, ours.balances)
    assert ours.record(placed.id).status == "closed"
    assert [trade.price for trade in ours.trades()] == [80]


def test_trades_before_an_order_came_in_do_not_concern_it():
    ours, clock, _ = opened(1)
    early = ours.submit(order("buy", "limit", 1, 20))
    step(clock, 1.5, ours.balances)  # through the low of 60 and up again to 90
    late = ours.submit(order("buy", "limit", 1, 70))
    step(clock, 1.6, ours.balances)
    assert [ours.record(name).status for name in (early.id, late.id)] == ["open", "open"]


def test_what_happened_while_nobody_looked_still_triggers_a_stop():
    ours, clock, _ = opened(0.9)
    placed = ours.submit(order("sell", "stop-loss", 1, 65))
    clock.sleep_until(at(3.5))
    assert ours.record(placed.id).status == "closed"


def minutes(count: int, dip_at: int) -> Candles:
    """Flat at 100 but for one minute that falls to 50."""
    low = np.full(count, 100.0)
    low[dip_at] = 50.0
    flat, volume = np.full(count, 100.0), np.full(count, 16.0)
    times = int(START.timestamp()) + 60 * np.arange(count, dtype=np.int64)
    number = np.full(count, 16, dtype=np.int64)
    return Candles(Timeframe(60), times, flat, flat, low, flat, volume, number)


@pytest.mark.parametrize("dip_at", [30, 200, 900])
def test_after_a_long_pause_candles_tell_what_the_trades_no_longer_do(dip_at):
    # The trades reach back a few minutes, the minute candles 12 hours, the hours beyond.
    ours, clock, _ = opened(0.25, minutes(1200, dip_at))
    placed = ours.submit(order("sell", "stop-loss", 1, 60))
    clock.sleep_until(at(19.5))
    assert ours.record(placed.id).status == "closed"


def test_a_dip_before_the_order_came_in_is_not_found_after_a_long_pause():
    ours, clock, _ = opened(1, minutes(1200, 30))
    placed = ours.submit(order("sell", "stop-loss", 1, 60))
    clock.sleep_until(at(19.5))
    assert ours.record(placed.id).status == "open"


def test_fills_never_lie_before_what_was_already_told():
    ours, clock, _ = opened(1)
    for price in (70, 80, 90):
        ours.submit(order("buy", "limit", 1, price))
    told: list[int] = []

    def look():
        new = ours.trades()[len(told) :]
        assert all(trade.at > look.before for trade in new)
        told.extend(trade.at for trade in new)
        look.before = ours.engine.now

    look.before = 0
    step(clock, 1.6, look)
    assert len(told) == 3


def test_while_the_other_cannot_be_reached_orders_wait_and_can_be_cancelled():
    ours, clock, cable = opened(0.5)
    stop = ours.submit(order("sell", "stop-loss", 1, 65))
    cable.cut = True
    step(clock, 1.5, ours.balances)
    market = ours.submit(order("buy", "market", 1))
    assert [ours.record(name).status for name in (stop.id, market.id)] == ["open", "open"]
    ours.cancel(market.id)
    with pytest.raises(Unreachable):
        ours.ticker(BTC)
    cable.cut = False
    clock.sleep_until(at(1.6))
    assert ours.record(stop.id).status == "closed"


def test_without_orders_nothing_is_asked_for():
    ours, clock, cable = opened(0.5)
    ours.balances()
    clock.sleep_until(at(2))
    ours.balances()
    assert cable.asked == []


def test_a_pair_that_is_not_watched_is_unknown():
    ours, _, _ = opened(0.5)
    with pytest.raises(UnknownPair):
        ours.ticker(Pair("ETH", "USD"))
