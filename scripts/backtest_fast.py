"""Where the compiled engine stands in for the step-by-step one: the same trading, sooner."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from risk_manager import RiskManager
from scripts.backtest_run import Arena, FullWeight, RunSettings, limits_of, strategy_settings
from trader.domain.candles import Timeframe
from trader.exchanges.markets import market
from trader.simulation import kernel
from trader.simulation.backtest import Span, load_histories, load_paths
from trader.simulation.runs import AccountRun
from trader.storage.history import HistoryStore

LONG = 3_000
"""Moments from which loading the machine code costs less than it saves."""


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
    _demand_own_path(settings)
    reason = kernel.why_not(settings.strategy, len(settings.pairs), limits, settings.costs)
    if reason:
        raise kernel.NotCovered(reason)
    return kernel.Task(
        settings.strategy, strategy_settings(settings), limits, settings.costs, settings.span,
        settings.cash,
    )  # fmt: skip


def _demand_own_path(settings: RunSettings) -> None:
    """Refuse where finer candles are followed inside those of the run.

    Raises:
        NotCovered: then.
    """
    if settings.finest_path and _has_finer(
        settings.store, settings.pairs, settings.timeframe, settings.span
    ):
        raise kernel.NotCovered("finer candles are followed inside each one (see --path candle)")


@lru_cache(maxsize=4)
def _has_finer(store: HistoryStore, pairs: Any, timeframe: Timeframe, span: Span) -> bool:
    histories = load_histories(store, pairs, timeframe, span)
    paths = load_paths(store, histories, span.start, span.end)
    return any(path.timeframe != timeframe for path in paths.values())


def yardstick(arena: Arena, name: str, strategy: str, judge: RiskManager) -> AccountRun | None:
    """A yardstick's run by the compiled engine; None where the other engine must be asked."""
    settings = arena.settings
    long = len(settings.span.moments(settings.timeframe)) >= LONG
    limits = None if isinstance(judge, FullWeight) else judge.limits
    if not long or kernel.why_not(strategy, len(settings.pairs), limits, settings.costs):
        return None
    pair = settings.pairs[0]
    if limits is not None and arena.paths[pair].timeframe != settings.timeframe:
        return None  # without stops and targets only a candle's first price matters
    task = kernel.Task(
        strategy, strategy_settings(settings), limits, settings.costs, settings.span, settings.cash
    )
    try:
        whole = kernel.Market.of(arena.histories[pair], market(pair).rules, settings.span.start)
        return kernel.trade(whole, task, code_folder()).account_run(name)
    except kernel.NotCovered:
        return None
