"""What is too little to be sold takes no place, blocks nothing and shapes nothing."""

from dataclasses import replace
from decimal import Decimal

from risk_manager import RiskManager
from tests.risk.drawn import ADA, BTC, ETH, NOW, RULES, account, holding, limited, signal, verdict
from tests.test_main import LIMITS, Floor
from trader.domain.events import DustLeft, TradeRefused
from trader.domain.orders import OrderType, Side
from trader.domain.signals import Action
from trader.reports.journal_check import check_journal
from trader.simulation.orders import OrderSpec

D = Decimal
FALLEN = [(100, 101, 99, 100)] * 4 + [(85, 86, 84, 85)] * 6
CRUMB = D("0.00004")
"""Below the exchange's smallest order of 0.00005 BTC."""


def bought_and_nearly_sold_by_hand(script=None):
    """A position of which the owner has left less than the exchange takes."""
    floor = Floor(FALLEN, {(BTC, 1): Action.BUY, **(script or {})})
    floor.run(2)
    real = floor.box.real
    for order in real.open_orders():
        real.cancel(order.exchange_id)
    rest = floor.box.position.quantity - CRUMB
    real.submit(OrderSpec(BTC, Side.SELL, OrderType.MARKET, rest, None))
    floor.box.compare_accounts()
    return floor


def dust(portfolio, pair):
    holding(portfolio, pair, quantity="0.02")
    portfolio.positions[pair] = replace(portfolio.positions[pair], dust=True)
    return portfolio


def test_dust_is_told_once_and_is_no_position_any_more():
    floor = bought_and_nearly_sold_by_hand()
    floor.run(3)
    (told,) = floor.events(DustLeft)
    held = floor.trader.portfolio
    assert (told.pair, told.quantity, held.position(BTC).dust) == (BTC, CRUMB, True)
    assert (held.open_pairs, held.holdings()["BTC"]) == ((), CRUMB)
    assert floor.ai.weights[-1] == 0.0


def test_a_purchase_over_dust_begins_anew_with_its_own_stop():
    floor = bought_and_nearly_sold_by_hand({(BTC, 5): Action.BUY})
    floor.run(6)
    position = floor.box.position
    assert (position.dust, position.stop < 85) == (False, True)
    assert position.opened_at == floor.box.events_of_fills()[-1].fill.filled_at
    assert floor.events(TradeRefused) == []
    (stop,) = floor.box.stops()
    assert stop == (position.quantity, position.stop)
    assert check_journal(floor.box.journal.events(), "USD", LIMITS).problems == ()


def test_a_restart_still_knows_what_is_dust():
    floor = bought_and_nearly_sold_by_hand()
    floor.run(2)
    before = floor.trader.portfolio.positions
    assert floor.new_trader().portfolio.positions == before


def test_dust_takes_no_place():
    full = limited(max_open_positions=1)
    assert verdict(holding(account(), ETH), full, prices={ETH: D(100)}).rule
    assert verdict(dust(account(), ETH), full, prices={ETH: D(100)}).quantity > 0
    status = RiskManager(full).limits_status(dust(account(), ETH), NOW)
    assert [row["used"] for row in status if row["rule"] == "max-open-positions"] == [0]


def test_dust_without_a_price_forbids_nothing():
    assert verdict(dust(account(), ADA)).quantity > 0


def test_dust_does_not_stand_in_the_way_of_a_mere_direction():
    assert verdict(dust(account(), BTC), wish=signal(weight=None)).quantity > 0


def test_the_stop_of_dust_does_not_shape_a_purchase():
    left = dust(account(), BTC)
    left.positions[BTC] = replace(left.positions[BTC], stop=D(120))
    assert verdict(left).stop == D(80)


def test_dust_is_less_than_the_smallest_order_by_quantity_or_by_cost():
    assert RULES.is_dust(D("0.049"), D(100))
    assert not RULES.is_dust(D("0.05"), D(100))
    assert RULES.is_dust(D("0.05"), D("9.9"))
    assert not RULES.is_dust(D("0.05"), D(10))
