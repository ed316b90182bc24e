"""Train, test on the future of each training, judge, and hand over the models.

`train` walks forward over the history and then fits the model for now. Each of the walk's recent
models is kept too, as it would have been at its time: a replay of the recent past finds the model
it would have had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from trader.domain.candles import Candles, FloatArray
from trader.domain.errors import ModelError
from trader.domain.markets import Pair
from trader.learning.calibration import FEWEST
from trader.learning.dataset import Dataset, build_dataset
from trader.learning.evaluation import Part, Scores, part_of, score
from trader.learning.features import feature_names
from trader.learning.honesty import columns_that_see_ahead
from trader.learning.importance import importance_of
from trader.learning.labels import BoolArray
from trader.learning.learner import (
    DAY,
    Fit,
    KnownPredictions,
    Learner,
    Progress,
    build_model,
    refit_moments,
    silent,
)
from trader.learning.licence import Evidence, Licence, judge, trials_behind
from trader.learning.model import HorizonCard, TradingModel
from trader.learning.papertrade import allowed, core_targets, daily, sleeve_state, walk
from trader.learning.settings import LearningSettings
from trader.learning.trend import Trend, trend_of
from trader.learning.tuning import Told, tune

EVALUATION_DAYS = 5 * 365
KEPT_DAYS = 460
_REGIME_FEATURES = ("ema_gap_50_200_per_sigma", "volatility_against_336")
SLEEVE_HOURS = 168
SLEEVE_TRADES = 15
SLEEVE_T = 1.64
ENTRY_MARGIN = 1.5
ALONE_DAYS = 365
"""History below which a model is judged on the companions too: pooled, and without licence."""
BASE_MB = 200
KB_PER_CANDLE = 2.5
"""What a training holds: measured, rounded up (feature rows, indicators, outcomes, forecasts)."""
FOLD_LICENCE = Licence(False, ("a model of the walk forward: judged with its training run",))


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The predictions of one horizon, part by part.

    Attributes:
        years: calendar years, UTC.
        regimes: rising or falling, calm or wild, as known at each prediction.
        coverage: share of the predictions inside the training domain: on the rest it abstains.
        inside, outside: scores of both; None where there are too few.
    """

    years: tuple[Part, ...]
    regimes: tuple[Part, ...]
    coverage: float
    inside: Part | None
    outside: Part | None


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
    judged_on = dict(histories)
    if _short(histories):
        judged_on = {**(companions or {}), **histories}
    dataset = build_dataset(
        judged_on, leader=leader, companions=companions, label=settings.label,
        costs=settings.round_trip_cost,
    )  # fmt: skip
    dataset = replace(dataset, traded=tuple(sorted(histories)))
    schedule = _schedule(dataset, settings)
    if tuning:
        progress(0.02, f"tuning on what was known before the test, {tuning} variants")
        settings = tune(dataset, settings, until=schedule[0], trials=tuning, told=tuned)
    learner = Learner(dataset, settings, schedule)
    judged = Judging(learner, judged_on, leader)
    earlier: list[TradingModel] = []
    for done, moment in enumerate(schedule):
        progress(0.05 + 0.85 * done / (len(schedule) + 1), f"fold {done + 1} of {len(schedule)}")
        licensed = judged.sleeve_licensed(moment)
        cards = judged.cards(moment) if _kept(moment, dataset) else None
        fit = learner.step()
        if fit is not None and cards is not None:
            earlier.append(
                build_model(
                    learner,
                    fit,
                    horizons=with_base(cards, fit),
                    source=source,
                    trained_at=trained_at,
                    code_version=code_version,
                    licence=FOLD_LICENCE,
                    sleeve_licensed=licensed,
                )
            )
    progress(0.9, "the model for now")
    now = dataset.last_known
    final = learner.fit_at(now)
    if final is None:
        raise _too_little(dataset, settings)
    progress(0.95, "verdict")
    cards = judged.cards(now)
    if all(card.scores is None for card in cards):
        raise _too_little(dataset, settings)
    start, end = judged.span()
    evidence = judged.evidence(
        trials_behind(source, start or datetime.fromtimestamp(now, UTC), trials + tuning)
    )
    evidence = replace(evidence, leaks=columns_that_see_ahead(histories))
    model = build_model(
        learner, final, horizons=with_base(cards, final), source=source, trained_at=trained_at,
        code_version=code_version,
        licence=_verdict(evidence, settings, len(judged_on) > len(histories)),
        sleeve_licensed=judged.sleeve_licensed(now),
    )  # fmt: skip
    named = tuple(replace(m, card=replace(m.card, parent=model.id)) for m in earlier)
    progress(0.98, "importance of the features")
    card = replace(model.card, importance=importance_of(named, dataset, settings.seed))
    model = replace(model, card=card)
    progress(1.0, "done")
    return TrainingResult(
        model, named, len(schedule), start, end, judged.sharpes(evidence), judged.breakdown()
    )


