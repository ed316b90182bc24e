"""The live record: what was said, what came of it, and when a model is doubted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tests.market_making import HOUR, candles_of, random_walk
from trader.domain.events import (
    ForecastMade,
    ForecastOutcome,
    ForecastScored,
    ModelDoubted,
    ModelTrusted,
    StatedChance,
)
from trader.domain.markets import Pair
from trader.learning.drift import drift_of, reference_of
from trader.learning.forecast import Forecast, Outlook
from trader.learning.labels import gain_after, horizon_labels
from trader.learning.tracking import Tracker, track

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
T0 = datetime(2024, 1, 1, tzinfo=UTC)


def scored(number, probability, rose, *, pair=BTC, model="m", hours=1.0):
    at = T0 + timedelta(hours=number)
    gained = 0.01 if rose else -0.01
    outcome = ForecastOutcome(at, model, hours, probability, 0.5, gained)
    return ForecastScored(at + timedelta(hours=hours), pair, (outcome,))


def told(tracker, seed, shift, count, start=0, spread=0.05, **more):
    """Feed forecasts whose true chance is `shift` away; how many until a doubt, None if none."""
    rng = np.random.default_rng(seed)
    for number in range(start, start + count):
        p = float(np.clip(rng.normal(0.5, spread), 0.2, 0.8))
        tracker.apply(scored(number, p, rng.random() < p + shift, **more))
        if tracker.doubts:
            return number - start + 1
    return None


def speaking(model="m"):
    forecast = Forecast(1.0, 0.56, 0.5, 0.01, np.array([0.01]), np.array([0.56]))
    return Outlook({1.0: forecast}, model, main_horizon=1.0)


def test_a_shift_makes_the_model_silent_and_says_why_and_how_it_comes_back():
    tracker = Tracker()
    assert told(tracker, 1, 0.10, 400) <= 200
    said = tracker.tempered(speaking())
    assert said.main is None
    assert "more often than was said" in said.silence
    assert "with a new model, or when its forecasts are right again" in said.silence
    assert tracker.tempered(speaking("another")).main is not None


def test_a_doubt_and_its_end_are_news_once():
    tracker = Tracker()
    told(tracker, 1, 0.10, 400)
    (doubted,) = tracker.news(T0)
    assert isinstance(doubted, ModelDoubted)
    tracker.apply(doubted)
    assert tracker.news(T0) == ()
    rng = np.random.default_rng(11)
    for number in range(1000, 1400):
        tracker.apply(scored(number, 0.5, rng.random() < 0.5))
    assert tracker.doubts == {}
    (trusted,) = tracker.news(T0)
    assert isinstance(trusted, ModelTrusted)
    tracker.apply(trusted)
    assert tracker.news(T0) == ()


def test_while_the_shift_lasts_the_model_stays_doubted():
    tracker = Tracker()
    told(tracker, 2, 0.10, 400)
    rng = np.random.default_rng(3)
    silent = 0
    for number in range(1000, 1800):
        tracker.apply(scored(number, 0.5, rng.random() < 0.6))
        silent += bool(tracker.doubts)
    assert silent > 600


def test_forecasts_worse_than_the_base_rate_are_doubted_even_without_a_shift():
    tracker = Tracker()
    rng = np.random.default_rng(4)
    for number in range(3000):
        tracker.apply(scored(number, float(rng.choice([0.35, 0.65])), rng.random() < 0.5))
    assert "base rate" in tracker.doubts["m"].reason


def test_pairs_side_by_side_are_one_piece_of_evidence():
    alone, both = Tracker(), Tracker()
    rng = np.random.default_rng(5)
    for number in range(100):
        rose = rng.random() < 0.5
        alone.apply(scored(number, 0.5, rose))
        for pair in (BTC, ETH):
            both.apply(scored(number, 0.5, rose, pair=pair))
    for tracker in (alone, both):
        tracker.newest_model = "m"
    assert both.figures()[0].evidence == pytest.approx(alone.figures()[0].evidence)
    assert both.figures()[0].independent == alone.figures()[0].independent
    assert both.figures()[0].n == 200


def test_figures_are_brier_skill_calibration_and_noise():
    tracker = Tracker()
    rng = np.random.default_rng(6)
    for number in range(4000):
        p = float(rng.choice([0.4, 0.6]))
        tracker.apply(scored(number, p, rng.random() < p))
    (found,) = tracker.figures()
    assert found.brier_skill == pytest.approx(0.04, abs=0.015)
    assert found.log_loss_skill > 0
    assert abs(found.said - found.came) < 3 * found.gap_error
    assert found.ece < 0.05
    assert len(tracker.reliability_of(1.0)) == 10


def test_few_forecasts_have_no_skill_to_show():
    tracker = Tracker()
    told(tracker, 7, 0.0, 10)
    (found,) = tracker.figures()
    assert (found.brier_skill, found.ece) == (None, None)
    assert tracker.reliability_of(1.0) == ()


def test_the_record_is_a_fold_over_the_journal():
    tracker = Tracker()
    told(tracker, 8, 0.10, 300)
    rng = np.random.default_rng(8)
    events = []
    for number in range(300):
        p = float(np.clip(rng.normal(0.5, 0.05), 0.2, 0.8))
        events.append((number + 1, scored(number, p, rng.random() < p + 0.10)))
    again = track(events)
    assert set(again.doubts) == set(tracker.doubts)


def test_an_outcome_is_scored_when_its_candle_has_closed_and_not_before():
    candles = candles_of(random_walk(30), HOUR)
    tracker = Tracker()
    closed = candles[:10].closed_at
    chances = (StatedChance(1.0, 0.55, 0.5, 0.001), StatedChance(6.0, 0.6, 0.5, 0.01))
    tracker.apply(ForecastMade(closed, BTC, closed, "m", chances))
    assert tracker.due(BTC, candles[:10], closed) is None
    assert tracker.due(ETH, candles[:11], closed) is None
    (short,) = tracker.due(BTC, candles[:11], closed).outcomes
    assert (short.horizon_hours, short.closed_at) == (1.0, closed)
    (long,) = tracker.due(BTC, candles[:16], closed).outcomes
    labels = horizon_labels(candles, 6.0)
    assert long.gained == labels.returns[9]


def test_a_forecast_pending_over_a_restart_is_scored_after_it():
    candles = candles_of(random_walk(30), HOUR)
    closed = candles[:10].closed_at
    made = ForecastMade(closed, BTC, closed, "m", (StatedChance(1.0, 0.55, 0.5, 0.001),))
    again = track([(1, made)])
    assert len(again.due(BTC, candles, candles.closed_at).outcomes) == 1


def made(pair, number, model="m"):
    at = T0 + timedelta(hours=number)
    return ForecastMade(at, pair, at, model, (StatedChance(1.0, 0.6, 0.5, 0.001),))


def outcomes_of(tracker, rises):
    """The horizons' evidence after the outcomes were told, moment by moment or pair by pair."""
    for pair, numbers in rises:
        for number in numbers:
            rose = number % 5 < 3 if pair == BTC else number % 3 == 0
            tracker.apply(scored(number, 0.6, rose, pair=pair))
    return tracker._records["m", 1.0].chart


