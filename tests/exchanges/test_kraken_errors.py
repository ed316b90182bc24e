"""Kraken's error strings and what happens next."""

import pytest

from tests.exchanges.scripted import recorded
from trader.domain.errors import (
    AccountLimited,
    AuthError,
    BelowMinimum,
    ExchangeBusy,
    ExchangeError,
    InsufficientFunds,
    NonceError,
    OrderNotFound,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    UnexpectedAnswer,
    UnknownPair,
)
from trader.exchanges.kraken_errors import error_for, rule_for

READ_AND_CHANGE: list[tuple[str, type[ExchangeError], type[ExchangeError]]] = [
    ("EAPI:Invalid key", AuthError, AuthError),
    ("EAPI:Invalid signature", AuthError, AuthError),
    ("EAPI:Invalid nonce", NonceError, NonceError),
    ("EAPI:Rate limit exceeded", RateLimited, RateLimited),
    ("EGeneral:Permission denied", AuthError, AuthError),
    ("EGeneral:Temporary lockout", RateLimited, RateLimited),
    ("EGeneral:Invalid arguments", OrderRejected, OrderRejected),
    ("EGeneral:Invalid arguments:volume minimum not met", BelowMinimum, BelowMinimum),
    ("EGeneral:Invalid arguments:cl_ord_id not unique", OutcomeUnknown, OutcomeUnknown),
    ("EGeneral:Internal error", ExchangeBusy, OutcomeUnknown),
    ("EGeneral:Internal error:ABC", ExchangeBusy, OutcomeUnknown),
    ("EService:Unavailable", ExchangeBusy, OutcomeUnknown),
    ("EService:Busy", ExchangeBusy, OutcomeUnknown),
    ("EService:Deadline elapsed", ExchangeBusy, OutcomeUnknown),
    ("EService:Market in cancel_only mode", ExchangeBusy, ExchangeBusy),
    ("EOrder:Insufficient funds", InsufficientFunds, InsufficientFunds),
    ("EOrder:Order minimum not met", BelowMinimum, BelowMinimum),
    ("EOrder:Cost minimum not met", BelowMinimum, BelowMinimum),
    ("EOrder:Tick size check failed", OrderRejected, OrderRejected),
    ("EOrder:Invalid price:XXBTZEUR price can only be specified up to 1 decimals.",
     OrderRejected, OrderRejected),
    ("EOrder:Post only order", OrderRejected, OrderRejected),
    ("EOrder:Rate limit exceeded", RateLimited, RateLimited),
    ("EOrder:Orders limit exceeded", AccountLimited, AccountLimited),
    ("EOrder:Unknown order", OrderNotFound, OrderNotFound),
    ("EOrder:Reduce only:no position", OrderRejected, OrderRejected),
    ("EQuery:Unknown asset pair", UnknownPair, UnknownPair),
    ("EAuth:Account temporary disabled", AuthError, AuthError),
    ("ETrade:User Locked", AuthError, AuthError),
    ("EFuture:Something nobody has seen", UnexpectedAnswer, OutcomeUnknown),
    ("EOrder:Something nobody has seen", UnexpectedAnswer, OutcomeUnknown),
    ("", UnexpectedAnswer, OutcomeUnknown),
]  # fmt: skip


@pytest.mark.parametrize(("text", "read", "change"), READ_AND_CHANGE)
def test_a_string_becomes_the_class_that_says_what_happens_next(
    text: str, read: type[ExchangeError], change: type[ExchangeError]
) -> None:
    assert type(error_for([text], call="OpenOrders", changes=False)) is read
    fault = error_for([text], call="CancelOrder", changes=True)
    assert type(fault) is change
    assert fault.hint


def test_every_recorded_error_has_a_rule() -> None:
    for envelope in recorded("api-error-envelopes.json"):
        for text in envelope["error"]:
            assert rule_for(text) is not None, text


def test_throttling_names_the_moment_to_come_back() -> None:
    fault = error_for(
        ["EService: Throttled: 1700000012"], call="Balance", changes=False, now_s=1_700_000_000
    )
    assert isinstance(fault, RateLimited)
    assert fault.retry_after_s == 12


def test_an_error_counts_more_than_a_warning_beside_it() -> None:
    fault = error_for(["WGeneral:Danger", "EOrder:Post only order"], call="AddOrder", changes=True)
    assert isinstance(fault, OrderRejected)
    assert fault.code == "EOrder:Post only order"


def test_invalid_order_on_a_new_order_is_a_rejection() -> None:
    assert (
        type(error_for(["EOrder:Invalid order"], call="AddOrder", changes=True)) is OrderRejected
    )
