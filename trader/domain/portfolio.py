"""The portfolio: what you get by replaying the journal.

Positions grow by fills of our own orders only; what the user trades or transfers by hand shows up
as a `CashAdjusted` and is otherwise left alone, unless it takes away what a position stands on:
then the position shrinks, and the money that came for it is no deposit but its price. All amounts
are exact decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from trader.domain.events import (
    CashAdjusted,
    DustLeft,
    EquityMarked,
    Event,
    OrderEnded,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    Resumed,
    RiskStateChanged,
    StopMoved,
)
from trader.domain.fading import Fading
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Purpose, Side

ZERO = Decimal(0)
SALE_FROM = Decimal("0.5")
"""What came for at least this part of the worth of the coins that left is what they sold for."""


CLOSES_WITHIN = timedelta(minutes=5)
"""The first mark of a UTC day, made so soon after midnight, is the close of the day before."""


def fall(peak: Decimal, equity: Decimal) -> Decimal:
    """How far equity is below its peak, as a fraction ≥ 0; 0 while there is no peak."""
    return max(ZERO, 1 - equity / peak) if peak > 0 else ZERO


@dataclass(frozen=True, slots=True)
class DayEnded:
    """A UTC day as its closing mark left it.

    Attributes:
        began_at: moment of the mark it began with.
        closed_at: moment of the mark that closed it.
        loss: from the one to the other, as a fraction ≥ 0.
    """

    began_at: datetime
    closed_at: datetime
    loss: Decimal


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one pair.

    Attributes:
        quantity: base, ≥ 0.
        cost_quote: what was paid for it, fees included.
        stop: protective stop price, None if there is none.
        take_profit: target price, None if there is none.
        dust: too little to be sold: no position to any rule, but not forgotten either.
    """

    pair: Pair
    quantity: Decimal
    cost_quote: Decimal
    entry_price: Decimal
    opened_at: datetime
    stop: Decimal | None = None
    take_profit: Decimal | None = None
    entry_fees: Decimal = ZERO
    dust: bool = False

    def unrealised(self, price: Decimal) -> Decimal:
        """Profit if sold at the price, before the fee of selling."""
        return self.quantity * price - self.cost_quote


@dataclass(frozen=True, slots=True)
class Trade:
    """A closed round trip, or the closed part of one: all that one order sold.

    An order that is filled in parts is one decision, so it is one trade however deep the book
    was; prices are then means by quantity.

    Attributes:
        entry_at: the first purchase of the position.
        entry_price: mean price of all purchases of the position until then.
        exit_at: the last fill of the order that sold.
        profit_quote: after entry and exit fees, against the mean cost of the position.
        fees_quote: entry and exit together.
        exit_purpose: what ended it (exit, stop, target, flatten, manual).
        order_id: the order that sold.
    """

    pair: Pair
    entry_at: datetime
    entry_price: Decimal
    exit_at: datetime
    exit_price: Decimal
    quantity: Decimal
    fees_quote: Decimal
    profit_quote: Decimal
    exit_purpose: Purpose
    order_id: str = field(default="", compare=False)

    def with_part(self, part: Trade) -> Trade:
        """The same trade after one more fill of its order."""
        quantity = self.quantity + part.quantity

        def mean(one: Decimal, other: Decimal) -> Decimal:
            if one == other:
                return one
            return (one * self.quantity + other * part.quantity) / quantity

        return replace(
            self,
            entry_price=mean(self.entry_price, part.entry_price),
            exit_at=part.exit_at,
            exit_price=mean(self.exit_price, part.exit_price),
            quantity=quantity,
            fees_quote=self.fees_quote + part.fees_quote,
            profit_quote=self.profit_quote + part.profit_quote,
        )


@dataclass(frozen=True, slots=True)
class _Unexplained:
    """What one comparison with the exchange found that no order of ours explains, in quote.

    A sale by hand is seen as coins that left a position and money that came, in one comparison.
    Taken for a withdrawal and a deposit it would raise the peak by the deposit and look like a
    fall of as much. So both are netted: what fees and price cost is a loss, the rest a transfer.

    Attributes:
        at: when accounts were compared.
        peak: highest equity before it; likewise `day_start`, `last` and `recovering_to`.
        came: quote that came, or went (negative).
        gone: worth at the last known price of what left positions, ≥ 0.
    """

    at: datetime
    peak: Decimal
    day_start: Decimal
    last: Decimal
    recovering_to: Decimal | None
    came: Decimal = ZERO
    gone: Decimal = ZERO

    @property
    def transferred(self) -> Decimal:
        """The part that is neither profit nor loss: paid in, or taken out (negative)."""
        net = self.came - self.gone
        sold = self.gone > 0 and self.came >= SALE_FROM * self.gone
        return max(ZERO, net) if sold else net


