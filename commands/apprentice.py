"""A model trained beside the loop, from the history the bot has, and held against its successor.

The first model is used as soon as it is there. Later ones are challengers: a challenger takes the
champion's place when it has forecast better on candles neither had learned from. Without a test a
new model is used where the champion's own evidence ends: it cannot speak, or it is older than the
tested walk ever let a model grow (`stale_after`). A doubted champion is silent, not replaced: most
doubts of calibrated models are false alarms that pass, and a successor has to show itself better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from main import Parts, model_store, waiting_for_licence
from trader import __version__
from trader.domain.candles import Candles
from trader.domain.errors import HistoryError, ModelError
from trader.domain.events import ModelCompared
from trader.domain.markets import Pair
from trader.jobs import (
    TrainingJob,
    TrainingOutcome,
    TrainingRequest,
    learning_settings,
    train_in_child,
)
from trader.learning.model import ModelCard, TradingModel
from trader.learning.promotion import KEPT, PROMOTED, Comparison
from trader.storage.companions import companions_of

RETRY_S = 3600.0
WARM_UP_DAYS = 365
COMPARE_EVERY = timedelta(days=1)
EARLIEST = datetime.min.replace(tzinfo=UTC)


class Task(StrEnum):
    """What is to be done beside the loop."""

    FIRST = "first"
    REPLACE = "replace"
    CHALLENGE = "challenge"
    COMPARE = "compare"


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
        self._models = model_store(parts.config, parts.venue)
        self._licence_told: str | None = None
        self._job: TrainingJob | None = None
        self._task = Task.FIRST
        self._again_at = 0.0
        self._compared_at: datetime | None = None

    def look(self) -> None:
        """Begin a job if one is due, or see how the present one fares; never waits."""
        if self._job is not None:
            self._follow(self._job)
            return
        if not self._parts.trader.ai.strategy.learns or self._parts.venue.pace == "jump":
            return
        self._tell_of_licence()
        if time.monotonic() < self._again_at:
            return
        found = self._due()
        if found is not None:
            self._begin(*found)

    def stop(self) -> None:
        """End a job that still runs; its work is lost."""
        if self._job is not None:
            self._job.stop()
            self._job = None

    def _due(self) -> tuple[Task, tuple[str, str] | None] | None:
        """What is due now, with the models to compare."""
        parts, now = self._parts, self._parts.trader.clock.now()
        pair, frame = parts.venue.pairs[0], parts.config.timeframe
        try:
            champion = self._models.model_for(pair, frame, now)
            if champion is not None:
                champion.check_fits(frame)
        except ModelError:
            return Task.REPLACE, None
        if champion is None:
            return self._first(now)
        hours = parts.config.retrain_hours
        if hours <= 0:
            return None
        if now - champion.known_through >= stale_after(champion):
            # Old: at once; a successor without a licence was made: when the next is due.
            last = hours if self._waits_for_licence() else 0.0
            return self._after(Task.REPLACE, champion.known_through, last, now)
        challenger = self._models.challenger(pair, frame, now)
        if challenger is None or _age(challenger) <= _age(champion.card):
            return self._after(Task.CHALLENGE, champion.known_through, hours, now)
        if self._compared_at is not None and now - self._compared_at < COMPARE_EVERY:
            return None
        if now - challenger.known_through < COMPARE_EVERY:
            return None
        self._compared_at = now
        return Task.COMPARE, (champion.id, challenger.id)

    def _first(self, now: datetime) -> tuple[Task, None] | None:
        """At once; but after a model that got no licence not before it is time for the next."""
        hours = self._parts.config.retrain_hours
        if not self._waits_for_licence():
            return Task.FIRST, None
        return self._after(Task.FIRST, EARLIEST, hours, now) if hours > 0 else None

    def _after(
        self, task: Task, known_through: datetime, hours: float, now: datetime
    ) -> tuple[Task, None] | None:
        """The training, RETRAIN_HOURS after the last one."""
        entries = self._models.entries(self._parts.venue.pairs[0])
        seen = [entry.card.known_through for entry in entries if entry.card is not None]
        last = max([known_through, *(at for at in seen if at <= now)])
        return (task, None) if now - last >= timedelta(hours=hours) else None

    def _begin(self, task: Task, compare: tuple[str, str] | None) -> None:
        self._again_at = time.monotonic() + RETRY_S
        request = self._request()
        if request is None:
            self._tell("no model can be trained: there is no history yet")
            return
        request = replace(request, challenge=task is Task.CHALLENGE, compare=compare)
        self._task = task
        self._job = train_in_child(request)
        rows = sum(len(candles) for candles in request.histories.values())
        self._tell(_BEGINS[task].format(rows=rows))

    def _follow(self, job: TrainingJob) -> None:
        outcome = job.poll()
        fraction, stage = job.progress
        self._parts.trader.outlook["training"] = {"stage": stage, "fraction": fraction}
        if outcome is None:
            return
        self._job = None
        self._parts.trader.outlook.pop("training")
        if outcome.compared is not None:
            self._settle(outcome.compared)
        elif self._task is Task.COMPARE:
            self._tell(f"no comparison today: {outcome.reason}; the model in use goes on")
        else:
            demanded = self._parts.venue.demands_licence
            used = self._used(self._parts.venue.pairs[0])
            self._tell(_in_words(outcome, self._task, used, demanded=demanded))

    def _waits_for_licence(self) -> bool:
        """Whether a newer model exists that may not be used: it has no licence."""
        parts = self._parts
        asked = parts.config.timeframe, parts.trader.clock.now()
        return any(self._models.unlicensed(pair, *asked) for pair in parts.venue.pairs)

    def _tell_of_licence(self) -> None:
        """Say once of each newer model that it may not be used, on the screen and as health."""
        parts = self._parts
        asked = parts.config.timeframe, parts.trader.clock.now()
        waits = {pair: self._models.unlicensed(pair, *asked) for pair in parts.venue.pairs}
        words = "; ".join(
            f"{pair}: {waiting_for_licence(model, self._used(pair))}"
            for pair, model in waits.items() if model
        )  # fmt: skip
        if words == self._licence_told:
            return
        self._licence_told = words
        if words:
            self._tell(words)
            parts.trader.note_health("licence", "warn", words)
        else:
            parts.trader.note_health("licence", "ok", "the newest model may be used")

    def _used(self, pair: Pair) -> str:
        """The model that is asked at the next candle, as far as it can be read."""
        parts = self._parts
        try:
            used = self._models.model_for(pair, parts.config.timeframe, parts.trader.clock.now())
        except ModelError:
            return ""
        return used.id if used is not None else ""

    def _settle(self, found: Comparison) -> None:
        """Carry out what a comparison showed, and journal it."""
        parts, now = self._parts, self._parts.trader.clock.now()
        for pair in parts.venue.pairs:
            try:
                if found.verdict == PROMOTED:
                    self._models.promote(pair, found.challenger)
                elif found.verdict == KEPT:
                    self._models.retire(pair, found.challenger, found.reason)
            except ModelError:
                continue  # a pair that was added since then has neither of them
        parts.trader.executor.record(
            ModelCompared(
                now, parts.venue.pairs[0], found.champion, found.challenger, found.verdict,
                found.blocks, found.lead, found.evidence, found.reason,
            )
        )  # fmt: skip
        self._tell(_settled(found))

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
            ledger=config.data_dir / "trials.jsonl",
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


_BEGINS = {
    Task.FIRST: "training a model beside the loop, from {rows:,} candles; until then the plain "
    "rule",
    Task.REPLACE: "training a model in place of the one in use, beside the loop, from {rows:,} "
    "candles",
    Task.CHALLENGE: "training a challenger beside the loop, from {rows:,} candles; it is used "
    "when it has forecast better than the model in use",
    Task.COMPARE: "holding the challenger against the model in use",
}


def stale_after(model: TradingModel) -> timedelta:
    """How old its walk forward ever let a model grow."""
    return timedelta(days=model.card.refit_days)


def _age(card: ModelCard) -> tuple[datetime, datetime]:
    """The later the newer: a promoted challenger that is older would not be used."""
    return card.known_through, card.trained_at


def _settled(found: Comparison) -> str:
    verb = {PROMOTED: "takes over from", KEPT: "is dropped, kept is"}
    words = verb.get(found.verdict, "is not yet shown to be better than")
    return f"model {found.challenger} {words} {found.champion}: {found.reason}"


def _in_words(outcome: TrainingOutcome, task: Task, used: str, *, demanded: bool) -> str:
    if not outcome.succeeded:
        goes_on = "the plain trend rule" if task is Task.FIRST else "the model in use"
        return f"no new model: {outcome.reason}; {goes_on} goes on"
    if demanded and not outcome.licensed:
        goes_on = f"model {used}" if used else "the plain trend rule"
        return (
            f"model {outcome.model_id} is trained but gets no licence for real money "
            f"({outcome.reason}); {goes_on} goes on"
        )
    if task is Task.CHALLENGE:
        return f"challenger {outcome.model_id} is trained; both forecast from now on"
    if outcome.model_id != used:
        goes_on = f"model {used}" if used else "the plain trend rule"
        return f"model {outcome.model_id} is trained but not used; {goes_on} goes on"
    verdict = "may trade real money" if outcome.licensed else "no licence for real money"
    return f"model {outcome.model_id} is trained and used from the next candle on; {verdict}"
