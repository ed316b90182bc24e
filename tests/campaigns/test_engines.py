"""Both engines on random settings, in small."""

import pytest

from tests.campaigns.running import figures


@pytest.mark.slow
def test_both_engines_trade_random_settings_alike() -> None:
    found = figures("campaigns.engines", "--runs", "6", "--seed", "4")
    assert found["different"] == 0, found["examples"]
    assert found["equal"] >= 4
    assert found["fills"] > 100
