"""Kraken's trades, page by page, into trades and candles on disk; several pairs side by side.

One page a turn, the pairs in turns, so that all of them share one allowance. What has been saved
is never asked for again: a download that was killed goes on from the cursor of its newest chunk,
and candles are made of what is on disk, so that the result does not depend on where it broke off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from trader.domain.candles import Timeframe
from trader.domain.errors import HistoryError
from trader.domain.markets import Pair
from trader.domain.tape import NS, Tape, minute_bars
from trader.storage.flows import FlowStore
from trader.storage.history import HistoryStore
from trader.storage.sales import TIMEFRAMES, whole_bars
from trader.storage.trade_store import Chunk, TradeStore

SOURCE = "kraken trades"
CHUNK_PAGES = 64
SAVE_PAGES = 8


class Page(Protocol):
    """Some trades after a cursor, and the cursor after them."""

    @property
    def tape(self) -> Tape:
        """The trades, oldest first."""
        ...

    @property
    def next_ns(self) -> int:
        """From where to ask on."""
        ...


class TradePages(Protocol):
    """An exchange whose trades can be paged."""

    def trades_since(self, pair: Pair, since_ns: int) -> Page:
        """Trades after a moment, oldest first; none when there are no more."""
        ...


@dataclass(slots=True)
class Progress:
    """How far the paging of one pair has come.

    Attributes:
        at_ns: everything up to here is on disk or in memory.
        pages: answers read in this run.
        trades: in them.
        jumps: places where the numbers of the trades leave something out.
        done: whether the end is reached.
    """

    pair: Pair
    start_ns: int
    end_ns: int
    at_ns: int
    pages: int = 0
    trades: int = 0
    jumps: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a download will come to.

    Attributes:
        trades: between start and end, by the exchange's own numbers; None if it does not number.
        pages: answers that still have to be asked for.
        seconds: at one answer a second.
    """

    trades: int | None
    pages: int
    seconds: float


