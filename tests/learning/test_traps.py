"""The known ways to fool oneself, set on purpose: each must be caught."""

from dataclasses import replace

import numpy as np
import pytest

from tests.learning.trained import BTC, FOUR_HOURS, SETTINGS, TRAINED_AT, histories
from tests.market_making import candles_of, random_walk
from trader.domain.errors import ModelError
from trader.indicators.leaks import drawn_candles, find_leaks
from trader.learning.calibration import fit_platt
from trader.learning.dataset import build_dataset
from trader.learning.estimators import fit_member, steady_columns
from trader.learning.evaluation import auc, score
from trader.learning.features import feature_table
from trader.learning.labels import Labels, horizon_labels
from trader.learning.learner import DAY, Learner
from trader.learning.licence import Evidence, judge
from trader.learning.training import train

WALK = candles_of(random_walk(3600, 21, sigma=0.01), FOUR_HOURS)
LONG = 24.0 * 5
DATASET = build_dataset({BTC: WALK}, horizons=(LONG,))


def rows_and_outcomes():
    labels = DATASET.labels[LONG][0]
    rows = np.flatnonzero(labels.valid & DATASET.warm[0])
    return DATASET.tables[0].matrix[rows], labels.up[rows], rows


def shuffled_auc():
    """Random folds over overlapping labels: the classic way to an impressive figure."""
    features, up, rows = rows_and_outcomes()
    fold = np.random.default_rng(0).integers(0, 4, len(rows))
    votes = np.empty(len(rows))
    for held in range(4):
        member = fit_member("random_forest", 1, features[fold != held], up[fold != held])
        votes[fold == held] = member.predict_proba(features[fold == held])[:, 1]
    return auc(votes, up), votes, up


@pytest.fixture(scope="module")
def shuffled():
    return shuffled_auc()


@pytest.mark.slow
def test_shuffled_folds_over_overlapping_labels_look_brilliant_on_pure_chance(shuffled):
    assert shuffled[0] > 0.75


@pytest.mark.slow
def test_the_walk_forward_finds_nothing_in_the_same_rows(shuffled):
    settings = replace(SETTINGS, model_type="random_forest")
    first = DATASET.first_known + 350 * DAY
    learner = Learner(DATASET, settings, tuple(range(first, DATASET.last_known, 40 * DAY)))
    while not learner.finished:
        learner.step()
    seen = learner.known(LONG)
    assert len(seen) > 500
    assert auc(seen.vote, seen.up) < shuffled[0] - 0.15


@pytest.mark.slow
def test_the_shuffled_result_is_refused_as_too_good_to_be_true(shuffled):
    _, votes, up = shuffled
    scores = score(votes, up, np.full(len(up), 0.5))
    returns = np.random.default_rng(1).normal(0.002, 0.01, 1500)
    verdict = judge(Evidence(returns, returns, returns / 2, 90, 1, scores))
    assert not verdict.granted
    assert any("look for a leak" in reason for reason in verdict.reasons)


def test_without_a_purge_the_fit_would_see_outcomes_of_the_tested_span():
    labels = DATASET.labels[LONG][0]
    moment = DATASET.first_known + 200 * DAY
    careless = labels.valid & (labels.decided_at < moment)
    purged = labels.known_before(moment, 24 * 3600)
    assert labels.known_at[careless].max() > moment
    assert labels.known_at[purged].max() <= moment - 24 * 3600
    assert careless.sum() - purged.sum() >= 5 * 6  # five days of four-hour candles


def test_calibrating_on_what_is_scored_looks_better_than_it_is():
    rng = np.random.default_rng(2)
    votes, up = np.clip(rng.normal(0.5, 0.2, 400), 0.02, 0.98), rng.integers(0, 2, 400) * 1.0
    half, ones = np.full(200, 0.5), np.ones(200)
    honest = fit_platt(votes[:200], half, up[:200], ones)(votes[200:], 0.5)
    cheat = fit_platt(votes[200:], half, up[200:], ones)(votes[200:], 0.5)
    assert (
        score(cheat, up[200:], half).log_loss_skill > score(honest, up[200:], half).log_loss_skill
    )


def test_a_feature_scaled_by_the_whole_sample_is_not_among_ours():
    doubled = candles_of(
        np.concatenate([WALK.close, WALK.close[-1] * np.ones(50) * 3]), FOUR_HOURS
    )
    ours, theirs = (feature_table(BTC, c, None).matrix for c in (WALK, doubled))
    np.testing.assert_array_equal(ours, theirs[: len(WALK)])


def test_the_candle_still_open_cannot_be_in_a_decision():
    moment = WALK.closed_at - FOUR_HOURS.delta / 2
    assert WALK.known_at(moment).closed_at <= moment


def test_an_outcome_has_no_place_in_a_matrix():
    with pytest.raises(TypeError):
        np.asarray(horizon_labels(WALK, 24))


def caught(feature) -> bool:
    """Whether the leak fuzzer sees through a feature."""
    return bool(find_leaks(lambda candles: {"it": feature(candles)}, drawn_candles(), 60, 4).leaks)


def day_still_open(candles):
    """Against the mean of the days, today's among them as it will have closed."""
    day = candles.opened_at // DAY
    closes = np.array([candles.close[day == d][-1] for d in np.unique(day)])
    mean = np.array([closes[max(0, i - 19) : i + 1].mean() for i in range(len(closes))])
    return candles.close / mean[np.searchsorted(np.unique(day), day)]


