"""The rules of one account on one market as machine code: whole numbers, no objects.

Imported only by `trader.simulation.kernel`, because Numba takes a while to load. Prices,
quantities and money are whole numbers of their smallest units, so every amount that is booked is
exact. What only decides (how much, may it, does it fit the weight) is reckoned in float64 with a
margin: where a result lies so near to a threshold or a rounding step that float64 could err, the
run ends with `UNSURE` and the step-by-step engine does it again in decimals. Formulas of
`trader.risk` are not written again: their own code is compiled, with float constants in place of
decimal ones.
"""

from __future__ import annotations

import math
from collections import namedtuple
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit

from trader.domain import portfolio
from trader.risk import sizing

# How a run ended.
DONE, UNSURE, UNUSUAL, LOG_FULL, TOO_LARGE = range(5)
# Kinds of log rows.
APPROVED_BUY, APPROVED_SELL, ENTRY, EXIT, STOP, TARGET, FILL = range(7)
LOG_WIDTH = 7
"""of a fill which side and how, kind, microseconds, quantity, price (or stop), cost (or target),
fee."""
SALE, TAKEN, MADE = range(3)
"""What a fill was: a sale, or a purchase as taker or as maker."""
# Actions and refusals, one of each a decision.
NOTHING, HOLD, BUY, SELL = range(4)
(
    NO_REFUSAL, DRAWDOWN, DAILY_LOSS, LOSING_STREAK, NO_STOP, SMALLEST_ADDITION, MINIMUM_SIZE,
    PENDING, GIVEN_UP,
) = range(9)  # fmt: skip
# How a strategy reads its weights.
TOWARDS, ONCE = range(2)

_WHOLE = [
    "first",
    "step",
    "moments",
    "tick",
    "scale",
    "cost_div",
    "cash_mul",
    "book_div",
    "lot_scale",
    "order_min",
    "cost_min",
    "cash_scale",
    "slip_n",
    "slip_d",
    "fee_d",
    "mult_n",
    "mult_d",
    "reward_n",
    "reward_d",
    "cool_us",
    "spare",
    "mode",
    "plain",
    "streak_limit",
    "pause_s",
    "patience_us",
    "fine_step",
]
_REAL = [
    "share",
    "band",
    "dust",
    "risk_fraction",
    "position_fraction",
    "max_exposure",
    "daily_limit",
    "drawdown_limit",
    "smallest_addition",
    "slippage",
    "fee_part",
    "multiple",
    "volatility_target",
    "recovery_share",
]
CLOSES_WITHIN_S = int(portfolio.CLOSES_WITHIN.total_seconds())
_LARGEST = 9.0e18
_ULP = 2.0**-52
"""Twice what one operation in float64 may be wrong by, relative to its result."""
TERMS = np.dtype([(name, np.int64) for name in _WHOLE] + [(name, np.float64) for name in _REAL])
"""What stays the same during a run, one record; `kernel._terms` fills it."""

Rates = namedtuple("Rates", "entry_fee exit_fee entry_slippage exit_slippage")

_MONEY = [
    "cash",
    "exch",
    "qty",
    "stop_at",
    "target_at",
    "stop_live",
    "pend_side",
    "pend_qty",
    "plan_stop",
    "plan_target",
    "peak",
    "day",
    "day_start",
    "lost",
    "last",
    "streak",
    "last_loss",
    "audit",
    "reduced_since",
    "recovery",
    "net",
    "parted",
    "rows",
    "trades",
    "status",
    "engine",
    "fine",
    "sequence",
    "stop_since",
    "stop_number",
    "entry_live",
    "entry_price",
    "entry_since",
    "entry_number",
    "waits_since",
    "waits_until",
    "to_buy",
    "expected",
    "follow_to",
    "give_up_above",
    "looked",
    "orders",
    "decided",
    "used_in",
    "used",
    "sold_at",
]
_FLOATS = ["cost", "doubt", "traded", "fees"]
ACCOUNT = np.dtype([(n, np.int64) for n in _MONEY] + [(n, np.float64) for n in _FLOATS])
"""The account while it trades, one record.

`exch` is the exchange's own balance, `pend_*` an order that waits for the market, `plan_*` the
protection of a purchase on its way. `reduced_since` is the moment (Unix seconds) from which a
drawdown forbids purchases, `recovery` the worth up to which they are smaller after one; 0 for
neither. `lost` tells whether the day before closed with too great a loss. `net` is what the open
position has brought so far less what it cost, `parted` whether some of it was sold. `doubt` is how
far float64 may be off the exact `cost`. What follows `status` is of `compiled_path` alone, where a
purchase waits.
"""


inner = partial(njit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)()
"""Called by compiled code only: without the part that Python calls, which takes long to make."""


def _floats(function: Any) -> Any:
    """A rule of the step-by-step engine compiled for float64: its own code, other constants."""
    globals_ = {**function.__globals__, "ZERO": 0.0, "ONE": 1.0}
    return njit(inline="always")(FunctionType(function.__code__, globals_, function.__name__))


