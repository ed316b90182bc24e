"""The yardstick: buy once, keep."""

from __future__ import annotations

from trader.domain.signals import Action, Signal
from trader.strategies.registry import DUST, Situation, strategy, towards


@strategy("buy-and-hold", "buy the whole share once and keep it")
def buy_and_hold(situation: Situation) -> Signal:
    """Buys at the first candle; never rebalances."""
    settings, held = situation.settings, situation.held_weight
    if held <= DUST * settings.share:
        return towards(situation, 1.0, 1.0, ("nothing held yet: buy",), name="buy-and-hold")
    snapshot = situation.snapshot
    return Signal(
        snapshot.pair, snapshot.closed_at, Action.HOLD, 1.0, ("bought: keep",), "buy-and-hold",
        held,
    )  # fmt: skip
