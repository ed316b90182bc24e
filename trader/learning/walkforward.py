"""Models for a backtest: at each moment the one that would have been in use then.

Training happens on the way, on nothing but the past of each refit. The walk begins early enough
before the first question for the calibration to have predictions to stand on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, datetime

from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.learning.dataset import build_dataset
from trader.learning.judging import Judging, refit
from trader.learning.learner import DAY, Learner, Predictions, Progress, refit_moments, silent
from trader.learning.model import Origin, TradingModel
from trader.learning.settings import LearningSettings

LEAD_DAYS = 550
"""Walked before the first question, so that its model is calibrated and judged."""


class WalkForwardModels:
    """A `ModelSource` that trains as time passes; the same run gives the same models.

    Args:
        histories: candles of each pair, the future included: it is never learned from early.
        settings: how models are made.
        source: name for the models' cards.
        first: the first moment that will be asked about.
        code_version: of this program.
        leader: the leader's candles where it is not among the pairs.
        companions: markets that are only learned from.
        progress: told what is being done; the share is of the whole walk to the end of history.
    """

    def __init__(
        self,
        histories: Mapping[Pair, Candles],
        settings: LearningSettings,
        *,
        source: str,
        first: datetime,
        code_version: str,
        leader: Candles | None = None,
        companions: Mapping[Pair, Candles] | None = None,
        progress: Progress = silent,
    ) -> None:
        self._histories = histories
        self._leader = leader
        self._companions = companions
        self._settings = settings
        self.source = source
        self._version = code_version
        self._first = int(first.timestamp())
        self._progress = progress
        self._learner: Learner | None = None
        self._judging: Judging | None = None
        self._moments: list[int] = []
        self._models: list[TradingModel] = []

    def model_for(self, pair: Pair, timeframe: Timeframe, now: datetime) -> TradingModel | None:
        """The newest model known at `now`; trains up to there first."""
        if pair not in self._histories or self._histories[pair].timeframe != timeframe:
            return None
        moment = int(now.timestamp())
        learner, judging = self._begin()
        upcoming = learner.next_refit()
        while upcoming is not None and upcoming <= moment:
            self._refit(learner, judging, upcoming)
            upcoming = learner.next_refit()
        at = bisect_right(self._moments, moment) - 1
        return self._models[at] if at >= 0 else None

    @property
    def models(self) -> tuple[TradingModel, ...]:
        """The models made so far, oldest first."""
        return tuple(self._models)

    def predictions(self) -> dict[float, Predictions]:
        """All out-of-sample predictions so far, by horizon in hours."""
        return {} if self._learner is None else self._learner.predictions

    @property
    def judging(self) -> Judging | None:
        """Scores of what was predicted so far; None before the first question."""
        return self._judging

    def _begin(self) -> tuple[Learner, Judging]:
        if self._learner is None or self._judging is None:
            dataset = build_dataset(
                self._histories, leader=self._leader, companions=self._companions,
                label=self._settings.label, costs=self._settings.round_trip_cost,
            )  # fmt: skip
            moments = refit_moments(dataset.first_known, dataset.last_known, self._settings)
            lead = self._first - LEAD_DAYS * DAY - self._settings.refit_days * DAY
            schedule = tuple(m for m in moments if m >= lead) if dataset.first_known else ()
            self._learner = Learner(dataset, self._settings, schedule)
            self._judging = Judging(self._learner, self._histories, self._leader)
        return self._learner, self._judging

    def _refit(self, learner: Learner, judging: Judging, moment: int) -> None:
        done = learner.schedule.index(moment) / max(len(learner.schedule), 1)
        at = datetime.fromtimestamp(moment, UTC)
        self._progress(done, f"training on what was known on {at:%Y-%m-%d}")
        model = refit(judging, Origin(self.source, self._version), at)
        if model is not None:
            self._moments.append(moment)
            self._models.append(model)
