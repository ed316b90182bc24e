"""The live record of the models: what they said, what came of it, and whether to go on.

A `Tracker` is a fold over the journal, like the portfolio: `track(journal.events())` gives the
same in the loop, in the dashboard and after a restart. It scores stated chances, watches each
horizon for a shift of the chances, and says when a model is not to be followed.

- **Doubt**: the outcomes of a horizon shift ten points away from what is said (`ShiftChart`), or
  the base rate alone proves to be the better forecast (`BlockEvidence`). The model then is
  silent, all of it, and the ensemble is the trend rule.
- **Trust again**: when another model is in use; or, after a shift, when the outcomes since then
  speak as strongly for "as said" as they had spoken for the shift. A model that the base rate
  beats is not believed again.

For pages: `figures` (live Brier skill and calibration of each horizon), `reliability_of`,
`feature_drift`, `doubt_of`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from trader.domain.candles import Candles, FloatArray
from trader.domain.events import (
    Event,
    ForecastMade,
    ForecastOutcome,
    ForecastScored,
    ModelDoubted,
    ModelTrusted,
    StatedChance,
)
from trader.domain.markets import Pair
from trader.learning.drift import WINDOW_DAYS, DriftReference, FeatureDrift, drift_of
from trader.learning.evaluation import ReliabilityBin, ece, reliability
from trader.learning.forecast import Outlook
from trader.learning.labels import gain_after
from trader.learning.sequential import (
    ALARM,
    ENOUGH,
    SHIFT,
    BlockEvidence,
    ShiftChart,
    evidence_of_shift,
)

KEPT = 5000
"""Scored forecasts remembered of each horizon."""

LOSS_BOUND = 0.5
"""What a forecast can count at most against the base rate, nats (see `sequential.within`)."""

PATIENCE_S = 2 * 86400
"""A moment waits so long for the outcomes of its other pairs, besides the horizon."""

FEWEST_FOR_SKILL = 30
FEWEST_FOR_BINS = 100
_FULL_WINDOW = 0.9
_SMALL = 1e-6


@dataclass(frozen=True, slots=True)
class HorizonFigures:
    """The live record of one horizon.

    Attributes:
        n: scored forecasts (overlapping ones and those of several pairs included).
        independent: how many that are without overlap.
        brier_skill, log_loss_skill: against the base rate known at each forecast; above 0 is
            better than it. None with fewer than 30 forecasts.
        said, came: mean stated chance and share of rises.
        gap_error: standard error of their difference, from the independent ones.
        ece: expected calibration error, ten equal bins; None with fewer than 100.
        evidence: for a shift of ten points, as a share of what alarms (1 alarms).
        state: `ok`, `watch` (half of what alarms) or `doubted`.
    """

    horizon_hours: float
    n: int
    independent: float
    brier: float | None
    brier_skill: float | None
    log_loss_skill: float | None
    said: float | None
    came: float | None
    gap_error: float | None
    ece: float | None
    evidence: float
    state: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a model is not followed.

    Attributes:
        since: when it was found.
        may_pass: whether it ends when the forecasts are right again; else with a new model.
        right_again: evidence that it is over, as a share of what is needed.
    """

    model_id: str
    horizon_hours: float
    since: datetime
    reason: str
    may_pass: bool = True
    right_again: float = 0.0


