"""What you test is what you trade: the box and Kraken's wire give the same trading, to the digit.

One side is a backtest, which holds the exchange in the box itself; the second is the bot as
`start` assembles it, through Kraken's words and client in one process; the third is the same bot
whose client talks HTTP to the sandbox's server.
"""

import math
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from campaigns.parity import Refusing
from commands.loop import Loop
from config import load_config
from main import assemble
from risk_manager import RiskManager
from scripts.backtest import Progress
from scripts.backtest_run import Arena, Incidents, RunSettings, Stopwatch, limits_of
from scripts.backtest_verify import verify
from tests.shared_data import shared
from trader.domain.candles import Timeframe
from trader.domain.events import EmergencyStopped, OrderFilled, OrderIntended
from trader.domain.markets import Pair
from trader.domain.orders import Purpose
from trader.exchanges.sandbox import SandboxExchange
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs
from trader.simulation.runs import decisions_digest, trading_line
from trader.storage.history import HistoryStore
from trader.storage.ohlcvt import import_ohlcvt
from venues import Wishes

BTC, ETH = Pair("BTC", "USD"), Pair("ETH", "USD")
QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    made = HistoryStore(tmp_path_factory.mktemp("data"))
    for name in ("XBTUSD_60", "ETHUSD_60"):
        path = shared(f"data/ohlcvt/{name}.csv.gz")
        import_ohlcvt(made, path, now=datetime(2024, 1, 1, tzinfo=UTC))
    return made


def settings(store: HistoryStore, start: str, days: int, **more: object) -> RunSettings:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    # Near stops and targets, so that both are met often.
    config = replace(load_config(None, {}), stop_atr_multiple=Decimal(1), risk_reward=Decimal(2))
    values = {
        "config": config,
        "store": store,
        "pairs": (BTC,),
        "timeframe": Timeframe(3600),
        "span": Span(begin, begin + timedelta(days=days)),
        "strategy": "sma-cross",
        "costs": Costs(),
        "cash": Decimal(10_000),
    }
    return RunSettings(**(values | more))


@pytest.mark.slow
def test_a_week_of_hours_is_the_same_in_the_backtest_the_bot_and_over_http(
    store: HistoryStore,
) -> None:
    found = verify(settings(store, "2021-05-10", 7), QUIET)
    assert found["first_difference"] is None
    assert len(set(found["digests"].values())) == 1
    assert found["lines"] > 180
    assert found["orders"] > 8


@pytest.mark.slow
def test_they_are_the_same_where_takers_walk_the_book_and_queues_are_waited_for(
    store: HistoryStore,
) -> None:
    costs = Costs(walks_book=True, queue_share=Decimal("0.02"))
    large = settings(store, "2021-05-01", 4, costs=costs, cash=Decimal(50_000_000))
    found = verify(large, QUIET)
    assert found["first_difference"] is None
    assert found["fills"] > 3 * found["orders"]


@pytest.mark.slow
def test_two_pairs_with_stops_and_targets_refused_orders_and_a_stop_in_the_middle(
    store: HistoryStore,
) -> None:
    chosen = settings(store, "2021-01-01", 20, pairs=(BTC, ETH), timeframe=Timeframe(4 * 3600))
    near = {
        "risk_reward": Decimal(1),
        "max_drawdown": Decimal("0.9"),
        "max_consecutive_losses": 50,
    }
    chosen = replace(chosen, config=replace(chosen.config, **near))
    half = chosen.span.start + timedelta(days=12)
    happens = Incidents((half, half + timedelta(days=2)), flatten=True, box=Refusing)
    found = verify(chosen, QUIET, happens)
    assert found["first_difference"] is None
    assert found["rejected"] > 0
    arena = Arena.open(chosen, Stopwatch())
    box = arena.events("x", "sma-cross", RiskManager(limits_of(chosen)), None, QUIET, happens)
    assert decisions_digest(box) == found["digest"]
    assert any(isinstance(event, EmergencyStopped) for event in box)
    met = {event.purpose for event in box if isinstance(event, OrderFilled)}
    assert {Purpose.ENTRY, Purpose.EXIT, Purpose.STOP, Purpose.TARGET} <= met


