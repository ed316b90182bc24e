"""Training beside the loop: begun when due, followed without waiting, told of."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from commands import apprentice as module
from commands.apprentice import Apprentice
from config import load_config
from main import _demand_licence, assemble, model_store
from tests.learning.trained import result
from trader.domain.errors import RuleError
from trader.domain.events import HealthChanged, ModelCompared
from trader.jobs import TrainingOutcome, train_in_child
from trader.learning.licence import Licence
from trader.learning.promotion import Comparison
from trader.learning.tracking import Doubt
from trader.storage.model_store import ModelStore
from venues import Wishes


class Job:
    """A training that goes as the test says."""

    def __init__(self, request):
        self.request = request
        self.outcome = None
        self.progress = (0.25, "fold 1 of 4")
        self.stopped = False

    def poll(self):
        return self.outcome

    def stop(self):
        self.stopped = True


def known(days, model_id, parts, **more):
    """A stored model that knows all up to so many days ago."""
    model, now = result().model, parts.trader.clock.now()
    card = replace(
        model.card, id=model_id, source="simulated", pairs=parts.venue.pairs,
        timeframe=parts.config.timeframe, known_through=now - timedelta(days=days), **more,
    )  # fmt: skip
    return replace(model, card=card)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    jobs, said = [], []
    monkeypatch.setattr(module, "train_in_child", lambda r: jobs.append(Job(r)) or jobs[-1])
    settings = {
        "SANDBOX_FEED": "simulated", "PAIRS": "ETH/USD", "TRAINING_WINDOW_DAYS": "60",
        "DATA_DIR": str(tmp_path), "LOGS_DIR": str(tmp_path), "MODELS_DIR": str(tmp_path / "m"),
    }  # fmt: skip

    def open_(speed=None, **more):
        parts = assemble(load_config(None, {**settings, **more}), Wishes(speed=speed))
        found = SimpleNamespace(parts=parts, jobs=jobs, said=said)
        found.apprentice = Apprentice(parts, said.append)
        opened.append(parts)
        return found

    opened = []
    yield open_
    for parts in opened:
        parts.close()


@pytest.mark.slow
def test_without_a_model_a_training_begins_on_what_is_known_now_and_no_more(scene):
    found = scene()
    found.apprentice.look()
    (job,) = found.jobs
    (candles,) = job.request.histories.values()
    now = found.parts.trader.clock.now()
    assert candles.closed_at <= now
    assert (job.request.source, job.request.trained_at <= now) == ("simulated", True)
    assert job.request.ledger == found.parts.config.data_dir / "trials.jsonl"  # as `train` counts
    assert "beside the loop" in found.said[0]


def test_while_it_runs_its_progress_is_in_the_outlook_and_no_second_one_begins(scene):
    found = scene()
    found.apprentice.look()
    found.apprentice.look()
    outlook = found.parts.trader.outlook
    assert outlook["training"] == {"stage": "fold 1 of 4", "fraction": 0.25}
    assert len(found.jobs) == 1


def test_its_end_is_told_and_a_failed_one_is_not_begun_again_at_once(scene):
    found = scene()
    found.apprentice.look()
    found.jobs[0].outcome = TrainingOutcome("", False, "too little history")
    found.apprentice.look()
    found.apprentice.look()
    assert "too little history" in found.said[-1]
    assert ("training" in found.parts.trader.outlook, len(found.jobs)) == (False, 1)


def test_a_replay_at_full_speed_trains_nothing_beside_itself(scene):
    found = scene(speed=float("inf"))
    found.apprentice.look()
    assert found.jobs == []


@pytest.mark.slow
def test_a_strategy_that_does_not_learn_needs_no_model(scene):
    found = scene(STRATEGY="trend")
    found.apprentice.look()
    assert found.jobs == []


def test_ending_the_bot_ends_the_training(scene):
    found = scene()
    found.apprentice.look()
    found.apprentice.stop()
    assert found.jobs[0].stopped


def begun(scene, *models, challenger=None):
    """What is begun with these models in the store."""
    found = scene()
    store = ModelStore(found.parts.config.models_dir, "simulated")
    for model in models:
        store.save(model(found.parts))
    if challenger is not None:
        store.save(challenger(found.parts), challenger=True)
    found.store = store
    return found


def test_a_young_model_is_left_alone(scene):
    found = begun(scene, lambda parts: known(3, "champion", parts))
    found.apprentice.look()
    assert found.jobs == []


@pytest.mark.slow
def test_after_the_retraining_hours_a_challenger_is_trained(scene):
    found = begun(scene, lambda parts: known(8, "champion", parts))
    found.apprentice.look()
    assert found.jobs[0].request.challenge
    assert "challenger" in found.said[0]


@pytest.mark.slow
def test_a_model_older_than_its_test_ever_let_one_grow_is_replaced_without_a_test(scene):
    found = begun(scene, lambda parts: known(40, "champion", parts, refit_days=28))
    found.apprentice.look()
    assert not found.jobs[0].request.challenge
    assert "in place of the one in use" in found.said[0]


def doubted(found):
    tracker, now = found.parts.trader.tracker, found.parts.trader.clock.now()
    tracker.doubts["champion"] = Doubt("champion", 1.0, now, "wrong too often")
    return found


@pytest.mark.slow
def test_the_successor_of_a_doubted_model_has_to_show_itself_better(scene):
    found = doubted(begun(scene, lambda parts: known(8, "champion", parts)))
    found.apprentice.look()
    assert found.jobs[0].request.challenge


@pytest.mark.slow
def test_a_doubt_does_not_end_the_comparison_with_the_challenger_that_waits(scene):
    found = begun(
        scene, lambda parts: known(20, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    doubted(found).apprentice.look()
    assert found.jobs[0].request.compare == ("champion", "challenger")


@pytest.mark.slow
def test_a_challenger_older_than_the_model_in_use_is_not_compared(scene):
    found = begun(
        scene, lambda parts: known(8, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    found.apprentice.look()
    assert (found.jobs[0].request.compare, found.jobs[0].request.challenge) == (None, True)


@pytest.mark.slow
def test_a_model_for_other_features_is_replaced(scene):
    found = begun(scene, lambda parts: known(1, "champion", parts, schema="feedfeed"))
    found.apprentice.look()
    assert (found.jobs[0].request.challenge, found.jobs[0].request.compare) == (False, None)


@pytest.mark.slow
def test_a_challenger_is_held_against_the_champion_once_a_day(scene):
    found = begun(
        scene, lambda parts: known(20, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    found.apprentice.look()
    assert found.jobs[0].request.compare == ("champion", "challenger")
    found.jobs[0].outcome = compared("undecided")
    found.apprentice.look()
    found.apprentice._again_at = 0.0
    found.apprentice.look()
    assert len(found.jobs) == 1


@pytest.mark.slow
def test_a_comparison_goes_from_the_loop_through_the_child_into_the_journal(scene, monkeypatch):
    found = begun(
        scene, lambda parts: known(20, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    parts = found.parts
    pair = parts.venue.pairs[0]
    before = [(e.id, e.state) for e in found.store.entries(pair)]
    monkeypatch.setattr(module, "train_in_child", train_in_child)
    found.apprentice.look()
    found.apprentice._job.wait(120)
    found.apprentice.look()
    (told,) = [e for _, e in parts.journal.events() if isinstance(e, ModelCompared)]
    # The same model under two names: there is nothing to choose between them.
    assert (told.champion, told.challenger, told.verdict) == (
        "champion", "challenger", "undecided",
    )  # fmt: skip
    assert told.blocks > 0
    assert "not yet shown to be better" in found.said[-1]
    assert [(e.id, e.state) for e in found.store.entries(pair)] == before


@pytest.mark.slow
def test_a_comparison_that_failed_is_said_and_changes_nothing(scene):
    found = begun(
        scene, lambda parts: known(20, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    found.apprentice.look()
    found.jobs[0].outcome = TrainingOutcome("", False, "no horizon in common")
    found.apprentice.look()
    assert "no comparison today: no horizon in common" in found.said[-1]
    assert [e.state for e in found.store.entries(found.parts.venue.pairs[0])] == [
        "in use", "challenger",
    ]  # fmt: skip


LICENSED = Licence(True, ("it earns its costs",))


def with_real_money(scene, *models):
    """The scene, asking only models that may trade real money."""
    found = begun(scene, *models)
    found.parts.venue.demands_licence = True
    found.apprentice = Apprentice(found.parts, found.said.append)
    return found


@pytest.mark.slow
def test_with_real_money_a_refused_model_waits_and_it_is_said_once(scene):
    found = with_real_money(
        scene, lambda parts: known(5, "licensed", parts, licence=LICENSED),
        lambda parts: known(1, "refused", parts),
    )  # fmt: skip
    parts = found.parts
    used = model_store(parts.config, parts.venue).model_for(
        parts.venue.pairs[0], parts.config.timeframe, parts.trader.clock.now()
    )
    assert used.id == "licensed"
    for _ in range(3):
        found.apprentice.look()
    (said,) = found.said
    assert "refused is newer but has no licence for real money: licensed stays in use" in said
    health = [e for _, e in parts.journal.events() if isinstance(e, HealthChanged)]
    assert [(e.check, e.state) for e in health] == [("licence", "warn")]
    assert found.jobs == []


@pytest.mark.slow
@pytest.mark.parametrize(("days", "trainings"), [(1, 0), (8, 1)])
def test_with_real_money_the_next_training_waits_its_time_after_a_refused_one(
    scene, days, trainings
):
    found = with_real_money(
        scene, lambda parts: known(100, "licensed", parts, licence=LICENSED),
        lambda parts: known(days, "refused", parts),
    )  # fmt: skip
    found.apprentice.look()
    assert len(found.jobs) == trainings


@pytest.mark.slow
def test_a_start_with_real_money_goes_on_with_the_licensed_model_and_says_what_waits(scene):
    found = with_real_money(
        scene, lambda parts: known(5, "licensed", parts, licence=LICENSED),
        lambda parts: known(1, "refused", parts),
    )  # fmt: skip
    parts = found.parts
    _demand_licence(parts.config, parts.venue, anyway=False)
    (note,) = parts.venue.notes
    assert "model refused is newer but has no licence" in note
    found.store.retire(parts.venue.pairs[0], "licensed")
    with pytest.raises(RuleError, match="no licence to trade ETH/USD live"):
        _demand_licence(parts.config, parts.venue, anyway=False)


@pytest.mark.slow
def test_in_paper_a_refused_model_is_used(scene):
    found = begun(
        scene, lambda parts: known(5, "licensed", parts, licence=LICENSED),
        lambda parts: known(1, "refused", parts),
    )  # fmt: skip
    found.apprentice.look()
    assert (found.said, found.apprentice._used(found.parts.venue.pairs[0])) == ([], "refused")


def compared(verdict):
    held = Comparison("champion", "challenger", verdict, 9, 9, 0.01, 25.0, 0.1, "better by far")
    return TrainingOutcome("", False, held.reason, held)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "used", "waits"),
    [
        ("promoted", "challenger", False),
        ("kept", "champion", False),
        ("undecided", "champion", True),
    ],
)
def test_what_a_comparison_shows_is_carried_out_and_journalled(scene, verdict, used, waits):
    found = begun(
        scene, lambda parts: known(20, "champion", parts),
        challenger=lambda parts: known(9, "challenger", parts),
    )  # fmt: skip
    found.apprentice.look()
    found.jobs[0].outcome = compared(verdict)
    found.apprentice.look()
    parts = found.parts
    asked = (parts.venue.pairs[0], parts.config.timeframe, parts.trader.clock.now())
    assert found.store.model_for(*asked).id == used
    assert (found.store.challenger(*asked) is not None) == waits
    told = [e for _, e in parts.journal.events() if isinstance(e, ModelCompared)]
    assert [(e.verdict, e.champion, e.challenger) for e in told] == [
        (verdict, "champion", "challenger")
    ]
