import json
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.learning.trained import BTC, ETH, FOUR_HOURS, result
from tests.market_making import HOUR
from trader.domain.errors import ModelError
from trader.learning.licence import Licence
from trader.learning.model import TradingModel
from trader.storage import model_store
from trader.storage.model_store import ModelStore, _seal


@pytest.fixture
def store(tmp_path):
    store = ModelStore(tmp_path, "test")
    store.save(result().model)
    return store


def later():
    return result().model.known_through + timedelta(days=1)


def test_a_saved_model_says_the_same_bit_for_bit(store, tmp_path):
    model = result().model
    again = ModelStore(tmp_path, "test").model_for(ETH, FOUR_HOURS, later())
    assert again.card == model.card
    rows = np.random.default_rng(2).normal(size=(20, len(model.low))).astype(np.float32)
    assert again.vote.probabilities(rows).tobytes() == model.vote.probabilities(rows).tobytes()


def test_the_pairs_are_those_that_have_a_folder(store, tmp_path):
    (tmp_path / "notes").mkdir()
    assert store.pairs() == (BTC, ETH)
    assert ModelStore(tmp_path / "none").pairs() == ()


def test_saving_twice_writes_the_same_file(store, tmp_path):
    folder = tmp_path / "BTC-USD" / result().model.id
    first = (folder / "model.npz").read_bytes()
    store.save(result().model)
    assert (folder / "model.npz").read_bytes() == first
    assert [p.name for p in (tmp_path / "BTC-USD").iterdir()] == [folder.name]


def test_the_newest_model_known_at_the_moment_is_handed_out(store):
    for model in result().earlier:
        store.save(model)
    for model in (*result().earlier, result().model):
        found = store.model_for(BTC, FOUR_HOURS, model.known_through + timedelta(hours=1))
        assert found.id == model.id
    oldest = result().earlier[0].known_through
    assert store.model_for(BTC, FOUR_HOURS, oldest - timedelta(seconds=1)) is None


def test_models_of_another_source_or_timeframe_are_not_seen(store, tmp_path):
    assert ModelStore(tmp_path, "kraken").model_for(BTC, FOUR_HOURS, later()) is None
    assert store.model_for(BTC, HOUR, later()) is None
    assert ModelStore(tmp_path).model_for(BTC, FOUR_HOURS, later()) is not None


def test_a_folder_without_models_has_none(tmp_path):
    assert ModelStore(tmp_path / "none").model_for(BTC, FOUR_HOURS, later()) is None


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_a_cut_off_model_file_is_refused_with_a_remedy(store, tmp_path, cut):
    path = tmp_path / "BTC-USD" / result().model.id / "model.npz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match="damaged") as caught:
        store.model_for(BTC, FOUR_HOURS, later())
    assert "train again" in caught.value.hint


def test_a_file_that_is_no_archive_is_refused_even_with_the_right_hash(store, tmp_path):
    import hashlib

    folder = tmp_path / "BTC-USD" / result().model.id
    (folder / "model.npz").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    body = json.loads((folder / "manifest.json").read_text())
    body["sha256"] = hashlib.sha256((folder / "model.npz").read_bytes()).hexdigest()
    body["seal"] = _seal(body)
    (folder / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(ModelError, match="cannot be read"):
        store.model_for(BTC, FOUR_HOURS, later())


def test_a_damaged_manifest_is_not_passed_over_in_silence(store, tmp_path):
    folder = tmp_path / "BTC-USD" / result().model.id
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="manifest cannot be read"):
        ModelStore(tmp_path, "test").model_for(BTC, FOUR_HOURS, later())


def test_a_missing_model_file_is_named(store, tmp_path):
    (tmp_path / "BTC-USD" / result().model.id / "model.npz").unlink()
    with pytest.raises(ModelError, match=r"model\.npz"):
        store.model_for(BTC, FOUR_HOURS, later())


def test_retiring_a_model_brings_back_the_one_before(store):
    before = result().earlier[-1]
    store.save(before)
    store.retire(BTC, result().model.id)
    assert store.model_for(BTC, FOUR_HOURS, later()).id == before.id
    with pytest.raises(ModelError, match="has no model nonsense"):
        store.retire(BTC, "nonsense")


