"""Features: what a model sees of one candle, as a row of numbers.

Columns come from the indicator registry (every indicator with two finite bounds comes in by
itself; others are named here with the scale that makes them comparable), and from returns, lags
and rolling statistics computed here. Returns are in units of the pair's own volatility and
distances in units of its true range, so that rows of all pairs can be learned together. The
leader's (BTC) state at the same moment is part of the row.

A column is NaN while it warms up; nothing is ever filled with zero. Beyond the indicators no
column looks back further than `LOOKBACK` candles, so the newest rows can be computed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray
from trader.domain.markets import Pair
from trader.domain.memo import once
from trader.domain.signals import Analysis, Snapshot
from trader.indicators import INDICATORS, compute

Matrix: TypeAlias = npt.NDArray[np.float32]

DEFINITIONS = 1
"""Raise it when the meaning of a column changes under the same name: old models then refuse."""

LEADER = "BTC"
LOOKBACK = 400
STALE_SECONDS = 86400
SIGMA = "realised_vol_120"
RANGE = "atr_21"

# Bounded indicators that say nearly the same as another one; forests lose time on them.
_REPEATED = frozenset({
    "adxr_14", "aroon_down_25", "aroon_osc_25", "aroon_up_25", "autocorr_5_60", "body_fraction",
    "cmo_14", "donchian_position_20", "drawdown_200", "drawdown_55", "dx_14", "ht_leadsine",
    "ht_sine", "ht_trendmode", "ichimoku_side", "imi_14", "minus_di_14", "plus_di_14",
    "price_rank_100", "psar_side", "rsi_21", "rsi_7", "smi", "smi_signal", "squeeze", "stoch_d",
    "stochf_d", "stochf_k", "stochrsi_d", "stochrsi_k", "tsi", "tsi_signal", "ulcer_14",
    "ultosc", "up_share_20", "upper_shadow", "willr_14",
})  # fmt: skip
# Fractions and percentages that grow with volatility: divided by it.
_PER_SIGMA = (
    "close_to_sma_200", "ema_gap_20_50", "ema_gap_50_200", "trix_15", "trix_30", "vwap_gap_20",
    "runup_55", "drawdown_200", "bb_width", "forecast_osc_14", "largest_move_24",
)  # fmt: skip
# Prices, as their distance from the close in true ranges.
_DISTANCES = ("kama_30", "ema_20", "hma_20")
_OTHERS = (
    "bb_percent", "skew_60", "variance_ratio_60", "rvol_20", "cci_20", "zscore_50", "pvo",
    "vhf_28",
)  # fmt: skip
_RETURNS = (1, 3, 6, 12, 24, 48, 96, 168, 336)
_LAGGED = (("rsi_14", 6), ("rsi_14", 24), ("donchian_position_55", 24), ("signed_volume_24", 24))
_OF_LEADER = (
    "return_1", "return_6", "return_24", "return_96", "rsi_14", "donchian_position_55",
    "trix_15_per_sigma", "kama_30_distance", "signed_volume_24",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _View:
    """A stretch of candles and the indicators over it."""

    candles: Candles
    values: Mapping[str, FloatArray]

    def __getitem__(self, name: str) -> FloatArray:
        return self.values[name]

    @property
    def sigma(self) -> FloatArray:
        """Volatility per candle; NaN where the price stood still."""
        sigma = self.values[SIGMA]
        return np.where(sigma > 0, sigma, np.nan)

    @property
    def log_close(self) -> FloatArray:
        return np.log(self.candles.close)


@dataclass(frozen=True, slots=True)
class Feature:
    """A column: its name, what it is in plain words, and how it is computed."""

    name: str
    text: str
    values: Callable[[_View], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Feature rows of one pair.

    Attributes:
        matrix: rows × features, NaN where unknown.
        sigma: volatility per candle, the unit of the returns; NaN where unknown.
        closed_at: the moment each row was known, Unix seconds.
    """

    pair: Pair
    candles: Candles
    matrix: Matrix
    sigma: FloatArray
    closed_at: npt.NDArray[np.int64]


