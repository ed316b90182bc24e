"""A yardstick: always invested, with as much as the volatility target allows."""

from __future__ import annotations

import math

from trader.domain.signals import Signal
from trader.learning.trend import VOLATILITY_WARM_DAYS, trend_in
from trader.strategies.registry import Situation, strategy, towards, waiting


@strategy("vol-target-hold", "always hold what the volatility target allows")
def vol_target_hold(situation: Situation) -> Signal:
    """The weight is min(1, target / volatility)."""
    snapshot, target = situation.snapshot, situation.settings.volatility_target
    volatility = float(trend_in(snapshot.analysis).volatility[snapshot.index])
    if math.isnan(volatility):
        text = f"warming up: {VOLATILITY_WARM_DAYS} days of candles are needed for a volatility"
        return waiting(situation, text, name="vol-target-hold")
    weight = min(1.0, target / volatility) if volatility > 0 else 1.0
    text = f"volatility {volatility:.0%} a year: {weight:.0%} of full size for {target:.0%}"
    return towards(situation, weight, 1.0, (text,), name="vol-target-hold")