risk_quantity = _floats(sizing.risk_quantity)
weight_quantity = _floats(sizing.weight_quantity)
affordable_quantity = _floats(sizing.affordable_quantity)
volatility_weight = _floats(sizing.volatility_weight)
paid = _floats(sizing.RoundTrip.paid)
received = _floats(sizing.RoundTrip.received)
fall = _floats(portfolio.fall)


# -- whole numbers: rounding as `trader.domain.markets` and `trader.simulation.costs` do ---------


@njit(error_model="numpy")
def half_even(number: int, divisor: int) -> int:
    """A quotient rounded to the nearest whole number, half to even."""
    whole = number // divisor
    twice = 2 * (number - whole * divisor)
    if twice > divisor or (twice == divisor and whole & 1):
        whole += 1
    return whole


@njit(error_model="numpy")
def buy_price(price: int, slip_n: int, slip_d: int, tick: int) -> int:
    """`taker_price` of a purchase: price × (1 + slippage), up to the tick."""
    step = slip_d * tick
    return -((-price * (slip_d + slip_n)) // step) * tick


@njit(error_model="numpy")
def sell_price(price: int, part: int, parts: int, slip_n: int, slip_d: int, tick: int) -> int:
    """`taker_price` of a sale at price + part / parts: × (1 − slippage), down to the tick."""
    whole = price * (slip_d - slip_n) + (part * (slip_d - slip_n)) // parts
    return max(whole // (slip_d * tick) * tick, tick)


@njit(error_model="numpy")
def nearest_tick(price: int, tick: int) -> int:
    """The last price as a ticker shows it."""
    return max(half_even(price, tick) * tick, tick)


@njit(error_model="numpy")
def fee_units(cost: int, rate_n: int, rate_d: int) -> int:
    """`fee_of` in units of the cost's decimals."""
    fee = half_even(cost * rate_n, rate_d)
    return max(fee, 1) if rate_n > 0 else fee


@njit(error_model="numpy")
def ceil_div(number: int, divisor: int) -> int:
    """A quotient, rounded up."""
    return -((-number) // divisor)


@njit(error_model="numpy")
def target_above(entry: int, stop: int, reward_n: int, reward_d: int, tick: int) -> int:
    """`stops.target_price`; 0 for none."""
    if reward_n <= 0:
        return 0
    return ceil_div(entry * reward_d + (entry - stop) * reward_n, reward_d * tick) * tick


@njit(error_model="numpy")
def product(a: int, b: int) -> tuple[int, int]:
    """A product as high and low part, each below 2**62; factors from 0 to 2**62."""
    half = (1 << 31) - 1
    middle = (a >> 31) * (b & half) + (a & half) * (b >> 31)
    low = (a & half) * (b & half) + ((middle & half) << 31)
    return (a >> 31) * (b >> 31) + (middle >> 31) + (low >> 62), low & ((1 << 62) - 1)


@njit(error_model="numpy")
def stop_below(
    entry: int, atr: float, atr_n: int, atr_d: int, mult_n: int, mult_d: int, scale: int, tick: int
) -> tuple[int, bool]:
    """`stops.atr_stop`, 0 for none, and whether that is certain.

    The average true range is a float whose shortest decimal form counts: `atr_n` / `atr_d`. Where
    the stop falls on a tick, this fraction is compared with the one that would give exactly it.
    """
    distance = atr * mult_n / mult_d * scale
    near, far = entry * 0.005, entry * 0.5
    if distance < near * (1 - 1e-9):
        return _valid((entry * 995) // (1000 * tick) * tick, entry), True
    if distance > far * (1 + 1e-9):
        return _valid(entry // (2 * tick) * tick, entry), True
    if distance < near * (1 + 1e-9) or distance > far * (1 - 1e-9):
        return 0, False
    place = (entry - distance) / tick
    whole = math.floor(place)
    margin = max(1e-9, entry / tick * 1e-13)
    if margin < place - whole < 1 - margin:
        return _valid(int(whole) * tick, entry), True
    nearest = int(np.rint(place))
    ours = product(atr_n, mult_n * scale)
    exact = product((entry - nearest * tick) * mult_d, atr_d)
    if ours[0] > exact[0] or (ours[0] == exact[0] and ours[1] > exact[1]):
        nearest -= 1
    return _valid(nearest * tick, entry), atr_d > 0


@njit(error_model="numpy")
def _valid(stop: int, entry: int) -> int:
    return stop if 0 < stop < entry else 0


@njit(error_model="numpy")
def touch(first: int, last: int, level: int, third: int) -> int:
    """Microseconds from the beginning of a straight piece of the path until it meets a level."""
    if last == first:
        return 0
    if last > first:
        return ceil_div((level - first) * third, last - first)
    return ceil_div((first - level) * third, first - last)


# -- the account --------------------------------------------------------------------------------


@inner
def _write(log, a, kind, at, quantity, price, cost, fee, fill=0):  # type: ignore[no-untyped-def]
    row = a.rows
    if row >= len(log) - 1:
        a.status = LOG_FULL
        return
    log[row, 0] = fill
    log[row, 1] = kind
    log[row, 2] = at
    log[row, 3] = quantity
    log[row, 4] = price
    log[row, 5] = cost
    log[row, 6] = fee
    a.rows = row + 1


@inner
def _equity(t, a, price):  # type: ignore[no-untyped-def]
    """Worth of the account, in the product of the smallest units of price and quantity."""
    return a.cash * t.cash_mul + a.qty * price


@inner
def _in_quote(worth, unit):  # type: ignore[no-untyped-def]
    """Worth in quote; the remainder apart, where a float does not hold all digits."""
    if worth <= 9_007_199_254_740_992:
        return worth / float(unit)
    whole = worth // unit
    return whole + (worth - whole * unit) / float(unit)


@inner
def _book(t, a, amount):  # type: ignore[no-untyped-def]
    """Move the exchange's own balance, in its own decimals."""
    a.exch += half_even(amount, t.book_div) * t.book_div


@inner
def _bought(t, a, log, at, quantity, price, rate, how):  # type: ignore[no-untyped-def]
    cost = half_even(price * quantity, t.cost_div)
    fee = fee_units(cost, rate, t.fee_d)
    if cost + fee > a.exch:
        a.status = UNUSUAL
        return
    _write(log, a, FILL, at, quantity, price, cost, fee, how)
    a.cash -= cost + fee
    _book(t, a, -cost)
    _book(t, a, -fee)
    a.stop_at = max(a.stop_at, a.plan_stop) if a.qty > 0 else a.plan_stop
    if a.plan_target > 0 or a.qty == 0:
        a.target_at = a.plan_target
    a.qty += quantity
    a.cost += cost + fee
    a.doubt += _ULP * a.cost
    a.net -= cost + fee
    _count(t, a, cost, fee)


@inner
def _sold(t, a, log, profits, at, quantity, price, rate):  # type: ignore[no-untyped-def]
    cost = half_even(price * quantity, t.cost_div)
    fee = fee_units(cost, rate, t.fee_d)
    _write(log, a, FILL, at, quantity, price, cost, fee, SALE)
    a.cash += cost - fee
    _book(t, a, cost)
    _book(t, a, -fee)
    whole = a.parted == 0 and quantity == a.qty
    share = quantity / a.qty
    profit = cost - fee - a.cost * share
    profits[a.trades] = profit / t.cash_scale
    a.trades += 1
    a.net += cost - fee
    a.doubt = a.doubt * (1 - share) + 4 * _ULP * a.cost
    a.cost *= 1 - share
    a.qty -= quantity
    _count(t, a, cost, fee)
    a.sold_at = at
    a.parted = 1
    if a.qty == 0:
        _closed(a, at, whole)


@inner
def _closed(a, at, whole):  # type: ignore[no-untyped-def]
    """The end of a round trip: a loss or not. In decimals, parts of nothing may be a trace off."""
    if a.net == 0 and not whole:
        a.status = UNSURE
    if a.net < 0:
        a.streak += 1
        a.last_loss = at
    else:
        a.streak = 0
    a.net = 0
    a.parted = 0
    a.cost = 0.0
    a.doubt = 0.0
    a.stop_at = 0
    a.target_at = 0
    a.stop_live = 0


@inner
def _count(t, a, cost, fee):  # type: ignore[no-untyped-def]
    a.traded += cost
    a.fees += fee
    a.audit = 1


@inner
def _audit(t, a):  # type: ignore[no-untyped-def]
    """Take in what the exchange rounded off; the marks move along as with any transfer."""
    if a.audit == 0:
        return
    a.audit = 0
    difference = a.exch - a.cash
    if difference == 0:
        return
    if abs(difference) * 100 >= t.cash_scale:
        a.status = UNUSUAL
    a.cash += difference
    worth = difference * t.cash_mul
    a.peak = max(0, a.peak + worth)
    a.day_start = max(0, a.day_start + worth)
    a.last = max(0, a.last + worth)
    if a.recovery > 0:
        a.recovery = max(1, a.recovery + worth)


@inner
def _begin_day(t, a, day, moment, equity):  # type: ignore[no-untyped-def]
    """`Portfolio._begin_day`, and whether the day that ends has lost too much."""
    first = a.day < 0
    a.lost = 0
    if not first and not t.plain and _limit_hit(a, a.day_start, equity, t.daily_limit):
        a.lost = 1
    if first or moment - day * 86400 > CLOSES_WITHIN_S:
        a.day_start = a.last if a.last != 0 else equity
    else:
        a.day_start = equity
    a.day = day


@inner
def _mark(t, a, moment, equity):  # type: ignore[no-untyped-def]
    """`Portfolio._mark`, and what `RiskManager.change` makes of a drawdown."""
    day = moment // 86400
    if day != a.day:
        _begin_day(t, a, day, moment, equity)
    a.last = equity
    a.peak = max(a.peak, equity)
    if a.recovery > 0 and equity >= a.recovery:
        a.recovery = 0
    if t.plain:
        return
    if not _limit_hit(a, a.peak, equity, t.drawdown_limit):
        a.reduced_since = 0
    elif a.reduced_since == 0:
        a.reduced_since = moment
    elif t.pause_s > 0 and moment >= a.reduced_since + t.pause_s:
        # Half of the fall, rounded up: only whole worths are compared with it.
        a.recovery = equity + (a.peak - equity + 1) // 2
        a.peak = equity
        a.reduced_since = 0


# -- what happens between two decisions ----------------------------------------------------------


@inner
def _guard(t, a, log, profits, at, price, trades, rate):  # type: ignore[no-untyped-def]
    """What is held has a stop of its size, where it has a plan with one."""
    quantity = a.qty - (a.pend_qty if a.pend_side == SELL else 0)
    if quantity == 0 or a.stop_at == 0 or a.stop_live == quantity:
        return
    a.stop_live = 0
    if quantity < t.order_min or quantity * a.stop_at < t.cost_min:
        return
    _write(log, a, STOP, at, quantity, a.stop_at, 0, 0)
    a.stop_live = quantity
    if trades and price <= a.stop_at:
        # The market is beyond it already: it takes what there is.
        got = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, quantity, got, rate)


@inner
def _inside(t, a, log, profits, opened, open_, high, low, rate):  # type: ignore[no-untyped-def]
    """Stop and target within the candle that has just ended: open → low → high → close."""
    third = t.step * 1_000_000 // 3
    start = opened * 1_000_000
    stop, target = a.stop_at, a.target_at
    if a.stop_live > 0 and low <= stop:
        if open_ <= stop or a.stop_live != a.qty:
            a.status = UNUSUAL
        at = start + touch(open_, low, stop, third)
        price = sell_price(stop, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, a.qty, price, rate)
    elif target > 0 and high >= target:
        if open_ >= target or low >= target or a.pend_side != 0:
            a.status = UNUSUAL
            return
        after = touch(low, high, target, third)
        risen = (high - low) * after
        at = start + third + after
        price = sell_price(low + risen // third, risen % third, third, t.slip_n, t.slip_d, t.tick)
        _leave(t, a, log, TARGET, at, a.qty)
        _sold(t, a, log, profits, at, a.qty, price, rate)


@inner
def _leave(t, a, log, kind, at, quantity):  # type: ignore[no-untyped-def]
    """Send a sale; the stop was cancelled before."""
    a.stop_live = 0
    too_cheap = kind == TARGET and quantity * a.target_at < t.cost_min
    if quantity < t.order_min or too_cheap:
        a.status = UNUSUAL
    _write(log, a, kind, at, quantity, 0, 0, 0)


@inner
def _opening(t, a, log, profits, at, price, rate):  # type: ignore[no-untyped-def]
    """What the first price of a candle does to orders that wait."""
    if a.pend_side != 0 and a.stop_live > 0 and price <= a.stop_at:
        a.status = UNUSUAL  # two orders at one moment
    if a.pend_side == BUY:
        bought = buy_price(price, t.slip_n, t.slip_d, t.tick)
        _bought(t, a, log, at, a.pend_qty, bought, rate, TAKEN)
        a.pend_side = 0
    elif a.pend_side == SELL:
        paid_ = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, a.pend_qty, paid_, rate)
        a.pend_side = 0
    elif a.stop_live > 0 and price <= a.stop_at:
        if a.stop_live != a.qty:
            a.status = UNUSUAL
        paid_ = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, a.qty, paid_, rate)


@inner
def _settle(t, a, log, profits, at, price, trades, rate):  # type: ignore[no-untyped-def]
    """The start of a step: a target reached at the opening, and the stop of what was bought.

    `price` is the path's, or the last one while the market does not trade, as `trades` tells.
    """
    if a.qty == 0:
        return
    if a.target_at > 0 and nearest_tick(price, t.tick) >= a.target_at:
        if a.pend_side != 0:
            a.status = UNUSUAL
            return
        quantity = a.qty
        _leave(t, a, log, TARGET, at, quantity)
        if trades:
            paid_ = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
            _sold(t, a, log, profits, at, quantity, paid_, rate)
        else:
            a.pend_side = SELL
            a.pend_qty = quantity
        return
    if a.pend_side != SELL and a.stop_live != a.qty:
        _guard(t, a, log, profits, at, price, trades, rate)


# -- decisions ----------------------------------------------------------------------------------


@inner
def _wish(t, a, weight, held):  # type: ignore[no-untyped-def]
    """`strategies.registry.towards` for one weight: the action; the target is weight × share."""
    if t.mode == ONCE:
        if _close_to(held, t.dust) and a.qty > 0:
            a.status = UNSURE
        if held > t.dust:
            return HOLD
    target = min(max(weight, 0.0), 1.0) * t.share
    away = abs(target - held)
    if a.qty > 0 and (_close_to(away, t.band) or (target == 0.0 and _close_to(held, t.dust))):
        a.status = UNSURE
    if target == 0.0 and held > t.dust:
        return SELL
    if away > t.band:
        return BUY if target > held else SELL
    return HOLD


@inner
def _close_to(value, limit):  # type: ignore[no-untyped-def]
    """Whether float64 cannot tell for certain which of the two is larger."""
    return abs(value - limit) <= 1e-12 * max(1.0, abs(limit))


@inner
def _limit_hit(a, before, equity, limit):  # type: ignore[no-untyped-def]
    if float(equity) > float(before) * (1 - limit) * (1 + 1e-9):
        return False  # far from it: no division needed
    used = fall(float(before), float(equity))
    if _close_to(used, limit):
        a.status = UNSURE
    return used >= limit


@inner
def _forbidden(t, a, moment, equity):  # type: ignore[no-untyped-def]
    """The rules of `trader.risk.limits` that depend on the account, in their order."""
    paused = a.reduced_since == 0 or t.pause_s == 0 or moment < a.reduced_since + t.pause_s
    if paused and _limit_hit(a, a.peak, equity, t.drawdown_limit):
        return DRAWDOWN
    if a.lost == 1 or _limit_hit(a, a.day_start, equity, t.daily_limit):
        return DAILY_LOSS
    if a.streak >= t.streak_limit and moment * 1_000_000 < a.last_loss + t.cool_us:
        return LOSING_STREAK
    return NO_REFUSAL


@inner
def _lots(a, quantity, spread):  # type: ignore[no-untyped-def]
    """A quantity in lots, rounded down; `spread` is the largest error float64 may have made."""
    whole = math.floor(quantity)
    margin = 1e-9 + spread
    near = quantity - whole < margin or quantity - whole > 1 - margin
    if near and quantity != 0.0:  # nothing at all is nothing for certain
        a.status = UNSURE
    return int(whole)


@inner
def _weight_cap(t, a, weight, vol):  # type: ignore[no-untyped-def]
    """The smallest of the limits that are a fraction of equity, the strategy's wish left out."""
    least = min(t.position_fraction, t.max_exposure)
    if t.volatility_target > 0 and vol > 0:  # not where it is NaN
        least = min(least, volatility_weight(t.volatility_target, vol))
    if a.recovery > 0:
        least = min(least, t.recovery_share * min(t.position_fraction, weight))
    return least


@inner
def _risk_cap(t, a, equity, stop, loss, leave):  # type: ignore[no-untyped-def]
    """`caps.risk_per_trade` in base, and the largest error float64 may have made."""
    paid_for = a.cost / t.cash_scale
    bound = max(0.0, paid_for - a.qty / t.lot_scale * leave)
    budget = t.risk_fraction * equity - bound
    found = risk_quantity(budget, loss)
    wrong = a.doubt / t.cash_scale + 4 * _ULP * (t.risk_fraction * equity + paid_for)
    return found, wrong / loss + found * 8 * _ULP * (1 + stop / loss)


@inner
def _up_to_tick(a, t, value, error):  # type: ignore[no-untyped-def]
    """A price in whole units, up to the next tick, as `MarketRules.price_up` finds it."""
    place = value * t.scale / t.tick
    margin = max(1e-9, error * t.scale / t.tick + abs(place) * 1e-14)
    whole = math.ceil(place)
    if whole - place < margin or place - (whole - 1) < margin:
        a.status = UNSURE
    return int(whole) * t.tick


@inner
def _raised(t, a, rates, enter, equity, wanted, error, highest):  # type: ignore[no-untyped-def]
    """`caps.raised_stop` in whole units of price."""
    leave = received(rates, a.stop_at / t.scale)
    cost = paid(rates, enter)
    by_risk, doubt = _risk_cap(t, a, equity, a.stop_at / t.scale, cost - leave, leave)
    if wanted <= error:
        return a.stop_at
    if abs(wanted - by_risk) <= error + doubt:
        a.status = UNSURE
    if wanted <= by_risk:
        return a.stop_at
    held, owed = a.qty / t.lot_scale, a.cost / t.cash_scale
    added, budget = wanted * cost, t.risk_fraction * equity
    whole = (owed + added - budget) / (held + wanted)
    alone = (added - budget) / wanted
    wrong = 2e-14 * (owed + added + budget) + cost * error
    if whole >= alone:
        wrong /= held + wanted
    else:
        wrong = (wrong + budget / wanted * error) / wanted
    part = received(rates, 1.0)
    needed, wrong = max(whole, alone) / part, wrong / part
    if (needed + wrong) * t.scale < a.stop_at:
        return a.stop_at
    if (needed - wrong) * t.scale > highest:
        return highest
    return min(max(_up_to_tick(a, t, needed, wrong), a.stop_at), highest)


@inner
def _size(t, a, weight, entry, atr, atr_n, atr_d, vol, price, rate):  # type: ignore[no-untyped-def]
    """Quantity and stop of a purchase, and what forbids it; quantity −1 for nothing to do.

    The smallest cap of `trader.risk.caps` decides, at the stop that the whole position gets.
    """
    if math.isnan(atr):
        return 0, 0, NO_STOP
    stop, sure = stop_below(entry, atr, atr_n, atr_d, t.mult_n, t.mult_d, t.scale, t.tick)
    if not sure:
        a.status = UNSURE
    if stop == 0 or (a.qty > 0 and a.stop_at >= entry):
        return 0, 0, NO_STOP
    fee = rate / t.fee_d
    rates = Rates(fee, fee, t.slippage, t.slippage)
    enter = entry / t.scale
    equity = _equity(t, a, price) / (t.scale * t.lot_scale)
    held = a.qty * price / (t.scale * t.lot_scale)
    unit = enter * (1 + rates.entry_slippage)
    tiny = 4 * _ULP * (equity + held)
    if weight * equity - held < tiny:
        if weight * equity - held > -tiny:
            a.status = UNSURE
        return -1, 0, NO_REFUSAL
    most = min(weight, _weight_cap(t, a, weight, vol))
    free = (a.cash - t.spare) / t.cash_scale
    wanted = weight_quantity(most, equity, held, unit)
    wanted = min(wanted, affordable_quantity(free, paid(rates, enter)))
    error = 2 * tiny / unit + 4 * _ULP * wanted
    if a.qty > 0 and a.stop_at > 0:
        stop = _raised(t, a, rates, enter, equity, wanted, error, max(stop, a.stop_at))
    leave = received(rates, stop / t.scale)
    by_risk, doubt = _risk_cap(t, a, equity, stop / t.scale, paid(rates, enter) - leave, leave)
    if by_risk - doubt < wanted + error:
        error = max(error, doubt)
    quantity = _lots(a, min(wanted, by_risk) * t.lot_scale, error * t.lot_scale)
    if a.qty > 0 and _not_worth_adding(t, a, quantity, entry, price):
        return 0, 0, SMALLEST_ADDITION
    if quantity < t.order_min or quantity * entry < t.cost_min:
        return 0, 0, MINIMUM_SIZE
    return quantity, stop, NO_REFUSAL


@inner
def _not_worth_adding(t, a, quantity, entry, price):  # type: ignore[no-untyped-def]
    equity = float(_equity(t, a, price))
    least = max(t.smallest_addition * equity, max(float(t.cost_min), float(t.order_min * entry)))
    cost = float(quantity * entry)
    if abs(cost - least) <= 1e-12 * least:
        a.status = UNSURE
    return cost < least


@inner
def _hopeless(t, a, weight, atr, vol, price, rate):  # type: ignore[no-untyped-def]
    """Whether an addition is certain to be too small: the usual case, without a division.

    A rough reckoning with a margin of a tenth; what lies within it is reckoned exactly. The stop
    is taken at its highest, where the most may be added.
    """
    if math.isnan(atr) or price <= a.stop_at or price < 1000 * t.tick:
        return False
    now = float(price)
    equity = float(_equity(t, a, price))
    held = a.qty * now
    if weight * equity - held < 1e-6 * equity:
        return False
    least = 0.9 * t.smallest_addition * equity
    if min(weight, _weight_cap(t, a, weight, vol)) * equity - held < least:
        return True
    fee = rate * t.fee_part
    rates = Rates(fee, fee, t.slippage, t.slippage)
    entry = now * (1 + t.slippage)
    distance = min(max(atr * t.multiple * t.scale, entry * 0.005), entry * 0.5)
    leave = received(rates, max(entry - distance, float(a.stop_at)))
    bound = max(0.0, a.cost * t.cash_mul - a.qty * leave)
    room = 1.01 * t.risk_fraction * equity - bound
    return room * entry < least * (paid(rates, entry) - leave)


@inner
def _full_size(t, a, weight, ask, price, rate):  # type: ignore[no-untyped-def]
    """A yardstick's purchase: what is missing to the weight, with the cash there is."""
    worth = a.qty * price / (t.scale * t.lot_scale)
    equity = _equity(t, a, price) / (t.scale * t.lot_scale)
    unit = ask / t.scale * (1 + t.slippage) * (1 + rate / t.fee_d)
    money = min(equity * weight - worth, a.cash / t.cash_scale * 0.999)
    error = 4e-15 * (equity + worth) / unit
    return _lots(a, max(money, 0.0) / unit * t.lot_scale, error * t.lot_scale)


@inner
def _buy(  # type: ignore[no-untyped-def]
    t, a, log, profits, at, weight, atr, atr_n, atr_d, vol, price, trades, rate
):  # fmt: skip
    """Judge a wish to buy and send the order; the refusal's code."""
    quantity, _, refusal = _plan(t, a, weight, atr, atr_n, atr_d, vol, price, rate)
    if quantity <= 0:
        return refusal
    if quantity * price < t.cost_min:
        a.status = UNUSUAL  # the exchange would refuse it
    _write(log, a, APPROVED_BUY, at, quantity, a.plan_stop, a.plan_target, 0)
    _write(log, a, ENTRY, at, quantity, 0, 0, 0)
    if trades:
        ask = buy_price(price, t.slip_n, t.slip_d, t.tick)
        _bought(t, a, log, at, quantity, ask, rate, TAKEN)
        _guard(t, a, log, profits, at, price, trades, rate)
    else:
        a.pend_side = BUY
        a.pend_qty = quantity
    return NO_REFUSAL


@inner
def _plan(t, a, weight, atr, atr_n, atr_d, vol, price, rate):  # type: ignore[no-untyped-def]
    """Quantity, expected price and protection of a purchase, or why there is none of it."""
    last = price if t.tick == 1 else nearest_tick(price, t.tick)
    ask = buy_price(price, t.slip_n, t.slip_d, t.tick)
    entry = max(last, ask)
    if t.plain:
        quantity = _full_size(t, a, weight, ask, last, rate)
        a.plan_stop = 0
        a.plan_target = 0
        return (quantity if quantity >= t.order_min else 0), entry, NO_REFUSAL
    quantity, stop, refusal = _size(t, a, weight, entry, atr, atr_n, atr_d, vol, last, rate)
    if refusal != NO_REFUSAL or quantity < 0:
        return 0, entry, refusal
    a.plan_stop = stop
    a.plan_target = target_above(entry, stop, t.reward_n, t.reward_d, t.tick)
    return quantity, entry, NO_REFUSAL


@inner
def _sale(t, a, weight, price):  # type: ignore[no-untyped-def]
    """`risk_manager._sale` in lots, 0 for nothing to do and −1 for too little."""
    held = a.qty
    equity = float(_equity(t, a, price))
    kept = max(0.0, weight) * equity / price
    quantity = 0
    if kept < held:
        quantity = held if kept == 0.0 else _lots(a, held - kept, 1e-14 * (held + kept))
    if quantity <= 0:
        return 0 if kept > 0 else -1
    rest = held - quantity
    if kept > 0 and (rest < t.order_min or rest * price < t.cost_min):
        quantity = held
    if quantity < t.order_min or quantity * price < t.cost_min:
        return -1
    return quantity


@inner
def _sell(t, a, log, profits, at, weight, price, trades, rate):  # type: ignore[no-untyped-def]
    """Judge a wish to sell and send the order; the refusal's code."""
    quantity = _sale(t, a, weight, nearest_tick(price, t.tick))
    if quantity == 0:
        return NO_REFUSAL
    if quantity < 0:
        return MINIMUM_SIZE
    _write(log, a, APPROVED_SELL, at, quantity, 0, 0, 0)
    if a.qty - quantity < t.order_min:
        quantity = a.qty
    if quantity * price < t.cost_min:
        a.status = UNUSUAL
    rest = a.qty - quantity
    guarded = a.stop_live > 0 and rest >= t.order_min and rest * a.stop_at >= t.cost_min
    if rest > 0 and guarded:  # the stop is made smaller before a part is sold
        _write(log, a, STOP, at, rest, a.stop_at, 0, 0)
    _leave(t, a, log, EXIT, at, quantity)
    if rest > 0 and guarded:
        a.stop_live = rest
    if not trades:
        a.pend_side = SELL
        a.pend_qty = quantity
        _guard(t, a, log, profits, at, price, trades, rate)
        return NO_REFUSAL
    price_got = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
    _sold(t, a, log, profits, at, quantity, price_got, rate)
    _guard(t, a, log, profits, at, price, trades, rate)
    return NO_REFUSAL


# -- the run ------------------------------------------------------------------------------------


@inner
def _wanted(t, a, weight, held):  # type: ignore[no-untyped-def]
    """What the strategy wants after a candle."""
    if math.isnan(weight):
        return HOLD
    wish = _wish(t, a, weight, held)
    if wish != HOLD and a.pend_side != 0:
        a.status = UNUSUAL
    return wish


@inner
def _early(t, a, at, pending, weight, atr, vol, price, rate):  # type: ignore[no-untyped-def]
    """The refusal of a purchase as far as it shows before anything is sized.

    `pending` tells whether one of before is still under way.
    """
    if t.plain:
        return NO_REFUSAL
    last = price if t.tick == 1 else nearest_tick(price, t.tick)
    refusal = _forbidden(t, a, at // 1_000_000, _equity(t, a, last))
    if refusal == NO_REFUSAL and pending:
        return PENDING
    if refusal == NO_REFUSAL and a.qty > 0 and _hopeless(t, a, weight, atr, vol, price, rate):
        return SMALLEST_ADDITION
    return refusal


@inner
def _at_close(t, a, k, moment, close, equity, invested):  # type: ignore[no-untyped-def]
    """Take the account's worth down at a candle's close; the share of it that is invested."""
    _audit(t, a)
    worth = _equity(t, a, close)
    if float(a.cash) * t.cash_mul + float(a.qty) * float(close) > _LARGEST:
        a.status = TOO_LARGE
    if a.qty > 0 and (a.qty < t.order_min or a.qty * close < t.cost_min):
        a.status = UNUSUAL  # dust: a position no more
    _mark(t, a, moment, worth)
    equity[k] = _in_quote(worth, t.scale * t.lot_scale)
    if a.qty == 0:
        return 0.0
    held = float(a.qty * close) / float(worth)
    invested[k] = min(max(held, 0.0), 1.0)
    return held


@inner
def _unsettled(t, a, price):  # type: ignore[no-untyped-def]
    """Whether a position has reached its target or lacks its stop."""
    if a.target_at > 0 and price + t.tick >= a.target_at:
        return True
    return a.pend_side != SELL and a.stop_at > 0 and a.stop_live != a.qty


@inner
def _moved(a, high, low):  # type: ignore[no-untyped-def]
    """Whether a candle has reached the stop or the target."""
    return (a.stop_live > 0 and low <= a.stop_at) or (a.target_at > 0 and high >= a.target_at)


@njit(cache=True, nogil=True, error_model="numpy")
def run(  # type: ignore[no-untyped-def]  # noqa: C901 - one loop, for speed
    t,
    opened,
    open_,
    high,
    low,
    close,
    weight,
    atr,
    atr_n,
    atr_d,
    vol,
    rate,
    a,
    log,
    profits,
    equity,
    invested,
    action,
    refusal,
):
    """One account through the moments of a run; how many there were.

    `t` are the terms. One value a candle: `opened` in Unix seconds, prices in whole units,
    `weight` wanted by the strategy (NaN for nothing to say), `atr` (NaN while unknown) and the
    same as a fraction, `atr_n` / `atr_d` (0 / 0 while unknown), yearly volatility `vol`, and the
    taker fee in parts of `t.fee_d`. Written are the account `a`, the `log`, the `profits` of
    sales in quote, and one value a moment: `equity` in quote (left alone where nothing is
    marked), share `invested`, `action`, `refusal`.
    """
    rows = len(opened)
    p = np.searchsorted(opened, t.first)
    for k in range(t.moments):
        if a.status != DONE:
            return k
        moment = t.first + k * t.step
        while p < rows and opened[p] < moment:
            p += 1
        q = p - 1
        fresh = p > 0 and opened[q] == moment - t.step
        trades = p < rows and opened[p] == moment
        at = moment * 1_000_000
        if fresh and a.qty > 0 and _moved(a, high[q], low[q]):
            _inside(t, a, log, profits, opened[q], open_[q], high[q], low[q], rate[q])
        price = open_[p] if trades else (close[q] if p > 0 else 0)
        fee = rate[p] if trades else (rate[q] if p > 0 else 0)
        if not trades and 0 < p < rows and rate[p] != rate[q]:
            a.status = UNUSUAL  # the fees change while the market does not trade
        if trades and (a.pend_side != 0 or (a.stop_live > 0 and price <= a.stop_at)):
            _opening(t, a, log, profits, at, price, fee)
        if a.qty > 0 and _unsettled(t, a, price):
            _settle(t, a, log, profits, at, price, trades, fee)
        if fresh:
            held = _at_close(t, a, k, moment, close[q], equity, invested)
            if k == t.moments - 1:
                break
            wish = _wanted(t, a, weight[q], held)
            action[k] = wish
            if wish == HOLD:
                continue
            target = min(max(weight[q], 0.0), 1.0) * t.share
            if wish == SELL:
                refusal[k] = _sell(t, a, log, profits, at, target, price, trades, fee)
            else:
                no = _early(t, a, at, False, target, atr[q], vol[q], price, fee)
                if no == NO_REFUSAL:
                    no = _buy(
                        t, a, log, profits, at, target, atr[q], atr_n[q], atr_d[q], vol[q],
                        price, trades, fee,
                    )  # fmt: skip
                refusal[k] = no
    return t.moments


@njit(cache=True, nogil=True, error_model="numpy")
def means(values, window):  # type: ignore[no-untyped-def]
    """Mean of the last `window` values, NaN for the first ones: as `sma_cross.mean_of_last`."""
    count = len(values)
    result = np.full(count, np.nan)
    block = 2048
    total = np.empty(block)
    for start in range(window - 1, count, block):
        length = min(block, count - start)
        first = start - window + 1
        total[:length] = values[first : first + length]
        for offset in range(1, window):
            part = values[first + offset : first + offset + length]
            for i in range(length):
                total[i] += part[i]
        for i in range(length):
            result[start + i] = total[i] / window
    return result
