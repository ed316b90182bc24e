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
    OutcomeUnknown,
    RuleError,
    TraderError,
    UnexpectedAnswer,
    Unreachable,
)
from trader.domain.events import EmergencyStopped
from trader.domain.markets import Pair
from trader.domain.orders import OrderRequest, OrderType, Purpose, Side, make_order_id
from trader.domain.portfolio import Portfolio
from trader.storage.account_lock import AccountLock
from trader.storage.emergency_journal import EmergencyJournal
from trader.storage.reserve import Reserve
from trader.storage.stop_switch import StopRequest
from trading_executor import TradingExecutor
from venues import Venue, Wishes, live

ENOUGH_S = 20.0
PAUSE_S = 0.1
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
    process that holds the account is not waited for: what both do, the exchange does once.

    Raises:
        TraderError: if the exchange cannot be set up at all.
    """
    Reserve(config.data_dir).release_if_full()
    venue = _venue(config)
    lock = AccountLock(config.data_dir, venue.book)
    with contextlib.suppress(RuleError, OSError):
        lock.acquire()
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
    """

    done: bool = False
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
    """Without any record: cancel everything, sell what the loop last said it holds."""
    deed = Deed(notes=["the journal cannot be read: all orders of the account were cancelled"])
    exchange = emergency.venue.exchange
    left = _quantities(beat) if request.flatten else {}
    if request.flatten and not left:
        deed.notes.append("it is not known what the bot holds: look at the exchange yourself")

    def once() -> bool:
        if _tried(deed, exchange.cancel_all) is None:
            return False
        for pair, quantity in list(left.items()):
            if _tried(deed, partial(_sell, emergency, pair, quantity, request)) is not None:
                del left[pair]
        return not left

    deed.done = _until(once)
    deed.held = [str(pair) for pair in left]
    return deed


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
