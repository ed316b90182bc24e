"""Calls to Kraken: signed by krakenex, counted, repeated where that is safe, bounded in time.

A read is repeated with growing, jittered pauses. A request that changes something is sent once:
an answer that is neither a clear yes nor a clear no is `OutcomeUnknown`.
"""

from __future__ import annotations

import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import krakenex

from trader.domain.errors import (
    AuthError,
    ExchangeError,
    OutcomeUnknown,
    RateLimited,
    UnexpectedAnswer,
    Unreachable,
)
from trader.exchanges import kraken_answers as answers
from trader.exchanges.kraken_errors import error_for
from trader.exchanges.kraken_limits import RateBudget, Tier, rest_cost
from trader.exchanges.kraken_nonces import NonceSource
from trader.exchanges.transport import (
    Handler,
    NoReply,
    Reply,
    Timeouts,
    answer,
    send,
)

T = TypeVar("T")

_UNKNOWN_HINT = "Look the order up by its id; do not send it again."
_REACH_HINT = "Check the network, KRAKEN_API_URL and status.kraken.com."
_NO_KEYS_HINT = "Set KRAKEN_API_KEY and KRAKEN_API_SECRET."
_LONGEST_RATE_WAIT_S = 30.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long in all, a read is repeated.

    Attributes:
        attempts: the first included.
        first_pause_s: mean of the first pause is half of it; each next may be twice as long.
        budget_s: no new attempt is begun after this.
    """

    attempts: int = 4
    first_pause_s: float = 0.5
    longest_pause_s: float = 8.0
    budget_s: float = 45.0


class _Api(krakenex.API):  # type: ignore[misc]
    """krakenex with rising nonces, a time limit for every call, and no state between threads."""

    def __init__(
        self,
        key: str,
        secret: str,
        url: str,
        nonces: NonceSource,
        timeouts: Timeouts,
        handler: Handler | None,
    ) -> None:
        super().__init__(key, secret)
        self.uri = url.rstrip("/")
        self._nonces = nonces
        self._timeouts = timeouts
        self._handler = handler
        self._turn = threading.local()

    def query_private(
        self, method: str, data: dict[str, Any] | None = None, timeout: float | None = None
    ) -> Reply:
        """Send while holding the turn of the key, so that no later nonce overtakes this one."""
        with self._nonces.turn() as nonce:
            self._turn.nonce = nonce
            return super().query_private(method, data, timeout)  # type: ignore[no-any-return]

    def _nonce(self) -> int:
        return int(self._turn.nonce)

    def _query(
        self,
        urlpath: str,
        data: dict[str, Any],
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> Reply:
        if "/public/" in urlpath:
            return self._send("GET", urlpath, params=data)
        return self._send(
            "POST",
            urlpath,
            body=urllib.parse.urlencode(data),
            headers={**_FORM, **(headers or {})},
        )

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        url = self.uri + path
        if self._handler is not None:
            return answer(self._handler, method, url, params=params, body=body, headers=headers)
        return send(
            self.session, method, url,
            params=params, body=body, headers=headers, timeouts=self._timeouts,
        )  # fmt: skip


class KrakenCalls:
    """The methods of Kraken's interface by name.

    Args:
        key: API key; empty for public calls only.
        secret: its secret, base64.
        url: base address.
        now: the time as the exchange knows it.
        nonces: where nonces come from.
        timeouts: limits of each call.
        retries: how reads are repeated.
        tier: limits of the account; None for an exchange without limits.
        handler: answers in this process instead of the network.
        sleep: how to wait between attempts.
        seed: of the jitter.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        url: str,
        now: Callable[[], datetime],
        nonces: NonceSource,
        timeouts: Timeouts,
        retries: Retries,
        tier: Tier | None = None,
        handler: Handler | None = None,
        sleep: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        self.url = url
        self.has_key = bool(key and secret)
        self._now = now
        self._retries = retries
        self._sleep = sleep
        self._jitter = random.Random(seed)
        self._api = _Api(key, secret, url, nonces, timeouts, handler)
        if _is_local(url):
            self._api.session.trust_env = False  # a proxy is for the world outside
        self._private_budget = self._public_budget = None
        if tier is not None:
            self._private_budget = RateBudget(tier.rest_maximum - 1, tier.rest_decay, sleep=sleep)
            self._public_budget = RateBudget(10, 1.0, sleep=sleep)

    def __repr__(self) -> str:
        return f"KrakenCalls({self.url!r}, key={'****' if self.has_key else ''!r})"

    def close(self) -> None:
        """Give the connections back."""
        self._api.close()

    def public(
        self, call: str, params: dict[str, Any], parse: Callable[[Any], T], *, repeat: bool = True
    ) -> T:
        """Read what everybody may see, and parse it."""

        def once() -> T:
            if self._public_budget is not None:
                self._public_budget.spend(1)
            reply = self._read_reply(call, lambda: self._api.query_public(call, dict(params)))
            return self._result_of_read(call, reply, parse)

        return self._repeated(once) if repeat else once()

    def private(self, call: str, form: dict[str, Any], parse: Callable[[Any], T]) -> T:
        """Read from the account, and parse it."""
        self._need_key(call)

        def once() -> T:
            if self._private_budget is not None:
                self._private_budget.spend(rest_cost(call))
            reply = self._read_reply(call, lambda: self._api.query_private(call, dict(form)))
            return self._result_of_read(call, reply, parse)

        return self._repeated(once)

    def _repeated(self, once: Callable[[], T]) -> T:
        """Ask, and ask again while the fault may pass and there is time left."""
        ends = time.monotonic() + self._retries.budget_s
        attempt = 1
        while True:
            try:
                return once()
            except ExchangeError as fault:
                last = attempt >= self._retries.attempts or time.monotonic() >= ends
                if last or not _may_be_repeated(fault):
                    raise
                pause_s = self._pause(attempt, fault)
            self._sleep(pause_s)
            attempt += 1

    def _pause(self, attempt: int, fault: ExchangeError) -> float:
        policy = self._retries
        ceiling = min(policy.longest_pause_s, policy.first_pause_s * 2 ** (attempt - 1))
        asked = fault.retry_after_s if isinstance(fault, RateLimited) else 0.0
        return asked + self._jitter.uniform(0, ceiling)

    def _read_reply(self, call: str, ask: Callable[[], Reply]) -> Reply:
        try:
            reply = ask()
        except NoReply as fault:
            raise Unreachable(f"Kraken does not answer {call}: {fault}", _REACH_HINT) from fault
        if reply.status == 429:
            raise RateLimited(f"Kraken refuses {call}: too many requests", "Wait.", 5.0)
        if reply.status != 200:
            raise Unreachable(
                f"Kraken answers {call} with HTTP status {reply.status}", _REACH_HINT
            )
        return reply

    def _result_of_read(self, call: str, reply: Reply, parse: Callable[[Any], T]) -> T:
        try:
            envelope = answers.parse_json(reply.body)
        except ValueError as fault:
            raise Unreachable(
                f"Kraken's answer to {call} is damaged ({len(reply.body)} bytes)", _REACH_HINT
            ) from fault
        errors, result = _opened(call, envelope)
        if errors:
            refusal = error_for(errors, call=call, changes=False, now_s=self._now().timestamp())
            if isinstance(refusal, RateLimited) and self._private_budget is not None:
                self._private_budget.penalise()
            raise refusal
        return answers.read_as(call, parse, result)

    def change(self, call: str, form: dict[str, Any], parse: Callable[[Any], T]) -> T:
        """Send once; whatever is not a clear yes or no is `OutcomeUnknown`."""
        self._need_key(call)
        try:
            reply = self._api.query_private(call, dict(form))
        except NoReply as fault:
            if not fault.sent:
                raise Unreachable(f"{call} was not sent: {fault}", _REACH_HINT) from fault
            _unknown(call, str(fault), fault)
        if reply.status != 200:
            _unknown(call, f"HTTP status {reply.status}", None)
        try:
            errors, result = _opened(call, answers.parse_json(reply.body))
            if not errors:
                return answers.read_as(call, parse, result)
        except (ValueError, UnexpectedAnswer) as fault:
            _unknown(call, "an answer that cannot be read", fault)
        raise error_for(errors, call=call, changes=True, now_s=self._now().timestamp())

    def _need_key(self, call: str) -> None:
        if not self.has_key:
            raise AuthError(f"{call} needs a Kraken key", _NO_KEYS_HINT)


def _unknown(call: str, what: str, fault: Exception | None) -> NoReturn:
    raise OutcomeUnknown(f"{call}: outcome unknown: {what}", _UNKNOWN_HINT) from fault


def _may_be_repeated(fault: ExchangeError) -> bool:
    if isinstance(fault, RateLimited):
        return fault.retry_after_s <= _LONGEST_RATE_WAIT_S
    return fault.retryable


def _opened(call: str, envelope: Any) -> tuple[list[str], Any]:
    """Errors (warnings left out) and result of an answer."""
    if not isinstance(envelope, dict) or not isinstance(envelope.get("error"), list):
        raise UnexpectedAnswer(f"Kraken's answer to {call} has no 'error' list")
    errors = [text for text in map(str, envelope["error"]) if not text.startswith("W")]
    if not errors and "result" not in envelope:
        raise UnexpectedAnswer(f"Kraken's answer to {call} has no result")
    return errors, envelope.get("result")


def _is_local(url: str) -> bool:
    return urllib.parse.urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1", "sandbox"}
