"""The trading process is killed where it hurts: what is left is right, to the cent."""

import pytest

from tests.campaigns.running import figures, zeros


@pytest.mark.slow
def test_a_hundred_kills_lose_double_and_bare_nothing():
    found = figures("campaigns.kill", "--kills", "100", "--seed", "8")
    assert zeros(found) == {}
    assert (found["kills"], found["worlds"]) == (100, 1)
    assert found["recovery_p99_s"] < 2
    kinds = {point.rsplit(" ", 1)[0] for point in found["points"]}
    assert kinds >= {"before write", "inside write", "before send", "after send", "after receive"}
    journal = found["journal"]
    for fact in ("fills of entry orders", "orders cancelled", "orders filled in parts"):
        assert journal[fact] > 0, fact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "count", "kills", "seed"),
    [
        # Only a kill between an order's sending and its writing shows the first.
        ("sent-before-written", "lost", 160, 3),
        ("no-stops", "unprotected", 25, 3),
        ("no-questions", "unprotected", 40, 6),
    ],
)
def test_a_program_broken_on_purpose_is_found_out(way, count, kills, seed):
    found = figures("tests.campaigns.sabotaged", way, "--kills", str(kills), "--seed", str(seed))
    assert found[count] > 0
