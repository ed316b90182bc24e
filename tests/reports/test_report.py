"""Claims about the report as a person sees it."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reports.sample import START, account, candles, result
from trader.performance import DAY, drawdowns
from trader.reports.figures import (
    equity_figure,
    moments,
    monthly_returns,
    packed,
    rolling_sharpe_figure,
    shown_candles,
    thinned,
)
from trader.reports.html import render_report, worst_falls
from trader.reports.terminal import print_summary


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(result())


def test_the_page_needs_no_network(page: str) -> None:
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=", outside)
    assert "@import" not in outside
    assert "url(" not in outside


def test_words_from_outside_cannot_become_markup(page: str) -> None:
    assert "&lt;b&gt;signs&lt;/b&gt;" in page
    assert "<b>signs</b>" not in page


def test_every_place_for_a_chart_has_its_chart(page: str) -> None:
    places = set(re.findall(r'<div class="chart" id="([^"]+)"', page))
    text = re.search(r'id="charts">(.*?)</script>', page, flags=re.DOTALL)
    assert text is not None
    assert places == set(json.loads(text[1]))
    assert {"equity", "trades-BTC-USD", "months", "costs", "reliability"} <= places


def test_the_months_multiply_to_the_whole() -> None:
    run = account("x")
    whole = np.prod([1 + r for r in monthly_returns(run).values()])
    assert whole == pytest.approx(run.equity[-1] / run.cash)
    assert list(monthly_returns(run)) == [(2021, 1), (2021, 2)]


def test_a_thinned_curve_keeps_its_ends_and_its_extremes() -> None:
    values = np.random.default_rng(1).normal(size=50_000).cumsum()
    rows = thinned(values, 1000)
    assert len(rows) <= 1002
    assert {0, 49_999, int(values.argmin()), int(values.argmax())} <= set(rows.tolist())


def test_falls_are_ordered_by_depth_and_one_not_recovered_says_so() -> None:
    run = account("x")
    falls = worst_falls(run)
    depths = [depth for *_, depth in falls]
    assert depths == sorted(depths, reverse=True)
    assert depths[0] == pytest.approx(drawdowns(run.equity).max())
    assert falls[0][2] is None or falls[0][2] > falls[0][1]


def test_a_fall_from_the_money_an_account_began_with_is_a_fall() -> None:
    run = replace(
        account("x"), cash=100.0, began=0, times=DAY * np.arange(1, 4),
        equity=np.array([95.0, 96.0, 101.0]),
    )  # fmt: skip
    assert worst_falls(run) == [(0, DAY, 3 * DAY, pytest.approx(0.05))]
    worth, below = equity_figure({"strategy": run}, "USD")["data"]
    assert worth["y"] == packed(np.array([100.0, 95.0, 96.0, 101.0]))
    assert below["y"] == packed(-drawdowns(np.array([100.0, 95.0, 96.0, 101.0])))
    assert below["x"] == moments(DAY * np.arange(4))


def test_many_candles_are_shown_in_a_coarser_timeframe() -> None:
    shown = shown_candles(candles(), most=200)
    assert str(shown.timeframe) == "12h"
    assert len(shown) == 118


def test_two_months_are_too_short_for_a_rolling_sharpe() -> None:
    assert rolling_sharpe_figure(account("x")) is None


def test_the_first_line_stays_whole_where_it_is_piped() -> None:
    from rich.console import Console

    console = Console(width=40, force_terminal=False)
    with console.capture() as caught:
        print_summary(result(), console)
    assert caught.get().splitlines()[0].endswith("2021-02-28, 1,416 candles")


def test_the_terminal_says_paper_first_and_shows_the_yardsticks() -> None:
    from rich.console import Console

    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as caught:
        print_summary(result(), console)
    text = caught.get()
    assert text.splitlines()[0].startswith("PAPER")
    assert "buy and hold" in text
    assert "plain trend rule" in text


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_draws_in_a_browser_without_a_fault(
    page: str, browser: Any, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    view = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
    faults: list[str] = []
    view.on("pageerror", lambda fault: faults.append(str(fault)))
    view.goto(path.as_uri())
    view.wait_for_selector("#reliability .main-svg")
    drawn = view.locator(".chart .main-svg").count()
    assert view.evaluate("document.documentElement.scrollWidth") == width
    # Nothing lies beside the edge, and a figure still says whose it is.
    beside = (
        "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
    )
    assert view.evaluate(f"{beside}.length") == 0
    assert view.locator("td[data-title='buy and hold']").first.is_visible()
    view.close()
    assert faults == []
    assert drawn >= 8


@pytest.mark.browser
@pytest.mark.slow
def test_a_click_on_a_trade_shows_it_on_its_candles_and_says_why(
    page: str, browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    view = browser.new_page(viewport={"width": 1440, "height": 900}, offline=True)
    view.goto(path.as_uri())
    view.wait_for_selector("#reliability .main-svg")
    row = view.locator("tr.trade").first
    row.focus()
    row.press("Enter")
    told = view.locator("#why-trades-BTC-USD")
    assert "sell 0.05 BTC at 31,000 (exit)" in told.inner_text()
    # What a strategy says is text, whatever it looks like.
    assert "trend <up>" in told.inner_text()
    first, last = view.evaluate("document.getElementById('trades-BTC-USD').layout.xaxis.range")
    assert first < 1000 * (START + timedelta(hours=5)).timestamp()
    assert 1000 * (START + timedelta(hours=100)).timestamp() < last < 1000 * 1.612e9
    view.close()


def test_figures_stand_beside_their_range_and_the_break_even(page: str) -> None:
    assert "0.20 to 2.10</small>" in page
    assert "25% needed to break even" in page
