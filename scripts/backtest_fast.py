"""Where the compiled engine stands in for the step-by-step one: the same trading, sooner."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from risk_manager import RiskManager
from scripts.backtest_run import (
    Arena,
    FullWeight,
    RunSettings,
    Shown,
    limits_of,
    strategy_settings,
)
from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.exchanges.markets import market
from trader.simulation import kernel
from trader.simulation.runs import AccountRun

LONG = 3_000
"""Moments from which loading the machine code costs less than it saves."""

FIRST = "machine code for the yardsticks, made once"


def code_folder() -> Path:
    """Where machine code is kept between programs: the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kraken-ai-trader"


def task_of(settings: RunSettings) -> kernel.Task:
    """The account of a run, for the compiled engine.

    Raises:
        NotCovered: if it is not covered.
    """
    limits = limits_of(settings)
    reason = kernel.why_not(settings.strategy, len(settings.pairs), limits, settings.costs)
    if reason:
        raise kernel.NotCovered(reason)
    return kernel.Task(
        settings.strategy, strategy_settings(settings), limits, settings.costs, settings.span,
        settings.cash,
    )  # fmt: skip


def market_of(
    settings: RunSettings, histories: Mapping[Pair, Candles], paths: Mapping[Pair, Candles]
) -> kernel.Market:
    """The history of a run on one pair, for the compiled engine.

    Raises:
        NotCovered: if its prices are no decimals of a few digits.
    """
    pair = settings.pairs[0]
    path = paths[pair] if paths[pair].timeframe != settings.timeframe else None
    return kernel.Market.of(histories[pair], market(pair).rules, settings.span.start, path)


def yardstick(
    arena: Arena, name: str, strategy: str, judge: RiskManager, shown: Shown
) -> AccountRun | None:
    """A yardstick's run by the compiled engine; None where the other engine must be asked."""
    settings = arena.settings
    long = len(settings.span.moments(settings.timeframe)) >= LONG
    limits = None if isinstance(judge, FullWeight) else judge.limits
    if not long or kernel.why_not(strategy, len(settings.pairs), limits, settings.costs):
        return None
    task = kernel.Task(
        strategy, strategy_settings(settings), limits, settings.costs, settings.span, settings.cash
    )
    first = not kernel.is_made(code_folder(), limits=limits is not None)
    if first:
        shown.begin(FIRST, 1)
    try:
        whole = market_of(settings, arena.histories, arena.paths)
        return kernel.trade(whole, task, code_folder()).account_run(name)
    except kernel.NotCovered:
        return None
    finally:
        if first:
            shown.end()