def feature_names() -> tuple[str, ...]:
    """The columns, in their order."""
    return (*(f.name for f in _own()), *(f"leader_{name}" for name in _OF_LEADER), *_RELATIVE)


def feature_texts() -> dict[str, str]:
    """Column → what it is, in plain words."""
    own = {f.name: f.text for f in _own()}
    leader = {f"leader_{name}": f"BTC's {own[name]}" for name in _OF_LEADER}
    relative = {
        name: f"{name.rsplit('_', 1)[1]}-candle return compared with BTC" for name in _RELATIVE
    }
    return {**own, **leader, **relative}


@cache
def schema_hash() -> str:
    """Fingerprint of the columns: a model made for others must not be asked."""
    text = f"{DEFINITIONS}|" + "|".join(feature_names())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def needed_indicators() -> tuple[str, ...]:
    """The indicators that the features are made of."""
    bounded = [n for n in INDICATORS if _is_bounded(n)]
    named = [*_PER_SIGMA, *_DISTANCES, *_OTHERS, *(n for n, _ in _LAGGED), SIGMA, RANGE]
    more = ["yang_zhang_20", "volume_sma_20"]
    return tuple(dict.fromkeys([*bounded, *named, *more]))


def feature_table(pair: Pair, candles: Candles, leader: Analysis | None) -> FeatureTable:
    """All feature rows of a history.

    Args:
        pair: what the candles are of.
        candles: closed candles.
        leader: the leader's analysis (`analysis_for_features` makes one); None if the pair is
            the leader or there is none.
    """
    return table_of(analysis_for_features(pair, candles), leader)


def analysis_for_features(pair: Pair, candles: Candles) -> Analysis:
    """An analysis with only the indicators that features need."""
    return Analysis(pair, candles, compute(candles, needed_indicators()), {})


def table_of(analysis: Analysis, leader: Analysis | None) -> FeatureTable:
    """All feature rows of an analysed history, computed once per analysis."""
    candles = analysis.candles
    leader = None if analysis.pair.base == LEADER else leader

    def compute_all() -> tuple[Matrix, FloatArray, Analysis | None]:
        return (*_rows(analysis, leader, 0, len(candles)), leader)  # kept: its id is the key

    matrix, sigma, _ = once(analysis, ("features", id(leader)), compute_all)
    return FeatureTable(analysis.pair, candles, matrix, sigma, candles.closed_at_seconds())


def latest_rows(snapshot: Snapshot, rows: int) -> tuple[Matrix, FloatArray]:
    """The newest feature rows, the snapshot's own last, and their volatility per candle.

    In a prepared history (candles lie beyond the snapshot) all rows are computed at the first
    question; the newest row of a live analysis is computed with little more than itself.
    """
    analysis, stop = snapshot.analysis, snapshot.index + 1
    leader = snapshot.leader.analysis if snapshot.leader is not None else None
    start = max(0, stop - rows)
    if stop < len(analysis.candles):
        table = table_of(analysis, leader)
        return table.matrix[start:stop], table.sigma[start:stop]
    return _rows(analysis, leader, start, stop)


def _rows(
    analysis: Analysis, leader: Analysis | None, start: int, stop: int
) -> tuple[Matrix, FloatArray]:
    """Feature rows start…stop-1 of an analysis."""
    begin = max(0, start - LOOKBACK)
    view = _view(analysis, begin, stop)
    columns = {f.name: f.values(view) for f in _own()}
    led = _leader_columns(analysis, leader, columns, begin, stop)
    names = feature_names()
    matrix = np.empty((stop - start, len(names)), dtype=np.float32)
    for place, name in enumerate(names):
        column = columns[name] if name in columns else led[name]
        matrix[:, place] = column[start - begin :]
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix, view.sigma[start - begin :]


