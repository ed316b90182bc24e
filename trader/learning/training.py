"""Train, test on the future of each training, judge, and hand over the models.

`train` walks forward over the history and then fits the model for now. Each of the walk's recent
models is kept too, as it would have been at its time: a replay of the recent past finds the model
it would have had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from trader.domain.candles import Candles
from trader.domain.errors import ModelError
from trader.domain.markets import Pair
from trader.learning.building import build_model
from trader.learning.calibration import FEWEST
from trader.learning.dataset import Dataset, build_dataset
from trader.learning.honesty import columns_that_see_ahead
from trader.learning.importance import importance_of
from trader.learning.judging import Breakdown, Judging, refit
from trader.learning.learner import DAY, Learner, Progress, refit_moments, silent
from trader.learning.licence import Evidence, Licence, judge, trials_behind
from trader.learning.model import Origin, TradingModel
from trader.learning.settings import LearningSettings
from trader.learning.tuning import Told, tune

EVALUATION_DAYS = 5 * 365
KEPT_DAYS = 460
ALONE_DAYS = 365
"""History below which a pair gets no licence; where none has more, companions are judged too."""
BASE_MB = 200
KB_PER_CANDLE = 2.5
"""What a training holds: measured, rounded up (feature rows, indicators, outcomes, forecasts)."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What a training brought.

    Attributes:
        model: the model for now.
        earlier: models of the walk forward, oldest first, as they would have been.
        folds: refits of the walk forward.
        tested_from, tested_to: span of the scored predictions; None if there are none.
        sharpe: yearly, after costs, of the strategy with its models, the trend rule alone and
            buy-and-hold, out of sample.
        breakdown: horizon in hours → its scores by year and by state of the market.
    """

    model: TradingModel
    earlier: tuple[TradingModel, ...]
    folds: int
    tested_from: datetime | None
    tested_to: datetime | None
    sharpe: Mapping[str, float]
    breakdown: Mapping[float, Breakdown] = field(default_factory=dict)

    @property
    def licence(self) -> Licence:
        """The verdict."""
        return self.model.card.licence


def train(
    histories: Mapping[Pair, Candles],
    settings: LearningSettings,
    *,
    source: str,
    trained_at: datetime,
    code_version: str,
    leader: Candles | None = None,
    companions: Mapping[Pair, Candles] | None = None,
    trials: int = 1,
    tuning: int = 0,
    tuned: Told = lambda _: None,
    progress: Progress = silent,
) -> TrainingResult:
    """Train one model for all the pairs together.

    Args:
        histories: closed candles of each pair, one timeframe; nothing after "now".
        settings: how models are made.
        source: where the candles are from; models are used only on their own source.
        trained_at: the present.
        code_version: of this program.
        leader: the leader's candles where it is not among the pairs.
        companions: markets that are only learned from: more rows for what pairs have in common.
        trials: strategies and settings that were tried before, for the licence.
        tuning: variants of the members to judge on the past before the first tested forecast;
            the best is used, all are counted. 0 takes the settings as they are.
        tuned: told of each variant, for the trial ledger.
        progress: told what is being done.

    Raises:
        ModelError: if there is too little history, or more than the memory budget allows; says
            how much is needed.
    """
    progress(0.0, "features")
    check_memory(histories, companions, settings)
    pooled = len(_short(histories)) == len(histories)
    judged_on = {**(companions or {}), **histories} if pooled else dict(histories)
    dataset = build_dataset(
        judged_on, leader=leader, companions=companions, label=settings.label,
        costs=settings.round_trip_cost,
    )  # fmt: skip
    dataset = replace(dataset, traded=tuple(sorted(histories)))
    schedule = _schedule(dataset, settings)
    if tuning:
        progress(0.02, f"tuning on what was known before the test, {tuning} variants")
        settings = tune(dataset, settings, until=schedule[0], trials=tuning, told=tuned)
    judging = Judging(Learner(dataset, settings, schedule), judged_on, leader)
    origin = Origin(source, code_version)
    earlier = _walk(judging, origin, trained_at, progress)
    progress(0.9, "the model for now")
    model, evidence = _model_for_now(
        judging, origin, trained_at, histories, leader, trials + tuning
    )
    named = tuple(replace(m, card=replace(m.card, parent=model.id)) for m in earlier)
    progress(0.98, "importance of the features")
    card = replace(model.card, importance=importance_of(named, dataset, settings.seed))
    progress(1.0, "done")
    return TrainingResult(
        replace(model, card=card), named, len(schedule), *judging.span(),
        judging.sharpes(evidence), judging.breakdown(),
    )  # fmt: skip


def _walk(
    judging: Judging, origin: Origin, trained_at: datetime, progress: Progress
) -> list[TradingModel]:
    """Make every refit; the models of the last months."""
    kept: list[TradingModel] = []
    schedule = judging.learner.schedule
    for done, moment in enumerate(schedule):
        progress(0.05 + 0.85 * done / (len(schedule) + 1), f"fold {done + 1} of {len(schedule)}")
        keep = moment >= judging.dataset.last_known - KEPT_DAYS * DAY
        model = refit(judging, origin, trained_at, keep=keep)
        if model is not None:
            kept.append(model)
    return kept


def _model_for_now(
    judging: Judging,
    origin: Origin,
    trained_at: datetime,
    histories: Mapping[Pair, Candles],
    leader: Candles | None,
    trials: int,
) -> tuple[TradingModel, Evidence]:
    """The model of all that is known, with its verdict and what that rests on.

    Raises:
        ModelError: if there is too little history.
    """
    dataset, settings, now = judging.dataset, judging.settings, judging.dataset.last_known
    fit = judging.learner.fit_at(now)
    if fit is None:
        raise _too_little(dataset, settings)
    cards = judging.cards(now)
    if all(card.scores is None for card in cards):
        raise _too_little(dataset, settings)
    start, _ = judging.span()
    first = start or datetime.fromtimestamp(now, UTC)
    evidence = judging.evidence(trials_behind(origin.source, first, trials))
    evidence = replace(evidence, leaks=columns_that_see_ahead(histories, leader))
    verdict = _verdict(evidence, settings, dataset, _short(histories))
    model = build_model(
        judging.learner, fit, origin, horizons=cards, trained_at=trained_at,
        licence=verdict, sleeve_licensed=judging.sleeve_licensed(now),
    )  # fmt: skip
    return model, evidence


def _short(histories: Mapping[Pair, Candles]) -> tuple[Pair, ...]:
    """The pairs whose own history cannot show what a model is worth."""
    return tuple(
        pair
        for pair, c in sorted(histories.items())
        if not len(c) or (c.closed_at - c.first_opened_at).days < ALONE_DAYS
    )


def _verdict(
    evidence: Evidence, settings: LearningSettings, dataset: Dataset, short: tuple[Pair, ...]
) -> Licence:
    """The licence's verdict, and what it cannot know of how the test was made."""
    verdict = judge(evidence, seed=settings.seed)
    if verdict.notes:
        verdict = replace(verdict, notes=(*verdict.notes, _tested_part(dataset)))
    against, needed = [], []
    pooled = len(dataset.own_pairs) > len(dataset.traded)
    if settings.round_trip_cost <= 0:
        against.append("tested without costs: no result says anything then")
    if pooled:
        against.append(
            f"less than {ALONE_DAYS} days of its own history: judged together with the other "
            "stored markets, which says nothing certain of this one"
        )
    elif short:
        names = ", ".join(map(str, short))
        against.append(
            f"{names}: less than {ALONE_DAYS} days of its own history, beside longer ones: the "
            "test says next to nothing of it"
        )
        needed.append(f"{ALONE_DAYS} days of {names}, or a training without it")
    if not against:
        return verdict
    rest = () if verdict.granted else verdict.reasons
    return Licence(False, (*against, *rest), (*needed, *verdict.needed), verdict.notes)


