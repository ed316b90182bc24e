"""Backtests and sweeps beside vectorbt and backtrader."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import (
    Measurement,
    benchmark,
    measured,
    peak_mb,
    seconds_of,
    side_by_side,
)
from config import Config, load_config
from risk_manager import RiskManager
from scripts.backtest import Progress
from scripts.backtest_fast import code_folder
from scripts.backtest_run import Arena, RunSettings, limits_of, strategy_settings
from scripts.backtest_sweep import Silent, Wishes, sweep
from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.exchanges.markets import market
from trader.simulation import kernel
from trader.simulation.backtest import Span
from trader.simulation.costs import Costs
from trader.simulation.sweep import Values
from trader.storage.history import HistoryStore

PAIR = Pair("BTC", "USD")
BEGIN = datetime(2019, 1, 1, tzinfo=UTC)
FEE, SLIPPAGE, CASH = 0.0026, 0.0005, 10_000
ROOT = Path(__file__).resolve().parents[1]
_TASK = "20/50 SMA cross, ATR stop and target, risk sizing, fees, full equity curve"


def drawn(count: int, timeframe: Timeframe, seed: int = 0) -> Candles:
    """Candles drawn at random, on Kraken's tick."""
    rng = np.random.default_rng(seed)
    close = np.round(30_000 * np.exp(np.cumsum(rng.normal(0, 0.002, count))), 1)
    open_ = np.concatenate([[30_000.0], close[:-1]])
    wide = np.abs(rng.normal(0, 0.001, (2, count)))
    high = np.round(np.maximum(open_, close) * (1 + wide[0]), 1)
    low = np.round(np.minimum(open_, close) * (1 - wide[1]), 1)
    times = int(BEGIN.timestamp()) + timeframe.seconds * np.arange(count)
    return Candles(
        timeframe, times, open_, high, low, close, np.ones(count), np.ones(count, dtype=np.int64)
    )


def _config(folder: Path = Path("data")) -> Config:
    """Near stops and targets, no limit that ends the trading, and orders that take at once."""
    return replace(
        load_config(None, {}), stop_atr_multiple=Decimal(1), risk_reward=Decimal(2),
        max_drawdown=Decimal(1), max_daily_loss=Decimal(1), entry_patience_minutes=0,
        data_dir=folder,
    )  # fmt: skip


def _settings(candles: Candles, folder: Path = Path("data")) -> RunSettings:
    span = Span(BEGIN, candles.closed_at)
    costs = Costs(maker=Decimal(str(FEE)), taker=Decimal(str(FEE)))
    store = HistoryStore(folder)
    return RunSettings(
        _config(folder), store, (PAIR,), candles.timeframe, span, "sma-cross", costs,
        Decimal(CASH),
    )  # fmt: skip


def _task(settings: RunSettings) -> kernel.Task:
    return kernel.Task(
        settings.strategy, strategy_settings(settings), limits_of(settings), settings.costs,
        settings.span, settings.cash,
    )  # fmt: skip


def compiled(candles: Candles) -> kernel.FastRun:
    """Ours: from candles to the equity curve, nothing prepared."""
    whole = kernel.Market.of(candles, market(PAIR).rules, BEGIN)
    return kernel.trade(whole, _task(_settings(candles)), code_folder())


class Vectorbt:
    """The peer: its own moving averages, ATR, signals with stops, and the account's value.

    Args:
        candles: made into pandas outside the clock.
        columns: how many variants at once.
    """

    def __init__(self, candles: Candles, columns: int = 1) -> None:
        import pandas as pd

        index = pd.to_datetime(candles.opened_at, unit="s", utc=True)
        names = ("open", "high", "low", "close")
        self.prices = {n: pd.Series(getattr(candles, n), index) for n in names}
        self.multiples = np.linspace(0.5, 6.0, columns)

    def __call__(self) -> Any:
        """One run; the account's value at every candle."""
        import vectorbt as vbt

        o, h, low, c = self.prices.values()
        fast, slow = vbt.MA.run(c, 20), vbt.MA.run(c, 50)
        entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        atr = vbt.ATR.run(h, low, c, 14).atr
        stop = (atr / c).to_numpy()[:, None] * self.multiples[None, :] * 10
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            account = vbt.Portfolio.from_signals(
                c, entries, exits, open=o, high=h, low=low, sl_stop=stop, tp_stop=2 * stop,
                size=0.01, fees=FEE, slippage=SLIPPAGE, init_cash=CASH,
                freq=c.index[1] - c.index[0],
            )  # fmt: skip
        return account.value()


@benchmark("backtest.million", f"{_TASK} on 1,000,000 candles, beside vectorbt")
def million(runs: int) -> Iterator[Measurement]:
    """Machine code is made, or loaded, before the clock starts, for both."""
    candles = drawn(1_000_000, Timeframe(60))
    tools = {"ours": lambda: compiled(candles), "vectorbt": Vectorbt(candles)}
    trades = len(compiled(candles).trades)
    yield from side_by_side(
        _TASK, len(candles), tools, runs,
        f"ours: {trades:,} trades, size by risk; vectorbt: fixed size (it has no risk sizing)",
        memory=True,
    )  # fmt: skip


@benchmark("backtest.steps", "the step-by-step engine beside backtrader")
def steps(runs: int) -> Iterator[Measurement]:
    """The engine that trades live, over history that is analysed before the clock starts."""
    candles = drawn(10_000, Timeframe(3600))
    settings = _settings(candles)
    arena = _arena(settings, candles)
    risk = RiskManager(limits_of(settings))

    def ours() -> object:
        return arena.events("x", "sma-cross", risk, None, Progress(quiet=True))

    tools = {"ours": ours, "backtrader": lambda: backtrader_run(candles)}
    yield from side_by_side(_TASK, len(candles), tools, runs)


