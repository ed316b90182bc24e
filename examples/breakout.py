"""A new strategy: in on a new 20-day high, out on a new 10-day low.

    STRATEGY=examples.breakout:breakout

One function: what is known goes in, a signal with its reasons comes out. It sees candles up to
now only, so it cannot look ahead; sizing, stops, limits, costs, backtest and journal are the same
as for every other strategy.
Source: the entry and exit channels of the Turtle rules (Dennis and Eckhardt, 1983).
"""

from trader.domain.signals import Signal
from trader.learning.trend import candles_in
from trader.strategies.registry import Situation, towards, waiting

NAME = "breakout"
ENTRY_DAYS, EXIT_DAYS = 20, 10


def breakout(situation: Situation) -> Signal:
    """Hold the whole share from a new high to a new low."""
    snapshot = situation.snapshot
    candles = snapshot.analysis.candles[: snapshot.index + 1]
    entry = candles_in(ENTRY_DAYS, candles.timeframe)
    out = candles_in(EXIT_DAYS, candles.timeframe)
    if len(candles) <= entry:
        return waiting(situation, f"warming up: {len(candles)} of {entry + 1} candles", name=NAME)
    close = float(candles.close[-1])
    high = float(candles.high[-entry - 1 : -1].max())
    low = float(candles.low[-out - 1 : -1].min())
    held = situation.held_weight > 0
    stay = close >= low if held else close > high
    text = (
        f"close {close:,.6g}, high of {ENTRY_DAYS} days {high:,.6g}, low of {EXIT_DAYS} {low:,.6g}"
    )
    return towards(situation, 1.0 if stay else 0.0, 1.0, (text,), name=NAME)