def _tested_part(dataset: Dataset) -> str:
    """What of the strategy is in the evidence, in words."""
    return (
        "tested are the trend rule and the models' own entries, by the forecasts over "
        f"{max(dataset.horizons):g} h; what forecasts of another horizon do, such as choosing the "
        "moment of an order, is not in this evidence (a backtest has it)"
    )


def check_memory(
    histories: Mapping[Pair, Candles],
    companions: Mapping[Pair, Candles] | None,
    settings: LearningSettings,
) -> None:
    """Whether the training fits into its budget; asked before anything is computed.

    Raises:
        ModelError: if it does not; says what to leave out.
    """
    candles = sum(map(len, histories.values())) + sum(map(len, (companions or {}).values()))
    wanted = BASE_MB + candles * KB_PER_CANDLE / 1000
    if wanted > settings.memory_mb:
        raise ModelError(
            f"training on {candles:,} candles takes about {wanted:,.0f} MB, the budget is "
            f"{settings.memory_mb:,} MB",
            "Train fewer pairs at once, on longer candles, or without companions.",
        )


def _schedule(dataset: Dataset, settings: LearningSettings) -> tuple[int, ...]:
    """Refits of the last years that leave enough history before them."""
    if dataset.first_known == 0:
        raise _too_little(dataset, settings)
    moments = refit_moments(dataset.first_known, dataset.last_known, settings)
    oldest = dataset.last_known - EVALUATION_DAYS * DAY - 2 * settings.refit_days * DAY
    return tuple(m for m in moments if m >= oldest and m < dataset.last_known)


def _too_little(dataset: Dataset, settings: LearningSettings) -> ModelError:
    days = max((dataset.last_known - dataset.first_known) / DAY, 0.0) if dataset.first_known else 0
    forecasts = 2 * FEWEST * dataset.timeframe.seconds / DAY / max(dataset.own, 1)
    wanted = round(settings.least_days + 2 * settings.refit_days + forecasts)
    return ModelError(
        f"too little history to train on: {days:.0f} days of usable candles, about {wanted} are "
        "needed to train and to test",
        "Import more: python run_trader.py history import PATH",
    )
