"""What other libraries say of the same columns.

The peers are TA-Lib's own functions, `ta` and `pandas-ta-classic`. Compared is the second half of
the candles, where differently seeded recursions have long met. Where a definition differs on
purpose the reason stands beside it.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pandas as pd

from trader.domain.candles import Candles
from trader.indicators import compute

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pandas_ta_classic as pta
    import ta
    import talib

SAME = 1e-9
"""Relative to the size of the column: rounding in another order."""


@dataclass(frozen=True)
class Peer:
    """One comparison.

    Attributes:
        values: open, high, low, close, volume as Series in, values out.
        tolerance: largest difference allowed, as a share of the column's size.
    """

    column: str
    library: str
    values: Callable
    tolerance: float = SAME


def _talib() -> list[Peer]:
    calls = {
        **{f"sma_{n}": lambda c, n=n: talib.SMA(c, n) for n in (5, 10, 20, 50, 100, 200)},
        **{f"ema_{n}": lambda c, n=n: talib.EMA(c, n) for n in (9, 12, 20, 26, 50, 100, 200)},
        "wma_20": lambda c: talib.WMA(c, 20),
        "dema_20": lambda c: talib.DEMA(c, 20),
        "tema_20": lambda c: talib.TEMA(c, 20),
        "trima_20": lambda c: talib.TRIMA(c, 20),
        "hma_20": lambda c: talib.HMA(c, 20),
        "zlema_20": lambda c: talib.ZLEMA(c, 20),
        "kama_10": lambda c: talib.KAMA(c, 10),
        "kama_30": lambda c: talib.KAMA(c, 30),
        "t3_5": lambda c: talib.T3(c, 5, 0.7),
        "mama": lambda c: talib.MAMA(c, 0.5, 0.05)[0],
        "fama": lambda c: talib.MAMA(c, 0.5, 0.05)[1],
        "ht_trendline": lambda c: talib.HT_TRENDLINE(c),
        "ht_period": lambda c: talib.HT_DCPERIOD(c),
        "midpoint_14": lambda c: talib.MIDPOINT(c, 14),
        "midprice_14": lambda h, lo: talib.MIDPRICE(h, lo, 14),
        "macd": lambda c: talib.MACD(c, 12, 26, 9)[0],
        "macd_signal": lambda c: talib.MACD(c, 12, 26, 9)[1],
        "macd_hist": lambda c: talib.MACD(c, 12, 26, 9)[2],
        "ppo": lambda c: talib.PPO(c, 12, 26, 1),
        "apo": lambda c: talib.APO(c, 12, 26, 1),
        "adx_14": lambda h, lo, c: talib.ADX(h, lo, c, 14),
        "adxr_14": lambda h, lo, c: talib.ADXR(h, lo, c, 14),
        "dx_14": lambda h, lo, c: talib.DX(h, lo, c, 14),
        "plus_di_14": lambda h, lo, c: talib.PLUS_DI(h, lo, c, 14),
        "minus_di_14": lambda h, lo, c: talib.MINUS_DI(h, lo, c, 14),
        "aroon_down_25": lambda h, lo: talib.AROON(h, lo, 25)[0],
        "aroon_up_25": lambda h, lo: talib.AROON(h, lo, 25)[1],
        "aroon_osc_25": lambda h, lo: talib.AROONOSC(h, lo, 25),
        "vortex_plus_14": lambda h, lo, c: talib.VORTEX(h, lo, c, 14)[0],
        "vortex_minus_14": lambda h, lo, c: talib.VORTEX(h, lo, c, 14)[1],
        "psar": lambda h, lo: talib.SAR(h, lo, 0.02, 0.2),
        "supertrend": lambda h, lo, c: talib.SUPERTREND(h, lo, c, 10, 3.0)[0],
        "donchian_upper_20": lambda h, lo: talib.DONCHIAN(h, lo, 20)[0],
        "donchian_lower_55": lambda h, lo: talib.DONCHIAN(h, lo, 55)[2],
        "linreg_14": lambda c: talib.LINEARREG(c, 14),
        "linreg_slope_14": lambda c: talib.LINEARREG_SLOPE(c, 14),
        "tsf_14": lambda c: talib.TSF(c, 14),
        "mass_index": lambda h, lo: talib.MASSI(h, lo, 9, 25),
        "vhf_28": lambda c: talib.VHF(c, 28),
        "efficiency_10": lambda c: talib.ER(c, 10),
        **{f"rsi_{n}": lambda c, n=n: talib.RSI(c, n) for n in (7, 14, 21)},
        "stoch_k": lambda h, lo, c: talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)[0],
        "stoch_d": lambda h, lo, c: talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)[1],
        "stochf_k": lambda h, lo, c: talib.STOCHF(h, lo, c, 14, 3, 0)[0],
        "stochf_d": lambda h, lo, c: talib.STOCHF(h, lo, c, 14, 3, 0)[1],
        "stochrsi_k": lambda c: talib.STOCHRSI(c, 14, 14, 3, 0)[0],
        "stochrsi_d": lambda c: talib.STOCHRSI(c, 14, 14, 3, 0)[1],
        "kdj_j": lambda h, lo, c: talib.KDJ(h, lo, c, 9, 3, 13, 3, 13)[2],
        "willr_14": lambda h, lo, c: talib.WILLR(h, lo, c, 14),
        "cci_14": lambda h, lo, c: talib.CCI(h, lo, c, 14),
        "cci_20": lambda h, lo, c: talib.CCI(h, lo, c, 20),
        "cmo_14": lambda c: talib.CMO(c, 14),
        "mom_10": lambda c: talib.MOM(c, 10),
        **{f"roc_{n}": lambda c, n=n: talib.ROC(c, n) for n in (1, 5, 10, 20, 60, 120)},
        "ultosc": lambda h, lo, c: talib.ULTOSC(h, lo, c, 7, 14, 28),
        "ao": lambda h, lo: talib.AO(h, lo, 5, 34),
        "ac": lambda h, lo: talib.AC(h, lo, 5, 34, 5),
        "bop": lambda o, h, lo, c: talib.BOP(o, h, lo, c),
        "tsi": lambda c: talib.TSI(c, 25, 13),
        "trix_15": lambda c: talib.TRIX(c, 15),
        "coppock": lambda c: talib.COPPOCK(c, 10, 11, 14),
        "imi_14": lambda o, c: talib.IMI(o, c, 14),
        "smi": lambda h, lo, c: talib.SMI(h, lo, c, 13, 2, 25, 9)[0],
        "smi_signal": lambda h, lo, c: talib.SMI(h, lo, c, 13, 2, 25, 9)[1],
        "qstick_10": lambda o, c: talib.QSTICK(o, c, 10),
        "elder_bull": lambda h, lo, c: talib.ERI(h, lo, c, 13)[0],
        "elder_bear": lambda h, lo, c: talib.ERI(h, lo, c, 13)[1],
        "forecast_osc_14": lambda c: talib.FOSC(c, 14),
        "true_range": lambda h, lo, c: talib.TRANGE(h, lo, c),
        **{f"atr_{n}": lambda h, lo, c, n=n: talib.ATR(h, lo, c, n) for n in (7, 14, 21)},
        "natr_14": lambda h, lo, c: talib.NATR(h, lo, c, 14),
        "adr_14": lambda h, lo: talib.ADR(h, lo, 14),
        "bb_upper": lambda c: talib.BBANDS(c, 20, 2.0, 2.0)[0],
        "bb_middle": lambda c: talib.BBANDS(c, 20, 2.0, 2.0)[1],
        "bb_lower": lambda c: talib.BBANDS(c, 20, 2.0, 2.0)[2],
        "keltner_upper": lambda h, lo, c: talib.KC(h, lo, c, 20, 10, 2.0)[0],
        "keltner_middle": lambda h, lo, c: talib.KC(h, lo, c, 20, 10, 2.0)[1],
        "keltner_lower": lambda h, lo, c: talib.KC(h, lo, c, 20, 10, 2.0)[2],
        "stddev_20": lambda c: talib.STDDEV(c, 20),
        "chaikin_vol": lambda h, lo: talib.CVI(h, lo, 10, 10),
        "rvi_14": lambda c: talib.RVI(c, 14, 10),
        "obv": lambda c, v: talib.OBV(c, v),
        "ad": lambda h, lo, c, v: talib.AD(h, lo, c, v),
        "adosc": lambda h, lo, c, v: talib.ADOSC(h, lo, c, v, 3, 10),
        "cmf_20": lambda h, lo, c, v: talib.CMF(h, lo, c, v, 20),
        "mfi_14": lambda h, lo, c, v: talib.MFI(h, lo, c, v, 14),
        "force_13": lambda c, v: talib.EFI(c, v, 13),
        "nvi": lambda c, v: talib.NVI(c, v),
        "pvi": lambda c, v: talib.PVI(c, v),
        "pvt": lambda c, v: talib.PVT(c, v),
        "pvo": lambda v: talib.PVO(v, 12, 26, 1),
        "market_fi": lambda h, lo, v: talib.MARKETFI(h, lo, v),
        "price_rank_100": lambda c: talib.PERCENTRANK(c, 100),
        "median_20": lambda c: talib.PERCENTILE(c, 20, 50.0),
        "avgdev_14": lambda c: talib.AVGDEV(c, 14),
    }  # fmt: skip
    return [Peer(column, "TA-Lib", call) for column, call in calls.items()]


def _ta() -> list[Peer]:
    t, m, v, q = ta.trend, ta.momentum, ta.volatility, ta.volume
    calls = {
        "sma_20": lambda c: t.sma_indicator(c, 20),
        "ema_20": lambda c: t.ema_indicator(c, 20),
        "wma_20": lambda c: t.wma_indicator(c, 20),
        "kama_10": lambda c: m.kama(c, 10, 2, 30),
        "macd": lambda c: t.macd(c),
        "macd_signal": lambda c: t.macd_signal(c),
        "macd_hist": lambda c: t.macd_diff(c),
        "ppo": lambda c: m.ppo(c, 26, 12, 9),
        "pvo": lambda v: m.pvo(v, 26, 12, 9),
        "adx_14": lambda h, lo, c: t.adx(h, lo, c, 14),
        "vortex_plus_14": lambda h, lo, c: t.vortex_indicator_pos(h, lo, c, 14),
        "vortex_minus_14": lambda h, lo, c: t.vortex_indicator_neg(h, lo, c, 14),
        "trix_15": lambda c: t.trix(c, 15),
        "mass_index": lambda h, lo: t.mass_index(h, lo, 9, 25),
        "cci_20": lambda h, lo, c: t.cci(h, lo, c, 20, 0.015),
        "kst": lambda c: t.kst(c),
        "kst_signal": lambda c: t.kst_sig(c),
        "aroon_up_25": lambda h, lo: t.aroon_up(h, lo, 25),
        "ichimoku_tenkan": lambda h, lo: t.ichimoku_conversion_line(h, lo, 9, 26),
        "ichimoku_kijun": lambda h, lo: t.ichimoku_base_line(h, lo, 9, 26),
        "ichimoku_senkou_a": lambda h, lo: t.ichimoku_a(h, lo, 9, 26, visual=False).shift(26),
        "ichimoku_senkou_b": lambda h, lo: t.ichimoku_b(h, lo, 26, 52, visual=False).shift(26),
        "dpo_20": lambda c: t.dpo(c, 20),
        "rsi_14": lambda c: m.rsi(c, 14),
        "tsi": lambda c: m.tsi(c, 25, 13),
        "ultosc": lambda h, lo, c: m.ultimate_oscillator(h, lo, c),
        "stochf_k": lambda h, lo, c: m.stoch(h, lo, c, 14, 3),
        "stochf_d": lambda h, lo, c: m.stoch_signal(h, lo, c, 14, 3),
        "stochrsi_k": lambda c: m.stochrsi(c, 14, 3, 3) * 100,
        "stochrsi_d": lambda c: m.stochrsi_k(c, 14, 3, 3) * 100,
        "willr_14": lambda h, lo, c: m.williams_r(h, lo, c, 14),
        "ao": lambda h, lo: m.awesome_oscillator(h, lo, 5, 34),
        "roc_20": lambda c: m.roc(c, 20),
        "atr_14": lambda h, lo, c: v.average_true_range(h, lo, c, 14),
        "bb_upper": lambda c: v.bollinger_hband(c, 20, 2),
        "bb_middle": lambda c: v.bollinger_mavg(c, 20),
        "bb_lower": lambda c: v.bollinger_lband(c, 20, 2),
        "bb_width": lambda c: v.bollinger_wband(c, 20, 2) / 100,
        "bb_percent": lambda c: v.bollinger_pband(c, 20, 2),
        "donchian_upper_20": lambda h, lo, c: v.donchian_channel_hband(h, lo, c, 20),
        "donchian_middle_20": lambda h, lo, c: v.donchian_channel_mband(h, lo, c, 20),
        "donchian_lower_20": lambda h, lo, c: v.donchian_channel_lband(h, lo, c, 20),
        "donchian_position_20": lambda h, lo, c: v.donchian_channel_pband(h, lo, c, 20),
        "keltner_middle": lambda h, lo, c: v.keltner_channel_mband(
            h, lo, c, 20, 10, original_version=False),
        "ulcer_14": lambda c: v.ulcer_index(c, 14),
        "ad": lambda h, lo, c, v: q.acc_dist_index(h, lo, c, v),
        "cmf_20": lambda h, lo, c, v: q.chaikin_money_flow(h, lo, c, v, 20),
        "force_13": lambda c, v: q.force_index(c, v, 13),
        "mfi_14": lambda h, lo, c, v: q.money_flow_index(h, lo, c, v, 14),
        "eom_14": lambda h, lo, v: q.sma_ease_of_movement(h, lo, v, 14),
        "vwap_20": lambda h, lo, c, v: q.volume_weighted_average_price(h, lo, c, v, 20),
        "log_return_1": lambda c: ta.others.daily_log_return(c) / 100,
    }  # fmt: skip
    # Where the bands nearly meet, the place between them magnifies their rounding.
    loose = {"bb_percent": 1e-6}
    return [Peer(c, "ta", call, loose.get(c, SAME)) for c, call in calls.items()]


def _pandas_ta() -> list[Peer]:
    calls = {
        "hma_20": lambda c: pta.hma(c, 20),
        "zlema_20": lambda c: pta.zlma(c, 20, mamode="ema"),
        "t3_5": lambda c: pta.t3(c, 5, 0.7, talib=False),
        "dema_20": lambda c: pta.dema(c, 20, talib=False),
        "tema_20": lambda c: pta.tema(c, 20, talib=False),
        "supertrend": lambda h, lo, c: pta.supertrend(h, lo, c, 10, 3.0).iloc[:, 0],
        "supertrend_side": lambda h, lo, c: pta.supertrend(h, lo, c, 10, 3.0).iloc[:, 1],
        "choppiness_14": lambda h, lo, c: pta.chop(h, lo, c, 14, 1),
        "efficiency_10": lambda c: pta.er(c, 10),
        "zscore_20": lambda c: pta.zscore(c, 20) * np.sqrt(20 / 19),
        "coppock": lambda c: pta.coppock(c, 10, 11, 14),
        "elder_bull": lambda h, lo, c: pta.eri(h, lo, c, 13).iloc[:, 0],
        "elder_bear": lambda h, lo, c: pta.eri(h, lo, c, 13).iloc[:, 1],
        "natr_14": lambda h, lo, c: pta.natr(h, lo, c, 14, talib=False),
        "stddev_20": lambda c: pta.stdev(c, 20, ddof=0, talib=False),
        "cmf_20": lambda h, lo, c, v: pta.cmf(h, lo, c, v, length=20),
        "kst": lambda c: pta.kst(c).iloc[:, 0] / 100,
        "bop": lambda o, h, lo, c: pta.bop(o, h, lo, c, talib=False),
        "qstick_10": lambda o, c: pta.qstick(o, c, 10),
        "willr_14": lambda h, lo, c: pta.willr(h, lo, c, 14, talib=False),
        "cci_20": lambda h, lo, c: pta.cci(h, lo, c, 20, talib=False),
        "linreg_14": lambda c: pta.linreg(c, 14, talib=False),
        "linreg_slope_14": lambda c: pta.linreg(c, 14, slope=True, talib=False),
        "apo": lambda c: pta.apo(c, 12, 26, mamode="ema", talib=False),
        "aroon_up_25": lambda h, lo: pta.aroon(h, lo, 25, talib=False).iloc[:, 1],
        "vhf_28": lambda c: pta.vhf(c, 28),
        "psar": lambda h, lo, c: pta.psar(h, lo, c).iloc[:, 0].combine_first(
            pta.psar(h, lo, c).iloc[:, 1]),
    }  # fmt: skip
    return [Peer(column, "pandas-ta-classic", call) for column, call in calls.items()]


def _by_hand() -> list[Peer]:
    """What no library has as we define it: the formula once more, in plain pandas."""

    def returns(c):
        return np.log(c).diff()

    calls = {
        "realised_vol_20": lambda c: returns(c).rolling(20).std(ddof=0),
        "parkinson_20": lambda h, lo: np.sqrt(
            (np.log(h / lo) ** 2).rolling(20).mean() / (4 * np.log(2))),
        "garman_klass_20": lambda o, h, lo, c: np.sqrt((0.5 * np.log(h / lo) ** 2 - (
            2 * np.log(2) - 1) * np.log(c / o) ** 2).rolling(20).mean()),
        "rogers_satchell_20": lambda o, h, lo, c: np.sqrt((
            np.log(h / c) * np.log(h / o) + np.log(lo / c) * np.log(lo / o)).rolling(20).mean()),
        "yang_zhang_20": lambda o, h, lo, c: np.sqrt(
            np.log(o / c.shift()).rolling(20).var()
            + 0.34 / (1.34 + 21 / 19) * np.log(c / o).rolling(20).var()
            + (1 - 0.34 / (1.34 + 21 / 19)) * (np.log(h / c) * np.log(h / o)
               + np.log(lo / c) * np.log(lo / o)).rolling(20).mean()),
        "har_22": lambda c: np.sqrt((returns(c) ** 2).rolling(22).mean()),
        "skew_60": lambda c: returns(c).rolling(60).apply(
            lambda x: ((x - x.mean()) ** 3).mean() / x.std(ddof=0) ** 3),
        "kurtosis_60": lambda c: returns(c).rolling(60).apply(
            lambda x: ((x - x.mean()) ** 4).mean() / x.std(ddof=0) ** 4 - 3),
        "autocorr_1_20": lambda c: returns(c).rolling(20).corr(returns(c).shift()),
        "linreg_r2_20": lambda c: c.rolling(20).corr(pd.Series(np.arange(len(c)))) ** 2,
        "drawdown_200": lambda h, c: c / h.rolling(200).max() - 1,
        "amihud_20": lambda c, v: (returns(c).abs() * 1e6 / (c * v)).rolling(20).mean(),
        "rvol_20": lambda v: v / v.rolling(20).mean(),
        "volume_z_20": lambda v: (v - v.rolling(20).mean()) / v.rolling(20).std(ddof=0),
    }  # fmt: skip
    return [Peer(c, "pandas", call, tolerance=1e-6) for c, call in calls.items()]


_LOOSE_LINE = "it lets the line fall back on a candle that closes beyond the other band"
ON_PURPOSE: dict[tuple[str, str], str] = {
    ("aroon_up_25", "ta"): "of equal highs it takes the oldest, TA-Lib and we the newest",
    ("keltner_middle", "ta"): "it averages the close, TA-Lib and we the typical price (Keltner)",
    ("mfi_14", "ta"): "it takes a rounding error of the typical price for a fall",
    ("supertrend", "pandas-ta-classic"): _LOOSE_LINE,
    ("supertrend_side", "pandas-ta-classic"): _LOOSE_LINE,
    ("psar", "pandas-ta-classic"): (
        "the first stop of a new trend is not held beyond the last two candles (Wilder)"
    ),
}
"""(column, library) → why its numbers are others; the test wants each of them to differ."""


def peers() -> list[Peer]:
    return [*_talib(), *_ta(), *_pandas_ta(), *_by_hand()]


_NAMES = {"o": "open", "h": "high", "lo": "low", "c": "close", "v": "volume"}


def difference(peer: Peer, candles: Candles, ours: np.ndarray) -> float:
    """The largest difference in the second half, as a share of the column's size there."""
    wanted = [p for p in inspect.signature(peer.values).parameters if p in _NAMES]
    columns = [getattr(candles, _NAMES[p]) for p in wanted]
    if peer.library != "TA-Lib":
        columns = [pd.Series(np.array(column)) for column in columns]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = np.asarray(peer.values(*columns), dtype=np.float64)
    half = len(candles) // 2
    size = np.abs(ours[half:]).max()
    return float(np.abs(ours[half:] - theirs[half:]).max() / size)


