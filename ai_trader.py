"""AITrader: Snapshot → Signal, by the chosen strategy and its model.

A model from the future of the candle, a damaged one, or one made for other features is never
used: the strategy goes on without it and the signal says why.
"""

from __future__ import annotations

from datetime import datetime

from trader.domain.errors import ModelError
from trader.domain.signals import Signal, Snapshot
from trader.learning.forecast import Forecaster, Outlook
from trader.ports import ModelSource
from trader.strategies.registry import Situation, StrategySettings, find_strategy


class AITrader:
    """Turns what is known of a pair into a signal.

    Args:
        strategy_name: a registered strategy, or `module:function`.
        models: hands out the model in use at a moment; None for strategies without one.
        settings: what the strategies need to know of the account.

    Raises:
        UsageError: if there is no such strategy.
    """

    def __init__(
        self,
        strategy_name: str,
        models: ModelSource | None = None,
        settings: StrategySettings = StrategySettings(),  # noqa: B008 - frozen
    ) -> None:
        self.strategy = find_strategy(strategy_name)
        self.settings = settings
        self._models = models

    def decide(
        self,
        snapshot: Snapshot,
        held_weight: float,
        now: datetime,
        outlook: Outlook | None = None,
    ) -> Signal:
        """What to do with the pair at this candle.

        Args:
            snapshot: what is known of the pair.
            held_weight: fraction of equity now in the pair.
            now: the moment of the decision; models that know more than this are not used.
            outlook: what the model says, where it was asked before.
        """
        if outlook is None:
            outlook = self.outlook(snapshot, now)
        situation = Situation(snapshot, held_weight, now, self.settings, outlook)
        return self.strategy.decide(situation)

    def outlook(self, snapshot: Snapshot, now: datetime) -> Outlook:
        """What the model in use says, or why it says nothing; never raises `ModelError`."""
        if not self.strategy.learns:
            return Outlook()
        if self._models is None:
            return Outlook(silence="no models here")
        try:
            model: Forecaster | None = self._models.model_for(
                snapshot.pair, snapshot.timeframe, now
            )
            if model is None:
                return Outlook(silence="no model is trained yet")
            if model.known_through > now:
                return Outlook(silence=f"model {model.id} knows the future of this candle")
            return model.outlook(snapshot)
        except ModelError as fault:
            return Outlook(silence=fault.message)
