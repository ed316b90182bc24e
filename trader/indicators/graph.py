"""One formula, two ways to compute it: over a whole history, or candle by candle.

An indicator is an ordinary function of arrays. Called with `Node`s instead, the same function
writes its formula down as a graph; equal parts of different indicators become one node. The graph
is then evaluated over arrays (`evaluate`) or carried forward one candle at a time (`stream.py`).
Every operation here has both forms, and both give the same bits.

Rule for authors: what enters a `ta.…` call must be finite once it is warm, because TA-Lib carries
a NaN on for ever. Divide with `ratio`, which says what a zero denominator gives.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from trader.domain.candles import FloatArray
from trader.indicators.talib_core import InsufficientHistory, core

Step: TypeAlias = Callable[..., Any]
Value: TypeAlias = Any
"""An array or a `Node`: indicator functions take and return either."""


class Op(Protocol):
    """An operation that remembers the past."""

    outputs: int

    def batch(self, *arrays: FloatArray) -> Any:
        """The values over a whole history; a tuple of arrays if there are several outputs."""
        ...

    def follow(self, *history: FloatArray) -> Step:
        """A function that takes the next inputs and gives the next output(s)."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """An operation on one candle alone: `text` is the same thing in Python's own floats."""

    name: str
    text: str
    batch: Callable[..., FloatArray]
    outputs: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Input:
    """A column of the candles."""

    name: str
    outputs: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One of several outputs."""

    index: int
    outputs: ClassVar[int] = 1


class Node:
    """A part of a formula: an operation and what it is applied to."""

    __array_ufunc__ = None  # arrays must not try to swallow nodes
    __slots__ = ("args", "op")
    _known: ClassVar[dict[Any, Node]] = {}

    def __init__(self, op: Any, args: tuple[Any, ...]) -> None:
        self.op = op
        self.args = args

    @classmethod
    def of(cls, op: Any, *args: Any) -> Node:
        """The one node of this operation on these arguments."""
        key = (op, *(id(a) if isinstance(a, Node) else ("number", float(a)) for a in args))
        if key not in cls._known:
            cls._known[key] = cls(op, args)
        return cls._known[key]

    def __add__(self, other: Value) -> Node:
        return Node.of(_ADD, self, other)

    def __radd__(self, other: Value) -> Node:
        return Node.of(_ADD, other, self)

    def __sub__(self, other: Value) -> Node:
        return Node.of(_SUB, self, other)

    def __rsub__(self, other: Value) -> Node:
        return Node.of(_SUB, other, self)

    def __mul__(self, other: Value) -> Node:
        return Node.of(_MUL, self, other)

    def __rmul__(self, other: Value) -> Node:
        return Node.of(_MUL, other, self)

    def __neg__(self) -> Node:
        return Node.of(_SUB, 0.0, self)

    def __truediv__(self, other: Value) -> Node:
        if isinstance(other, Node) or other == 0:
            raise TypeError("divide two series with ratio(a, b, otherwise): b may be zero")
        return Node.of(_DIV, self, other)

    def __bool__(self) -> bool:
        raise TypeError("a series has no truth value; use above(a, b) and where(…)")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a formula cannot become an array; use the operations of graph.py")


def _ratio(a: Any, b: Any, otherwise: Any) -> FloatArray:
    result = np.full(np.shape(a) or np.shape(b), float(otherwise))
    np.divide(a, b, out=result, where=np.not_equal(b, 0.0))
    return result


def _above(a: Any, b: Any) -> FloatArray:
    result: FloatArray = np.greater(a, b).astype(np.float64)
    result[np.isnan(a) | np.isnan(b)] = np.nan
    return result


def _where(condition: Any, a: Any, b: Any) -> FloatArray:
    result: FloatArray = np.where(condition != 0, a, b).astype(np.float64)
    result[np.isnan(condition)] = np.nan
    return result


def _root(x: Any) -> FloatArray:
    result: FloatArray = np.sqrt(np.maximum(x, 0.0))
    return result


def _known(x: Any, otherwise: Any) -> FloatArray:
    result: FloatArray = np.where(np.isnan(x), otherwise, x)
    return result


_NAN_OR = "({0} if {0} != {0} or {0} %s {1} else {1})"
_ADD = Plain("add", "({0} + {1})", np.add)
_SUB = Plain("sub", "({0} - {1})", np.subtract)
_MUL = Plain("mul", "({0} * {1})", np.multiply)
_DIV = Plain("div", "({0} / {1})", np.divide)
_RATIO = Plain("ratio", "({0} / {1} if {1} else {2})", _ratio)
_ABS = Plain("abs", "abs({0})", np.abs)
_MAX = Plain("max", _NAN_OR % ">=", np.maximum)
_MIN = Plain("min", _NAN_OR % "<=", np.minimum)
_ABOVE = Plain("above", "(nan if {0} != {0} or {1} != {1} else 1.0 if {0} > {1} else 0.0)", _above)
_WHERE = Plain("where", "(nan if {0} != {0} else {1} if {0} else {2})", _where)
_KNOWN = Plain("known", "({1} if {0} != {0} else {0})", _known)
_ROOT = Plain("root", "sqrt(0.0 if {0} < 0.0 else {0})", _root)


def _apply(op: Any, *args: Value) -> Any:
    if any(isinstance(a, Node) for a in args):
        node = Node.of(op, *args)
        if op.outputs == 1:
            return node
        return tuple(Node.of(Item(i), node) for i in range(op.outputs))
    return op.batch(*args)


def ratio(a: Value, b: Value, otherwise: float = math.nan) -> Value:
    """`a / b`, and `otherwise` where b is zero."""
    return _apply(_RATIO, a, b, otherwise)


def magnitude(x: Value) -> Value:
    """Absolute value."""
    return _apply(_ABS, x)


def larger(a: Value, b: Value) -> Value:
    """The larger of two; NaN if either is."""
    return _apply(_MAX, a, b)


def smaller(a: Value, b: Value) -> Value:
    """The smaller of two; NaN if either is."""
    return _apply(_MIN, a, b)


def clipped(x: Value, low: float, high: float) -> Value:
    """Held within [low, high]."""
    return larger(smaller(x, high), low)


def above(a: Value, b: Value) -> Value:
    """1 where a > b, 0 where not, NaN where either is NaN."""
    return _apply(_ABOVE, a, b)


def where(condition: Value, a: Value, b: Value) -> Value:
    """`a` where the condition is not zero, else `b`; NaN where the condition is NaN."""
    return _apply(_WHERE, condition, a, b)


def known(x: Value, otherwise: float) -> Value:
    """`x`, and `otherwise` where it is NaN."""
    return _apply(_KNOWN, x, otherwise)


def sign(x: Value) -> Value:
    """1, 0 or -1."""
    return above(x, 0.0) - above(0.0, x)


def root(x: Value) -> Value:
    """Square root; what rounding left below zero counts as zero."""
    return _apply(_ROOT, x)


def log(x: Value) -> Value:
    """Natural logarithm of something positive (C's own, so that a stream gives the same bits)."""
    return ta.LN(x)


@dataclass(frozen=True, slots=True)
class _Lag:
    candles: int
    outputs: ClassVar[int] = 1

    def batch(self, x: FloatArray) -> FloatArray:
        result = np.full(len(x), np.nan)
        result[self.candles :] = x[: max(0, len(x) - self.candles)]
        return result

    def follow(self, x: FloatArray) -> Step:
        held: deque[float] = deque(
            [math.nan] * max(0, self.candles - len(x)) + x[-self.candles :].tolist()
        )
        push, pull = held.append, held.popleft

        def step(value: float) -> float:
            push(value)
            return pull()

        return step


def lag(x: Value, candles: int) -> Value:
    """The value that many candles ago."""
    return _apply(_Lag(candles), x)


@dataclass(frozen=True, slots=True)
class _WindowSum:
    """Sum over a window by doubling: no running total, so nothing of the older past remains."""

    window: int
    outputs: ClassVar[int] = 1

    def batch(self, x: FloatArray) -> FloatArray:
        total, done, power, width = None, 0, x, 1
        while True:
            if self.window & width:
                total = power if total is None else total + _shifted(power, done)
                done += width
            if done == self.window:
                return np.array(total, dtype=np.float64)
            power = power + _shifted(power, width)
            width *= 2

    def follow(self, x: FloatArray) -> Step:
        # One queue per power of two, long enough to look back to where its block ends.
        levels, done = [], 0
        power = x
        for bit in range(self.window.bit_length()):
            width = 1 << bit
            used = bool(self.window & width)
            length = max(width, done + 1 if used else 0)
            tail = power[-length:].tolist()
            queue = deque([math.nan] * (length - len(tail)) + tail, maxlen=length)
            levels.append((queue, queue.append, -width, -1 - done if used else 0))
            done += width if used else 0
            power = power + _shifted(power, width)

        def step(value: float) -> float:
            total = None
            block = value
            for queue, push, back, place in levels:
                earlier = queue[back]
                push(block)
                if place:
                    total = queue[place] if total is None else total + queue[place]
                block = block + earlier
            return total  # type: ignore[return-value]

        return step


def _shifted(x: FloatArray, by: int) -> FloatArray:
    return _Lag(by).batch(x)


def window_sum(x: Value, window: int) -> Value:
    """Sum of the last `window` values; exactly zero when they are all zero."""
    return _apply(_WindowSum(window), x)


@dataclass(frozen=True, slots=True)
class _DaySum:
    """Running total since the first candle of the UTC day."""

    outputs: ClassVar[int] = 1

    def batch(self, x: FloatArray, opened_at: FloatArray) -> FloatArray:
        result = np.empty(len(x))
        days = np.floor_divide(opened_at, 86400.0)
        edges = [*np.flatnonzero(np.diff(days, prepend=np.nan) != 0).tolist(), len(x)]
        for start, end in pairwise(edges):
            np.add.accumulate(x[start:end], out=result[start:end])
        return result

    def follow(self, x: FloatArray, opened_at: FloatArray) -> Step:
        day = float(opened_at[-1] // 86400.0) if len(x) else math.nan
        total = float(self.batch(x, opened_at)[-1]) if len(x) else 0.0

        def step(value: float, opened: float) -> float:
            nonlocal day, total
            today = opened // 86400.0
            total = total + value if today == day else value
            day = today
            return total

        return step


def day_sum(x: Value, opened_at: Value) -> Value:
    """Sum since midnight UTC, this candle included."""
    return _apply(_DaySum(), x, opened_at)


@dataclass(frozen=True, slots=True)
class _From:
    """NaN for the first candles: while a thing warms up it says nothing."""

    first: int
    outputs: ClassVar[int] = 1

    def batch(self, x: FloatArray) -> FloatArray:
        result = np.array(x, dtype=np.float64)
        result[: self.first] = np.nan
        return result

    def follow(self, x: FloatArray) -> Step:
        seen = len(x)

        def step(value: float) -> float:
            nonlocal seen
            seen += 1
            return float(value) if seen > self.first else math.nan

        return step


def from_candle(x: Value, first: int) -> Value:
    """NaN before the candle with that index, counted from the first of the history."""
    return _apply(_From(first), x)


@dataclass(frozen=True, slots=True)
class _Held:
    """The value of the newest candle at which something happened."""

    outputs: ClassVar[int] = 1

    def batch(self, x: FloatArray, happened: FloatArray) -> FloatArray:
        places = np.where(happened > 0, np.arange(len(x)), -1)
        newest = np.maximum.accumulate(places) if len(x) else places
        result: FloatArray = np.where(newest >= 0, x[newest], np.nan)
        return result

    def follow(self, x: FloatArray, happened: FloatArray) -> Step:
        value = float(self.batch(x, happened)[-1]) if len(x) else math.nan

        def step(newest: float, now: float) -> float:
            nonlocal value
            if now > 0:
                value = newest
            return value

        return step


def held(x: Value, happened: Value) -> Value:
    """`x` at the newest candle where `happened` is above zero; NaN before the first."""
    return _apply(_Held(), x, happened)


_OUTPUTS = {
    "ACCBANDS": 3, "AROON": 2, "BBANDS": 3, "DONCHIAN": 3, "ERI": 2, "HT_PHASOR": 2, "HT_SINE": 2,
    "KC": 3, "KDJ": 3, "MACD": 3, "MAMA": 2, "SMI": 2, "STOCH": 2, "STOCHF": 2, "STOCHRSI": 2,
    "SUPERTREND": 2, "VORTEX": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _TaLib:
    """A function of TA-Lib: its batch form and its stream give the same bits."""

    name: str
    params: tuple[tuple[str, float], ...]

    @property
    def outputs(self) -> int:
        return _OUTPUTS.get(self.name, 1)

    def batch(self, *arrays: FloatArray) -> Any:
        ready = [np.ascontiguousarray(a, dtype=np.float64) for a in arrays]
        if any(_says_nothing(a) for a in ready):
            # TA-Lib would answer this case differently from function to function.
            nothing = np.full(len(ready[0]), np.nan)
            return nothing if self.outputs == 1 else (nothing,) * self.outputs
        found = getattr(core, self.name)(*ready, **dict(self.params))
        if isinstance(found, tuple):
            return tuple(f if f.dtype == np.float64 else f.astype(np.float64) for f in found)
        return found if found.dtype == np.float64 else found.astype(np.float64)

    def follow(self, *history: FloatArray) -> Step:
        opened = _opened(self, history)
        if opened is not None:
            return opened.update  # type: ignore[no-any-return]
        return _Waiting(self, history)


def _says_nothing(x: FloatArray) -> bool:
    return not len(x) or (math.isnan(x[-1]) and bool(np.isnan(x).all()))


def _opened(op: _TaLib, history: Iterable[FloatArray]) -> Any | None:
    ready = [np.ascontiguousarray(a, dtype=np.float64) for a in history]
    if any(_says_nothing(a) for a in ready):
        return None
    try:
        return getattr(core, f"{op.name}_Stream")(*ready, **dict(op.params))
    except InsufficientHistory:
        return None


class _Waiting:
    """A stream that has not seen enough yet; it keeps the little it has seen."""

    def __init__(self, op: _TaLib, history: Iterable[FloatArray]) -> None:
        self._op = op
        self._rows = [row for row in zip(*history, strict=True) if not any(map(math.isnan, row))]
        self._nothing = math.nan if op.outputs == 1 else (math.nan,) * op.outputs
        self._update: Step | None = None

    def __call__(self, *values: float) -> Any:
        if self._update is not None:
            return self._update(*values)
        if not self._rows and any(map(math.isnan, values)):
            return self._nothing
        self._rows.append(values)
        opened = _opened(self._op, map(np.array, zip(*self._rows, strict=True)))
        if opened is None:
            return self._nothing
        self._update, self._rows = opened.update, []
        return opened.value


class _TaFunctions:
    """`ta.RSI(close, timeperiod=14)`: any function of TA-Lib, on arrays or in a formula."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not hasattr(core, name):
            raise AttributeError(f"TA-Lib has no function '{name}'")

        def call(*series: Value, **params: float) -> Any:
            return _apply(_TaLib(name, tuple(sorted(params.items()))), *series)

        return call


ta = _TaFunctions()


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
            else:
                values[slot] = op.batch(*arguments)
            if visit is not None:
                visit(slot, arguments)
            for old in self._release[slot]:
                values[old] = None
        return {name: values[slot] for name, slot in self.slots.items()}


_PLANS: dict[tuple[tuple[str, int], ...], Plan] = {}


def evaluate(roots: Mapping[str, Node], inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The arrays of these nodes over whole columns."""
    # Nodes live as long as the program, so their identity names them.
    key = tuple((name, id(node)) for name, node in roots.items())
    if key not in _PLANS:
        _PLANS[key] = Plan(roots)
    return _PLANS[key].run(inputs)
