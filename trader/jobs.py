"""Work beside the loop: a training, or a comparison of models, in a process of its own.

The child runs at low priority, with the candles it was given and nothing else; it saves the
models itself and reports what it is doing. If it dies, the loop goes on with what it has. If the
loop is killed, the child ends within a second or two: nobody is left to use its work.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import ModelError, TraderError
from trader.domain.markets import Pair
from trader.extensions import load_module
from trader.learning.settings import LearningSettings
from trader.performance import DAYS_PER_YEAR

if TYPE_CHECKING:
    from trader.learning.promotion import Comparison
    from trader.learning.training import TrainingResult
    from trader.learning.tuning import TuningTrial
    from trader.storage.trials import Trial

NICE = 10
KEPT_MODELS = 24
_PACKED = dict[str, tuple[int, tuple[npt.NDArray[Any], ...]]]


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What to train on and where to put the model.

    Attributes:
        histories: closed candles of each pair; nothing after "now".
        source: where they come from; models are used only on their own source.
        models_dir: the models folder.
        trained_at: the present, in the candles' time.
        leader: the leader's candles where it is not among the pairs.
        trials: strategies and settings that were tried before, for the licence.
        companions: markets that are only learned from.
        tuning: variants of the members to try on the past first.
        ledger: the trial ledger, where they are counted; None leaves them uncounted.
        own_indicators: modules with the user's own, to be loaded in the child too.
        challenge: the model must show itself better than the one in use before it is used.
        compare: (champion, challenger): hold these two against each other, train nothing.
    """

    histories: Mapping[Pair, Candles]
    source: str
    models_dir: Path
    trained_at: datetime
    settings: LearningSettings
    code_version: str = ""
    leader: Candles | None = None
    trials: int = 1
    own_indicators: tuple[str, ...] = ()
    companions: Mapping[Pair, Candles] = field(default_factory=dict)
    tuning: int = 0
    ledger: Path | None = None
    challenge: bool = False
    compare: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How a training ended: the new model's id, or why there is none."""

    model_id: str
    licensed: bool
    reason: str
    compared: Comparison | None = None

    @property
    def succeeded(self) -> bool:
        """Whether there is a new model."""
        return bool(self.model_id)


class TrainingJob:
    """A training in a child process; look in with `poll` as often as you like.

    The child ends when the parent does.
    """

    def __init__(self, request: TrainingRequest) -> None:
        context = multiprocessing.get_context("spawn")
        self._news: Any = context.Queue()
        self._progress = (0.0, "starting")
        self._outcome: TrainingOutcome | None = None
        self._child: BaseProcess = context.Process(
            target=_in_child, args=(_packed(request), self._news), daemon=True, name="training"
        )
        self._child.start()

    def poll(self) -> TrainingOutcome | None:
        """Take in the news; how it ended, None while it runs. Never waits long."""
        alive = self._child.is_alive()  # asked first: what it said before its end is read below
        while self._outcome is None:
            try:
                kind, *body = self._news.get(timeout=0.0 if alive else 0.2)
            except (queue.Empty, OSError, ValueError):
                break
            if kind == "progress":
                self._progress = (float(body[0]), str(body[1]))
            else:
                self._outcome = TrainingOutcome(*body)
        if self._outcome is None and not alive:
            status = self._child.exitcode
            self._outcome = TrainingOutcome("", False, f"the training ended with status {status}")
        return self._outcome

    @property
    def progress(self) -> tuple[float, str]:
        """Share done, in [0, 1], and what it is doing, as of the last `poll`."""
        return self._progress

    def wait(self, seconds: float) -> TrainingOutcome | None:
        """Wait so long for the end."""
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline:
            self._child.join(0.1)
        return self._outcome

    def stop(self) -> None:
        """End it; what it has not saved is lost."""
        if self._child.is_alive():
            self._child.terminate()
            self._child.join(5)
        if self._outcome is None:
            self._outcome = TrainingOutcome("", False, "the training was stopped")


def train_in_child(request: TrainingRequest) -> TrainingJob:
    """Start a training beside the caller."""
    return TrainingJob(request)


