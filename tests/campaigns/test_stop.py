"""The emergency stop, called as a user calls it, while something is broken."""

import os
import shutil

import pytest

from tests.campaigns.running import figures

MAY_MOUNT = os.geteuid() == 0 and shutil.which("mount") is not None


def outcome(name, *words):
    return figures("campaigns.stop", "--rounds", "1", "--sabotage", name, *words)[name]


@pytest.mark.slow
def test_all_is_sold_although_the_journal_is_locked():
    found = outcome("journal_locked")
    assert (found["acted"], found["failures"]) == ({"here": 1}, [])
    assert found["slowest_s"] < 30  # five, where nobody else works on the machine


@pytest.mark.slow
@pytest.mark.skipif(not MAY_MOUNT, reason="only root may mount a small disk to fill")
@pytest.mark.parametrize("venue", ["live", "paper"])
def test_all_is_sold_although_everything_is_broken_at_once(venue):
    found = outcome("everything", "--venue", venue)
    assert (found["acted"], found["failures"]) == ({"here": 1}, [])
