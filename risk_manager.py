"""RiskManager: Signal + portfolio + market → Approval or Refusal. Pure.

First the rules of `trader.risk.limits` are asked in order, then the size is found as the
smallest of the caps of `trader.risk.caps`, and the plan is checked against the exchange's minima
and its break-even. The same path judges the orders of strategies and of people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trader.domain.errors import UsageError
from trader.domain.events import RiskStateChanged
from trader.domain.markets import Pair, to_decimal
from trader.domain.orders import OrderType, Side
from trader.domain.portfolio import Portfolio, Position, fall
from trader.domain.signals import HELD_AT_LIMIT, Action, Approval, Refusal, Signal
from trader.risk import limits as rules
from trader.risk import sizing, stops
from trader.risk.caps import Cap, Purchase, caps_of, raised_stop
from trader.risk.entries import patience
from trader.risk.limits import MarketView, RiskContext, RiskLimits, RiskState
from trader.risk.sizing import RoundTrip

__all__ = ["ManualOrder", "MarketView", "RiskLimits", "RiskManager", "RiskState"]

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class ManualOrder:
    """What a person asks for.

    Attributes:
        quantity: base, > 0.
        price: limit price; None for a market order.
        stop: protective stop; None takes the usual one for a purchase.
        take_profit: target; None takes the usual one for a purchase.
    """

    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.MARKET
    price: Decimal | None = None
    stop: Decimal | None = None
    take_profit: Decimal | None = None


class RiskManager:
    """Judges what strategies and people want to do.

    Args:
        limits: what the owner of the account allows.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits

    def review(
        self, signal: Signal, portfolio: Portfolio, market: MarketView, now: datetime
    ) -> Approval | Refusal | None:
        """The order a signal leads to, the rule that forbids it, or None if nothing is to be done.

        None means to hold, to sell what is not held, or to reach a weight that is reached.
        A purchase by a strategy that only names a direction opens a position and never adds to
        one; a sale without a target weight closes it.
        """
        side = _side_of(signal, portfolio)
        if side is None:
            return None
        context = self._context(signal, side, portfolio, market, now)
        if _only_a_direction(context, signal):
            return context.refuse(
                HELD_AT_LIMIT, "held already: who only names a direction adds nothing to it"
            )
        for rule in rules.rules_for(side):
            refusal = rule(context)
            if refusal is not None:
                return refusal
        if side is Side.SELL:
            return _sale(context, signal)
        return self._purchase(context, signal)

    def refusals(
        self, signal: Signal, portfolio: Portfolio, market: MarketView, now: datetime
    ) -> tuple[Refusal, ...]:
        """Every rule that forbids what the signal wants, not only the first."""
        side = _side_of(signal, portfolio)
        if side is None:
            return ()
        context = self._context(signal, side, portfolio, market, now)
        found = [r for rule in rules.rules_for(side) if (r := rule(context)) is not None]
        if found and not _only_a_direction(context, signal):
            return tuple(found)
        verdict = self.review(signal, portfolio, market, now)
        return (verdict,) if isinstance(verdict, Refusal) else ()

    def review_manual(
        self, order: ManualOrder, portfolio: Portfolio, market: MarketView, now: datetime
    ) -> Approval | Refusal:
        """The plan of a person's order, or the rule that forbids it; its size is not changed.

        Raises:
            UsageError: if quantity or prices make no sense (zero, negative, a stop above the
                entry, a limit order without a price).
        """
        _check_words(order)
        context = RiskContext(
            self.limits, portfolio, market, now, order.side, now, order.order_type
        )
        for rule in rules.rules_for(order.side):
            refusal = rule(context)
            if refusal is not None:
                return refusal
        if order.side is Side.SELL:
            return _manual_sale(context, order)
        return self._manual_purchase(context, order)

    def state(self, portfolio: Portfolio, now: datetime, emergency: str = "") -> RiskState:
        """What the account as a whole may do, by its last marked equity."""
        if emergency or self.limits.emergency_stop:
            return RiskState.STOPPED
        tripped = self._tripped(portfolio, now)
        if "drawdown" in tripped:
            return RiskState.REDUCE_ONLY
        return RiskState.NO_NEW_RISK if tripped else RiskState.TRADING

    def stop_of(
        self, position: Position, market: MarketView, highest_close: Decimal
    ) -> Decimal | None:
        """The stop a held position should have now, None where it stays as it is.

        It follows the highest close since the entry at a distance in daily ranges, upwards only,
        and stays below the price.
        """
        multiple = self.limits.trailing_atr_multiple
        if multiple <= 0 or market.daily_atr is None or position.stop is None:
            return None
        found = stops.trailing_stop(
            position.stop, highest_close, market.daily_atr, multiple, market.rules
        )
        return found if position.stop < found < market.price else None

    def held_too_long(self, position: Position, now: datetime) -> bool:
        """Whether a position has been held for the longest time allowed."""
        days = self.limits.max_holding_days
        longest = timedelta(days=days) if days else None
        return stops.time_is_up(position.opened_at, now, longest)

    def change(self, portfolio: Portfolio, now: datetime) -> RiskStateChanged | None:
        """The event of a new state of the account, None while it is in the one last journalled.

        An emergency stop has events of its own.
        """
        state, before = self.state(portfolio, now), portfolio.risk_state
        if state.value == before or state is RiskState.STOPPED:
            return None
        until = rules.drawdown_pause_until(portfolio, self.limits)
        deep = fall(portfolio.equity_peak, portfolio.last_equity) >= self.limits.max_drawdown
        if deep and until is not None and now >= until:
            half_way = (portfolio.equity_peak + portfolio.last_equity) / 2
            words = (
                f"the pause after the drawdown is over; smaller until equity is {half_way:,.2f}"
            )
            return RiskStateChanged(now, state.value, words, half_way)
        tripped = self._tripped(portfolio, now)
        words = ", ".join(tripped) or "no limit is tripped any more"
        return RiskStateChanged(now, state.value, words)

    def _tripped(self, portfolio: Portfolio, now: datetime) -> list[str]:
        """The rules that now forbid the account as a whole to take risk."""
        equity, limits = portfolio.last_equity, self.limits
        tripped = {
            "daily-loss": rules.lost_too_much_today(portfolio, equity, limits, now),
            "drawdown": rules.too_deep(portfolio, equity, limits, now),
            "losing-streak": rules.pausing(portfolio, limits, now),
        }
        return [rule for rule, yes in tripped.items() if yes]

    def limits_status(
        self,
        portfolio: Portfolio,
        now: datetime,
        emergency: str = "",
        prices: Mapping[Pair, Decimal] | None = None,
    ) -> list[dict[str, Any]]:
        """How far each account-wide limit is used: `{rule, used, limit, tripped}` each.

        Fractions are fractions of equity; streak and positions are counts. Without prices the
        last marked equity counts; positions without a price count at their entry.
        """
        limits = self.limits
        known = {p: (prices or {}).get(p, h.entry_price) for p, h in portfolio.positions.items()}
        equity = portfolio.equity(known) if prices else portfolio.last_equity
        exposed = portfolio.exposure(known) / equity if equity > 0 else ZERO
        day = rules.day_loss(portfolio, equity, limits, now).fraction
        down = fall(portfolio.equity_peak, equity)
        stopped = bool(emergency) or limits.emergency_stop
        held = len(portfolio.open_pairs)
        return [
            _row("emergency-stop", int(stopped), 1, stopped),
            _row(
                "daily-loss", day, limits.max_daily_loss,
                rules.lost_too_much_today(portfolio, equity, limits, now),
            ),
            _row(
                "drawdown", down, limits.max_drawdown,
                rules.too_deep(portfolio, equity, limits, now),
            ),
            _row(
                "losing-streak", portfolio.losing_streak, limits.max_consecutive_losses,
                rules.pausing(portfolio, limits, now),
            ),
            _row(
                "max-open-positions", held, limits.max_open_positions,
                held >= limits.max_open_positions,
            ),
            _row("max-exposure", exposed, limits.max_exposure, exposed >= limits.max_exposure),
        ]  # fmt: skip

    def _context(
        self,
        signal: Signal,
        side: Side,
        portfolio: Portfolio,
        market: MarketView,
        now: datetime,
    ) -> RiskContext:
        return RiskContext(
            self.limits, portfolio, market, now, side, signal.closed_at,
            probability=signal.probability,
        )  # fmt: skip

    def _purchase(self, context: RiskContext, signal: Signal) -> Approval | Refusal | None:
        market = context.market
        entry = market.price if market.ask is None else max(market.price, market.ask)
        purchase = self._sized(context, entry, signal.target_weight)
        if isinstance(purchase, Refusal):
            return purchase
        binding = caps_of(purchase)[0]
        if binding.rule == "target-weight" and binding.quantity == 0:
            return None
        quantity = market.rules.quantity_down(binding.quantity)
        refusal = _not_worth_adding(purchase, quantity, binding)
        if refusal is None:
            refusal = _too_small(purchase, quantity, f"{binding.words} ({binding.rule})")
        if refusal is None:
            refusal = self._poor_odds(purchase)
        if refusal is not None:
            return refusal
        plan = _plan(purchase, quantity, None, (f"{binding.rule}: {binding.words}",))
        return self._patient(plan, context)

    def _patient(self, plan: Approval, context: RiskContext) -> Approval:
        """The plan of a purchase that waits at the bid first, where that can save something.

        Its size stays that of a purchase at once: the money must do for the rest that is taken.
        """
        market = context.market
        longest = timedelta(minutes=self.limits.entry_patience_minutes)
        wait = patience(plan.entry, market.fees, market.slippage, context.now, longest)
        if wait is None or market.bid is None or market.bid <= 0:
            return plan
        bid = market.rules.price_down(market.bid)
        return replace(plan, order_type=OrderType.LIMIT, limit_price=bid, patience=wait)

    def _manual_purchase(self, context: RiskContext, order: ManualOrder) -> Approval | Refusal:
        market = context.market
        limit = None if order.price is None else market.rules.price_nearest(order.price)
        touch = market.price if market.ask is None else max(market.price, market.ask)
        entry = touch if limit is None else limit
        stop = self._stop(context, entry, order.stop)
        if isinstance(stop, Refusal):
            return stop
        target = order.take_profit
        if target is not None and target <= entry:
            raise UsageError(f"take-profit {target:f} is not above the entry {entry:f}")
        if target is None:
            target = stops.target_price(entry, stop, self.limits.risk_reward, market.rules)
        else:
            target = market.rules.price_nearest(target)
        purchase = Purchase(context, entry, stop, target, _costs(context))
        quantity = market.rules.quantity_down(order.quantity)
        refusal = _too_small(purchase, quantity, f"{order.quantity:f} asked for")
        if refusal is not None:
            return refusal
        for cap in caps_of(purchase):
            most = market.rules.quantity_down(cap.quantity)
            if quantity > most:
                return context.refuse(
                    cap.rule, f"{quantity:f} is too much: {cap.words}; at most {most:f} now"
                )
        return _plan(purchase, quantity, limit, _rounding(order, quantity, limit))

    def _sized(
        self, context: RiskContext, entry: Decimal, weight: float | None
    ) -> Purchase | Refusal:
        """The purchase with the stop of the whole position afterwards.

        A position keeps the stop it was opened with. Raising it with every addition would make a
        trailing stop of it, which costs a trend its gains; it is raised only as far as the whole
        would else lose more than one trade may, and never above the usual distance.
        """
        own = self._own_stop(context, entry, None)
        if isinstance(own, Refusal):
            return own
        costs, rules, held = _costs(context), context.market.rules, context.held

        def at(stop: Decimal) -> Purchase:
            target = stops.target_price(entry, stop, self.limits.risk_reward, rules)
            return Purchase(context, entry, stop, target, costs, weight)

        if held is None or held.stop is None:
            return at(own)
        if held.stop >= entry:
            return _below_its_stop(context, entry, held.stop)
        return at(raised_stop(at(held.stop), max(own, held.stop)))

    def _stop(
        self, context: RiskContext, entry: Decimal, wanted: Decimal | None
    ) -> Decimal | Refusal:
        """The stop of the whole position after a person's purchase; never lowered."""
        stop = self._own_stop(context, entry, wanted)
        held = context.held
        if isinstance(stop, Refusal) or held is None or held.stop is None:
            return stop
        if held.stop >= entry:
            return _below_its_stop(context, entry, held.stop)
        return max(stop, held.stop)

    def _own_stop(
        self, context: RiskContext, entry: Decimal, wanted: Decimal | None
    ) -> Decimal | Refusal:
        """The person's own stop, or one some daily ATRs below the entry."""
        market = context.market
        if wanted is not None:
            if not 0 < wanted < entry:
                raise UsageError(
                    f"stop-loss {wanted:f}: expected a price above 0 and below the entry {entry:f}"
                )
            wanted = market.rules.price_down(wanted)
            return wanted if wanted > 0 else context.refuse("no-stop", "below one tick")
        if market.daily_atr is None or not market.daily_atr.is_finite():
            return context.refuse(
                "no-stop", "the daily range is not known yet, so no stop can be placed"
            )
        multiple = self.limits.stop_atr_multiple
        stop = stops.atr_stop(entry, market.daily_atr, multiple, market.rules)
        return stop or context.refuse(
            "no-stop", f"no price between 0 and the entry {entry} on ticks of {market.rules.tick}"
        )

    def _poor_odds(self, purchase: Purchase) -> Refusal | None:
        """Whether a model's probability does not pay the costs at this stop and target."""
        chance = purchase.context.probability
        needed = _break_even(purchase)
        if chance is None or needed is None:
            return None
        needed += self.limits.edge_margin
        if chance >= needed:
            return None
        return purchase.context.refuse(
            "minimum-edge", f"probability {chance:.3f}, break-even after costs {needed:.3f}"
        )


