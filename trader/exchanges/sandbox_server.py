"""The sandbox exchange under Kraken's paths: what other people's clients talk to unchanged.

`KrakenWire.handle` is the whole exchange as a function from request to answer, without sockets.
`create_app` puts it behind Flask, `Server` behind a port.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.domain.errors import ExchangeError, UsageError
from trader.exchanges.kraken_limits import DecayingCounter, Tier
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.transport import Handler, NoReply
from trader.exchanges.wire.account import AccountMethods
from trader.exchanges.wire.forms import MAX_BODY_BYTES, Form, Refused
from trader.exchanges.wire.keys import ApiKey, KeyRing
from trader.exchanges.wire.public import PublicMethods
from trader.exchanges.wire.trading import TradingMethods
from trader.exchanges.wire.words import Rendered

JSON = "application/json"
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"
MODES = ("online", "maintenance", "cancel_only", "post_only")
"""Kraken's states of the whole exchange; in all but the first nothing is matched."""
_PUBLIC = "/0/public/"
_PRIVATE = "/0/private/"
_MILLISECONDS = re.compile(rb'nonce"?\s*[=:]\s*"?(\d{13})(?!\d)')
_LONGEST_HOLD_NS = 5_000_000
_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import flask


class KrakenWire:
    """Kraken's REST interface over a sandbox.

    Args:
        exchange: the market and the account.
        keys: who may use the private methods.
        tier: limits of the account; None for none, which suits fast replays.
        nonces: folder that keeps the highest nonce of each key from run to run.
    """

    def __init__(
        self,
        exchange: SandboxExchange,
        keys: Iterable[ApiKey] = (),
        tier: Tier | None = None,
        nonces: Path | None = None,
    ) -> None:
        self.exchange = exchange
        self.public = PublicMethods(exchange)
        self._keys = KeyRing(keys, tier, nonces)
        account = AccountMethods(exchange, self.public, self._keys)
        self.trading = TradingMethods(exchange, self.public, account, tier)
        self._private: Mapping[str, Callable[[Form, ApiKey], Any]] = {
            **account.methods,
            **self.trading.methods,
        }
        self._public_calls = DecayingCounter(1.0) if tier else None

    @property
    def mode(self) -> str:
        """One of `MODES`."""
        return self.public.status

    def set_mode(self, mode: str) -> None:
        """Put the whole exchange into one of `MODES`.

        Raises:
            UsageError: if there is no such mode.
        """
        if mode not in MODES:
            raise UsageError(f"mode '{mode}'", f"There is {', '.join(MODES)}.")
        self.exchange.halt(mode != "online")
        self.public.status = mode

    def close(self) -> None:
        """Let go of what it keeps on disk."""
        self._keys.close()

    def handle(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Answer one request: status, content type, body. Never raises."""
        if not path.startswith((_PUBLIC, _PRIVATE)):
            return 404, "text/html", _NOT_FOUND
        try:
            with self.exchange.at_one_moment():
                result = self._result(method, path, query, headers, body)
            return 200, JSON, _success(result)
        except Refused as refusal:
            answer = {"error": [refusal.text]}
        except ExchangeError as fault:
            _log.info("sandbox_unavailable path=%s reason=%s", path, fault.message)
            answer = {"error": ["EService:Unavailable"]}
        except Exception:  # noqa: BLE001 - whatever a request does, the exchange goes on
            _log.exception("sandbox_internal_error path=%s", path)
            answer = {"error": ["EGeneral:Internal error"]}
        return 200, JSON, _json(answer).encode()

    def _result(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Any:
        self.trading.let_switch_act()
        if path.startswith(_PUBLIC):
            return self._public_result(method, path.removeprefix(_PUBLIC), query)
        call = path.removeprefix(_PRIVATE)
        found = self._private.get(call)
        if found is None or method != "POST":
            raise Refused("EGeneral:Unknown method")
        form = Form.of_body(_header(headers, "Content-Type"), body)
        plain = {name: _header(headers, name) for name in ("API-Key", "API-Sign")}
        return found(form, self._keys.admit(call, path, plain, form, body, self._now_s()))

    def _public_result(self, method: str, call: str, query: str) -> Any:
        found = self.public.methods.get(call)
        if found is None or method != "GET":
            raise Refused("EGeneral:Unknown method")
        if self._public_calls is not None and self._public_calls.add(1, self._now_s()) > 20:
            raise Refused("EAPI:Rate limit exceeded")
        return found(Form.of_query(query))

    def _now_s(self) -> float:
        return self.exchange.server_time().timestamp()


_json = json.JSONEncoder(separators=(",", ":")).encode


def _success(result: Any) -> bytes:
    text = result if isinstance(result, Rendered) else _json(result)
    return f'{{"error":[],"result":{text}}}'.encode()


def _header(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name) or headers.get(name.lower()) or ""
    return found.decode("latin-1") if isinstance(found, bytes) else found


def _breaking_off(silence: NoReply, hang: Callable[[], object]) -> Iterator[bytes]:
    """An answer that breaks off, after a long silence where the fault is one."""
    yield getattr(silence, "sent_bytes", b"")
    if not hasattr(silence, "sent_bytes"):
        hang()
    raise ConnectionAbortedError(str(silence))


def _let_the_millisecond_pass(body: bytes) -> None:
    """Hold an answer back while the clock still shows the request's nonce.

    Clients whose nonce is the time in milliseconds use one twice where an answer comes sooner
    than over the internet. Other nonces wait for nothing.
    """
    found = _MILLISECONDS.search(body)
    if found:
        wait_ns = (int(found[1]) + 1) * 1_000_000 - time.time_ns()
        if 0 < wait_ns <= _LONGEST_HOLD_NS:
            time.sleep(wait_ns / 1e9)


def create_app(
    handler: Handler, hang: Callable[[], object] = lambda: time.sleep(60)
) -> flask.Flask:
    """A WSGI application around a handler.

    Args:
        handler: answers the requests.
        hang: lets the time pass while the handler does not answer.
    """
    import flask  # only a server needs it, the wire in the same process does not

    app = flask.Flask("sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    def answer(path: str) -> flask.Response:
        request = flask.request
        sent = request.get_data(cache=False)
        try:
            status, content_type, body = handler.handle(
                request.method,
                request.path,
                request.query_string.decode("latin-1"),
                request.headers,  # type: ignore[arg-type]
                sent,
            )
        except NoReply as silence:
            return flask.Response(
                _breaking_off(silence, hang), headers={"Content-Length": "1000000"}
            )
        _let_the_millisecond_pass(sent)
        return flask.Response(body, status=status, content_type=content_type)

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH"]
    app.add_url_rule("/", "root", answer, methods=methods, defaults={"path": ""})
    app.add_url_rule("/<path:path>", "any", answer, methods=methods)
    return app


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base address for clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Server:
    """A handler behind a port; also a context manager that serves from a thread.

    Args:
        handler: answers the requests.
        host: address to listen on.
        port: 0 for any free one.
        threads: requests answered at the same time.
        hang_s: how long a request is kept waiting that the handler does not answer.

    Raises:
        UsageError: if the port cannot be used.
    """

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        threads: int = 8,
        hang_s: float = 60.0,
    ) -> None:
        import waitress.server

        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        listener = _listen(host, port)
        self._closing = threading.Event()
        self._server = waitress.server.create_server(
            create_app(handler, lambda: self._closing.wait(hang_s)),
            sockets=[listener],
            threads=threads,
        )
        self.address = Address(host, int(listener.getsockname()[1]))
        self._thread: threading.Thread | None = None

    def run(self) -> None:
        """Serve until interrupted."""
        try:
            self._server.run()
        finally:
            self._drop_connections()

    def close(self) -> None:
        """Stop listening, end the threads and drop the connections."""
        self._closing.set()
        # First the threads that answer: they wake the one that serves, which must live so long.
        self._server.task_dispatcher.shutdown()
        if self._thread is not None:
            # The connections belong to the serving thread, which alone may close them.
            # It may be awake already, and done before it is woken.
            with contextlib.suppress(OSError):
                self._server.trigger.pull_trigger(self._drop_connections)
            self._thread.join(5)
        self._drop_connections()

    def _drop_connections(self) -> None:
        import waitress.wasyncore

        waitress.wasyncore.close_all(self._server._map, ignore_all=True)

    def __enter__(self) -> Address:
        self._thread = threading.Thread(target=self._server.run, name="sandbox", daemon=True)
        self._thread.start()
        return self.address

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        UsageError: if the address or port cannot be used.
    """
    if not 0 <= port <= 65535:
        raise _unusable(host, port, ValueError("ports go from 0 to 65535"))
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as fault:
        raise _unusable(host, port, fault) from fault
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as fault:
        found.close()
        raise _unusable(host, port, fault) from fault
    return found


def _unusable(host: str, port: int, fault: Exception) -> UsageError:
    reason = getattr(fault, "strerror", None) or str(fault)
    return UsageError(
        f"cannot listen on {host} port {port}: {reason}",
        "Choose another one with --port; 0 takes any that is free.",
    )
