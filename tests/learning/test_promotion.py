"""A challenger is promoted for better forecasts on candles neither knew, and seldom by luck."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from campaigns.promotion import stream
from tests.learning.trained import BTC, FOUR_HOURS, end_of, histories, result
from trader.domain.errors import ModelError
from trader.learning.dataset import build_dataset
from trader.learning.promotion import (
    KEPT,
    PROMOTED,
    SHADOW_DAYS,
    UNDECIDED,
    PairedChances,
    compare,
    evidence_over_time,
    paired_chances,
    weigh,
)


def first_promotion(paired):
    return weigh(paired)[0] >= 20


def test_a_challenger_that_is_no_better_is_seldom_promoted():
    promoted = sum(first_promotion(stream(seed, 60, 0.05, 0.05)) for seed in range(40))
    assert promoted <= 4


def test_a_challenger_that_forecasts_much_better_is_promoted():
    promoted = sum(first_promotion(stream(seed, 150, 0.0, 0.12)) for seed in range(10))
    assert promoted >= 7


def test_a_worse_challenger_gathers_evidence_against_itself():
    evidence, against, blocks, lead = weigh(stream(1, 150, 0.12, 0.0))
    assert evidence < 1
    assert against > 20
    assert blocks > 1000
    assert lead < 0


def test_equal_models_give_no_evidence_at_all():
    said = np.full(500, 0.6)
    at = np.arange(500, dtype=np.int64) * 3600
    rows = PairedChances(at, said, said.copy(), (np.arange(500) % 2).astype(float))
    assert weigh({1.0: rows})[0] == pytest.approx(1.0)


def test_pairs_at_one_moment_are_one_piece_of_evidence():
    one = stream(2, 10, 0.0, 0.1)[1.0]
    twice = PairedChances(*(np.concatenate([getattr(one, n)] * 2) for n in one.__slots__))
    assert weigh({1.0: twice})[:3] == pytest.approx(weigh({1.0: one})[:3])


def test_looking_every_day_shows_what_one_look_at_the_end_would_have_shown():
    paired = stream(3, 20, 0.0, 0.12)
    end = max(int(rows.decided_at[-1] + hours * 3600) for hours, rows in paired.items())
    looks = np.arange(86400, end + 86401, 86400)
    path = evidence_over_time(paired, looks)
    assert path[-1] == pytest.approx(weigh(paired)[0])
    assert path[0] != path[-1]


def test_without_common_candles_nothing_is_decided():
    assert weigh({}) == (1.0, 1.0, 0, 0.0)


def champion_and_challenger():
    return result().earlier[-2], result().earlier[-1]


def test_only_candles_neither_model_has_learned_from_are_compared():
    champion, challenger = champion_and_challenger()
    now = end_of(histories()[BTC])
    paired = paired_chances(champion, challenger, build_dataset(histories()), now)
    begin = max(champion.known_through, challenger.known_through).timestamp()
    for hours, rows in paired.items():
        assert rows.decided_at.min() > begin
        assert rows.decided_at.max() + hours * 3600 <= now.timestamp()


def test_outcomes_of_the_future_do_not_count():
    champion, challenger = champion_and_challenger()
    dataset = build_dataset(histories())
    now = challenger.known_through + timedelta(days=10)
    rows = paired_chances(champion, challenger, dataset, now)[4.0]
    assert rows.decided_at.max() + 4 * 3600 <= now.timestamp()


def test_a_model_against_itself_is_undecided_and_in_the_end_dropped():
    model = result().earlier[-1]
    soon = model.known_through + timedelta(days=20)
    found = compare(model, model, histories(), soon)
    assert (found.verdict, found.lead) == (UNDECIDED, 0.0)
    late = model.known_through + timedelta(days=SHADOW_DAYS)
    assert compare(model, model, histories(), late).verdict == KEPT


@pytest.mark.slow
def test_a_better_model_is_promoted_and_the_reason_says_on_what():
    good = result().earlier[-1]
    # A champion whose chances lean the wrong way.
    wrong = replace(
        good.card, id="wrong",
        horizons=tuple(
            replace(h, platt=replace(h.platt, slope=-2.0)) if h.platt else h
            for h in good.card.horizons
        ),
    )  # fmt: skip
    found = compare(replace(good, card=wrong), good, histories(), end_of(histories()[BTC]))
    assert found.verdict == PROMOTED
    assert "neither had learned from" in found.reason


def test_models_of_other_candles_cannot_be_compared():
    champion, challenger = champion_and_challenger()
    silent = replace(
        challenger.card, horizons=tuple(replace(h, platt=None) for h in challenger.card.horizons)
    )
    with pytest.raises(ModelError, match="no calibrated horizon in common"):
        compare(champion, replace(challenger, card=silent), histories(), end_of(histories()[BTC]))
    assert champion.card.timeframe == FOUR_HOURS


def test_models_that_predict_something_else_than_rises_are_not_compared():
    champion, challenger = champion_and_challenger()
    other = replace(challenger, card=replace(challenger.card, label="barriers"))
    with pytest.raises(ModelError, match="does not predict rises"):
        compare(champion, other, histories(), end_of(histories()[BTC]))
