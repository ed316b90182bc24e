"""What holds for every test: no settings of the developer, no network beyond this machine."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from config import KNOWN, is_loopback


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees only the settings that it makes itself."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Connections leave this machine for nobody; the caller sees an unreachable network."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(str(address[0])):
            raise OSError(101, "Network is unreachable (tests stay on this machine)")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield
