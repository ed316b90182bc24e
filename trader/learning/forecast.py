"""What a model says about one candle, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from trader.domain.candles import FloatArray
from trader.domain.events import StatedChance, VoteExplained
from trader.domain.signals import Snapshot
from trader.learning.drift import DriftReference


@dataclass(frozen=True, slots=True)
class Contribution:
    """How far one feature moved the vote: probability; `text` is in plain words."""

    feature: str
    text: str
    moved: float


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """One horizon's forecast at one candle.

    Attributes:
        horizon_hours: how far it looks.
        probability: calibrated chance that the price is higher after the horizon, in (0, 1).
        base_rate: how often that was so in the training data.
        expected_return: gross, as a fraction (0.01 is one percent), before any cost.
        recent: expected returns of the latest candles, oldest first, this one last; NaN where
            the features were not warm.
        recent_probability: calibrated chances of the same candles.
        explain: the strongest features, strongest first; worked out when asked.
        account_for: the same as exact sums, for the journal; None from a model that cannot.
    """

    horizon_hours: float
    probability: float
    base_rate: float
    expected_return: float
    recent: FloatArray
    recent_probability: FloatArray
    explain: Callable[[], tuple[Contribution, ...]] = tuple
    account_for: Callable[[], VoteExplained | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Outlook:
    """All that the model in use says now, or why there is none.

    Attributes:
        forecasts: horizon in hours → forecast.
        model_id: the model that spoke, empty if none.
        silence: why the model does not act, in plain words; empty when it may. There may be
            forecasts to look at all the same.
        main_horizon: the horizon that decides, in hours.
        sleeve_licensed: the model's own entries have paid out of sample.
        skilled: horizons whose forecasts beat the base rate out of sample.
        abstains: the candle is outside what the model learned from, or its features are warming
            up: its forecasts are not meant.
        buckets: tells the tenths of the feature values; worked out when asked.
        strange: share of features outside their training range.
        reference: the training values of the features; None from an older model.
        of_a_rise: its chances are those of a rise: only such are held against what came.
    """

    forecasts: dict[float, Forecast] = field(default_factory=dict)
    model_id: str = ""
    silence: str = ""
    main_horizon: float = 24.0
    sleeve_licensed: bool = False
    skilled: frozenset[float] = frozenset()
    abstains: bool = False
    buckets: Callable[[], str] = str
    strange: float = 0.0
    reference: DriftReference | None = None
    of_a_rise: bool = True

    @property
    def main(self) -> Forecast | None:
        """The forecast that decides; None while the model is silent."""
        return None if self.silence else self.forecasts.get(self.main_horizon)

    @property
    def chances(self) -> tuple[StatedChance, ...]:
        """Chances of a rise, shortest horizon first; nothing while the model abstains."""
        if self.abstains or not self.of_a_rise:
            return ()
        return tuple(
            StatedChance(hours, f.probability, f.base_rate, f.expected_return)
            for hours, f in sorted(self.forecasts.items())
        )

    def account_for_main(self) -> VoteExplained | None:
        """Where the deciding forecast comes from, silent or not; None if there is none."""
        main = self.forecasts.get(self.main_horizon)
        return None if main is None else main.account_for()


class Forecaster(Protocol):
    """A model that may be asked: what a `ModelSource` hands out."""

    @property
    def id(self) -> str:
        """Its name in the journal and on disk."""
        ...

    @property
    def known_through(self) -> datetime:
        """The newest moment whose price it has learned from."""
        ...

    def outlook(self, snapshot: Snapshot) -> Outlook:
        """What it says at that candle.

        Raises:
            ModelError: if it was made for other features than this program computes.
        """
        ...
