"""Claims about what a sweep tries and what it makes of it."""

from collections.abc import Iterable
from itertools import permutations

import pytest

from trader.domain.errors import UsageError
from trader.simulation.sweep import (
    Values,
    combinations,
    has_neighbours,
    most_promising,
    read_space,
    read_sweeps,
    smoothed,
)

SHARPES = {"buy-and-hold": 1.0, "ema-cross": -2.0, "sma-cross": 0.9, "trend": 0.8}


def chosen(texts: list[str], score: dict[str, float], *, grid: bool = True) -> Values:
    """What is recommended, where the score depends on the first value alone."""
    space = read_sweeps(texts) if grid else read_space(texts)
    tried = combinations(read_sweeps(texts))
    smooth = smoothed(tried, space, [score[values[0][1]] for values in tried], grid=grid)
    return tried[most_promising(tried, smooth)]


def lists(values: Iterable[str]) -> list[str]:
    return [",".join(order) for order in permutations(values)]


@pytest.mark.parametrize("grid", [True, False])
@pytest.mark.parametrize("names", lists(SHARPES))
def test_of_strategies_the_best_is_recommended_in_whatever_order_they_are_written(
    names: str, grid: bool
) -> None:
    assert chosen([f"STRATEGY={names}"], SHARPES, grid=grid) == (("STRATEGY", "buy-and-hold"),)


@pytest.mark.parametrize("numbers", lists(["2", "3", "4", "10"]))
def test_numbers_are_neighbours_in_their_own_order(numbers: str) -> None:
    """10 is a peak beside a bad 4; 2 and 3 are good together."""
    score = {"2": 1.0, "3": 1.0, "4": -1.0, "10": 1.5}
    assert chosen([f"STOP_ATR_MULTIPLE={numbers}"], score) == (("STOP_ATR_MULTIPLE", "2"),)


def test_of_equal_ones_the_smallest_is_taken_in_whatever_order_they_are_written() -> None:
    alike = dict.fromkeys(["2", "3", "10"], 0.0)
    assert {chosen([f"A={numbers}"], alike) for numbers in lists(alike)} == {(("A", "2"),)}


def test_in_a_grid_only_the_numbers_lend_their_neighbours() -> None:
    space = read_sweeps(["STRATEGY=trend,ema-cross", "STOP_ATR_MULTIPLE=2,3"])
    tried = combinations(space)
    assert [dict(values)["STRATEGY"] for values in tried] == ["ema-cross"] * 2 + ["trend"] * 2
    assert smoothed(tried, space, [0.0, 1.0, 4.0, 6.0], grid=True) == [0.5, 0.5, 5.0, 5.0]


def test_in_a_tuned_space_another_strategy_is_no_neighbour() -> None:
    space = read_space(["STRATEGY=trend,ema-cross", "STOP_ATR_MULTIPLE=2..3"])
    tried: list[Values] = [
        (("STRATEGY", name), ("STOP_ATR_MULTIPLE", stop))
        for name in ("trend", "ema-cross") for stop in ("2", "3")
    ]  # fmt: skip
    assert smoothed(tried, space, [4.0, 6.0, 0.0, 1.0], grid=False) == [5.0, 5.0, 0.5, 0.5]


@pytest.mark.parametrize("words", ["2,2.0", "0.10,0.1", "trend,trend"])
def test_the_same_value_written_twice_is_misuse(words: str) -> None:
    with pytest.raises(UsageError, match="twice"):
        read_sweeps([f"A={words}"])


def test_names_and_single_numbers_have_no_neighbours_and_several_numbers_have() -> None:
    assert not has_neighbours(("a", "b"))
    assert not has_neighbours(("1", "b"))
    assert not has_neighbours(("1",))
    assert has_neighbours(("1", "2"))