@pytest.mark.slow
def test_a_difference_is_found_and_its_cause_is_named(store: HistoryStore) -> None:
    """The bot's exchange is dearer than the backtest's: its first fill gives it away."""
    made: list[SandboxExchange] = []

    def dearer(*args: Any, costs: Costs, **more: Any) -> SandboxExchange:
        slippage = costs.slippage * (2 if made else 1)
        made.append(SandboxExchange(*args, costs=replace(costs, slippage=slippage), **more))
        return made[-1]

    found = verify(settings(store, "2021-05-10", 2), QUIET, Incidents(box=dearer))
    first = found["first_difference"]
    assert not found["equal"]
    assert first["between"] == ["the backtest", "the bot in one process"]
    assert first["the backtest"].split()[0] == first["the bot in one process"].split()[0]
    assert "another" in first["cause"]


@pytest.mark.slow
def test_a_thin_market_with_absent_hours_is_the_same_too(store: HistoryStore) -> None:
    chosen = settings(store, "2014-02-01", 5)
    candles = store.load(BTC, Timeframe(3600), chosen.span.start, chosen.span.end)
    found = verify(chosen, QUIET)
    assert candles.gaps()
    assert found["first_difference"] is None
    assert found["orders"] > 1


@pytest.mark.slow
def test_what_comes_later_changes_nothing_before_it(store: HistoryStore) -> None:
    def trading(days: int) -> list[object]:
        chosen = settings(store, "2021-01-10", days)
        arena = Arena.open(chosen, Stopwatch())
        risk = RiskManager(limits_of(chosen))
        return arena.events("x", "sma-cross", risk, None, QUIET)

    short, long = trading(6), trading(9)
    # The last mark of the short run is where the long one decides.
    assert long[: len(short) - 1] == short[:-1]
    assert any(isinstance(event, OrderIntended) for event in short)


@pytest.mark.slow
def test_the_bot_replaying_history_trades_as_the_backtest_does(
    store: HistoryStore, tmp_path: Path
) -> None:
    """The third side: `start` itself, with its loop, its SQLite journal and Kraken's wire."""
    chosen = settings(store, "2021-05-01", 20, pairs=(BTC, ETH), timeframe=Timeframe(4 * 3600))
    config = replace(
        chosen.config,
        data_dir=tmp_path / "data",
        logs_dir=tmp_path / "logs",
        sandbox_feed="replay",
        pairs=chosen.pairs,
        timeframe=chosen.timeframe,
        strategy=chosen.strategy,
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "candles").symlink_to(store.folder.parent)
    wishes = Wishes(speed=math.inf, start=chosen.span.start, cycles=120)
    parts = assemble(config, wishes)
    try:
        parts.trader.recover()
        Loop(parts, wishes.cycles).run()
        replayed = [event for _, event in parts.journal.events()]
    finally:
        parts.close()
    arena = Arena.open(chosen, Stopwatch())
    risk = RiskManager(limits_of(chosen))
    tested = arena.events("x", chosen.strategy, risk, None, QUIET)
    last = replayed[-1].at
    lines = [line for e in tested if e.at <= last and (line := trading_line(e))]
    theirs = [line for e in replayed if (line := trading_line(e))]
    assert theirs == lines
    assert sum(line.startswith("fill ") for line in lines) > 10


@pytest.mark.slow
@pytest.mark.parametrize("timeframe", ["1h", "4h"])
def test_years_of_candles_are_the_same(store: HistoryStore, timeframe: str) -> None:
    """As long as the machine is given time: PARITY_DAYS, 10 in the suite."""
    days = int(os.environ.get("PARITY_DAYS", "10"))
    chosen = settings(
        store, "2018-01-01", days, pairs=(BTC, ETH), timeframe=Timeframe.parse(timeframe)
    )
    found = verify(chosen, QUIET)
    assert found["first_difference"] is None
