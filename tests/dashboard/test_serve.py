"""The dashboard's port."""

import socket

import pytest

from trader.dashboard.serve import open_port
from trader.domain.errors import UsageError


def test_the_port_takes_callers_before_anything_is_served() -> None:
    with (
        open_port("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname(), timeout=2) as caller,
    ):
        assert caller.getpeername() == listener.getsockname()


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with open_port("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            open_port("127.0.0.1", port)