class TradesDownload:
    """Pages the trades of some pairs into a store.

    Args:
        pages: the exchange.
        store: where the candles go; trades and flows lie beside it.
        start: from here on.
        end: up to here; trades that are made while it runs are not asked for.
        turn: waits until the exchange may be asked once more.
        tell: is given the progress after each page.
    """

    def __init__(
        self,
        pages: TradePages,
        store: HistoryStore,
        start: datetime,
        end: datetime,
        *,
        turn: Callable[[], None] = lambda: None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._pages = pages
        self._store = store
        self._trades = TradeStore(store.folder.parents[1], store.exchange)
        self._flows = FlowStore.beside(store)
        self._start_s, self._end_s = int(start.timestamp()), int(end.timestamp())
        self._turn = turn
        self._tell = tell

    def estimate(self, pair: Pair) -> Estimate:
        """How long a pair will take, by two or three questions; what is made meanwhile aside."""
        self._turn()
        first = self._pages.trades_since(pair, self._start_s * NS - 1).tape
        if not len(first):
            return Estimate(0, 0, 0.0)
        last = first
        for before_s in (3600, 86400):
            self._turn()
            last = self._pages.trades_since(pair, (self._end_s - before_s) * NS).tape
            if len(last):
                break
        held = sum(chunk.pages for chunk in self._trades.chunks(pair))
        ids = int(first.trade_id[0]), int((last if len(last) else first).trade_id[-1])
        if not 0 < ids[0] <= ids[1]:
            return Estimate(None, 0, 0.0)
        count = ids[1] - ids[0] + 1
        pages = max(1, -(-count // 1000) - held)
        return Estimate(count, pages, float(pages))

    def run(self, pairs: Iterable[Pair]) -> list[Progress]:
        """Page all of them to the end; what is there already is left out.

        Raises:
            HistoryError: if another program pages one of them, or the disk refuses.
            ExchangeError: if the exchange does not answer; what was read is kept.
        """
        runs = [_Pager(self, pair) for pair in dict.fromkeys(pairs)]
        open_runs = list(runs)
        try:
            while open_runs:
                for run in list(open_runs):
                    run.step()
                    if run.progress.done:
                        open_runs.remove(run)
        finally:
            for run in runs:
                run.close()
        return [run.progress for run in runs]


class _Pager:
    """One pair of a download."""

    def __init__(self, download: TradesDownload, pair: Pair) -> None:
        d = self._d = download
        self._pair = pair
        start_ns = d._start_s * NS - 1
        self.progress = Progress(pair, start_ns + 1, d._end_s * NS, start_ns)
        self._held = d._trades.alone(pair)
        self._held.__enter__()
        self._chunk: Chunk | None = None
        self._parts: list[Tape] = []
        self._later: list[int] = []
        self._last_id = 0
        self._unsaved = 0
        self._go_on(start_ns)

    def step(self) -> None:
        """One page, if there is one to ask for."""
        d, cursor = self._d, self.progress.at_ns
        if cursor >= self.progress.end_ns - 1:
            self._finish()
            return
        d._turn()
        page = self._following(cursor)
        tape, until = self._up_to_what_is_there(page.tape, max(page.next_ns, cursor))
        if not len(tape) and until == cursor:
            self._finish()
            return
        self._take(tape, until)
        d._tell(self.progress)

    def close(self) -> None:
        """Save what is unsaved, whatever happened, and let others page."""
        try:
            self._save()
        finally:
            self._held.__exit__(None, None, None)

    def _following(self, cursor: int) -> Page:
        """The next page; where its numbers do not go on, once more from a moment before.

        Trades of one moment may be cut in two by the end of a page.
        """
        d = self._d
        page = d._pages.trades_since(self._pair, cursor)
        last = self._last_id
        if not (len(page.tape) and last and page.tape.trade_id[0] > last + 1):
            return page
        d._turn()
        again = d._pages.trades_since(self._pair, cursor - 1)
        fresh = _Again(_after(again.tape, last), max(again.next_ns, cursor))
        if len(fresh.tape) and fresh.tape.trade_id[0] < page.tape.trade_id[0]:
            page = fresh
        if len(page.tape) and page.tape.trade_id[0] > last + 1:
            self.progress.jumps += 1
        return page

    def _up_to_what_is_there(self, tape: Tape, until: int) -> tuple[Tape, int]:
        """A page cut off where a chunk of an earlier download begins."""
        limit = next((since for since in self._later if since > self.progress.at_ns), None)
        if limit is None or until <= limit:
            return tape, until
        return tape.between(0, limit + 1), limit

    def _take(self, tape: Tape, until: int) -> None:
        chunk = self._chunk or Chunk(self.progress.at_ns, self.progress.at_ns, 0)
        self._chunk = Chunk(chunk.since, until, chunk.pages + 1)
        self._parts.append(tape)
        self._unsaved += 1
        if len(tape):
            self._last_id = int(tape.trade_id[-1])
        p = self.progress
        p.at_ns, p.pages, p.trades = until, p.pages + 1, p.trades + len(tape)
        if self._chunk.pages >= CHUNK_PAGES or until in self._later:
            self._save()
            self._catch_up()
            self._go_on(until)
        elif self._unsaved >= SAVE_PAGES:
            self._save()

    def _save(self) -> None:
        if self._chunk is None or not self._unsaved:
            return
        whole = Tape.joined(self._parts)
        self._d._trades.save(self._pair, self._chunk, whole)
        self._parts, self._unsaved = [whole], 0

    def _go_on(self, cursor: int) -> None:
        """Walk over what is on disk to the first cursor that is not."""
        trades = self._d._trades
        chunks = trades.chunks(self._pair)
        newest: Chunk | None = None
        for chunk in chunks:
            if chunk.since <= cursor < chunk.next:
                cursor, newest = chunk.next, chunk
        self._later = [chunk.since for chunk in chunks if chunk.since >= cursor]
        self._chunk, self._parts = None, []
        if newest is not None:
            tape = trades.load(self._pair, newest)
            self._last_id = int(tape.trade_id[-1]) if len(tape) else 0
            if newest.pages < CHUNK_PAGES:
                self._chunk, self._parts = newest, [tape]
        self.progress.at_ns = cursor

    def _finish(self) -> None:
        self._save()
        self.progress.at_ns = max(self.progress.at_ns, self.progress.end_ns - 1)
        self._catch_up()
        self.progress.done = True

    def _catch_up(self) -> None:
        """Candles of every timeframe from the trades on disk that are in none yet."""
        d = self._d
        until = min((self.progress.at_ns + 1) // NS, d._end_s) // 60 * 60
        froms = {t: self._made_until(t) for t in TIMEFRAMES}
        wanted = {t: begin for t, begin in froms.items() if begin + t.seconds <= until}
        if not wanted:
            return
        begin = min(wanted.values())
        tape = d._trades.read(self._pair, begin * NS, until * NS)
        minutes = minute_bars(tape)
        for timeframe, since in wanted.items():
            whole, covers = whole_bars(minutes.coarser(timeframe), (since, until))
            d._store.merge(self._pair, whole.candles, SOURCE, covers=covers)
            if len(whole.candles):
                d._flows.merge(self._pair, whole.flow)

    def _made_until(self, timeframe: Timeframe) -> int:
        """From where on candles of a timeframe are still to be made of trades."""
        step = timeframe.seconds
        begin = -(-self._d._start_s // step) * step
        for entry in self._d._store.sources(self._pair, timeframe):
            first, until = entry.cover
            if entry.source == SOURCE and first <= begin <= until:
                begin = until
        return begin


@dataclass(frozen=True, slots=True)
class _Again:
    tape: Tape
    next_ns: int


def _after(tape: Tape, last_id: int) -> Tape:
    """Trades with a higher number; the numbers rise."""
    return tape[int(tape.trade_id.searchsorted(last_id, side="right")) :]


def check_span(start: datetime, end: datetime) -> None:
    """Demand a span that has begun and does not end before it begins.

    Raises:
        HistoryError: if it is none.
    """
    if start >= end:
        raise HistoryError(
            f"nothing lies between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC",
            "Give a --start before --end.",
        )
    if start < datetime(2011, 1, 1, tzinfo=UTC):
        raise HistoryError("Kraken opened in 2013: there are no trades before", "Use --start.")
