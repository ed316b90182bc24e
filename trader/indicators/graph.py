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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from trader.domain.candles import FloatArray, IntArray
from trader.indicators.talib_core import InsufficientHistory, core

Step: TypeAlias = Callable[..., Any]
Value: TypeAlias = Any
"""An array or a `Node`: indicator functions take and return either."""


class Op(Protocol):
    """An operation that remembers the past.

    `fresh` says that its results are new arrays, which others may overwrite when done with.
    """

    outputs: int
    fresh: bool

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
    fresh: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Input:
    """A column of the candles."""

    name: str
    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Item:
    """One of several outputs."""

    index: int
    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = True


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


# The functions below may write into `out`, which may be one of their arguments.


def _ratio(a: Any, b: Any, otherwise: Any, out: FloatArray | None = None) -> FloatArray:
    zero = np.equal(b, 0.0)
    if not zero.any():
        return np.divide(a, b, out=out)  # type: ignore[no-any-return]
    if out is None:
        out = np.empty(np.shape(a) or np.shape(b))
    np.divide(a, b, out=out, where=~zero)
    out[zero] = otherwise
    return out


def _above(a: Any, b: Any, out: FloatArray | None = None) -> FloatArray:
    higher, unknown = np.greater(a, b), np.isnan(a) | np.isnan(b)
    if out is None:
        out = np.empty(np.shape(higher))
    np.copyto(out, higher)
    np.copyto(out, np.nan, where=unknown)
    return out


def _where(condition: Any, a: Any, b: Any, out: FloatArray | None = None) -> FloatArray:
    no, unknown = np.equal(condition, 0.0), np.isnan(condition)
    if out is None or out is b:
        # Written last may be read first: the other branch is kept in memory of its own.
        found = np.where(no, b, a)
        result: FloatArray = found.astype(np.float64, copy=False)
    else:
        result = out
        if out is not a:
            np.copyto(result, a)
        np.copyto(result, b, where=no)
    np.copyto(result, np.nan, where=unknown)
    return result


def _root(x: Any, out: FloatArray | None = None) -> FloatArray:
    floor = np.maximum(x, 0.0, out=out)
    return np.sqrt(floor, out=floor)  # type: ignore[no-any-return]


def _known(x: Any, otherwise: Any, out: FloatArray | None = None) -> FloatArray:
    unknown = np.isnan(x)
    if out is None:
        out = np.array(x, dtype=np.float64)
    elif out is not x:
        out[...] = x
    out[unknown] = otherwise
    return out


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
    fresh: ClassVar[bool] = True

    def batch(self, x: FloatArray) -> FloatArray:
        result = np.empty(len(x))
        result[: self.candles] = np.nan
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


_BLOCK = 1 << 14
"""Numbers worked on at a time: enough to be quick, few enough to stay in the cache."""


@dataclass(frozen=True, slots=True)
class _WindowSum:
    """Sum over a window by doubling: no running total, so nothing of the older past remains."""

    window: int
    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = True

    def batch(self, x: FloatArray) -> FloatArray:
        result = np.empty(len(x))
        result[: self.window - 1] = np.nan
        spare = np.empty((2, _BLOCK + self.window))
        for begin in range(self.window - 1, len(x), _BLOCK):
            end = min(begin + _BLOCK, len(x))
            self._add_up(x[begin - self.window + 1 : end], result[begin:end], spare)
        return result

    def _add_up(self, x: FloatArray, out: FloatArray, spare: FloatArray) -> None:
        """The sums of x's windows, its first ending at row `window - 1`, into `out`."""
        count, done, width, power = len(x), 0, 1, x
        while True:
            # power[i] is the sum of the `width` values up to row i + width - 1.
            if self.window & width:
                first = self.window - done - width
                part = power[first : first + len(out)]
                np.add(out, part, out=out) if done else np.copyto(out, part)
                done += width
            if done == self.window:
                return
            taller = spare[width.bit_length() % 2, : count - 2 * width + 1]
            power = np.add(power[width:], power[:-width], out=taller)
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
    fresh: ClassVar[bool] = True

    def batch(self, x: FloatArray, opened_at: FloatArray) -> FloatArray:
        day = np.floor_divide(opened_at, 86400.0)
        starts = np.flatnonzero(np.diff(day, prepend=np.nan) != 0)
        sizes = np.diff(starts, append=len(x))
        # Both ways add candle by candle; taken is the one with fewer calls.
        if len(starts) < sizes.max(initial=0):
            return _days_in_turn(x, starts)
        return _days_abreast(x, starts, sizes)

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


