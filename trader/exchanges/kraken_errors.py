"""Kraken's error strings → what happens next.

Kraken answers `{"error": ["EOrder:Insufficient funds"]}` with status 200. Each rule below names a
beginning of such a string, the class of ours and what to do. A severity `W` is a warning and never
ends a call. For a request that changes something, an error that leaves the outcome open becomes
`OutcomeUnknown`, and so does a string that nobody has described: the order may live.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    Unreachable,
)

LOCKOUT_SECONDS = 15 * 60.0


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """What one beginning of an error string means.

    Attributes:
        open_outcome: the request may have been carried out all the same.
        wait_s: seconds to wait before the next try, for `RateLimited`.
    """

    start: str
    error: type[ExchangeError]
    hint: str
    open_outcome: bool = False
    wait_s: float = 0.0


_KEY_HINT = "Check KRAKEN_API_KEY and KRAKEN_API_SECRET, or make a new key at Kraken."
_STATE_HINT = "Ask for the order by its id before doing anything else."
_LATER_HINT = "Nothing is wrong with the request: it can be made again later."
_MARGIN_HINT = "The program trades spot only; check that the order carries no leverage."
_ACCOUNT_HINT = "Log in at Kraken: the account needs attention."
_NAME_HINT = "Write the pair as BASE/QUOTE, such as BTC/USD; Kraken must list it."

# Longer beginnings stand before the shorter ones they contain.
RULES: tuple[ErrorRule, ...] = (
    ErrorRule("EAPI:Invalid key", AuthError, _KEY_HINT),
    ErrorRule(
        "EAPI:Invalid signature",
        AuthError,
        "The secret does not belong to the key, or was copied incompletely.",
    ),
    ErrorRule(
        "EAPI:Invalid nonce",
        NonceError,
        "Another program uses the same key, or used it with larger nonces: give this program a "
        "key of its own.",
    ),
    ErrorRule("EAPI:Rate limit exceeded", RateLimited, "Wait some seconds.", wait_s=5.0),
    ErrorRule("EAPI:Bad request", UnexpectedAnswer, "Kraken did not understand the request."),
    ErrorRule("EAPI:Feature disabled", ExchangeBusy, _LATER_HINT),
    ErrorRule(
        "EGeneral:Permission denied",
        AuthError,
        "Give the key this permission at Kraken (Settings, API): query funds, query and modify "
        "orders, cancel orders; never withdraw funds.",
    ),
    ErrorRule(
        "EGeneral:Temporary lockout",
        RateLimited,
        "Too many wrong keys, signatures or nonces: nothing may be sent for about 15 minutes.",
        wait_s=LOCKOUT_SECONDS,
    ),
    ErrorRule(
        "EGeneral:Invalid arguments:volume minimum not met",
        BelowMinimum,
        "The quantity is below the market's minimum.",
    ),
    ErrorRule(
        "EGeneral:Invalid arguments:cl_ord_id not unique",
        OutcomeUnknown,
        "An open order already bears this id: it was sent before. " + _STATE_HINT,
    ),
    ErrorRule(
        "EGeneral:Invalid arguments:Index unavailable",
        OrderRejected,
        "This market has no index price; trigger on the last price.",
    ),
    ErrorRule("EGeneral:Invalid arguments", OrderRejected, "Kraken refuses this argument."),
    ErrorRule("EGeneral:Internal error", ExchangeBusy, _LATER_HINT, open_outcome=True),
    ErrorRule("EGeneral:Unknown method", UnexpectedAnswer, "Kraken's interface may have changed."),
    ErrorRule("EGeneral:Too many requests", RateLimited, "Wait some seconds.", wait_s=5.0),
    ErrorRule("EService:Unavailable", ExchangeBusy, _LATER_HINT, open_outcome=True),
    ErrorRule("EService:Busy", ExchangeBusy, _LATER_HINT, open_outcome=True),
    ErrorRule("EService:Timeout", Unreachable, _LATER_HINT, open_outcome=True),
    ErrorRule("EService:Throttled", RateLimited, "Too many requests at the same time."),
    ErrorRule(
        "EService:Market in cancel_only mode",
        ExchangeBusy,
        "Maintenance: only cancels are taken for now.",
    ),
    ErrorRule(
        "EService:Market in post_only mode",
        ExchangeBusy,
        "Only orders that rest in the book are taken for now.",
    ),
    ErrorRule(
        "EService:Deadline elapsed",
        ExchangeBusy,
        "The order arrived too late. Check this machine's clock. " + _STATE_HINT,
        open_outcome=True,
    ),
    ErrorRule("EService", ExchangeBusy, _LATER_HINT, open_outcome=True),
    ErrorRule(
        "EOrder:Insufficient funds",
        InsufficientFunds,
        "The free balance does not cover cost and fee; open orders hold part of it.",
    ),
    ErrorRule(
        "EOrder:Order minimum not met", BelowMinimum, "The quantity is below the market's minimum."
    ),
    ErrorRule(
        "EOrder:Cost minimum not met",
        BelowMinimum,
        "Price times quantity is below the market's minimum.",
    ),
    ErrorRule(
        "EOrder:Tick size check failed", OrderRejected, "The price is not on the market's grid."
    ),
    ErrorRule("EOrder:Invalid price", OrderRejected, "Round the price to the market's tick."),
    ErrorRule(
        "EOrder:Post only order",
        OrderRejected,
        "The order would have taken liquidity; choose a price further away.",
    ),
    ErrorRule(
        "EOrder:Rate limit exceeded",
        RateLimited,
        "Too many orders and cancels on this pair; the counter falls by one or more a second.",
        wait_s=10.0,
    ),
    ErrorRule(
        "EOrder:Domain rate limit exceeded", RateLimited, "Too many orders.", wait_s=10.0
    ),
    ErrorRule(
        "EOrder:Orders limit exceeded",
        AccountLimited,
        "Too many open orders on this pair; cancel some.",
    ),
    ErrorRule("EOrder:Scheduled orders limit exceeded", AccountLimited, "Cancel some orders."),
    ErrorRule("EOrder:Positions limit exceeded", OrderRejected, _MARGIN_HINT),
    ErrorRule(
        "EOrder:Unknown order",
        OrderNotFound,
        "It is over (filled or cancelled); ask how it ended.",
    ),
    ErrorRule(
        "EOrder:Invalid order",
        OrderNotFound,
        "Kraken never issued this order id.",
    ),
    *(
        ErrorRule(f"EOrder:{text}", OrderRejected, _MARGIN_HINT)
        for text in (
            "Cannot open position",
            "Cannot open opposing position",
            "Margin allowance exceeded",
            "Margin level too low",
            "Margin position size exceeded",
            "Insufficient margin",
            "Reduce only",
        )
    ),
    ErrorRule("EQuery:Unknown asset pair", UnknownPair, _NAME_HINT),
    ErrorRule("EQuery:Invalid asset pair", UnknownPair, _NAME_HINT),
    ErrorRule("EQuery:Unknown asset", UnknownPair, _NAME_HINT),
    ErrorRule("EAuth:Rate limit exceeded", RateLimited, "Wait some minutes.", wait_s=60.0),
    ErrorRule("EAuth:Too many requests", RateLimited, "Wait some minutes.", wait_s=60.0),
    ErrorRule("EAuth", AuthError, _ACCOUNT_HINT),
    ErrorRule("EAccount", AuthError, _ACCOUNT_HINT),
    ErrorRule("ETrade:User Locked", AuthError, _ACCOUNT_HINT),
    ErrorRule("ETrade", AccountLimited, _ACCOUNT_HINT),
    ErrorRule("EBM:limit exceeded:CAL", AccountLimited, _ACCOUNT_HINT),
    ErrorRule("ESession:Invalid session", AuthError, "Ask for a new WebSocket token."),
)  # fmt: skip

_SPACED = re.compile(r"^(\w+):\s+")
_UNIX_TIME = re.compile(r"\b(1\d{9}|2\d{9})\b")


def rule_for(text: str) -> ErrorRule | None:
    """The rule of an error string, None if nobody has described it."""
    tidy = _SPACED.sub(r"\1:", text.strip())
    return next((rule for rule in RULES if tidy.startswith(rule.start)), None)


def error_for(
    strings: Sequence[str], *, call: str, changes: bool, now_s: float = 0.0
) -> ExchangeError:
    """The error that an answer of Kraken's stands for.

    Args:
        strings: the entries of `error`, at least one.
        call: the method, for the message.
        changes: the request could change something (orders).
        now_s: Unix time, for errors that name the moment after which to try again.
    """
    text = next((s for s in strings if s.startswith("E")), strings[0])
    message = f"Kraken refuses {call}: {text[:300]}"
    rule = rule_for(text)
    if rule is None:
        if changes:
            return OutcomeUnknown(f"{message} (not a known error)", _STATE_HINT)
        return UnexpectedAnswer(f"{message} (not a known error)", "See Kraken's status page.")
    if changes and rule.open_outcome:
        return OutcomeUnknown(message, _STATE_HINT)
    if call.startswith("AddOrder") and rule.error is OrderNotFound:
        # For a new order the same words mean a combination that Kraken does not take.
        return OrderRejected(message, "Kraken does not take this combination of arguments.", text)
    if issubclass(rule.error, RateLimited):
        return rule.error(message, rule.hint, _wait(text, rule, now_s))
    if issubclass(rule.error, OrderRejected):
        return rule.error(message, rule.hint, text)
    return rule.error(message, rule.hint)


def _wait(text: str, rule: ErrorRule, now_s: float) -> float:
    named = _UNIX_TIME.search(text)
    if named and now_s:
        return max(0.0, float(named[1]) - now_s)
    return rule.wait_s