def _below_its_stop(context: RiskContext, entry: Decimal, stop: Decimal) -> Refusal:
    return context.refuse("no-stop", f"the price {entry} is not above the position's stop {stop}")


def _side_of(signal: Signal, portfolio: Portfolio) -> Side | None:
    """The side of the order a signal asks for, None if it asks for none."""
    if signal.action is Action.BUY:
        return Side.BUY
    if signal.action is Action.SELL and portfolio.position(signal.pair) is not None:
        return Side.SELL
    return None


def _only_a_direction(context: RiskContext, signal: Signal) -> bool:
    """Whether a purchase would add to a position without saying how much."""
    buys = context.side is Side.BUY and signal.target_weight is None
    return buys and context.held is not None


def _row(rule: str, used: Decimal | int, limit: Decimal | int, tripped: bool) -> dict[str, Any]:
    def plain(value: Decimal | int) -> float | int:
        return value if isinstance(value, int) else round(float(value), 6)

    return {"rule": rule, "used": plain(used), "limit": plain(limit), "tripped": tripped}


def _costs(context: RiskContext) -> RoundTrip:
    """What this purchase and a later sale by stop cost; a stop always takes liquidity."""
    fees, slippage = context.market.fees, context.market.slippage
    if context.order_type is OrderType.LIMIT:
        fee = fees.maker if context.post_only else max(fees.maker, fees.taker)
        return RoundTrip(fee, fees.taker, ZERO, slippage)
    return RoundTrip(fees.taker, fees.taker, slippage, slippage)


