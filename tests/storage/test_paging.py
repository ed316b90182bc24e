"""Claims about paging trades into a store."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError, Unreachable
from trader.domain.markets import Pair
from trader.domain.tape import NS, Tape, minute_bars
from trader.storage import paging, parquet_candles
from trader.storage.history import HistoryStore
from trader.storage.paging import TradesDownload
from trader.storage.sales import TIMEFRAMES
from trader.storage.trade_store import TradeStore

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2024, 1, 2, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    tape: Tape
    next_ns: int


@dataclass
class Market:
    """An exchange with trades every so many seconds, several of them in one moment."""

    size: int = 60
    together: int = 1
    asked: list[Pair] = field(default_factory=list)
    fails_after: int = -1

    def whole(self) -> Tape:
        begin, end = (int(t.timestamp()) * NS for t in (START, END))
        moments = np.arange(begin, end, 60 * NS, dtype=np.int64)
        at = np.repeat(moments, self.together)
        n = np.arange(len(at))
        side = np.where(n % 3 == 0, -1, 1).astype(np.int8)
        return Tape(at, 100 + n % 50 / 10, 1 + n % 7 / 1e4, side, n + 1)

    def trades_since(self, pair: Pair, since_ns: int) -> Answer:
        self.asked.append(pair)
        if len(self.asked) == self.fails_after:
            raise Unreachable("no answer")
        whole = self.whole()
        first = int(np.searchsorted(whole.at_ns, since_ns, side="right"))
        page = whole[first : first + self.size]
        return Answer(page, int(page.at_ns[-1]) if len(page) else since_ns)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "CHUNK_PAGES", 6)
    monkeypatch.setattr(paging, "SAVE_PAGES", 2)
    # What is claimed here does not depend on when the disk has it.
    monkeypatch.setattr(parquet_candles.os, "fsync", lambda _: None)


def store_in(folder: Path) -> HistoryStore:
    return HistoryStore(folder, now=lambda: NOW)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def test_the_candles_are_those_of_all_trades(tmp_path: Path) -> None:
    market, store = Market(), store_in(tmp_path)
    (told,) = TradesDownload(market, store, START, END).run([BTC])
    expected = minute_bars(market.whole())
    for timeframe in TIMEFRAMES[:-1]:
        assert store.raw(BTC, timeframe) == expected.coarser(timeframe).candles
    assert (told.trades, told.jumps) == (len(market.whole()), 0)
    assert store.covered(BTC, Timeframe(60)) == [(int(START.timestamp()), int(END.timestamp()))]


@pytest.mark.slow
@pytest.mark.parametrize("after", [2, 12, 43])
def test_wherever_it_breaks_off_the_files_become_the_same(tmp_path: Path, after: int) -> None:
    TradesDownload(Market(), store_in(tmp_path / "a"), START, END).run([BTC, ETH])
    broken = TradesDownload(Market(fails_after=after), store_in(tmp_path / "b"), START, END)
    with pytest.raises(Unreachable):
        broken.run([BTC, ETH])
    TradesDownload(Market(), store_in(tmp_path / "b"), START, END).run([BTC, ETH])
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_trades_of_one_moment_that_a_page_cuts_in_two_are_all_there(tmp_path: Path) -> None:
    market, store = Market(size=100, together=3), store_in(tmp_path)
    (told,) = TradesDownload(market, store, START, END).run([BTC])
    assert int(store.raw(BTC, Timeframe(60)).trades.sum()) == len(market.whole())
    assert told.jumps == 0


def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    TradesDownload(Market(), store, START, END).run([BTC])
    again = Market()
    TradesDownload(again, store, START, END).run([BTC])
    assert len(again.asked) == 1


def test_an_earlier_part_is_joined_to_what_is_there(tmp_path: Path) -> None:
    store, noon = store_in(tmp_path), datetime(2024, 1, 1, 12, tzinfo=UTC)
    TradesDownload(Market(), store, noon, END).run([BTC])
    TradesDownload(Market(), store, START, END).run([BTC])
    begin, end = (int(t.timestamp()) * NS for t in (START, END))
    held = TradeStore(tmp_path).read(BTC, begin, end)
    assert held.trade_id.tolist() == Market().whole().trade_id.tolist()
    assert store.raw(BTC, Timeframe(86400)).trades.tolist() == [len(Market().whole())]


@pytest.mark.slow
def test_pairs_are_asked_in_turns(tmp_path: Path) -> None:
    market = Market()
    TradesDownload(market, store_in(tmp_path), START, END).run([BTC, ETH])
    assert market.asked[:6] == [BTC, ETH] * 3


def test_the_exchanges_own_numbers_tell_how_many_trades_there_are(tmp_path: Path) -> None:
    market = Market()
    estimate = TradesDownload(market, store_in(tmp_path), START, END).estimate(BTC)
    assert estimate.trades is not None
    assert abs(estimate.trades - len(market.whole())) <= 60
    assert estimate.seconds == estimate.pages


def test_two_programs_do_not_page_one_pair(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with (
        TradeStore(tmp_path).alone(BTC),
        pytest.raises(HistoryError, match="another program is downloading"),
    ):
        TradesDownload(Market(), store, START, END).run([BTC])


def test_each_page_waits_for_its_turn(tmp_path: Path) -> None:
    turns: list[int] = []
    turn: Callable[[], None] = lambda: turns.append(1)  # noqa: E731
    market = Market()
    TradesDownload(market, store_in(tmp_path), START, END, turn=turn).run([BTC])
    assert len(turns) == len(market.asked)
