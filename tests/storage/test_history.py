"""Claims about the candles on disk."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.shared_data import shared
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.storage import parquet_candles
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt

PAIR = Pair("BTC", "USD")
HOUR = Timeframe(3600)
FOUR = Timeframe(4 * 3600)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def candles(first: int, closes: list[float], timeframe: Timeframe = HOUR) -> Candles:
    close = np.array(closes, dtype=np.float64)
    times = first + np.arange(len(close)) * timeframe.seconds
    ones = np.ones(len(close), dtype=np.int64)
    return Candles(timeframe, times, close, close + 1, close - 1, close, close * 0 + 2, ones)


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path, now=lambda: NOW)


def test_what_is_stored_is_loaded_unchanged(store: HistoryStore) -> None:
    written = candles(0, [10, 11, 12])
    assert store.append(PAIR, written, "test") == 3
    assert store.load(PAIR, HOUR) == written


def test_start_is_included_and_end_is_not(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10, 11, 12, 13]), "test")
    start, end = (datetime.fromtimestamp(h * 3600, UTC) for h in (1, 3))
    assert store.load(PAIR, HOUR, start, end).close.tolist() == [11, 12]


def test_adding_the_same_again_leaves_the_file_byte_for_byte(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10, 11]), "test")
    before = store.path(PAIR, HOUR).read_bytes()
    assert store.append(PAIR, candles(0, [10, 11]), "again") == 0
    assert store.path(PAIR, HOUR).read_bytes() == before


def test_older_candles_and_those_in_a_gap_find_their_place(store: HistoryStore) -> None:
    store.append(PAIR, candles(3600 * 4, [14]), "test")
    store.append(PAIR, candles(3600 * 1, [11, 12]), "test")
    store.append(PAIR, candles(3600 * 3, [13]), "test")
    assert store.load(PAIR, HOUR).close.tolist() == [11, 12, 13, 14]


def test_where_two_sources_disagree_the_first_stays_and_the_conflict_is_told(
    store: HistoryStore,
) -> None:
    store.append(PAIR, candles(0, [10, 11]), "test")
    merge = store.merge(PAIR, candles(0, [10, 99, 12]), "other")
    assert (merge.new, merge.same, merge.conflicts) == (1, 1, (3600,))
    assert store.load(PAIR, HOUR).close.tolist() == [10, 11, 12]


def test_a_coarser_timeframe_is_made_from_the_coarsest_finer_one(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10, 11, 12, 13, 14]), "test")
    store.append(PAIR, candles(0, [5], Timeframe(60)), "test")
    four = store.load(PAIR, FOUR)
    assert (four.open.tolist(), four.close.tolist(), four.volume.tolist()) == ([10], [13], [8])


def test_what_the_timeframe_lacks_is_filled_from_a_finer_one(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10] * 8), "test")
    store.append(PAIR, candles(4 * 3600, [77], FOUR), "test")
    assert store.load(PAIR, FOUR).close.tolist() == [10, 77]


def test_a_finer_timeframe_is_not_invented(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10]), "test")
    with pytest.raises(HistoryError, match="no 1m candles of BTC/USD"):
        store.load(PAIR, Timeframe(60))


def test_an_unknown_pair_names_what_is_stored(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10]), "test")
    with pytest.raises(HistoryError, match="no history of ETH/USD from kraken; stored: BTC/USD"):
        store.load(Pair("ETH", "USD"), HOUR)


def test_exchanges_never_meet(tmp_path: Path) -> None:
    HistoryStore(tmp_path, "simulated").append(PAIR, candles(0, [10]), "test")
    with pytest.raises(HistoryError, match="the store is empty"):
        HistoryStore(tmp_path).load(PAIR, HOUR)


def test_an_exchange_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        HistoryStore(tmp_path, "../elsewhere")


def test_every_addition_is_recorded_with_source_time_and_span(store: HistoryStore) -> None:
    store.merge(PAIR, candles(0, [10, 11]), "first", "abc")
    store.append(PAIR, candles(7200, [12]), "second")
    sources = store.check()[0].sources
    assert [(s.source, s.candles, s.sha256) for s in sources] == [
        ("first", 2, "abc"),
        ("second", 1, ""),
    ]
    assert sources[1].first == "1970-01-01T02:00:00+00:00"
    assert sources[0].added_at == "2024-01-01T00:00:00+00:00"


def test_check_counts_absent_candles_runs_and_the_longest(store: HistoryStore) -> None:
    store.append(PAIR, candles(0, [10]), "test")
    store.append(PAIR, candles(3600 * 2, [10]), "test")
    store.append(PAIR, candles(3600 * 6, [10]), "test")
    found = store.check()[0]
    assert (found.candles, found.absent, found.gaps, found.longest) == (3, 4, 2, 3)
    assert found.longest_first == datetime(1970, 1, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_file_is_named_and_never_read_as_candles(
    store: HistoryStore, damage: str
) -> None:
    store.append(PAIR, candles(0, [10.0 + i for i in range(500)]), "test")
    path = store.path(PAIR, HOUR)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes({"cut": bytes(data[:300]), "flip": bytes(data), "text": b"no"}[damage])
    with pytest.raises(HistoryError, match=r"1h\.parquet is damaged"):
        store.load(PAIR, HOUR)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append(PAIR, candles(0, [10]), "test")
    before = store.path(PAIR, HOUR).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_candles.os, "fsync", full)
    with pytest.raises(HistoryError, match="No space left on device"):
        store.append(PAIR, candles(3600, [11]), "test")
    assert store.path(PAIR, HOUR).read_bytes() == before
    names = {f.name for f in store.path(PAIR, HOUR).parent.iterdir()}
    assert names <= {"1h.parquet", ".lock"}


def test_writers_at_once_lose_nothing(store: HistoryStore) -> None:
    def write(part: int) -> None:
        for i in range(5):
            store.append(PAIR, candles((part * 5 + i) * 3600, [10.0 + part]), f"writer {part}")

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load(PAIR, HOUR)) == 20


def test_nine_years_of_hours_load_in_thirty_milliseconds(store: HistoryStore) -> None:
    import_ohlcvt(store, shared("data/ohlcvt/XBTUSD_60.csv.gz"), now=NOW)
    store.load(PAIR, HOUR)
    seconds = []
    for _ in range(5):
        began = time.process_time()  # what it costs, whatever else the machine does
        store.load(PAIR, HOUR)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.03


def test_a_bot_that_adds_candle_after_candle_leaves_one_entry(store: HistoryStore) -> None:
    store.merge(PAIR, candles(0, [9]), "archive", sha256="ab")
    for hour in range(1, 5):
        store.append(PAIR, candles(3600 * hour, [10 + hour]), "kraken")
    (stored,) = store.check()
    assert [(p.source, p.candles) for p in stored.sources] == [("archive", 1), ("kraken", 4)]
    assert stored.sources[1].first < stored.sources[1].last
