"""One seam to the network: send a request, get status and text within a time limit.

`send` bounds the whole exchange, not only each read: a server that drips one byte a second cannot
hold the loop. `answer` has the same request answered by a handler object, without a socket, as
paper trading does. `redact` takes secrets out of whatever is shown or logged.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import requests
import urllib3

MAX_BODY_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds a call may take: to connect, between two pieces of the answer, and in all."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    content_type: str
    body: bytes


class NoReply(Exception):
    """No complete answer came: the request may or may not have been carried out.

    Attributes:
        sent: False if the request certainly never left (no connection).
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeouts: Timeouts,
) -> Reply:
    """Send one request and read its whole answer.

    Raises:
        NoReply: connection refused or broken, time over, or an answer without an end.
    """
    ends = time.monotonic() + timeouts.total_s
    try:
        with session.request(
            method,
            url,
            params=params,
            data=body,
            headers=headers,
            timeout=(timeouts.connect_s, timeouts.read_s),
            stream=True,
            allow_redirects=False,
        ) as response:
            content = _read_all(response, ends, timeouts.total_s)
            kind = response.headers.get("Content-Type", "")
            return Reply(response.status_code, kind, content)
    except requests.exceptions.ConnectTimeout as fault:
        raise NoReply(f"no connection within {timeouts.connect_s:g} s", sent=False) from fault
    except requests.exceptions.Timeout as fault:
        raise NoReply(f"no answer within {timeouts.read_s:g} s") from fault
    except requests.exceptions.ConnectionError as fault:
        raise NoReply(_broken(fault), sent=not _never_connected(fault)) from fault
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as fault:
        raise NoReply(f"the answer broke off ({type(fault).__name__})") from fault
    except (OSError, ValueError) as fault:
        raise NoReply(f"the connection failed ({type(fault).__name__})") from fault


def _read_all(response: requests.Response, ends: float, total_s: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := response.raw.read1(_CHUNK, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise NoReply(f"the answer is longer than {MAX_BODY_BYTES} bytes")
        if time.monotonic() > ends:
            raise NoReply(f"the answer was not complete after {total_s:g} s")
    return b"".join(pieces)


def _never_connected(fault: requests.exceptions.ConnectionError) -> bool:
    reason = getattr(fault.args[0] if fault.args else None, "reason", None)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _broken(fault: requests.exceptions.ConnectionError) -> str:
    return "no connection" if _never_connected(fault) else "the connection broke off"


class Handler(Protocol):
    """Answers requests without a socket."""

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        ...


def answer(
    handler: Handler,
    method: str,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Have a request answered by a handler: the same request as `send`, without a socket.

    Raises:
        NoReply: where the handler gives no complete answer.
    """
    parts = urlsplit(url)
    query = urlencode(params) if params else parts.query
    return Reply(*handler.handle(method, parts.path, query, headers or {}, (body or "").encode()))


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with each secret replaced by stars; empty and very short ones are left alone."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "****")
    return text
