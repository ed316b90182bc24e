"""Claims about `history download`, what is offered, and what happens on a full disk."""

import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from commands.common import guarded
from commands.history_download import in_words, kraken_store
from commands.history_offer import complete
from config import load_config
from run_trader import cli
from trader.clocks import SystemClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.exchanges.feeds import ReplayFeed
from trader.exchanges.kraken_limits import TIERS
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire, Server
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

ROOT = Path(__file__).resolve().parents[2]
BTC = Pair("BTC", "USD")
HOUR = Timeframe(3600)
GOOD = b"3600,10,12,9,11,5e-06,3\n7200,11,13,10,12,1.5,4\n14400,12,14,11,13,2,0\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("KRAKEN_API_URL", "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    begin = int(datetime.now(UTC).timestamp()) // 3600 - 800
    exchange = SandboxExchange(ReplayFeed({BTC: hours(begin, 900)}), SystemClock())
    with Server(KrakenWire(exchange, tier=TIERS["starter"])) as address:
        monkeypatch.setenv("KRAKEN_API_URL", address.url)
        yield home


def test_the_newest_candles_are_stored_with_their_source(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(cli, ["history", "download", "BTC/USD", "--timeframe", "1h", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["series"][0]["new"] == 720
    store = kraken_store(load_config())
    (entry,) = store.sources(BTC, HOUR)
    assert (entry.source, entry.exchange) == ("kraken ohlc", "kraken-sandbox")


def test_what_another_address_serves_is_not_stored_as_krakens(served: Path) -> None:
    assert kraken_store(load_config()).exchange == "kraken-sandbox"


def test_trades_give_candles_of_every_timeframe(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = datetime.now(UTC) - timedelta(hours=30)
    words = ["history", "download", "BTC/USD", "--source", "kraken-trades", "--start"]
    assert guarded(cli, [*words, start.isoformat(), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["series"][0]["trades"] > 300
    stored = {str(t) for _, t in kraken_store(load_config()).pairs()}
    assert {"1m", "5m", "15m", "30m", "1h"} <= stored


FAULTS = [
    (["--source", "moon"], 2, "no such source"),
    (["--source", "ccxt:krakn"], 2, "Did you mean kraken?"),
    (["--source", "kraken-trades", "--start", "2030-01-01"], 1, "nothing lies between"),
    (["--start", "soon"], 2, "expected a date"),
]


@pytest.mark.parametrize(("words", "status", "told"), FAULTS)
def test_a_wrong_wish_is_one_clear_line(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, told: str
) -> None:
    assert guarded(cli, ["history", "download", "BTC/USD", *words]) == status
    assert told in capsys.readouterr().err


def test_an_archive_is_listed_by_pair_and_nothing_is_stored(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(home / "all.zip", "w") as archive:
        for name in ("XBTUSD_60.csv", "XBTUSD_1.csv", "ETHUSD.csv", "README.txt"):
            archive.writestr(name, GOOD)
    assert guarded(cli, ["history", "import", "all.zip", "--list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {pair: set(kinds) for pair, kinds in found["pairs"].items()} == {
        "BTC/USD": {"1h", "1m"}, "ETH/USD": {"trades"},
    }  # fmt: skip
    assert not (home / "data").exists()


def test_a_check_with_a_damaged_file_tells_of_the_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "XBTUSD_60.csv").write_bytes(GOOD)
    guarded(cli, ["history", "import", "XBTUSD_60.csv"])
    (home / "data/candles/kraken/ETH-USD").mkdir()
    (home / "data/candles/kraken/ETH-USD/1h.parquet").write_bytes(b"PAR1 half")
    capsys.readouterr()
    assert guarded(cli, ["history", "check", "--chart", "q.html"]) == 1
    told = capsys.readouterr()
    assert "quality: " in told.out
    assert "1h.parquet is damaged" in told.err
    assert "BTC/USD 1h" in (home / "q.html").read_text()


def hours(first: int, count: int) -> Candles:
    times = (first + np.arange(count, dtype=np.int64)) * 3600
    flat = np.full(count, 10.0)
    return Candles(HOUR, times, flat, flat, flat, flat, flat, np.ones(count, dtype=np.int64))


def test_without_a_terminal_the_remedy_is_told_and_nobody_is_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config()
    store = HistoryStore(config.data_dir, "kraken")
    complete(config, store, [BTC], HOUR, datetime(2024, 1, 1, tzinfo=UTC))
    (line,) = capsys.readouterr().err.splitlines()
    assert "python run_trader.py history download BTC/USD --start 2024-01-01" in line


@pytest.mark.slow
def test_at_a_terminal_a_download_that_fails_ends_in_the_remedy(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commands.history_download.is_terminal", lambda: True)
    config = load_config()
    complete(config, kraken_store(config), [BTC], HOUR)
    told = capsys.readouterr().err
    assert "downloading them" in told
    assert "not downloaded" in told


def test_a_backtest_on_a_history_full_of_holes_is_refused(home: Path) -> None:
    config = load_config()
    store = HistoryStore(config.data_dir, "kraken")
    store.append(BTC, hours(0, 500), "one")
    store.append(BTC, hours(900, 500), "two")
    with pytest.raises(HistoryError, match="more than a tenth"):
        complete(config, store, [BTC], HOUR)
    complete(config, store, [BTC], HOUR, only_tell=True)


def test_what_is_missing_before_and_after_the_stored_candles_is_named_as_such(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config()
    store = HistoryStore(config.data_dir, "kraken")
    march = int(datetime(2021, 3, 1, tzinfo=UTC).timestamp()) // 3600
    store.append(BTC, hours(march, 24 * 31), "march")

    def told(start: str, end: str) -> list[str]:
        days = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end))
        complete(config, store, [BTC], HOUR, *days)
        return [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()]

    before = "note: BTC/USD 1h: candles from 2021-01-01 to 2021-02-28 are not stored"
    after = "note: BTC/USD 1h: candles from 2021-04-01 to 2021-04-30 are not stored"
    assert told("2021-03-01", "2021-04-01") == []
    assert told("2021-01-01", "2021-04-01") == [before]
    assert told("2021-03-01", "2021-05-01") == [after]
    assert told("2021-01-01", "2021-05-01") == [before, after]
    assert told("2021-01-01", "2021-02-01") == [before.replace("02-28", "01-31")]


def test_a_damaged_history_is_an_error_that_names_the_file_and_not_missing_candles(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config()
    store = HistoryStore(config.data_dir, "kraken")
    store.append(BTC, hours(0, 500), "one")
    store.path(BTC, HOUR).write_bytes(b"no parquet")
    with pytest.raises(HistoryError, match=r"1h\.parquet is damaged"):
        complete(config, store, [BTC], HOUR, datetime(2021, 1, 1, tzinfo=UTC))
    complete(config, store, [BTC], HOUR, datetime(2021, 1, 1, tzinfo=UTC), only_tell=True)
    (line,) = capsys.readouterr().err.splitlines()
    assert "1h.parquet is damaged" in line


def test_a_made_up_market_lacks_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config()
    complete(config, HistoryStore(config.data_dir, "simulated"), [BTC], HOUR)
    assert capsys.readouterr().err == ""


def test_lengths_of_time_are_told_as_people_say_them() -> None:
    said = [in_words(s) for s in (3, 150, 7300, 200_000)]
    assert said == ["about 3 seconds", "about 2 minutes", "about 2 hours", "about 2 days"]


def _small_disk() -> None:
    """No file may grow beyond some bytes: what a full disk does, to this process alone."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


@pytest.mark.slow
def test_on_a_full_disk_the_old_file_stays_and_the_error_is_clear(home: Path) -> None:
    store = HistoryStore(home / "data")
    store.append(BTC, hours(0, 10), "one")
    before = store.path(BTC, HOUR).read_bytes()
    rows = (
        f"{(i + 20) * 3600},{i + 1}.{i * 7919 % 997:03d},9999999,0.001,{i + 1},{i / 997},3"
        for i in range(9000)
    )
    (home / "XBTUSD_60.csv").write_text("\n".join(rows) + "\n")
    words = [sys.executable, str(ROOT / "run_trader.py"), "history", "import", "XBTUSD_60.csv"]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, preexec_fn=_small_disk)
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert store.path(BTC, HOUR).read_bytes() == before
    assert {f.name for f in store.path(BTC, HOUR).parent.iterdir()} <= {"1h.parquet", ".lock"}


def _import(folder: str, name: str) -> None:
    import_ohlcvt(HistoryStore(Path(folder, "data")), Path(folder, name), now=datetime.now(UTC))


@pytest.mark.slow
def test_two_importers_at_once_lose_nothing(home: Path) -> None:
    for part in range(2):
        rows = "".join(f"{(i * 2 + part) * 3600},1,1,1,1,1,1\n" for i in range(3000))
        (home / f"part{part}").mkdir()
        (home / f"part{part}/XBTUSD_60.csv").write_text(rows)
    spawned = multiprocessing.get_context("spawn")
    both = [spawned.Process(target=_import, args=(str(home), f"part{p}")) for p in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    store = HistoryStore(home / "data")
    assert len(store.load(BTC, HOUR)) == 6000
    assert sum(entry.candles for entry in store.sources(BTC, HOUR)) == 6000
