"""What holds for every test: own settings, no network beyond this machine, one browser."""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from config import KNOWN, is_loopback

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--disable-quic",
]  # fmt: skip


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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a process: a second Playwright beside it refuses to start."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture(autouse=True, scope="session")
def traders() -> Iterator[list[tuple[Any, str, Any]]]:
    """Every loop that a test of this process makes: its journal, currency and limits."""
    import main
    from risk_manager import RiskManager

    made: list[tuple[Any, str, Any]] = []
    real = main.Trader.__init__

    def noted(self: Any, *words: Any, **named: Any) -> None:
        real(self, *words, **named)
        if type(self.risk) is not RiskManager:
            return  # a yardstick of a backtest, which holds without stops and limits
        made.append((self.executor.journal, self.executor.portfolio.quote, self.risk.limits))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main.Trader, "__init__", noted)
        yield made


@pytest.fixture(autouse=True)
def no_order_breaks_a_rule(traders: list[tuple[Any, str, Any]]) -> Iterator[None]:
    """The independent checker reads what every loop has journalled, whatever the test is about."""
    from trader.domain.errors import JournalError
    from trader.reports.journal_check import JournalCheck, Problem
    from trader.storage.journal import MemoryJournal, SqliteJournal

    traders.clear()
    yield
    found: list[Problem] = []
    for journal, quote, limits in traders:
        if isinstance(journal, SqliteJournal):
            # A journal may be gone or ruined: then that was the test.
            with (
                contextlib.suppress(JournalError),
                SqliteJournal.reader(journal.path, journal.book) as again,
            ):
                found += JournalCheck(quote, limits).read(again.events()).report().problems
        elif isinstance(journal, MemoryJournal):
            found += JournalCheck(quote, limits).read(journal.events()).report().problems
    traders.clear()
    # The clock of a made-up market is not the machine's, in which a stop by hand is journalled.
    found = [p for p in found if not p.what.startswith("time runs back")]
    if found:
        pytest.fail("; ".join(f"event {p.number}: {p.what}" for p in found[:5]))
