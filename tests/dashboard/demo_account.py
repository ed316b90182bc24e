"""A small account with everything a page can show, made of real events."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from trader.domain import events as ev
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.domain.portfolio import Portfolio
from trader.domain.signals import Action, Approval, Refusal, Signal
from trader.storage.history import HistoryStore
from trader.storage.journal import SqliteJournal
from trader.storage.state_file import StateFile

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
D = Decimal


def closes(level: float, hours: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(0.0004, 0.006, hours)
    return np.round(level * np.exp(np.cumsum(steps)), 1)


class DemoAccount:
    """Writes events as the bot would, for a number of hours."""

    def __init__(self, data_dir: Path, hours: int = 280) -> None:
        self.data_dir = data_dir
        self.journal = SqliteJournal(data_dir / "trader.db", "paper-simulated-7", durable=False)
        self.portfolio = Portfolio("USD")
        self.prices = {BTC: closes(62_000, hours, 1), ETH: closes(3_400, hours, 2)}
        self.hours = hours
        self.trade_number = 0
        self._store_candles()
        self._begin()
        for hour in range(1, hours):
            self.hour(hour)
        self.beat()

    def beat(self, **extra: object) -> None:
        last = START + HOUR * (self.hours - 1)
        StateFile(self.data_dir / "state.json", lambda: datetime.now(UTC)).write(
            {
                "at": last.isoformat(), "book": "paper-simulated-7", "history": "simulated",
                "cycle": self.hours, "next_decision_in_seconds": 9, "limits": [
                    {"rule": "daily_loss", "used": 0.011, "limit": 0.03, "tripped": False},
                    {"rule": "drawdown", "used": 0.06, "limit": 0.15, "tripped": False},
                    {"rule": "open_positions", "used": 1, "limit": 3, "tripped": False},
                ], **extra,
            }
        )  # fmt: skip

    def add(self, *events: ev.Event) -> None:
        for event in events:
            self.journal.append(event)
            self.portfolio.apply(event)

    def buy(self, pair: Pair, at: datetime, quantity: Decimal, price: Decimal) -> None:
        stop = (price * D("0.93")).quantize(D("0.1"))
        order = make_order_id(pair, at, Side.BUY, Purpose.ENTRY)
        self._trade(pair, at, Side.BUY, quantity, price, Purpose.ENTRY, order, stop)
        request = OrderRequest(
            make_order_id(pair, at, Side.SELL, Purpose.STOP), pair, Side.SELL,
            OrderType.STOP_LOSS, quantity, stop,
        )  # fmt: skip
        self.add(
            ev.OrderIntended(at, request, Purpose.STOP, at, "protects the position"),
            ev.OrderAccepted(at, request.order_id, f"OSTOP{self.trade_number}"),
        )

    def sell(self, pair: Pair, at: datetime, bought_at: datetime, price: Decimal) -> None:
        held = self.portfolio.position(pair)
        assert held is not None
        stop = make_order_id(pair, bought_at, Side.SELL, Purpose.STOP)
        self.add(ev.OrderEnded(at, stop, OrderState.CANCELLED, D(0), "exit"))
        order = make_order_id(pair, at, Side.SELL, Purpose.EXIT)
        self._trade(pair, at, Side.SELL, held.quantity, price, Purpose.EXIT, order, None)

    def hour(self, hour: int) -> None:
        at = START + HOUR * hour
        for pair in (BTC, ETH):
            self._decide(pair, at, hour)
        prices = {pair: D(str(self.prices[pair][hour])) for pair in (BTC, ETH)}
        self.add(
            ev.EquityMarked(
                at, self.portfolio.equity(prices), self.portfolio.cash, tuple(prices.items())
            )
        )

    def _begin(self) -> None:
        self.add(
            ev.SessionStarted(
                START, "PAPER", "SIMULATED MARKET: not real prices", (BTC, ETH), "1h",
                "ensemble", "0.1.0",
            ),
            ev.CashAdjusted(START, "USD", D(10_000), "first deposit"),
            ev.Reconciled(START, 0, 0, ()),
            ev.ModelAdopted(START, BTC, "", "no model yet: a first one is being trained"),
            ev.ModelAdopted(
                START + HOUR, BTC, "20240301T0100-3fa9", "AUC 0.55, calibrated; licence refused"
            ),
            ev.HealthChanged(START, "data", "ok", "newest candle is fresh"),
        )  # fmt: skip

    def _decide(self, pair: Pair, at: datetime, hour: int) -> None:
        price = D(str(self.prices[pair][hour]))
        phase = (hour + (0 if pair == BTC else 17)) % 60
        action = {5: Action.BUY, 45: Action.SELL}.get(phase, Action.HOLD)
        up = phase < 45
        reasons = (
            "trend up: EMA above its slower self over 4, 8 and 16 days" if up else "trend down",
            "no forecast beats the costs (0.9 % for a round trip)",
        )
        confidence = 0.55 + 0.12 * math.sin(hour / 9)
        signal = Signal(pair, at, action, confidence, reasons, "ensemble", 0.2, "20240301-3fa9")
        self.add(ev.SignalMade(at, signal, float(price), "0123456789abcdef"))
        held = self.portfolio.position(pair)
        if action is Action.BUY and pair == ETH and hour > 200:
            reason = "the account lost 3.1 % since 00:00 UTC, the limit is 3 %"
            self.add(ev.TradeRefused(at, Refusal(pair, at, "daily_loss", reason)))
        elif action is Action.BUY and held is None:
            quantity = (D(2_000) / price).quantize(D("0.0001"))
            approval = Approval(
                pair, at, Side.BUY, OrderType.MARKET, quantity, price,
                (price * D("0.93")).quantize(D("0.1")), None, None, D("148.20"), D(2_008), None,
            )  # fmt: skip
            self.add(ev.TradeApproved(at, approval))
            self.buy(pair, at, quantity, price)
        elif action is Action.SELL and held is not None:
            self.sell(pair, at, held.opened_at, price)

    def _trade(
        self, pair: Pair, at: datetime, side: Side, quantity: Decimal, price: Decimal,
        purpose: Purpose, order: str, stop: Decimal | None,
    ) -> None:  # fmt: skip
        self.trade_number += 1
        request = OrderRequest(order, pair, side, OrderType.MARKET, quantity)
        cost = (quantity * price).quantize(D("0.00001"))
        fill = Fill(
            f"T{self.trade_number}", f"O{self.trade_number}", order, pair, side, quantity, price,
            cost, (cost * D("0.004")).quantize(D("0.00001")), Liquidity.TAKER, at,
        )  # fmt: skip
        self.add(
            ev.OrderIntended(at, request, purpose, at, "the rules allow it", stop),
            ev.OrderAccepted(at, order, f"O{self.trade_number}"),
            ev.OrderFilled(at, fill, purpose),
            ev.OrderEnded(at, order, OrderState.FILLED, quantity, ""),
        )

    def _store_candles(self) -> None:
        store = HistoryStore(self.data_dir, "simulated")
        for pair, close in self.prices.items():
            opened = int(START.timestamp()) + 3600 * (np.arange(len(close), dtype=np.int64) - 1)
            opens = np.concatenate([close[:1], close[:-1]])
            candles = Candles(
                Timeframe.parse("1h"), opened, opens, np.maximum(opens, close) * 1.002,
                np.minimum(opens, close) * 0.998, close.copy(), np.full(len(close), 12.5),
                np.full(len(close), 40, dtype=np.int64),
            )  # fmt: skip
            store.append(pair, candles, "test")
