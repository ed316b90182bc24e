import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generated import any_event, of_type
from trader.domain.errors import JournalError
from trader.domain.events import EVENT_TYPES, CashAdjusted, decode, encode

AT = datetime(2024, 3, 1, 13, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES.keys())
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_event_survives_encoding_and_decoding(kind, data):
    event = data.draw(of_type(kind))
    assert decode(encode(event)) == event


@settings(max_examples=50, deadline=None)
@given(any_event())
def test_encoding_what_was_decoded_gives_the_same_line(event):
    line = encode(event)
    assert encode(decode(line)) == line


def test_an_encoded_event_is_one_line_of_ascii_with_sorted_keys():
    line = encode(CashAdjusted(AT, "USD", Decimal("10.50"), "first\ndeposit ü"))
    assert line == (
        '{"amount":"10.50","asset":"USD","at":"2024-03-01T13:00:00+00:00",'
        '"kind":"CashAdjusted","reason":"first\\ndeposit \\u00fc"}'
    )


def test_decimals_keep_their_trailing_zeros_on_the_way():
    event = decode(encode(CashAdjusted(AT, "USD", Decimal("1.2300"), "")))
    assert isinstance(event, CashAdjusted)
    assert str(event.amount) == "1.2300"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kind":"Nothing"}',
        '{"kind":"CashAdjusted"}',
        json.dumps({"kind": "CashAdjusted", "at": "yesterday", "asset": "USD", "amount": "1",
                    "reason": ""}),
        json.dumps({"kind": "CashAdjusted", "at": AT.isoformat(), "asset": "USD", "amount": "x",
                    "reason": ""}),
        json.dumps({"kind": "TradeRefused", "at": AT.isoformat(), "refusal": None}),
    ],
)  # fmt: skip
def test_a_line_that_is_no_event_is_a_journal_error(line):
    with pytest.raises(JournalError, match="cannot be read"):
        decode(line)
