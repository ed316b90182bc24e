"""Models on disk: `models/<PAIR>/<id>/model.npz` and `manifest.json`.

A model file is plain arrays; reading it runs no code from the file. Its hash in the manifest is
checked before it is opened all the same, and the manifest bears a seal over itself: half-written,
mixed-up and edited files are refused. Sizes are bounded before anything is unpacked. A model
folder appears under its name only when it is complete.

The newest model that is neither a challenger nor retired is in use: the one with the newest
candle, of two with the same the one trained later. A challenger waits, marked by
a file, until it is promoted or retired; retiring the model in use brings back the one before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Timeframe
from trader.domain.errors import ModelError, UsageError
from trader.domain.markets import Pair
from trader.learning.compiled import CompiledVote
from trader.learning.drift import DriftReference
from trader.learning.model import ModelCard, TradingModel

MODEL_FILE = "model.npz"
MANIFEST = "manifest.json"
RETIRED = "retired"
CHALLENGER = "challenger"
SEAL = "seal"
LARGEST_FILE = 64 * 2**20
LARGEST_UNPACKED = 512 * 2**20
_REMEDY = "Delete the folder and train again: python run_trader.py train"


class ModelStore:
    """The models of one source of candles: a `ModelSource`.

    Args:
        root: the models folder.
        source: where the candles come from that the models are used on (`kraken`, `simulated`,
            …); models of another source are not seen. None sees all.
        licensed: models without a licence for real money are not handed out.
    """

    def __init__(self, root: Path, source: str | None = None, *, licensed: bool = False) -> None:
        self._root = root
        self._source = source
        self._licensed = licensed
        self._loaded: dict[tuple[Path, int, int], TradingModel] = {}
        self._listed: dict[Path, tuple[int, tuple[tuple[Path, dict[str, Any]], ...]]] = {}

    def model_for(self, pair: Pair, timeframe: Timeframe, now: datetime) -> TradingModel | None:
        """The newest model whose training data was fully known at `now`, None if there is none.

        Raises:
            ModelError: if that model is damaged; says what to do.
        """
        fitting = [
            (*_age(body), folder)
            for folder, body in self._manifests(pair)
            if self._fits(body, timeframe, now) and not body["challenger"]
        ]
        return self.load(max(fitting)[-1]) if fitting else None

    def unlicensed(self, pair: Pair, timeframe: Timeframe, now: datetime) -> str:
        """The newer model that would be in use if it had a licence, "" if there is none."""
        fitting = [
            (*_age(body), folder.name, self._may(body))
            for folder, body in self._manifests(pair)
            if self._is_for(body, timeframe, now) and not body["challenger"]
        ]
        if not fitting:
            return ""
        *_, name, may = max(fitting)
        return "" if may else name

    def challenger(self, pair: Pair, timeframe: Timeframe, now: datetime) -> ModelCard | None:
        """The newest model that waits to show itself better than the one in use, if any."""
        waiting = [
            (*_age(body), folder.name, body)
            for folder, body in self._manifests(pair)
            if body["challenger"] and self._fits(body, timeframe, now) and not body.get("broken")
        ]
        if not waiting:
            return None
        return ModelCard.from_dict(max(waiting, key=lambda found: found[:4])[4])

    def named(self, pair: Pair, model_id: str) -> TradingModel:
        """One model of the pair, whatever its state.

        Raises:
            ModelError: if there is none of that name, or it is damaged.
        """
        return self.load(self._folder(pair, model_id))

    def entries(self, pair: Pair) -> tuple[Entry, ...]:
        """Every model folder of the pair with its state, oldest knowledge first."""
        found = [self._entry(folder) for folder in _folders(self._root / pair.slug)]
        seen = [e for e in found if self._source is None or e.source in ("", self._source)]
        ordered = sorted(seen, key=Entry.age)
        using: dict[str, str] = {}
        for entry in ordered:
            if entry.state == "earlier" and entry.card is not None:
                using[str(entry.card.timeframe) + entry.source] = entry.id
        return tuple(
            replace(entry, state="in use") if entry.id in using.values() else entry
            for entry in ordered
        )

    def _entry(self, folder: Path) -> Entry:
        body: dict[str, Any] = {}
        try:
            body = _read_manifest(folder)
            card: ModelCard | None = ModelCard.from_dict(body)
            _verified(folder, str(body.get("sha256", "")))
            note, state = "", "earlier"
        except ModelError as fault:
            card, note, state = None, fault.message, "damaged"
        if (folder / RETIRED).exists():
            state, note = "retired", note or _text(folder / RETIRED)
        elif (folder / CHALLENGER).exists() and state != "damaged":
            state = "challenger"
        known, trained, written = _age({**body, "written": _written_ns(folder)})
        source = str(body.get("source", ""))
        return Entry(
            folder.name, state, source, known or folder.name, trained, card, note, written
        )

    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that have a folder here."""
        found = []
        for folder in _folders(self._root):
            try:
                found.append(Pair.parse(folder.name))
            except UsageError:
                continue
        return tuple(sorted(found))

    def models(self, pair: Pair) -> tuple[ModelCard, ...]:
        """The cards of all readable models of the pair, oldest knowledge first."""
        cards = []
        for _, body in self._manifests(pair):
            try:
                cards.append(ModelCard.from_dict(body))
            except ModelError:
                continue
        return tuple(sorted(cards, key=lambda card: (card.known_through, card.trained_at)))

    def save(self, model: TradingModel, *, challenger: bool = False) -> Path:
        """Write a model for each of its pairs; the folder of the first.

        A model that is there already (same id) is written anew. Retired it stays retired: a
        training must not undo what a person or a comparison decided. Used it stays in use.

        Args:
            model: what to write.
            challenger: it is not used before it is promoted.
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
        sealed = {**body, SEAL: _seal(body)}
        for folder in folders:
            _write_folder(folder, content, sealed, _mark(folder, challenger=challenger))
        self._listed.clear()
        return folders[0]

    def load(self, folder: Path) -> TradingModel:
        """One model; its file's hash is checked first.

        Raises:
            ModelError: if manifest or file are missing, damaged or do not belong together.
        """
        written = _written(folder)
        if written in self._loaded:
            return self._loaded[written]
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
        self._loaded = {written: model, **dict(list(self._loaded.items())[:7])}
        return model

    def written_at(self, pair: Pair, model_id: str) -> datetime | None:
        """When it came onto this disk, in real time; `trained_at` is in the candles' time."""
        try:
            written = (self._root / pair.slug / model_id / MANIFEST).stat().st_mtime
        except OSError:
            return None
        return datetime.fromtimestamp(int(written), UTC)

    def retire(self, pair: Pair, model_id: str, reason: str = "") -> None:
        """Take a model out of use; it stays on disk. The one before it is used again.

        Raises:
            ModelError: if there is no such model.
        """
        folder = self._folder(pair, model_id)
        (folder / RETIRED).write_text(reason, encoding="utf-8")
        (folder / CHALLENGER).unlink(missing_ok=True)
        self._changed(folder)

    def promote(self, pair: Pair, model_id: str) -> None:
        """A challenger, or a retired model, may be used from now on.

        Raises:
            ModelError: if there is no such model, or it is damaged.
        """
        self.named(pair, model_id)
        folder = self._folder(pair, model_id)
        for mark in (CHALLENGER, RETIRED):
            (folder / mark).unlink(missing_ok=True)
        self._changed(folder)

    def _folder(self, pair: Pair, model_id: str) -> Path:
        folder = self._root / pair.slug / model_id
        if Path(model_id).name != model_id or not (folder / MANIFEST).exists():
            raise ModelError(
                f"{pair} has no model {model_id}",
                "List them: python run_trader.py models list",
            )
        return folder

    def _changed(self, folder: Path) -> None:
        """Other processes look at the time of the folder above."""
        os.utime(folder.parent)
        self._listed.clear()

    def prune(self, pair: Pair, keep: int = 24) -> int:
        """Delete all but the newest models of the pair and source; how many went.

        The model in use stays, the newest with a licence (where real money is traded that one is
        in use), and the newest challenger.
        """
        kept = _kept(self.entries(pair))
        known = sorted(
            (str(body.get("trained_at", "")), str(body.get("known_through", "")), folder)
            for folder, body in self._manifests(pair)
            if self._source in (None, body.get("source")) and folder.name not in kept
        )
        keep = max(0, keep - len(kept))
        for *_, folder in known[: max(0, len(known) - keep)]:
            shutil.rmtree(folder, ignore_errors=True)
        return max(0, len(known) - keep)

    def _fits(self, body: dict[str, Any], timeframe: Timeframe, now: datetime) -> bool:
        return self._is_for(body, timeframe, now) and self._may(body)

    def _may(self, body: dict[str, Any]) -> bool:
        if not self._licensed or body.get("broken"):
            return True
        licence = body.get("licence")
        return isinstance(licence, dict) and licence.get("granted") is True

    def _is_for(self, body: dict[str, Any], timeframe: Timeframe, now: datetime) -> bool:
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
        for folder in _folders(home):
            if (folder / RETIRED).exists():
                continue
            try:
                body = _read_manifest(folder)
            except ModelError:
                body = _stand_in(folder)
            waits = (folder / CHALLENGER).exists()
            found.append((folder, {**body, "challenger": waits, "written": _written_ns(folder)}))
        self._listed[home] = (changed, tuple(found))
        return self._listed[home][1]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model folder of a pair.

    Attributes:
        state: `in use`, `earlier`, `challenger`, `retired` or `damaged`.
        known_through, trained_at: UTC, ISO 8601: the later of each is the newer model.
        card: None where it cannot be read.
        note: why it is retired or damaged.
        written_ns: when its manifest was written, Unix nanoseconds of real time.
    """

    id: str
    state: str
    source: str
    known_through: str
    trained_at: str
    card: ModelCard | None
    note: str
    written_ns: int = 0

    def age(self) -> tuple[str, str, int, str]:
        """Sorts the older before the newer."""
        return self.known_through, self.trained_at, self.written_ns, self.id


def _kept(entries: tuple[Entry, ...]) -> set[str]:
    """Those that are never pruned, of each source and timeframe; entries oldest first."""
    found: dict[tuple[str, str, str], str] = {}
    for entry in entries:
        if entry.card is None or entry.state == "retired":
            continue
        kind = "challenger" if entry.state == "challenger" else "used"
        place = (entry.source, str(entry.card.timeframe))
        found[*place, kind] = entry.id
        if kind == "used" and entry.card.licence.granted:
            found[*place, "licensed"] = entry.id
    return set(found.values())


def _written_ns(folder: Path) -> int:
    try:
        return (folder / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0


def _age(body: dict[str, Any]) -> tuple[str, str, int]:
    """What tells older from newer: the newest knowledge, the training, the writing.

    Two trainings up to the same `--end` were made at the same moment of the candles' time: then
    the later file is the newer model.
    """
    # One whose manifest cannot be read is not passed over for a twin of the same knowledge.
    trained = "~" if body.get("broken") else str(body.get("trained_at", ""))
    return str(body.get("known_through", "")), trained, int(body.get("written", 0))


def _folders(home: Path) -> list[Path]:
    """The folders of pairs, or of a pair's models; half-written ones begin with a dot."""
    if not home.is_dir():
        return []
    return sorted(f for f in home.iterdir() if f.is_dir() and not f.name.startswith("."))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _seal(body: dict[str, Any]) -> str:
    """Hash of a manifest without its seal."""
    bare = {name: value for name, value in body.items() if name != SEAL}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


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
    if body.get(SEAL) != _seal(body):
        raise ModelError(
            f"model {folder.name}: the manifest was changed after it was written", _REMEDY
        )
    if body.get("id") != folder.name:
        raise ModelError(f"model {folder.name}: its manifest is that of {body.get('id')}", _REMEDY)
    return body


