"""The dashboard as the settings want it, for `start` and for its own script.

`start` gives it a process of its own: fifty open browsers then cost the loop nothing but a share
of the machine. `python -m commands.dashboard FD` is that process; it ends with the bot.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from config import SETTINGS, Config

if TYPE_CHECKING:
    from trader.dashboard import SettingRow
    from trader.dashboard.serve import Served


_ROOT = Path(__file__).resolve().parents[1]
_POLITE = 5
"""So much nicer than the loop is its dashboard."""
_PATIENCE_S = 3.0


class Beside:
    """The dashboard in a process of its own, on a port that is opened here.

    The port is open from the first moment, so a taken one is told at once and early visitors
    wait a second instead of being turned away.

    Raises:
        UsageError: if the port is taken.
    """

    def __init__(self, config: Config) -> None:
        from trader.dashboard.serve import open_port, url_of

        self._socket = open_port(config.dashboard_host, config.dashboard_port)
        self.url = url_of(config.dashboard_host, int(self._socket.getsockname()[1]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to serve; it ends when this process does, however that ends."""
        number = self._socket.fileno()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "commands.dashboard", str(number)],
            pass_fds=[number],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            # Ctrl-C is the loop's to hear; the dashboard shows how it ended.
            start_new_session=True,
        )
        self._socket.close()

    def close(self) -> None:
        """End it."""
        self._socket.close()
        if self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def beside(config: Config) -> Beside | Served:
    """A dashboard that does not disturb the loop; in this process where no other can be had.

    Raises:
        UsageError: if the port is taken.
    """
    return Beside(config) if os.name == "posix" else listen(config)


def main(words: list[str]) -> int:
    """The process beside the loop: serve on an open socket until the other end goes away."""
    from config import load_config

    os.nice(_POLITE)
    served = listen(load_config(), listener=socket.socket(fileno=int(words[0])))
    served.start()
    sys.stdin.buffer.read()
    # Pages that stay open hold their threads for a moment; nobody waits for them.
    threading.Timer(_PATIENCE_S / 2, lambda: os._exit(0)).start()
    served.close()
    os._exit(0)


def listen(
    config: Config,
    host: str | None = None,
    port: int | None = None,
    listener: socket.socket | None = None,
) -> Served:
    """A dashboard on its port; not serving yet.

    Raises:
        UsageError: if the port is taken.
    """
    from commands.running import of_settings
    from trader.clocks import SystemClock
    from trader.dashboard import DashboardSettings, create_app
    from trader.dashboard.serve import Served

    config = replace(config, dashboard_host=host or config.dashboard_host)
    app = create_app(
        DashboardSettings(
            data_dir=config.data_dir,
            logs_dir=config.logs_dir,
            models_dir=config.models_dir,
            now=SystemClock().now,
            host=config.dashboard_host,
            password=config.dashboard_password,
            settings=_rows(config),
            ours=of_settings(config),
        )
    )
    port = config.dashboard_port if port is None else port
    return Served(app, config.dashboard_host, port, listener)


def _rows(config: Config) -> tuple[SettingRow, ...]:
    from trader.dashboard import SettingRow

    return tuple(
        SettingRow(
            setting.name,
            _shown(getattr(config, setting.attribute), setting.secret),
            config.sources.get(setting.name, "default"),
            setting.help,
            setting.section,
        )
        for setting in SETTINGS
    )


def _shown(value: object, secret: bool) -> str:
    if secret:
        return "set" if value else "not set"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
