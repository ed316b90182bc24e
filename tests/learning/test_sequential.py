"""Tests that may be looked at after every piece of evidence: right, quick, and rarely wrong."""

import numpy as np
import pytest

from trader.learning.sequential import (
    ALARM,
    ENOUGH,
    BlockEvidence,
    EvidenceProcess,
    ShiftChart,
    within,
)


def first_alarm(seed, shift, forecasts, calm=0):
    """Forecasts after the shift until the chart alarms, None if it does not."""
    rng = np.random.default_rng(seed)
    said = np.clip(rng.normal(0.5, 0.04, calm + forecasts), 0.3, 0.7)
    true = said + np.where(np.arange(calm + forecasts) >= calm, shift, 0.0)
    rose = (rng.random(len(said)) < true).astype(float)
    chart = ShiftChart()
    for number, (p, r) in enumerate(zip(said.tolist(), rose.tolist(), strict=True)):
        if chart.take(p, r):
            return number + 1 - calm
    return None


@pytest.mark.parametrize("shift", [0.10, -0.10])
def test_a_shift_of_ten_points_is_found_within_200_forecasts_in_four_of_five_worlds(shift):
    found = [first_alarm(seed, shift, 200) for seed in range(200)]
    assert sum(f is not None for f in found) >= 160


def test_calibrated_forecasts_seldom_raise_a_false_alarm():
    alarms = sum(first_alarm(seed, 0.0, 200) is not None for seed in range(200))
    assert alarms <= 50


def test_a_chart_never_holds_good_times_against_bad_ones():
    chart = ShiftChart()
    for _ in range(500):
        chart.take(0.5, 0.5)
    assert chart.evidence == pytest.approx(0.0, abs=1e-9)


def test_overlapping_forecasts_count_as_the_share_that_is_new():
    whole, parts = ShiftChart(), ShiftChart()
    for _ in range(20):
        whole.take(0.5, 1.0)
    for _ in range(480):
        parts.take(0.5, 1.0, 1 / 24)
    assert parts.evidence == pytest.approx(whole.evidence)
    assert parts.seen == pytest.approx(whole.seen)


def test_certain_forecasts_do_not_break_the_chart():
    chart = ShiftChart()
    for p, rose in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        chart.take(p, rose)
    assert np.isfinite(chart.evidence)
    assert chart.evidence < 4 * ALARM


def test_evidence_ever_reaches_twenty_by_luck_in_at_most_one_world_of_twenty():
    decided = 0
    for seed in range(200):
        process = EvidenceProcess(0.25)
        for difference in np.random.default_rng(seed).normal(0, 0.07, 500).tolist():
            process.take(difference)
        decided += process.best >= ENOUGH
    assert decided <= 10


def test_evidence_grows_when_one_side_is_better():
    decided = 0
    for seed in range(40):
        process = EvidenceProcess(0.25)
        for difference in np.random.default_rng(seed).normal(0.02, 0.07, 200).tolist():
            process.take(difference)
        decided += process.decided
    assert decided >= 36


def test_blocks_of_overlapping_differences_keep_the_promise():
    decided = 0
    for seed in range(100):
        evidence = BlockEvidence.bounded(0.25)
        steps = np.random.default_rng(seed).normal(0, 0.07, 24 * 200 + 24)
        overlapping = np.convolve(steps, np.ones(24) / np.sqrt(24), mode="valid")
        for difference in overlapping.tolist():
            evidence.take(difference, 1 / 24)
        assert evidence.independent >= 160
        decided += evidence.decided
    assert decided <= 5


def test_what_counts_of_a_difference_lies_within_the_bound_and_keeps_its_sign():
    rng = np.random.default_rng(1)
    first, second = rng.uniform(1e-6, 1 - 1e-6, (2, 2000))
    share = within(0.25, first, second)
    for rose in (True, False):
        p, q = (first, second) if rose else (1 - first, 1 - second)
        assert np.abs(share * np.log(p / q)).max() <= 0.25 + 1e-12
    assert within(0.25, np.array([0.5]), np.array([0.52])) == pytest.approx(1.0)
    assert within(0.25, np.array([0.5]), np.array([0.5])) == pytest.approx(1.0)
