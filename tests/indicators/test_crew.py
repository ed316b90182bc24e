import threading

import numpy as np
import pytest

from market_analyzer import compute_analysis
from trader.domain.markets import Pair
from trader.indicators.crew import Crew
from trader.indicators.leaks import drawn_candles
from trader.indicators.plan import LONG

BTC = Pair("BTC", "USD")


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same_bits():
    candles = drawn_candles(LONG, 4)
    alone = compute_analysis(BTC, candles)
    for threads in (2, 5):
        together = compute_analysis(BTC, candles, threads)
        for name, values in {**alone.indicators, **alone.patterns}.items():
            found = {**together.indicators, **together.patterns}[name]
            np.testing.assert_array_equal(found, values, err_msg=name)


def test_nothing_begins_before_what_it_needs_is_done():
    rng = np.random.default_rng(0)
    needs = [frozenset(rng.integers(0, i, 3).tolist() if i else []) for i in range(300)]
    seen: list[int] = []
    finished: list[int] = []

    def work(slot: int) -> None:
        assert needs[slot] <= set(finished)
        seen.append(slot)

    Crew(needs, work, finished.append).run(4)
    assert sorted(seen) == sorted(finished) == list(range(300))


def test_two_threads_are_at_work_at_once():
    meeting = threading.Barrier(2, timeout=10)
    Crew([frozenset(), frozenset()], lambda _: meeting.wait() and None, lambda _: None).run(2)
    assert not meeting.broken


@pytest.mark.parametrize("threads", [1, 3])
def test_a_fault_in_any_thread_is_raised_where_the_crew_was_called(threads):
    def work(slot: int) -> None:
        if slot == 7:
            raise ZeroDivisionError("seven")

    with pytest.raises(ZeroDivisionError, match="seven"):
        Crew([frozenset({i - 1} if i else []) for i in range(20)], work, lambda _: None).run(
            threads
        )
