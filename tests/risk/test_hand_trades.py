"""What a person sells by hand trips no limit: seen through the sandbox exchange."""

from datetime import timedelta
from decimal import Decimal

from risk_manager import RiskLimits, RiskManager
from tests.trading_box import BTC, CALM, Box
from trader.domain.events import EquityMarked
from trader.domain.orders import OrderType, Side
from trader.reports.journal_check import check_journal
from trader.risk.limits import RiskState
from trader.simulation.orders import OrderSpec

D = Decimal


def mark(box):
    prices = {BTC: D(100)}
    equity = box.portfolio.equity(prices)
    box.executor.record(EquityMarked(box.now, equity, box.portfolio.cash, tuple(prices.items())))


def test_a_position_sold_by_hand_trips_no_limit_and_its_fee_is_seen():
    box = Box(CALM)
    box.buy("40", stop="90")
    mark(box)
    box.pass_hours()
    for order in box.real.open_orders():
        box.real.cancel(order.exchange_id)
    box.real.submit(OrderSpec(BTC, Side.SELL, OrderType.MARKET, D(40), None))
    box.compare_accounts()
    mark(box)
    held = box.portfolio
    assert (held.positions, held.equity_peak, held.transfers_quote) == ({}, 10_000, 10_000)
    assert held.drawdown == held.day_loss == D("0.008")
    later = box.now + timedelta(minutes=1)
    assert RiskManager(RiskLimits()).state(held, later) is RiskState.TRADING
    assert check_journal(box.journal.events(), "USD").problems == ()
