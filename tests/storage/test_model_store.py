import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from tests.learning.trained import BTC, ETH, FOUR_HOURS, result
from tests.market_making import HOUR
from trader.domain.errors import ModelError
from trader.learning.model import TradingModel
from trader.storage.model_store import ModelStore


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
