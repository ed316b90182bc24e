"""A dashboard on a real port, and a real browser to look at it."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.demo_account import DemoAccount
from trader.clocks import SystemClock
from trader.dashboard import DashboardSettings, SettingRow, create_app
from trader.dashboard.serve import Served
from trader.storage.backtest_index import BacktestIndex
from trader.storage.day_log import DayLog


def filled(folder: Path) -> DemoAccount:
    made = DemoAccount(folder / "data")
    log = DayLog(folder / "logs", lambda: date(2024, 3, 13))
    for number, event in made.journal.events():
        log.take(number, event)
    return made


def write_runs(folder: Path) -> list[str]:
    """Two backtests as `--out` leaves them; their ids, the newest first."""
    index = BacktestIndex(folder / "data")
    for hour, strategy in enumerate(("trend", "ensemble")):
        out = folder / "runs" / strategy
        out.mkdir(parents=True)
        metrics = {"total_return": 0.1 + hour / 10, "sharpe": 1.2, "trades": 9, "dsr": 0.4}
        result = {
            "pairs": ["BTC/USD"], "timeframe": "4h", "strategy": strategy, "trials": 3,
            "start": "2023-01-01T00:00:00Z", "end": "2023-12-31T00:00:00Z", "metrics": metrics,
            "baselines": {"buy_and_hold": {"total_return": 0.3}}, "licence": {"granted": False},
        }  # fmt: skip
        (out / "result.json").write_text(json.dumps(result))
        (out / "report.html").write_text(
            "<!doctype html><title>report</title><h1>Report</h1>"
            "<script>document.title = 'drawn'</script>"
        )
        rows = [
            f"2023-01-{day:02}T00:00:00Z,{10_000 + day * 50 * (hour + 1)}" for day in (1, 2, 3)
        ]
        (out / "equity.csv").write_text("time,equity\n" + "\n".join(rows) + "\n")
        index.add(out, datetime(2024, 3, 1, hour, tzinfo=UTC))
    return [run.id for run in index.runs()]


@pytest.fixture
def account(tmp_path: Path) -> DemoAccount:
    return filled(tmp_path)


def settings(tmp_path: Path, password: str = "") -> DashboardSettings:
    return DashboardSettings(
        tmp_path / "data",
        tmp_path / "logs",
        tmp_path / "models",
        SystemClock().now,
        password=password,
        settings=(SettingRow("RISK_PER_TRADE", "0.01", "default", "risked on one trade"),),
    )


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    served = Served(create_app(settings(tmp_path)), "127.0.0.1", 0)
    served.start()
    yield served
    served.close()


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DemoAccount, Served]]:
    """An account with a dashboard, for tests that only look."""
    folder = tmp_path_factory.mktemp("shown")
    made = filled(folder)
    write_runs(folder)
    served = Served(create_app(settings(folder)), "127.0.0.1", 0)
    served.start()
    yield made, served
    served.close()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard before anything ran, for tests that only look."""
    served = Served(create_app(settings(tmp_path_factory.mktemp("empty"))), "127.0.0.1", 0)
    served.start()
    yield served
    served.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    yield opened
    context.close()
