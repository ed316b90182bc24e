"""Kraken's request counters, for both ends of the wire.

The REST counter of a key rises with each private call and falls with time; the trading counter of
an account and pair rises with orders, and more with the cancel of an order that was young. The
client keeps below the limits with them; the sandbox enforces them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from trader.domain.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of a verification tier; decays are points a second."""

    name: str
    rest_maximum: float
    rest_decay: float
    trading_threshold: float
    trading_decay: float
    open_orders_per_pair: int


TIERS = {
    "starter": Tier("starter", 15, 0.33, 60, 1.0, 60),
    "intermediate": Tier("intermediate", 20, 0.5, 125, 2.34, 80),
    "pro": Tier("pro", 20, 1.0, 180, 3.75, 225),
}

# Calls of the trading engine cost nothing here: they have the counter of their own.
TRADING_CALLS = frozenset(
    {
        "AddOrder", "AddOrderBatch", "EditOrder", "AmendOrder", "CancelOrder",
        "CancelOrderBatch", "CancelAll", "CancelAllOrdersAfter",
    }
)  # fmt: skip
_HISTORY_CALLS = frozenset({"Ledgers", "QueryLedgers", "TradesHistory", "ClosedOrders"})


def rest_cost(call: str) -> int:
    """What a private call adds to the REST counter."""
    if call in TRADING_CALLS:
        return 0
    return 2 if call in _HISTORY_CALLS else 1


class Action(StrEnum):
    """What an order request does, as the trading counter sees it."""

    ADD = "add"
    AMEND = "amend"
    EDIT = "edit"
    CANCEL = "cancel"


_FIXED = {Action.ADD: 1, Action.AMEND: 1, Action.EDIT: 1, Action.CANCEL: 0}
# (age below this many seconds, penalty), youngest first.
_PENALTIES: dict[Action, tuple[tuple[float, int], ...]] = {
    Action.ADD: (),
    Action.AMEND: ((5, 3), (10, 2), (15, 1)),
    Action.EDIT: ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    Action.CANCEL: ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}


def trading_cost(action: Action, age_s: float = 0.0) -> int:
    """What an action adds to the trading counter of its pair.

    Args:
        action: what is done to the order.
        age_s: seconds since the order was made or last amended; ignored for a new order.

    >>> trading_cost(Action.CANCEL, age_s=7)
    6
    """
    penalty = next((points for limit, points in _PENALTIES[action] if age_s < limit), 0)
    return _FIXED[action] + penalty


class DecayingCounter:
    """A number that rises when told and falls steadily to zero.

    Args:
        decay: points a second.
    """

    __slots__ = ("_at", "_decay", "_value")

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._value = 0.0
        self._at = 0.0

    def value(self, now_s: float) -> float:
        """Points at that moment."""
        return max(0.0, self._value - max(0.0, now_s - self._at) * self._decay)

    def add(self, points: float, now_s: float) -> float:
        """Raise it; the new value."""
        self._value = self.value(now_s) + points
        self._at = max(self._at, now_s)
        return self._value

    def seconds_until(self, level: float, now_s: float) -> float:
        """How long until it has fallen to a level."""
        return max(0.0, (self.value(now_s) - level) / self._decay)


class RateBudget:
    """Keeps a caller below a counter's maximum by waiting, in any number of threads.

    Args:
        maximum: the counter may reach this and no more.
        decay: points a second.
        patience_s: a longer wait than this is refused instead.
        seconds: a clock that only rises.
        sleep: waits; tests hand in one that does not.
    """

    def __init__(
        self,
        maximum: float,
        decay: float,
        *,
        patience_s: float = 60.0,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._maximum = maximum
        self._patience_s = patience_s
        self._seconds = seconds
        self._sleep = sleep
        self._counter = DecayingCounter(decay)
        self._lock = threading.Lock()

    def spend(self, points: float) -> None:
        """Add points, after waiting until there is room.

        Raises:
            RateLimited: if the wait would be longer than the patience.
        """
        if points <= 0:
            return
        with self._lock:
            now = self._seconds()
            wait = self._counter.seconds_until(self._maximum - points, now)
            if wait > self._patience_s:
                raise RateLimited(
                    f"{wait:.0f} s until Kraken may be asked again", "Wait.", retry_after_s=wait
                )
            self._counter.add(points, now)
        if wait > 0:
            self._sleep(wait)

    def penalise(self) -> None:
        """The exchange says the counter is full: believe it."""
        with self._lock:
            now = self._seconds()
            self._counter.add(max(0.0, self._maximum - self._counter.value(now)), now)


class TradingBudget:
    """Keeps new orders of a pair from eating the room that its cancels will need.

    Args:
        reserve: points kept free for cancels.
        seconds: a clock that only rises.
    """

    def __init__(
        self, tier: Tier, reserve: float = 20.0, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._tier = tier
        self._reserve = reserve
        self._seconds = seconds
        self._counters: dict[str, DecayingCounter] = {}
        self._born: dict[str, tuple[str, float]] = {}

    def before_add(self, pair: str) -> None:
        """Count a new order.

        Raises:
            RateLimited: if only the room for cancels is left; nothing was sent.
        """
        now = self._seconds()
        counter = self._counters.setdefault(pair, DecayingCounter(self._tier.trading_decay))
        level = self._tier.trading_threshold - self._reserve - trading_cost(Action.ADD)
        wait = counter.seconds_until(level, now)
        if wait > 0:
            raise RateLimited(
                f"too many orders and cancels on {pair}: the rest of Kraken's allowance is kept "
                "for cancels",
                f"Wait {wait:.0f} s.",
                retry_after_s=wait,
            )
        counter.add(trading_cost(Action.ADD), now)

    def added(self, pair: str, exchange_id: str) -> None:
        """Remember when an order was made: its cancel costs by age."""
        self._born[exchange_id] = (pair, self._seconds())

    def amended(self, exchange_id: str) -> None:
        """Count a change of an order, which is as good as new then; never refused."""
        pair, born = self._born.get(exchange_id, ("", 0.0))
        if pair:
            now = self._seconds()
            self._counters[pair].add(trading_cost(Action.AMEND, now - born), now)
            self._born[exchange_id] = (pair, now)

    def cancelling(self, exchange_id: str) -> None:
        """Count a cancel; never refused."""
        pair, born = self._born.pop(exchange_id, ("", 0.0))
        if pair:
            now = self._seconds()
            self._counters[pair].add(trading_cost(Action.CANCEL, now - born), now)
