"""What earlier versions wrote is read: journal and paper account, as they lay on a user's disk.

`tests/golden/formats/data-VERSION.tar.gz` is a `data` folder after 150 candles of paper trading.
A new format adds its archive here; none is ever removed.
"""

import json
import tarfile
from decimal import Decimal
from pathlib import Path

import pytest

from tests.commands.running_bot import Bot
from trader.domain.markets import Pair
from trader.domain.portfolio import replay
from trader.storage.journal import SqliteJournal

ARCHIVES = sorted(
    (Path(__file__).resolve().parents[1] / "golden" / "formats").glob("data-*.tar.gz")
)
BOOK = "paper-simulated-7"


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def old(request, tmp_path):
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_journal_of_an_earlier_version_gives_the_same_account(old):
    with SqliteJournal(old / "data" / "trader.db", BOOK) as journal:
        portfolio = replay("USD", (event for _, event in journal.events()))
    assert portfolio.cash.quantize(Decimal("0.01")) == Decimal("8210.28")
    held = {str(pair): p.quantity for pair, p in portfolio.positions.items()}
    assert held == {"BTC/USD": Decimal("0.00839003"), "ETH/USD": Decimal("0.08291821")}
    assert portfolio.positions[Pair("BTC", "USD")].stop == Decimal("78553.4")


@pytest.mark.slow
def test_the_bot_goes_on_where_an_earlier_version_left_off(old):
    bot = Bot(old, PAIRS="BTC/USD,ETH/USD", TIMEFRAME="4h", RETRAIN_HOURS="0", STRATEGY="ensemble")
    done = bot.run("start", "--cycles", "2", "--speed", "max", "--no-dashboard", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["book"], document["differences"]) == (0, BOOK, [])
    assert {p["pair"] for p in document["positions"]} <= {"BTC/USD", "ETH/USD"}
