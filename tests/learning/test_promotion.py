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
    _verdict,
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
    looks = np.arange(1, 151) * 86400  # as the bot does: once a day
    paths = [evidence_over_time(stream(seed, 150, 0.0, 0.12), looks) for seed in range(20)]
    assert sum(path.max() >= 20 for path in paths) >= 16


def test_a_worse_challenger_gathers_evidence_against_itself():
    evidence, against, blocks, lead = weigh(stream(1, 150, 0.12, 0.0))
    assert evidence < 1
    assert against > 20
    assert blocks > 1000
    assert lead < 0


def bold(seed, champion, challenger, truth, days=91):
    """Two models that always say the same, of daily outcomes that rise as often as is true."""
    rose = (np.random.default_rng(seed).random(days) < truth).astype(float)
    at = np.arange(days, dtype=np.int64) * 86400
    return {24.0: PairedChances(at, np.full(days, champion), np.full(days, challenger), rose)}


@pytest.mark.parametrize(
    ("champion", "challenger", "truth"),
    [(0.5, 0.75, 0.60), (0.5, 0.68, 0.575), (0.45, 0.65, 0.53)],
)
def test_a_worse_challenger_is_not_promoted_for_being_bold(champion, challenger, truth):
    looks = np.arange(1, 93) * 86400
    paths = [evidence_over_time(bold(n, champion, challenger, truth), looks) for n in range(200)]
    promoted = sum(path.max() >= 20 for path in paths)
    assert promoted <= 10  # one in twenty


def test_a_bold_challenger_that_is_right_is_promoted():
    # Beyond 0.63 it is the better one: 0.75 is not so far from that, hence the year.
    found = [weigh(bold(n, 0.5, 0.75, 0.75, days=365))[0] for n in range(40)]
    assert sum(evidence >= 20 for evidence in found) >= 34


def test_evidence_from_timid_forecasts_does_not_promote_a_challenger_that_loses_on_the_whole():
    model = result().earlier[-1]
    now = model.known_through + timedelta(days=20)
    assert _verdict(25.0, 0.1, 0.001, now, model) == PROMOTED
    assert _verdict(25.0, 0.1, -0.001, now, model) == UNDECIDED


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
