"""Everything that can go wrong, as a tree.

TraderError                      retryable?  exit
├── UsageError                       no        2    wrong arguments, wrong configuration
├── HistoryError                     no        1    candles missing, damaged or not in order
├── ModelError                       no        1    model missing, damaged or of another schema
├── JournalError                     no        1    the journal cannot be read or written
├── RuleError                        no        3    a rule of ours refuses (risk, licence, stop)
└── ExchangeError                                   the exchange said no, or nothing
    ├── Unreachable                  yes       4    no answer to a request that changes nothing
    ├── OutcomeUnknown               no        4    a change was asked for, no clear answer came
    ├── RateLimited                  yes       4    too many requests; wait
    ├── ExchangeBusy                 yes       4    maintenance, overload, market in a special mode
    ├── NonceError                   yes       4    another program uses the same key
    ├── AuthError                    no        1    key, signature, permission, lock-out
    ├── OrderRejected                no        3    the order breaks a rule of the exchange
    │   ├── AccountLimited                      not this order's fault, but the account's
    │   ├── InsufficientFunds
    │   └── BelowMinimum
    ├── OrderNotFound                no        1    the order is gone or never was
    ├── UnknownPair                  no        2    no such market
    └── UnexpectedAnswer             no        4    an answer nobody has described

Refusing to trade is no error: it is a `Refusal`, a value.
"""

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """What the shell gets."""

    DONE = 0
    FAILED = 1
    MISUSED = 2
    REFUSED = 3
    UNREACHABLE = 4


class TraderError(Exception):
    """Base of all errors that a user may see.

    Args:
        message: what was found, what was wanted, where.
        hint: what to do about it.
    """

    category: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str | bool]:
        """The error as the JSON documents of the commands show it."""
        return {
            "category": self.category,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
        }


class UsageError(TraderError):
    """Wrong arguments or settings."""

    category = "usage"
    exit_status = ExitStatus.MISUSED


class HistoryError(TraderError):
    """Candles are missing, damaged or out of order."""

    category = "history"


class ModelError(TraderError):
    """A model is missing, damaged or does not fit the features."""

    category = "model"


class JournalError(TraderError):
    """The journal cannot be read or written."""

    category = "journal"


class RuleError(TraderError):
    """A rule of ours refuses what was asked for."""

    category = "rule"
    exit_status = ExitStatus.REFUSED

    def __init__(self, rule: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.rule = rule


class ExchangeError(TraderError):
    """The exchange said no, or nothing."""

    category = "exchange"
    exit_status = ExitStatus.UNREACHABLE


class Unreachable(ExchangeError):
    """No answer to a request that changes nothing."""

    category = "unreachable"
    retryable = True


class OutcomeUnknown(ExchangeError):
    """A request that changes something got no clear answer: it may or may not have been done."""

    category = "outcome_unknown"


class RateLimited(ExchangeError):
    """Too many requests.

    Args:
        retry_after_s: seconds to wait, 0 where the exchange did not say.
    """

    category = "rate_limited"
    retryable = True

    def __init__(self, message: str, hint: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class ExchangeBusy(ExchangeError):
    """Maintenance, overload or a market in a special mode: later."""

    category = "busy"
    retryable = True


class NonceError(ExchangeError):
    """The nonce was not above the last one: another program uses the same key."""

    category = "nonce"
    retryable = True


class AuthError(ExchangeError):
    """Key, signature or permission refused, or the account is locked out."""

    category = "auth"
    exit_status = ExitStatus.FAILED


class OrderRejected(ExchangeError):
    """The order breaks a rule of the exchange; sending it again unchanged is useless.

    Args:
        code: the exchange's own words (`EOrder:Post only order`), empty where unknown.
    """

    category = "order_rejected"
    exit_status = ExitStatus.REFUSED

    def __init__(self, message: str, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class AccountLimited(OrderRejected):
    """The account may not now: too many open orders, a limit or a lock of its own."""

    category = "account_limited"


class InsufficientFunds(OrderRejected):
    """Not enough free balance, fee included."""

    category = "insufficient_funds"


class BelowMinimum(OrderRejected):
    """Quantity or cost is below the market's minimum."""

    category = "below_minimum"


class OrderNotFound(ExchangeError):
    """The order is gone (filled or cancelled) or never was."""

    category = "order_not_found"
    exit_status = ExitStatus.FAILED


class UnknownPair(ExchangeError):
    """No such market at the exchange."""

    category = "unknown_pair"
    exit_status = ExitStatus.MISUSED


class UnexpectedAnswer(ExchangeError):
    """An answer nobody has described: never passed on as data."""

    category = "unexpected_answer"
