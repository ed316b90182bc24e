"""The dashboard: a page that shows the bot and lets one stop it. It reads, and trades nothing."""

from trader.dashboard.app import DashboardSettings, SettingRow, create_app

__all__ = ["DashboardSettings", "SettingRow", "create_app"]