def table(candles: Candles) -> list[tuple[Peer, float]]:
    """Every comparison and its largest difference."""
    ours = compute(candles)
    return [(peer, difference(peer, candles, ours[peer.column])) for peer in peers()]


def markdown(candles: Candles, what: str) -> str:
    """The table for the documentation."""
    lines = [
        "# Indicator values beside other libraries",
        "",
        f"Measured on {what};",
        "the second half is compared. The difference is the largest one, as a share of the",
        "largest value of the column. `python -m tests.golden.peers FILE.csv.gz` prints this",
        "page; `tests/golden/test_peers.py` holds every line of it.",
        "",
        f"TA-Lib {talib.__version__}, ta {version('ta')}, pandas-ta-classic "
        f"{version('pandas-ta-classic')}; pandas means the formula once more, by hand.",
        "",
        "| column | peer | largest difference | |",
        "|---|---|---|---|",
    ]
    for peer, found in sorted(table(candles), key=lambda row: (row[0].column, row[0].library)):
        reason = ON_PURPOSE.get((peer.column, peer.library), "")
        size = "none" if found == 0 else f"{found:.0e}"
        lines.append(f"| {peer.column} | {peer.library} | {size} | {reason} |")
    return "\n".join(lines) + "\n"


def _main(path: str) -> None:
    from datetime import UTC, datetime
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from trader.storage.history import HistoryStore
    from trader.storage.ohlcvt import import_ohlcvt

    with TemporaryDirectory() as folder:
        store = HistoryStore(Path(folder))
        import_ohlcvt(store, Path(path), now=datetime.now(UTC))
        (pair, timeframe), *_ = store.pairs()
        candles = store.load(pair, timeframe)[-20000:]
    what = (
        f"{len(candles):,} real candles of {pair} {timeframe}, {candles.first_opened_at:%Y-%m-%d} "
        f"to {candles.closed_at:%Y-%m-%d}"
    )
    print(markdown(candles, what), end="")


if __name__ == "__main__":
    import sys

    _main(sys.argv[1])
