"""The default: the trend rule as the base, the models as timing and as entries of their own.

1. Base: the trend rule's weight.
2. Timing: a change the base wants waits up to four days while the short forecast expects
   clearly better prices. Only with candles that make up six hours: `untimed` says where not.
3. Sleeve: when the main forecast beats the costs by a margin, and such entries have paid out of
   sample before, the larger of the two weights is held until the forecast turns negative.

Without a model that may speak it is the trend rule, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from trader.domain.signals import Signal, Snapshot
from trader.domain.timeframes import Timeframe
from trader.learning.forecast import Forecast, Outlook
from trader.learning.papertrade import ENTRY_MARGIN
from trader.learning.trend import candles_in, trend_in
from trader.strategies.registry import (
    Situation,
    StrategySettings,
    strategy,
    towards,
    waiting,
)
from trader.strategies.trend import CoreView, core_view, core_weights

LEAVE_BELOW = 0.0
TIMING_HOURS = 6.0
TIMING_EDGE = 0.0020
LONGEST_WAIT_DAYS = 4
NAME = "ensemble"


@strategy(NAME, "the trend rule, timed and extended by the models", learns=True)
def ensemble(situation: Situation) -> Signal:
    """The trend rule and the models together."""
    core = core_view(situation.snapshot, situation.settings)
    outlook = situation.outlook
    if math.isnan(core.weight):
        return waiting(situation, core.reasons[0], name=NAME)
    if outlook.main is None:
        why = outlook.silence or "no model yet"
        reasons = (*core.reasons, f"the trend rule alone: {why}")
        return towards(
            situation, core.weight, core.agreement, reasons, name=NAME, model_id=outlook.model_id
        )
    sleeve, sleeve_text = _sleeve(situation, outlook.main)
    if sleeve > core.weight:
        return _by_model(situation, core, outlook.main, sleeve, sleeve_text)
    timing = untimed(situation.snapshot.timeframe, outlook.forecasts)
    reasons = (*core.reasons, sleeve_text, *([timing] if timing else []))
    patience = _patience(situation, core, outlook)
    if patience:
        reasons = (patience, *reasons)
        weight = situation.held_weight / situation.settings.share
        return towards(
            situation, weight, core.agreement, reasons, name=NAME, model_id=outlook.model_id
        )
    return towards(
        situation, core.weight, core.agreement, reasons, name=NAME, model_id=outlook.model_id
    )


def _by_model(
    situation: Situation, core: CoreView, main: Forecast, sleeve: float, text: str
) -> Signal:
    named = tuple(c.text for c in main.explain()[:3])
    return towards(
        situation, sleeve, main.probability, (text, *named, *core.reasons), name=NAME,
        model_id=situation.outlook.model_id, probability=main.probability,
    )  # fmt: skip


def _sleeve(situation: Situation, main: Forecast) -> tuple[float, str]:
    """The weight of the model's own entry (0 if none) and the sentence about it."""
    settings = situation.settings
    needed = ENTRY_MARGIN * settings.round_trip_cost
    said = (
        f"forecast over {main.horizon_hours:g} h: {main.expected_return:+.2%}, "
        f"chance of a rise {main.probability:.1%}"
    )
    if not in_sleeve(main, needed, settings.confidence_threshold):
        cost = settings.round_trip_cost
        return 0.0, f"no forecast beats the costs ({said}; a round trip costs {cost:.2%})"
    if not situation.outlook.sleeve_licensed:
        return 0.0, f"{said}: not followed, its own entries have not paid out of sample"
    return _allowed(situation.snapshot, settings), f"{said}, above the costs: enter"


def in_sleeve(main: Forecast, needed: float, threshold: float) -> bool:
    """Whether the model's own entry is on: entered above `needed`, left below zero.

    Read from the recent forecasts alone, so that a restart changes nothing.
    """
    entered = np.flatnonzero((main.recent > needed) & (main.recent_probability >= threshold))
    return len(entered) > 0 and not bool((main.recent[entered[-1] :] < LEAVE_BELOW).any())


def untimed(timeframe: Timeframe, horizons: Iterable[float]) -> str:
    """That no change is timed, and why; empty where the forecast that times them is there.

    Args:
        timeframe: of the candles that are decided on.
        horizons: hours over which there are forecasts.
    """
    hours = sorted(horizons)
    if TIMING_HOURS in hours:
        return ""
    return (
        f"timing is off: it asks for a forecast over {TIMING_HOURS:g} h, and with {timeframe} "
        f"candles there are only those over {' and '.join(f'{h:g} h' for h in hours)}"
    )


def _patience(situation: Situation, core: CoreView, outlook: Outlook) -> str:
    """Why the change the base wants should wait a little; empty if it should not."""
    settings, held = situation.settings, situation.held_weight
    wanted = core.weight * settings.share - held
    short = outlook.forecasts.get(TIMING_HOURS)
    if short is None or TIMING_HOURS not in outlook.skilled:
        return ""
    if abs(wanted) <= settings.rebalance_band * settings.share:
        return ""
    if not (
        short.expected_return < -TIMING_EDGE if wanted > 0 else short.expected_return > TIMING_EDGE
    ):
        return ""
    longest = candles_in(LONGEST_WAIT_DAYS, situation.snapshot.timeframe)
    weights = core_weights(situation.snapshot, settings, longest) * settings.share
    since = np.abs(weights - held) > settings.rebalance_band * settings.share
    if bool(since.all()):
        return ""
    verb = "buying" if wanted > 0 else "selling"
    return (
        f"{verb} waits: {short.expected_return:+.2%} is expected over the next {TIMING_HOURS:g} h"
    )


def _allowed(snapshot: Snapshot, settings: StrategySettings) -> float:
    volatility = float(trend_in(snapshot.analysis).volatility[snapshot.index])
    return min(1.0, settings.volatility_target / volatility) if volatility > 0 else 1.0
