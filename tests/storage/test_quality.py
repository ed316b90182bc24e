"""Claims about the quality of stored histories and when they are refused."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.shared_data import shared
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.reports.history_chart import page
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from trader.storage.parquet_candles import read_candles, write_candles
from trader.storage.quality import fit_for_use, judge, wrong_prints

BTC = Pair("BTC", "USD")
HOUR = Timeframe(3600)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def walk(first: int, count: int) -> Candles:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(first).normal(0, 0.002, count)))
    times = (first + np.arange(count, dtype=np.int64)) * 3600
    one = np.ones(count)
    return Candles(
        HOUR, times, close, close * 1.001, close * 0.999, close, one, one.astype(np.int64)
    )


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path, now=lambda: NOW)


def test_a_whole_history_has_the_full_score_and_nothing_to_tell(store: HistoryStore) -> None:
    store.append(BTC, walk(0, 500), "one")
    assert judge(store, BTC, HOUR).score == 100
    assert fit_for_use(store, BTC, HOUR) == []


def test_a_small_hole_is_told_with_its_remedy(store: HistoryStore) -> None:
    store.append(BTC, walk(0, 500), "one")
    store.append(BTC, walk(520, 500), "two")
    (words,) = fit_for_use(store, BTC, HOUR)
    assert "20 of 1,020 candles (2.0%)" in words
    assert "history download BTC/USD" in words


def test_a_span_of_which_a_tenth_was_never_fetched_is_refused(store: HistoryStore) -> None:
    store.append(BTC, walk(0, 500), "one")
    store.append(BTC, walk(620, 500), "two")
    with pytest.raises(HistoryError, match="more than a tenth"):
        fit_for_use(store, BTC, HOUR)
    assert fit_for_use(store, BTC, HOUR, end=datetime.fromtimestamp(3600 * 400, UTC)) == []


def test_a_hole_in_the_finer_series_counts_for_the_coarser_one_made_of_it(
    store: HistoryStore,
) -> None:
    store.append(BTC, walk(0, 500), "one")
    store.append(BTC, walk(900, 500), "two")
    with pytest.raises(HistoryError, match="never fetched"):
        fit_for_use(store, BTC, Timeframe(4 * 3600))


def test_a_single_print_far_off_is_found_and_a_move_that_stays_is_not() -> None:
    candles = walk(0, 400)
    level = np.where(np.arange(400) < 300, 1.0, 1.5)
    open_, high, low, close = (
        x * level for x in (candles.open, candles.high, candles.low, candles.close)
    )
    high[200] *= 1.5
    spiked = Candles(
        HOUR, candles.opened_at, open_, high, low, close, candles.volume, candles.trades
    )
    assert wrong_prints(spiked) == (200 * 3600,)


def test_a_coarse_candle_that_is_not_the_sum_of_the_finer_ones_costs_points(
    store: HistoryStore,
) -> None:
    fine = walk(0, 400)
    coarse = fine.resampled(Timeframe(4 * 3600))
    store.append(BTC, fine, "one")
    store.append(BTC, coarse, "one")
    assert judge(store, BTC, coarse.timeframe).unlike == 0
    path = store.path(BTC, coarse.timeframe)
    close = coarse.close.copy()
    close[7] *= 1.0005
    high = np.maximum(coarse.high, close)
    other = Candles(
        coarse.timeframe,
        coarse.opened_at,
        coarse.open,
        high,
        coarse.low,
        close,
        coarse.volume,
        coarse.trades,
    )
    path.unlink()
    store.append(BTC, other, "other")
    found = judge(store, BTC, coarse.timeframe)
    assert found.unlike == 1
    assert found.score < 100


def test_rows_changed_behind_the_stores_back_are_found(store: HistoryStore) -> None:
    store.append(BTC, walk(0, 50), "one")
    path = store.path(BTC, HOUR)
    write_candles(path, read_candles(path)[:49], store.sources(BTC, HOUR))
    found = judge(store, BTC, HOUR)
    assert (found.changed, found.score) == (("one",), 0)


def test_the_chart_has_every_series_and_asks_nobody(store: HistoryStore) -> None:
    store.append(BTC, walk(0, 500), "one <b>")
    html = page([judge(store, BTC, HOUR)], NOW)
    assert "BTC/USD 1h, kraken" in html
    assert "one &lt;b&gt;" in html
    assert html.count("<rect") == 1
    assert "http" not in html


@pytest.mark.slow
def test_krakens_bitcoin_hours_are_good_with_known_outages(store: HistoryStore) -> None:
    import_ohlcvt(store, shared("data/ohlcvt/XBTUSD_60.csv.gz"), now=NOW)
    found = judge(store, BTC, HOUR)
    assert 90 < found.score < 99
    # January 2018: Kraken was down for two days to replace its trading engine.
    begin, end = (datetime(2018, 1, day, tzinfo=UTC).timestamp() for day in (11, 14))
    down = sum(
        g.candles for g in found.gaps if g.kind == "exchange down" and begin < g.first < end
    )
    assert down > 30
