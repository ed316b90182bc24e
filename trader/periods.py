"""What an account earned in each day, week or month (UTC), money moved in or out left aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

from trader.domain.account import AccountView
from trader.domain.portfolio import ZERO
from trader.performance import Metrics, measure

Length: TypeAlias = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Period:
    """The result of one stretch of time.

    Attributes:
        begins: its first day.
        start_equity: worth at its beginning, transfers of the period included, quote.
        profit: earned in it after fees, held positions at their price, quote.
        hold_return: what simply holding the pairs would have brought, a fraction.
        trades: closed in it.
        winners: of these, how many earned money.
    """

    begins: date
    start_equity: Decimal
    profit: Decimal
    hold_return: float
    fees: Decimal
    trades: int
    winners: int

    @property
    def profit_fraction(self) -> float:
        """Profit as a fraction of the worth at the beginning."""
        return float(self.profit / self.start_equity) if self.start_equity > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Point:
    at: datetime
    paid_in: Decimal
    earned: Decimal
    hold: float


def periods(view: AccountView, length: Length) -> list[Period]:
    """The periods of an account from its first mark on, oldest first; empty ones are left out."""
    points = list(_points(view))
    if not points:
        return []
    last_of: dict[date, _Point] = {first_day(p.at.date(), length): p for p in points}
    chain = [(None, points[0]), *sorted(last_of.items())]
    return [
        _period(view, begins, length, before, after)
        for (_, before), (begins, after) in pairwise(chain)
        if begins is not None
    ]


def first_day(day: date, length: Length) -> date:
    """The day on which the period that contains a day begins; weeks begin on Monday."""
    if length == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if length == "month" else day


LEAST_DAYS = 30
_YEARLY = ("cagr", "volatility", "sharpe", "sortino", "calmar", "psr", "dsr")


def account_figures(view: AccountView) -> dict[str, Any] | None:
    """`account_metrics` for people: what is reckoned to a year is null in the first 30 days.

    Two days stretched to a year are a number, but say nothing.
    """
    metrics = account_metrics(view)
    if metrics is None:
        return None
    figures = metrics.as_dict()
    if view.marks[-1].at - view.marks[0].at < timedelta(days=LEAST_DAYS):
        figures |= dict.fromkeys(figures.keys() & set(_YEARLY))
    return figures


def account_metrics(view: AccountView) -> Metrics | None:
    """The figures of the whole account, by the same functions as a backtest's.

    Transfers are left out by chaining the returns between them. None before the second mark.
    """
    points = list(_points(view))
    if len(points) < 2:
        return None
    start = points[0].paid_in + points[0].earned
    times = np.array([int(p.at.timestamp()) for p in points], dtype=np.int64)
    equity = float(start) * _chained(points)
    invested = np.array(
        [float(1 - m.cash / m.equity) if m.equity > 0 else 0.0 for m in view.marks]
    )
    rising = np.concatenate([np.diff(times) > 0, [True]])
    return measure(
        times[rising],
        equity[rising],
        float(start),
        invested=invested[rising],
        trades=view.portfolio.trades,
        traded_quote=float(sum((f.cost_quote for f in view.fills), ZERO)),
        fees_quote=float(view.portfolio.fees_quote),
    )


def _chained(points: Sequence[_Point]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    grown = [1.0]
    for before, after in pairwise(points):
        base = before.earned + after.paid_in
        gain = after.earned - before.earned
        grown.append(grown[-1] * (1 + float(gain / base) if base > 0 else 1.0))
    return np.array(grown)


def _points(view: AccountView) -> Iterator[_Point]:
    """Each mark split into what was paid in until then and what was earned."""
    for mark in view.marks:
        yield _Point(mark.at, mark.paid_in, mark.equity - mark.paid_in, mark.hold)


def _period(
    view: AccountView, begins: date, length: Length, before: _Point, after: _Point
) -> Period:
    ended = [t for t in view.portfolio.trades if first_day(t.exit_at.date(), length) == begins]
    fees = sum(
        (f.fee_quote for f in view.fills if first_day(f.filled_at.date(), length) == begins), ZERO
    )
    return Period(
        begins=begins,
        start_equity=before.earned + after.paid_in,
        profit=after.earned - before.earned,
        hold_return=after.hold / before.hold - 1 if before.hold else 0.0,
        fees=fees,
        trades=len(ended),
        winners=sum(t.profit_quote > 0 for t in ended),
    )
