"""Strategies by name. A strategy is a function: what is known → what to do.

```python
@strategy("always-half", "holds half of its share")
def always_half(situation: Situation) -> Signal:
    return towards(situation, 0.5, 1.0, ("half is enough",))
```
A strategy sees the snapshot only (candles up to now), so it cannot look ahead.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import TypeAlias

from trader.domain.errors import TraderError, UsageError
from trader.domain.signals import Action, Signal, Snapshot
from trader.extensions import failure, load_part
from trader.learning.forecast import Outlook

DUST = 0.002


@dataclass(frozen=True, slots=True)
class StrategySettings:
    """What the strategies need to know of the account and its owner.

    Attributes:
        share: fraction of equity that one pair may use, 1 / number of pairs.
        volatility_target: fraction a year that a position may swing (0.4 is 40 %).
        rebalance_band: a position is left alone while its weight is nearer to the target than
            this fraction of its share.
        confidence_threshold: probability below which the model buys nothing of its own.
        maker_fee: fraction of the cost (0.004 is 40 basis points).
        taker_fee: fraction of the cost.
        slippage: fraction of the price lost in a market order.
    """

    share: float = 1.0
    volatility_target: float = 0.25
    rebalance_band: float = 0.05
    confidence_threshold: float = 0.55
    maker_fee: float = 0.0040
    taker_fee: float = 0.0080
    slippage: float = 0.0005

    @property
    def round_trip_cost(self) -> float:
        """Fraction that a market buy and a later market sale cost together."""
        return 2 * (self.taker_fee + self.slippage)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a strategy may look at.

    Attributes:
        held_weight: fraction of equity now in the pair.
        outlook: what the model says; silent for strategies that use none.
    """

    snapshot: Snapshot
    held_weight: float
    now: datetime
    settings: StrategySettings = StrategySettings()
    outlook: Outlook = field(default_factory=Outlook)


Strategy: TypeAlias = Callable[[Situation], Signal]


@dataclass(frozen=True, slots=True)
class StrategyEntry:
    """A registered strategy; `learns` says that it wants a model's outlook."""

    name: str
    summary: str
    learns: bool
    decide: Strategy


STRATEGIES: dict[str, StrategyEntry] = {}
_HOMES = ("trend", "ensemble", "buy_and_hold", "sma_cross", "vol_target_hold")


def strategy(name: str, summary: str, *, learns: bool = False) -> Callable[[Strategy], Strategy]:
    """Register a strategy under the name users write."""

    def enrol(decide: Strategy) -> Strategy:
        STRATEGIES[name] = StrategyEntry(name, summary, learns, decide)
        return decide

    return enrol


def find_strategy(name: str) -> StrategyEntry:
    """The strategy of that name, or of `module:function`.

    Raises:
        UsageError: if there is none; names the nearest.
    """
    if ":" in name:
        return _from_module(name)
    known = all_strategies()
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
        raise UsageError(f"strategy '{name}' is not known", hint)
    return known[name]


def all_strategies() -> dict[str, StrategyEntry]:
    """Every strategy that comes with the program."""
    for home in _HOMES:
        importlib.import_module(f"trader.strategies.{home}")
    return STRATEGIES


def _from_module(name: str) -> StrategyEntry:
    decide = load_part("STRATEGY", name, "a function (situation) -> Signal")
    if not callable(decide):
        raise UsageError(
            f"STRATEGY={name} is {type(decide).__name__}, not a function",
            "Wanted: def name(situation: Situation) -> Signal.",
        )
    if isinstance(decide, type):
        decide = decide()
    learns = bool(getattr(decide, "learns", False))
    return StrategyEntry(name, f"from {name.partition(':')[0]}", learns, _held_to(name, decide))


def _held_to(name: str, decide: Strategy) -> Strategy:
    """A strategy of the user's own, held to giving a signal."""

    def decided(situation: Situation) -> Signal:
        try:
            signal = decide(situation)
        except TraderError:
            raise
        except Exception as fault:
            raise failure("STRATEGY", name, fault) from fault
        if not isinstance(signal, Signal):
            raise UsageError(
                f"STRATEGY={name} returned {type(signal).__name__}, not a Signal",
                "End every path of it with: return towards(...) or return waiting(...).",
            )
        return signal

    return decided


def towards(
    situation: Situation,
    weight: float,
    confidence: float,
    reasons: tuple[str, ...],
    *,
    name: str,
    model_id: str = "",
    probability: float | None = None,
) -> Signal:
    """A signal that brings the pair towards a weight, leaving small differences alone.

    Args:
        situation: what is known.
        weight: fraction of the pair's own share that is wanted, in [0, 1].
        confidence: in [0, 1].
        reasons: plain words, the most important first.
        name: the strategy's.
        model_id: the model that spoke, if one did.
        probability: the model's, where its own forecast is what is followed.
    """
    settings, held = situation.settings, situation.held_weight
    target = min(max(weight, 0.0), 1.0) * settings.share
    band = settings.rebalance_band * settings.share
    action = Action.HOLD
    if target == 0.0 and held > DUST * settings.share:
        action = Action.SELL
    elif abs(target - held) > band:
        action = Action.BUY if target > held else Action.SELL
    elif target > 0.0:
        reasons = (*reasons, f"held {held:.1%}, wanted {target:.1%}: inside the rebalance band")
    snapshot = situation.snapshot
    return Signal(
        snapshot.pair, snapshot.closed_at, action, min(max(confidence, 0.0), 1.0), reasons, name,
        target, model_id, probability,
    )  # fmt: skip


def waiting(situation: Situation, reason: str, *, name: str) -> Signal:
    """Do nothing, and say why; what is held stays."""
    snapshot = situation.snapshot
    return Signal(
        snapshot.pair, snapshot.closed_at, Action.HOLD, 0.0, (reason,), name,
        situation.held_weight,
    )  # fmt: skip