@dataclass(slots=True)
class _Record:
    """One horizon of one model: chart, evidence and the outcomes of moments not yet complete."""

    hours: float
    chart: ShiftChart = field(default_factory=ShiftChart)
    worse: BlockEvidence = field(default_factory=lambda: BlockEvidence.bounded(LOSS_BOUND))
    before: float = -math.inf
    held: dict[float, list[ForecastOutcome]] = field(default_factory=dict)
    doubted_shift: float = 0.0
    right_again: float = 0.0

    def take(self, outcome: ForecastOutcome) -> None:
        """Hold an outcome until those of the other pairs at its moment are there."""
        at = outcome.closed_at.timestamp()
        if at > self.before:  # else its moment was closed without it: it came too late
            self.held.setdefault(at, []).append(outcome)

    def close(self, awaited: Callable[[float], bool]) -> Iterator[None]:
        """Take in the moments that are complete, in order of time; stops after each of them.

        Outcomes of one moment (several pairs) are one piece of evidence. After an outage they
        come pair by pair, many moments at once: a moment waits for its other pairs. The newest
        one always waits.

        Args:
            awaited: whether outcomes of a moment (Unix seconds) are still to come.
        """
        moments = sorted(self.held)
        for moment in moments[:-1]:
            patient = moments[-1] - self.hours * 3600 - PATIENCE_S
            if moment > patient and awaited(moment):
                return
            self._close(moment)
            yield

    def _close(self, moment: float) -> None:
        """Take in the evidence of one moment; weight: the share of it that is new."""
        now = self.held.pop(moment)
        weight = min(1.0, (moment - self.before) / (self.hours * 3600))
        first = math.isinf(self.before)
        self.before = moment
        if first:
            return
        said = sum(o.probability for o in now) / len(now)
        rose = sum(o.gained > 0 for o in now) / len(now)
        lost = sum(map(_excess_loss, now)) / len(now)
        self.chart.take(said, rose, weight)
        self.worse.take(lost, weight)
        self._recover(said, rose, weight)

    def _recover(self, said: float, rose: float, weight: float) -> None:
        """Evidence for "as said" against "still shifted", gathered while the model is doubted."""
        if self.doubted_shift:
            step = weight * evidence_of_shift(said, self.doubted_shift, rose)
            self.right_again = max(0.0, self.right_again - step)

    @property
    def right(self) -> bool:
        """Whether a shift that was found is over."""
        return self.right_again >= ALARM

    def fault(self) -> str:
        """What speaks against the model, empty if nothing."""
        if self.chart.alarm:
            way = "less" if self.chart.lower > self.chart.higher else "more"
            return (
                f"rises over {self.hours:g} h come true {way} often than was said, by about ten "
                "points"
            )
        if self.worse.wealth >= ENOUGH:
            return f"over {self.hours:g} h the plain base rate forecasts better than the model"
        return ""

    def doubt(self) -> None:
        """An alarm: begin anew, and wait for the shift to be over."""
        shifted = self.chart.alarm
        higher = self.chart.higher > self.chart.lower
        self.reset()
        self.doubted_shift = (SHIFT if higher else -SHIFT) if shifted else 0.0

    def reset(self) -> None:
        """Begin anew."""
        self.chart = ShiftChart()
        self.worse = BlockEvidence.bounded(LOSS_BOUND)
        self.doubted_shift = self.right_again = 0.0


