"""A small result to draw: two months of hours, two trades, one of them open."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from trader.domain.candles import Candles, Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import Fill, Liquidity, Purpose, Side
from trader.domain.portfolio import Position, Trade
from trader.simulation.backtest import BacktestResult, Prediction, Span
from trader.simulation.runs import AccountRun, Execution

PAIR = Pair("BTC", "USD")
HOUR = Timeframe(3600)
START = datetime(2021, 1, 1, tzinfo=UTC)
HOURS = 24 * 59


def candles() -> Candles:
    close = 30000 + 3000 * np.sin(np.arange(HOURS) / 90) + np.arange(HOURS)
    times = int(START.timestamp()) + 3600 * np.arange(HOURS)
    ones = np.ones(HOURS, dtype=np.int64)
    return Candles(HOUR, times, close, close + 50, close - 50, close, ones * 1.0, ones)


def execution(side: Side, hour: int, price: str, quantity: str, fee: str) -> Execution:
    amount, one = Decimal(quantity), Decimal(price)
    at = START + timedelta(hours=hour)
    return Execution(
        Fill(f"T{hour}{side}", "E", f"o{hour}{side}", PAIR, side, amount, one, amount * one,
             Decimal(fee), Liquidity.TAKER, at),
        Purpose.ENTRY if side is Side.BUY else Purpose.EXIT,
        "trend <up>",
    )  # fmt: skip


def account(name: str, factor: float = 1.0) -> AccountRun:
    history = candles()
    equity = 10000 * (history.close / history.close[0]) ** factor
    entry, end = START + timedelta(hours=5), START + timedelta(hours=100)
    trade = Trade(PAIR, entry, Decimal("30100.5"), end, Decimal("31000"), Decimal("0.05"),
                  Decimal("7.61"), Decimal("37.36"), Purpose.STOP)  # fmt: skip
    held = Position(PAIR, Decimal("0.1"), Decimal(3050), Decimal(30420), end,
                    entry_fees=Decimal("8.0"))  # fmt: skip
    return AccountRun(
        name, 10000.0, history.opened_at + 3600, equity, np.full(HOURS, 0.4), (trade,), (held,),
        (execution(Side.BUY, 5, "30100.5", "0.05", "3.76"),
         execution(Side.SELL, 100, "31000", "0.05", "3.85"),
         execution(Side.BUY, 100, "30420", "0.1", "8.0")), HOURS, {}, "ab" * 32,
    )  # fmt: skip


def result() -> BacktestResult:
    metrics = {"total_return": 0.12, "sharpe": 1.1, "max_drawdown": 0.2, "trades": 1,
               "hit_rate": 1.0, "fees_quote": 15.6, "profit_factor": float("inf"),
               "dsr": 0.4}  # fmt: skip
    predictions = tuple(
        Prediction(PAIR, START + timedelta(hours=h), 0.3 + 0.4 * (h % 100) / 100,
                   int(h % 3 == 0) if h < 1000 else None, START + timedelta(hours=h + 24),
                   h % 7 == 0)
        for h in range(1100)
    )  # fmt: skip
    document = {
        "pairs": ["BTC/USD"], "timeframe": "1h", "start": "2021-01-01", "end": "2021-02-28",
        "strategy": "trend", "candles": HOURS, "trials": 415,
        "trials_counted": {"recorded": 3, "inherited": 505, "words": "508 tries: 3 of yours"},
        "costs": {"maker_bp": None, "taker_bp": 26.0, "slippage_bp": 5.0},
        "metrics": metrics, "baselines": {"buy_and_hold": metrics, "trend": metrics},
        "calibration": {"n": 1000, "base_rate": 0.33, "auc": 0.5, "brier": 0.2,
                        "brier_skill": 0.0, "log_loss_skill": 0.0, "ece": 0.1,
                        "ece_noise_95": 0.05},
        "break_even_hit_rate": 0.25, "intervals": {"sharpe": (0.2, 2.1)},
        "licence": None, "seconds": {}, "digest": "ab" * 32,
    }  # fmt: skip
    baselines = {"buy_and_hold": account("hold"), "trend": account("trend", 0.3)}
    return BacktestResult(
        (PAIR,), HOUR, Span(START, datetime(2021, 3, 1, tzinfo=UTC)), "trend",
        {PAIR: candles()}, account("strategy", 0.5), baselines, document, 1.55, predictions,
        ("a note with <b>signs</b>",),
    )  # fmt: skip