def _written(folder: Path) -> tuple[Path, int, int]:
    """Tells one writing of a model from the next under the same name, as told by its manifest.

    Raises:
        ModelError: if there is none.
    """
    try:
        found = (folder / MANIFEST).stat()
    except OSError as fault:
        raise ModelError(
            f"model {folder.name}: the manifest cannot be read ({fault})", _REMEDY
        ) from fault
    return folder, found.st_mtime_ns, found.st_ino


def _verified(folder: Path, expected: str) -> bytes:
    try:
        size = (folder / MODEL_FILE).stat().st_size
        if size > LARGEST_FILE:
            raise ModelError(f"model {folder.name}: {size:,} bytes are no model", _REMEDY)
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
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > LARGEST_UNPACKED:
            raise ModelError(f"model {folder.name}: unpacks to {size:,} bytes", _REMEDY)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise ModelError(
            f"model {folder.name}: the model file cannot be read ({fault})", _REMEDY
        ) from fault


def _mark(folder: Path, *, challenger: bool) -> tuple[str, str]:
    """Name and text of the mark that a model gets which is written here, "" for none."""
    if (folder / RETIRED).exists():
        return RETIRED, _text(folder / RETIRED)
    in_use = (folder / MANIFEST).exists() and not (folder / CHALLENGER).exists()
    return (CHALLENGER, "") if challenger and not in_use else ("", "")


def _write_folder(
    folder: Path, content: bytes, body: dict[str, Any], mark: tuple[str, str]
) -> None:
    """Write beside and rename, so that nobody ever sees half a model or a mark too late."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        _write_synced(beside / MODEL_FILE, content)
        text = json.dumps(body, indent=1, sort_keys=True, allow_nan=True)
        _write_synced(beside / MANIFEST, text.encode())
        name, note = mark
        if name:
            _write_synced(beside / name, note.encode())
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