def _not_worth_adding(purchase: Purchase, quantity: Decimal, binding: Cap) -> Refusal | None:
    """Whether the position already is as large as it may be, or so nearly that a fee is lost."""
    context = purchase.context
    if context.held is None:
        return None
    market, cost = context.market.rules, quantity * purchase.entry
    smallest = max(
        context.limits.smallest_addition * context.equity,
        market.cost_minimum,
        market.order_minimum * purchase.entry,
    )
    if cost >= smallest:
        return None
    return context.refuse(
        "smallest-addition",
        f"held at its limit ({binding.rule}): {binding.words} leaves {cost:,.2f} to add; "
        f"less than {smallest:,.2f} is not worth its fee",
    )


def _too_small(purchase: Purchase, quantity: Decimal, words: str) -> Refusal | None:
    """Whether the exchange wants more than this."""
    context = purchase.context
    market, cost = context.market.rules, quantity * purchase.entry
    if market.is_dust(quantity, purchase.entry):
        return context.refuse(
            "minimum-size",
            f"{words} leaves {quantity:f} {market.pair.base} = {cost:,.2f} {market.pair.quote}; "
            f"the exchange takes no less than {market.order_minimum:f} {market.pair.base} and "
            f"{market.cost_minimum:f} {market.pair.quote}",
        )
    return None


