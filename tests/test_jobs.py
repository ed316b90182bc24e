import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.learning.trained import (
    BTC,
    FOUR_HOURS,
    SETTINGS,
    TRAINED_AT,
    histories,
    leaning,
    result,
)
from tests.market_making import candles_of
from trader.jobs import (
    TrainingRequest,
    _tried,
    compare_stored,
    learning_settings,
    train_and_save,
    train_in_child,
)
from trader.storage.model_store import ModelStore
from trader.storage.trials import Trial, TrialLedger


def request(tmp_path, data=None):
    return TrainingRequest(data or histories(), "test", tmp_path, TRAINED_AT, SETTINGS, "0.0.0")


@pytest.mark.slow
def test_a_child_trains_what_this_process_would_have_trained(tmp_path):
    job = train_in_child(request(tmp_path / "child"))
    here = train_and_save(request(tmp_path / "here"))
    outcome = job.wait(120)
    assert outcome.succeeded
    assert outcome.model_id == here.model.id
    assert job.progress == (1.0, "done")
    stored = [
        ModelStore(tmp_path / name, "test").model_for(BTC, FOUR_HOURS, TRAINED_AT)
        for name in ("child", "here")
    ]
    rows = np.random.default_rng(0).normal(size=(9, len(stored[0].low))).astype(np.float32)
    ours, theirs = (model.vote.probabilities(rows).tobytes() for model in stored)
    assert ours == theirs


@pytest.fixture(scope="module")
def waiting(tmp_path_factory):
    """A models folder with a champion and a challenger that was trained by a real child."""
    folder = tmp_path_factory.mktemp("models")
    store = ModelStore(folder, "test")
    store.save(result().earlier[-2])
    some = {pair: candles[:-300] for pair, candles in histories().items()}
    asked = replace(request(folder, some), challenge=True)
    return folder, result().earlier[-2].id, train_in_child(asked).wait(120).model_id


@pytest.mark.slow
def test_a_challenger_trained_by_the_child_waits_until_it_is_promoted(waiting):
    folder, champion, challenger = waiting
    store = ModelStore(folder, "test")
    asked = (BTC, FOUR_HOURS, TRAINED_AT)
    assert challenger
    assert (store.model_for(*asked).id, store.challenger(*asked).id) == (champion, challenger)


@pytest.mark.slow
def test_the_child_compares_when_it_is_asked_to_compare_and_trains_nothing(waiting):
    folder, champion, challenger = waiting
    before = [(e.id, e.state) for e in ModelStore(folder, "test").entries(BTC)]
    asked = replace(request(folder), compare=(champion, challenger))
    outcome = train_in_child(asked).wait(120)
    assert outcome.compared == compare_stored(asked)
    assert (outcome.compared.champion, outcome.compared.challenger) == (champion, challenger)
    assert (outcome.succeeded, outcome.reason) == (False, outcome.compared.reason)
    assert outcome.compared.blocks > 0
    assert [(e.id, e.state) for e in ModelStore(folder, "test").entries(BTC)] == before


@pytest.mark.slow
def test_a_comparison_with_a_model_that_is_gone_is_an_outcome_with_a_reason(waiting):
    folder, champion, _ = waiting
    outcome = train_in_child(replace(request(folder), compare=(champion, "gone"))).wait(60)
    assert (outcome.compared, "has no model gone" in outcome.reason) == (None, True)


@pytest.mark.slow
def test_too_little_history_is_an_outcome_with_a_reason(tmp_path):
    few = {BTC: candles_of(leaning(100, 1), FOUR_HOURS)}
    outcome = train_in_child(request(tmp_path, few)).wait(60)
    assert not outcome.succeeded
    assert outcome.reason.startswith("too little history")


@pytest.mark.slow
def test_a_killed_child_is_an_outcome_too(tmp_path):
    job = train_in_child(request(tmp_path))
    job._child.kill()
    outcome = job.wait(30)
    assert not outcome.succeeded
    assert "ended with status" in outcome.reason


def test_a_stopped_training_says_so(tmp_path):
    job = train_in_child(request(tmp_path))
    assert job.poll() is None
    job.stop()
    assert job.poll().reason == "the training was stopped"


PARENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.test_jobs import request
from trader.jobs import train_in_child
if __name__ == "__main__":
    job = train_in_child(request(Path({folder!r})))
    print(job._child.pid, flush=True)
    time.sleep(120)
"""


@pytest.mark.slow
def test_a_killed_bot_leaves_no_training_behind(tmp_path):
    root = str(Path(__file__).resolve().parents[1])
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(root=root, folder=str(tmp_path)))
    bot = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    child = int(bot.stdout.readline())
    time.sleep(1.0)
    assert _lives(child)
    bot.kill()
    bot.wait()
    bot.stdout.close()
    ends = time.monotonic() + 30
    while _lives(child) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not _lives(child)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("days", "refit"), [(1460, 91), (500, 28)])
def test_short_histories_are_tested_in_shorter_steps(days, refit):
    settings = learning_settings(
        model_type="ensemble", window_days=1095, taker_fee=0.008, confidence_threshold=0.55,
        days=days,
    )  # fmt: skip
    assert settings.refit_days == refit
    assert settings.round_trip_cost == pytest.approx(0.017)


@pytest.mark.slow
def test_a_child_that_takes_more_than_its_budget_fails_alone():
    greedy = (
        "import numpy as np\n"
        "from trader.jobs import _limit_memory\n"
        "np.ones(10)\n"
        "_limit_memory(150)\n"
        "kept = np.ones(5_000_000)\n"  # 40 MB: fine
        "try:\n    np.ones(40_000_000)\nexcept MemoryError:\n    print('refused')\n"
    )
    said = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True)
    assert said.stdout.strip() == "refused"


@pytest.mark.slow
def test_a_training_that_cannot_fit_is_an_outcome_with_a_reason(tmp_path):
    small = replace(request(tmp_path), settings=replace(SETTINGS, memory_mb=100))
    outcome = train_in_child(small).wait(60)
    assert not outcome.succeeded
    assert "the budget is 100 MB" in outcome.reason


def trained_at_once(monkeypatch):
    """The real recording and saving of a training that was made before; how it was counted."""
    counted = []

    def train(*_, trials, **__):
        counted.append(trials)
        return result()

    monkeypatch.setattr("trader.learning.training.train", train)
    return counted


@pytest.mark.slow
def test_a_training_with_other_settings_is_another_try_and_the_same_again_is_none(
    tmp_path, monkeypatch
):
    counted = trained_at_once(monkeypatch)
    asked = replace(request(tmp_path), ledger=tmp_path / "trials.jsonl")
    newer = {pair: candles[:-6] for pair, candles in histories().items()}
    for changed in (
        asked,
        asked,
        replace(asked, settings=replace(SETTINGS, label="barriers")),
        replace(asked, settings=replace(SETTINGS, seed=8)),
        replace(asked, histories=newer),  # scheduled retraining: other candles, the same settings
        replace(asked, settings=replace(SETTINGS, round_trip_cost=0.01)),  # another fee tier
    ):
        train_and_save(changed)
    assert counted == [1, 1, 2, 3, 3, 3]


def test_the_ledgers_other_tries_count_for_a_training(tmp_path):
    asked = replace(request(tmp_path), ledger=tmp_path / "trials.jsonl")
    others = [Trial("sweep", ("test:BTC/USD",), {"n": n}, 0.0, 900, "") for n in range(300)]
    TrialLedger(asked.ledger).record(others)
    assert _tried(asked) == 301
