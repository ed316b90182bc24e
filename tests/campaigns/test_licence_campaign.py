"""The licence before worlds of known truth, in small."""

import pytest

from tests.campaigns.running import figures


@pytest.mark.slow
def test_few_licences_are_granted_where_there_is_no_edge():
    found = figures("campaigns.licence", "--worlds", "10", "--sharpe", "0", "--jobs", "1")
    assert found["granted"] <= 1
    assert set(found["by_kind"]) == {"nothing to forecast", "worth its costs"}
    assert found["refused_for"]["Sharpe not above luck"] >= 5


@pytest.mark.slow
def test_most_are_granted_where_an_edge_is_planted():
    found = figures("campaigns.licence", "--worlds", "8", "--sharpe", "2", "--jobs", "1")
    assert found["granted"] >= 6
    assert found["auc"] > 0.55
