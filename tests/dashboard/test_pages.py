"""Every page in a real browser: with data, without, live, and from click to stop."""

from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.demo_account import DemoAccount
from trader.dashboard.app import PAGES
from trader.dashboard.serve import Served
from trader.storage.stop_switch import StopSwitch

pytestmark = pytest.mark.browser
READY = "body[data-ready]"
SHOWS = dict.fromkeys(PAGES, "BTC/USD") | {
    "performance": "2024-03-05",
    "model": "20240301T0100-3fa9",
    "settings": "RISK_PER_TRADE",
}


def open_page(page: Any, dashboard: Served, name: str) -> list[str]:
    """Opens a page; the list fills with whatever the browser complains of."""
    complaints: list[str] = []
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda sent: (
            None
            if sent.url.startswith((dashboard.url, "data:"))
            else complaints.append(f"asks another host: {sent.url}")
        ),
    )
    page.goto(f"{dashboard.url}/{'' if name == 'overview' else name}")
    page.wait_for_selector(READY)
    return complaints


def faults_of(page: Any) -> list[tuple[str, list[str]]]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        (fault["id"], [node["html"][:80] for node in fault["nodes"]][:3])
        for fault in axe.run(page).response["violations"]
        if fault["impact"] in {"serious", "critical"}
    ]


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_shows_data_fits_both_widths_and_makes_no_complaint(
    shown: tuple[DemoAccount, Served], page: Any, name: str
) -> None:
    account, dashboard = shown
    account.beat()
    complaints = open_page(page, dashboard, name)
    assert SHOWS[name] in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_has_no_serious_fault_of_accessibility_dark_or_light(
    shown: tuple[DemoAccount, Served], browser: Any, name: str
) -> None:
    # The checker adds its script to the page, which the page's own policy rightly forbids.
    context = browser.new_context(bypass_csp=True, color_scheme="dark")
    page = context.new_page()
    open_page(page, shown[1], name)
    dark = faults_of(page)
    page.emulate_media(color_scheme="light")
    light = faults_of(page)
    context.close()
    assert (dark, light) == ([], [])


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_before_the_first_start_says_so(empty: Served, page: Any, name: str) -> None:
    complaints = open_page(page, empty, name)
    assert page.inner_text("#mode") == "NOT STARTED"
    assert page.inner_text("main").strip()
    assert complaints == []


def test_the_overview_names_mode_feed_and_a_position_with_its_stop(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    account, dashboard = shown
    open_page(page, dashboard, "overview")
    assert page.inner_text("#mode") == "PAPER"
    assert "not real prices" in page.inner_text("#feed")
    position = account.portfolio.positions[next(iter(account.portfolio.positions))]
    assert f"{position.stop:,.1f}" in page.inner_text("#positions")


def test_a_new_decision_appears_without_a_reload(
    account: DemoAccount, dashboard: Served, page: Any
) -> None:
    open_page(page, dashboard, "decisions")
    assert "2024-03-12 16:00" not in page.inner_text("#list")
    account.prices = {pair: [*prices, prices[-1]] for pair, prices in account.prices.items()}
    account.hour(account.hours)
    page.locator("#list tbody tr:first-child", has_text="2024-03-12 16:00").wait_for()


def test_the_stop_button_sets_the_stop_after_a_confirmation(
    account: DemoAccount, dashboard: Served, page: Any, tmp_path: Path
) -> None:
    open_page(page, dashboard, "overview")
    page.click("#stop")
    page.check("#flatten")
    page.fill("#reason", "fire drill")
    assert StopSwitch(tmp_path / "data").read() is None
    page.click("#confirm-yes")
    page.wait_for_selector("#toast.on")
    request = StopSwitch(tmp_path / "data").read()
    assert request is not None
    assert (request.reason, request.flatten) == ("fire drill", True)
    assert request.who.startswith("dashboard")


def test_keep_trading_sets_no_stop(
    account: DemoAccount, dashboard: Served, page: Any, tmp_path: Path
) -> None:
    open_page(page, dashboard, "overview")
    page.click("#stop")
    page.click("button[value=no]")
    assert StopSwitch(tmp_path / "data").read() is None


def test_a_dead_bot_is_shown_as_dead(account: DemoAccount, dashboard: Served, page: Any) -> None:
    account.beat(ended="asked to stop")
    open_page(page, dashboard, "overview")
    assert "asked to stop" in page.inner_text("#health")
