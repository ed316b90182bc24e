"""Evaluating formulas over whole histories: every part once, memory reused.

On long histories most of the time of plain numpy goes into touching fresh memory, so an operation
writes into an argument that nobody needs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from trader.domain.candles import FloatArray
from trader.indicators.graph import From, Input, Item, Node, Plain


def order_of(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots need, arguments before what uses them."""
    seen: set[int] = set()
    order: list[Node] = []
    waiting: list[tuple[Node, bool]] = [(node, False) for node in reversed(list(roots))]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting.extend((a, False) for a in reversed(node.args) if isinstance(a, Node))
    return order


class Plan:
    """The order in which named nodes are computed, made once and run often.

    Args:
        roots: name → node.

    Attributes:
        order: every node needed, arguments first; a node's place is its slot.
        slots: name → slot.
    """

    def __init__(self, roots: Mapping[str, Node]) -> None:
        self.order = order_of(roots.values())
        place = {id(node): slot for slot, node in enumerate(self.order)}
        self.slots = {name: place[id(node)] for name, node in roots.items()}
        self._start: list[Any] = [None] * len(self.order)
        self._arguments: list[list[int]] = []
        for node in self.order:
            self._arguments.append([self._slot(a, place) for a in node.args])
        self._release = self._last_uses()
        self._target = [self._overwritten(slot) for slot in range(len(self.order))]

    def _slot(self, argument: Any, place: Mapping[int, int]) -> int:
        if isinstance(argument, Node):
            return place[id(argument)]
        self._start.append(argument)
        return len(self._start) - 1

    def _last_uses(self) -> list[list[int]]:
        release: list[list[int]] = [[] for _ in self.order]
        seen = set(self.slots.values())
        for slot in reversed(range(len(self.order))):
            for argument in self._arguments[slot]:
                if argument < len(self.order) and argument not in seen:
                    seen.add(argument)
                    release[slot].append(argument)
        return release

    def _overwritten(self, slot: int) -> int | None:
        """The argument an operation may write its result into: fresh, and last used here."""
        if not isinstance(self.order[slot].op, Plain | From):
            return None
        for argument in self._release[slot]:
            if self.order[argument].op.fresh and self.order[argument].op.outputs == 1:
                return argument
        return None

    def run(
        self,
        inputs: Mapping[str, FloatArray],
        visit: Callable[[int, list[Any]], None] | None = None,
    ) -> dict[str, FloatArray]:
        """The arrays of the named nodes; a part is let go when nothing needs it any more.

        Args:
            inputs: column → array, all of one length.
            visit: is shown every slot with the arrays of its arguments (the stream starts so).
        """
        values = self._start.copy()
        for slot, node in enumerate(self.order):
            arguments = [values[a] for a in self._arguments[slot]]
            op = node.op
            if type(op) is Item:
                values[slot] = arguments[0][op.index]
            elif type(op) is Input:
                values[slot] = inputs[op.name]
            elif visit is None and (target := self._target[slot]) is not None:
                values[slot] = _computed_into(op, arguments, values[target])
            else:
                values[slot] = op.batch(*arguments)
            if visit is not None:
                visit(slot, arguments)
            for old in self._release[slot]:
                values[old] = None
        return {name: _as_float(values[slot]) for name, slot in self.slots.items()}


def _computed_into(op: Any, arguments: list[Any], target: Any) -> Any:
    if target.dtype != np.float64:
        return op.batch(*arguments)
    return op.batch(*arguments, out=target)


def _as_float(values: Any) -> FloatArray:
    result: FloatArray = np.asarray(values, dtype=np.float64)
    return result


_PLANS: dict[tuple[tuple[str, int], ...], Plan] = {}


def evaluate(roots: Mapping[str, Node], inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The arrays of these nodes over whole columns."""
    # Nodes live as long as the program, so their identity names them.
    key = tuple((name, id(node)) for name, node in roots.items())
    if key not in _PLANS:
        _PLANS[key] = Plan(roots)
    return _PLANS[key].run(inputs)