def _arena(settings: RunSettings, candles: Candles) -> Arena:
    from market_analyzer import MarketAnalyzer

    analyzer = MarketAnalyzer(threads=os.cpu_count() or 1)
    analyzer.prepare(PAIR, candles)
    return Arena(settings, {PAIR: candles}, analyzer, {PAIR: candles})


def backtrader_run(candles: Candles) -> Any:
    """The peer: a crossing of two means with a bracket of stop and target."""
    import backtrader as bt
    import pandas as pd

    class Cross(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.fast, self.slow = bt.ind.SMA(period=20), bt.ind.SMA(period=50)
            self.cross, self.atr = bt.ind.CrossOver(self.fast, self.slow), bt.ind.ATR(period=14)
            self.bracket: list[Any] = []

        def next(self) -> None:
            if not self.position and self.cross > 0:
                price, far = self.data.close[0], 5 * self.atr[0]
                size = 0.01 * self.broker.getvalue() / far
                self.bracket = self.buy_bracket(
                    size=min(size, 0.25 * self.broker.getvalue() / price),
                    exectype=bt.Order.Market, stopprice=price - far, limitprice=price + 2 * far,
                )  # fmt: skip
            elif self.position and self.cross < 0:
                for order in self.bracket[1:]:
                    self.cancel(order)
                self.close()

    index = pd.to_datetime(candles.opened_at, unit="s")
    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({n: getattr(candles, n) for n in names}, index)
    engine = bt.Cerebro()
    engine.adddata(bt.feeds.PandasData(dataname=frame))
    engine.addstrategy(Cross)
    engine.broker.setcash(CASH)
    engine.broker.setcommission(commission=FEE)
    engine.broker.set_slippage_perc(SLIPPAGE)
    return engine.run()


class _Build:
    """From a combination to its settings."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings

    def __call__(self, values: Values) -> RunSettings:
        named = {name.lower(): Decimal(value) for name, value in values}
        return replace(self.settings, config=replace(self.settings.config, **named))


def _grid(count: int) -> list[str]:
    """So many combinations of stop and target."""
    stops = ",".join(f"{0.5 + 0.1 * i:.1f}" for i in range(count // 20))
    rewards = ",".join(f"{0.5 * i:.1f}" for i in range(1, 21))
    return [f"STOP_ATR_MULTIPLE={stops}", f"RISK_REWARD={rewards}"]


def swept(settings: RunSettings, count: int) -> dict[str, Any]:
    """A whole sweep from nothing: every variant tried, kept, counted and judged."""
    for kept in settings.config.data_dir.glob("*"):
        if kept.is_file():  # results kept, tries counted: all but the candles
            kept.unlink()
    return sweep(_grid(count), _Build(settings), Silent(), Wishes(engine="compiled"))


@benchmark("backtest.sweep", "1,000 combinations of stop and target on 100,000 candles")
def sweeping(runs: int) -> Iterator[Measurement]:
    """Vectorbt gets what fits into memory, 20 combinations at once, and is scaled."""
    item, count, part = "sweep of 1,000 combinations", 1_000, 20
    candles = drawn(100_000, Timeframe(3600))
    with tempfile.TemporaryDirectory() as folder:
        HistoryStore(Path(folder)).append(PAIR, candles, "drawn")
        settings = _settings(candles, Path(folder))
        swept(settings, 20)
        ours, theirs = [], []
        peer = Vectorbt(candles, part)
        peer()
        for _ in range(runs):
            ours.append(seconds_of(lambda: swept(settings, count)))
            theirs.append(seconds_of(peer) * count / part)
        peak = peak_mb(lambda: swept(settings, count))
        tenth = peak_mb(lambda: swept(settings, count // 10))
    bars = len(candles) * count
    yield measured(item, "ours", bars, ours, peak, "whole command: kept, counted, judged")
    note = f"measured on {part} combinations at once, seconds and memory scaled by {count // part}"
    yield measured(item, "vectorbt", bars, theirs, peak_mb(peer) * count / part, note)
    yield measured(
        "sweep of 100 combinations", "ours", bars // 10, [0.0], tenth,
        "memory only: a tenth of the combinations",
    )  # fmt: skip


@benchmark("backtest.command", "what scripts/backtest.py costs before anything is traded")
def command(runs: int) -> Iterator[Measurement]:
    """From the shell: a day of hourly candles, JSON out."""
    with tempfile.TemporaryDirectory() as folder:
        HistoryStore(Path(folder)).append(PAIR, drawn(2_000, Timeframe(3600)), "drawn")
        last = BEGIN + timedelta(days=60)
        words = [
            sys.executable, str(ROOT / "scripts/backtest.py"), "--pair", "BTC/USD", "--start",
            f"{last:%Y-%m-%d}", "--end", f"{last:%Y-%m-%d}", "--timeframe", "1h", "--strategy",
            "sma-cross", "--json",
        ]  # fmt: skip
        environment = {**os.environ, "DATA_DIR": folder}

        def ours() -> object:
            return subprocess.run(
                words, env=environment, check=True, capture_output=True, cwd=folder
            )  # fmt: skip

        yield from side_by_side("the command on one day", 24, {"ours": ours}, runs)
        asked = [sys.executable, str(ROOT / "scripts/backtest.py"), "--help"]
        yield from side_by_side(
            "the command's --help", 0,
            {"ours": lambda: subprocess.run(asked, check=True, capture_output=True)}, runs,
        )  # fmt: skip
