"""Values as JSON takes them."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType

import numpy as np
import pytest

from trader.domain.candles import Timeframe
from trader.domain.markets import Pair
from trader.domain.plain import plain


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    BUY = "buy"


@dataclass(frozen=True)
class Row:
    pair: Pair
    amount: Decimal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (float("nan"), None),
        (float("-inf"), None),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("100.00"), "100.00"),
        (np.float64("nan"), None),
        (np.float64(0.25), 0.25),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (Colour.RED, "red"),
        (Word.BUY, "buy"),
        (Pair("BTC", "USD"), "BTC/USD"),
        (Timeframe(14400), "4h"),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1, 15, tzinfo=timezone(timedelta(hours=2))), "2024-03-01T13:00:00Z"),
        (datetime(2024, 3, 1, 0, 0, 0, 5000, tzinfo=UTC), "2024-03-01T00:00:00.005Z"),
        (Row(Pair("BTC", "USD"), Decimal("0.10")), {"pair": "BTC/USD", "amount": "0.10"}),
        (MappingProxyType({Pair("BTC", "USD"): (1, 2)}), {"BTC/USD": [1, 2]}),
    ],
)
def test_every_kind_of_value_becomes_what_json_takes(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found, allow_nan=False)) == expected
