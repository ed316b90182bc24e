"""The analysis beside TA-Lib's own calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.registry import Measurement, benchmark, measured, seconds_of, side_by_side
from market_analyzer import compute_analysis
from trader.domain.candles import Candles
from trader.domain.markets import Pair
from trader.indicators import INDICATORS, compute
from trader.indicators.leaks import drawn_candles
from trader.indicators.stream import IndicatorStream
from trader.patterns import PATTERNS

MILLION = 1_000_000
THREADS = os.cpu_count() or 1
PAIR = Pair("BTC", "USD")
_PUSHES = 400

Call = tuple[str, str, dict[str, Any]]

# Columns, TA-Lib's function, its inputs (o h l c v), its parameters. A function with several
# outputs is called once, as anybody would.
SHARED: tuple[tuple[tuple[str, ...], Call], ...] = (
    *(((f"sma_{n}",), ("SMA", "c", {"timeperiod": n})) for n in (5, 10, 20, 50, 100, 200)),
    *(((f"ema_{n}",), ("EMA", "c", {"timeperiod": n})) for n in (9, 12, 20, 26, 50, 100, 200)),
    (("wma_20",), ("WMA", "c", {"timeperiod": 20})),
    (("dema_20",), ("DEMA", "c", {"timeperiod": 20})),
    (("tema_20",), ("TEMA", "c", {"timeperiod": 20})),
    (("trima_20",), ("TRIMA", "c", {"timeperiod": 20})),
    (("kama_10",), ("KAMA", "c", {"timeperiod": 10})),
    (("kama_30",), ("KAMA", "c", {"timeperiod": 30})),
    (("t3_5",), ("T3", "c", {"timeperiod": 5, "vfactor": 0.7})),
    (("midpoint_14",), ("MIDPOINT", "c", {"timeperiod": 14})),
    (("midprice_14",), ("MIDPRICE", "hl", {"timeperiod": 14})),
    (("macd", "macd_signal", "macd_hist"),
     ("MACD", "c", {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9})),
    (("ppo",), ("PPO", "c", {"fastperiod": 12, "slowperiod": 26, "matype": 1})),
    (("apo",), ("APO", "c", {"fastperiod": 12, "slowperiod": 26, "matype": 1})),
    (("adx_14",), ("ADX", "hlc", {"timeperiod": 14})),
    (("adxr_14",), ("ADXR", "hlc", {"timeperiod": 14})),
    (("dx_14",), ("DX", "hlc", {"timeperiod": 14})),
    (("plus_di_14",), ("PLUS_DI", "hlc", {"timeperiod": 14})),
    (("minus_di_14",), ("MINUS_DI", "hlc", {"timeperiod": 14})),
    (("aroon_down_25", "aroon_up_25"), ("AROON", "hl", {"timeperiod": 25})),
    (("aroon_osc_25",), ("AROONOSC", "hl", {"timeperiod": 25})),
    (("psar",), ("SAR", "hl", {"acceleration": 0.02, "maximum": 0.2})),
    (("linreg_14",), ("LINEARREG", "c", {"timeperiod": 14})),
    (("linreg_slope_14",), ("LINEARREG_SLOPE", "c", {"timeperiod": 14})),
    (("tsf_14",), ("TSF", "c", {"timeperiod": 14})),
    *(((f"rsi_{n}",), ("RSI", "c", {"timeperiod": n})) for n in (7, 14, 21)),
    (("stoch_k", "stoch_d"),
     ("STOCH", "hlc", {"fastk_period": 14, "slowk_period": 3, "slowd_period": 3})),
    (("stochf_k", "stochf_d"), ("STOCHF", "hlc", {"fastk_period": 14, "fastd_period": 3})),
    (("stochrsi_k", "stochrsi_d"),
     ("STOCHRSI", "c", {"timeperiod": 14, "fastk_period": 14, "fastd_period": 3})),
    (("willr_14",), ("WILLR", "hlc", {"timeperiod": 14})),
    (("cci_14",), ("CCI", "hlc", {"timeperiod": 14})),
    (("cci_20",), ("CCI", "hlc", {"timeperiod": 20})),
    (("cmo_14",), ("CMO", "c", {"timeperiod": 14})),
    (("mom_10",), ("MOM", "c", {"timeperiod": 10})),
    *(((f"roc_{n}",), ("ROC", "c", {"timeperiod": n})) for n in (5, 10, 20)),
    (("ultosc",), ("ULTOSC", "hlc", {"timeperiod1": 7, "timeperiod2": 14, "timeperiod3": 28})),
    (("bop",), ("BOP", "ohlc", {})),
    (("trix_15",), ("TRIX", "c", {"timeperiod": 15})),
    (("true_range",), ("TRANGE", "hlc", {})),
    *(((f"atr_{n}",), ("ATR", "hlc", {"timeperiod": n})) for n in (7, 14, 21)),
    (("natr_14",), ("NATR", "hlc", {"timeperiod": 14})),
    (("bb_upper", "bb_middle", "bb_lower"),
     ("BBANDS", "c", {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0})),
    (("stddev_20",), ("STDDEV", "c", {"timeperiod": 20})),
    (("obv",), ("OBV", "cv", {})),
    (("ad",), ("AD", "hlcv", {})),
    (("adosc",), ("ADOSC", "hlcv", {"fastperiod": 3, "slowperiod": 10})),
    (("mfi_14",), ("MFI", "hlcv", {"timeperiod": 14})),
)  # fmt: skip
NAMES = [name for names, _ in SHARED for name in names]


def _theirs(candles: Candles) -> Callable[[], object]:
    import talib

    columns = {"o": candles.open, "h": candles.high, "l": candles.low, "c": candles.close,
               "v": candles.volume}  # fmt: skip

    def work() -> object:
        return [
            getattr(talib, function)(*(columns[i] for i in inputs), **params)
            for _, (function, inputs, params) in SHARED
        ]

    return work


@benchmark("analysis.shared", "72 columns that TA-Lib has too, on 1,000,000 candles")
def shared(runs: int) -> Iterator[Measurement]:
    """Ours against TA-Lib's own calls, one thread each, in turns."""
    candles = drawn_candles(MILLION, 1)
    tools = {"ours": lambda: compute(candles, NAMES), "TA-Lib": _theirs(candles)}
    yield from side_by_side(
        f"{len(NAMES)} shared columns", MILLION, tools, runs, "one thread", memory=True
    )


