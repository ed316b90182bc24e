"""What happens inside a candle as machine code: purchases that wait, and finer candles.

The rules of `trading_executor`, `trader.risk.entries` and `trader.simulation.matching` for one
account on one market, in the whole numbers of `trader.simulation.compiled`. A price between two
corners of the path is a whole number and a fraction of it, `part` / `third`, so that nothing is
rounded before the exchange would round it.

As in the step-by-step engine the market runs from one moment to the next at which the loop wakes:
an order fills, a target is reached, the price of a waiting purchase is due for a look. What would
need more than that (two orders at one moment, orders while the market does not trade) ends the
run as unusual.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from trader.risk.entries import LOOK_EVERY, MOST_ORDERS
from trader.simulation import compiled
from trader.simulation.compiled import (
    BUY,
    DONE,
    ENTRY,
    GIVEN_UP,
    HOLD,
    MADE,
    NO_REFUSAL,
    PENDING,
    SELL,
    STOP,
    TAKEN,
    TARGET,
    UNUSUAL,
    ceil_div,
    inner,
    sell_price,
)

_LOOK_US = LOOK_EVERY // LOOK_EVERY.resolution
_MOST_ORDERS = MOST_ORDERS
_NEVER = 1 << 62
_MARKET = 100
"""A market order that waits for the market to trade, beside the kinds of `compiled`."""
_APPROVED_BUY = compiled.APPROVED_BUY
_at_close, _bought, _early = compiled._at_close, compiled._bought, compiled._early
_leave, _plan, _wish, _write = compiled._leave, compiled._plan, compiled._wish, compiled._write
_sell, _sold = compiled._sell, compiled._sold


# -- the path ------------------------------------------------------------------------------------


@njit(error_model="numpy")
def buy_at(price: int, part: int, parts: int, slip_n: int, slip_d: int, tick: int) -> int:
    """`taker_price` of a purchase at price + part / parts: × (1 + slippage), up to the tick."""
    whole = price * (slip_d + slip_n) + ceil_div(part * (slip_d + slip_n), parts)
    return ceil_div(whole, slip_d * tick) * tick


@njit(error_model="numpy")
def reached(price: int, part: int, parts: int, target: int, tick: int) -> bool:
    """Whether price + part / parts, as a ticker shows it, is at or above a price on the grid."""
    if price >= target or price < target - tick:
        return price >= target
    # Half to even: exactly between two ticks, the even one counts.
    distance = (2 * (price - target) + tick) * parts + 2 * part
    return distance > 0 or (distance == 0 and (target // tick) % 2 == 0)


@njit(error_model="numpy")
def _beyond(price: int, level: int, rising: bool, strict: bool) -> bool:
    if price == level:
        return not strict
    return price > level if rising else price < level


@njit(error_model="numpy")
def first_touch(
    candle: tuple[int, int, int, int],
    start: int,
    third: int,
    level: int,
    rising: bool,
    strict: bool,
    after: int,
) -> tuple[int, int]:
    """`path.first_touch` in whole numbers: moment and price, −1 for never."""
    first, began = candle[0], start
    if start > after and _beyond(first, level, rising, strict):
        return start, first
    for leg in range(1, 4):
        last, ended = candle[leg], began + third
        if ended > after and _beyond(last, level, rising, strict):
            at, rise = began, last - first
            if rise != 0 and level != first and (level > first) == (rise > 0):
                at = began + ceil_div(abs(level - first) * third, abs(rise))
            if strict and first == level:
                at += 1
            return max(at, after + 1), level
        first, began = last, ended
    return -1, 0


@inner
def _touch(path, i, third, level, rising, strict, after):  # type: ignore[no-untyped-def]
    candle = path[i, 1], path[i, 2], path[i, 3], path[i, 4]
    return first_touch(candle, path[i, 0], third, level, rising, strict, after)


@inner
def _catch_up(t, a, path, now):  # type: ignore[no-untyped-def]
    """Stand at the first candle of the path that ends after a moment."""
    a.engine = now
    while a.fine < len(path) and path[a.fine, 0] + t.fine_step <= now:
        a.fine += 1


@inner
def _price(t, a, path, now):  # type: ignore[no-untyped-def]
    """Where the path stands: whole price, part of a third, and whether the market trades."""
    i, third = a.fine, t.fine_step // 3
    if i >= len(path) or path[i, 0] > now:
        return (path[i - 1, 4] if i > 0 else 0), 0, False
    leg = min((now - path[i, 0]) // third, 2)
    gone = now - path[i, 0] - leg * third
    risen = (path[i, leg + 2] - path[i, leg + 1]) * gone
    return path[i, leg + 1] + risen // third, risen % third, True


# -- the exchange --------------------------------------------------------------------------------


@inner
def _volume_left(a, path, i):  # type: ignore[no-untyped-def]
    return path[i, 5] - (a.used if a.used_in == path[i, 0] else 0)


@inner
def _next_order(t, a, path, until):  # type: ignore[no-untyped-def]
    """The next order to execute up to a moment, −1 for none; when, at what price, in which candle.

    Of two at one moment the one that has waited longer is first.
    """
    third, i = t.fine_step // 3, a.fine
    while i < len(path) and path[i, 0] <= until:
        if a.pend_side != 0:  # sent while there was no candle: it takes the next one's first price
            return _MARKET, path[i, 0], path[i, 1], i
        low = path[i, 2]
        at, price, which = _NEVER, 0, -1
        if a.stop_live > 0 and low <= a.stop_at:
            found, price = _touch(path, i, third, a.stop_at, False, False, a.stop_since)
            if found >= 0:
                at, which = found, STOP
        if a.entry_live > 0 and low <= a.entry_price and _volume_left(a, path, i) > 0:
            found, _ = _touch(path, i, third, a.entry_price, False, True, a.entry_since)
            older = (a.entry_since, a.entry_number) < (a.stop_since, a.stop_number)
            if found >= 0 and (found < at or (found == at and older)):
                at, which = found, ENTRY
        if which >= 0:
            return (which, at, price, i) if at <= until else (-1, _NEVER, 0, i)
        i += 1
    return -1, _NEVER, 0, i


@inner
def _next_target(t, a, path, now, until):  # type: ignore[no-untyped-def]
    """When the path next reaches the target up to a moment."""
    i = a.fine
    while i < len(path) and path[i, 0] <= until:
        if path[i, 3] >= a.target_at:
            found, _ = _touch(path, i, t.fine_step // 3, a.target_at, True, False, now)
            if found >= 0:
                return found
        i += 1
    return _NEVER


@inner
def _fill_pending(t, a, log, profits, at, price, taker):  # type: ignore[no-untyped-def]
    side, a.pend_side = a.pend_side, 0
    if side == BUY:
        asked = buy_at(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _bought(t, a, log, at, a.pend_qty, asked, taker, TAKEN)
    else:
        paid = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, a.pend_qty, paid, taker)


@inner
def _advance(t, a, log, profits, path, until, maker, taker):  # type: ignore[no-untyped-def]
    """Let the market run to a moment; what executes on the way was the only thing to do so."""
    which, at, price, i = _next_order(t, a, path, until)
    if which == STOP:
        if a.stop_live != a.qty:
            a.status = UNUSUAL
        paid = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, at, a.qty, paid, taker)
    elif which == _MARKET:
        _fill_pending(t, a, log, profits, at, price, taker)
    elif which == ENTRY:
        quantity = min(a.entry_live, _volume_left(a, path, i))
        a.used = quantity + (a.used if a.used_in == path[i, 0] else 0)
        a.used_in = path[i, 0]
        a.entry_live -= quantity
        a.to_buy -= quantity
        _bought(t, a, log, at, quantity, a.entry_price, maker, MADE)
    if which >= 0:
        _catch_up(t, a, path, at)
        if _next_order(t, a, path, until)[0] >= 0:
            a.status = UNUSUAL  # another one before the loop has looked
    _catch_up(t, a, path, until)


# -- the executor --------------------------------------------------------------------------------


@inner
def _rest(t, a, log, now, price, part, trades, quantity, limit, maker):  # type: ignore[no-untyped-def]
    """Send a purchase that waits at a price."""
    third = t.fine_step // 3
    cost = compiled.half_even(limit * quantity, t.cost_div)
    crosses = trades and buy_at(price, part, third, t.slip_n, t.slip_d, t.tick) <= limit
    short = cost + compiled.fee_units(cost, maker, t.fee_d) + t.book_div > a.exch
    if crosses or short or quantity < t.order_min or quantity * limit < t.cost_min:
        a.status = UNUSUAL  # the exchange would refuse it
    _write(log, a, ENTRY, now, quantity, limit, 0, 0)
    a.sequence += 1
    a.entry_live, a.entry_price = quantity, limit
    a.entry_since, a.entry_number = now, a.sequence
    a.orders += 1


@inner
def _take(t, a, log, now, quantity, price, part, trades, taker):  # type: ignore[no-untyped-def]
    """Buy at the market."""
    if quantity * price < t.cost_min:
        a.status = UNUSUAL  # the exchange would refuse it
    _write(log, a, ENTRY, now, quantity, 0, 0, 0)
    if not trades:
        a.pend_side, a.pend_qty = BUY, quantity
        return
    ask = buy_at(price, part, t.fine_step // 3, t.slip_n, t.slip_d, t.tick)
    _bought(t, a, log, now, quantity, ask, taker, TAKEN)


@inner
def _give_up(a, refusal):  # type: ignore[no-untyped-def]
    a.entry_live = 0
    a.waits_since = 0
    refusal[a.decided] = GIVEN_UP


@inner
def _tend(t, a, log, now, price, part, trades, maker, taker, refusal):  # type: ignore[no-untyped-def]
    """`TradingExecutor._tend`: follow the market, take the rest, or give the purchase up."""
    if a.sold_at >= a.waits_since:
        _give_up(a, refusal)
        return
    if a.to_buy < t.order_min or a.to_buy * a.expected < t.cost_min:
        a.waits_since = 0
        return
    if now < min(a.waits_until, a.looked + _LOOK_US):
        return
    a.looked = now
    third = t.fine_step // 3
    if now >= a.waits_until:
        ask = buy_at(price, part, third, t.slip_n, t.slip_d, t.tick)
        if ask > a.give_up_above:
            _give_up(a, refusal)
            return
        a.entry_live = 0
        a.waits_since = 0
        _take(t, a, log, now, a.to_buy, price, part, trades, taker)
        return
    bid = sell_price(price, part, third, t.slip_n, t.slip_d, t.tick)
    limit = min(bid, a.follow_to)
    if a.orders >= _MOST_ORDERS or (a.entry_live > 0 and limit <= a.entry_price):
        return
    _rest(t, a, log, now, price, part, trades, a.to_buy, limit, maker)


@inner
def _guard(t, a, log, profits, now, price, part, trades, taker):  # type: ignore[no-untyped-def]
    """What is held has a stop of its size, where it has a plan with one."""
    quantity = a.qty - (a.pend_qty if a.pend_side == SELL else 0)
    if quantity == 0 or a.stop_at == 0 or a.stop_live == quantity:
        return
    before, a.stop_live = a.stop_live, 0
    if quantity < t.order_min or quantity * a.stop_at < t.cost_min:
        return
    _write(log, a, STOP, now, quantity, a.stop_at, 0, 0)
    if before == 0:
        a.sequence += 1
        a.stop_number = a.sequence
    a.stop_live, a.stop_since = quantity, now
    if trades and (price < a.stop_at or (price == a.stop_at and part == 0)):
        got = sell_price(price, part, t.fine_step // 3, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, now, quantity, got, taker)


@inner
def _settle(t, a, log, profits, path, now, maker, taker, refusal):  # type: ignore[no-untyped-def]
    """`TradingExecutor.settle` once the market has run to now."""
    price, part, trades = _price(t, a, path, now)
    third = t.fine_step // 3
    if a.qty > 0 and a.target_at > 0 and reached(price, part, third, a.target_at, t.tick):
        if not trades or a.pend_side != 0:
            a.status = UNUSUAL
        # The way is cleared, and a market order ends the waiting without a word.
        a.entry_live = 0
        a.waits_since = 0
        quantity = a.qty
        _leave(t, a, log, TARGET, now, quantity)
        paid = sell_price(price, part, third, t.slip_n, t.slip_d, t.tick)
        _sold(t, a, log, profits, now, quantity, paid, taker)
    if a.waits_since > 0:
        _tend(t, a, log, now, price, part, trades, maker, taker, refusal)
    _guard(t, a, log, profits, now, price, part, trades, taker)


@inner
def _approach(t, a, log, profits, path, moment, maker, taker, refusal):  # type: ignore[no-untyped-def]
    """`Trader.approach`: wake for what happens before the next candle closes."""
    now = a.engine
    while a.status == DONE:
        wake = moment
        if a.waits_since > 0:
            wake = min(wake, a.waits_until, now + _LOOK_US)
            if wake <= now:
                wake = moment
        buying = a.entry_live > 0 or a.pend_side == BUY
        if buying or (a.qty > 0 and a.target_at > 0):
            wake = min(wake, _next_order(t, a, path, moment)[1])
        if a.qty > 0 and a.target_at > 0:
            wake = min(wake, _next_target(t, a, path, now, moment))
        if wake >= moment:
            return
        _advance(t, a, log, profits, path, wake, maker, taker)
        _settle(t, a, log, profits, path, wake, maker, taker, refusal)
        now = wake


# -- decisions -----------------------------------------------------------------------------------


@inner
def _wait(t, a, log, now, quantity, entry, price, trades, maker, taker):  # type: ignore[no-untyped-def]
    """Begin a purchase as a maker, or say that this would save nothing.

    `risk.entries.patience`: how far it follows, and from where on it is given up.
    """
    whole = t.fee_d * t.slip_d
    slip = t.slip_n * t.fee_d
    saving = (taker - maker) * t.slip_d + slip
    if t.patience_us <= 0 or saving <= 0:
        return False
    a.follow_to = entry * (whole + saving) // (whole * t.tick) * t.tick
    a.give_up_above = entry * (whole + 2 * (taker * t.slip_d + slip)) // whole
    a.waits_since, a.waits_until = now, now + t.patience_us
    a.expected, a.to_buy = entry, quantity
    a.looked, a.orders = -_LOOK_US, 0
    bid = sell_price(price, 0, 1, t.slip_n, t.slip_d, t.tick)
    _write(log, a, _APPROVED_BUY, now, quantity, a.plan_stop, a.plan_target, 0)
    _rest(t, a, log, now, price, 0, trades, quantity, bid, maker)
    return True


@inner
def _buy(  # type: ignore[no-untyped-def]
    t, a, log, profits, now, weight, atr, atr_n, atr_d, vol, price, trades, maker, taker
):  # fmt: skip
    """Judge a wish to buy and begin the purchase; the refusal's code."""
    quantity, entry, refusal = _plan(t, a, weight, atr, atr_n, atr_d, vol, price, taker)
    if quantity <= 0:
        return refusal
    if _wait(t, a, log, now, quantity, entry, price, trades, maker, taker):
        return NO_REFUSAL
    _write(log, a, _APPROVED_BUY, now, quantity, a.plan_stop, a.plan_target, 0)
    _take(t, a, log, now, quantity, price, 0, trades, taker)
    _guard(t, a, log, profits, now, price, 0, trades, taker)
    return NO_REFUSAL


