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
from io import FileIO
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


class KeptNonce:
    """The highest nonce of a key in a file, so that it also binds the next run.

    It survives the end of the process, however it ends.

    Args:
        path: the file; its folder is made when needed.
    """

    _DIGITS = 20

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def read(self) -> int:
        """The highest nonce so far, -1 before the first."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return -1
        return int(text) if text.isdigit() and len(text) <= self._DIGITS else -1

    def write(self, nonce: int) -> None:
        """Keep a nonce."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600), "w")
        os.pwrite(self._file.fileno(), b"%020d" % nonce, 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Guard:
    """What is remembered of one key."""

    def __init__(self, key: ApiKey, tier: Tier | None, kept: KeptNonce | None) -> None:
        self.key = key
        self._kept = kept
        self.highest = -1 if kept is None else kept.read()
        # What was used before the start is not known one by one: no window reaches below it.
        self._floor = self.highest
        self.seen: set[int] = set()
        self.last_used_s = 0.0
        self.rest = DecayingCounter(tier.rest_decay) if tier else None

    def take(self, nonce: int) -> bool:
        """Whether the nonce is good; it is used up then."""
        if nonce > self.highest:
            self.highest = nonce
            if self._kept is not None:
                self._kept.write(nonce)
        elif nonce <= max(self._floor, self.highest - self.key.nonce_window) or nonce in self.seen:
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
        nonces: where the highest nonces of the keys are kept; without it they are forgotten.
    """

    def __init__(
        self, keys: Iterable[ApiKey], tier: Tier | None = None, nonces: Path | None = None
    ) -> None:
        wanted = list(keys)
        self._kept = (
            {}
            if nonces is None
            else {
                key.key: KeptNonce(
                    nonces / f"nonce-{hashlib.sha256(key.key.encode()).hexdigest()[:16]}"
                )
                for key in wanted
            }
        )
        self._guards = {key.key: _Guard(key, tier, self._kept.get(key.key)) for key in wanted}
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

    def close(self) -> None:
        """Let go of the files."""
        for kept in self._kept.values():
            kept.close()

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
        if guard.rest is None or self._tier is None or not rest_cost(call):
            return
        # A call made while limited counts too: it makes the wait longer.
        if guard.rest.add(rest_cost(call), now_s) > self._tier.rest_maximum:
            raise Refused("EAPI:Rate limit exceeded")


def _short(key: str) -> str:
    """A name for a key that does not give it away."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


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
