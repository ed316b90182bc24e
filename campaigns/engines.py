"""Two engines, one answer: random settings on random spans, held to one digest.

`python -m campaigns.engines --runs 60 --seed 3 --candles FOLDER --json`

Each run draws a strategy, a span, limits and costs, trades them by the step-by-step engine and by
the compiled one, and compares every decision, order and fill, and the account's worth at every
candle. Four hours are traded with and without the hours inside them.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np

from campaigns.markets import CANDLES_HELP, HOUR, histories
from campaigns.output import Pace, progress, show
from config import load_config
from risk_manager import RiskLimits, RiskManager
from scripts.backtest import Progress
from scripts.backtest_fast import code_folder, market_of
from scripts.backtest_run import Arena, RunSettings, Stopwatch, limits_of, strategy_settings
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.simulation import kernel
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs
from trader.simulation.runs import account_run
from trader.storage.history import HistoryStore
from trader.strategies.weights import WEIGHTS

WARM_UP = timedelta(days=120)


class Draws:
    """Settings by chance, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)

    def one(self, *values: str) -> Decimal:
        """One of these numbers."""
        return Decimal(self.chance.choice(values))

    def span(self, candles: Candles, timeframe: Timeframe) -> Span:
        """Three weeks to four months of hours, up to a year and a half of four hours."""
        longest = 120 if timeframe == HOUR else 540
        days = timedelta(days=self.chance.randint(20, longest))
        first = candles.first_opened_at + WARM_UP
        room = int((candles.closed_at - first - days).total_seconds() // 3600)
        begin = timeframe.floor(first + timedelta(hours=self.chance.randint(0, max(0, room))))
        return Span(begin, begin + days)

    def costs(self) -> Costs:
        """Fees of the entry tier, little volume now and then."""
        return Costs(
            maker=self.one("0.0016", "0.0040"), taker=self.one("0.0026", "0.0080"),
            slippage=self.one("0.0005", "0.001"), volume_share=self.one("0.1", "0.1", "0.001"),
        )  # fmt: skip

    def settings(self, store: HistoryStore, pair: Pair, candles: Candles) -> RunSettings:
        """A run."""
        one, chance = self.one, self.chance
        timeframe = Timeframe(chance.choice([3600, 14400]))
        config = replace(
            load_config(None, {}),
            entry_patience_minutes=chance.choice([0, 60, 240, 240, 600]),
            risk_per_trade=one("0.005", "0.01", "0.04", "0.1"),
            max_position_fraction=one("0.25", "0.5", "1"),
            stop_atr_multiple=one("0.7", "1", "2", "4"),
            risk_reward=one("0", "1", "2", "3"),
            max_daily_loss=one("0.01", "0.03", "1"),
            max_drawdown=one("0.03", "0.08", "0.2", "1"),
            drawdown_pause_days=chance.choice([0, 1, 5, 30]),
            volatility_target=one("0.05", "0.25", "0.4", "1"),
            rebalance_band=one("0.01", "0.05", "0.2"),
            max_consecutive_losses=chance.choice([1, 3, 5]),
        )  # fmt: skip
        return RunSettings(
            config, store, (pair,), timeframe, self.span(candles, timeframe),
            chance.choice(sorted(WEIGHTS)), self.costs(), one("200", "10000", "54321"),
            finest_path=chance.random() < 0.7,
        )  # fmt: skip

    def limits(self, settings: RunSettings) -> RiskLimits:
        """The run's limits, those that are no settings drawn as well."""
        return replace(
            limits_of(settings), max_exposure=self.one("0.5", "0.8", "1"),
            recovery_share=self.one("0.25", "0.5", "1"),
            smallest_addition=self.one("0", "0.001", "0.01"), max_spread=Decimal("0.05"),
        )  # fmt: skip


def compare(settings: RunSettings, limits: RiskLimits) -> dict[str, Any]:
    """One run by both engines; `outcome` is equal, DIFFERENT or why it is not covered."""
    arena = Arena.open(settings, Stopwatch())
    strategy = settings.strategy
    events = arena.events(strategy, strategy, RiskManager(limits), None, Progress(quiet=True))
    kinds = Counter(type(event).__name__ for event in events)
    found = {
        "run": f"{settings.pairs[0]} {settings.timeframe} {strategy}, "
        f"waits {limits.entry_patience_minutes} min, {settings.span.start:%Y-%m-%d} "
        f"to {settings.span.end:%Y-%m-%d}",
        "decisions": kinds["SignalMade"],
        "fills": kinds["OrderFilled"],
        "stops_moved": kinds["OrderAmended"],
    }
    task = kernel.Task(
        strategy, strategy_settings(settings), limits, settings.costs, settings.span, settings.cash
    )
    try:
        fast = kernel.trade(market_of(settings, arena.histories, arena.paths), task, code_folder())
    except kernel.NotCovered as why:
        return {**found, "outcome": str(why)}
    slow = account_run(strategy, settings.quote, settings.cash, events, settings.span.start,
                       settings.timeframe)  # fmt: skip
    told = fast.account_run(strategy)
    same = (
        kernel.digest_of_events(events) == fast.digest
        and np.array_equal(slow.times, fast.times)
        and np.allclose(slow.equity, fast.equity, rtol=3e-16, atol=0)
        and slow.trades == told.trades
    )
    return {**found, "outcome": "equal" if same else "DIFFERENT"}


def runs(source: Path | None, count: int, seed: int) -> Iterator[dict[str, Any]]:
    """So many comparisons."""
    draws = Draws(seed)
    known = histories(source, seed).candles
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        store = HistoryStore(Path(folder))
        for pair, candles in known.items():
            store.append(pair, candles, "campaign")
        for _ in range(count):
            pair = draws.chance.choice(sorted(known))
            settings = draws.settings(store, pair, known[pair])
            yield compare(settings, draws.limits(settings))


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """All runs in one."""
    outcomes = Counter(row["outcome"] for row in done)
    covered = [row for row in done if row["outcome"] in ("equal", "DIFFERENT")]
    return {
        "runs": len(done),
        "equal": outcomes["equal"],
        "different": outcomes["DIFFERENT"],
        "not_covered": {k: n for k, n in outcomes.items() if k not in ("equal", "DIFFERENT")},
        **{k: sum(row[k] for row in covered) for k in ("decisions", "fills", "stops_moved")},
        "examples": [row["run"] for row in done if row["outcome"] == "DIFFERENT"][:20],
    }


@click.command()
@click.option("--runs", "count", default=60, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--candles", type=click.Path(exists=True, path_type=Path), help=CANDLES_HELP)
@click.option("--json", "as_json", is_flag=True)
def command(count: int, seed: int, candles: Path | None, as_json: bool) -> None:
    """Trade random settings by both engines and compare."""
    pace, done = Pace(15.0), []
    for row in runs(candles, count, seed):
        done.append(row)
        if row["outcome"] == "equal":
            pace.tell(f"{len(done)} of {count} runs")
        else:
            progress(f"{pace.seconds:7.0f} s  {row['run']}: {row['outcome']}")
    document = summary(done)
    show(document, as_json=as_json)
    sys.exit(1 if document["different"] else 0)


if __name__ == "__main__":
    command()
