"""Claims about reading a run from its journal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from trader.domain.candles import Timeframe
from trader.domain.events import (
    CashAdjusted,
    EquityMarked,
    Event,
    OrderAccepted,
    OrderFilled,
    OrderIntended,
    SignalMade,
)
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, OrderRequest, OrderType, Purpose, Side
from trader.domain.signals import Action, Signal
from trader.simulation.runs import account_run, beginning, decisions_digest

PAIR = Pair("BTC", "USD")
T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def fill(trade_id: str, side: Side, price: int, at: datetime) -> Fill:
    cost = Decimal(price)
    return Fill(
        trade_id, "EX", f"id-{side}", PAIR, side, Decimal(1), cost, cost, cost / 100,
        Liquidity.TAKER, at,
    )  # fmt: skip


def intended(side: Side, purpose: Purpose, at: datetime) -> OrderIntended:
    request = OrderRequest(f"id-{side}", PAIR, side, OrderType.MARKET, Decimal(1))
    return OrderIntended(at, request, purpose, at, "because")


def events() -> list[Event]:
    signal = Signal(PAIR, T0, Action.BUY, 0.5, ("up",), "trend", 1.0)
    return [
        CashAdjusted(T0, "USD", Decimal(1000), "deposit"),
        SignalMade(T0, signal, 100.0, "abc"),
        intended(Side.BUY, Purpose.ENTRY, T0),
        OrderAccepted(T0, "id-buy", "EX-1"),
        OrderFilled(T0, fill("T1", Side.BUY, 100, T0), Purpose.ENTRY),
        EquityMarked(T0 + HOUR, Decimal("1009"), Decimal("899"), ((PAIR, Decimal(110)),)),
        intended(Side.SELL, Purpose.EXIT, T0 + HOUR),
        OrderFilled(T0 + HOUR, fill("T2", Side.SELL, 120, T0 + HOUR), Purpose.EXIT),
        EquityMarked(T0 + 2 * HOUR, Decimal("1017.8"), Decimal("1017.8"), ((PAIR, Decimal(120)),)),
    ]


def test_curve_share_invested_and_trades_come_from_the_events() -> None:
    run = account_run("x", "USD", Decimal(1000), events())
    assert run.equity.tolist() == [1009, 1017.8]
    assert run.invested.tolist() == pytest.approx([110 / 1009, 0])
    assert [(t.entry_price, t.exit_price, t.fees_quote) for t in run.trades] == [
        (Decimal(100), Decimal(120), Decimal("2.2"))
    ]
    assert [e.reason for e in run.executions] == ["because", "because"]


@pytest.mark.parametrize(
    ("start", "began"), [(T0, T0), (T0 + HOUR / 2, T0 + HOUR / 2), (T0 - HOUR, T0)],
    ids=["on the grid", "inside a candle", "before the history"],
)  # fmt: skip
def test_an_account_begins_with_its_run_or_with_the_candle_that_is_first_marked(
    start: datetime, began: datetime
) -> None:
    first_mark = np.array([int((T0 + HOUR).timestamp())])
    assert beginning(first_mark, start, Timeframe(3600)) == int(began.timestamp())


def test_gross_is_net_and_fees_and_slippage() -> None:
    costs = account_run("x", "USD", Decimal(1000), events()).costs(0.25)
    assert costs.fees == pytest.approx(2.2)
    assert costs.slippage == 0.25
    assert costs.gross - costs.fees - costs.slippage == pytest.approx(costs.net)
    assert costs.net == pytest.approx(17.8)


def test_the_digest_ignores_what_an_exchange_names_as_it_likes() -> None:
    mine = events()
    theirs = [
        replace(e, fill=replace(e.fill, trade_id="OTHER", exchange_id="O"), at=e.at + HOUR)
        if isinstance(e, OrderFilled)
        else replace(e, exchange_id="O")
        if isinstance(e, OrderAccepted)
        else e
        for e in mine
    ]
    assert decisions_digest(mine) == decisions_digest(theirs)


@pytest.mark.parametrize("place", [1, 2, 4])
def test_the_digest_changes_with_every_decision_order_and_fill(place: int) -> None:
    kept = [e for i, e in enumerate(events()) if i != place]
    assert decisions_digest(kept) != decisions_digest(events())


def test_a_price_written_with_more_zeros_is_the_same_price() -> None:
    other = [
        replace(e, fill=replace(e.fill, price=Decimal("100.000"))) if i == 4 else e
        for i, e in enumerate(events())
    ]
    assert decisions_digest(other) == decisions_digest(events())
