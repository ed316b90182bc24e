"""Is what the program calls significant really so? Strategies without an edge, and with one.

`python -m campaigns.significance --json`

*Without*: strategies that are in and out of the market at random, on markets without drift. No
matter how they are tried, few may reach a deflated Sharpe ratio of 0.95. *With*: markets that
tell in advance which way they go, just so strongly that following them earns a true Sharpe ratio
of 1.5 after costs; one of the variants tried follows, the others are deceived. Most of these must
be recognised although all tries are counted.

Each variant goes into a real trial ledger, and the counting is the program's own.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from campaigns.output import Pace, show
from trader import performance
from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.learning.licence import trials_behind
from trader.learning.papertrade import daily, walk
from trader.storage.trials import Trial, TrialLedger

DAY = Timeframe(86400)
BEGIN = datetime(2015, 1, 1, tzinfo=UTC)
DAYS_PER_YEAR = 365
SWING = 0.035
"""Standard deviation of a day's return, as crypto has it."""
RUN_DAYS = 20.0
"""Mean length of a stay in or out of the market."""
COST = 0.0045
"""Fraction lost on each side: 40 bp fee and 5 bp slippage."""
WANTED = 0.95
SOURCE = "simulated"


def states(days: int, variants: int, generator: np.random.Generator) -> FloatArray:
    """In (1) or out (0) of each day, shape (variants, days): stays of RUN_DAYS on average."""
    turns = generator.random((variants, days)) < 1 / RUN_DAYS
    first = generator.integers(0, 2, size=(variants, 1))
    inside: FloatArray = ((np.cumsum(turns, axis=1) + first) % 2).astype(np.float64)
    return inside


def edge_for(sharpe: float, cost: float) -> float:
    """Drift a day for which being in on half of the days earns this yearly Sharpe ratio.

    The mean is d / 2 less a cost for each turn, the variance SWING² / 2 + d² / 4; solved for d.
    """
    wanted, loss = sharpe / math.sqrt(DAYS_PER_YEAR), cost / RUN_DAYS
    low, high = 0.0, 0.1
    for _ in range(80):
        drift = (low + high) / 2
        found = (drift / 2 - loss) / math.sqrt(SWING**2 / 2 + drift**2 / 4)
        low, high = (drift, high) if found < wanted else (low, drift)
    return drift


def market(days: int, drift: FloatArray, generator: np.random.Generator) -> Candles:
    """Daily candles whose opening-to-opening return has this drift, decided a day before."""
    moves = generator.normal(0.0, SWING, days) + np.concatenate([[0.0], drift[:-1]])
    opens = 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(np.log1p(moves))]))
    times = int(BEGIN.timestamp()) + 86400 * np.arange(days)
    ends = np.stack([opens[:-1], opens[1:]])
    counts, volume = np.ones(days, dtype=np.int64), np.ones(days, dtype=np.float64)
    return Candles(
        DAY, times, opens[:-1], ends.max(axis=0), ends.min(axis=0), opens[1:],
        volume, counts,
    )  # fmt: skip


def earned(candles: Candles, inside: FloatArray, cost: float) -> FloatArray:
    """Daily returns of being in and out so."""
    walked = walk(inside, candles, cost, band=0.5)
    return np.array(list(daily(walked.returns, candles).values()))


def judged(variants: Sequence[FloatArray], folder: Path, chosen: Sequence[int]) -> list[float]:
    """Deflated Sharpe ratios of some variants after all of them went into one ledger."""
    ledger = TrialLedger(folder / "trials.jsonl")
    series = [f"{SOURCE}:BTC/USD"]
    ratios = [performance.daily_sharpe(returns) for returns in variants]
    ledger.record([
        Trial("sweep", tuple(series), {"variant": number}, ratio, len(returns), "")
        for number, (returns, ratio) in enumerate(zip(variants, ratios, strict=True))
    ])  # fmt: skip
    seen = ledger.sharpes(series, len(variants[0]))
    trials = trials_behind(SOURCE, BEGIN, len(seen))
    return [performance.deflated_sharpe(variants[i], trials) for i in chosen]


