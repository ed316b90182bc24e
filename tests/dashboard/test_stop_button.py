"""From a click in the browser to an account without orders: everything in between is real."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.running_bot import Bot
from trader.domain.events import EmergencyStopped, Resumed
from trader.exchanges.account_store import AccountStore
from trader.storage.journal import SqliteJournal

pytestmark = pytest.mark.browser
BOOK = "paper-simulated-7"


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Any]:
    found = Bot(tmp_path, DASHBOARD_PORT="0", POLL_SECONDS="4")
    yield found
    found.close()


def open_at_the_exchange(folder: Path) -> list[str]:
    store = AccountStore(folder / "data" / "sandbox" / BOOK)
    try:
        return [record.id for record in store.load().orders if record.status == "open"]
    finally:
        store.close()


def told(folder: Path, kind: type[Any]) -> list[Any]:
    with SqliteJournal.reader(folder / "data" / "trader.db", BOOK) as journal:
        return [event for _, event in journal.events(kinds=(kind,))]


def test_the_stop_button_cancels_orders_sells_and_is_journalled_with_who_and_when(
    bot: Any, page: Any, tmp_path: Path
) -> None:
    bot.start(dashboard=True)
    bot.wait(lambda: bot.state()["holdings"], 60)
    found = re.search(r"http://localhost:\d+", bot.output())
    assert found is not None
    # A sale: what the strategy has left of the limits on risk may be too little for a purchase.
    above = f"{float(bot.state()['prices']['BTC/USD']) * 1.04:.1f}"
    limit = ("sell", "0.0001", "--type", "limit", "--price", above, "--yes", "--json")
    placed = bot.run("trade", "BTC/USD", *limit)
    assert "order" in placed.stdout, placed.stdout + placed.stderr
    assert json.loads(placed.stdout)["order"]["state"] == "open"
    page.set_default_timeout(30_000)
    page.goto(found[0])
    page.locator("#orders", has_text="manual: sell limit").wait_for()
    assert len(open_at_the_exchange(tmp_path)) == 2  # the limit order and the protective stop

    page.click("#stop")
    page.check("#flatten")
    page.fill("#reason", "fire drill")
    clicked = time.monotonic()
    page.click("#confirm-yes")
    page.locator("#orders", has_text="No order is open.").wait_for()
    page.locator("#positions", has_text="Nothing is held.").wait_for()
    assert time.monotonic() - clicked < 30
    assert open_at_the_exchange(tmp_path) == []
    (stopped,) = told(tmp_path, EmergencyStopped)
    assert (stopped.reason, stopped.flatten) == ("fire drill", True)
    assert stopped.who == "dashboard from 127.0.0.1"
    page.locator("#halt", has_text="fire drill").wait_for()

    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#resume")
    page.locator("#halt").wait_for(state="hidden")
    assert len(told(tmp_path, Resumed)) == 1
