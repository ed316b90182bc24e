"""Evaluating formulas over whole histories: every part once, memory reused.

On long histories most of the time of plain numpy goes into touching fresh memory, so an operation
writes into an argument that nobody needs any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from trader.domain.candles import FloatArray
from trader.indicators.crew import Crew
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
        threads: int = 1,
    ) -> dict[str, FloatArray]:
        """The arrays of the named nodes; a part is let go when nothing needs it any more.

        Args:
            inputs: column → array, all of one length.
            visit: is shown every slot with the arrays of its arguments (the stream starts so).
            threads: how many may work at once; the results are the same bits.
        """
        values = self._start.copy()
        if threads > 1 and visit is None:
            self._run_together(values, inputs, threads)
            return self._named(values)
        for slot in range(len(self.order)):
            arguments = [values[a] for a in self._arguments[slot]]
            self._compute(slot, values, inputs, overwrite=visit is None)
            if visit is not None:
                visit(slot, arguments)
            for old in self._release[slot]:
                values[old] = None
        return self._named(values)

    def _named(self, values: list[Any]) -> dict[str, FloatArray]:
        return {name: _as_float(values[slot]) for name, slot in self.slots.items()}

    def _compute(
        self, slot: int, values: list[Any], inputs: Mapping[str, FloatArray], *, overwrite: bool
    ) -> None:
        arguments = [values[a] for a in self._arguments[slot]]
        op, target = self.order[slot].op, self._target[slot]
        if type(op) is Item:
            values[slot] = arguments[0][op.index]
        elif type(op) is Input:
            values[slot] = inputs[op.name]
        elif overwrite and target is not None:
            values[slot] = _computed_into(op, arguments, values[target])
        else:
            values[slot] = op.batch(*arguments)

    def _run_together(
        self, values: list[Any], inputs: Mapping[str, FloatArray], threads: int
    ) -> None:
        uses = [len(users) for users in self._users]
        for slot in self.slots.values():
            uses[slot] += 1

        def work(slot: int) -> None:
            self._compute(slot, values, inputs, overwrite=True)

        def let_go(slot: int) -> None:
            for argument in self._nodes_before(slot):
                uses[argument] -= 1
                if not uses[argument]:
                    values[argument] = None

        Crew(self._needs, work, let_go).run(threads)

    def _nodes_before(self, slot: int) -> set[int]:
        """The slots whose values an operation takes."""
        return {a for a in self._arguments[slot] if a < len(self.order)}

    @cached_property
    def _users(self) -> list[set[int]]:
        users: list[set[int]] = [set() for _ in self.order]
        for slot in range(len(self.order)):
            for argument in self._nodes_before(slot):
                users[argument].add(slot)
        return users

    @cached_property
    def _needs(self) -> list[frozenset[int]]:
        """What must be done before each slot: its arguments, and others that read its target."""
        needs = []
        for slot, target in enumerate(self._target):
            readers = set() if target is None else self._users[target] - {slot}
            needs.append(frozenset(self._nodes_before(slot) | readers))
        return needs


def _computed_into(op: Any, arguments: list[Any], target: Any) -> Any:
    if target.dtype != np.float64:
        return op.batch(*arguments)
    return op.batch(*arguments, out=target)


def _as_float(values: Any) -> FloatArray:
    result: FloatArray = np.asarray(values, dtype=np.float64)
    return result


_PLANS: dict[tuple[tuple[str, int], ...], Plan] = {}


LONG = 20_000
"""Candles from which on several threads are worth their trouble."""


def evaluate(
    roots: Mapping[str, Node], inputs: Mapping[str, FloatArray], threads: int = 1
) -> dict[str, FloatArray]:
    """The arrays of these nodes over whole columns; long ones by so many threads."""
    # Nodes live as long as the program, so their identity names them.
    key = tuple((name, id(node)) for name, node in roots.items())
    if key not in _PLANS:
        _PLANS[key] = Plan(roots)
    size = max((len(column) for column in inputs.values()), default=0)
    return _PLANS[key].run(inputs, threads=threads if size >= LONG else 1)
