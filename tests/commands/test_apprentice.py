"""Training beside the loop: begun when due, followed without waiting, told of."""

from types import SimpleNamespace

import pytest

from commands import apprentice as module
from commands.apprentice import Apprentice
from config import load_config
from main import Wishes, assemble
from trader.jobs import TrainingOutcome


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


def test_without_a_model_a_training_begins_on_what_is_known_now_and_no_more(scene):
    found = scene()
    found.apprentice.look()
    (job,) = found.jobs
    (candles,) = job.request.histories.values()
    now = found.parts.trader.clock.now()
    assert candles.closed_at <= now
    assert (job.request.source, job.request.trained_at <= now) == ("simulated", True)
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


def test_a_strategy_that_does_not_learn_needs_no_model(scene):
    found = scene(STRATEGY="trend")
    found.apprentice.look()
    assert found.jobs == []


def test_ending_the_bot_ends_the_training(scene):
    found = scene()
    found.apprentice.look()
    found.apprentice.stop()
    assert found.jobs[0].stopped