def _view(analysis: Analysis, begin: int, stop: int) -> _View:
    values = {}
    for name in needed_indicators():
        column = analysis.indicators.get(name)
        if column is None:
            column = _single(analysis, name)
        values[name] = column[begin:stop]
    return _View(analysis.candles[begin:stop], values)


def _single(analysis: Analysis, name: str) -> FloatArray:
    candles = analysis.candles
    return once(analysis, ("indicator", name), lambda: compute(candles, [name])[name])


def _leader_columns(
    analysis: Analysis,
    leader: Analysis | None,
    own: Mapping[str, FloatArray],
    begin: int,
    stop: int,
) -> dict[str, FloatArray]:
    """The leader's columns at the newest leader candle known at each row's close."""
    rows = stop - begin
    if analysis.pair.base == LEADER:
        led = {f"leader_{name}": own[name] for name in _OF_LEADER}
        return {**led, **{name: np.zeros(rows) for name in _RELATIVE}}
    if leader is None:
        names = [f"leader_{name}" for name in _OF_LEADER]
        return {name: np.full(rows, np.nan) for name in [*names, *_RELATIVE]}
    closed = analysis.candles.closed_at_seconds()[begin:stop]
    known = leader.candles.closed_at_seconds()
    at = np.searchsorted(known, closed, side="right") - 1
    first = max(0, int(at[0]))
    theirs = _leader_view(leader, first, int(at[-1]) + 1)
    at = at - first
    fresh = (at >= 0) & (closed - known[first + np.maximum(at, 0)] <= STALE_SECONDS)
    at = np.maximum(at, 0)

    def seen(name: str) -> FloatArray:
        return np.where(fresh, theirs[name][at], np.nan)

    led = {f"leader_{name}": seen(name) for name in _OF_LEADER}
    for name in _RELATIVE:
        led[name] = own[_relative_of(name)] - seen(_relative_of(name))
    return led


def _leader_view(leader: Analysis, first: int, stop: int) -> dict[str, FloatArray]:
    """The leader's own columns of rows first…stop-1."""
    begin = max(0, first - LOOKBACK)
    view = _view(leader, begin, max(stop, first + 1))
    wanted = {*_OF_LEADER, *(_relative_of(name) for name in _RELATIVE)}
    return {f.name: f.values(view)[first - begin :] for f in _own() if f.name in wanted}


_RELATIVE = ("relative_return_24", "relative_return_168")


def _relative_of(name: str) -> str:
    return name.removeprefix("relative_")


def _is_bounded(name: str) -> bool:
    entry = INDICATORS[name]
    low, high = entry.bounds
    bounded = low is not None and high is not None
    return bounded and entry.stationary and name not in _REPEATED


@cache
def _own() -> tuple[Feature, ...]:
    """The pair's own columns."""
    from_registry = [n for n in INDICATORS if _is_bounded(n)] + list(_OTHERS)
    made = [_plain(name) for name in from_registry]
    made += [_scaled(name) for name in _PER_SIGMA]
    made += [_distance(name) for name in _DISTANCES]
    made += [_return(span) for span in _RETURNS]
    made += [_lagged(name, by) for name, by in _LAGGED]
    made += _rolling() + _calendar()
    return tuple(made)


def _plain(name: str) -> Feature:
    return Feature(name, _called(name), lambda v: v[name])


def _scaled(name: str) -> Feature:
    text = f"{_called(name)} for its volatility"
    return Feature(f"{name}_per_sigma", text, lambda v: v[name] / v.sigma)


def _distance(name: str) -> Feature:
    text = f"distance from {_called(name)}"

    def values(view: _View) -> FloatArray:
        return _over(view.candles.close - view[name], view[RANGE])

    return Feature(f"{name}_distance", text, values)


def _return(span: int) -> Feature:
    def values(view: _View) -> FloatArray:
        return np.asarray(_change(view.log_close, span) / (view.sigma * np.sqrt(span)))

    return Feature(f"return_{span}", f"{span}-candle return", values)


