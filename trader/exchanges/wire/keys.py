"""Keys of the sandbox: who may do what, signature over the raw bytes, rising nonces, lock-out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trader.domain.errors import UsageError
from trader.exchanges.kraken_limits import DecayingCounter, Tier, rest_cost
from trader.exchanges.wire.forms import Form, Refused

PERMISSIONS = (
    "query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades",
    "query-ledger", "export-data", "create-ws-token",
)  # fmt: skip

# A call needs every one of the first tuple, or every one of the second, and so on.
NEEDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "GetApiKeyInfo": ((),),
    "Balance": (("query-funds",),),
    "BalanceEx": (("query-funds",),),
    "TradeVolume": (("query-funds",),),
    "TradeBalance": (("query-open-trades",), ("query-funds",)),
    "OpenOrders": (("query-open-trades",),),
    "OpenPositions": (("query-open-trades",),),
    "QueryOrders": (("query-open-trades",), ("query-closed-trades",)),
    "ClosedOrders": (("query-closed-trades",),),
    "TradesHistory": (("query-closed-trades",),),
    "QueryTrades": (("query-closed-trades",),),
    "AddOrder": (("modify-trades",),),
    "AddOrderBatch": (("modify-trades", "close-trades"),),
    "EditOrder": (("modify-trades", "close-trades"),),
    "AmendOrder": (("modify-trades",), ("close-trades",)),
    "CancelOrder": (("close-trades",), ("modify-trades",)),
    "CancelOrderBatch": (("close-trades",), ("modify-trades",)),
    "CancelAll": (("close-trades",), ("modify-trades",)),
    "CancelAllOrdersAfter": (("close-trades",), ("modify-trades",)),
    "Ledgers": (("query-ledger",),),
    "QueryLedgers": (("query-ledger",),),
    "GetWebSocketsToken": (("create-ws-token",),),
}

_NONCE_LIMIT = 1 << 64
_FAULTS_BEFORE_LOCKOUT = 20
_FAULT_DECAY = 20 / 60
_LOCKOUT_S = 900.0


def sign(secret: str, path: str, nonce: str, body: bytes) -> str:
    """The signature of a private request.

    HMAC-SHA512 over path and SHA-256 of nonce and body, with the decoded secret as key, in
    base 64. Source: Kraken's REST documentation, "Authentication".
    """
    digest = hashlib.sha256(nonce.encode() + body).digest()
    mac = hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512)
    return base64.b64encode(mac.digest()).decode()


@dataclass(frozen=True)
class ApiKey:
    """A key and what it may do.

    Attributes:
        secret: base64; never shown.
        otp: second factor that each request has to carry, empty for none.
        nonce_window: how far below the highest a nonce may be.
        created_at_s: Unix time.
    """

    key: str
    secret: str = field(repr=False)
    permissions: frozenset[str] = frozenset(PERMISSIONS)
    name: str = "sandbox"
    otp: str = field(default="", repr=False)
    nonce_window: int = 0
    created_at_s: int = 0

    @classmethod
    def generate(cls, name: str = "sandbox", created_at_s: int = 0) -> ApiKey:
        """A new key in Kraken's form: 56 characters, and a secret of 64 bytes."""
        key = base64.b64encode(secrets.token_bytes(42)).decode()
        secret = base64.b64encode(secrets.token_bytes(64)).decode()
        return cls(key, secret, name=name, created_at_s=created_at_s)


class _Guard:
    """What is remembered of one key."""

    def __init__(self, key: ApiKey, tier: Tier | None) -> None:
        self.key = key
        self.highest = -1
        self.seen: set[int] = set()
        self.last_used_s = 0.0
        self.rest = DecayingCounter(tier.rest_decay) if tier else None

    def take(self, nonce: int) -> bool:
        """Whether the nonce is good; it is used up then."""
        if nonce > self.highest:
            self.highest = nonce
        elif nonce <= self.highest - self.key.nonce_window or nonce in self.seen:
            return False
        if self.key.nonce_window:
            self.seen.add(nonce)
            floor = self.highest - self.key.nonce_window
            self.seen = {kept for kept in self.seen if kept > floor}
        return True


