"""Claims about sentiment on record: known from a moment on, null when it is not, never zero."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.sentiment import sentiment
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from trader.storage.sentiment_log import LOOK_S, Said, SentimentHistory, SentimentLog

BTC, ETH, SOL = (Pair(base, "USD") for base in ("BTC", "ETH", "SOL"))
HOUR = Timeframe(3600)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    return HistoryStore(tmp_path)


def said(value: float, known_at: datetime, hours: float = 6) -> Said:
    return Said(value, known_at, known_at - timedelta(hours=1), known_at + timedelta(hours=hours))


def rising(count: int, direction: float) -> Candles:
    close = 100 + direction * np.arange(count)
    times = int(NOON.timestamp()) + 3600 * np.arange(-count, 0, dtype=np.int64)
    one = np.ones(count)
    return Candles(HOUR, times, close, close, close, close, one, one.astype(np.int64))


def test_nothing_on_record_adds_no_name(store: HistoryStore) -> None:
    assert SentimentHistory(store).at(BTC, NOON) == {}


def test_a_number_is_seen_from_when_it_was_known_until_it_is_too_old(store: HistoryStore) -> None:
    log = SentimentLog(store.folder.parents[1])
    log.record("news", None, said(0.4, NOON), "outside")
    history = SentimentHistory(store)
    seen = {h: history.at(BTC, NOON + timedelta(hours=h))["news"] for h in (-1, 0, 5, 6, 99)}
    assert seen == {-1: None, 0: 0.4, 5: 0.4, 6: None, 99: None}


def test_a_later_number_changes_nothing_before_it(store: HistoryStore) -> None:
    log = SentimentLog(store.folder.parents[1])
    log.record("news", None, said(0.4, NOON), "outside")
    before = SentimentHistory(store).at(BTC, NOON + timedelta(hours=1))
    log.record("news", None, said(-0.9, NOON + timedelta(hours=2)), "outside")
    assert SentimentHistory(store).at(BTC, NOON + timedelta(hours=1)) == before


def test_what_was_recorded_for_a_moment_stays(store: HistoryStore) -> None:
    log = SentimentLog(store.folder.parents[1])
    for value in (0.4, 0.9):
        log.record("news", None, said(value, NOON), "outside")
    assert SentimentHistory(store).at(BTC, NOON)["news"] == 0.4


def test_a_pairs_order_book_is_no_other_pairs(store: HistoryStore) -> None:
    log = SentimentLog(store.folder.parents[1])
    log.note(BTC, NOON, {"book_imbalance": 0.3, "taker_flow": None, "mood": 0.5}, HOUR.delta)
    history = SentimentHistory(store)
    assert history.at(BTC, NOON) == {"book_imbalance": 0.3}
    assert history.at(ETH, NOON) == {}


def test_what_was_recorded_stands_in_for_a_book_that_is_gone() -> None:
    found = sentiment(None, (), {}, {"book_imbalance": 0.5, "fear_and_greed": None})
    assert found["book_imbalance"] == 0.5
    assert found["mood"] == 0.5
    assert found["fear_and_greed"] is None
    assert found["taker_flow"] is None


def test_breadth_is_risen_less_fallen_and_null_with_too_few_known(store: HistoryStore) -> None:
    for pair, direction in ((BTC, 1.0), (ETH, 0.5), (SOL, -1.0)):
        store.append(pair, rising(40, direction), "one")
    history = SentimentHistory(store)
    assert history.at(BTC, NOON)["breadth"] == pytest.approx(1 / 3)
    assert history.at(BTC, NOON + timedelta(days=2))["breadth"] is None
    assert history.at(BTC, NOON - timedelta(hours=20))["breadth"] is None


def test_breadth_needs_three_stored_pairs(store: HistoryStore) -> None:
    for pair in (BTC, ETH):
        store.append(pair, rising(40, 1.0), "one")
    assert "breadth" not in SentimentHistory(store).at(BTC, NOON)


def test_the_flow_of_stored_trades_is_known_when_its_hour_has_closed(
    store: HistoryStore, tmp_path: Path
) -> None:
    rows = [(0, 3, "b"), (100, 1, "s"), (3700, 2, "s"), (7300, 1, "b")]
    text = "".join(f"{t},10,{v},{s},l,{i}\n" for i, (t, v, s) in enumerate(rows))
    (tmp_path / "XBTUSD.csv").write_text(text)
    import_ohlcvt(store, tmp_path / "XBTUSD.csv", now=NOON)
    history = SentimentHistory(store)
    at = {
        s: history.at(BTC, datetime.fromtimestamp(s, UTC))["trade_flow"]
        for s in (3599, 3600, 7200, 10800)
    }
    assert at == {3599: None, 3600: 0.5, 7200: -1.0, 10800: None}


def test_new_records_are_seen_after_a_while(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("trader.storage.sentiment_log.time.monotonic", lambda: clock[0])
    history = SentimentHistory(store)
    assert history.at(BTC, NOON) == {}
    SentimentLog(store.folder.parents[1]).record("news", None, said(0.4, NOON), "outside")
    assert history.at(BTC, NOON) == {}
    clock[0] = LOOK_S
    assert history.at(BTC, NOON) == {"news": 0.4}


def test_a_damaged_log_is_named_and_a_running_bot_goes_on(store: HistoryStore) -> None:
    log = SentimentLog(store.folder.parents[1])
    log.path.parent.mkdir(parents=True)
    log.path.write_bytes(b"no database" * 100)
    with pytest.raises(HistoryError, match="damaged"):
        log.series()
    log.note(BTC, NOON, {"book_imbalance": 0.3}, HOUR.delta)
    assert SentimentHistory(store).at(BTC, NOON) == {}
