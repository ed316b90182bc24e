"""One event of every kind, for tests that walk the vocabulary."""

from datetime import UTC, datetime
from decimal import Decimal

from trader.domain import events as ev
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

T0 = datetime(2024, 3, 1, 12, tzinfo=UTC)
BTC = Pair("BTC", "USD")
ONE = Decimal(1)
_REQUEST = OrderRequest("a" * 32, BTC, Side.BUY, OrderType.MARKET, ONE)
_FILL = Fill(
    "T1", "O1", "a" * 32, BTC, Side.BUY, ONE, Decimal(100), Decimal(100), Decimal("0.4"),
    Liquidity.TAKER, T0,
)  # fmt: skip
_APPROVAL = Approval(
    BTC, T0, Side.BUY, OrderType.MARKET, ONE, Decimal(100), Decimal(90), None, None,
    Decimal(11), Decimal("100.4"), None, ("trend up",),
)  # fmt: skip

_EVENTS: tuple[ev.Event, ...] = (
    ev.SessionStarted(T0, "PAPER", "simulated", (BTC,), "1h", "trend", "0.1.0"),
    ev.SessionEnded(T0, "asked to stop"),
    ev.CashAdjusted(T0, "USD", Decimal(10_000), "first deposit"),
    ev.SignalMade(T0, Signal(BTC, T0, Action.BUY, 0.6, ("trend up",), "trend"), 100.0, "d"),
    ev.TradeRefused(T0, Refusal(BTC, T0, "daily_loss", "3.1 % lost today, limit 3 %")),
    ev.TradeApproved(T0, _APPROVAL),
    ev.OrderIntended(T0, _REQUEST, Purpose.ENTRY, T0, "trend up", Decimal(90)),
    ev.OrderAccepted(T0, "a" * 32, "O1"),
    ev.OrderRefused(T0, "a" * 32, "insufficient_funds", "not enough USD"),
    ev.OrderUnclear(T0, "a" * 32, "no answer within 10 s"),
    ev.CancelIntended(T0, "a" * 32, "exit"),
    ev.CancelRefused(T0, "a" * 32, "too many requests"),
    ev.AmendIntended(T0, "a" * 32, ONE, Decimal(95), "its price no longer fits"),
    ev.OrderAmended(T0, "a" * 32, ONE, Decimal(90), "the exchange has not changed it"),
    ev.OrderFilled(T0, _FILL, Purpose.ENTRY),
    ev.OrderEnded(T0, "a" * 32, OrderState.FILLED, ONE, ""),
    ev.EquityMarked(T0, Decimal(10_000), Decimal(9_900), ((BTC, Decimal(100)),)),
    ev.Reconciled(T0, 1, 1, ()),
    ev.EmergencyStopped(T0, "asked by the user", True, "command line"),
    ev.Resumed(T0, "command line"),
    ev.StopMoved(T0, BTC, Decimal(95), "follows the highest close"),
    ev.DustLeft(T0, BTC, Decimal("0.00005"), "the exchange takes no order so small"),
    ev.RiskStateChanged(T0, "trading", "the pause is over", Decimal(9_500)),
    ev.ModelAdopted(T0, BTC, "20240301-abc", "better than the one before"),
    ev.ForecastMade(
        T0,
        BTC,
        T0,
        "20240301-abc",
        (ev.StatedChance(24.0, 0.56, 0.52, 0.004),),
        "0459-",
        0.01,
        ev.VoteExplained(24.0, 0.52, (ev.FeatureMove("rsi_14", 0.03),), 0.01, 0.56, 0.55),
    ),
    ev.ForecastScored(T0, BTC, (ev.ForecastOutcome(T0, "20240301-abc", 24.0, 0.56, 0.52, 0.012),)),
    ev.ModelDoubted(T0, "20240301-abc", 24.0, "chances are 10 points too high"),
    ev.ModelTrusted(T0, "20240301-abc", "the newest 100 forecasts are right again"),
    ev.ModelCompared(T0, BTC, "a", "b", "promoted", 60, 0.004, 22.5, "better on 60 days"),
    ev.HealthChanged(T0, "exchange", "fail", "no answer for 60 s"),
    ev.Troubled(T0, "unreachable", "no answer"),
)
SAMPLES: dict[str, ev.Event] = {type(event).__name__: event for event in _EVENTS}
