"""The compiled engine: a rule strategy over a long history in milliseconds.

It trades as the step-by-step engine does, to the last unit, and is held to it by digest. What it
does not cover is named by `NotCovered`, before or after the run, and then the step-by-step engine
is the one to ask; it never gives a different answer quietly.

Covered: one pair; strategies that are a weight for each candle (`sma-cross`, `ema-cross`,
`trend`, `vol-target-hold`, `buy-and-hold`); market orders with stop and target; purchases that
wait as makers, filled in parts; finer candles inside each one; all limits and caps of one pair;
fees of the date; slippage; holes in the history.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, IntArray
from trader.domain.events import (
    Event,
    OrderAmended,
    OrderFilled,
    OrderIntended,
    SignalMade,
    TradeApproved,
    TradeRefused,
)
from trader.domain.markets import MarketRules, unit_of
from trader.domain.orders import (
    Fill,
    Liquidity,
    OrderRequest,
    OrderType,
    Purpose,
    Side,
    make_order_id,
)
from trader.domain.portfolio import Portfolio
from trader.domain.signals import GIVEN_UP, HELD_AT_LIMIT, Action
from trader.learning.trend import volatility_of
from trader.risk.limits import RiskLimits
from trader.risk.stops import daily_atr_series
from trader.simulation.backtest import Span
from trader.simulation.costs import FEE_TABLES, Costs
from trader.simulation.path import from_us, to_us
from trader.simulation.runs import AccountRun, Execution, beginning
from trader.strategies.registry import DUST, StrategySettings
from trader.strategies.weights import WEIGHTS

_DIGEST_DECIMALS = 10
_MOST_DECIMALS = 8
_LARGEST = 4_000_000_000_000_000_000
_RULES = (
    "", "drawdown", "daily-loss", "losing-streak", "no-stop", HELD_AT_LIMIT, "minimum-size",
    "pending-order", GIVEN_UP,
)  # fmt: skip
_ENDS = {
    1: "a result lies too near to a rounding step to be certain",
    2: "something rare happened that only the step-by-step engine follows",
    4: "the amounts are too large for whole numbers of 64 bits",
}
# What the compiled rules know of; a setting added later counts as unknown until it is built in.
_KNOWN_LIMITS = frozenset(
    [
        "risk_per_trade",
        "max_position_fraction",
        "max_exposure",
        "max_correlated_exposure",
        "stop_atr_multiple",
        "risk_reward",
        "max_daily_loss",
        "max_drawdown",
        "drawdown_pause_days",
        "recovery_share",
        "max_consecutive_losses",
        "cool_down",
        "max_open_positions",
        "confidence_threshold",
        "edge_margin",
        "max_spread",
        "max_data_age",
        "smallest_addition",
        "volatility_target",
        "kelly_share",
        "depth_share",
        "trailing_atr_multiple",
        "max_holding_days",
        "entry_patience_minutes",
        "emergency_stop",
    ]
)
# Those among them that the compiled rules follow only as long as they are off.
_ONLY_OFF = {
    "trailing_atr_multiple": "stops that follow the price",
    "max_holding_days": "a longest time to hold",
}
_KNOWN_COSTS = frozenset(
    [
        "maker",
        "taker",
        "slippage",
        "volume_share",
        "tiers_by_volume",
        "walks_book",
        "queue_share",
        "impact",
        "latency_ms",
    ]
)
_MADE = 2
"""How a purchase filled, in the log: 1 as taker, 2 as maker."""
_DECISION = {Action.HOLD: 1, Action.BUY: 2, Action.SELL: 3}
_ORDER = {Purpose.ENTRY: 2, Purpose.EXIT: 3, Purpose.STOP: 4, Purpose.TARGET: 5}


class NotCovered(Exception):
    """Why the compiled engine does not do this run."""


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """A history as whole numbers, shared by all runs on it.

    Attributes:
        whole: all candles; `candles` are those that a run can meet.
        decimals: of a whole unit of price.
        prices: open, high, low and close in these units.
        atr: daily average true range after each candle, quote.
        exact_atr: the same as exact fractions, numerators and denominators.
        volatility: a year, after each candle; NaN while unknown.
        path: the candles that prices follow inside these; `inside` are their prices.
    """

    whole: Candles
    candles: Candles
    rules: MarketRules
    decimals: int
    prices: tuple[IntArray, IntArray, IntArray, IntArray]
    atr: FloatArray
    exact_atr: tuple[IntArray, IntArray]
    volatility: FloatArray
    path: Candles
    inside: tuple[IntArray, IntArray, IntArray, IntArray]
    kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, whole: Candles, rules: MarketRules, start: datetime, path: Candles | None = None
    ) -> Market:
        """Prepare a history.

        Args:
            whole: all candles, those before the start for warming up.
            rules: of the market.
            start: nothing is decided earlier.
            path: finer candles that prices follow inside; None for the candles themselves.

        Raises:
            NotCovered: if its prices are no decimals of a few digits.
        """
        candles = whole.between(start - whole.timeframe.delta, None)
        before = len(whole) - len(candles)
        atr, volatility = daily_atr_series(whole)[before:], volatility_of(whole)[before:]
        path = candles if path is None else path.between(start - whole.timeframe.delta, None)
        for decimals in range(rules.price_decimals, _MOST_DECIMALS + 1):
            prices = _in_units(candles, decimals)
            inside = prices if path is candles else _in_units(path, decimals)
            if prices is None or inside is None:
                continue
            return cls(
                whole, candles, rules, decimals, prices, atr, _fractions(atr), volatility, path,
                inside,
            )  # fmt: skip
        raise NotCovered(f"prices have more than {_MOST_DECIMALS} decimals")

    def newest(self, what: str, key: Any, make: Callable[[], Any]) -> Any:
        """Something made of this history; the newest of its kind is kept for the next run."""
        found = self.kept.get(what)
        if found is None or found[0] != key:
            found = self.kept[what] = key, make()  # one of a kind: flat in the number of runs
        return found[1]


@dataclass(frozen=True, slots=True)
class Task:
    """One account to be traded.

    Attributes:
        limits: what the owner allows; None for a yardstick that may put its whole share in.
    """

    strategy: str
    settings: StrategySettings
    limits: RiskLimits | None
    costs: Costs
    span: Span
    cash: Decimal


@dataclass(frozen=True, slots=True)
class _Closed:
    """What the figures want to know of a closed trade."""

    profit_quote: float


@dataclass(frozen=True, slots=True, eq=False)
class FastRun:
    """What a run came to.

    Attributes:
        times: Unix seconds of the marks; with them equity in quote and the share invested.
        log: approvals, orders and fills in their order (`compiled.LOG_WIDTH`).
        actions: what was decided at each moment; `refusals` which rule said no.
        profits: of each sale, quote, after fees.
    """

    market: Market
    task: Task
    moments: IntArray
    times: IntArray
    equity: FloatArray
    invested: FloatArray
    log: IntArray
    actions: npt.NDArray[np.int8]
    refusals: npt.NDArray[np.int8]
    profits: FloatArray
    traded_quote: float
    fees_quote: float

    @property
    def trades(self) -> list[_Closed]:
        """Every sale as a closed trade."""
        return [_Closed(profit) for profit in self.profits.tolist()]

    @property
    def began(self) -> int:
        """When the account had its cash, Unix seconds; see `runs.beginning`."""
        return beginning(self.times, self.task.span.start, self.market.candles.timeframe)

    @property
    def digest(self) -> str:
        """sha256 over decisions, orders and fills in numbers; see `digest_of_events`."""
        rules = self.market.rules
        more = np.array(
            [1, 1, 10 ** (_DIGEST_DECIMALS - _lot_decimals(rules)),
             10 ** (_DIGEST_DECIMALS - self.market.decimals)],
            dtype=np.int64,
        )  # fmt: skip
        rows = self.log[:, 1:].copy()
        rows[:, 2] *= more[2]
        rows[:, 3] *= more[3]
        fills = rows[:, 0] == 6
        rows[:, 4] *= np.where(fills, 10 ** (_DIGEST_DECIMALS - rules.cost_decimals), more[3])
        rows[:, 5] *= 10 ** (_DIGEST_DECIMALS - rules.cost_decimals)
        decided = self.actions > 0
        return _digest(self.actions[decided], self.refusals[decided], rows)

    def account_run(self, name: str) -> AccountRun:
        """The run as the step-by-step engine would tell it, in exact decimals."""
        portfolio = Portfolio(self.market.rules.pair.quote, cash=self.task.cash)
        executions = []
        for event in self._order_events():
            portfolio.apply(event)
            if isinstance(event, OrderFilled):
                executions.append(Execution(event.fill, event.purpose, name))
        return AccountRun(
            name, float(self.task.cash), self.times, self.equity, self.invested,
            tuple(portfolio.trades), tuple(portfolio.positions.values()), tuple(executions),
            int((self.actions > 0).sum()), self._refused(), self.digest, began=self.began,
        )  # fmt: skip

    def _refused(self) -> dict[str, tuple[int, datetime]]:
        found = {}
        for code, rule in enumerate(_RULES[1:], 1):
            places = np.flatnonzero(self.refusals == code)
            if len(places):
                first = from_us(int(self.moments[places[0]]) * 1_000_000)
                found[rule] = (len(places), first)
        return found

    def _order_events(self) -> Iterable[OrderIntended | OrderFilled]:
        rules = self.market.rules
        lot, price_unit = unit_of(_lot_decimals(rules)), unit_of(self.market.decimals)
        cost_unit, pair = unit_of(rules.cost_decimals), rules.pair
        orders = {v: k for k, v in _ORDER.items()}
        plan: tuple[Decimal | None, Decimal | None] = (None, None)
        live: dict[Purpose, OrderRequest] = {}
        for number, (how, kind, at, quantity, price, cost, fee) in enumerate(self.log.tolist()):
            moment = from_us(at)
            if kind == 0:
                plan = (price * price_unit or None, cost * price_unit or None)
            elif kind in orders:
                purpose = orders[kind]
                request = OrderRequest(
                    make_order_id(pair, moment, _side(purpose), purpose, number), pair,
                    _side(purpose), _type(purpose, price), quantity * lot,
                    price * price_unit or None,
                )  # fmt: skip
                live[purpose] = request
                stop, target = plan if purpose is Purpose.ENTRY else (None, None)
                yield OrderIntended(moment, request, purpose, moment, "", stop, target)
            elif kind == 6:
                purpose = _filled(how, live)
                request = live[purpose] if how else live.pop(purpose)
                fill = Fill(
                    f"T{number}", f"O{number}", request.order_id, pair, request.side,
                    quantity * lot, price * price_unit, cost * cost_unit, fee * cost_unit,
                    Liquidity.MAKER if how == _MADE else Liquidity.TAKER, moment,
                )  # fmt: skip
                yield OrderFilled(moment, fill, purpose)


def _side(purpose: Purpose) -> Side:
    return Side.BUY if purpose is Purpose.ENTRY else Side.SELL


def _type(purpose: Purpose, price: int) -> OrderType:
    if purpose is Purpose.STOP:
        return OrderType.STOP_LOSS
    return OrderType.LIMIT if price else OrderType.MARKET


def _filled(how: int, live: Mapping[Purpose, OrderRequest]) -> Purpose:
    """Which order a fill was of: of sales one that sells at once, else the stop."""
    if how:
        return Purpose.ENTRY
    at_once = (p for p in (Purpose.EXIT, Purpose.TARGET) if p in live)
    return next(at_once, Purpose.STOP)


def why_not(strategy: str, pairs: int, limits: RiskLimits | None, costs: Costs) -> str:
    """Why the compiled engine does not cover such runs; empty if it does."""
    if pairs != 1:
        return "several pairs share one account"
    if strategy not in WEIGHTS:
        return f"the strategy '{strategy}' is no plain weight for each candle"
    if costs.tiers_by_volume or costs.walks_book or costs.impact or costs.latency_ms:
        return "fees by volume, takers that walk the book, impact or latency"
    unknown = _unknown(costs, _KNOWN_COSTS)
    if not unknown and limits is not None:
        return _limits_not_covered(limits, costs)
    return f"the setting {unknown}" if unknown else ""


def _limits_not_covered(limits: RiskLimits, costs: Costs) -> str:
    unknown = _unknown(limits, _KNOWN_LIMITS)
    if unknown:
        return f"the setting {unknown}"
    if limits.max_open_positions < 1 or limits.max_consecutive_losses < 1:
        return "limits that forbid every purchase"
    if limits.max_spread <= 4 * costs.slippage or limits.max_data_age < 1:
        return "limits on spread or age of the data that may forbid purchases"
    if limits.emergency_stop:
        return "an emergency stop"
    if costs.queue_share and limits.entry_patience_minutes:
        return "purchases that wait behind others in the queue"
    return next((words for name, words in _ONLY_OFF.items() if getattr(limits, name)), "")


def _unknown(settings: Any, known: frozenset[str]) -> str:
    """A field that the compiled rules have never heard of; whatever its value, it may act."""
    return next((f.name for f in dataclasses.fields(settings) if f.name not in known), "")


def trade(market: Market, task: Task, cache: Path | None = None) -> FastRun:
    """Let one account trade through the span.

    Args:
        market: the history, prepared once for many runs.
        task: the account.
        cache: where machine code is kept between programs; None for a folder of this program
            alone.

    Raises:
        NotCovered: if the step-by-step engine must be asked.
    """
    reason = why_not(task.strategy, 1, task.limits, task.costs)
    if reason:
        raise NotCovered(reason)
    code = compiled(cache)
    moments: IntArray = market.newest(
        "moments", task.span, lambda: task.span.moments(market.candles.timeframe)
    )
    if not len(moments):
        raise NotCovered("the span has no moment to decide at")
    inside = _follows_path(market, task)
    times = moments if inside else market.candles.opened_at
    rates, fee_d = market.newest(
        "rates", (task.costs, inside and task.span),
        lambda: _rates(market.rules.pair.base, times, task.costs),
    )  # fmt: skip
    terms = _terms(code, market, task, moments, fee_d)
    mode, weight = _weights(market, task.strategy, task.settings, code)
    terms["mode"] = mode
    _demand_room(market, terms, inside)
    if int(task.cash * int(terms["cash_scale"])) > _LARGEST // int(terms["cash_mul"]):
        raise NotCovered(_ENDS[code.TOO_LARGE])
    capacity = max(4096, len(moments) // 8)
    while True:
        found = _run(code, market, terms, weight, rates, inside, task, moments, capacity)
        if found is not None:
            return FastRun(market, task, moments, *found)
        capacity *= 8


def _run(
    code: ModuleType, market: Market, terms: Any, weight: FloatArray, rates: IntArray,
    inside: bool, task: Task, moments: IntArray, capacity: int,
) -> tuple[Any, ...] | None:  # fmt: skip
    """One pass; None if the log was too short."""
    count, cash_scale = int(terms["moments"]), int(terms["cash_scale"])
    account = np.zeros(1, code.ACCOUNT)[0]
    account["cash"] = account["exch"] = int(task.cash * cash_scale)
    for name in ("peak", "day_start", "last"):
        account[name] = account["cash"] * int(terms["cash_mul"])
    account["day"] = -1
    log, profits = np.zeros((capacity, code.LOG_WIDTH), np.int64), np.zeros(capacity)
    equity, invested = np.full(count, np.nan), np.zeros(count)
    action, refusal = np.zeros(count, np.int8), np.zeros(count, np.int8)
    known = weight, market.atr, *market.exact_atr, market.volatility
    written = account, log, profits, equity, invested, action, refusal
    if inside:
        path = market.newest("path", task.costs.volume_share, lambda: _path(market, task.costs))
        follow = importlib.import_module("trader.simulation.compiled_path")
        follow.run(
            terms, market.candles.opened_at, market.prices[3], *known, path, rates, *written
        )  # fmt: skip
    else:
        taker = np.ascontiguousarray(rates[:, 1])
        code.run(terms, market.candles.opened_at, *market.prices, *known, taker, *written)
    status = int(account["status"])
    if status == code.LOG_FULL:
        return None
    if status != code.DONE:
        raise NotCovered(_ENDS[status])
    start, times = task.span.start.timestamp(), moments
    if moments[0] <= start or math.isnan(equity.sum()):
        marked = ~np.isnan(equity) & (moments > start)
        times, equity, invested = moments[marked], equity[marked], invested[marked]
    return (
        times, equity, invested, log[: account["rows"]].copy(), action, refusal,
        profits[: account["trades"]].copy(), float(account["traded"]) / cash_scale,
        float(account["fees"]) / cash_scale,
    )  # fmt: skip


def _terms(code: ModuleType, market: Market, task: Task, moments: IntArray, fee_d: int) -> Any:
    rules, settings, costs = market.rules, task.settings, task.costs
    limits = task.limits or RiskLimits()
    places = market.decimals + _lot_decimals(rules)
    cash = rules.cost_decimals
    if places < cash:
        raise NotCovered("costs have more decimals than price and quantity together")
    mult, reward = _ratio(limits.stop_atr_multiple), _ratio(limits.risk_reward)
    slip = _ratio(costs.slippage)
    return _record(
        code,
        first=int(moments[0]),
        step=market.candles.timeframe.seconds,
        moments=len(moments),
        tick=int(rules.tick * 10**market.decimals),
        scale=10**market.decimals,
        cost_div=10 ** (places - cash),
        cash_mul=10 ** (places - cash),
        book_div=10 ** max(0, cash - rules.quote_decimals),
        lot_scale=10 ** _lot_decimals(rules),
        order_min=int(rules.order_minimum * 10 ** _lot_decimals(rules)),
        cost_min=int(rules.cost_minimum * 10**places),
        cash_scale=10**cash,
        slip_n=slip[0],
        slip_d=slip[1],
        fee_d=fee_d,
        mult_n=mult[0],
        mult_d=mult[1],
        reward_n=reward[0],
        reward_d=reward[1],
        cool_us=int(limits.cool_down.total_seconds() * 1_000_000),
        spare=20,
        mode=0,
        plain=task.limits is None,
        share=float(settings.share),
        band=settings.rebalance_band * settings.share,
        dust=DUST * settings.share,
        risk_fraction=float(limits.risk_per_trade),
        position_fraction=float(limits.max_position_fraction),
        max_exposure=float(limits.max_exposure),
        daily_limit=float(limits.max_daily_loss),
        drawdown_limit=float(limits.max_drawdown),
        streak_limit=int(limits.max_consecutive_losses),
        smallest_addition=float(limits.smallest_addition),
        slippage=float(costs.slippage),
        fee_part=1.0 / fee_d,
        multiple=float(limits.stop_atr_multiple),
        volatility_target=float(limits.volatility_target),
        recovery_share=float(limits.recovery_share),
        pause_s=int(limits.drawdown_pause_days) * 86400,
        patience_us=int(limits.entry_patience_minutes) * 60_000_000,
        fine_step=market.path.timeframe.seconds * 1_000_000,
    )


def _record(code: ModuleType, **values: float) -> Any:
    record = np.zeros(1, code.TERMS)[0]
    for name, value in values.items():
        record[name] = value
    return record


def _follows_path(market: Market, task: Task) -> bool:
    """Whether more than a candle's own four prices is to be followed inside it.

    A yardstick without stops takes its purchases at once: only a candle's first price matters.
    """
    if task.limits is None:
        return False
    return bool(task.limits.entry_patience_minutes) or market.path is not market.candles


def _path(market: Market, costs: Costs) -> IntArray:
    """The corners of the path, a row a candle, as `compiled_path.run` wants them."""
    scale = 10 ** _lot_decimals(market.rules)
    volume = market.path.volume
    shares = volume * float(costs.volume_share) * scale
    lots = np.floor(shares)
    # Only where a float may stand on the wrong side of a whole number is it reckoned exactly.
    for i in np.flatnonzero(np.abs(shares - np.rint(shares)) <= 1e-9 * np.maximum(shares, 1)):
        lots[i] = int(Decimal(repr(float(volume[i]))) * costs.volume_share * scale)
    opened, (o, h, low, c) = market.path.opened_at * 1_000_000, market.inside
    return np.column_stack([opened, o, low, h, c, np.minimum(lots, _LARGEST).astype(np.int64)])


def _demand_room(market: Market, terms: Any, inside: bool) -> None:
    """Refuse what could overflow 64 bits on the way."""
    most = int(market.prices[1].max())
    if inside:
        high, low, step_us = *market.inside[1:3], int(terms["fine_step"])
    else:
        high, low, step_us = *market.prices[1:3], int(terms["step"]) * 1_000_000
    swing, third = int((high - low).max()), step_us // 3
    products = [most * 2 * int(terms["slip_d"]), most * 1000]
    if not terms["plain"]:  # stops and targets, and the moment they are touched
        products += [
            swing * third,
            third * int(terms["slip_d"]),
            most * max(int(terms["reward_n"]), int(terms["reward_d"])) * 4,
            most * int(terms["mult_d"]) * 1000,
        ]
    if inside:  # prices between two corners, and how far a purchase follows
        products += [
            4 * int(terms["tick"]) * third,
            2 * third * int(terms["slip_d"]),
            2 * most * int(terms["fee_d"]) * int(terms["slip_d"]),
        ]
    if max(products) > 2 * _LARGEST or 86400 % int(terms["step"]):
        raise NotCovered("prices or candles too large for whole numbers of 64 bits")


def _weights(
    market: Market, strategy: str, settings: StrategySettings, code: ModuleType
) -> tuple[int, FloatArray]:
    rule, key = WEIGHTS[strategy], (strategy, settings)

    def wanted() -> FloatArray:
        weights = rule.weights(market.whole, settings, code.means)
        return weights[len(market.whole) - len(market.candles) :]

    return int(rule.once), market.newest("weights", key, wanted)


def _rates(base: str, times: IntArray, costs: Costs) -> tuple[IntArray, int]:
    """The maker's and the taker's fee at each of these seconds, in parts of the second number."""
    days = [table.since for table in FEE_TABLES]
    rates = [(r.maker, r.taker) for r in (costs.rates(day, base) for day in days)]
    places = max(4, *(-int(x.normalize().as_tuple().exponent) for both in rates for x in both))
    since = np.array([datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() for day in days])
    found = np.searchsorted(since, times, side="right") - 1
    parts = np.array([[int(x * 10**places) for x in both] for both in rates], dtype=np.int64)
    return parts[np.maximum(found, 0)], 10**places


def _in_units(
    candles: Candles, decimals: int
) -> tuple[IntArray, IntArray, IntArray, IntArray] | None:
    """Open, high, low and close as whole numbers of so many decimals; None if one has more."""
    columns = (candles.open, candles.high, candles.low, candles.close)
    found = [_whole(column, decimals) for column in columns]
    if any(column is None for column in found):
        return None
    o, h, low, c = (column for column in found if column is not None)
    return o, h, low, c


def _whole(prices: FloatArray, decimals: int) -> IntArray | None:
    """Prices as whole numbers of so many decimals; None if they have more."""
    scaled = np.rint(prices * 10.0**decimals)
    if not np.array_equal(scaled / 10.0**decimals, prices):
        return None
    return scaled.astype(np.int64)


def _fractions(values: FloatArray) -> tuple[IntArray, IntArray]:
    """The shortest decimals of floats as fractions; 0 / 0 for NaN and what has too many digits.

    Neighbours are mostly equal, as of a daily figure on hourly candles: each run is told once.
    """
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = np.diff(np.append(starts, len(values)))
    found = [_fraction(value) for value in values[starts].tolist()]
    above, below = np.array(found, dtype=np.int64).T
    return np.repeat(above, lengths), np.repeat(below, lengths)


def _fraction(value: float) -> tuple[int, int]:
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return 0, 0
    places = max(0, -int(exact.as_tuple().exponent))
    whole = int(exact.scaleb(places))
    return (whole, 10**places) if places <= 18 and whole <= _LARGEST else (0, 0)


def _ratio(value: Decimal) -> tuple[int, int]:
    """A decimal as numerator and power of ten."""
    places = max(0, -int(value.normalize().as_tuple().exponent))
    return int(value * 10**places), 10**places


def _lot_decimals(rules: MarketRules) -> int:
    """Decimals of the coarser of the two grids of quantities."""
    return min(rules.lot_decimals, rules.base_decimals)


# -- the digest of either engine -----------------------------------------------------------------


def digest_of_events(events: Iterable[Event]) -> str:
    """sha256 over what was decided, ordered and filled, in numbers.

    Words (reasons, what a snapshot looked like) are left out; `runs.decisions_digest` has them.
    """
    actions: list[int] = []
    refusals: list[int] = []
    rows: list[tuple[int, ...]] = []
    for event in events:
        match event:
            case SignalMade(signal=signal):
                actions.append(_DECISION[signal.action])
                refusals.append(0)
            case TradeRefused(refusal=refusal):
                refusals[-1] = _RULES.index(refusal.rule) if refusal.rule in _RULES else 99
            case TradeApproved() | OrderIntended() | OrderFilled() | OrderAmended():
                rows.append(_row(event))
    numbers = np.array(rows, dtype=np.int64).reshape(-1, 6)
    return _digest(np.array(actions, np.int8), np.array(refusals, np.int8), numbers)


def _row(event: TradeApproved | OrderIntended | OrderFilled | OrderAmended) -> tuple[int, ...]:
    match event:
        case OrderAmended(at=at, quantity=quantity, price=price):
            # Only stops are changed in place: as if one with the new terms were placed.
            return _ORDER[Purpose.STOP], to_us(at), _unit(quantity), _unit(price), 0, 0
        case TradeApproved(at=at, approval=a):
            kind = 0 if a.side is Side.BUY else 1
            return kind, to_us(at), _unit(a.quantity), _unit(a.stop), _unit(a.take_profit), 0
        case OrderIntended(at=at, request=q, purpose=purpose):
            return _ORDER.get(purpose, 9), to_us(at), _unit(q.quantity), _unit(q.price), 0, 0
        case OrderFilled(fill=f):
            return (
                6, to_us(f.filled_at), _unit(f.quantity), _unit(f.price), _unit(f.cost_quote),
                _unit(f.fee_quote),
            )  # fmt: skip


def _unit(value: Decimal | None) -> int:
    return 0 if value is None else int(value.scaleb(_DIGEST_DECIMALS))


def _digest(actions: npt.NDArray[np.int8], refusals: npt.NDArray[np.int8], rows: IntArray) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(actions).tobytes())
    digest.update(np.ascontiguousarray(refusals).tobytes())
    digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    return digest.hexdigest()


# -- machine code --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def compiled(cache: Path | None) -> ModuleType:
    """The compiled rules; the first call loads Numba.

    Machine code is kept in a folder named after the sources it was made from, so that a change
    in a rule never meets code of before.
    """
    import numba

    folder = _folder(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="numba-"))
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return importlib.import_module("trader.simulation.compiled")


def is_made(cache: Path | None, *, limits: bool) -> bool:
    """Whether machine code lies in the cache; making it takes some ten seconds, once.

    Args:
        cache: as for `trade`.
        limits: for accounts under the owner's limits, whose purchases wait; or for yardsticks.
    """
    part = "compiled_path" if limits else "compiled"
    return any(_folder(cache).rglob(f"{part}.run-*.nbc"))


def _folder(cache: Path | None) -> Path:
    folder = Path(tempfile.gettempdir()) if cache is None else cache
    return folder / f"numba-{_fingerprint(version('numba'))}"


def _fingerprint(numba: str) -> str:
    here = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(numba.encode())
    for name in (
        "simulation/compiled.py", "simulation/compiled_path.py", "risk/sizing.py",
        "risk/limits.py", "risk/entries.py",
    ):  # fmt: skip
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:16]
