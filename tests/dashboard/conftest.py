"""A dashboard on a real port, and a real browser to look at it."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.demo_account import DemoAccount
from trader.clocks import SystemClock
from trader.dashboard import DashboardSettings, create_app
from trader.dashboard.serve import Served
from trader.storage.day_log import DayLog

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-quic",
]  # fmt: skip


@pytest.fixture
def account(tmp_path: Path) -> DemoAccount:
    made = DemoAccount(tmp_path / "data")
    log = DayLog(tmp_path / "logs", lambda: date(2024, 3, 13))
    for number, event in made.journal.events():
        log.take(number, event)
    return made


def settings(tmp_path: Path, password: str = "") -> DashboardSettings:
    return DashboardSettings(
        tmp_path / "data", tmp_path / "logs", SystemClock().now, password=password
    )


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    served = Served(create_app(settings(tmp_path)), "127.0.0.1", 0)
    served.start()
    yield served
    served.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    yield opened
    context.close()
