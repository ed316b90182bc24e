"""What a run came to, read from its journal: curve, trades, costs and the digest.

Backtest, paper replay and live write the same events, so all of this holds for each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np

from trader import performance
from trader.domain.candles import FloatArray, IntArray, Timeframe
from trader.domain.events import (
    EquityMarked,
    Event,
    OrderFilled,
    OrderIntended,
    SignalMade,
    TradeApproved,
    TradeRefused,
    Troubled,
)
from trader.domain.orders import Fill, Purpose
from trader.domain.portfolio import ZERO, Portfolio, Position, Trade


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill with what it was for and why it was wanted.

    Attributes:
        decided_for: close of the candle after which its order was decided; None if not known.
    """

    fill: Fill
    purpose: Purpose
    reason: str
    decided_for: datetime | None = None


@dataclass(frozen=True, slots=True)
class CostBreakdown:
    """Where the money went, in quote: gross = net + fees + slippage."""

    gross: float
    fees: float
    slippage: float
    net: float


@dataclass(frozen=True, slots=True, eq=False)
class AccountRun:
    """One account over a run.

    Attributes:
        times: Unix seconds of the marks, strictly rising.
        equity: worth of the account at each mark, in quote.
        invested: share of it held in positions, in [0, 1].
        trades: closed round trips and closed parts, in the order of their ends.
        held: positions still open at the end.
        decisions: signals made.
        refusals: risk rule → (how often it said no, when first).
        digest: sha256 over decisions, orders and fills.
        troubles: steps in which something failed and the loop went on, oldest first.
        began: Unix seconds of the moment at which it had its cash (`beginning`); None if that is
            not known.
        last_words: the reasons of its last decision.
    """

    name: str
    cash: float
    times: IntArray
    equity: FloatArray
    invested: FloatArray
    trades: tuple[Trade, ...]
    held: tuple[Position, ...]
    executions: tuple[Execution, ...]
    decisions: int
    refusals: Mapping[str, tuple[int, datetime]]
    digest: str
    troubles: tuple[Troubled, ...] = ()
    began: int | None = None
    last_words: str = ""

    def curve(self) -> tuple[IntArray, FloatArray]:
        """Moments in Unix seconds and worths from the very start: the cash, then every mark."""
        first = self.times[:1] if self.began is None else np.array([self.began], dtype=np.int64)
        cash = np.full(len(first), self.cash)
        return np.concatenate([first, self.times]), np.concatenate([cash, self.equity])

    def daily_returns(self) -> FloatArray:
        """Simple returns of its days; see `performance.daily_returns`."""
        return performance.daily_returns(self.times, self.equity, self.cash, self.began)

    def costs(self, slippage_quote: float) -> CostBreakdown:
        """Gross result, fees, slippage and net result.

        Args:
            slippage_quote: what takers paid more, or got less, than the market's price.
        """
        fees = sum(float(e.fill.fee_quote) for e in self.executions)
        net = (float(self.equity[-1]) if len(self.equity) else self.cash) - self.cash
        return CostBreakdown(net + fees + slippage_quote, fees, slippage_quote, net)


def beginning(times: IntArray, start: datetime, timeframe: Timeframe) -> int:
    """Unix seconds of the moment at which an account had its cash and time began to count.

    That is the start of the run or, where the history of its market begins later, the opening of
    the candle at whose close it is first marked.
    """
    began = int(start.timestamp())
    return max(began, int(times[0]) - timeframe.seconds) if len(times) else began


