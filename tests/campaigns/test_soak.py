"""The whole loop for a simulated day at an exchange that fails."""

import pytest

from tests.campaigns.running import figures, zeros


@pytest.mark.slow
def test_a_day_of_faults_leaves_nothing_wrong_and_memory_flat():
    found = figures("campaigns.soak", "--minutes", "1440", "--fault-rate", "0.2", "--seed", "3")
    assert zeros(found) == {}
    assert found["minutes"] == 1440
    assert found["fills"] > 3
    assert abs(found["memory_growth"]) < 0.05