def day_that_has_closed(candles):
    """The same with yesterday's mean."""
    day = candles.opened_at // DAY
    closes = np.array([candles.close[day == d][-1] for d in np.unique(day)])
    mean = np.array(
        [closes[max(0, i - 20) : i].mean() if i else np.nan for i in range(len(closes))]
    )
    return candles.close / mean[np.searchsorted(np.unique(day), day)]


def test_a_daily_signal_from_the_day_still_open_is_caught_by_the_fuzzer():
    assert caught(day_still_open)
    assert not caught(day_that_has_closed)


def test_prices_scaled_by_the_whole_sample_are_caught_by_the_fuzzer():
    assert caught(lambda c: (c.close - c.close.mean()) / c.close.std())


LINE = replace(SETTINGS, model_type="logistic_regression")


def test_a_refit_without_purge_is_stopped(monkeypatch):
    careless = lambda self, moment, embargo=0: self.valid & (self.decided_at < moment)  # noqa: E731
    monkeypatch.setattr(Labels, "known_before", careless)
    learner = Learner(DATASET, LINE, ())
    with pytest.raises(ModelError, match="not known 24 h before: rows must be purged"):
        learner.fit_at(DATASET.first_known + 300 * DAY)


def test_calibrating_on_what_will_be_scored_is_stopped(monkeypatch):
    first = DATASET.first_known + 400 * DAY
    learner = Learner(DATASET, LINE, (first, first + 120 * DAY))
    learner.step()
    honest = learner.known
    monkeypatch.setattr(learner, "known", lambda horizon, *_: honest(horizon))
    with pytest.raises(ModelError, match=r"the calibration at .* outcomes that were not known"):
        learner.calibration(LONG, first + 60 * DAY)


def test_columns_chosen_on_the_tested_span_look_better_than_those_chosen_before_it():
    rng = np.random.default_rng(8)
    rows, up = rng.normal(size=(1200, 150)).astype(np.float32), rng.integers(0, 2, 1200) * 1.0
    when, past, test = np.arange(1200), slice(0, 600), slice(600, 1200)

    def tested(columns):
        signs = np.sign([np.corrcoef(rows[test, c], up[test])[0, 1] for c in columns])
        own = np.sign([np.corrcoef(rows[past, c], up[past])[0, 1] for c in columns])
        return auc(rows[test][:, columns] @ (signs if columns is cheat else own), up[test])

    cheat = steady_columns(rows[test], up[test], when[test], 15)
    honest = steady_columns(rows[past], up[past], when[past], 15)
    assert tested(cheat) > 0.6
    assert tested(honest) == pytest.approx(0.5, abs=0.05)


def test_the_columns_of_a_fit_do_not_change_with_the_future():
    settings = replace(LINE, features_kept=20)
    moment = int(WALK.opened_at[2500])
    other = candles_of(
        np.concatenate([WALK.close[:2501], random_walk(1099, 5, sigma=0.03)]), FOUR_HOURS
    )
    chosen = [
        Learner(build_dataset({BTC: c}, horizons=(LONG,)), settings, ())
        ._training_rows(LONG, moment)
        .columns
        for c in (WALK, other)
    ]
    assert len(chosen[0]) == 20
    assert chosen[0].tolist() == chosen[1].tolist()


@pytest.mark.slow
def test_a_test_without_costs_gets_no_licence():
    free = replace(LINE, round_trip_cost=0.0)
    made = train(histories(), free, source="t", trained_at=TRAINED_AT, code_version="0")
    assert made.licence.reasons[0].startswith("tested without costs")


def test_trades_that_gain_on_average_do_not_hide_a_portfolio_that_loses():
    rng = np.random.default_rng(3)
    days = np.full(1500, -0.0004)  # what holding the rest of the time costs
    held = rng.choice(1500, 120, replace=False)
    trades = rng.normal(0.004, 0.01, 120)
    days[held] += trades
    scores = score(np.full(600, 0.5), rng.integers(0, 2, 600) * 1.0, np.full(600, 0.5))
    verdict = judge(Evidence(days, days, rng.normal(0, 0.01, 1500), 120, 1, scores))
    assert trades.mean() > 0.002
    assert any("Sharpe -" in reason for reason in verdict.reasons)


def test_the_best_of_a_grid_is_refused_once_the_grid_is_counted():
    rng = np.random.default_rng(12)
    grid = rng.normal(0.0, 0.01, (52, 1500))
    best = grid[np.argmax(grid.mean(axis=1) / grid.std(axis=1))]
    scores = score(np.full(600, 0.5), rng.integers(0, 2, 600) * 1.0, np.full(600, 0.5))

    def luck(trials):
        verdict = judge(Evidence(best, best, grid[0], 90, trials, scores))
        return [reason for reason in verdict.reasons if "it is above luck with" in reason]

    assert luck(1) == []
    assert luck(52)


def test_the_hourly_trap_of_overlapping_days_would_ring_the_alarm_too():
    rng = np.random.default_rng(4)
    up = rng.integers(0, 2, 3000) * 1.0
    scores = score(np.clip(0.5 + 0.1 * (up - 0.5) + rng.normal(0, 0.05, 3000), 0.01, 0.99), up,
                   np.full(3000, 0.5))  # fmt: skip
    assert scores.auc > 0.7
    returns = rng.normal(0.001, 0.01, 1500)
    verdict = judge(Evidence(returns, returns, returns / 2, 90, 1, scores))
    assert any("AUC" in reason and "look for a leak" in reason for reason in verdict.reasons)
