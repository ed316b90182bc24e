"""The model page tells what the live record says, and what moves a real model's votes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.dashboard.demo_account import BTC, START, DemoAccount
from tests.dashboard.test_guard import client
from tests.learning.trained import histories, result
from trader.dashboard.models import ModelPage, explained_features
from trader.dashboard.reading import Reading
from trader.domain.account import AccountView
from trader.domain.events import ForecastMade, ForecastOutcome, ForecastScored, ModelDoubted
from trader.domain.events import StatedChance as Chance
from trader.learning.estimators import MODEL_TYPES
from trader.storage.history import HistoryStore
from trader.storage.model_store import ModelStore

DAY = timedelta(hours=24)


def said_and_came(account: DemoAccount, count: int = 200) -> None:
    """Forecasts of 60 % that come true six times in ten."""
    rng = np.random.default_rng(5)
    for number in range(count):
        closed, said = START + timedelta(hours=number), 0.45 + 0.3 * rng.random()
        account.add(ForecastMade(closed, BTC, closed, "m1", (Chance(24.0, said, 0.5, 0.01),)))
        gained = 0.01 if rng.random() < said else -0.01
        outcome = ForecastOutcome(closed, "m1", 24.0, said, 0.5, gained)
        account.add(ForecastScored(closed + DAY, BTC, (outcome,)))


def test_the_live_brier_score_is_that_of_the_scored_forecasts(tmp_path: Path) -> None:
    account = DemoAccount(tmp_path / "data", hours=60)
    said_and_came(account)
    (live,) = client(tmp_path).get("/api/models").get_json()["live"]
    scored = [e for _, e in account.journal.events() if isinstance(e, ForecastScored)]
    pairs = [(o.probability, float(o.gained > 0)) for e in scored for o in e.outcomes]
    expected = sum((p - up) ** 2 for p, up in pairs) / len(pairs)
    assert live["n"] == 200
    assert live["brier"] == pytest.approx(expected)
    assert len(live["reliability"]) == 10


def test_a_doubted_model_is_named_with_the_reason(tmp_path: Path) -> None:
    account = DemoAccount(tmp_path / "data", hours=20)
    account.add(ModelDoubted(START, "m1", 24.0, "too sure"))
    assert client(tmp_path).get("/api/models").get_json()["doubts"] == {"m1": "too sure"}


def test_promotions_are_told_newest_first(tmp_path: Path) -> None:
    DemoAccount(tmp_path / "data", hours=20)
    told = client(tmp_path).get("/api/models").get_json()["promotions"]
    assert [row["model"] for row in told] == ["20240301T0100-3fa9", ""]


@pytest.mark.slow
def test_what_moves_the_votes_is_taken_from_the_model_itself(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path, "test")
    for pair, candles in histories().items():
        store.append(pair, candles, "test")
    model = result().model
    reading = Reading("", AccountView(), {"history": "test"})
    found = explained_features(BTC, model, reading, tmp_path)
    sizes = [row["moved"] for row in found]
    assert {row["feature"] for row in found} <= set(model.card.features)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


def test_without_a_journal_there_are_no_models(tmp_path: Path) -> None:
    told = ModelPage(tmp_path, tmp_path).answer(Reading("", AccountView()))
    assert (told["models"], told["live"], told["importance"]) == ([], [], [])


@pytest.mark.slow
def test_before_the_first_start_the_trained_models_are_shown(tmp_path: Path) -> None:
    ModelStore(tmp_path, "test").save(result().model)
    told = ModelPage(tmp_path, tmp_path).answer(Reading("", AccountView()))
    assert [row["id"] for row in told["models"]] == [result().model.id]
    real = datetime.fromisoformat(told["models"][0]["written_at"])
    assert abs(datetime.now(UTC) - real) < timedelta(hours=1)
    voices = told["models"][0]["horizons"][0]["voices"]
    assert set(voices) == set(MODEL_TYPES[result().model.card.model_type])
    assert sum(voices.values()) == pytest.approx(1.0)