def _lagged(name: str, by: int) -> Feature:
    text = f"{_called(name)} {by} candles ago"
    return Feature(f"{name}_lag_{by}", text, lambda v: _shift(v[name], by))


def _rolling() -> list[Feature]:
    def day_mean(view: _View) -> FloatArray:
        return _mean(view["rsi_14"], 24)

    def day_spread(view: _View) -> FloatArray:
        mean = _mean(view["rsi_14"], 72)
        return np.sqrt(np.maximum(_mean(view["rsi_14"] ** 2, 72) - mean**2, 0.0))

    def largest_fall(view: _View) -> FloatArray:
        return _least(_change(view.log_close, 1), 24) / view.sigma

    def level(view: _View) -> FloatArray:
        return np.log(view.sigma)

    def calm(view: _View) -> FloatArray:
        return np.log(view.sigma / _mean(view.sigma, 336))

    def waking(view: _View) -> FloatArray:
        return _over(view["yang_zhang_20"], view.sigma)

    def interest(view: _View) -> FloatArray:
        return np.log1p(_over(view["volume_sma_20"], _mean(view["volume_sma_20"], 168)))

    return [
        Feature("rsi_14_mean_24", "mean RSI of the last 24 candles", day_mean),
        Feature("rsi_14_spread_72", "spread of the RSI over 72 candles", day_spread),
        Feature("largest_fall_24", "largest fall of one candle among 24", largest_fall),
        Feature("volatility_level", "level of volatility", level),
        Feature("volatility_against_336", "volatility against its mean of 336 candles", calm),
        Feature("volatility_waking", "volatility of 20 candles against that of 120", waking),
        Feature("volume_against_168", "volume against its mean of 168 candles", interest),
    ]


def _calendar() -> list[Feature]:
    def hour(view: _View) -> FloatArray:
        return (view.candles.closed_at_seconds() % 86400) / 3600.0

    def week(view: _View) -> FloatArray:
        return ((view.candles.closed_at_seconds() + 3 * 86400) % 604800) / 86400.0

    def turn(of: Callable[[_View], FloatArray], whole: float, wave: np.ufunc) -> Feature:
        name = f"{'week' if whole == 7.0 else 'day'}_{wave.__name__}"
        text = "day of the week" if whole == 7.0 else "hour of the day"
        return Feature(name, text, lambda v: wave(2 * np.pi * of(v) / whole))

    return [
        turn(hour, 24.0, np.sin),
        turn(hour, 24.0, np.cos),
        turn(week, 7.0, np.sin),
        turn(week, 7.0, np.cos),
        Feature("weekday", "day of the week", lambda v: np.floor(week(v))),
    ]


def _called(name: str) -> str:
    """The first clause of what the registry says of an indicator."""
    clause = INDICATORS[name].meaning.split(":")[0].split(",")[0].strip().rstrip(".")
    first = clause.split(" ")[0]
    return clause if first.isupper() or first.endswith("'s") else clause[:1].lower() + clause[1:]


def _over(a: FloatArray, b: FloatArray) -> FloatArray:
    """The quotient, NaN where the divisor is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b != 0, a / b, np.nan)


def _shift(values: FloatArray, by: int) -> FloatArray:
    moved = np.full(len(values), np.nan)
    moved[by:] = values[: max(0, len(values) - by)]
    return moved


def _change(values: FloatArray, span: int) -> FloatArray:
    return values - _shift(values, span)


def _mean(values: FloatArray, span: int) -> FloatArray:
    """Mean of the last `span` values; NaN where one of them is.

    Summed window by window, so that a row does not depend on where the history begins.
    """
    result = np.full(len(values), np.nan)
    if len(values) >= span:
        result[span - 1 :] = np.convolve(values, np.full(span, 1.0 / span), mode="valid")
    return result


def _least(values: FloatArray, span: int) -> FloatArray:
    result = np.full(len(values), np.nan)
    if len(values) >= span:
        windows = np.lib.stride_tricks.sliding_window_view(values, span)
        result[span - 1 :] = windows.min(axis=1)
    return result
