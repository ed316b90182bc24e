"""Claims about where candles came from and why one is absent."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.storage.history import HistoryStore
from trader.storage.parquet_candles import read_candles, rows_digest
from trader.storage.provenance import Absence, covered

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
HOUR = Timeframe(3600)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def hours(*opened: int) -> Candles:
    times = np.array(opened, dtype=np.int64) * 3600
    flat = np.full(len(times), 10.0)
    return Candles(HOUR, times, flat, flat, flat, flat, flat, np.ones(len(times), dtype=np.int64))


def without(count: int, *absent: int) -> Candles:
    return hours(*sorted(set(range(count)) - set(absent)))


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path, now=lambda: NOW)


def kinds(store: HistoryStore, pair: Pair = BTC) -> list[tuple[int, Absence]]:
    return [(gap.candles, gap.kind) for gap in store.gaps(pair, HOUR)]


def test_an_absent_candle_between_two_sources_was_never_fetched(store: HistoryStore) -> None:
    store.merge(BTC, hours(1, 2), "one")
    store.merge(BTC, hours(5, 6), "other")
    assert kinds(store) == [(2, Absence.NOT_FETCHED)]


def test_an_absent_candle_inside_a_source_is_no_trade(store: HistoryStore) -> None:
    store.merge(BTC, hours(1, 2, 4, 5), "one")
    assert kinds(store) == [(1, Absence.NO_TRADE)]


def test_a_silence_that_is_half_covered_is_told_in_two_parts(store: HistoryStore) -> None:
    store.merge(BTC, hours(1, 2), "one", covers=(3600, 4 * 3600))
    store.merge(BTC, hours(6), "other")
    assert kinds(store) == [(1, Absence.NO_TRADE), (2, Absence.NOT_FETCHED)]


def test_a_long_silence_of_a_busy_market_means_the_exchange_was_down(store: HistoryStore) -> None:
    store.append(BTC, without(500, *range(200, 210)), "one")
    assert kinds(store) == [(10, Absence.DOWN)]


def test_what_another_pair_traded_through_was_no_outage(store: HistoryStore) -> None:
    store.append(BTC, without(500, *range(200, 210)), "one")
    store.append(ETH, hours(*range(500)), "one")
    assert kinds(store) == [(10, Absence.NO_TRADE)]


def test_a_short_silence_of_all_pairs_together_is_an_outage(store: HistoryStore) -> None:
    for pair in (BTC, ETH, Pair("SOL", "USD")):
        store.append(pair, without(700, 300), "one")
    assert kinds(store) == [(1, Absence.DOWN)]


def test_a_thin_market_is_silent_without_an_outage(store: HistoryStore) -> None:
    thin = [i for i in range(600) if i % 5 == 0]
    store.append(BTC, hours(*thin), "one")
    assert {kind for _, kind in kinds(store)} == {Absence.NO_TRADE}


def test_disagreements_are_counted_and_what_was_there_stays(store: HistoryStore) -> None:
    store.merge(BTC, hours(1, 2), "one", "aa")
    other = Candles(
        HOUR, hours(1, 2).opened_at, *(np.full(2, 11.0),) * 5, np.ones(2, dtype=np.int64)
    )
    assert store.merge(BTC, other, "two", "bb").conflicts == (3600, 7200)
    assert store.load(BTC, HOUR).close.tolist() == [10, 10]
    assert store.check()[0].conflicts == 2
    before = store.path(BTC, HOUR).read_bytes()
    store.merge(BTC, other, "two", "bb")
    assert store.path(BTC, HOUR).read_bytes() == before


def test_numbers_that_agree_to_a_billionth_are_no_conflict(store: HistoryStore) -> None:
    store.append(BTC, hours(1), "one")
    near = Candles(
        HOUR,
        hours(1).opened_at,
        *(np.full(1, 10.0 * (1 + 1e-12)),) * 5,
        np.zeros(1, dtype=np.int64),
    )
    assert store.merge(BTC, near, "two").same == 1


def test_a_source_that_saw_no_trade_still_covers_its_time(store: HistoryStore) -> None:
    store.merge(BTC, hours(1), "one")
    store.merge(BTC, Candles.empty(HOUR), "one", covers=(7200, 36000))
    assert store.covered(BTC, HOUR) == [(3600, 36000)]


def test_the_hash_of_a_span_is_that_of_its_stored_rows(store: HistoryStore) -> None:
    store.merge(BTC, hours(1, 3), "one", "aa")
    store.merge(BTC, hours(2), "two", "bb")
    candles = read_candles(store.path(BTC, HOUR))
    sources = store.sources(BTC, HOUR)
    assert [entry.rows_sha256 for entry in sources] == [rows_digest(candles, e) for e in sources]
    assert len({entry.rows_sha256 for entry in sources}) == 2


def test_a_file_of_the_first_format_is_read_and_renewed_by_the_next_write(
    store: HistoryStore,
) -> None:
    path = store.path(BTC, HOUR)
    path.parent.mkdir(parents=True)
    old = hours(1, 2, 3)
    entry = {"source": "import XBTUSD_60.csv", "added_at": NOW.isoformat(), "candles": 3,
             "first": "1970-01-01T01:00:00+00:00", "last": "1970-01-01T03:00:00+00:00",
             "sha256": "ab"}  # fmt: skip
    names = ("opened_at", "open", "high", "low", "close", "volume", "trades")
    table = pa.table([pa.array(column) for column in old.columns()], names=list(names))
    pq.write_table(
        table.replace_schema_metadata({b"provenance": json.dumps([entry])}), path,
        compression="zstd", use_dictionary=False, write_page_checksum=True,
    )  # fmt: skip
    assert store.load(BTC, HOUR) == old
    (found,) = store.sources(BTC, HOUR)
    assert (found.exchange, found.cover) == ("kraken", (3600, 4 * 3600))
    store.append(BTC, hours(4), "kraken")
    assert pq.ParquetFile(path).schema_arrow.metadata[b"format"] == b"2"
    assert covered(store.sources(BTC, HOUR)) == [(3600, 5 * 3600)]


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 1, 130_999, 131_072, 150_000, 299_999])
@pytest.mark.parametrize("length", [1, 7, 131_072, 400_000])
def test_a_part_of_a_large_file_is_that_part_of_the_whole(
    big: HistoryStore, start: int, length: int
) -> None:
    first, last = (datetime.fromtimestamp((start + n) * 3600, UTC) for n in (0, length))
    whole = big.load(BTC, HOUR)
    assert big.load(BTC, HOUR, first, last) == whole.between(first, last)
    four = Timeframe(4 * 3600)
    assert big.load(BTC, four, first, last) == whole.resampled(four).between(first, last)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    made = HistoryStore(tmp_path_factory.mktemp("big"))
    made.append(BTC, without(300_000, *range(7, 300_000, 11)), "one")
    return made
