"""Cancel and sell in place of a loop that does not; with the journal if it can be had.

Used by `stop` alone. Every step that may fail is tried again until the time is up, and none of
them keeps the others from being done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from commands.common import say
from config import Config
from trader.domain.errors import (
    ExchangeError,
    JournalError,
    OrderNotFound,
    OutcomeUnknown,
    RuleError,
    TraderError,
    UnexpectedAnswer,
    Unreachable,
)
from trader.domain.events import EmergencyStopped
from trader.domain.markets import Pair
from trader.domain.orders import (
    Order,
    OrderRequest,
    OrderType,
    Purpose,
    Side,
    make_order_id,
    may_be_ours,
)
from trader.domain.portfolio import Portfolio
from trader.ports import Exchange
from trader.storage.account_lock import AccountLock
from trader.storage.emergency_journal import EmergencyJournal
from trader.storage.reserve import Reserve
from trader.storage.stop_switch import StopRequest
from trading_executor import TradingExecutor
from venues import Venue, Wishes, live

ENOUGH_S = 20.0
PAUSE_S = 0.1
LOCK_PATIENCE_S = 2.5
_LOOK_BACK = timedelta(hours=1)


@dataclass(slots=True)
class Emergency:
    """What an emergency stop needs, and nothing else.

    Attributes:
        unclear: pairs of which it is not known whether a sale without a journal arrived.
    """

    venue: Venue
    journal: EmergencyJournal
    executor: TradingExecutor
    lock: AccountLock
    unclear: set[Pair] = field(default_factory=set)

    def close(self) -> None:
        """Give back files and the lock on the account."""
        self.journal.close()
        self.lock.release()


def assemble(config: Config) -> Emergency:
    """The account as it is, for one who only cancels and sells.

    Neither a locked journal nor a full disk nor a broken model keeps it from being built. Another
    process that holds the account (one just beginning, or in a container, whose process cannot be
    seen from here) obeys the switch within a second if it is well: it is waited for, because two
    that sell at once would sell twice. One that hangs does not keep this from being done.

    Raises:
        TraderError: if the exchange cannot be set up at all.
    """
    Reserve(config.data_dir).release_if_full()
    venue = _venue(config)
    lock = AccountLock(config.data_dir, venue.book)
    with contextlib.suppress(RuleError, OSError):
        lock.acquire(LOCK_PATIENCE_S)
    journal = EmergencyJournal(config.data_dir / "trader.db", venue.book)
    executor = TradingExecutor(venue.exchange, journal, Portfolio(config.quote), clock=venue.clock)
    return Emergency(venue, journal, executor, lock)


def _venue(config: Config) -> Venue:
    if not config.sandbox:
        return live(config, checked=False)
    from paper import paper  # a live account is not to wait for it

    return paper(config, Wishes(standing=True, unlicensed=True, emergency=True))


@dataclass(slots=True)
class Deed:
    """What was achieved.

    Attributes:
        done: nothing waits to buy and, if asked for, nothing is held.
        held: pairs of which something is left.
        notes: what a person should know.
        unknown: nothing tells for certain what is held: the journal cannot be read.
        likely: then, the pairs that the loop last said it holds.
        sold: then, the pairs that were sold.
    """

    done: bool = False
    unknown: bool = False
    likely: list[str] = field(default_factory=list)
    sold: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stand_down(config: Config, request: StopRequest, beat: Mapping[str, Any]) -> Deed:
    """Cancel what waits to buy and, if asked for, sell what is held.

    Args:
        config: the settings.
        request: the stop in force.
        beat: what the loop last said of itself; the last resort where the journal is unreadable.

    Raises:
        TraderError: if not even the exchange can be set up.
    """
    emergency = assemble(config)
    try:
        journal = emergency.journal
        if journal.trouble:
            say(f"going on without the journal: {journal.trouble}")
        deed = (
            _by_the_book(emergency, request) if journal.known else _bare(emergency, beat, request)
        )
        if not journal.write_up(patience_s=2.0):
            deed.notes.append(
                "the journal could not be written: the next start finds these sales as trades by "
                "hand"
            )
        return deed
    finally:
        emergency.close()


def _by_the_book(emergency: Emergency, request: StopRequest) -> Deed:
    """As the loop would: every order of ours is known."""
    executor, clock = emergency.executor, emergency.venue.clock
    stopped: list[bool] = [False]

    def watch(event: object) -> None:
        if isinstance(event, EmergencyStopped):
            stopped[0] = event.flatten or not request.flatten
        elif type(event).__name__ == "Resumed":
            stopped[0] = False

    executor.restore(watch)
    if not stopped[0]:
        at = clock.now()
        executor.record(EmergencyStopped(at, request.reason, request.flatten, request.who))
    deed = Deed()

    def once() -> bool:
        _tried(deed, lambda: executor.settle(clock.now()))
        return bool(
            _tried(
                deed,
                lambda: executor.stand_down(clock.now(), request.reason, flatten=request.flatten),
            )
        )

    deed.done = _until(once)
    deed.held = [str(pair) for pair in executor.portfolio.positions]
    doubts = [o for o in executor.orders.live() if o.in_doubt]
    deed.notes += [f"not known yet whether order {o.order_id} arrived: run stop again in a minute"
                   for o in doubts]  # fmt: skip
    return deed


def _bare(emergency: Emergency, beat: Mapping[str, Any], request: StopRequest) -> Deed:
    """Without any record: cancel what of ours buys, sell what the bot is likely to hold.

    That is what the loop last said it holds; where it said nothing, what our stops guard. All
    else at the exchange stays as it is: stops go on guarding what nobody knows of, and the orders
    of the owner are no business of the bot.
    """
    deed = Deed(unknown=True, notes=["the journal cannot be read"])
    exchange, told = emergency.venue.exchange, _quantities(beat)
    deed.likely = [str(pair) for pair in told]
    left: dict[Pair, Decimal] | None = None

    def once() -> bool:
        nonlocal left
        open_now = _tried(deed, exchange.open_orders)
        if open_now is None:
            return False
        ours = [order for order in open_now if may_be_ours(order.order_id)]
        _note_strangers(deed, open_now)
        if left is None:
            left = (told or _guarded(ours)) if request.flatten else {}
        cleared = _cancelled(deed, exchange, [o for o in ours if o.side is Side.BUY])
        for pair, quantity in list(left.items()):
            # What it is to be sold from is bound by our own sales of it, and by those alone.
            selling = [o for o in ours if o.pair == pair and o.side is Side.SELL]
            if _cancelled(deed, exchange, selling) and _tried(
                deed, partial(_sell, emergency, pair, quantity, request)
            ):
                del left[pair]
                deed.sold.append(str(pair))
        return cleared and not left

    deed.done = _until(once)
    deed.held = [str(pair) for pair in left or ()]
    return deed


def _note_strangers(deed: Deed, open_now: tuple[Order, ...]) -> None:
    count = sum(not may_be_ours(order.order_id) for order in open_now)
    note = f"{count} open orders bear no id of the bot and were left alone"
    if count and note not in deed.notes:
        deed.notes.append(note)


def _guarded(ours: list[Order]) -> dict[Pair, Decimal]:
    """Base of each pair that our protective stops are there to sell."""
    found: dict[Pair, Decimal] = {}
    for order in ours:
        if order.side is Side.SELL and order.type is OrderType.STOP_LOSS:
            found[order.pair] = found.get(order.pair, Decimal(0)) + order.remaining
    return found


def _cancelled(deed: Deed, exchange: Exchange, orders: list[Order]) -> bool:
    """Whether none of the orders is open any more."""

    def cancel(order: Order) -> None:
        with contextlib.suppress(OrderNotFound):  # it is over already
            exchange.cancel(order.exchange_id)

    done = True
    for order in orders:  # every one is tried, whatever came of the others
        done = _tried(deed, partial(cancel, order)) is not None and done
    return done


def _quantities(beat: Mapping[str, Any]) -> dict[Pair, Decimal]:
    found = {}
    for name, quantity in dict(beat.get("quantities") or {}).items():
        try:
            found[Pair.parse(str(name))] = Decimal(str(quantity))
        except (TraderError, InvalidOperation):
            continue
    return found


def _sell(emergency: Emergency, pair: Pair, quantity: Decimal, request: StopRequest) -> bool:
    """Sell what the bot held, once for one stop, however often this is tried.

    The order's id is a function of the stop: one whose answer was lost is found again, and what
    the owner holds beside the bot is not sold in its place.
    """
    exchange, now = emergency.venue.exchange, emergency.venue.clock.now()
    stopped_at = _moment_of(request, now)
    order_id = make_order_id(pair, stopped_at, Side.SELL, Purpose.FLATTEN)
    if exchange.find_order(order_id, min(stopped_at, now) - _LOOK_BACK) is not None:
        return True
    if pair in emergency.unclear:
        raise OutcomeUnknown(
            f"not known yet whether the sale of {pair} arrived: run stop again in a minute"
        )
    balance = exchange.balances().get(pair.base)
    rules = exchange.market_rules(pair)
    there = Decimal(0) if balance is None else balance.total
    amount = rules.quantity_down(min(quantity, there))
    if amount >= rules.order_minimum:
        order = OrderRequest(order_id, pair, Side.SELL, OrderType.MARKET, amount)
        try:
            exchange.place(order, now)
        except (OutcomeUnknown, Unreachable, UnexpectedAnswer):
            emergency.unclear.add(pair)
            raise
    return True


def _moment_of(request: StopRequest, now: datetime) -> datetime:
    """When the stop was set; now where a hand-made switch does not say."""
    try:
        at = datetime.fromisoformat(request.at)
    except ValueError:
        return now
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _tried(deed: Deed, action: Callable[[], Any]) -> Any:
    """The result, None if it failed; what failed is remembered once."""
    try:
        found = action()
    except (ExchangeError, JournalError) as fault:
        if fault.message not in deed.notes:
            deed.notes.append(fault.message)
        return None
    return True if found is None else found


def _until(once: Callable[[], bool]) -> bool:
    ends = time.monotonic() + ENOUGH_S
    while not once():
        if time.monotonic() >= ends:
            return False
        time.sleep(PAUSE_S)
    return True
