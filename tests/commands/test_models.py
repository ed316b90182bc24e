"""`models`: every state is shown, and the way back is one command."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner

from commands.models import command
from tests.learning.trained import BTC, result
from trader.storage.model_store import ModelStore


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("PAIRS", "BTC/USD")
    store = ModelStore(tmp_path)
    for model in (result().earlier[-2], result().earlier[-1]):
        store.save(model)
    store.save(result().model, challenger=True)
    return store


def run(*words):
    done = CliRunner().invoke(command, [*words, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def states(pair="BTC/USD"):
    return {row["id"]: row["state"] for row in run("list")[pair]}


def names():
    return result().earlier[-2].id, result().earlier[-1].id, result().model.id


def test_every_model_is_listed_with_its_state(models):
    old, used, challenger = names()
    assert states() == {old: "earlier", used: "in use", challenger: "challenger"}


def test_going_back_retires_the_model_in_use_and_restoring_takes_it_back(models):
    old, used, challenger = names()
    (done,) = run("rollback", "BTC/USD", "--reason", "it lost")["rolled_back"]
    assert done == {"pair": "BTC/USD", "retired": [used], "in_use": old}
    assert states() == {old: "in use", used: "retired", challenger: "challenger"}
    assert run("restore", "BTC/USD", used)["in_use"] == used


def test_going_back_to_a_named_model_retires_all_newer_ones(models):
    old, used, challenger = names()
    models.promote(BTC, challenger)
    (done,) = run("rollback", "BTC/USD", "--to", old)["rolled_back"]
    assert (set(done["retired"]), done["in_use"]) == ({used, challenger}, old)


def test_one_can_go_back_between_models_of_the_same_candles(models):
    used, at = result().earlier[-1], result().earlier[-1].trained_at
    twin = replace(used.card, id="0-first", trained_at=at + timedelta(hours=1))
    models.save(replace(used, card=twin))
    assert states()["0-first"] == "in use"
    (done,) = run("rollback", "BTC/USD", "--to", used.id)["rolled_back"]
    assert done == {"pair": "BTC/USD", "retired": ["0-first"], "in_use": used.id}


def test_going_back_leaves_models_of_other_candles_alone(models):
    old, used, _ = names()
    other = replace(result().model.card, id="9-simulated", source="simulated-7")
    models.save(replace(result().model, card=other))
    (done,) = run("rollback", "BTC/USD", "--to", old)["rolled_back"]
    assert done["retired"] == [used]


@pytest.mark.slow
def test_a_model_shows_where_it_comes_from(models):
    card = run("show", "BTC/USD")
    made = result().earlier[-1].card
    for name in ("data_hash", "schema", "seed", "code_version", "parent"):
        assert card[name] == getattr(made, name)
    said = CliRunner().invoke(command, ["show", "BTC/USD"]).stdout
    for word in (made.id, made.data_hash, made.schema, "seed 7", "licence   refused"):
        assert word in said


def test_there_is_nothing_to_go_back_from_without_a_model(models):
    done = CliRunner().invoke(command, ["rollback", "ETH/EUR"])
    assert "no model to go back from" in str(done.exception)


def test_an_unknown_model_is_named_with_those_that_are_known(models):
    done = CliRunner().invoke(command, ["show", "BTC/USD", "nonsense"])
    assert names()[1] in str(done.exception)
