"""Claims about files of single trades."""

import gzip
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.shared_data import shared
from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.storage.flows import FlowStore
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from trader.storage.sales import TIMEFRAMES

PAIR = Pair("BTC", "USD")
MINUTE = Timeframe(60)
HOUR = Timeframe(3600)
NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path / "data", now=lambda: NOW)


def put(folder: Path, text: str, name: str = "XBTUSD.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_an_archive_of_times_prices_and_volumes_becomes_candles(
    store: HistoryStore, tmp_path: Path
) -> None:
    path = put(tmp_path, "60,10,1\n61,12,2\n119,11,0.5\n180,13,1\n300,1,1\n")
    report = import_ohlcvt(store, path, now=NOW)
    found = store.load(PAIR, MINUTE)
    assert found.opened_at.tolist() == [60, 180]
    assert found.high.tolist() == [12, 13]
    assert found.volume.tolist() == [3.5, 1]
    assert (report.imported[0].trades, report.imported[0].candles) == (5, 2)


def test_the_minute_in_which_the_trades_end_is_not_taken_for_whole(
    store: HistoryStore, tmp_path: Path
) -> None:
    import_ohlcvt(store, put(tmp_path, "60,10,1\n120,12,2\n130,3,3\n"), now=NOW)
    assert store.load(PAIR, MINUTE).opened_at.tolist() == [60]


FAULTS = {
    "nothing": ("", "empty"),
    "words": ("a,b,c\n", "no file of trades"),
    "two columns": ("60,10\n", "no file of trades"),
    "out of order": ("180,10,1\n60,10,1\n", "line 2 is older"),
    "a price of zero": ("60,0,1\n180,10,1\n", "line 1 has no price"),
    "milliseconds": ("1700000000000,1,1\n", "line 1 has a time that is not in seconds"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_of_trades_is_refused_and_stores_nothing(
    store: HistoryStore, tmp_path: Path, fault: str
) -> None:
    text, words = FAULTS[fault]
    with pytest.raises(HistoryError, match=words):
        import_ohlcvt(store, put(tmp_path, text), now=NOW)
    assert store.pairs() == ()


def by_hand(path: Path, step: int) -> dict[int, list[Decimal]]:
    """Opening → open, high, low, close, volume, count, signed volume: in decimals, one by one."""
    found: dict[int, list[Decimal]] = defaultdict(list)
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        time, price_text, volume_text, side, _, _ = line.split(",")
        price, volume = Decimal(price_text), Decimal(volume_text)
        sign = 1 if side == "b" else -1
        row = found[int(Decimal(time)) // step * step]
        if not row:
            row += [price, price, price, price, Decimal(0), Decimal(0), Decimal(0)]
        row[1], row[2], row[3] = max(row[1], price), min(row[2], price), price
        row[4] += volume
        row[5] += 1
        row[6] += sign * volume
    return found


@pytest.mark.parametrize("step", [t.seconds for t in TIMEFRAMES if t.seconds < 7 * 86400])
def test_real_trades_add_up_to_the_candles_that_decimals_give(
    store: HistoryStore, step: int
) -> None:
    path, pair, timeframe = (
        shared("data/trades/ETHXBT.csv.gz"),
        Pair("ETH", "BTC"),
        Timeframe(step),
    )
    import_ohlcvt(store, path, now=NOW)
    expected = by_hand(path, step)
    found = store.load(pair, timeframe)
    flow = FlowStore.beside(store).load(pair, timeframe)
    assert flow is not None
    assert len(found) >= len(expected) - 2
    assert flow.opened_at.tolist() == found.opened_at.tolist()
    for i, row in enumerate(found.rows()):
        want = [float(x) for x in expected[int(found.opened_at[i])]]
        got = [row.open, row.high, row.low, row.close, row.volume, row.trades]
        assert [float(x) for x in got] == want[:6]
        assert flow.signed_volume[i] == want[6]


def test_larger_candles_equal_the_aggregate_of_smaller_ones(store: HistoryStore) -> None:
    import_ohlcvt(store, shared("data/trades/ETHXBT.csv.gz"), now=NOW)
    pair = Pair("ETH", "BTC")
    minutes = store.load(pair, MINUTE)
    for timeframe in TIMEFRAMES[1:]:
        if store.path(pair, timeframe).exists():
            held = store.load(pair, timeframe)
            assert (
                minutes.resampled(timeframe).between(held.first_opened_at, held.closed_at) == held
            )
