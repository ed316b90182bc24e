"""A journal told by hand: a deposit, a refused signal, a purchase with its stop, a hold."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trader.domain.events import (
    CashAdjusted,
    EquityMarked,
    ModelAdopted,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    SessionEnded,
    SessionStarted,
    SignalMade,
    TradeApproved,
    TradeRefused,
)
from trader.domain.markets import Pair
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderState,
    OrderType,
    Purpose,
    Side,
)
from trader.domain.signals import Action, Approval, Refusal, Signal
from trader.storage.journal import SqliteJournal

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
T0 = datetime(2024, 3, 1, tzinfo=UTC)


def at(hours):
    return T0 + timedelta(hours=hours)


def signal(pair, hours, action, reason):
    return Signal(pair, at(hours), action, 0.63, (reason, "second reason"), "ensemble", 0.2, "m1")


def fill(trade_id, side, quantity, price, fee, hours, order_id="b" * 32):
    quantity, price = Decimal(quantity), Decimal(price)
    return Fill(
        trade_id, "OBUY", order_id, BTC, side, quantity, price, quantity * price, Decimal(fee),
        Liquidity.TAKER, at(hours),
    )  # fmt: skip


STARTED = SessionStarted(T0, "PAPER", "simulated", (BTC, ETH), "1h", "ensemble", "1.0")
BUY = OrderRequest("b" * 32, BTC, Side.BUY, OrderType.MARKET, Decimal("0.02"))
STOP = OrderRequest(
    "c" * 32, BTC, Side.SELL, OrderType.STOP_LOSS, Decimal("0.02"), Decimal("58000.0")
)
PLAN = Approval(
    pair=BTC,
    closed_at=at(2),
    side=Side.BUY,
    order_type=OrderType.MARKET,
    quantity=Decimal("0.02"),
    entry=Decimal("62000.0"),
    stop=Decimal("58000.0"),
    take_profit=None,
    limit_price=None,
    risk_quote=Decimal("82.5"),
    cost_quote=Decimal("1245.0"),
    break_even_probability=None,
    reasons=("risk-per-trade: 1.00% of equity 10,000.00 at risk",),
)

EVENTS = [
    STARTED,
    CashAdjusted(T0, "USD", Decimal("10000"), "first deposit"),
    ModelAdopted(T0, BTC, "m1", "trained"),
    EquityMarked(at(1), Decimal("10000"), Decimal("10000"), ((BTC, Decimal("61000.0")),)),
    SignalMade(at(1), signal(BTC, 1, Action.BUY, "trend is up"), 61000.0, "abc"),
    TradeRefused(at(1), Refusal(BTC, at(1), "daily-loss", "3.10 % lost since 00:00 UTC")),
    SignalMade(at(2), signal(BTC, 2, Action.BUY, "trend is still up"), 62000.0, "def"),
    TradeApproved(at(2), PLAN),
    OrderIntended(at(2), BUY, Purpose.ENTRY, at(2), "trend is still up", Decimal("58000.0")),
    SignalMade(at(2), signal(ETH, 2, Action.HOLD, "nothing moves"), 3000.0, "eth"),
    OrderAccepted(at(2), BUY.order_id, "OBUY"),
    OrderFilled(at(2), fill("T1", Side.BUY, "0.01", "62010.0", "4.9608", 2), Purpose.ENTRY),
    OrderFilled(at(2), fill("T2", Side.BUY, "0.01", "62020.0", "4.9616", 2), Purpose.ENTRY),
    OrderEnded(at(2), BUY.order_id, OrderState.FILLED, Decimal("0.02"), ""),
    OrderIntended(at(2), STOP, Purpose.STOP, at(2), "protect the position"),
    OrderAccepted(at(2), STOP.order_id, "OSTOP"),
    EquityMarked(at(3), Decimal("10069.7776"), Decimal("8749.7776"), ((BTC, Decimal("66000.0")),)),
    SignalMade(at(3), signal(BTC, 3, Action.HOLD, "nothing changed"), 66000.0, "ghi"),
]


def write(folder, events=EVENTS, book="paper-simulated-7"):
    with SqliteJournal(folder / "trader.db", book, durable=False) as journal:
        journal.append_all(events)


__all__ = ["BTC", "EVENTS", "STARTED", "T0", "SessionEnded", "at", "write"]