@njit(cache=True, nogil=True, error_model="numpy")
def run(  # type: ignore[no-untyped-def]  # noqa: C901 - one loop, for speed
    t,
    opened,
    close,
    weight,
    atr,
    atr_n,
    atr_d,
    vol,
    path,
    rates,
    a,
    log,
    profits,
    equity,
    invested,
    action,
    refusal,
):
    """One account through the moments of a run, as `compiled.run`; how many there were.

    `path` is what prices follow, a row a candle: when it opened (microseconds), open, low, high
    and close in the order in which they are passed, and what orders that rest may get of its
    volume, in lots. `rates` are the maker's and the taker's fee at each moment, in parts of
    `t.fee_d`.
    """
    rows = len(opened)
    p = np.searchsorted(opened, t.first)
    _catch_up(t, a, path, t.first * 1_000_000)
    for k in range(t.moments):
        if a.status != DONE:
            return k
        moment = t.first + k * t.step
        at = moment * 1_000_000
        while p < rows and opened[p] < moment:
            p += 1
        q = p - 1
        fresh = p > 0 and opened[q] == moment - t.step
        if k > 0:
            _approach(t, a, log, profits, path, at, rates[k - 1, 0], rates[k - 1, 1], refusal)
        maker, taker = rates[k, 0], rates[k, 1]
        before = rates[max(k - 1, 0), 1]
        if before != taker and _next_order(t, a, path, at - 1)[0] >= 0:
            a.status = UNUSUAL  # it executes unseen on the last day of other fees
        _advance(t, a, log, profits, path, at, maker, taker)
        _settle(t, a, log, profits, path, at, maker, taker, refusal)
        if not fresh:
            continue
        held = _at_close(t, a, k, moment, close[q], equity, invested)
        if k == t.moments - 1:
            break
        wish = HOLD if math.isnan(weight[q]) else _wish(t, a, weight[q], held)
        action[k] = wish
        a.decided = k
        if wish != HOLD and a.pend_side == SELL:
            a.status = UNUSUAL  # a sale of before still waits
        pending = a.entry_live > 0 or a.pend_side == BUY
        if not (wish == BUY and a.waits_since > 0):
            if a.waits_since > 0:
                _give_up(a, refusal)
            a.entry_live = 0
            if a.pend_side == BUY:
                a.pend_side = 0
        if wish == HOLD:
            continue
        price, _, trades = _price(t, a, path, at)
        target = min(max(weight[q], 0.0), 1.0) * t.share
        if wish == SELL:
            held_before = a.qty
            no = _sell(t, a, log, profits, at, target, price, trades, taker)
            if a.qty != held_before or a.pend_side != 0:
                a.stop_since = at
        else:
            no = _early(t, a, at, pending, target, atr[q], vol[q], price, taker)
            if no == NO_REFUSAL:
                no = _buy(
                    t, a, log, profits, at, target, atr[q], atr_n[q], atr_d[q], vol[q], price,
                    trades, maker, taker,
                )  # fmt: skip
            elif no != PENDING and a.waits_since > 0:
                _give_up(a, refusal)
        if no != NO_REFUSAL:
            refusal[k] = no
    return t.moments