@dataclass(slots=True)
class Portfolio:
    """Cash, positions and closed trades of one account in one quote currency.

    Attributes:
        transfers_quote: paid in less taken out: what equity has in excess of it was earned.
        equity_peak: highest marked equity since the start, or since trading was last resumed.
        day: the UTC day of the newest mark; its loss counts from `day_start_equity`, marked at
            `day_start_at`.
        day_before: how the day before that ended, None while there was none.
        losing_streak: round trips in a row that lost money.
        trades: closed trades in the order of their ends; the newest `keep_trades` of them. An
            order that is still being filled has its trade here already, and it grows.
        trades_ended: how many there were in all.
        keep_trades: None keeps all, as reports want; a loop that runs for years needs a few.
        risk_state: what the account as a whole may do, as last journalled; since
            `risk_state_since`.
        recovering_to: equity up to which purchases are smaller after a drawdown, None if they
            are not.
    """

    quote: str
    cash: Decimal = ZERO
    positions: dict[Pair, Position] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    fees_quote: Decimal = ZERO
    transfers_quote: Decimal = ZERO
    outside: dict[str, Decimal] = field(default_factory=dict)
    equity_peak: Decimal = ZERO
    day: str = ""
    day_start_equity: Decimal = ZERO
    day_start_at: datetime | None = None
    day_before: DayEnded | None = None
    last_equity: Decimal = ZERO
    last_marked_at: datetime | None = None
    losing_streak: int = 0
    last_loss_at: datetime | None = None
    trades_ended: int = 0
    keep_trades: int | None = None
    risk_state: str = "trading"
    risk_state_since: datetime | None = None
    recovering_to: Decimal | None = None
    _seen: set[str] = field(default_factory=set)
    _realised: dict[Pair, Decimal] = field(default_factory=dict)
    _newest: dict[Pair, Trade] = field(default_factory=dict)
    _plans: dict[str, tuple[Decimal | None, Decimal | None]] = field(default_factory=dict)
    _prices: dict[Pair, Decimal] = field(default_factory=dict, compare=False)
    _unexplained: _Unexplained | None = field(default=None, compare=False)
    _over: Fading[str] = field(default_factory=Fading, compare=False)
    _old_fills: Fading[str] = field(default_factory=Fading, compare=False)

    def apply(self, event: Event) -> None:
        """Take in one event; fills count once by their trade id, others pass."""
        match event:
            case OrderFilled(fill=fill, purpose=purpose):
                self._fill(fill, purpose)
            case OrderIntended(at=at, request=request, stop=stop, take_profit=target):
                if stop is not None or target is not None:
                    self._plans[request.order_id] = (stop, target)
                self._forget(at)
            case OrderEnded(at=at, order_id=order_id) | OrderRefused(at=at, order_id=order_id):
                self._over.over(order_id, at)
            case CashAdjusted(at=at, asset=asset, amount=amount) if asset == self.quote:
                self.cash += amount
                self._explain(at, came=amount)
            case CashAdjusted(at=at, asset=asset, amount=amount):
                self._explain(at, gone=self._outside(asset, amount))
            case EquityMarked(at=at, equity=equity, prices=prices):
                self._prices.update(prices)
                self._mark(at, equity)
            case _:
                self._limits(event)

    def position(self, pair: Pair) -> Position | None:
        """What is held of the pair, None if nothing."""
        return self.positions.get(pair)

    def open_position(self, pair: Pair) -> Position | None:
        """What is held of the pair and can be sold, None if nothing."""
        held = self.positions.get(pair)
        return None if held is None or held.dust else held

    @property
    def open_pairs(self) -> tuple[Pair, ...]:
        """The pairs of which more than dust is held."""
        return tuple(pair for pair, held in self.positions.items() if not held.dust)

    def holdings(self) -> dict[str, Decimal]:
        """Asset → what the account should hold of it: cash, positions and what is not ours."""
        held = {self.quote: self.cash, **self.outside}
        for position in self.positions.values():
            base = position.pair.base
            held[base] = held.get(base, ZERO) + position.quantity
        return held

    def newest_trades(self, count: int) -> list[Trade]:
        """The last so many closed trades, oldest first."""
        return self.trades[max(0, len(self.trades) - count) :]

    def exposure(self, prices: Mapping[Pair, Decimal]) -> Decimal:
        """Value of all positions, in quote."""
        return sum((p.quantity * prices[p.pair] for p in self.positions.values()), ZERO)

    def equity(self, prices: Mapping[Pair, Decimal]) -> Decimal:
        """Cash and positions at the given prices, in quote.

        Raises:
            KeyError: if the price of a held pair is missing.
        """
        return self.cash + self.exposure(prices)

    @property
    def drawdown(self) -> Decimal:
        """Fall of the last marked equity from its peak, as a fraction ≥ 0."""
        return fall(self.equity_peak, self.last_equity)

    @property
    def day_loss(self) -> Decimal:
        """Loss since the start of the UTC day as a fraction of its first equity, ≥ 0."""
        return fall(self.day_start_equity, self.last_equity)

    def _explain(self, at: datetime, *, came: Decimal = ZERO, gone: Decimal = ZERO) -> None:
        """Move the marks along with what was paid in or taken out, and with nothing else."""
        found = self._unexplained
        if found is None or found.at != at:
            found = _Unexplained(
                at, self.equity_peak, self.day_start_equity, self.last_equity, self.recovering_to
            )
        now = replace(found, came=found.came + came, gone=found.gone + gone)
        moved = now.transferred
        self.transfers_quote += moved - found.transferred
        self.equity_peak = max(ZERO, now.peak + moved)
        self.day_start_equity = max(ZERO, now.day_start + moved)
        self.last_equity = max(ZERO, now.last + now.came - now.gone)
        if now.recovering_to is not None:
            self.recovering_to = max(ZERO, now.recovering_to + moved)
        self._unexplained = now

    def _limits(self, event: Event) -> None:
        """What limits what may be lost from here on."""
        match event:
            case Resumed():
                self._unexplained = None
                # A person has looked and allowed trading again: limits count from here.
                self.equity_peak = self.last_equity
                self.losing_streak = 0
                self.recovering_to = None
            case RiskStateChanged(at=at, state=state, recovering_to=half_way):
                self.risk_state, self.risk_state_since = state, at
                self._unexplained = None
                if half_way is not None:
                    self.equity_peak, self.recovering_to = self.last_equity, half_way
            case StopMoved(pair=pair, stop=stop) if pair in self.positions:
                held = self.positions[pair]
                self.positions[pair] = replace(held, stop=max(held.stop or ZERO, stop))
            case DustLeft(at=at, pair=pair) if pair in self.positions:
                self.positions[pair] = replace(self.positions[pair], dust=True)
                if pair in self._realised:
                    self._end_round_trip(pair, at)

    def _outside(self, asset: str, amount: Decimal) -> Decimal:
        """Take in coins that came or went beside our orders; worth of what positions lost."""
        lost = ZERO
        left = self.outside.pop(asset, ZERO) + amount
        for pair in [p for p in self.positions if p.base == asset and left < 0]:
            held = self.positions[pair]
            gone = min(held.quantity, -left)
            left += gone
            lost += gone * self._prices.get(pair, held.entry_price)
            self._shrink(held, gone)
            if pair not in self.positions:
                self._realised.pop(pair, None)
        if left:
            self.outside[asset] = left
        return lost

    def _shrink(self, held: Position, quantity: Decimal) -> None:
        if quantity == held.quantity:
            del self.positions[held.pair]
            return
        share = quantity / held.quantity
        self.positions[held.pair] = replace(
            held,
            quantity=held.quantity - quantity,
            cost_quote=held.cost_quote * (1 - share),
            entry_fees=held.entry_fees * (1 - share),
        )

    def _mark(self, at: datetime, equity: Decimal) -> None:
        self._unexplained = None
        day = at.date().isoformat()
        if day != self.day:
            self._begin_day(day, at, equity)
        self.last_equity, self.last_marked_at = equity, at
        self.equity_peak = max(self.equity_peak, equity)
        if self.recovering_to is not None and equity >= self.recovering_to:
            self.recovering_to = None

    def _begin_day(self, day: str, at: datetime, equity: Decimal) -> None:
        """End one day and begin the next, at the first mark of the new one.

        A candle that closes at midnight belongs to the day that ends with it. A mark that comes
        later is of both: then the new day begins with the mark before, so that a loss in the gap
        over midnight counts.
        """
        closes = False
        if self.day_start_at is not None:
            loss = fall(self.day_start_equity, equity)
            self.day_before = DayEnded(self.day_start_at, at, loss)
            midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
            closes = at - midnight <= CLOSES_WITHIN
        self.day = day
        if closes:
            self.day_start_equity, self.day_start_at = equity, at
        else:
            self.day_start_equity = self.last_equity or equity
            self.day_start_at = self.last_marked_at or at

    def _fill(self, fill: Fill, purpose: Purpose) -> None:
        if fill.trade_id in self._seen:
            return
        self._seen.add(fill.trade_id)
        self._old_fills.over(fill.trade_id, fill.filled_at)
        self.fees_quote += fill.fee_quote
        self._prices[fill.pair] = fill.price
        if fill.side is Side.BUY:
            self._bought(fill)
        else:
            self._sold(fill, purpose)

    def _bought(self, fill: Fill) -> None:
        self.cash -= fill.cost_quote + fill.fee_quote
        stop, target = self._plans.get(fill.order_id, (None, None))
        held = self.positions.get(fill.pair)
        if held is None:
            self.positions[fill.pair] = Position(
                fill.pair, fill.quantity, fill.cost_quote + fill.fee_quote, fill.price,
                fill.filled_at, stop, target, fill.fee_quote,
            )  # fmt: skip
            return
        if held.dust:
            # A new position, with the plan of its own order; what was left over joins it.
            held = replace(held, opened_at=fill.filled_at, stop=None, take_profit=None, dust=False)
        quantity = held.quantity + fill.quantity
        entry = (held.entry_price * held.quantity + fill.price * fill.quantity) / quantity
        self.positions[fill.pair] = replace(
            held,
            quantity=quantity,
            cost_quote=held.cost_quote + fill.cost_quote + fill.fee_quote,
            entry_price=entry,
            entry_fees=held.entry_fees + fill.fee_quote,
            # A later entry may raise the protection, never lower it.
            stop=max((s for s in (held.stop, stop) if s is not None), default=None),
            take_profit=target if target is not None else held.take_profit,
        )

    def _sold(self, fill: Fill, purpose: Purpose) -> None:
        self.cash += fill.cost_quote - fill.fee_quote
        held = self.positions.get(fill.pair)
        quantity = min(fill.quantity, held.quantity) if held else ZERO
        if held is not None:
            self._close(held, quantity, fill, purpose)
        if quantity < fill.quantity:
            # More was sold than the position had: the rest came from what is not ours.
            self._outside(fill.pair.base, quantity - fill.quantity)

    def _close(self, held: Position, quantity: Decimal, fill: Fill, purpose: Purpose) -> None:
        share = quantity / held.quantity
        cost, entry_fees = held.cost_quote * share, held.entry_fees * share
        profit = fill.cost_quote - fill.fee_quote - cost
        self._count(Trade(
            fill.pair, held.opened_at, held.entry_price, fill.filled_at, fill.price, quantity,
            entry_fees + fill.fee_quote, profit, purpose, fill.order_id,
        ))  # fmt: skip
        self._shrink(held, quantity)
        if held.pair not in self.positions:
            self._end_round_trip(fill.pair, fill.filled_at)

    def _count(self, trade: Trade) -> None:
        earned = self._realised.get(trade.pair, ZERO) + trade.profit_quote
        self._realised[trade.pair] = earned
        begun = self._newest.get(trade.pair)
        if begun is not None and begun.order_id == trade.order_id and self._take_back(begun):
            trade = begun.with_part(trade)
        else:
            self.trades_ended += 1
        self._newest[trade.pair] = trade
        self.trades.append(trade)
        if self.keep_trades is not None and len(self.trades) > 2 * self.keep_trades:
            del self.trades[: -self.keep_trades]

    def _take_back(self, trade: Trade) -> bool:
        """Remove a trade that goes on; whether it was there. It is among the newest."""
        for place in range(len(self.trades) - 1, -1, -1):
            if self.trades[place] is trade:
                del self.trades[place]
                return True
        return False

    def _forget(self, now: datetime) -> None:
        """Let go of the plans and fills of orders that have been over for long."""
        for order_id in self._over.due(now):
            self._plans.pop(order_id, None)
        self._seen.difference_update(self._old_fills.due(now))

    def _end_round_trip(self, pair: Pair, at: datetime) -> None:
        """A position is closed: a loss or not, however many fills it took to get out."""
        if self._realised.pop(pair) < 0:
            self.losing_streak += 1
            self.last_loss_at = at
        else:
            self.losing_streak = 0


def replay(quote: str, events: Iterable[Event]) -> Portfolio:
    """The portfolio after all these events, from nothing."""
    portfolio = Portfolio(quote)
    for event in events:
        portfolio.apply(event)
    return portfolio
