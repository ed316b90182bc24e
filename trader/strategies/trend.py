"""The trend rule: in a rising market hold what its volatility allows, else hold cash.

weight = trend of the pair × trend of the leader (BTC) × min(1, volatility target / volatility)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trader.domain.candles import FloatArray
from trader.domain.signals import Signal, Snapshot
from trader.learning.trend import FAST_DAYS, WARM_DAYS, Trend, trend_in
from trader.strategies.registry import Situation, StrategySettings, strategy, towards, waiting

LEADER = "BTC"


@dataclass(frozen=True, slots=True)
class CoreView:
    """What the trend rule sees in one candle.

    Attributes:
        weight: fraction of the pair's share that is wanted; NaN while warming up.
        agreement: how much of the rule says "in", in [0, 1].
        reasons: plain words.
    """

    weight: float
    agreement: float
    reasons: tuple[str, ...]


def core_view(snapshot: Snapshot, settings: StrategySettings) -> CoreView:
    """The trend rule at one candle, from the snapshot alone."""
    trend, row = trend_in(snapshot.analysis), snapshot.index
    strength, volatility = float(trend.strength[row]), float(trend.volatility[row])
    if math.isnan(strength) or math.isnan(volatility):
        return CoreView(math.nan, 0.0, (_warming(snapshot),))
    regime, regime_text = _regime(snapshot, strength)
    scale = min(1.0, settings.volatility_target / volatility) if volatility > 0 else 1.0
    reasons = [_trend_text(snapshot, trend, row), *regime_text]
    if strength * regime > 0:
        reasons.append(_volatility_text(volatility, scale, settings.volatility_target))
    up = strength * regime
    return CoreView(up * scale, up if up > 0 else 1 - strength, tuple(reasons))


def core_weights(snapshot: Snapshot, settings: StrategySettings, rows: int) -> FloatArray:
    """The rule's weights of the newest `rows` candles, this one last; NaN while warming up.

    The leader's trend is taken at the newest leader candle closed at each row's close.
    """
    trend, stop = trend_in(snapshot.analysis), snapshot.index + 1
    start = max(0, stop - rows)
    strength, volatility = trend.strength[start:stop], trend.volatility[start:stop]
    with np.errstate(divide="ignore"):
        scale = np.minimum(1.0, settings.volatility_target / volatility)
    leader = snapshot.leader
    if snapshot.pair.base == LEADER or leader is None:
        return np.asarray(strength * strength * scale)
    closed = snapshot.analysis.candles.closed_at_seconds()[start:stop]
    leader_closed = leader.analysis.candles.closed_at_seconds()[: leader.index + 1]
    at = np.searchsorted(leader_closed, closed, side="right") - 1
    regime = np.where(at >= 0, trend_in(leader.analysis).strength[np.maximum(at, 0)], np.nan)
    return np.asarray(strength * np.where(np.isnan(regime), strength, regime) * scale)


@strategy("trend", "in a rising market hold what its volatility allows, else hold cash")
def trend_rule(situation: Situation) -> Signal:
    """The core rule alone."""
    core = core_view(situation.snapshot, situation.settings)
    if math.isnan(core.weight):
        return waiting(situation, core.reasons[0], name="trend")
    return towards(situation, core.weight, core.agreement, core.reasons, name="trend")


def _regime(snapshot: Snapshot, own: float) -> tuple[float, list[str]]:
    if snapshot.pair.base == LEADER:
        return own, []
    leader = snapshot.leader
    if leader is None:
        return own, [f"no {LEADER} candles: its trend is not known, the pair's own counts twice"]
    regime = float(trend_in(leader.analysis).strength[leader.index])
    if math.isnan(regime):
        return own, [f"{LEADER} is still warming up: the pair's own trend counts twice"]
    if regime == 0:
        return 0.0, [f"{LEADER} is falling on every scale: stay out"]
    return regime, [f"{LEADER} trend {regime:.0%} up"]


def _trend_text(snapshot: Snapshot, trend: Trend, row: int) -> str:
    warm = [(d, v) for d, v in zip(FAST_DAYS, trend.rising[row], strict=True) if v == v]
    up = [str(days) for days, value in warm if value == 1.0]
    text = f"{len(up)} of {len(warm)} trends up"
    text += f" ({', '.join(up)} days)" if up else f" ({snapshot.pair.base} is falling)"
    if len(warm) < len(FAST_DAYS):
        text += f"; {len(FAST_DAYS) - len(warm)} longer still warming up"
    return text


def _volatility_text(volatility: float, scale: float, target: float) -> str:
    if scale >= 1.0:
        return f"volatility {volatility:.0%} a year, below the target of {target:.0%}: full size"
    return f"volatility {volatility:.0%} a year: {scale:.0%} of full size for {target:.0%}"


def _warming(snapshot: Snapshot) -> str:
    candles = snapshot.analysis.candles
    seen = (snapshot.index + 1) * candles.timeframe.seconds / 86400
    return f"warming up: {seen:.1f} of {WARM_DAYS} days of candles seen"