class KeyRing:
    """All keys of the sandbox and the checks on each private request.

    Checked in this order: lock-out, key, signature, nonce, second factor, permission, rate.

    Args:
        keys: who may ask.
        tier: limits; None for no limits and no lock-out.
    """

    def __init__(self, keys: Iterable[ApiKey], tier: Tier | None = None) -> None:
        self._guards = {key.key: _Guard(key, tier) for key in keys}
        self._tier = tier
        self._faults = DecayingCounter(_FAULT_DECAY)
        self._locked_until_s = 0.0
        self._lock = threading.Lock()

    def admit(
        self,
        call: str,
        path: str,
        headers: Mapping[str, str],
        form: Form,
        body: bytes,
        now_s: float,
    ) -> ApiKey:
        """The key of a request that may go on.

        Raises:
            Refused: with Kraken's words.
        """
        with self._lock:
            if self._tier and now_s < self._locked_until_s:
                raise Refused("EGeneral:Temporary lockout")
            try:
                guard = self._authentic(path, headers, form, body)
            except Refused:
                self._count_fault(now_s)
                raise
            self._second_factor(guard.key, form)
            self._permitted(guard.key, call)
            self._within_rate(guard, call, now_s)
            guard.last_used_s = now_s
            return guard.key

    def highest_nonce(self, key: str) -> int:
        """The highest nonce accepted from a key, -1 before the first."""
        return self._guards[key].highest

    def _authentic(self, path: str, headers: Mapping[str, str], form: Form, body: bytes) -> _Guard:
        guard = self._guards.get(headers.get("API-Key", ""))
        if guard is None:
            raise Refused("EAPI:Invalid key")
        nonce = form.text("nonce")
        try:
            wanted = sign(guard.key.secret, path, nonce, body)
        except (binascii.Error, ValueError):
            raise Refused("EAPI:Invalid signature") from None
        given = headers.get("API-Sign", "")
        if not hmac.compare_digest(wanted.encode(), given.encode()):
            raise Refused("EAPI:Invalid signature")
        if not (nonce.isascii() and nonce.isdigit() and len(nonce) <= 20):
            raise Refused("EAPI:Invalid nonce")
        if int(nonce) >= _NONCE_LIMIT or not guard.take(int(nonce)):
            raise Refused("EAPI:Invalid nonce")
        return guard

    def _count_fault(self, now_s: float) -> None:
        if self._tier and self._faults.add(1, now_s) > _FAULTS_BEFORE_LOCKOUT:
            self._locked_until_s = now_s + _LOCKOUT_S

    @staticmethod
    def _second_factor(key: ApiKey, form: Form) -> None:
        if key.otp and not hmac.compare_digest(key.otp.encode(), form.text("otp").encode()):
            raise Refused("EGeneral:Invalid arguments:otp")

    @staticmethod
    def _permitted(key: ApiKey, call: str) -> None:
        ways = NEEDS.get(call, ())
        if not any(key.permissions.issuperset(way) for way in ways):
            raise Refused("EGeneral:Permission denied")

    def _within_rate(self, guard: _Guard, call: str, now_s: float) -> None:
        if guard.rest is None or self._tier is None:
            return
        # A call made while limited counts too: it makes the wait longer.
        if guard.rest.add(rest_cost(call), now_s) > self._tier.rest_maximum:
            raise Refused("EAPI:Rate limit exceeded")


def load_or_make(path: Path) -> ApiKey:
    """The key stored in a file; a new one is made and stored where there is none.

    The file is readable by its owner only.

    Raises:
        UsageError: if the file is damaged.
    """
    if not path.exists():
        key = ApiKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key.key, "secret": key.secret})
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        return key
    try:
        stored = json.loads(path.read_text("ascii"))
        base64.b64decode(stored["secret"], validate=True)
        return ApiKey(str(stored["key"]), str(stored["secret"]))
    except (ValueError, KeyError, TypeError) as fault:
        raise UsageError(
            f"{path} does not hold a key of the sandbox", "Remove it; a new one is made."
        ) from fault
