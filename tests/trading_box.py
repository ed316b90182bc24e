"""A small exchange drawn by hand, an executor on it, and a wire that breaks on demand."""

from collections import deque
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from trader.clocks import ManualClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.events import OrderFilled
from trader.domain.markets import Pair
from trader.domain.orders import OrderType, Purpose, Side
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Approval
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.costs import Costs
from trader.storage.journal import MemoryJournal
from trading_executor import TradingExecutor

START = datetime(2020, 1, 2, tzinfo=UTC)
HOUR = Timeframe(3600)
BTC = Pair("BTC", "USD")
ETH = Pair("ETH", "USD")
CALM = [(100, 101, 99, 100)] * 48


def hours(rows, start=START, volume=1000.0) -> Candles:
    """Hourly candles from (open, high, low, close) rows; None leaves the hour out."""
    kept = [(i, row) for i, row in enumerate(rows) if row is not None]
    times = np.array([int(start.timestamp()) + i * 3600 for i, _ in kept], dtype=np.int64)
    o, h, low, c = (np.array([float(row[k]) for _, row in kept]) for k in range(4))
    return Candles(
        HOUR, times, o, h, low, c, np.full(len(kept), volume), np.ones(len(kept), dtype=np.int64)
    )


class Breaking:
    """The real exchange, with faults on order: `breaks.append((method, error, lost))`.

    With `lost` the request never arrives; otherwise it is carried out and only the answer is lost.
    """

    def __init__(self, exchange):
        self._exchange = exchange
        self.breaks = deque()
        self.calls = []

    def __getattr__(self, name):
        method = getattr(self._exchange, name)
        if not callable(method):
            return method

        def call(*args, **kwargs):
            self.calls.append(name)
            if self.breaks and self.breaks[0][0] == name:
                _, error, lost = self.breaks.popleft()
                if not lost:
                    method(*args, **kwargs)
                raise error
            return method(*args, **kwargs)

        return call


class Box:
    """Clock, exchange, journal and executor in one hand."""

    def __init__(self, rows=CALM, *, cash=10_000, volume=1000.0, more=None, journal=None):
        self.clock = ManualClock(START + timedelta(hours=1))
        feed = ReplayFeed({BTC: hours(rows, volume=volume), **(more or {})})
        self.real = SandboxExchange(
            feed,
            self.clock,
            balances={"USD": Decimal(cash)},
            costs=Costs(maker=Decimal(0), taker=Decimal("0.01"), slippage=Decimal(0)),
        )
        self.exchange = Breaking(self.real)
        self.journal = MemoryJournal() if journal is None else journal
        self.executor = self.new_executor()
        self.executor.reconcile(self.now)

    def new_executor(self) -> TradingExecutor:
        """As after a restart, nothing replayed yet."""
        return TradingExecutor(self.exchange, self.journal, Portfolio("USD"))

    def restart(self) -> TradingExecutor:
        """A new program on the same journal and exchange, recovered."""
        self.executor = self.new_executor()
        self.executor.restore()
        self.executor.reconcile(self.now)
        return self.executor

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def portfolio(self) -> Portfolio:
        return self.executor.portfolio

    @property
    def position(self):
        return self.portfolio.position(BTC)

    def pass_hours(self, count=1.0) -> None:
        """Let time pass, then settle."""
        self.clock.sleep_until(self.now + timedelta(hours=count))
        self.executor.settle(self.now)

    def compare_accounts(self) -> None:
        """Look twice, so far apart that a difference is believed."""
        self.executor.audit(self.now)
        self.clock.sleep_until(self.now + timedelta(seconds=90))
        self.executor.audit(self.now)

    def buy(self, quantity="2", stop="90", target=None, limit=None, pair=BTC, purpose=None):
        return self._do(Side.BUY, quantity, stop, target, limit, pair, purpose)

    def sell(self, quantity="2", limit=None, pair=BTC, purpose=None):
        return self._do(Side.SELL, quantity, None, None, limit, pair, purpose)

    def _do(self, side, quantity, stop, target, limit, pair, purpose):
        def dec(value):
            return None if value is None else Decimal(value)

        approval = Approval(
            pair, self.now, side, OrderType.MARKET if limit is None else OrderType.LIMIT,
            Decimal(quantity), Decimal(100), dec(stop), dec(target), dec(limit), Decimal(0),
            Decimal(0), None, ("test",),
        )  # fmt: skip
        return self.executor.carry_out(approval, self.now, purpose)

    def stops(self):
        """(quantity, price) of the stop orders open at the exchange."""
        return [
            (order.remaining, order.price)
            for order in self.real.open_orders()
            if order.type is OrderType.STOP_LOSS
        ]

    def events(self, kind):
        return [event for _, event in self.journal.events() if isinstance(event, kind)]

    def events_of_fills(self):
        return self.events(OrderFilled)

    def sent(self, purpose=Purpose.ENTRY):
        """Our orders of a purpose."""
        return [o for o in self.executor.orders.all_orders() if o.purpose is purpose]

    def assert_agrees(self) -> None:
        """Journal and exchange tell the same: fills and coins exactly, cash to the exchange's
        rounding of the quote currency, half a unit of 0.0001 a booking.
        """
        balances = {a: b.total for a, b in self.real.balances().items() if b.total}
        ours = {a: amount for a, amount in self.portfolio.holdings().items() if amount}
        rounding = Decimal("0.00005") * len(self.events(OrderFilled))
        assert abs(ours.pop("USD", 0) - balances.pop("USD", 0)) <= rounding
        assert ours == balances
        at_exchange = {f.trade_id: f for f in self.real.fills(START) if f.order_id}
        in_journal = {e.fill.trade_id: e.fill for e in self.events(OrderFilled)}
        assert in_journal == at_exchange
        assert len(in_journal) == len(self.events(OrderFilled))
