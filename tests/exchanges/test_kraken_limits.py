"""Kraken's counters."""

import pytest

from trader.domain.errors import RateLimited
from trader.exchanges.kraken_limits import (
    TIERS,
    Action,
    DecayingCounter,
    RateBudget,
    TradingBudget,
    rest_cost,
    trading_cost,
)


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0.0

    def seconds(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.mark.parametrize(
    ("action", "age", "points"),
    [(Action.ADD, 0, 1), (Action.AMEND, 3, 4), (Action.AMEND, 12, 2), (Action.AMEND, 15, 1),
     (Action.EDIT, 1, 7), (Action.EDIT, 89, 2), (Action.CANCEL, 4.9, 8), (Action.CANCEL, 5, 6),
     (Action.CANCEL, 44, 4), (Action.CANCEL, 299, 1), (Action.CANCEL, 300, 0)],
)  # fmt: skip
def test_actions_cost_what_the_table_says(action: Action, age: float, points: int) -> None:
    assert trading_cost(action, age) == points


@pytest.mark.parametrize(("call", "points"), [("Balance", 1), ("TradesHistory", 2),
                                              ("Ledgers", 2), ("AddOrder", 0)])  # fmt: skip
def test_private_calls_cost_what_the_table_says(call: str, points: int) -> None:
    assert rest_cost(call) == points


def test_a_counter_falls_to_zero_and_no_further() -> None:
    counter = DecayingCounter(decay=0.5)
    counter.add(3, 0)
    assert counter.value(2) == 2
    assert counter.value(1000) == 0


def test_the_budget_lets_a_burst_through_and_then_waits_for_the_decay() -> None:
    time = Time()
    budget = RateBudget(15, 0.5, seconds=time.seconds, sleep=time.sleep)
    for _ in range(15):
        budget.spend(1)
    assert time.slept == 0
    budget.spend(1)
    assert time.slept == 2


def test_after_a_refusal_the_budget_believes_the_exchange() -> None:
    time = Time()
    budget = RateBudget(10, 1.0, seconds=time.seconds, sleep=time.sleep)
    budget.penalise()
    budget.spend(3)
    assert time.slept == 3


def test_a_wait_beyond_patience_is_refused() -> None:
    time = Time()
    budget = RateBudget(2, 0.01, patience_s=10, seconds=time.seconds, sleep=time.sleep)
    budget.spend(2)
    with pytest.raises(RateLimited) as caught:
        budget.spend(1)
    assert caught.value.retry_after_s == pytest.approx(100)


def test_new_orders_leave_room_for_their_cancels() -> None:
    time = Time()
    budget = TradingBudget(TIERS["starter"], reserve=20, seconds=time.seconds)
    for number in range(40):
        budget.before_add("XXBTZUSD")
        budget.added("XXBTZUSD", f"O{number}")
    with pytest.raises(RateLimited, match="XXBTZUSD"):
        budget.before_add("XXBTZUSD")
    budget.before_add("XETHZUSD")
    budget.cancelling("O1")
    time.now = 8
    with pytest.raises(RateLimited):
        budget.before_add("XXBTZUSD")
    time.now = 10
    budget.before_add("XXBTZUSD")