class Judging:
    """Scores and evidence of a walk, at any moment from what was known then."""

    def __init__(
        self, learner: Learner, histories: Mapping[Pair, Candles], leader: Candles | None
    ) -> None:
        self.learner = learner
        self.settings = learner.settings
        self.dataset = learner.dataset
        self._main = max(learner.dataset.horizons)
        self._licensed: list[tuple[int, bool]] = []
        self._trends: dict[Pair, Trend] = {p: trend_of(c) for p, c in histories.items()}
        leading = next((p for p in histories if p.base == "BTC"), None)
        self._leading = histories[leading] if leading else leader
        self._leader = None if self._leading is None else trend_of(self._leading)

    def cards(self, moment: int) -> tuple[HorizonCard, ...]:
        """What was known of each horizon at the moment."""
        return tuple(self._horizon_card(h, moment) for h in self.dataset.horizons)

    def scored(self, horizon: float, moment: int | None = None) -> KnownPredictions:
        """Predictions that were calibrated when they were made."""
        seen = self.learner.known(horizon, moment)
        return seen.where(np.isfinite(seen.chance))

    def sleeve_licensed(self, moment: int) -> bool:
        """Whether the model's own entries had paid by then; remembered for the evidence."""
        if self._licensed and self._licensed[-1][0] == moment:
            return self._licensed[-1][1]
        gains = self._sleeve_gains(moment)
        paid = False
        if len(gains) >= SLEEVE_TRADES:
            error = gains.std(ddof=1) / np.sqrt(len(gains))
            paid = bool(gains.mean() > SLEEVE_T * error)
        self._licensed.append((moment, paid))
        return paid

    def span(self) -> tuple[datetime | None, datetime | None]:
        """First and last scored prediction of the main horizon."""
        seen = self.scored(self._main)
        if not len(seen):
            return None, None
        first, last = int(seen.decided_at[0]), int(seen.decided_at[-1])
        return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)

    def evidence(self, trials: int) -> Evidence:
        """Daily returns of strategy and yardsticks over the scored span, and the scores."""
        seen = self.scored(self._main)
        if len(seen) < FEWEST:
            return Evidence(np.empty(0), np.empty(0), np.empty(0), 0, trials, None)
        start = int(seen.decided_at[0])
        ours, core, hold = [], [], []
        trades = 0
        for place, table in enumerate(self.dataset.own_tables):
            base = self._core(place)
            target = np.maximum(base, self._sleeve(place))
            side = (self.settings.round_trip_cost / 2, self.settings.rebalance_band)
            walked = walk(target, table.candles, *side)
            trades += walked.trades
            opened = table.candles.opened_at
            ours.append(daily(walked.returns, opened))
            core.append(daily(walk(base, table.candles, *side).returns, opened))
            hold.append(daily(walk(np.ones(len(opened)), table.candles, *side).returns, opened))
        days = sorted({d for series in ours for d in series if d * DAY >= start})
        return Evidence(
            _pooled(ours, days), _pooled(core, days), _pooled(hold, days), trades, trials,
            self._scores(self._main, None),
        )  # fmt: skip

    def sharpes(self, evidence: Evidence) -> dict[str, float]:
        """Yearly Sharpe ratios of the evidence."""
        named = {
            "ensemble": evidence.strategy, "trend": evidence.trend, "buy-and-hold": evidence.hold
        }  # fmt: skip
        return {name: _sharpe(returns) for name, returns in named.items() if len(returns) > 1}

    def breakdown(self) -> dict[float, Breakdown]:
        """The scored predictions of each horizon, part by part."""
        return {h: self._broken_down(h) for h in self.dataset.horizons if len(self.scored(h))}

    def _broken_down(self, horizon: float) -> Breakdown:
        seen = self.scored(horizon)
        overlap = self.learner.overlap(horizon) * self.dataset.own

        def part(name: str, mask: BoolArray) -> Part | None:
            mine = seen.where(mask)
            return part_of(
                name, mine.chance, mine.up, mine.base, overlap=overlap, seed=self.settings.seed
            )

        years = 1970 + seen.decided_at.astype("datetime64[s]").astype("datetime64[Y]").astype(int)
        by_year = [part(str(year), years == year) for year in np.unique(years)]
        states = [part(name, mask) for name, mask in self._regimes(seen).items()]
        return Breakdown(
            tuple(p for p in by_year if p), tuple(p for p in states if p),
            float(seen.usual.mean()), part("inside", seen.usual), part("outside", ~seen.usual),
        )  # fmt: skip

    def _regimes(self, seen: KnownPredictions) -> dict[str, BoolArray]:
        """State of the market → the predictions made in it, told from their own features."""
        names = feature_names()
        trend, calm = (names.index(name) for name in _REGIME_FEATURES)
        rows = np.full((len(seen), 2), np.nan)
        for place, table in enumerate(self.dataset.own_tables):
            mine = seen.pair == place
            rows[mine] = table.matrix[seen.row[mine]][:, [trend, calm]]
        rising, wild = rows[:, 0] > 0, rows[:, 1] > 0
        return {
            "rising, calm": rising & ~wild, "rising, wild": rising & wild,
            "falling, calm": ~rising & ~wild, "falling, wild": ~rising & wild,
        }  # fmt: skip

    def _horizon_card(self, horizon: float, moment: int) -> HorizonCard:
        found = self.learner.calibration(horizon, moment)
        scores = self._scores(horizon, moment)
        skilled = scores is not None and scores.log_loss_skill > 0 and scores.auc > 0.5
        voices = dict(zip(self.learner.members, found.voices.tolist(), strict=True))
        return HorizonCard(
            horizon, float("nan"), found.platt, found.returns, scores, skilled, voices
        )

    def _scores(self, horizon: float, moment: int | None) -> Scores | None:
        seen = self.scored(horizon, moment)
        if len(seen) < FEWEST:
            return None
        return score(
            seen.chance, seen.up, seen.base, seed=self.settings.seed,
            overlap=self.learner.overlap(horizon) * len(self.dataset.own_tables),
        )  # fmt: skip

    def _core(self, place: int) -> FloatArray:
        pair = self.dataset.own_pairs[place]
        alone = pair.base == "BTC"
        return core_targets(
            self._trends[pair],
            self.dataset.own_tables[place].candles,
            None if alone else self._leader,
            None if alone else self._leading,
            self.settings.volatility_target,
        )

    def _sleeve(self, place: int) -> FloatArray:
        """The weight of the model's own entries, where they were licensed at the time."""
        table = self.dataset.own_tables[place]
        state = self._sleeve_rows(place, None)
        licensed = np.zeros(len(state), dtype=bool)
        for moment, paid in self._licensed:
            licensed[table.closed_at >= moment] = paid
        volatility = self._trends[self.dataset.own_pairs[place]].volatility
        weight = np.nan_to_num(allowed(volatility, self.settings.volatility_target))
        return np.where(licensed, state * weight, 0.0)

    def _sleeve_rows(self, place: int, moment: int | None) -> FloatArray:
        seen = self.scored(self._main, moment)
        seen = seen.where(seen.pair == place)
        rows = len(self.dataset.own_tables[place].closed_at)
        expected, chance = np.full(rows, np.nan), np.full(rows, np.nan)
        expected[seen.row], chance[seen.row] = seen.expected, seen.chance
        hours = SLEEVE_HOURS * 3600 // self.dataset.timeframe.seconds
        needed = ENTRY_MARGIN * self.settings.round_trip_cost
        threshold = self.settings.confidence_threshold
        return sleeve_state(expected, chance, needed, threshold, max(1, hours))

    def _sleeve_gains(self, moment: int) -> FloatArray:
        """Net gain of each of the model's own trades that were over at the moment."""
        gains = []
        for place, table in enumerate(self.dataset.own_tables):
            state = self._sleeve_rows(place, moment)
            enters = np.flatnonzero(np.diff(state, prepend=0.0) > 0) + 1
            leaves = np.flatnonzero(np.diff(state) < 0) + 2
            for enter, leave in zip(enters, leaves, strict=False):
                if leave < len(table.closed_at) and table.closed_at[leave] <= moment:
                    opens = table.candles.open
                    gains.append(opens[leave] / opens[enter] - 1 - self.settings.round_trip_cost)
        return np.array(gains)


