"""Paper trading: live, replayed or made-up prices, and an exchange in the box to trade on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from config import Config
from kraken_client import KrakenClient
from trader.clocks import ManualClock, ScaledClock, SystemClock
from trader.domain.candles import Candles, Timeframe
from trader.domain.errors import HistoryError, JournalError, UsageError
from trader.domain.markets import Pair
from trader.domain.window import KEEP, STRIDE
from trader.exchanges.account_store import FILE, stored_now
from trader.exchanges.feeds.kraken import KrakenFeed
from trader.exchanges.feeds.replay import ReplayFeed
from trader.exchanges.feeds.simulated import QUARTER_HOUR, SimulatedFeed
from trader.exchanges.kraken_calls import Retries
from trader.exchanges.sandbox import SandboxExchange
from trader.exchanges.sandbox_server import KrakenWire
from trader.exchanges.wire.keys import ApiKey
from trader.ports import Clock, Exchange
from trader.simulation.backtest import load_paths
from trader.simulation.costs import Costs
from trader.storage.history import HistoryStore
from trader.storage.journal import list_books
from venues import (
    PAPER_KRAKEN,
    Bench,
    Venue,
    Wishes,
    history_store,
    kraken_answers,
    replay_book,
    simulated_book,
)


def paper(config: Config, wishes: Wishes) -> Venue:
    """The market that SANDBOX_FEED names, with simulated fills.

    Raises:
        TraderError: if its prices cannot be had or its account is damaged.
    """
    config_pairs = wishes.pairs or config.pairs
    name = config.sandbox_feed
    notes = []
    if name == "auto":
        name = "kraken" if kraken_answers(config) else "simulated"
        if name == "simulated":
            notes.append("Kraken does not answer: a SIMULATED market is used instead")
    make = {"kraken": _paper_kraken, "replay": _replay, "simulated": _simulated}[name]
    venue = make(config, wishes, config_pairs)
    venue.notes[:0] = notes
    return venue


def _replay(config: Config, wishes: Wishes, pairs: tuple[Pair, ...]) -> Venue:
    store = history_store(config)
    histories: dict[Pair, Candles] = {}
    notes = []
    for pair in pairs:
        try:
            histories[pair] = store.load(pair, config.timeframe)
        except HistoryError as fault:
            notes.append(f"{pair} is left out: {fault.message}")
    if not histories:
        raise HistoryError(
            f"there is no {config.timeframe} history of {', '.join(map(str, pairs))} to replay",
            "Import one: python run_trader.py history import FILE",
        )
    begin = _replay_start(config, wishes, histories)
    ends_at = max(candles.closed_at for candles in histories.values())
    clock, pace, speed = _own_time(config, wishes, begin)
    until = ends_at if wishes.cycles is None else begin + wishes.cycles * config.timeframe.delta
    bench = wishes.bench or Bench(Costs())
    paths = load_paths(store, histories, begin, until) if bench.finest_path else histories
    sandbox = (bench.box or SandboxExchange)(
        ReplayFeed(paths), clock, balances={config.quote: config.sandbox_balance},
        costs=bench.costs,
    )  # fmt: skip
    client = bench.client or _client_of
    number = 1 + sum(
        info.name.startswith("replay-") for info in list_books(config.data_dir / "trader.db")
    )
    # All that came before, as a backtest has it: a shorter past would give other averages.
    whole = {pair: candles.between(None, until) for pair, candles in histories.items()}
    return Venue(
        "PAPER", "replay", f"real prices of the past from {begin:%Y-%m-%d %H:%M} UTC",
        replay_book(number), pace, tuple(histories), clock, client(sandbox),
        store, sandbox, speed, whole, ends_at, False, notes,
    )  # fmt: skip


def _replay_start(config: Config, wishes: Wishes, histories: Mapping[Pair, Candles]) -> datetime:
    """The close at which a replay begins: as asked, or so that its cycles use up the prices."""
    step = config.timeframe
    first = min(candles.first_opened_at for candles in histories.values())
    last = max(candles.closed_at for candles in histories.values())
    if wishes.start is not None:
        begin = step.ceil(wishes.start)
        if not first <= begin < last:
            raise UsageError(
                f"--start {wishes.start:%Y-%m-%d %H:%M}: the history reaches from "
                f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
            )
        return begin
    cycles = wishes.cycles or round(step.per_year)
    return step.floor(max(first + step.delta, last - (cycles - 1) * step.delta))


def _simulated(config: Config, wishes: Wishes, pairs: tuple[Pair, ...]) -> Venue:
    seed = config.sandbox_seed
    book = simulated_book(seed)
    folder = _account_folder(config, book)
    step = config.timeframe
    feed = SimulatedFeed(seed, pairs, min(step, QUARTER_HOUR))
    reached = stored_now(folder)
    # Between two runs the made-up market stands still; it goes on with the next candle's close.
    begin = step.floor(wishes.start or SystemClock().now())
    if reached is not None:
        begin = reached if wishes.standing else step.floor(reached) + step.delta
    clock, pace, speed = _own_time(config, wishes, begin)
    sandbox = SandboxExchange(
        feed, clock, balances={config.quote: config.sandbox_balance}, seed=seed, directory=folder
    )
    store = history_store(config, "simulated")
    if not wishes.emergency:
        _write_past(config, feed, store, begin)
    whole = {}
    if pace == "jump" and wishes.cycles is not None:
        until = begin + wishes.cycles * step.delta
        histories = {pair: feed.history(pair, step, until) for pair in pairs}
        whole = _stretch(config, histories, begin, until)
    return Venue(
        "PAPER", "simulated", f"SIMULATED MARKET: not real prices (seed {seed})", book, pace,
        pairs, clock, _client_of(sandbox), store, sandbox, speed, whole,
        source=_made_up(seed),
    )  # fmt: skip


def _made_up(seed: int) -> str:
    """How the store names where made-up candles come from."""
    return f"simulated market, seed {seed}"


def _write_past(config: Config, feed: SimulatedFeed, store: HistoryStore, now: datetime) -> None:
    """Give the made-up market a past on disk, so that there is something to learn from."""
    days = config.training_window_days + 365
    step = max(min(config.timeframe, Timeframe(3600)), feed.base_timeframe(feed.pairs[0]))
    for pair in feed.pairs:
        past = feed.history(pair, step, now).between(now - timedelta(days=days), None)
        store.append(pair, past, _made_up(config.sandbox_seed))


def _paper_kraken(config: Config, wishes: Wishes, pairs: tuple[Pair, ...]) -> Venue:
    public = KrakenClient(url=config.kraken_api_url, retries=Retries(attempts=2, budget_s=10.0))
    clock = SystemClock()
    sandbox = SandboxExchange(
        KrakenFeed(public, pairs), clock,
        balances={config.quote: config.sandbox_balance},
        directory=_account_folder(config, PAPER_KRAKEN),
    )  # fmt: skip
    return Venue(
        "PAPER", "kraken", "live prices of Kraken, simulated fills", PAPER_KRAKEN, "real",
        pairs, clock, _client_of(sandbox), history_store(config), sandbox, source="kraken",
    )  # fmt: skip


def _account_folder(config: Config, book: str) -> Path:
    """Where the exchange in the box keeps the account that belongs to a book of the journal.

    Raises:
        JournalError: if the book has a past and the account is gone. A new account would give the
            numbers of its first trades a second time, and the journal would take them for known.
    """
    folder = config.data_dir / "sandbox" / book
    journal = config.data_dir / "trader.db"
    if (folder / FILE).exists() or not any(
        info.name == book and info.events for info in list_books(journal)
    ):
        return folder
    raise JournalError(
        f"the paper account {folder / FILE} is gone, but {journal} has its past",
        "Restore it from a backup; or begin anew: move the journal away too, or choose another "
        "DATA_DIR.",
    )


def _client_of(sandbox: SandboxExchange) -> Exchange:
    """Paper trading talks to its exchange as live trading does: through Kraken's own wire."""
    key = ApiKey.generate()
    return KrakenClient(
        key.key, key.secret, url="http://sandbox", now=sandbox.server_time,
        handler=KrakenWire(sandbox, [key]), metadata_s=math.inf,
    )  # fmt: skip


def _own_time(config: Config, wishes: Wishes, begin: datetime) -> tuple[Clock, str, float]:
    """A clock for a market whose time is ours, its pace and speed.

    By default a candle takes POLL_SECONDS.
    """
    speed = wishes.speed or config.timeframe.seconds / config.poll_seconds
    if wishes.standing or math.isinf(speed):
        return ManualClock(begin), "jump", math.inf
    return ScaledClock(begin, speed), "scaled", speed


def _stretch(
    config: Config, histories: Mapping[Pair, Candles], begin: datetime, until: datetime
) -> dict[Pair, Candles]:
    """The candles of a run and what is held before it."""
    first = begin - (KEEP + STRIDE) * config.timeframe.delta
    return {pair: candles.between(first, until) for pair, candles in histories.items()}