def train_and_save(request: TrainingRequest, progress: Any = None) -> Any:
    """Train in this process and save every model made; the `TrainingResult`.

    Raises:
        ModelError: if there is too little history.
    """
    from trader.learning.learner import silent
    from trader.learning.training import train
    from trader.storage.model_store import ModelStore

    result = train(
        request.histories, request.settings, source=request.source,
        trained_at=request.trained_at, code_version=request.code_version, leader=request.leader,
        companions=request.companions, trials=_tried(request), tuning=request.tuning,
        tuned=lambda trial: _record(request, trial), progress=progress or silent,
    )  # fmt: skip
    _record_training(request, result)
    store = ModelStore(request.models_dir, request.source)
    # A challenger comes alone: the walk's newest models would slip past the one in use.
    for model in () if request.challenge else result.earlier:
        store.save(model)
    store.save(result.model, challenger=request.challenge)
    for pair in request.histories:
        store.prune(pair, KEPT_MODELS)
    return result


def _series(request: TrainingRequest) -> tuple[str, ...]:
    return tuple(f"{request.source}:{pair}" for pair in sorted(request.histories))


def _tried(request: TrainingRequest) -> int:
    """Variants tried on these series so far, this training included."""
    if request.ledger is None:
        return request.trials
    from trader.storage.trials import TrialLedger

    ledger = TrialLedger(request.ledger)
    return max(request.trials, ledger.count(_series(request), _as_trial(request)))


_NOT_CHOSEN = frozenset({"refit_days", "least_days", "round_trip_cost", "memory_mb", "workers"})
"""Settings that follow from the length of the history, the account's fees and the machine."""


def _as_trial(
    request: TrainingRequest, sharpe_daily: float = float("nan"), days: int = 0, digest: str = ""
) -> Trial:
    """The training as a try: what was chosen, not the candles there are by now (decision 130)."""
    from trader.storage.trials import Trial

    chosen = {k: v for k, v in asdict(request.settings).items() if k not in _NOT_CHOSEN}
    settings = {
        **chosen, "timeframe": str(next(iter(request.histories.values())).timeframe),
        "alone": not request.companions, "tuned": request.tuning,
    }  # fmt: skip
    return Trial("training", _series(request), settings, sharpe_daily, days, digest)


def _record_training(request: TrainingRequest, result: TrainingResult) -> None:
    """Count the training, now that it has an outcome that could be chosen by."""
    if request.ledger is None:
        return
    from trader.storage.trials import TrialLedger

    first, last = result.tested_from, result.tested_to
    days = (last - first).days if first is not None and last is not None else 0
    ratio = result.sharpe.get("ensemble", float("nan")) / math.sqrt(DAYS_PER_YEAR)
    TrialLedger(request.ledger).record([_as_trial(request, ratio, days, result.model.id)])


def _record(request: TrainingRequest, trial: TuningTrial) -> None:
    """Count a variant. It was judged by its forecasts: there is no Sharpe ratio to tell."""
    if request.ledger is None:
        return
    from trader.storage.trials import Trial, TrialLedger

    settings = {
        "model_type": request.settings.model_type, "label": request.settings.label,
        "through": max(c.closed_at for c in request.histories.values()).isoformat(),
        **dict(trial.parameters),
    }  # fmt: skip
    skills = np.array(trial.scores.skill)
    digest = hashlib.sha256(skills.tobytes()).hexdigest()
    TrialLedger(request.ledger).record(
        [Trial("tuning", _series(request), settings, float("nan"), 0, digest)]
    )


def compare_stored(request: TrainingRequest) -> Comparison:
    """Hold a stored challenger against the stored model in use, on candles neither has seen.

    Raises:
        ModelError: if one of them cannot be read, or the two cannot be compared.
    """
    from trader.learning.promotion import compare
    from trader.storage.model_store import ModelStore

    if request.compare is None:
        raise ModelError("a comparison needs two models")
    store = ModelStore(request.models_dir, request.source)
    pair = next(iter(request.histories))
    champion, challenger = (store.named(pair, model_id) for model_id in request.compare)
    return compare(champion, challenger, request.histories, request.trained_at, request.leader)


