"""The walk forward: refit on the past, predict the future, go on.

At each refit moment the members learn from rows whose outcome was known an embargo earlier, and
predict the rows until the next refit. Those predictions, once their outcomes are known, calibrate
and judge the later models. Nothing is ever fitted or chosen on what it is scored on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from trader.domain.candles import FloatArray
from trader.domain.errors import ModelError
from trader.learning.calibration import (
    FEWEST,
    MEAN_KEPT,
    Platt,
    ReturnMap,
    fit_platt,
    fit_returns,
    fit_weights,
)
from trader.learning.dataset import Dataset
from trader.learning.domain import Domain, domain_of
from trader.learning.estimators import fit_member, members_of, steady_columns
from trader.learning.features import Matrix
from trader.learning.settings import LearningSettings

DAY = 86400
Progress: TypeAlias = Callable[[float, str], None]
"""Called with the share done, in [0, 1], and what is being done."""

_EVEN = 0.05
"""Weights that spread less than this around their mean are left out.

Labels of a fixed horizon overlap alike everywhere, so that theirs differ by two or three per
cent, at the ends of a history mostly; scikit-learn's histograms take over twice as long with
weights.
"""


def silent(_done: float, _what: str) -> None:
    """Progress that nobody watches."""


@dataclass(slots=True)
class Predictions:
    """Out-of-sample predictions of one horizon, in order of time (pairs side by side)."""

    pair: list[npt.NDArray[np.int64]] = field(default_factory=list)
    row: list[npt.NDArray[np.int64]] = field(default_factory=list)
    members: list[FloatArray] = field(default_factory=list)
    vote: list[FloatArray] = field(default_factory=list)
    base: list[FloatArray] = field(default_factory=list)
    chance: list[FloatArray] = field(default_factory=list)
    expected: list[FloatArray] = field(default_factory=list)
    usual: list[npt.NDArray[np.bool_]] = field(default_factory=list)

    def column(self, name: str) -> npt.NDArray[Any]:
        """All pieces of a column joined."""
        pieces = getattr(self, name)
        return np.concatenate(pieces) if pieces else np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class KnownPredictions:
    """Predictions with their outcomes, oldest first.

    `members` are the single votes, rows × members, `vote` what they came to with the voices of the
    time; `usual` says whether the row lay inside the training domain of the model that was asked.
    """

    pair: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    decided_at: npt.NDArray[np.int64]
    known_at: npt.NDArray[np.int64]
    members: FloatArray
    vote: FloatArray
    base: FloatArray
    chance: FloatArray
    expected: FloatArray
    usual: npt.NDArray[np.bool_]
    up: FloatArray
    returns: FloatArray
    sigma: FloatArray

    def __len__(self) -> int:
        return len(self.vote)

    def where(self, mask: npt.NDArray[np.bool_]) -> KnownPredictions:
        """The rows of the mask."""
        return KnownPredictions(*(getattr(self, name)[mask] for name in self.__slots__))

    def sorted(self) -> KnownPredictions:
        """By the time of the decision; pairs side by side."""
        order = np.argsort(self.decided_at, kind="stable")
        return KnownPredictions(*(getattr(self, name)[order] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """From the members' votes to a probability and an expected return, as known at one moment.

    Attributes:
        voices: the members' weights in the vote; they sum to 1.
        platt, returns: None where too little is known yet.
    """

    voices: FloatArray
    platt: Platt | None = None
    returns: ReturnMap | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """What one horizon is learned from at one moment.

    Attributes:
        rows: rows × features of all pairs.
        up: outcomes.
        weights: mean 1; None if all weigh the same.
        columns: those a fit looks at; None for all.
        first: the first row's moment, Unix seconds.
    """

    rows: Matrix
    up: FloatArray
    weights: FloatArray | None
    columns: npt.NDArray[np.int64] | None
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Members fitted at one moment, one horizon after the other."""

    moment: int
    fitted: list[dict[str, Any]]
    base_rates: list[float]
    rows: list[int]
    trained_from: int
    sample: Matrix
    domain: Domain


