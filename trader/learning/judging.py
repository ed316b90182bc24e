"""What a walk forward was worth, at any moment from what was known then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trader.domain.candles import Candles, FloatArray
from trader.domain.markets import Pair
from trader.learning.building import build_model
from trader.learning.calibration import FEWEST
from trader.learning.chance import Places
from trader.learning.evaluation import Part, Scores, part_of, score, student_95
from trader.learning.features import feature_names
from trader.learning.labels import BoolArray
from trader.learning.learner import DAY, KnownPredictions, Learner
from trader.learning.licence import Evidence, Licence
from trader.learning.model import HorizonCard, Origin, TradingModel
from trader.learning.papertrade import (
    ENTRY_MARGIN,
    SLEEVE_HOURS,
    allowed,
    core_targets,
    daily,
    sleeve_state,
    walk,
)
from trader.learning.trend import Trend, trend_of
from trader.performance import sharpe

SLEEVE_TRADES = 15
"""Own trades that must be over before it is said whether they pay; simultaneous ones are one."""
_REGIME_FEATURES = ("ema_gap_50_200_per_sigma", "volatility_against_336")
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
            paid = bool(gains.mean() > student_95(len(gains) - 1) * error)
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
            # A trade of before the test says nothing of the model: counted as the days are.
            trades += int((table.closed_at[walked.outs] >= start).sum())
            ours.append(daily(walked.returns, table.candles))
            core.append(daily(walk(base, table.candles, *side).returns, table.candles))
            held = np.ones(len(base))
            hold.append(daily(walk(held, table.candles, *side).returns, table.candles))
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
        # An account that never left cash has no ratio: shown as 0.
        return {n: float(np.nan_to_num(sharpe(r))) for n, r in named.items() if len(r) > 1}

    def breakdown(self) -> dict[float, Breakdown]:
        """The scored predictions of each horizon, part by part."""
        return {h: self._broken_down(h) for h in self.dataset.horizons if len(self.scored(h))}

    def _broken_down(self, horizon: float) -> Breakdown:
        seen = self.scored(horizon)
        overlap = self.learner.overlap(horizon) * self.dataset.own
        places = self.places(horizon, seen)

        def part(name: str, mask: BoolArray) -> Part | None:
            mine = seen.where(mask)
            return part_of(
                name, mine.chance, mine.up, mine.base, overlap=overlap,
                seed=self.settings.seed, places=places.where(mask),
            )  # fmt: skip

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
            places=self.places(horizon, seen),
        )  # fmt: skip

    def places(self, horizon: float, seen: KnownPredictions) -> Places:
        """Where predictions of a horizon lie in time, for the band of their calibration error."""
        candle = seen.decided_at // self.dataset.timeframe.seconds
        return Places(candle, seen.pair, self.learner.overlap(horizon))

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
        """Net gain of each group of the model's own trades that were over at the moment.

        Pairs that are entered together move together, and say once what one of them says: trades
        that overlap in time are one group and count once, with their mean.
        """
        trades = []
        for place, table in enumerate(self.dataset.own_tables):
            state, closed, opens = self._sleeve_rows(place, moment), table.closed_at, table.candles
            enters = np.flatnonzero(np.diff(state, prepend=0.0) > 0) + 1
            leaves = np.flatnonzero(np.diff(state) < 0) + 2
            for enter, leave in zip(enters.tolist(), leaves.tolist(), strict=False):
                if leave < len(closed) and closed[leave] <= moment:
                    gain = opens.open[leave] / opens.open[enter] - 1
                    begins, ends = int(closed[enter]), int(closed[leave])
                    trades.append((begins, ends, float(gain) - self.settings.round_trip_cost))
        return np.array([np.mean(group) for group in _overlapping(trades)])


def refit(
    judging: Judging, origin: Origin, trained_at: datetime, *, keep: bool = True
) -> TradingModel | None:
    """Make the walk's next refit, and the model that would have been in use from then on.

    Args:
        judging: of the walk.
        origin: of candles and program.
        trained_at: what the model's card says.
        keep: whether the model is wanted; without, only the predictions are made.

    Returns:
        The model; None where too little is known, or it is not wanted.
    """
    learner = judging.learner
    moment = learner.next_refit()
    if moment is None:
        return None
    licensed = judging.sleeve_licensed(moment)
    cards = judging.cards(moment) if keep else ()
    fit = learner.step()
    if fit is None or not keep:
        return None
    return build_model(
        learner, fit, origin, horizons=cards, licence=FOLD_LICENCE, sleeve_licensed=licensed,
        trained_at=trained_at,
    )  # fmt: skip


def _overlapping(trades: list[tuple[int, int, float]]) -> list[list[float]]:
    """The gains of trades (begin, end, gain), those that overlap in time together.

    >>> _overlapping([(0, 5, 0.1), (9, 12, 0.3), (4, 8, 0.2)])
    [[0.1, 0.2], [0.3]]
    """
    groups: list[list[float]] = []
    until = 0
    for begin, end, gain in sorted(trades):
        if not groups or begin >= until:
            groups.append([])
        groups[-1].append(gain)
        until = max(until, end)
    return groups


def _pooled(series: list[dict[int, float]], days: list[int]) -> FloatArray:
    """Equal shares of each pair; a pair that is not there yet holds cash."""
    return np.array([np.mean([s.get(day, 0.0) for s in series]) for day in days])