@benchmark("analysis.registry", "every indicator and pattern on 1,000,000 candles")
def registry(runs: int) -> Iterator[Measurement]:
    """Time and memory of the whole registry, by one thread and by all processors."""
    candles = drawn_candles(MILLION, 1)
    columns = len(INDICATORS) + len(PATTERNS)
    output = columns * MILLION * 8 / 1e6
    tools: dict[str, Callable[[], object]] = {
        "ours": lambda: compute_analysis(PAIR, candles, THREADS),
        "ours, alone": lambda: compute_analysis(PAIR, candles),
    }
    notes = f"{columns} columns, {output:,.0f} MB of output, {THREADS} threads or one"
    yield from side_by_side("whole registry", MILLION, tools, runs, notes, memory=True)


@benchmark("analysis.linear", "the whole registry on 100,000 and on 1,000,000 candles")
def linear(runs: int) -> Iterator[Measurement]:
    """Cost grows with the number of candles, not faster."""
    for bars in (MILLION // 10, MILLION):
        candles = drawn_candles(bars, 1)
        compute_analysis(PAIR, candles, THREADS)
        spent = [
            seconds_of(lambda c=candles: compute_analysis(PAIR, c, THREADS))  # type: ignore[misc]
            for _ in range(runs)
        ]
        yield measured("whole registry", "ours", bars, spent)


@benchmark("analysis.stream", "one new candle through the whole registry, 1,000 and 5,000 held")
def stream(runs: int) -> Iterator[Measurement]:
    """The cost of a candle does not depend on the history behind it."""
    for held in (1000, 5000):
        candles = drawn_candles(held + _PUSHES * runs, 1)
        follower = IndicatorStream(candles[:held], {**INDICATORS, **PATTERNS})
        columns = [column.tolist() for column in candles[held:].columns()]
        spent = []
        for row in zip(*columns, strict=True):
            began = time.perf_counter()
            follower.push(*row)
            spent.append(time.perf_counter() - began)
        notes = f"90 % within {np.quantile(spent, 0.9) * 1e6:.0f} µs"
        yield measured("one new candle, whole registry", "ours", held, spent, notes=notes)


@benchmark("analysis.ta", "12 columns on 10,000 candles beside the ta package")
def ta_package(runs: int) -> Iterator[Measurement]:
    """The pure pandas package many bots use."""
    import pandas as pd
    import ta

    candles = drawn_candles(10_000, 1)
    high, low, close, volume = (
        pd.Series(np.array(c)) for c in (candles.high, candles.low, candles.close, candles.volume)
    )

    def theirs() -> object:
        return (
            ta.momentum.rsi(close), ta.trend.macd(close), ta.trend.macd_signal(close),
            ta.trend.adx(high, low, close), ta.trend.cci(high, low, close),
            ta.volatility.average_true_range(high, low, close),
            ta.volatility.bollinger_hband(close), ta.volatility.bollinger_lband(close),
            ta.volume.money_flow_index(high, low, close, volume),
            ta.volume.chaikin_money_flow(high, low, close, volume),
            ta.momentum.stoch(high, low, close), ta.trend.aroon_up(high, low),
        )  # fmt: skip

    names = ["rsi_14", "macd", "macd_signal", "adx_14", "cci_20", "atr_14", "bb_upper", "bb_lower",
             "mfi_14", "cmf_20", "stochf_k", "aroon_up_25"]  # fmt: skip
    tools = {"ours": lambda: compute(candles, names), "ta": theirs}
    yield from side_by_side("12 shared columns", 10_000, tools, runs)
