"""Indicators one candle at a time: the cost of a new candle does not depend on the history.

A stream starts from a history and is then given candles. It walks the very graph that `compute`
evaluates (`graph.py`), so its values are those of the batch, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from trader.domain.candles import Candles, FloatArray
from trader.indicators.graph import Input, Item, Node, Plain
from trader.indicators.plan import Plan
from trader.indicators.registry import COLUMNS, INDICATORS, Indicator, inputs_of


class IndicatorStream:
    """The state of many columns at one candle.

    Args:
        candles: the history to start from; may be short or empty.
        entries: name → indicator or pattern; all indicators if None.

    Attributes:
        names: the columns, in the order of the values.
        history: the columns over the given candles.
    """

    def __init__(self, candles: Candles, entries: Mapping[str, Indicator] | None = None) -> None:
        chosen = INDICATORS if entries is None else entries
        self.names = tuple(chosen)
        plan = Plan({name: entry.node() for name, entry in chosen.items()})
        steps: dict[str, Callable[..., Any]] = {}

        def remember(slot: int, arguments: list[Any]) -> None:
            op = plan.order[slot].op
            if not isinstance(op, Plain | Input | Item):
                steps[f"f{slot}"] = op.follow(*arguments)

        self.history: dict[str, FloatArray] = plan.run(inputs_of(candles), remember)
        self._step = _compiled(plan, steps)

    def push(
        self, opened_at: float, open_: float, high: float, low: float, close: float,
        volume: float, trades: float = 0.0,
    ) -> tuple[float, ...]:  # fmt: skip
        """Take the next closed candle; the values of `names` at it, NaN while warming up."""
        values: tuple[float, ...] = self._step(
            float(opened_at), float(open_), float(high), float(low), float(close), float(volume),
            float(trades),
        )  # fmt: skip
        return values


def _compiled(plan: Plan, steps: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The walk over the graph as one Python function.

    Interpreting the graph node by node would cost more than the arithmetic in it. The text is
    made of our own operations only: names of columns, numbers, and calls of what `steps` holds.
    """
    place = {id(node): slot for slot, node in enumerate(plan.order)}
    lines = [f"def step({', '.join(f'{name}_' for name in COLUMNS)}):"]
    for slot, node in enumerate(plan.order):
        lines.append(f"    v{slot} = {_text(node, slot, place)}")
    results = ", ".join(f"v{slot}" for slot in plan.slots.values())
    lines.append(f"    return ({results},)")
    space: dict[str, Any] = {"nan": math.nan, "inf": math.inf, "sqrt": math.sqrt, **steps}
    exec(compile("\n".join(lines), "<indicator stream>", "exec"), space)  # noqa: S102 - see above
    step: Callable[..., Any] = space["step"]
    return step


def _text(node: Node, slot: int, place: Mapping[int, int]) -> str:
    op = node.op
    words = [f"v{place[id(a)]}" if isinstance(a, Node) else repr(float(a)) for a in node.args]
    if isinstance(op, Input):
        return f"{op.name}_"
    if isinstance(op, Item):
        return f"{words[0]}[{op.index}]"
    if isinstance(op, Plain):
        return op.text.format(*words)
    return f"f{slot}({', '.join(words)})"
