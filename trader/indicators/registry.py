"""The registry of indicators: adding one is one decorated function in one file.

    @indicator("sma_20", inputs=("close",), warmup=19, unit=Unit.PRICE)
    def sma_20(close: Value) -> Value:
        \"\"\"Mean of the last 20 closes.\"\"\"
        return ta.SMA(close, timeperiod=20)

Everything else follows from the entry: the column of the analysis, the feature, the stream, the
row in the docs, and the sweeps for warm-up, bounds and looking ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np

from trader.domain.candles import Candles, FloatArray
from trader.domain.errors import TraderError, UsageError
from trader.extensions import failure
from trader.indicators.graph import Input, Node, Value
from trader.indicators.plan import evaluate

COLUMNS = ("opened_at", "open", "high", "low", "close", "volume", "trades")


class Unit(StrEnum):
    """What a number of the column counts."""

    PRICE = "quote per base"
    VOLUME = "base"
    QUOTE = "quote"
    RATIO = "ratio"
    FRACTION = "fraction"
    POINTS = "points"
    CANDLES = "candles"
    STATE = "state"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One column of the analysis.

    Attributes:
        inputs: columns of the candles, or names of other indicators.
        function: arrays in, an array (or a tuple of arrays) out, as long as the inputs; it may
            not look ahead.
        column: which of the function's outputs this is; None if it has one.
        warmup: index of the first finite value in an ordinary market; NaN before.
        bounds: the smallest and largest possible value, None where there is no limit.
        anchored: True if the level depends on where the history begins (a running total since the
            first candle); differences still mean something, the level does not.
        meaning: one line for people.
    """

    name: str
    inputs: tuple[str, ...]
    function: Callable[..., Any]
    column: int | None
    warmup: int
    group: str
    unit: Unit
    bounds: tuple[float | None, float | None]
    anchored: bool
    meaning: str

    @property
    def stationary(self) -> bool:
        """True if the value means the same at any price level and of any pair."""
        return not self.anchored and self.unit in {
            Unit.RATIO, Unit.FRACTION, Unit.POINTS, Unit.STATE, Unit.CANDLES,
        }  # fmt: skip

    def node(self) -> Node:
        """The formula as a graph.

        A function that cannot be written down (it works on the array itself) becomes one opaque
        node, which a stream recomputes.
        """
        return _node(self)


_REGISTERED: dict[str, Indicator] = {}
INDICATORS: Mapping[str, Indicator] = MappingProxyType(_REGISTERED)
_NODES: dict[str, Node] = {}
_Number = int | Callable[..., int]


