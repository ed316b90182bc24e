"""Compute once per `Analysis` what depends on nothing else.

A backtest asks the same question at thousands of rows of one analysis. What is causal row by row
is computed for the whole history at the first question and looked up afterwards; it is forgotten
together with the analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from trader.domain.signals import Analysis

T = TypeVar("T")

_memo: WeakKeyDictionary[Analysis, dict[Hashable, object]] = WeakKeyDictionary()


def once(analysis: Analysis, key: Hashable, compute: Callable[[], T]) -> T:
    """The value of `compute`, called the first time only for this analysis and key.

    The value must be a function of the analysis and the key alone, and must not refer to the
    analysis itself, which would keep it alive.
    """
    known = _memo.setdefault(analysis, {})
    if key not in known:
        known[key] = compute()
    return known[key]  # type: ignore[return-value]
