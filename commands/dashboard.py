"""The dashboard as the settings want it, for `start` and for its own script."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from config import SETTINGS, Config

if TYPE_CHECKING:
    from trader.dashboard import SettingRow
    from trader.dashboard.serve import Served


def listen(config: Config, host: str | None = None, port: int | None = None) -> Served:
    """A dashboard on its port; not serving yet.

    Raises:
        UsageError: if the port is taken.
    """
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
        )
    )
    return Served(app, config.dashboard_host, config.dashboard_port if port is None else port)


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