class Learner:
    """Walks forward over a dataset, refit by refit.

    Args:
        dataset: features and labels; only rows known at each refit are used for it.
        settings: how models are made.
        schedule: refit moments, Unix seconds, ascending.
    """

    def __init__(
        self, dataset: Dataset, settings: LearningSettings, schedule: tuple[int, ...]
    ) -> None:
        self.dataset = dataset
        self.settings = settings
        self.schedule = schedule
        self.predictions = {h: Predictions() for h in dataset.horizons}
        self.members = members_of(settings.model_type)
        self._calibrated: dict[tuple[float, int, int], Calibration] = {}
        self._uniqueness = {
            h: [each.uniqueness() for each in labels] for h, labels in dataset.labels.items()
        }
        self._done = 0

    @property
    def finished(self) -> bool:
        """Whether every refit has been made."""
        return self._done >= len(self.schedule)

    def next_refit(self) -> int | None:
        """The next refit's moment."""
        return None if self.finished else self.schedule[self._done]

    def step(self) -> Fit | None:
        """Make the next refit and predict up to the one after; None if too little is known."""
        moment = self.schedule[self._done]
        self._done += 1
        until = self.schedule[self._done] if not self.finished else self.dataset.last_known + 1
        fit = self.fit_at(moment)
        if fit is not None:
            for place, horizon in enumerate(self.dataset.horizons):
                self._predict(fit, place, horizon, moment, until)
        return fit

    def fit_at(self, moment: int) -> Fit | None:
        """Fit all members of all horizons on what was known at the moment."""
        picked = [self._training_rows(h, moment) for h in self.dataset.horizons]
        if any(len(each.up) < 200 or each.up.min() == each.up.max() for each in picked):
            return None
        jobs = [(place, name) for place in range(len(picked)) for name in self.members]

        def fit_one(job: tuple[int, str]) -> Any:
            place, name = job
            each = picked[place]
            return fit_member(
                name, self.settings.seed + place, each.rows, each.up, each.weights,
                changes=self.settings.parameters, columns=each.columns,
            )  # fmt: skip

        with ThreadPoolExecutor(self.settings.workers) as pool:
            members = list(pool.map(fit_one, jobs))
        fitted: list[dict[str, Any]] = [{} for _ in picked]
        for (place, name), member in zip(jobs, members, strict=True):
            fitted[place][name] = member
        return Fit(
            moment, fitted, [float(np.average(p.up, weights=p.weights)) for p in picked],
            [len(each.up) for each in picked], min(each.first for each in picked),
            picked[-1].rows, domain_of(picked[-1].rows),
        )  # fmt: skip

    def known(
        self, horizon: float, moment: int | None = None, newest_days: int | None = None
    ) -> KnownPredictions:
        """Out-of-sample predictions whose outcome was known an embargo before the moment.

        Args:
            horizon: in hours.
            moment: Unix seconds; None for all that have an outcome.
            newest_days: leave out those made earlier than so many days before the moment.
        """
        made = self.predictions[horizon]
        pair = made.column("pair").astype(np.int64)
        row = made.column("row").astype(np.int64)
        labels, tables = self.dataset.labels[horizon], self.dataset.tables
        scale = math.sqrt(horizon * 3600 / self.dataset.timeframe.seconds)

        def gather(of: Callable[[int], npt.NDArray[Any]], kind: type = np.float64) -> Any:
            found: npt.NDArray[Any] = np.empty(len(row), dtype=kind)
            for place in range(len(tables)):
                mine = pair == place
                found[mine] = of(place)[row[mine]]
            return found

        all_made = KnownPredictions(
            pair, row,
            gather(lambda i: labels[i].decided_at, np.int64),
            gather(lambda i: labels[i].known_at, np.int64),
            made.column("members").reshape(len(row), len(self.members)), made.column("vote"),
            made.column("base"), made.column("chance"),
            made.column("expected"), made.column("usual").astype(np.bool_),
            gather(lambda i: labels[i].up), gather(lambda i: labels[i].returns),
            gather(lambda i: tables[i].sigma) * scale,
        )  # fmt: skip
        valid = gather(lambda i: labels[i].valid, np.bool_)
        if moment is not None:
            valid &= all_made.known_at + self._embargo <= moment
        if moment is not None and newest_days is not None:
            valid &= all_made.decided_at >= moment - newest_days * DAY
        found = all_made.where(valid)
        return found.sorted()

    def calibration(self, horizon: float, moment: int) -> Calibration:
        """The voices and maps fitted on what was known at the moment."""
        # A card and the predictions after a refit ask for the same one.
        asked = (horizon, moment, len(self.predictions[horizon].row))
        if asked not in self._calibrated:
            self._calibrated = {k: c for k, c in self._calibrated.items() if k[1] == moment}
            self._calibrated[asked] = self._calibrate(horizon, moment)
        return self._calibrated[asked]

    def _calibrate(self, horizon: float, moment: int) -> Calibration:
        seen = self.known(horizon, moment, self.settings.calibration_days)
        if len(seen) < FEWEST:
            return Calibration(np.full(len(self.members), 1.0 / len(self.members)))
        self._must_be_known(seen.known_at, moment, "the calibration")
        weights = np.full(len(seen), 1.0 / self.overlap(horizon))
        scaled = np.clip(np.log1p(seen.returns) / seen.sigma, -4.0, 4.0)
        voices = fit_weights(seen.members, seen.base, seen.up, weights, self._level_kept)
        # Earlier votes count as the voices of now would have made them.
        votes = vote_of(seen.members, voices)
        return Calibration(
            voices,
            fit_platt(votes, seen.base, seen.up, weights, self._level_kept),
            fit_returns(votes, seen.base, scaled, weights),
        )

    def overlap(self, horizon: float) -> int:
        """Neighbouring predictions of a pair that share candles."""
        return max(1, round(horizon * 3600 / self.dataset.timeframe.seconds))

    @property
    def _embargo(self) -> int:
        return round(self.settings.embargo_hours * 3600)

    @property
    def _level_kept(self) -> float:
        return MEAN_KEPT if self.settings.label == "direction" else 1.0

    def _training_rows(self, horizon: float, moment: int) -> TrainingRows:
        """Thinned training rows of all pairs and companions, and their outcomes.

        Neighbours whose outcomes overlap say nearly the same; half the root of their number is
        the distance from which on more rows added nothing out of sample.
        """
        picked, outcomes, weights, times = [], [], [], []
        start = moment - self.settings.window_days * DAY
        rows = []
        for place, labels in enumerate(self.dataset.labels[horizon]):
            use = labels.known_before(moment, self._embargo) & self.dataset.warm[place]
            rows.append(np.flatnonzero(use & (labels.decided_at >= start)))
        total = sum(map(len, rows))
        stride = max(
            math.ceil(math.sqrt(self.overlap(horizon)) / 2),
            math.ceil(total / self.settings.rows_per_fit),
        )
        for place, table in enumerate(self.dataset.tables):
            # Counted back from the newest, so that the rows do not depend on where it begins.
            mine = rows[place][::-1][::stride][::-1]
            known = self.dataset.labels[horizon][place].known_at[mine]
            self._must_be_known(known, moment, f"a training on {self.dataset.pairs[place]}")
            picked.append(table.matrix[mine])
            outcomes.append(self.dataset.labels[horizon][place].up[mine])
            weights.append(self._uniqueness[horizon][place][mine])
            times.append(table.closed_at[mine])
        found, up = np.concatenate(picked), np.concatenate(outcomes)
        moments = np.concatenate(times)
        return TrainingRows(
            found, up, self._weights(np.concatenate(weights), moments, moment),
            self._columns(found, up, moments), int(moments.min(initial=moment)),
        )  # fmt: skip

    def _must_be_known(self, known_at: npt.NDArray[np.int64], moment: int, what: str) -> None:
        """Stop where an outcome is used before its time, whatever chose the rows.

        Raises:
            ModelError: the fault is in the program or in a part of one's own, not in the data.
        """
        early = int((known_at + self._embargo > moment).sum())
        if early:
            at = datetime.fromtimestamp(moment, UTC)
            raise ModelError(
                f"{what} at {at:%Y-%m-%d %H:%M} UTC would use {early:,} outcomes that were not "
                f"known {self.settings.embargo_hours:g} h before: rows must be purged",
                "Choose rows with Labels.known_before.",
            )

    def _weights(
        self, uniqueness: FloatArray, moments: npt.NDArray[np.int64], moment: int
    ) -> FloatArray | None:
        """Weight of each row, mean 1: its uniqueness, and its age where that counts."""
        weights = uniqueness
        if self.settings.half_life_days > 0:
            ages = (moment - moments) / DAY
            weights = weights * 0.5 ** (ages / self.settings.half_life_days)
        if not len(weights) or weights.std() < _EVEN * weights.mean():
            return None
        return np.asarray(weights / weights.mean())

    def _columns(
        self, rows: Matrix, up: FloatArray, moments: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64] | None:
        kept = self.settings.features_kept
        if not 0 < kept < rows.shape[1] or len(up) < 200:
            return None
        return steady_columns(rows, up, moments, kept)

    def _predict(self, fit: Fit, place: int, horizon: float, start: int, until: int) -> None:
        """Append the votes on rows decided in [start, until)."""
        found = self.calibration(horizon, start)
        base = fit.base_rates[place]
        made = self.predictions[horizon]
        for number, table in enumerate(self.dataset.own_tables):
            mine = (table.closed_at >= start) & (table.closed_at < until)
            rows = np.flatnonzero(mine & self.dataset.warm[number])
            if not len(rows):
                continue
            members = ask(fit.fitted[place], table.matrix[rows])
            votes = vote_of(members, found.voices)
            sigma = table.sigma[rows] * math.sqrt(horizon * 3600 / self.dataset.timeframe.seconds)
            unknown = np.full(len(rows), np.nan)
            made.pair.append(np.full(len(rows), number))
            made.row.append(rows)
            made.members.append(members)
            made.vote.append(votes)
            made.usual.append(fit.domain.holds(table.matrix[rows]))
            made.base.append(np.full(len(rows), base))
            made.chance.append(found.platt(votes, base) if found.platt else unknown)
            made.expected.append(found.returns(votes, base, sigma) if found.returns else unknown)


def ask(members: dict[str, Any], rows: Matrix) -> FloatArray:
    """Each member's probability of a rise: rows × members."""
    with threadpool_limits(1):
        said = [member.predict_proba(rows)[:, 1] for member in members.values()]
    return np.stack(said, axis=1)


def vote_of(members: FloatArray, voices: FloatArray) -> FloatArray:
    """The members' weighted mean, a value a row; added up member after member."""
    return np.asarray(sum(voice * members[:, place] for place, voice in enumerate(voices)))


def refit_moments(
    first_known: int, last_known: int, settings: LearningSettings
) -> tuple[int, ...]:
    """Refit moments on a fixed grid, so that they do not depend on where the history ends.

    Args:
        first_known: first moment with features.
        last_known: end of the history.
        settings: distance of refits and the history before the first.
    """
    step = settings.refit_days * DAY
    first = first_known + settings.least_days * DAY
    first += -first % step
    return tuple(range(first, last_known + 1, step))
