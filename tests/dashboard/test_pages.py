"""Every page in a real browser: with data, without, live, and from click to stop."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.conftest import settings
from tests.dashboard.demo_account import ETH, DemoAccount
from trader.dashboard import create_app
from trader.dashboard.app import PAGES
from trader.dashboard.serve import Served
from trader.domain.events import EmergencyStopped, Resumed, SignalMade
from trader.domain.markets import Pair
from trader.domain.signals import Action, Signal
from trader.storage.stop_switch import StopSwitch

pytestmark = pytest.mark.browser
READY = "body[data-ready]"
NAV = "document.querySelector('nav')"
SHOWS = dict.fromkeys(PAGES, "BTC/USD") | {
    "performance": "2024-03-05",
    "model": "20240301T0100-3fa9",
    "settings": "RISK_PER_TRADE",
    "backtests": "ensemble BTC/USD 4h",
}

CUT = """[...document.querySelectorAll("main .scroll, main input[placeholder]")].filter((e) => {
  if (!e.clientWidth) return false;
  if (e.tagName !== "INPUT") return e.scrollWidth > e.clientWidth;
  const style = getComputedStyle(e), pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const room = e.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  return pen.measureText(e.placeholder).width > room - 20;
}).map((e) => e.id)"""


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
    assert page.evaluate(CUT) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Nothing essential lies beside the edge of a phone, and no hint is cut.
    assert page.evaluate(CUT) == []
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


def test_a_little_is_not_shown_as_nothing_and_nothing_has_no_sign(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    open_page(page, shown[1], "performance")
    told = page.evaluate("""async () => {
      const from = performance.getEntriesByType("resource").map((r) => r.name);
      const common = await import(from.find((name) => name.includes("common.js")));
      return [-0.00034, -0.000001, 0, 0.1234].map((value) => common.percent(value));
    }""")
    assert told == ["−0.03 %", "0.00 %", "0.0 %", "12.3 %"]


def test_a_price_is_shown_with_all_its_digits(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    open_page(page, shown[1], "orders")
    told = page.evaluate("""async () => {
      const from = performance.getEntriesByType("resource").map((r) => r.name);
      const common = await import(from.find((name) => name.includes("common.js")));
      return ["62728.25", "1234.56789", "0.00001234", 1e-8, 57340, "66.66666666666666666666666667",
        57340.299999999996, null].map((value) => common.price(value)).concat(common.price(5.5, 3));
    }""")
    assert told == [
        "62,728.25", "1,234.56789", "0.00001234", "0.00000001", "57,340", "66.6666667",
        "57,340.3", "–", "5.500",
    ]  # fmt: skip


def test_a_line_of_the_ledger_can_be_calculated_by_hand(
    account: DemoAccount, dashboard: Served, page: Any
) -> None:
    account.buy(ETH, datetime(2024, 3, 12, 16, tzinfo=UTC), Decimal("0.5123"), Decimal("3501.57"))
    open_page(page, dashboard, "ledger")
    titles = page.locator("#lines th").all_inner_texts()
    cells = page.locator("#lines tbody tr").first.locator("td").all_inner_texts()
    plain = (text.replace(",", "").replace("−", "-") for text in cells)
    row = dict(zip(titles, plain, strict=True))
    cost = Decimal(row["Price × quantity"])
    assert row["Price"] == "3501.57"
    assert Decimal(row["Price"]) * Decimal(row["Quantity"]) == pytest.approx(
        cost, abs=Decimal("0.00001")
    )
    assert row["Amount"] == f"{-cost - Decimal(row['Fee'])} USD"


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


def test_a_dead_bot_is_said_on_every_page(
    account: DemoAccount, dashboard: Served, page: Any
) -> None:
    account.beat(ended="asked to stop")
    open_page(page, dashboard, "trades")
    assert "The bot is not running" in page.inner_text("#down")


def test_the_four_answers_come_first(shown: tuple[DemoAccount, Served], page: Any) -> None:
    account, dashboard = shown
    account.beat()
    open_page(page, dashboard, "overview")
    answers = page.locator("#answers article").all_inner_texts()
    assert [text.split("\n")[0] for text in answers] == [
        "Is it healthy?", "What does it hold?", "What did it earn?", "What next, and why?",
    ]  # fmt: skip
    assert "Healthy" in answers[0]
    assert "BTC" in answers[1]


def test_a_fill_appears_without_a_reload(
    account: DemoAccount, dashboard: Served, page: Any
) -> None:
    open_page(page, dashboard, "ledger")
    before = page.locator("#lines tbody tr").count()
    at = datetime(2024, 3, 12, 16, tzinfo=UTC)
    account.buy(ETH, at, Decimal("0.5"), Decimal("3501.5"))
    page.locator("#lines tbody tr:first-child", has_text="3,501.5").wait_for()
    assert page.locator("#lines tbody tr").count() == before + 1


def test_a_decision_opens_gate_by_gate(shown: tuple[DemoAccount, Served], page: Any) -> None:
    open_page(page, shown[1], "decisions?q=why+not+daily_loss%3F")
    page.click("#list button.link >> nth=0")
    gates = page.locator(".gates li >> visible=true")
    gates.first.wait_for()
    assert "daily_loss" in " ".join(gates.all_inner_texts())


def test_an_indicator_is_drawn_when_it_is_chosen(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    open_page(page, shown[1], "market?indicators=ema_20")
    page.fill("#add", "rsi_14")
    page.wait_for_selector("body[data-series='2']")
    assert "rsi_14" in page.inner_text("#chosen")
    assert "rsi_14" in page.url


def test_models_are_told_apart_by_their_candles_and_both_clocks(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    def two_models(route: Any) -> None:
        answer = route.fetch().json()
        one = {
            "id": "m-1", "type": "ensemble", "source": "kraken", "timeframe": "1h", "horizons": [],
            "pairs": ["BTC/USD", "ETH/USD"], "trained_from": "2023-01-01T00:00:00Z",
            "known_through": "2024-03-01T00:00:00Z", "trained_at": "2024-03-01T01:00:00Z",
            "written_at": "2026-07-01T12:34:00Z", "features": [], "importance": [],
            "licence": {"granted": False, "reasons": []},
        }  # fmt: skip
        other = one | {"id": "m-2", "source": "simulated", "timeframe": "4h", "pairs": ["ETH/USD"]}
        route.fulfill(json=answer | {"models": [one, other], "in_use": {"BTC/USD": "m-1"}})

    page.route("**/api/models", two_models)
    open_page(page, shown[1], "model")
    titles = page.locator("#all th").all_inner_texts()
    rows = [
        dict(zip(titles, row.locator("td").all_inner_texts(), strict=True))
        for row in page.locator("#all tbody tr").all()
    ]
    assert [row["Candles"] for row in rows] == ["1h, kraken", "4h, simulated"]
    assert [row["Pairs"] for row in rows] == ["BTC/USD, ETH/USD", "ETH/USD"]
    assert [row["In use for"] for row in rows] == ["BTC/USD", "–"]
    assert rows[0]["Trained, bot's clock"] == "2024-03-01 01:00"
    assert rows[0]["Written, real time"] == "2026-07-01 12:34"


def test_backtests_are_compared_and_their_report_opens(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    open_page(page, shown[1], "backtests")
    for box in page.locator("#list input[type=checkbox]").all():
        box.check()
    page.locator("#side td", has_text="20.0 %").first.wait_for()
    with page.context.expect_page() as opened:
        page.click("#list a >> nth=0")
    report = opened.value
    report.wait_for_selector("h1")
    report.wait_for_function("document.title === 'drawn'")


def test_keys_go_from_page_to_page_and_to_the_search(
    shown: tuple[DemoAccount, Served], page: Any
) -> None:
    open_page(page, shown[1], "overview")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/decisions")
    page.wait_for_selector(READY)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("#keys")


def test_the_log_is_filtered_and_follows(
    account: DemoAccount, dashboard: Served, page: Any, tmp_path: Path
) -> None:
    open_page(page, dashboard, "log")
    page.fill("#q", "order_filled")
    page.locator("#lines span", has_not_text="order_filled").first.wait_for(state="detached")
    path = next((tmp_path / "logs").glob("*.log"))
    with path.open("a") as file:
        file.write("2024-03-13T00:00:00Z INFO order_filled <img src=x onerror=alert(1)>\n")
    account.beat(cycle=-1)
    page.locator("#lines span", has_text="onerror").wait_for()
    assert page.locator("#lines img").count() == 0


def test_a_pair_with_markup_for_a_name_stays_text(
    account: DemoAccount, dashboard: Served, page: Any
) -> None:
    pair, at = Pair("<B>X</B>", "USD"), datetime(2024, 3, 12, 16, tzinfo=UTC)
    signal = Signal(pair, at, Action.HOLD, 0.5, ("<img src=x onerror=alert(1)>",), "trend")
    account.add(SignalMade(at, signal, 1.0, "0" * 16))
    complaints = open_page(page, dashboard, "decisions")
    assert "<B>X</B>/USD" in page.inner_text("#list tbody tr:first-child")
    assert page.locator("#list b, #list img").count() == 0
    assert complaints == []


def test_with_a_password_and_a_stop_the_head_still_has_room_for_all(
    account: DemoAccount, page: Any, tmp_path: Path
) -> None:
    account.add(EmergencyStopped(datetime(2024, 3, 12, 16, tzinfo=UTC), "drill", False, "a test"))
    served = Served(create_app(settings(tmp_path, "open sesame")), "127.0.0.1", 0)
    served.start()
    try:
        page.goto(served.url)
        page.fill("input[name=password]", "open sesame")
        page.click("button.primary")
        page.wait_for_selector("#resume:not([hidden])")
        assert page.evaluate("nav.scrollWidth <= nav.clientWidth".replace("nav", NAV))
        account.add(Resumed(datetime(2024, 3, 12, 17, tzinfo=UTC), "a test"))
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_selector("#resume", state="hidden")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        brand, log_out = (
            page.locator(at).bounding_box() for at in (".brand", "[action='/logout']")
        )
        assert abs(brand["y"] + brand["height"] / 2 - log_out["y"] - log_out["height"] / 2) < 4
    finally:
        served.close()


def test_login_opens_and_five_wrong_passwords_lock(page: Any, tmp_path: Path) -> None:
    served = Served(create_app(settings(tmp_path, "open sesame")), "127.0.0.1", 0)
    served.start()
    try:
        page.goto(served.url)
        page.fill("input[name=password]", "open sesame")
        page.click("button.primary")
        page.wait_for_selector("nav")
        page.click("form[action='/logout'] button")
        for _ in range(5):
            page.fill("input[name=password]", "wrong")
            page.click("button.primary")
            page.locator("[role=alert]", has_text="not the password").wait_for()
        page.fill("input[name=password]", "open sesame")
        page.click("button.primary")
        page.locator("[role=alert]", has_text="Too many tries").wait_for()
    finally:
        served.close()
