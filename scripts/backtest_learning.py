"""A strategy that learns, in a backtest: its models, its forecasts, and what they were worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from config import Config
from trader import __version__
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import Purpose, Side
from trader.jobs import learning_settings
from trader.learning.calibration import FEWEST
from trader.learning.evaluation import Scores, score
from trader.learning.learner import Learner
from trader.learning.licence import Evidence, Licence, judge
from trader.learning.walkforward import WalkForwardModels
from trader.simulation.backtest import Prediction, Span
from trader.simulation.costs import Costs
from trader.simulation.runs import AccountRun, Execution


class TimedModels:
    """Walk-forward models, with the time they take to train counted apart.

    Args:
        histories: candles of each traded pair.
        config: how models are made.
        source: whose candles.
        span: the first moment that will be asked about, and the end.
        costs: what the models' own entries must beat.
        phase: counts the time spent inside.
        told: told what is being trained.
        companions: markets that are only learned from.
    """

    def __init__(
        self,
        histories: Mapping[Pair, Candles],
        config: Config,
        source: str,
        span: Span,
        costs: Costs,
        phase: Callable[[str], AbstractContextManager[None]],
        told: Callable[[str], None],
        companions: Mapping[Pair, Candles] | None = None,
    ) -> None:
        pair, candles = next(iter(histories.items()))
        rates = costs.rates(span.start.date(), pair.base)
        settings = learning_settings(
            model_type=config.model_type,
            window_days=config.training_window_days,
            taker_fee=float(rates.taker),
            confidence_threshold=config.confidence_threshold,
            days=max((c.closed_at - c.first_opened_at).days for c in histories.values()),
            slippage=float(costs.slippage),
        )
        self.walk = WalkForwardModels(
            histories, settings, source=source, first=span.start, code_version=__version__,
            companions=companions, progress=lambda _, what: told(what),
        )  # fmt: skip
        self._phase = phase
        self._timeframe = candles.timeframe

    def model_for(self, pair: Pair, timeframe: Timeframe, now: datetime) -> Any | None:
        """The model that would have been in use."""
        with self._phase("train"):
            return self.walk.model_for(pair, timeframe, now)

    @property
    def learner(self) -> Learner | None:
        """Who made the forecasts; None before the first question."""
        return None if self.walk.judging is None else self.walk.judging.learner


def predictions_of(models: TimedModels, span: Span, run: AccountRun) -> tuple[Prediction, ...]:
    """The main horizon's calibrated forecasts inside the span, oldest first."""
    learner = models.learner
    if learner is None:
        return ()
    dataset = learner.dataset
    horizon = max(dataset.horizons)
    made = learner.predictions[horizon]
    first, last = int(span.start.timestamp()), int(span.end.timestamp())
    taken = {pair: taking(run.executions, pair) for pair in dataset.own_pairs}
    found = []
    for place, row, chance in zip(
        made.column("pair").astype(int), made.column("row").astype(int),
        made.column("chance"), strict=True,
    ):  # fmt: skip
        labels, pair = dataset.labels[horizon][place], dataset.pairs[place]
        at = int(labels.decided_at[row])
        if not (first <= at < last and np.isfinite(chance)):
            continue
        valid = bool(labels.valid[row])
        known = int(labels.known_at[row]) if valid else at + labels.horizon_seconds
        found.append(
            Prediction(
                pair, _moment(at), float(chance), int(labels.up[row]) if valid else None,
                _moment(known), taken[pair](at),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda p: (p.time, p.pair)))


def scores_of(models: TimedModels, span: Span) -> Scores | None:
    """How good the main horizon's forecasts inside the span were; None if they are too few."""
    judging = models.walk.judging
    if judging is None:
        return None
    learner = judging.learner
    horizon = max(learner.dataset.horizons)
    seen = judging.scored(horizon)
    inside = (seen.decided_at >= span.start.timestamp()) & (seen.decided_at < span.end.timestamp())
    seen = seen.where(inside)
    if len(seen) < FEWEST:
        return None
    overlap = learner.overlap(horizon) * learner.dataset.own
    places = judging.places(horizon, seen)
    return score(seen.chance, seen.up, seen.base, overlap=overlap, places=places)


def licence_of(
    run: AccountRun,
    baselines: Mapping[str, AccountRun],
    scores: Scores | None,
    trials: int,
) -> Licence:
    """May what was traded here trade live? Judged on this very account.

    Args:
        run: the account of the strategy.
        baselines: those of the yardsticks.
        scores: of the forecasts.
        trials: variants tried to get here, this one included.
    """
    return judge(
        Evidence(
            run.daily_returns(), baselines["trend"].daily_returns(),
            baselines["buy_and_hold"].daily_returns(), len(run.trades), trials, scores,
        )
    )  # fmt: skip


def taking(executions: Iterable[Execution], pair: Pair) -> Callable[[int], bool]:
    """(close of a candle in Unix seconds) → whether a position was opened or held on it.

    What an order of that decision did counts to it, however much later it was filled: purchases
    wait for their price, and every order takes its time.
    """
    opened: set[float | None] = set()
    late: dict[float | None, Decimal] = {}
    moments, amounts, amount = [], [], Decimal(0)
    for execution in executions:
        fill = execution.fill
        if fill.pair != pair:
            continue
        decided = None if execution.decided_for is None else execution.decided_for.timestamp()
        if execution.purpose is Purpose.ENTRY:
            opened.add(decided)
        elif execution.purpose is Purpose.EXIT and decided != fill.filled_at.timestamp():
            late[decided] = late.get(decided, Decimal(0)) + fill.quantity
        amount += fill.quantity if fill.side is Side.BUY else -fill.quantity
        moments.append(fill.filled_at.timestamp())
        amounts.append(amount)
    times = np.array(moments)

    def taken(at: int) -> bool:
        place = int(times.searchsorted(at, side="right")) - 1
        held = amounts[place] if place >= 0 else Decimal(0)
        return at in opened or held > late.get(at, Decimal(0))

    return taken


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
