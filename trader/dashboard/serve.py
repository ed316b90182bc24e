"""The dashboard on a port, in this process or beside the loop."""

from __future__ import annotations

import socket
import threading
from typing import Any

from flask import Flask

from trader.domain.errors import UsageError

# Each open page keeps one thread for its live updates; they sleep nearly all the time.
THREADS = 96


class Served:
    """A dashboard that listens.

    Args:
        app: the application.
        host: address to listen on.
        port: 0 picks a free one.
        listener: a port that is open already, instead of opening one.

    Raises:
        UsageError: if the port is taken or the address is not this machine's.
    """

    def __init__(
        self, app: Flask, host: str, port: int, listener: socket.socket | None = None
    ) -> None:
        import waitress.server

        self._socket = open_port(host, port) if listener is None else listener
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self._app = app
        self._server: Any = waitress.server.create_server(
            app,
            sockets=[self._socket],
            threads=THREADS,
            ident="",
            clear_untrusted_proxy_headers=True,
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return url_of(self.host, self.port)

    def run(self) -> None:
        """Serve until interrupted or closed."""
        # A long journal is read before the first page asks for it.
        threading.Thread(target=self._app.extensions["warm"], name="warm", daemon=True).start()
        try:
            self._server.run()
        except OSError:
            # Closing takes the socket away under a loop that waits on it.
            if not self._app.extensions["closing"].is_set():
                raise

    def start(self) -> None:
        """Serve in the background of this process."""
        self._thread = threading.Thread(target=self.run, name="dashboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; open pages lose their live updates."""
        self._app.extensions["closing"].set()
        self._server.task_dispatcher.shutdown(timeout=3)
        self._server.close()
        if self._thread is not None:
            self._thread.join(3)
        for channel in list(self._server.active_channels.values()):
            channel.close()  # the pages still open: their sockets are ours to give back
        self._socket.close()


def url_of(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens there."""
    name = "localhost" if host in {"127.0.0.1", "0.0.0.0", "::", "::1"} else host  # noqa: S104
    return f"http://{name}:{port}"


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens: who calls before it is served waits; 0 picks a free port.

    Raises:
        UsageError: if the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(THREADS)
    except OSError as fault:
        listener.close()
        raise UsageError(
            f"the dashboard cannot listen on {host}:{port} ({fault.strerror})",
            "Another program uses the port: choose one with DASHBOARD_PORT or --port, or start "
            "with --no-dashboard.",
        ) from fault
    return listener