def test_pruning_keeps_the_newest(store):
    model = result().model
    for day in range(5):
        known = model.known_through - timedelta(days=day + 1)
        card = replace(model.card, id=f"{known:%Y%m%dT%H%MZ}-copy", known_through=known)
        store.save(TradingModel(card, model.vote, model.low, model.high))
    assert store.prune(BTC, keep=2) == 4
    assert [c.id for c in store.models(BTC)][-1] == model.id


def test_a_licence_written_in_by_hand_is_refused(store, tmp_path):
    path = tmp_path / "BTC-USD" / result().model.id / "manifest.json"
    body = json.loads(path.read_text())
    body["licence"] = {"granted": True, "reasons": ["trust me"], "needed": []}
    path.write_text(json.dumps(body))
    with pytest.raises(ModelError, match="changed after it was written"):
        ModelStore(tmp_path, "test").model_for(BTC, FOUR_HOURS, later())


def test_a_manifest_in_a_foreign_folder_is_refused(store, tmp_path):
    home = tmp_path / "BTC-USD"
    (home / result().model.id).rename(home / "20300101T0000Z-feedbeef")
    with pytest.raises(ModelError, match="its manifest is that of"):
        ModelStore(tmp_path, "test").model_for(BTC, FOUR_HOURS, later() + timedelta(days=9000))


def test_a_file_that_is_too_large_is_not_even_read(store, monkeypatch):
    monkeypatch.setattr(model_store, "LARGEST_FILE", 100)
    with pytest.raises(ModelError, match="are no model"):
        store.model_for(BTC, FOUR_HOURS, later())


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(store, monkeypatch):
    monkeypatch.setattr(model_store, "LARGEST_UNPACKED", 1000)
    with pytest.raises(ModelError, match="unpacks to"):
        store.model_for(BTC, FOUR_HOURS, later())


def test_a_challenger_is_not_used_before_it_is_promoted(tmp_path):
    store, other = ModelStore(tmp_path, "test"), ModelStore(tmp_path, "test")
    champion = result().earlier[-1]
    store.save(champion)
    store.save(result().model, challenger=True)
    for seen in (store, other):
        assert seen.model_for(BTC, FOUR_HOURS, later()).id == champion.id
        assert seen.challenger(BTC, FOUR_HOURS, later()).id == result().model.id
    other.promote(BTC, result().model.id)
    for seen in (store, other):
        assert seen.model_for(BTC, FOUR_HOURS, later()).id == result().model.id
        assert seen.challenger(BTC, FOUR_HOURS, later()) is None


def test_a_model_taken_back_stays_so_when_it_is_trained_again(store, tmp_path):
    model = result().model
    store.retire(BTC, model.id, "it lost money")
    for challenger in (False, True):
        store.save(model, challenger=challenger)
        other = ModelStore(tmp_path, "test")
        assert other.model_for(BTC, FOUR_HOURS, later()) is None
        assert other.challenger(BTC, FOUR_HOURS, later()) is None
        (entry,) = other.entries(BTC)
        assert (entry.state, entry.note) == ("retired", "it lost money")
    store.promote(BTC, model.id)
    assert store.model_for(BTC, FOUR_HOURS, later()).id == model.id


def copy(name, days, **more):
    """The model as one that knows so many days less and was trained so many days earlier."""
    model = result().model
    known, made = (at - timedelta(days=days) for at in (model.known_through, model.trained_at))
    card = replace(model.card, id=name, known_through=known, trained_at=made, **more)
    return replace(model, card=card)


def test_a_refused_model_is_not_handed_out_where_a_licence_is_demanded(tmp_path):
    store = ModelStore(tmp_path, "test", licensed=True)
    asked = (BTC, FOUR_HOURS, later())
    store.save(copy("licensed", 9, licence=Licence(True, ("it earns",))))
    assert (store.model_for(*asked).id, store.unlicensed(*asked)) == ("licensed", "")
    store.save(copy("refused", 1))
    assert (store.model_for(*asked).id, store.unlicensed(*asked)) == ("licensed", "refused")
    assert ModelStore(tmp_path, "test").model_for(*asked).id == "refused"


