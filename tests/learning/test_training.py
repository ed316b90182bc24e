from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from tests.learning.test_licence import GOOD
from tests.learning.trained import (
    BTC,
    ETH,
    FOUR_HOURS,
    SETTINGS,
    TRAINED_AT,
    end_of,
    histories,
    leaning,
    result,
)
from tests.market_making import candles_of, random_walk
from trader.domain.errors import ModelError
from trader.domain.signals import Snapshot
from trader.learning.dataset import build_dataset
from trader.learning.features import analysis_for_features
from trader.learning.learner import DAY, Learner, refit_moments
from trader.learning.licence import Evidence
from trader.learning.model import ModelCard, TradingModel
from trader.learning.training import _short, _verdict, train
from trader.learning.walkforward import WalkForwardModels


def look(model, row, pair=ETH):
    known = histories()
    leader = analysis_for_features(BTC, known[BTC])
    if pair == BTC:
        return model.outlook(Snapshot(leader, row))
    analysis = analysis_for_features(ETH, known[ETH])
    return model.outlook(Snapshot(analysis, row, leader=Snapshot(leader, row)))


def test_a_planted_edge_is_found_out_of_sample():
    short = result().model.card.horizons[0]
    assert short.hours == 4.0
    assert short.scores.auc > 0.57
    assert short.scores.log_loss_skill > 0
    assert short.skilled


@pytest.mark.slow
def test_a_market_without_an_edge_shows_no_skill():
    blind = {BTC: candles_of(random_walk(2600, 5, sigma=0.01), FOUR_HOURS)}
    made = train(blind, SETTINGS, source="test", trained_at=TRAINED_AT, code_version="0")
    assert made.model.card.horizons[0].scores.auc == pytest.approx(0.5, abs=0.04)
    assert not made.licence.granted


@pytest.mark.slow
def test_forecasts_lean_against_the_last_candle_as_the_market_does():
    model = result().model
    rows = range(2300, 2400)
    last = np.diff(np.log(histories()[ETH].close))[2299:2399]
    chances = [look(model, row).forecasts[4.0].probability for row in rows]
    assert np.corrcoef(last, chances)[0, 1] < -0.5


@pytest.mark.slow
def test_the_same_data_and_seed_give_the_same_bits():
    again = train(
        histories(), SETTINGS, source="test", trained_at=TRAINED_AT, code_version="0.0.0"
    )
    assert again.model.id == result().model.id
    rows = np.random.default_rng(1).normal(size=(50, 85)).astype(np.float32)
    ours = result().model.vote.probabilities(rows[:, : len(result().model.card.features)])
    theirs = again.model.vote.probabilities(rows[:, : len(again.model.card.features)])
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.slow
def test_a_model_learns_nothing_from_after_its_time():
    known = histories()
    moment = int(end_of(known[BTC]).timestamp()) - 100 * DAY
    future = {
        pair: candles_of(np.concatenate([c.close[:2000], leaning(600, 7, pull=-0.5)]), FOUR_HOURS)
        for pair, c in known.items()
    }
    same = [
        Learner(build_dataset(data), SETTINGS, (moment,)).fit_at(moment)
        for data in (known, future)
    ]
    assert known[BTC].opened_at[2000] >= moment
    np.testing.assert_array_equal(same[0].sample, same[1].sample)
    for ours, theirs in zip(same[0].fitted, same[1].fitted, strict=True):
        for name, member in ours.items():
            mine = member.predict_proba(same[0].sample)
            assert mine.tobytes() == theirs[name].predict_proba(same[0].sample).tobytes()


def test_training_rows_end_an_embargo_before_the_refit():
    dataset = build_dataset(histories())
    learner = Learner(dataset, SETTINGS, ())
    moment = dataset.last_known - 50 * DAY
    labels = dataset.labels[24.0][0]
    used = labels.known_before(moment, 24 * 3600)
    assert labels.known_at[used].max() <= moment - 24 * 3600
    picked = learner._training_rows(24.0, moment)
    assert 200 < len(picked.up) <= SETTINGS.rows_per_fit


@pytest.mark.slow
def test_calibration_never_sees_an_outcome_that_was_not_known():
    dataset = build_dataset(histories())
    moments = refit_moments(dataset.first_known, dataset.last_known, SETTINGS)
    learner = Learner(dataset, SETTINGS, moments[:3])
    learner.step()
    learner.step()
    seen = learner.known(24.0, moments[1])
    assert len(seen)
    assert seen.known_at.max() + 24 * 3600 <= moments[1]


def test_refits_lie_on_a_grid_that_does_not_depend_on_the_end():
    first = 1_600_000_000
    long = refit_moments(first, first + 900 * DAY, SETTINGS)
    short = refit_moments(first, first + 500 * DAY, SETTINGS)
    assert long[: len(short)] == short


@pytest.mark.slow
def test_too_little_history_is_said_with_what_is_needed():
    few = {BTC: candles_of(leaning(700, 1), FOUR_HOURS)}
    with pytest.raises(ModelError, match=r"too little history to train on: \d+ days"):
        train(few, SETTINGS, source="test", trained_at=TRAINED_AT, code_version="0")