class Tracker:
    """The live record of all models of an account; feed it every event, in order."""

    def __init__(self) -> None:
        self.newest_model = ""
        self.doubts: dict[str, Doubt] = {}
        self._records: dict[tuple[str, float], _Record] = {}
        self._scored: dict[float, deque[ForecastOutcome]] = {}
        self._open: dict[tuple[Pair, float], deque[tuple[float, str, StatedChance]]] = {}
        self._made_at: dict[tuple[Pair, float, str], float] = {}
        self._buckets: deque[tuple[float, str, str]] = deque()
        self._told: dict[str, bool] = {}

    def apply(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case ForecastMade():
                self._made(event)
            case ForecastScored(outcomes=outcomes):
                self._came(event.pair, outcomes)
            case ModelDoubted(model_id=model):
                self._told[model] = True
            case ModelTrusted(model_id=model):
                self._told[model] = False

    # -- for the loop ----------------------------------------------------------------------

    def due(self, pair: Pair, candles: Candles, now: datetime) -> ForecastScored | None:
        """The outcomes that are known by now of earlier forecasts on the pair, None if none.

        Args:
            pair: whose forecasts.
            candles: closed candles of the pair, the newest one included.
            now: when the outcomes are noted.
        """
        if not len(candles):
            return None
        end = float(candles.opened_at[-1]) + candles.timeframe.seconds
        found = []
        for (of, hours), waiting in self._open.items():
            while of == pair and waiting and waiting[0][0] + hours * 3600 <= end:
                at, model, chance = waiting.popleft()
                gained = gain_after(candles, int(at), hours)
                if gained is not None:
                    found.append(
                        ForecastOutcome(
                            datetime.fromtimestamp(at, UTC), model, hours, chance.probability,
                            chance.base_rate, gained,
                        )
                    )  # fmt: skip
        return ForecastScored(now, pair, tuple(found)) if found else None

    def tempered(self, outlook: Outlook) -> Outlook:
        """The outlook, silent if its model is doubted: the retreat to the trend rule."""
        doubt = self.doubts.get(outlook.model_id)
        if doubt is None or outlook.silence:
            return outlook
        return replace(outlook, silence=_retreat(doubt))

    def news(self, now: datetime) -> tuple[ModelDoubted | ModelTrusted, ...]:
        """What has changed and is not in the journal yet; apply it when it is written."""
        found: list[ModelDoubted | ModelTrusted] = []
        for model, doubt in self.doubts.items():
            if not self._told.get(model, False):
                found.append(ModelDoubted(now, model, doubt.horizon_hours, doubt.reason))
        for model, told in self._told.items():
            if told and model not in self.doubts:
                found.append(
                    ModelTrusted(
                        now, model,
                        "its forecasts come true as often as it says again",
                    )
                )  # fmt: skip
        return tuple(found)

    # -- for pages -------------------------------------------------------------------------

    def figures(self) -> tuple[HorizonFigures, ...]:
        """The live record of each horizon, all models together, shortest first.

        `evidence` and `state` are those of the model that spoke last.
        """
        return tuple(self._figures(hours) for hours in sorted(self._scored))

    def outcomes(self, horizon_hours: float) -> tuple[ForecastOutcome, ...]:
        """The newest scored forecasts of a horizon, oldest first."""
        return tuple(self._scored.get(horizon_hours, ()))

    def reliability_of(self, horizon_hours: float) -> tuple[ReliabilityBin, ...]:
        """Said against came, in ten equal bins; empty with fewer than 100 forecasts."""
        said, rose, _ = _columns(self._scored.get(horizon_hours, ()))
        return reliability(said, rose) if len(said) >= FEWEST_FOR_BINS else ()

    def feature_drift(
        self, reference: DriftReference, names: tuple[str, ...]
    ) -> FeatureDrift | None:
        """Drift of the features over the last month of the newest model; None until it is full.

        Args:
            reference: of the model that spoke last (`TradingModel.drift`).
            names: its features (`ModelCard.features`).
        """
        mine = [(at, text) for at, model, text in self._buckets if model == self.newest_model]
        full = _FULL_WINDOW * WINDOW_DAYS * 86400
        if not mine or mine[-1][0] - mine[0][0] < full:
            return None
        return drift_of([text for _, text in mine], reference, names)

    def doubt_of(self, model_id: str) -> Doubt | None:
        """Why the model is not followed, with how far it is on the way back; None if it is."""
        return self.doubts.get(model_id)

    # -- folding ---------------------------------------------------------------------------

    def _made(self, event: ForecastMade) -> None:
        self.newest_model = event.model_id
        at = event.closed_at.timestamp()
        fresh = False
        for chance in event.chances:
            key = (event.pair, chance.horizon_hours)
            # Journalled twice, as after a restart within a candle, it is one forecast.
            if at <= self._made_at.get((*key, event.model_id), -math.inf):
                continue
            fresh = True
            self._made_at[*key, event.model_id] = at
            self._open.setdefault(key, deque()).append((at, event.model_id, chance))
        if event.buckets and fresh:
            self._buckets.append((at, event.model_id, event.buckets))
            while self._buckets[0][0] < at - WINDOW_DAYS * 86400:
                self._buckets.popleft()

    def _came(self, pair: Pair, outcomes: tuple[ForecastOutcome, ...]) -> None:
        """Take in all outcomes first: evidence is in order of time, not of the event."""
        newest: dict[tuple[str, float], ForecastOutcome] = {}
        for outcome in outcomes:
            hours, at = outcome.horizon_hours, outcome.closed_at.timestamp()
            waiting = self._open.get((pair, hours))
            while waiting and waiting[0][0] <= at:
                waiting.popleft()
            self._scored.setdefault(hours, deque(maxlen=KEPT)).append(outcome)
            key = (outcome.model_id, hours)
            self._records.setdefault(key, _Record(hours)).take(outcome)
            newest[key] = outcome
        for key, outcome in newest.items():
            awaited = partial(self._awaited, *key)
            for _ in self._records[key].close(awaited):
                self._judge(outcome, self._records[key])

    def _awaited(self, model: str, hours: float, moment: float) -> bool:
        """Whether a pair's outcome of that moment is still to come."""
        for (_, horizon), waiting in self._open.items():
            if horizon == hours:
                for at, of, _ in waiting:
                    if at > moment:
                        break
                    if at == moment and of == model:
                        return True
        return False

    def _judge(self, outcome: ForecastOutcome, record: _Record) -> None:
        model = outcome.model_id
        doubt = self.doubts.get(model)
        if doubt is None:
            reason = record.fault()
            if reason:
                record.doubt()
                self.doubts[model] = Doubt(
                    model, record.hours, outcome.closed_at, reason, bool(record.doubted_shift)
                )
        elif doubt.horizon_hours == record.hours:
            self.doubts[model] = replace(doubt, right_again=record.right_again / ALARM)
            if record.right:
                del self.doubts[model]
                record.reset()

    def _figures(self, hours: float) -> HorizonFigures:
        kept = self._scored[hours]
        said, rose, base = _columns(kept)
        record = self._records.get((self.newest_model, hours))
        evidence = record.chart.evidence / ALARM if record else 0.0
        independent = _independent(kept, hours)
        scored = len(said) >= FEWEST_FOR_SKILL
        log_loss = _skill(_log_loss(said, rose), _log_loss(base, rose))
        gap_error = float(np.sqrt(np.mean(said * (1 - said)) / max(independent, 1.0)))
        return HorizonFigures(
            horizon_hours=hours,
            n=len(said),
            independent=independent,
            brier=float(np.mean((said - rose) ** 2)),
            brier_skill=_skill((said - rose) ** 2, (base - rose) ** 2) if scored else None,
            log_loss_skill=log_loss if scored else None,
            said=float(said.mean()),
            came=float(rose.mean()),
            gap_error=gap_error,
            ece=ece(said, rose) if len(said) >= FEWEST_FOR_BINS else None,
            evidence=evidence,
            state=self._state(hours, evidence),
        )

    def _state(self, hours: float, evidence: float) -> str:
        doubt = self.doubts.get(self.newest_model)
        if doubt is not None and doubt.horizon_hours == hours:
            return "doubted"
        return "watch" if evidence >= 0.5 else "ok"


def track(events: Iterable[tuple[int, Event]]) -> Tracker:
    """The live record that a journal tells.

    Args:
        events: numbered, in order; `ForecastMade`, `ForecastScored`, `ModelDoubted` and
            `ModelTrusted` are enough.
    """
    tracker = Tracker()
    for _, event in events:
        tracker.apply(event)
    return tracker


TRACKED: tuple[type[Any], ...] = (ForecastMade, ForecastScored, ModelDoubted, ModelTrusted)
"""The events a tracker reads."""


def _retreat(doubt: Doubt) -> str:
    end = "believed again with a new model"
    if doubt.may_pass:
        end += f", or when its forecasts are right again ({doubt.right_again:.0%} of the evidence)"
    return (
        f"model {doubt.model_id} is doubted since {doubt.since:%Y-%m-%d %H:%M} UTC: "
        f"{doubt.reason}; {end}"
    )


def _columns(outcomes: Iterable[ForecastOutcome]) -> tuple[FloatArray, FloatArray, FloatArray]:
    rows = [(o.probability, float(o.gained > 0), o.base_rate) for o in outcomes]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _independent(outcomes: Iterable[ForecastOutcome], hours: float) -> float:
    """How many forecasts without overlap these are; pairs side by side count once."""
    moments = sorted({o.closed_at.timestamp() for o in outcomes})
    if not moments:
        return 0.0
    steps = np.minimum(np.diff(moments) / (hours * 3600), 1.0)
    return 1.0 + float(steps.sum())


def _excess_loss(outcome: ForecastOutcome) -> float:
    """Log loss of the model above that of the base rate, nats, scaled to lie within the bound."""
    said, base = _inside(outcome.probability), _inside(outcome.base_rate)
    if_rose, if_fell = math.log(base / said), math.log((1 - base) / (1 - said))
    share = min(1.0, LOSS_BOUND / max(abs(if_rose), abs(if_fell), _SMALL))
    return share * (if_rose if outcome.gained > 0 else if_fell)


def _inside(p: float) -> float:
    return min(max(p, _SMALL), 1 - _SMALL)


def _log_loss(p: FloatArray, rose: FloatArray) -> FloatArray:
    inside = np.clip(p, _SMALL, 1 - _SMALL)
    return np.asarray(-np.where(rose > 0.5, np.log(inside), np.log(1 - inside)))


def _skill(ours: FloatArray, theirs: FloatArray) -> float | None:
    base = float(theirs.mean())
    return 1.0 - float(ours.mean()) / base if base > 0 else None