def test_pruning_spares_the_newest_model_with_a_licence_and_one_challenger(tmp_path):
    store = ModelStore(tmp_path, "test")
    store.save(copy("licensed", 90, licence=Licence(True, ("it earns",))))
    for days in range(9):
        store.save(copy(f"refused-{days}", days), challenger=days > 6)
    store.prune(BTC, keep=3)
    assert {e.id for e in store.entries(BTC)} >= {"licensed", "refused-0", "refused-7"}
    assert "refused-6" not in {e.id for e in store.entries(BTC)}


def test_a_running_bot_sees_a_licence_that_was_taken_away_under_the_same_name(store, tmp_path):
    model = result().model
    granted = replace(model.card, licence=Licence(True, ("it earns",)))
    other = ModelStore(tmp_path, "test")
    for card in (granted, model.card):
        other.save(replace(model, card=card))
        for seen in (store, other):
            assert seen.model_for(BTC, FOUR_HOURS, later()).licence == card.licence


def test_a_challenger_that_turns_out_to_be_the_model_in_use_leaves_it_in_use(store):
    store.save(result().model, challenger=True)
    assert store.model_for(BTC, FOUR_HOURS, later()).id == result().model.id


def twins(store, *names):
    """Models that know the same candles, trained an hour after each other in this order."""
    model = result().model
    for hours, name in enumerate(names, 1):
        at = model.trained_at + timedelta(hours=hours)
        store.save(replace(model, card=replace(model.card, id=name, trained_at=at)))


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_models_of_the_same_candles_the_one_trained_later_is_in_use(tmp_path, names):
    store = ModelStore(tmp_path, "test")
    twins(store, *names)
    assert store.model_for(BTC, FOUR_HOURS, later()).id == names[-1]
    assert [(e.id, e.state) for e in store.entries(BTC)] == [
        (names[0], "earlier"), (names[1], "in use"),
    ]  # fmt: skip


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_two_models_trained_to_the_same_end_the_one_written_later_is_in_use(tmp_path, names):
    store, model = ModelStore(tmp_path, "test"), result().model
    for name in names:
        store.save(replace(model, card=replace(model.card, id=name)))
        time.sleep(0.02)  # the file system's clock is coarse
    assert store.model_for(BTC, FOUR_HOURS, later()).id == names[-1]
    assert store.entries(BTC)[-1].id == names[-1]


def test_entries_tell_the_state_of_every_model(store, tmp_path):
    first, second = result().earlier[-2:]
    store.save(first)
    store.save(second)
    store.retire(BTC, second.id, "it lost money")
    (tmp_path / "BTC-USD" / first.id / "manifest.json").write_text("{")
    states = {e.id: (e.state, e.note) for e in store.entries(BTC)}
    assert states[result().model.id] == ("in use", "")
    assert states[second.id] == ("retired", "it lost money")
    assert states[first.id][0] == "damaged"


def test_pruning_spares_the_model_in_use_and_the_challenger(tmp_path):
    store, model = ModelStore(tmp_path, "test"), result().model
    store.save(model)
    for day in range(4):
        known = model.known_through - timedelta(days=day + 1)
        trained = model.trained_at + timedelta(days=day)
        name = f"{known:%Y%m%dT%H%MZ}-copy"
        card = replace(model.card, id=name, known_through=known, trained_at=trained)
        store.save(replace(model, card=card), challenger=day == 0)
    store.prune(BTC, keep=2)
    assert {e.state for e in store.entries(BTC)} == {"in use", "challenger"}


def test_the_training_values_of_the_features_are_stored_with_the_model(store, tmp_path):
    again = ModelStore(tmp_path, "test").model_for(BTC, FOUR_HOURS, later())
    row = np.zeros(len(again.low), dtype=np.float32)
    assert again.drift.buckets(row) == result().model.drift.buckets(row)
    assert again.drift.limit == result().model.drift.limit
