from dataclasses import replace

import numpy as np
import pytest

from tests.learning.trained import BTC, ETH, FOUR_HOURS, SETTINGS, TRAINED_AT, histories, leaning
from tests.market_making import candles_of
from trader.domain.candles import Timeframe
from trader.domain.errors import ModelError
from trader.learning.dataset import build_dataset
from trader.learning.learner import DAY, Learner
from trader.learning.training import check_memory, train

NEW = {ETH: histories()[ETH][-600:]}  # a hundred days
LINE = replace(SETTINGS, model_type="logistic_regression")


def test_a_companion_is_learned_from_but_not_predicted():
    dataset = build_dataset(
        {BTC: histories()[BTC]}, companions={ETH: histories()[ETH]}, horizons=(4.0,)
    )
    moment = dataset.last_known - 60 * DAY
    learner = Learner(dataset, LINE, (moment,))
    learner.step()
    assert dataset.own_pairs == (BTC,)
    assert set(learner.predictions[4.0].column("pair")) == {0}
    alone = build_dataset({BTC: histories()[BTC]}, horizons=(4.0,))
    more = replace(LINE, rows_per_fit=50_000)
    rows = [len(Learner(d, more, ())._training_rows(4.0, moment).up) for d in (dataset, alone)]
    assert rows[0] > 1.8 * rows[1]


def test_a_companion_teaches_nothing_from_after_the_refit():
    known = histories()
    moment = int(known[ETH].opened_at[2000])
    other = candles_of(
        np.concatenate([known[ETH].close[:2001], leaning(599, 7, pull=-0.5)]), FOUR_HOURS
    )
    votes = []
    for companion in (known[ETH], other):
        dataset = build_dataset({BTC: known[BTC]}, companions={ETH: companion}, horizons=(4.0,))
        learner = Learner(dataset, LINE, (moment,))
        learner.step()
        votes.append(learner.predictions[4.0].column("members"))
    assert votes[0].tobytes() == votes[1].tobytes()


@pytest.mark.slow
def test_a_pair_with_three_months_of_history_gets_the_pooled_model():
    made = train(
        NEW, replace(LINE, refit_days=20, least_days=20), source="t", trained_at=TRAINED_AT,
        code_version="0", leader=histories()[BTC], companions={BTC: histories()[BTC]},
    )  # fmt: skip
    card = made.model.card
    assert card.pairs == (ETH,)
    assert min(card.rows) > 600
    assert card.horizons[0].scores.auc > 0.55
    assert "judged together with the other stored markets" in made.licence.reasons[0]


def test_the_same_pair_alone_is_told_how_much_is_wanted():
    with pytest.raises(ModelError, match="too little history to train on"):
        train(NEW, LINE, source="t", trained_at=TRAINED_AT, code_version="0")


def test_candles_of_another_length_are_no_companions():
    hourly = candles_of(leaning(600, 3), Timeframe.parse("1h"))
    dataset = build_dataset({BTC: histories()[BTC]}, companions={ETH: hourly}, horizons=(4.0,))
    assert dataset.pairs == (BTC,)


def test_a_training_beyond_its_memory_budget_is_refused_before_it_begins():
    with pytest.raises(ModelError, match=r"takes about .* MB, the budget is 100 MB"):
        check_memory(histories(), None, replace(SETTINGS, memory_mb=100))
