"""Hypothesis strategies for every event type, built from the types themselves."""

import dataclasses
import types
import typing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Union

from hypothesis import strategies as st

from trader.domain.events import EVENT_TYPES
from trader.domain.markets import Pair

_START = datetime(2013, 1, 1, tzinfo=UTC)
_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    # Any text at all, half surrogate pairs of broken encodings included.
    str: st.text(st.characters(exclude_categories=()), max_size=20),
    int: st.integers(0, 10**9),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**9),
                         max_value=10**9),
    datetime: st.integers(0, 10**15).map(lambda n: _START + timedelta(microseconds=n)),
    Pair: st.builds(
        Pair, st.from_regex(r"[A-Z0-9]{1,6}", fullmatch=True), st.sampled_from(("USD", "EUR"))
    ),
}  # fmt: skip


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of the type."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return st.one_of(st.none() if a is type(None) else of_type(a) for a in args)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return st.lists(of_type(args[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of_type, args))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert dataclasses.is_dataclass(kind), f"no strategy for {kind}"
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{f.name: of_type(hints[f.name]) for f in dataclasses.fields(kind)})


def any_event() -> st.SearchStrategy[Any]:
    """Any event of the journal's vocabulary."""
    return st.one_of([of_type(cls) for cls in EVENT_TYPES.values()])