def _break_even(purchase: Purchase) -> float | None:
    if purchase.target is None:
        return None
    gain = purchase.costs.gain(purchase.entry, purchase.target)
    return float(sizing.break_even_probability(gain, purchase.loss_per_unit))


def _plan(
    purchase: Purchase,
    quantity: Decimal,
    limit: Decimal | None,
    reasons: tuple[str, ...],
) -> Approval:
    context = purchase.context
    return Approval(
        pair=context.market.pair,
        closed_at=context.closed_at,
        side=Side.BUY,
        order_type=context.order_type,
        quantity=quantity,
        entry=purchase.entry,
        stop=purchase.stop,
        take_profit=purchase.target,
        limit_price=limit,
        risk_quote=context.market.rules.booked_cost(quantity * purchase.loss_per_unit),
        cost_quote=context.market.rules.booked_cost(
            quantity * purchase.costs.paid(purchase.entry)
        ),
        break_even_probability=_break_even(purchase),
        reasons=reasons,
    )


def _sale(context: RiskContext, signal: Signal) -> Approval | Refusal | None:
    """A way out, or part of one: as much as brings the position to the wanted weight."""
    held = context.portfolio.position(context.market.pair)
    if held is None:
        return None
    market = context.market
    kept = ZERO
    if signal.target_weight is not None:
        price = market.price
        kept = max(ZERO, to_decimal(signal.target_weight)) * context.equity / price
    quantity = market.rules.quantity_down(held.quantity - kept) if kept < held.quantity else ZERO
    if quantity <= 0:
        if kept:
            return None
        return _dust(context, market.rules.quantity_down(held.quantity))
    rest = held.quantity - quantity
    if kept and market.rules.is_dust(rest, market.price):
        # What would be left could never be sold: all goes.
        quantity = market.rules.quantity_down(held.quantity)
    if market.rules.is_dust(quantity, market.price):
        return _dust(context, quantity)
    return _selling_plan(context, quantity, None, signal.reasons[:1])