def _short(histories: Mapping[Pair, Candles]) -> bool:
    """Whether the pairs alone cannot show what a model is worth."""
    return all(
        not len(c) or (c.closed_at - c.first_opened_at).days < ALONE_DAYS
        for c in histories.values()
    )


def _verdict(evidence: Evidence, settings: LearningSettings, pooled: bool) -> Licence:
    """The licence's verdict, and what it cannot know of how the test was made."""
    verdict = judge(evidence, seed=settings.seed)
    against = []
    if settings.round_trip_cost <= 0:
        against.append("tested without costs: no result says anything then")
    if pooled:
        against.append(
            f"less than {ALONE_DAYS} days of its own history: judged together with the other "
            "stored markets, which says nothing certain of this one"
        )
    if not against:
        return verdict
    return Licence(False, (*against, *(() if verdict.granted else verdict.reasons)))


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


def _kept(moment: int, dataset: Dataset) -> bool:
    return moment >= dataset.last_known - KEPT_DAYS * DAY


def with_base(cards: tuple[HorizonCard, ...], fit: Fit) -> tuple[HorizonCard, ...]:
    """The cards with the base rates of the rows just learned from."""
    return tuple(
        replace(card, base_rate=base) for card, base in zip(cards, fit.base_rates, strict=True)
    )


def _too_little(dataset: Dataset, settings: LearningSettings) -> ModelError:
    days = max((dataset.last_known - dataset.first_known) / DAY, 0.0) if dataset.first_known else 0
    forecasts = 2 * FEWEST * dataset.timeframe.seconds / DAY / max(dataset.own, 1)
    wanted = round(settings.least_days + 2 * settings.refit_days + forecasts)
    return ModelError(
        f"too little history to train on: {days:.0f} days of usable candles, about {wanted} are "
        "needed to train and to test",
        "Import more: python run_trader.py history import PATH",
    )


def _pooled(series: list[dict[int, float]], days: list[int]) -> FloatArray:
    """Equal shares of each pair; a pair that is not there yet holds cash."""
    return np.array([np.mean([s.get(day, 0.0) for s in series]) for day in days])


def _sharpe(returns: FloatArray) -> float:
    spread = float(returns.std(ddof=1))
    return float(returns.mean() / spread * np.sqrt(365)) if spread > 0 else 0.0