def test_after_an_outage_the_outcomes_of_every_pair_count_as_without_one():
    steady, outage = Tracker(), Tracker()
    for tracker in (steady, outage):
        for number in range(9):
            for pair in (BTC, ETH):
                tracker.apply(made(pair, number))
    moments = [(pair, [number]) for number in range(9) for pair in (BTC, ETH)]
    chart = outcomes_of(steady, moments)
    again = outcomes_of(outage, [(BTC, range(9)), (ETH, range(9))])
    assert chart.seen == 7
    assert again == chart


def test_outcomes_that_are_due_together_after_an_outage_count_in_order_of_time():
    rising, falling = (candles_of(np.linspace(100, to, 30), HOUR) for to in (120, 80))
    records = []
    for ends in ([30], range(2, 31)):
        tracker = Tracker()
        for row in range(9):
            closed = rising[: row + 1].closed_at
            for pair in (BTC, ETH):
                chance = (StatedChance(1.0, 0.6, 0.5, 0.001),)
                tracker.apply(ForecastMade(closed, pair, closed, "m", chance))
        for end in ends:
            for pair, candles in ((BTC, rising), (ETH, falling)):
                found = tracker.due(pair, candles[:end], closed)
                if found is not None:
                    tracker.apply(found)
        records.append(tracker._records["m", 1.0].chart)
    assert records[0] == records[1]
    assert records[0].seen == 7


def test_a_pair_whose_outcomes_never_come_holds_nothing_up_for_long():
    tracker = Tracker()
    for pair in (BTC, ETH):
        tracker.apply(made(pair, 0))
    assert outcomes_of(tracker, [(BTC, range(40))]).seen == 0
    assert outcomes_of(tracker, [(BTC, range(40, 60))]).seen > 50


def test_a_forecast_journalled_twice_is_scored_once():
    candles = candles_of(random_walk(30), HOUR)
    closed = candles[:10].closed_at
    one = ForecastMade(closed, BTC, closed, "m", (StatedChance(1.0, 0.55, 0.5, 0.001),), "ab")
    tracker = track([(1, one), (2, one)])
    found = tracker.due(BTC, candles, candles.closed_at)
    assert len(found.outcomes) == 1
    tracker.apply(found)
    tracker.apply(one)
    assert tracker.due(BTC, candles, candles.closed_at) is None
    other = replace(one, model_id="another")
    assert len(track([(1, one), (2, other)]).due(BTC, candles, candles.closed_at).outcomes) == 2


def test_gains_are_those_of_the_labels_also_where_candles_are_absent():
    rng = np.random.default_rng(9)
    whole = candles_of(random_walk(400, 9), HOUR)
    keep = np.sort(rng.choice(400, 330, replace=False))
    columns = [column[keep] for column in whole.columns()]
    gappy = type(whole)(HOUR, *columns)
    for hours in (1.0, 6.0, 24.0):
        labels = horizon_labels(gappy, hours)
        for row in range(len(gappy)):
            found = gain_after(gappy, int(labels.decided_at[row]), hours)
            assert (found is not None) == bool(labels.valid[row])
            if found is not None:
                assert found == labels.returns[row]


def test_a_market_unlike_the_training_is_further_off_than_any_of_its_months():
    rng = np.random.default_rng(10)
    trained = rng.normal(size=(24 * 720, 6)).astype(np.float32)
    reference = reference_of(trained, np.split(trained, 24))
    names = tuple("abcdef")
    same = [reference.buckets(row) for row in rng.normal(size=(720, 6)).astype(np.float32)]
    moved = rng.normal(size=(720, 6)).astype(np.float32)
    moved[:, 2] += 1.0
    off = drift_of([reference.buckets(row) for row in moved], reference, names)
    assert off.unusual
    assert off.furthest[0][0] == "c"
    assert drift_of(same, reference, names).mean < 1.5 * reference.limit


def test_a_value_that_is_not_known_has_a_bucket_of_its_own():
    reference = reference_of(np.arange(100, dtype=np.float32)[:, None])
    assert [reference.buckets(np.array([v], np.float32)) for v in (0, 55, 200, np.nan)] == [
        "0", "5", "9", "-",
    ]  # fmt: skip
