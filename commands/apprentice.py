"""A model trained beside the loop, from the history the bot has."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from main import Parts
from trader import __version__
from trader.domain.candles import Candles
from trader.domain.errors import HistoryError, ModelError
from trader.domain.markets import Pair
from trader.jobs import (
    TrainingJob,
    TrainingOutcome,
    TrainingRequest,
    learning_settings,
    train_in_child,
)
from trader.storage.companions import companions_of
from trader.storage.model_store import ModelStore

RETRY_S = 3600.0
WARM_UP_DAYS = 365


class Apprentice:
    """Sees that there is a model and that it does not grow old; the loop never waits for it.

    A finished model is in the store; the strategy finds it there at the next candle.

    Args:
        parts: the running program.
        tell: told in words when a training begins and ends.
    """

    def __init__(self, parts: Parts, tell: Callable[[str], None]) -> None:
        self._parts = parts
        self._tell = tell
        self._models = ModelStore(parts.config.models_dir, parts.venue.history.exchange)
        self._job: TrainingJob | None = None
        self._again_at = 0.0

    def look(self) -> None:
        """Begin a training if one is due, or see how the present one fares; never waits."""
        if self._job is not None:
            self._follow(self._job)
        elif self._is_due():
            self._begin()

    def stop(self) -> None:
        """End a training that still runs; its work is lost."""
        if self._job is not None:
            self._job.stop()
            self._job = None

    def _is_due(self) -> bool:
        parts = self._parts
        if not parts.trader.ai.strategy.learns or parts.venue.pace == "jump":
            return False
        if time.monotonic() < self._again_at:
            return False
        now = parts.trader.clock.now()
        hours = parts.config.retrain_hours
        try:
            model = self._models.model_for(parts.venue.pairs[0], parts.config.timeframe, now)
        except ModelError:
            return True
        if model is None:
            return True
        return hours > 0 and now - model.known_through >= timedelta(hours=hours)

    def _begin(self) -> None:
        self._again_at = time.monotonic() + RETRY_S
        request = self._request()
        if request is None:
            self._tell("no model can be trained: there is no history yet")
            return
        self._job = train_in_child(request)
        rows = sum(len(candles) for candles in request.histories.values())
        self._tell(
            f"training a model beside the loop, from {rows:,} candles; until then the plain rule"
        )

    def _follow(self, job: TrainingJob) -> None:
        outcome = job.poll()
        fraction, stage = job.progress
        self._parts.trader.outlook["training"] = {"stage": stage, "fraction": fraction}
        if outcome is None:
            return
        self._job = None
        self._parts.trader.outlook.pop("training")
        self._tell(_in_words(outcome))

    def _request(self) -> TrainingRequest | None:
        parts = self._parts
        config, venue, now = parts.config, parts.venue, parts.trader.clock.now()
        histories = {pair: c for pair in venue.pairs if len(c := self._history(pair))}
        if not histories:
            return None
        first = min(candles.first_opened_at for candles in histories.values())
        leader = parts.trader.leader
        return TrainingRequest(
            histories,
            venue.history.exchange,
            config.models_dir,
            now,
            learning_settings(
                model_type=config.model_type,
                window_days=config.training_window_days,
                taker_fee=parts.trader.ai.settings.taker_fee,
                confidence_threshold=config.confidence_threshold,
                days=(now - first).days,
            ),
            __version__,
            None if leader is None or leader in histories else self._history(leader),
            own_indicators=config.indicators,
            companions=companions_of(
                config.data_dir, venue.history.exchange, histories, config.timeframe, now
            ),
        )

    def _history(self, pair: Pair) -> Candles:
        """What is stored of the pair, and what the loop holds besides."""
        parts = self._parts
        config, now = parts.config, parts.trader.clock.now()
        held = parts.trader.candles.candles(pair, now)
        start = now - timedelta(days=config.training_window_days + WARM_UP_DAYS)
        try:
            stored = parts.venue.history.load(pair, config.timeframe, start)
        except HistoryError:
            return held
        return stored.known_at(now).followed_by(held)


def _in_words(outcome: TrainingOutcome) -> str:
    if not outcome.succeeded:
        return f"no new model: {outcome.reason}; the plain trend rule goes on"
    verdict = "may trade real money" if outcome.licensed else "no licence for real money"
    return f"model {outcome.model_id} is trained and used from the next candle on; {verdict}"