def _packed(request: TrainingRequest) -> dict[str, Any]:
    """The request as what a spawned process can be given: plain arrays and values."""
    body = {name: getattr(request, name) for name in TrainingRequest.__slots__}
    body["histories"] = {str(p): _columns(c) for p, c in request.histories.items()}
    body["companions"] = {str(p): _columns(c) for p, c in request.companions.items()}
    body["leader"] = None if request.leader is None else _columns(request.leader)
    return body


def _columns(candles: Candles) -> tuple[int, tuple[npt.NDArray[Any], ...]]:
    columns = tuple(np.array(column) for column in candles.columns())
    return candles.timeframe.seconds, columns


def _candles(packed: tuple[int, tuple[Any, ...]]) -> Candles:
    seconds, (times, opens, highs, lows, closes, volumes, trades) = packed
    return Candles(
        Timeframe(seconds), times, opens, highs, lows, closes, volumes, trades, checked=True
    )


def _in_child(body: dict[str, Any], news: Any) -> None:
    """The child's life: train and save, or compare, at low priority; report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _end_with_parent()
    with contextlib.suppress(OSError):
        os.nice(NICE)
    # The budget is for data, not for libraries.
    import trader.learning.promotion
    import trader.learning.training  # noqa: F401

    _limit_memory(body["settings"].memory_mb)

    def tell(done: float, what: str) -> None:
        news.put(("progress", done, what))

    body["histories"] = {Pair.parse(p): _candles(c) for p, c in body["histories"].items()}
    body["companions"] = {Pair.parse(p): _candles(c) for p, c in body["companions"].items()}
    body["leader"] = None if body["leader"] is None else _candles(body["leader"])
    try:
        for module in body["own_indicators"]:
            load_module("INDICATORS", module)
        news.put(("done", *_work(TrainingRequest(**body), tell)))
    except ModelError as fault:
        news.put(("done", "", False, fault.message))
    except (TraderError, OSError, MemoryError) as fault:
        done = "training" if body["compare"] is None else "comparison"
        news.put(("done", "", False, f"{done} failed: {fault}"))


def _limit_memory(megabytes: int) -> None:
    """What the child may still take, from here on: beyond it is its own MemoryError.

    The loop beside it must never be the one that the system ends for want of memory. Systems
    that cannot limit a process only have the estimate made before the training.
    """
    try:
        import resource

        held = _data_bytes()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (held + megabytes * 1_000_000, hard))
    except (ImportError, OSError, ValueError):
        return


def _data_bytes() -> int:
    """Data memory of this process so far; 0 where the system does not say."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _work(request: TrainingRequest, tell: Any) -> tuple[Any, ...]:
    """Do what was asked: the fields of the `TrainingOutcome`. A comparison trains nothing."""
    if request.compare is not None:
        tell(0.1, "comparing the challenger with the model in use")
        found = compare_stored(request)
        return "", False, found.reason, found
    result = train_and_save(request, tell)
    licence = result.licence
    return result.model.id, licence.granted, "; ".join(licence.reasons)


def _end_with_parent() -> None:
    """Leave at once when the parent is gone, however it went: it waits for the end of a pipe."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def learning_settings(
    *,
    model_type: str,
    window_days: int,
    taker_fee: float,
    confidence_threshold: float,
    days: int,
    slippage: float = 0.0005,
) -> LearningSettings:
    """Settings that suit the history there is: less of it is tested in shorter steps.

    Args:
        model_type: as in the settings.
        window_days: history a fit uses.
        taker_fee: fraction; the model's own entries must beat two of them and the slippage.
        confidence_threshold: as in the settings.
        days: length of the longest history.
        slippage: fraction lost in a market order.
    """
    return LearningSettings(
        model_type=model_type,
        window_days=max(window_days, 365),
        refit_days=91 if days >= 900 else 28,
        least_days=120 if days >= 400 else 60,
        round_trip_cost=2 * (taker_fee + slippage),
        confidence_threshold=confidence_threshold,
    )