def account_run(
    name: str,
    quote: str,
    cash: Decimal,
    events: Iterable[Event],
    start: datetime | None = None,
    timeframe: Timeframe | None = None,
) -> AccountRun:
    """Read a run from its events.

    Args:
        name: what to call it in tables.
        quote: currency of the account.
        cash: what it began with.
        events: the journal, oldest first.
        start: marks up to this moment are left out: nothing could have changed yet.
        timeframe: of the candles; with the start it tells when the account began.
    """
    portfolio = Portfolio(quote, cash=ZERO)
    marks: dict[int, tuple[float, float]] = {}
    executions: list[Execution] = []
    orders: dict[str, tuple[str, datetime | None]] = {}
    refusals: dict[str, tuple[int, datetime]] = {}
    troubles: list[Troubled] = []
    decisions, last_words = 0, ""
    kept = []
    for event in events:
        kept.append(event)
        portfolio.apply(event)
        match event:
            case EquityMarked(at=at, equity=equity, cash=free) if start is None or at > start:
                marks[int(at.timestamp())] = (float(equity), float(free))
            case OrderIntended(request=request, reason=reason, decided_for=closed_at):
                orders[request.order_id] = reason, closed_at
            case OrderFilled(fill=fill, purpose=purpose):
                told = orders.get(fill.order_id, ("", None))
                executions.append(Execution(fill, purpose, *told))
            case SignalMade(signal=signal):
                decisions, last_words = decisions + 1, "; ".join(signal.reasons)
            case Troubled():
                troubles.append(event)
            case TradeRefused(at=at, refusal=refusal):
                count, first = refusals.get(refusal.rule, (0, at))
                refusals[refusal.rule] = (count + 1, first)
    times = np.array(sorted(marks), dtype=np.int64)
    worth = np.array([marks[int(t)] for t in times], dtype=np.float64).reshape(-1, 2)
    equity_array = worth[:, 0].copy()
    invested = np.clip(1 - worth[:, 1] / np.where(equity_array > 0, equity_array, 1), 0, 1)
    began = None if start is None or timeframe is None else beginning(times, start, timeframe)
    return AccountRun(
        name, float(cash), times, equity_array, invested, tuple(portfolio.trades),
        tuple(portfolio.positions.values()), tuple(executions), decisions, refusals,
        decisions_digest(kept), tuple(troubles), began, last_words,
    )  # fmt: skip


def decisions_digest(events: Iterable[Event]) -> str:
    """sha256 over every decision, order and fill, in hex.

    What an exchange names as it likes (its order and trade ids) is left out, and so is the moment
    at which a fill was noticed: the same trading gives the same digest in a backtest, a replay
    and at an exchange.
    """
    digest = hashlib.sha256()
    for line in map(trading_line, events):
        if line:
            digest.update(line.encode())
            digest.update(b"\n")
    return digest.hexdigest()


def trading_line(event: Event) -> str:
    """A decision, order or fill in one line of text; empty for any other event."""
    match event:
        case SignalMade(signal=s, price=price, snapshot_digest=seen):
            return (
                f"signal {s.pair} {s.closed_at.isoformat()[:19]} {s.action} {s.confidence!r} "
                f"{s.target_weight!r} {s.strategy} {price!r} {seen} {'; '.join(s.reasons)}"
            )
        case TradeApproved(approval=a):
            return (
                f"approved {a.pair} {a.closed_at:%Y-%m-%dT%H:%M:%S} {a.side} {a.order_type} "
                f"{_exact(a.quantity)} {_exact(a.stop)} {_exact(a.take_profit)} "
                f"{_exact(a.limit_price)}"
            )
        case TradeRefused(refusal=r):
            return f"refused {r.pair} {r.closed_at:%Y-%m-%dT%H:%M:%S} {r.rule} {r.reason}"
        case OrderIntended(request=q, purpose=purpose):
            return (
                f"order {q.order_id} {q.pair} {q.side} {q.type} {purpose} {_exact(q.quantity)} "
                f"{_exact(q.price)} {q.post_only}"
            )
        case OrderFilled(fill=f, purpose=purpose):
            return (
                f"fill {f.order_id} {f.pair} {f.side} {purpose} {_exact(f.quantity)} "
                f"{_exact(f.price)} {_exact(f.cost_quote)} {_exact(f.fee_quote)} {f.liquidity} "
                f"{f.filled_at:%Y-%m-%dT%H:%M:%S}"
            )
    return ""


def _exact(value: Decimal | None) -> str:
    """The number itself, whatever zeros it was written with."""
    return "-" if value is None else f"{value.normalize():f}"
