"""Models on disk: `models/<PAIR>/<id>/model.npz` and `manifest.json`.

A model file is plain arrays; reading it runs no code from the file. Its hash in the manifest is
checked before it is opened all the same: half-written, mixed-up and edited files are refused. A
model folder appears under its name only when it is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Timeframe
from trader.domain.errors import ModelError
from trader.domain.markets import Pair
from trader.learning.compiled import CompiledVote
from trader.learning.drift import DriftReference
from trader.learning.model import ModelCard, TradingModel

MODEL_FILE = "model.npz"
MANIFEST = "manifest.json"
RETIRED = "retired"
_REMEDY = "Delete the folder and train again: python run_trader.py train"


class ModelStore:
    """The models of one source of candles: a `ModelSource`.

    Args:
        root: the models folder.
        source: where the candles come from that the models are used on (`kraken`, `simulated`,
            …); models of another source are not seen. None sees all.
    """

    def __init__(self, root: Path, source: str | None = None) -> None:
        self._root = root
        self._source = source
        self._loaded: dict[Path, TradingModel] = {}
        self._listed: dict[Path, tuple[int, tuple[tuple[Path, dict[str, Any]], ...]]] = {}

    def model_for(self, pair: Pair, timeframe: Timeframe, now: datetime) -> TradingModel | None:
        """The newest model whose training data was fully known at `now`, None if there is none.

        Raises:
            ModelError: if that model is damaged; says what to do.
        """
        fitting = [
            (str(body.get("known_through", "")), folder)
            for folder, body in self._manifests(pair)
            if self._fits(body, timeframe, now)
        ]
        return self.load(max(fitting)[1]) if fitting else None

    def models(self, pair: Pair) -> tuple[ModelCard, ...]:
        """The cards of all readable models of the pair, oldest knowledge first."""
        cards = []
        for _, body in self._manifests(pair):
            try:
                cards.append(ModelCard.from_dict(body))
            except ModelError:
                continue
        return tuple(sorted(cards, key=lambda card: (card.known_through, card.trained_at)))

    def save(self, model: TradingModel) -> Path:
        """Write a model for each of its pairs; the folder of the first.

        A model that is there already (same id) is written anew.
        """
        arrays = {
            **{f"vote.{name}": values for name, values in model.vote.arrays().items()},
            "low": model.low,
            "high": model.high,
            "strangeness": np.array([model.strangeness]),
        }
        if model.drift is not None:
            for name in DriftReference.__slots__:
                arrays[f"drift.{name}"] = getattr(model.drift, name)
        content = _packed(arrays)
        body = {
            **model.card.as_dict(),
            "file": MODEL_FILE,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        folders = [self._root / pair.slug / model.id for pair in model.card.pairs]
        for folder in folders:
            _write_folder(folder, content, body)
        return folders[0]

    def load(self, folder: Path) -> TradingModel:
        """One model; its file's hash is checked first.

        Raises:
            ModelError: if manifest or file are missing, damaged or do not belong together.
        """
        if folder in self._loaded:
            return self._loaded[folder]
        body = _read_manifest(folder)
        card = ModelCard.from_dict(body)
        content = _verified(folder, str(body.get("sha256", "")))
        arrays = _unpacked(content, folder)
        vote = {k.removeprefix("vote."): v for k, v in arrays.items() if k.startswith("vote.")}
        try:
            model = TradingModel(
                card, CompiledVote.from_arrays(vote), arrays["low"], arrays["high"],
                float(arrays["strangeness"][0]), _drift(arrays),
            )  # fmt: skip
        except KeyError as fault:
            raise ModelError(f"model {folder.name}: {fault} is missing", _REMEDY) from fault
        self._loaded = {folder: model, **dict(list(self._loaded.items())[:7])}
        return model

    def retire(self, pair: Pair, model_id: str) -> None:
        """Take a model out of use; it stays on disk. The one before it is used again.

        Raises:
            ModelError: if there is no such model.
        """
        folder = self._root / pair.slug / model_id
        if not (folder / MANIFEST).exists():
            raise ModelError(f"{pair} has no model {model_id}", f"Look into {folder.parent}.")
        (folder / RETIRED).touch()
        self._listed.clear()

    def prune(self, pair: Pair, keep: int = 24) -> int:
        """Delete all but the newest models of the pair and source; how many went."""
        known = sorted(
            (str(body.get("trained_at", "")), str(body.get("known_through", "")), folder)
            for folder, body in self._manifests(pair)
            if self._source in (None, body.get("source"))
        )
        for *_, folder in known[: max(0, len(known) - keep)]:
            shutil.rmtree(folder, ignore_errors=True)
        return max(0, len(known) - keep)

    def _fits(self, body: dict[str, Any], timeframe: Timeframe, now: datetime) -> bool:
        if not body.get("broken"):
            if body.get("timeframe") != str(timeframe):
                return False
            if self._source is not None and body.get("source") != self._source:
                return False
        try:
            return datetime.fromisoformat(str(body["known_through"])) <= now
        except (KeyError, ValueError):
            return False

    def _manifests(self, pair: Pair) -> tuple[tuple[Path, dict[str, Any]], ...]:
        """Folder and manifest of every model of the pair; read again when something changed."""
        home = self._root / pair.slug
        try:
            changed = home.stat().st_mtime_ns
        except OSError:
            return ()
        if home in self._listed and self._listed[home][0] == changed:
            return self._listed[home][1]
        found = []
        for folder in sorted(home.iterdir()):
            if folder.name.startswith(".") or (folder / RETIRED).exists():
                continue
            try:
                found.append((folder, _read_manifest(folder)))
            except ModelError:
                found.append((folder, _stand_in(folder)))
        self._listed[home] = (changed, tuple(found))
        return self._listed[home][1]


def _drift(arrays: dict[str, npt.NDArray[Any]]) -> DriftReference | None:
    if "drift.edges" not in arrays:
        return None
    return DriftReference(*(arrays[f"drift.{name}"] for name in DriftReference.__slots__))


def _stand_in(folder: Path) -> dict[str, Any]:
    """What the name of a folder with an unreadable manifest tells: it is not passed over."""
    try:
        known = datetime.strptime(folder.name[:14], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
    except ValueError:
        return {}
    return {"broken": True, "known_through": known.isoformat()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        body = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ModelError(
            f"model {folder.name}: the manifest cannot be read ({fault})", _REMEDY
        ) from fault
    if not isinstance(body, dict):
        raise ModelError(f"model {folder.name}: the manifest is no JSON object", _REMEDY)
    return body


def _verified(folder: Path, expected: str) -> bytes:
    try:
        content = (folder / MODEL_FILE).read_bytes()
    except OSError as fault:
        raise ModelError(
            f"model {folder.name}: the model file cannot be read ({fault})", _REMEDY
        ) from fault
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(
            f"model {folder.name} is damaged: its file does not match the hash in its manifest",
            _REMEDY,
        )
    return content


def _packed(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """The arrays as a zip of .npy files with fixed times, so that equal models are equal files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            entry = io.BytesIO()
            np.lib.format.write_array(
                entry, np.ascontiguousarray(arrays[name]), allow_pickle=False
            )
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue())
    return buffer.getvalue()


def _unpacked(content: bytes, folder: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise ModelError(
            f"model {folder.name}: the model file cannot be read ({fault})", _REMEDY
        ) from fault


def _write_folder(folder: Path, content: bytes, body: dict[str, Any]) -> None:
    """Write beside and rename, so that nobody ever sees half a model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        _write_synced(beside / MODEL_FILE, content)
        text = json.dumps(body, indent=1, sort_keys=True, allow_nan=True)
        _write_synced(beside / MANIFEST, text.encode())
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