def _manual_sale(context: RiskContext, order: ManualOrder) -> Approval | Refusal:
    market = context.market
    position = context.portfolio.position(market.pair)
    held = position.quantity if position else ZERO
    quantity = market.rules.quantity_down(order.quantity)
    if quantity > held:
        return context.refuse(
            "holdings",
            f"{order.quantity:f} asked for, {held:f} {market.pair.base} held by the bot",
        )
    limit = None if order.price is None else market.rules.price_nearest(order.price)
    price = market.price if limit is None else limit
    if market.rules.is_dust(quantity, price):
        return _dust(context, quantity)
    return _selling_plan(context, quantity, limit, _rounding(order, quantity, limit))


def _dust(context: RiskContext, quantity: Decimal) -> Refusal:
    market = context.market.rules
    return context.refuse(
        "minimum-size",
        f"{quantity:f} {market.pair.base} to sell; the exchange takes no less than "
        f"{market.order_minimum:f} and {market.cost_minimum:f} {market.pair.quote}",
    )


def _selling_plan(
    context: RiskContext, quantity: Decimal, limit: Decimal | None, reasons: tuple[str, ...]
) -> Approval:
    market = context.market
    expected = market.price if market.bid is None else min(market.price, market.bid)
    entry = expected if limit is None else limit
    slippage = ZERO if limit is not None else market.slippage
    freed = quantity * entry * (1 - slippage) * (1 - market.fees.taker)
    return Approval(
        pair=market.pair,
        closed_at=context.closed_at,
        side=Side.SELL,
        order_type=context.order_type,
        quantity=quantity,
        entry=entry,
        stop=None,
        take_profit=None,
        limit_price=limit,
        risk_quote=ZERO,
        cost_quote=market.rules.booked_cost(freed),
        break_even_probability=None,
        reasons=reasons,
    )


def _check_words(order: ManualOrder) -> None:
    """Refuse what makes no sense before any rule is asked."""
    if not order.quantity.is_finite() or order.quantity <= 0:
        raise UsageError(f"volume {order.quantity}: expected a number above 0")
    if order.order_type not in (OrderType.MARKET, OrderType.LIMIT):
        raise UsageError(f"order type {order.order_type}: expected market or limit")
    if order.order_type is OrderType.LIMIT and order.price is None:
        raise UsageError("a limit order needs a price", "Add --price.")
    if order.order_type is OrderType.MARKET and order.price is not None:
        raise UsageError("a market order has no price", "Use --type limit with --price.")
    for name, price in (
        ("price", order.price), ("stop-loss", order.stop), ("take-profit", order.take_profit)
    ):  # fmt: skip
        if price is not None and (not price.is_finite() or price <= 0):
            raise UsageError(f"{name} {price}: expected a number above 0")
    if order.side is Side.SELL and (order.stop is not None or order.take_profit is not None):
        raise UsageError("stop-loss and take-profit belong to a purchase")


def _rounding(order: ManualOrder, quantity: Decimal, limit: Decimal | None) -> tuple[str, ...]:
    """What was changed in the person's order to fit the exchange's grid."""
    said = []
    if quantity != order.quantity:
        said.append(f"volume {order.quantity:f} rounded down to whole lots: {quantity:f}")
    if order.price is not None and limit != order.price:
        said.append(f"price {order.price:f} rounded to the tick: {limit:f}")
    return tuple(said)