def indicator(
    *names: str,
    inputs: tuple[str, ...],
    warmup: _Number | tuple[int, ...],
    group: str = "other",
    unit: Unit | tuple[Unit, ...] = Unit.OTHER,
    bounds: tuple[float | None, float | None] = (None, None),
    over: tuple[Any, ...] = (),
    anchored: bool = False,
    register: dict[str, Indicator] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as one or several columns.

    Args:
        names: the column's name, or one name per output; with `over` a template such as
            `sma_{}` that takes the parameters.
        inputs: columns of the candles, or names of indicators registered before.
        warmup: index of the first finite value; with `over` a function of the parameters.
        group: trend, momentum, volatility, volume or statistics.
        unit: what the numbers count; one per output if they differ.
        bounds: smallest and largest possible value.
        over: parameters, one function call each, given to the function after its inputs.
        anchored: the level depends on the first candle.
        register: where to enter it; the common registry unless a test says otherwise.

    Raises:
        UsageError: if a name is taken or an input unknown.
    """
    table = _REGISTERED if register is None else register

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for choice in over or ((),):
            params = choice if isinstance(choice, tuple) else (choice,)
            call = _with(function, params) if params else function
            first = warmup(*params) if callable(warmup) else warmup
            for place, template in enumerate(names):
                name = template.format(*params)
                _check_new(name, inputs, table)
                table[name] = Indicator(
                    name, inputs, call, place if len(names) > 1 else None,
                    first[place] if isinstance(first, tuple) else first, group,
                    unit[place] if isinstance(unit, tuple) else unit, bounds, anchored,
                    _first_line(function).format(*params),
                )  # fmt: skip
        return function

    return enter


def _with(function: Callable[..., Any], params: tuple[Any, ...]) -> Callable[..., Any]:
    def call(*series: Value) -> Any:
        return function(*series, *params)

    call.__doc__, call.__module__ = function.__doc__, function.__module__
    return call


def _called(
    function: Callable[..., Any], *series: Any, passing: tuple[type[Exception], ...] = ()
) -> Any:
    """What the function gives; of one that is not ours a fault is told with its line."""
    try:
        return function(*series)
    except passing:
        raise
    except TraderError:
        raise
    except Exception as fault:
        module = function.__module__
        if module.partition(".")[0] == __name__.partition(".")[0]:
            raise
        raise failure("INDICATORS", module, fault) from fault


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().split("\n")[0].rstrip(".")


def _check_new(name: str, inputs: tuple[str, ...], table: Mapping[str, Indicator]) -> None:
    if name in table:
        raise UsageError(f"indicator '{name}' is registered twice: choose another name")
    for source in inputs:
        if source not in COLUMNS and source not in table and source not in _REGISTERED:
            raise UsageError(
                f"indicator '{name}' wants '{source}', which is neither a column of the candles "
                "nor an indicator registered before it",
                f"Columns: {', '.join(COLUMNS)}.",
            )


@dataclass(frozen=True, eq=False)
class _Opaque:
    """A function of whole arrays; a stream keeps what it has seen and computes it anew."""

    name: str
    function: Callable[..., Any]
    column: int | None
    outputs: int = 1
    fresh: bool = False

    def batch(self, *arrays: FloatArray) -> FloatArray:
        found = _called(self.function, *arrays)
        result = np.asarray(found if self.column is None else found[self.column], np.float64)
        if result.shape != arrays[0].shape:
            raise UsageError(
                f"indicator '{self.name}' returned {result.size} values for {len(arrays[0])} "
                "candles: return one per candle, NaN while warming up."
            )
        return result

    def follow(self, *history: FloatArray) -> Callable[..., float]:
        held = [a.tolist() for a in history]

        def step(*values: float) -> float:
            for column, value in zip(held, values, strict=True):
                column.append(value)
            return float(self.batch(*(np.array(column) for column in held))[-1])

        return step


def _node(entry: Indicator) -> Node:
    if _REGISTERED.get(entry.name) is not entry:
        return _traced(entry)
    if entry.name not in _NODES:
        _NODES[entry.name] = _traced(entry)
    return _NODES[entry.name]


def _traced(entry: Indicator) -> Node:
    series = [Node.of(Input(s)) if s in COLUMNS else _REGISTERED[s].node() for s in entry.inputs]
    try:
        found = _called(entry.function, *series, passing=(TypeError, AttributeError))
        node = found if entry.column is None else found[entry.column]
        if isinstance(node, Node):
            return node
    except (TypeError, AttributeError):
        pass
    return Node.of(_Opaque(entry.name, entry.function, entry.column), *series)


def inputs_of(candles: Candles) -> dict[str, FloatArray]:
    """The columns of the candles as float64, by name."""
    return {name: np.asarray(getattr(candles, name), dtype=np.float64) for name in COLUMNS}


def compute(candles: Candles, names: Iterable[str] | None = None) -> dict[str, FloatArray]:
    """Indicator name → values, one per candle, NaN while warming up.

    The value at index i depends on the candles 0…i only, and the arrays of a longer history begin
    with those of a shorter one, bit for bit.

    Args:
        candles: closed candles; absent ones stay absent, a window counts candles that exist.
        names: which columns; all of the registry if None.

    Raises:
        UsageError: if a name is not registered.
    """
    chosen = list(INDICATORS) if names is None else list(names)
    for name in chosen:
        if name not in INDICATORS:
            raise UsageError(f"there is no indicator '{name}'", _nearest(name))
    return evaluate({n: INDICATORS[n].node() for n in chosen}, inputs_of(candles))


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, INDICATORS, 3)
    return f"Did you mean {', '.join(close)}?" if close else ""
