"""Our values as JSON takes them: the one definition for commands, files and dashboard.

The journal and the sandbox's account have codecs of their own: they read back what they wrote.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any


def plain(value: Any) -> Any:
    """A value made of dictionaries, lists, numbers, texts and nulls alone.

    Moments become ISO 8601 UTC, Decimals text with all their digits and no exponent, enumerations
    their value, dataclasses dictionaries; NaN and infinity become null, what is unknown its text.

    >>> plain({"price": Decimal("1E-8"), "skill": float("nan")})
    {'price': '0.00000001', 'skill': None}
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, numbers.Real):
        return _number(value)
    if isinstance(value, date):
        return iso(value) if isinstance(value, datetime) else value.isoformat()
    return _composed(value)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC: `2024-03-01T13:00:00Z`; fractions of a second only where there are any."""
    text = moment.astimezone(UTC).isoformat(
        timespec="milliseconds" if moment.microsecond else "seconds"
    )
    return text.replace("+00:00", "Z")


def _number(value: numbers.Real) -> int | float | None:
    if isinstance(value, numbers.Integral):
        return int(value)
    found = float(value)
    return found if math.isfinite(found) else None


def _composed(value: Any) -> Any:
    if hasattr(value, "dtype") and not getattr(value, "shape", True):
        return plain(value.item())  # a scalar of numpy's, such as its own kind of truth value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if "__str__" in vars(type(value)):  # a pair, a timeframe: its name
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)