def best_of(variants: Sequence[FloatArray]) -> int:
    """What somebody would show who tried them all."""
    return int(np.argmax([performance.daily_sharpe(returns) for returns in variants]))


@dataclass(frozen=True, slots=True)
class Lab:
    """Where the strategies are tried.

    Attributes:
        days: length of each market.
        seed: of everything.
    """

    days: int
    seed: int

    def without_edge(self, count: int, tries: int, cost: float, pace: Pace) -> dict[str, float]:
        """Shares called significant among strategies that have no edge.

        Returns:
            `all_counted`: each of `count` on one market, all of them in its ledger. `best_shown`:
            markets of their own on which only the best of `tries` is shown. `each_alone`: each
            on a market of its own, as if it were the only try (0.05 by construction without
            costs).
        """
        generator = np.random.default_rng(self.seed)
        flat = np.zeros(self.days)
        one = market(self.days, flat, generator)
        variants = [earned(one, row, cost) for row in states(self.days, count, generator)]
        with tempfile.TemporaryDirectory() as folder:
            together = judged(variants, Path(folder), range(count))
        shown, alone = [], []
        for number in range(count):
            own = market(self.days, flat, generator)
            rows = states(self.days, tries, generator)
            found = [earned(own, row, cost) for row in rows]
            alone.append(performance.deflated_sharpe(found[0], 1))
            with tempfile.TemporaryDirectory() as folder:
                shown += judged(found, Path(folder), [best_of(found)])
            pace.tell(f"without an edge: {number + 1} of {count}")
        return {
            "all_counted": _share(together),
            "best_shown": _share(shown),
            "each_alone": _share(alone),
        }

    def with_edge(self, worlds: int, sharpe: float, tries: int, pace: Pace) -> dict[str, float]:
        """Share of markets with a planted edge whose best variant is called significant."""
        generator = np.random.default_rng(self.seed + 1)
        drift = edge_for(sharpe, COST)
        found, ratios = [], []
        for number in range(worlds):
            rows = states(self.days, tries, generator)
            own = market(self.days, drift * (2 * rows[0] - 1), generator)
            variants = [earned(own, row, COST) for row in rows]
            ratios.append(performance.sharpe(variants[0]))
            with tempfile.TemporaryDirectory() as folder:
                found += judged(variants, Path(folder), [best_of(variants)])
            pace.tell(f"with an edge: {number + 1} of {worlds}")
        return {"significant": _share(found), "mean_sharpe": float(np.mean(ratios))}


def _share(ratios: Sequence[float]) -> float:
    return float(np.mean([ratio >= WANTED for ratio in ratios]))


@click.command()
@click.option("--strategies", default=1000, show_default=True, help="Without an edge.")
@click.option("--worlds", default=400, show_default=True, help="Markets with a planted edge.")
@click.option("--sharpe", default=1.5, show_default=True, help="True Sharpe ratio of the edge.")
@click.option("--years", default=8, show_default=True)
@click.option("--tries", default=10, show_default=True, help="Variants tried on each market.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def command(
    strategies: int, worlds: int, sharpe: float, years: int, tries: int, seed: int, as_json: bool
) -> None:
    """How often luck is taken for skill, and how often skill is recognised."""
    lab, pace = Lab(years * DAYS_PER_YEAR, seed), Pace()
    document: dict[str, Any] = {
        "strategies": strategies,
        "worlds": worlds,
        "years": years,
        "sharpe": sharpe,
        "tries": tries,
        "no_edge_without_costs": lab.without_edge(strategies, tries, 0.0, pace),
        "no_edge_after_costs": lab.without_edge(strategies, tries, COST, pace),
        "planted_edge": lab.with_edge(worlds, sharpe, tries, pace),
        "planted_edge_single_try": lab.with_edge(worlds, sharpe, 1, pace),
        "seconds": 0.0,
    }
    document["seconds"] = round(pace.seconds, 1)
    show(document, as_json=as_json)
    luck = document["no_edge_without_costs"]
    fine = (
        max(luck["all_counted"], luck["best_shown"]) <= 0.05
        and document["planted_edge"]["significant"] >= 0.80
    )
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    command()
