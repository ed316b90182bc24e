"""Answers are computed once for all pages that ask the same at the same moment.

Fifty open browsers ask fifty times for what changed once; the bot's machine has better things to
do than to compute it fifty times.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, request

KEEP = 128
FRESH_S = 2.0
"""Ages and countdowns in an answer may be this old."""
_WORTH_PACKING = 2_000


@dataclass(frozen=True, slots=True)
class _Kept:
    version: str
    made_at: float
    body: bytes
    packed: bytes | None


class Answers:
    """JSON answers by question, kept while nothing new has happened.

    Args:
        version: a text that changes when there is something new.
    """

    def __init__(self, version: Callable[[], str]) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def give(self, key: str, question: Callable[[], dict[str, Any]]) -> Response:
        """The answer to a question named by its key, computed if it is not there or too old."""
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            try:
                kept = self._find(key) or self._make(key, question)
            except Exception:
                with self._lock:
                    self._busy.pop(key, None)
                raise
        if kept.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            answer = Response(kept.packed, mimetype="application/json")
            answer.headers["Content-Encoding"] = "gzip"
        else:
            answer = Response(kept.body, mimetype="application/json")
        answer.headers["Vary"] = "Accept-Encoding, Cookie"
        return answer

    def forget(self) -> None:
        """Compute everything anew: something was changed from here."""
        with self._lock:
            self._kept.clear()

    def _find(self, key: str) -> _Kept | None:
        version, now = self._version(), time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept.version != version or now - kept.made_at > FRESH_S:
            return None
        return kept

    def _make(self, key: str, question: Callable[[], dict[str, Any]]) -> _Kept:
        version = self._version()
        body = json.dumps(question(), ensure_ascii=False, separators=(",", ":")).encode()
        packed = gzip.compress(body, 1) if len(body) > _WORTH_PACKING else None
        kept = _Kept(version, time.monotonic(), body, packed)
        with self._lock:
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > KEEP:
                old, _ = self._kept.popitem(last=False)
                self._busy.pop(old, None)
        return kept