def _days_in_turn(x: FloatArray, starts: IntArray) -> FloatArray:
    result = np.empty(len(x))
    for first, last in pairwise([*starts.tolist(), len(x)]):
        np.add.accumulate(x[first:last], out=result[first:last])
    return result


def _days_abreast(x: FloatArray, starts: IntArray, sizes: IntArray) -> FloatArray:
    """The first candle of every day, then the second of every day that has one, and so on."""
    result = np.array(x, dtype=np.float64)
    for place in range(1, int(sizes.max(initial=0))):
        rows = starts[sizes > place] + place
        result[rows] += result[rows - 1]
    return result


def day_sum(x: Value, opened_at: Value) -> Value:
    """Sum since midnight UTC, this candle included."""
    return _apply(_DaySum(), x, opened_at)


@dataclass(frozen=True, slots=True)
class From:
    """NaN for the first candles: while a thing warms up it says nothing."""

    first: int
    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = True

    def batch(self, x: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """`x` with the first candles blanked, written into `out` if there is one."""
        result = np.array(x, dtype=np.float64) if out is None else out
        if out is not None and out is not x:
            out[...] = x
        result[: self.first] = np.nan
        return result

    def follow(self, x: FloatArray) -> Step:
        """The same, candle by candle."""
        seen = len(x)

        def step(value: float) -> float:
            nonlocal seen
            seen += 1
            return float(value) if seen > self.first else math.nan

        return step


def from_candle(x: Value, first: int) -> Value:
    """NaN before the candle with that index, counted from the first of the history."""
    return _apply(From(first), x)


@dataclass(frozen=True, slots=True)
class _When:
    """The index of the newest candle at which something happened, -1 before the first."""

    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = True

    def batch(self, happened: FloatArray) -> FloatArray:
        places = np.where(happened > 0, np.arange(len(happened), dtype=np.float64), -1.0)
        return np.maximum.accumulate(places)

    def follow(self, happened: FloatArray) -> Step:
        newest = float(self.batch(happened)[-1]) if len(happened) else -1.0
        count = float(len(happened))

        def step(now: float) -> float:
            nonlocal newest, count
            if now > 0:
                newest = count
            count += 1.0
            return newest

        return step


@dataclass(frozen=True, slots=True)
class _At:
    """The value of another candle, named by its index."""

    outputs: ClassVar[int] = 1
    fresh: ClassVar[bool] = True

    def batch(self, x: FloatArray, index: FloatArray) -> FloatArray:
        if not len(index):
            return np.empty(0)
        # The index names one row many times over: look once, repeat.
        changes = np.flatnonzero(index[1:] != index[:-1]) + 1
        starts = np.concatenate([[0], changes])
        rows = index[starts].astype(np.int64)
        values = np.where(rows < 0, np.nan, np.asarray(x, dtype=np.float64)[rows])
        return np.repeat(values, np.diff(starts, append=len(index)))

    def follow(self, x: FloatArray, index: FloatArray) -> Step:
        value = float(self.batch(x, index)[-1]) if len(x) else math.nan
        last = float(index[-1]) if len(index) else -1.0

        def step(newest: float, place: float) -> float:
            nonlocal value, last
            if place != last:
                value, last = newest, place
            return value

        return step


def held(x: Value, happened: Value) -> Value:
    """`x` at the newest candle where `happened` is above zero; NaN before the first."""
    return _apply(_At(), x, _apply(_When(), happened))


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
    fresh: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        return _OUTPUTS.get(self.name, 1)

    def batch(self, *arrays: FloatArray) -> Any:
        ready = [np.ascontiguousarray(a, dtype=np.float64) for a in arrays]
        if any(_says_nothing(a) for a in ready):
            # TA-Lib would answer this case differently from function to function.
            nothing = [np.full(len(ready[0]), np.nan) for _ in range(self.outputs)]
            return nothing[0] if self.outputs == 1 else tuple(nothing)
        # Patterns come as 32-bit integers; the next operation makes numbers of them.
        return getattr(core, self.name)(*ready, **dict(self.params))

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