def test_thirty_candles_are_too_little_too():
    few = {BTC: candles_of(leaning(30, 1), FOUR_HOURS)}
    with pytest.raises(ModelError, match="too little history"):
        train(few, SETTINGS, source="test", trained_at=TRAINED_AT, code_version="0")


def test_earlier_models_are_those_of_the_walk_and_belong_to_the_run():
    made = result()
    assert made.earlier
    ends = [m.known_through for m in made.earlier]
    assert ends == sorted(ends)
    assert ends[-1] < made.model.known_through
    assert {m.card.parent for m in made.earlier} == {made.model.id}


def test_the_licence_is_refused_with_reasons_when_the_evidence_is_thin():
    licence = result().licence
    assert not licence.granted
    assert any("days out of sample, 730 are needed" in reason for reason in licence.reasons)


def test_a_card_survives_its_json():
    card = result().model.card
    assert ModelCard.from_dict(card.as_dict()) == card


def test_a_card_with_something_missing_is_a_model_error():
    body = result().model.card.as_dict()
    del body["schema"]
    with pytest.raises(ModelError, match="manifest"):
        ModelCard.from_dict(body)


def test_a_model_for_other_features_is_refused_with_a_remedy():
    model = result().model
    foreign = TradingModel(
        replace(model.card, schema="feedfeedfeedfeed"), model.vote, model.low, model.high
    )
    with pytest.raises(ModelError, match="other features") as caught:
        look(foreign, 2300)
    assert "train" in caught.value.hint


def test_a_live_row_and_a_prepared_history_get_the_same_forecast():
    model = result().model
    prepared = look(model, 2400)
    live = {p: candles_of(c.close[:2401], FOUR_HOURS) for p, c in histories().items()}
    leader = Snapshot(analysis_for_features(BTC, live[BTC]), 2400)
    alone = model.outlook(Snapshot(analysis_for_features(ETH, live[ETH]), 2400, leader=leader))
    for hours, forecast in prepared.forecasts.items():
        assert forecast.probability == alone.forecasts[hours].probability
        np.testing.assert_array_equal(forecast.recent, alone.forecasts[hours].recent)


def test_the_last_candle_is_named_among_the_reasons():
    texts = [c.text for c in look(result().model, 2400).forecasts[4.0].explain()]
    assert len(texts) == 5
    assert all("the chance by" in text for text in texts)


def test_a_market_unlike_any_before_makes_the_model_abstain():
    model = result().model
    strange = TradingModel(model.card, model.vote, model.high, model.high, 0.05)
    said = look(strange, 2400)
    assert said.main is None
    assert "unlike anything" in said.silence or "no skill" in said.silence


def test_warming_features_make_the_model_silent():
    said = look(result().model, 50)
    assert said.main is None
    assert "warming up" in said.silence


@pytest.mark.slow
def test_walk_forward_hands_out_only_models_of_the_past():
    first = end_of(histories()[BTC]) - timedelta(days=120)
    models = WalkForwardModels(histories(), SETTINGS, source="test", first=first, code_version="0")
    for days in (0, 61, 119):
        now = first + timedelta(days=days)
        model = models.model_for(ETH, FOUR_HOURS, now)
        assert model.known_through <= now
        assert now - model.known_through < timedelta(days=60)
    assert models.model_for(ETH, FOUR_HOURS, datetime(2019, 1, 1, tzinfo=UTC)) is None


@pytest.mark.slow
def test_walk_forward_models_do_not_depend_on_what_comes_later():
    first = end_of(histories()[BTC]) - timedelta(days=130)
    now = first + timedelta(days=1)
    cut = {pair: candles.known_at(now) for pair, candles in histories().items()}
    known, blind = (
        WalkForwardModels(data, SETTINGS, source="t", first=first, code_version="0").model_for(
            BTC, FOUR_HOURS, now
        )
        for data in (histories(), cut)
    )
    assert known.id == blind.id
    assert replace(known.card, data_hash="") == replace(blind.card, data_hash="")


def test_a_pair_with_little_history_beside_a_long_one_is_named_and_gets_no_licence():
    long, few = candles_of(leaning(2600, 1), FOUR_HOURS), candles_of(leaning(600, 2), FOUR_HOURS)
    short = _short({BTC: long, ETH: few})
    assert short == (ETH,)
    rng = np.random.default_rng(1)
    earns = rng.normal(0.001, 0.008, 3000)
    evidence = Evidence(earns, earns, rng.normal(0, 0.03, 3000), 200, 1, GOOD)
    dataset = SimpleNamespace(own_pairs=(BTC, ETH), traded=(BTC, ETH), horizons=(4.0, 24.0))
    assert _verdict(evidence, SETTINGS, dataset, ()).granted
    refused = _verdict(evidence, SETTINGS, dataset, short)
    assert not refused.granted
    assert "ETH/USD: less than 365 days of its own history" in refused.reasons[0]
    assert "a training without it" in refused.needed[0]


def test_the_verdict_says_what_the_models_change_and_what_was_not_tested():
    words = "\n".join(result().licence.notes)
    assert "the trend rule alone: Sharpe" in words
    assert "choosing the moment of an order, is not in this evidence" in words
