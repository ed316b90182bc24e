"""Patterns: shapes of a few candles, and of swings, as a strength in [-1, 1].

Above zero is bullish, below zero bearish, zero means the shape is not there. The shapes of
`NEUTRAL` only say that buyers and sellers balance: their sign has no meaning for what comes.
A swing counts only once the candles that confirm it have closed: nothing is drawn in hindsight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from trader.domain.candles import Candles, FloatArray
from trader.indicators.graph import (
    Value,
    above,
    clipped,
    from_candle,
    held,
    known,
    lag,
    magnitude,
    ratio,
    ta,
    where,
)
from trader.indicators.plan import evaluate
from trader.indicators.registry import Indicator, Unit, indicator, inputs_of
from trader.indicators.trend import donchian
from trader.indicators.volatility import atr, squeeze

OHLC = ("open", "high", "low", "close")
HLC = ("high", "low", "close")

_REGISTERED: dict[str, Indicator] = {}
PATTERNS: Mapping[str, Indicator] = MappingProxyType(_REGISTERED)
"""Pattern name → entry; `group` is `candlestick` or `chart`."""

_CANDLESTICKS = (
    # name, TA-Lib's function, first candle, meaning
    ("two_crows", "CDL2CROWS", 12, "bearish: two falling candles eat up a gap after a rise"),
    ("three_black_crows", "CDL3BLACKCROWS", 13, "bearish: three long falling candles in a row"),
    ("three_inside", "CDL3INSIDE", 12, "harami, confirmed by a third candle"),
    ("three_line_strike", "CDL3LINESTRIKE", 8, "three candles one way, the fourth takes it back"),
    ("three_outside", "CDL3OUTSIDE", 3, "engulfing, confirmed by a third candle"),
    ("three_stars_in_the_south", "CDL3STARSINSOUTH", 12, "bullish: a fall that loses its force"),
    ("three_white_soldiers", "CDL3WHITESOLDIERS", 12, "bullish: three long rising candles"),
    ("abandoned_baby", "CDLABANDONEDBABY", 12, "reversal: a doji between two gaps"),
    ("advance_block", "CDLADVANCEBLOCK", 12, "bearish: three rising candles, each weaker"),
    ("belt_hold", "CDLBELTHOLD", 10, "long candle that opens at its extreme"),
    ("breakaway", "CDLBREAKAWAY", 14, "reversal: a gap away from the trend is closed"),
    ("closing_marubozu", "CDLCLOSINGMARUBOZU", 10, "long candle that closes at its extreme"),
    ("concealing_baby_swallow", "CDLCONCEALBABYSWALL", 13, "bullish: four falling candles, spent"),
    ("counterattack", "CDLCOUNTERATTACK", 11, "reversal: opposite candle, same close"),
    ("dark_cloud_cover", "CDLDARKCLOUDCOVER", 11, "bearish: falls deep into the rise before"),
    ("doji", "CDLDOJI", 10, "open and close equal: nobody won"),
    ("doji_star", "CDLDOJISTAR", 11, "doji beyond a long candle: the trend tires"),
    ("dragonfly_doji", "CDLDRAGONFLYDOJI", 10, "doji with a long lower shadow: a fall was bought"),
    ("engulfing", "CDLENGULFING", 2, "body covers the opposite body before: reversal"),
    ("evening_doji_star", "CDLEVENINGDOJISTAR", 12, "bearish: rise, doji, fall"),
    ("evening_star", "CDLEVENINGSTAR", 12, "bearish: rise, small candle, fall"),
    ("gap_side_by_side_white", "CDLGAPSIDESIDEWHITE", 7, "two rising candles beyond a gap"),
    ("gravestone_doji", "CDLGRAVESTONEDOJI", 10, "doji with a long upper shadow: a rise was sold"),
    ("hammer", "CDLHAMMER", 11, "bullish: long lower shadow after a fall"),
    ("hanging_man", "CDLHANGINGMAN", 11, "bearish: long lower shadow after a rise"),
    ("harami", "CDLHARAMI", 11, "small body inside the long one before: the trend tires"),
    ("harami_cross", "CDLHARAMICROSS", 11, "doji inside the long body before"),
    ("high_wave", "CDLHIGHWAVE", 10, "small body, very long shadows: indecision"),
    ("hikkake", "CDLHIKKAKE", 5, "inside bar whose break-out fails"),
    ("hikkake_modified", "CDLHIKKAKEMOD", 10, "inside bar whose break-out fails, stricter"),
    ("homing_pigeon", "CDLHOMINGPIGEON", 11, "bullish: small falling body inside a long one"),
    ("identical_three_crows", "CDLIDENTICAL3CROWS", 12, "bearish: three like falls in a row"),
    ("in_neck", "CDLINNECK", 11, "bearish: a weak rise after a long fall"),
    ("inverted_hammer", "CDLINVERTEDHAMMER", 11, "bullish: long upper shadow after a fall"),
    ("kicking", "CDLKICKING", 11, "two opposite marubozu with a gap"),
    ("kicking_by_length", "CDLKICKINGBYLENGTH", 11, "kicking, the longer marubozu decides"),
    ("ladder_bottom", "CDLLADDERBOTTOM", 14, "bullish: falls, a long shadow, a gap up"),
    ("long_legged_doji", "CDLLONGLEGGEDDOJI", 10, "doji with long shadows: indecision"),
    ("long_line", "CDLLONGLINE", 10, "long body: one side in command"),
    ("marubozu", "CDLMARUBOZU", 10, "long body without shadows: one side in command"),
    ("matching_low", "CDLMATCHINGLOW", 6, "bullish: two falls end at one price"),
    ("mat_hold", "CDLMATHOLD", 14, "bullish: a pause inside a rise, then further"),
    ("morning_doji_star", "CDLMORNINGDOJISTAR", 12, "bullish: fall, doji, rise"),
    ("morning_star", "CDLMORNINGSTAR", 12, "bullish: fall, small candle, rise"),
    ("on_neck", "CDLONNECK", 11, "bearish: a rise only to the low before"),
    ("piercing", "CDLPIERCING", 11, "bullish: rises deep into the fall before"),
    ("rickshaw_man", "CDLRICKSHAWMAN", 10, "doji in the middle of a long range: indecision"),
    ("rising_falling_three", "CDLRISEFALL3METHODS", 14, "a pause of three, then further"),
    ("separating_lines", "CDLSEPARATINGLINES", 11, "the trend resumes from the last open"),
    ("shooting_star", "CDLSHOOTINGSTAR", 11, "bearish: long upper shadow after a rise"),
    ("short_line", "CDLSHORTLINE", 10, "short body, short shadows"),
    ("spinning_top", "CDLSPINNINGTOP", 10, "small body, longer shadows: indecision"),
    ("stalled", "CDLSTALLEDPATTERN", 12, "bearish: a rise that hardly goes on"),
    ("stick_sandwich", "CDLSTICKSANDWICH", 7, "bullish: two falls end at one price around a rise"),
    ("takuri", "CDLTAKURI", 10, "bullish: dragonfly doji with a very long shadow"),
    ("tasuki_gap", "CDLTASUKIGAP", 7, "a gap that is only half closed: the trend goes on"),
    ("thrusting", "CDLTHRUSTING", 11, "bearish: a rise into, not past, the middle of the fall"),
    ("tristar", "CDLTRISTAR", 12, "reversal: three doji"),
    ("unique_three_river", "CDLUNIQUE3RIVER", 12, "bullish: a fall, a long shadow, a small rise"),
    ("upside_gap_two_crows", "CDLUPSIDEGAP2CROWS", 12, "bearish: two falls above a gap"),
    ("gap_three_methods", "CDLXSIDEGAP3METHODS", 2, "a gap is closed, then the trend goes on"),
)  # fmt: skip

NEUTRAL = frozenset({
    "doji", "long_legged_doji", "rickshaw_man", "high_wave", "spinning_top", "short_line",
    "gravestone_doji", "dragonfly_doji",
})  # fmt: skip
"""Shapes without a direction of their own."""


def direction(name: str, strength: float) -> str:
    """What a shape says: `bullish`, `bearish` or `neutral`; the one definition for all pages.

    >>> direction("hammer", 1.0), direction("gravestone_doji", 1.0)
    ('bullish', 'neutral')
    """
    if name in NEUTRAL or strength == 0:
        return "neutral"
    return "bullish" if strength > 0 else "bearish"


_CONFIRMED_TWICE = {"CDLHIKKAKE", "CDLHIKKAKEMOD"}


def _candlestick(function: str, first: int, meaning: str) -> Callable[..., Value]:
    # TA-Lib says 100 for a shape and 200 for a hikkake that has been confirmed.
    full = 200.0 if function in _CONFIRMED_TWICE else 100.0

    def shape(open_: Value, high: Value, low: Value, close: Value) -> Value:
        return from_candle(getattr(ta, function)(open_, high, low, close) / full, first)

    shape.__doc__ = meaning
    return shape


def _register_candlesticks() -> None:
    for name, function, first, meaning in _CANDLESTICKS:
        enter = indicator(
            name, inputs=OHLC, warmup=first, group="candlestick", unit=Unit.STATE,
            bounds=(-1, 1), register=_REGISTERED,
        )  # fmt: skip
        enter(_candlestick(function, first, meaning))


_register_candlesticks()


def chart(
    *names: str,
    inputs: tuple[str, ...],
    warmup: int | Callable[..., int],
    over: tuple[int, ...] = (),
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Register a shape of many candles; like `indicator`, into `PATTERNS`."""
    return indicator(
        *names, inputs=inputs, warmup=warmup, group="chart", unit=Unit.STATE, bounds=(-1, 1),
        over=over, register=_REGISTERED,
    )  # fmt: skip


@chart("breakout_{}", inputs=HLC, over=(20, 55), warmup=lambda n: max(n, 14))
def breakout(high: Value, low: Value, close: Value, n: int) -> Value:
    """Close beyond the {} candles before; 1 when a whole mean true range beyond."""
    upper, _, lower = donchian(high, low, n)
    reach = atr(high, low, close, 14)
    up = clipped(ratio(close - lag(upper, 1), reach, 0.0), 0.0, 1.0)
    down = clipped(ratio(lag(lower, 1) - close, reach, 0.0), 0.0, 1.0)
    return up - down


@chart("squeeze_release", inputs=HLC, warmup=21)
def squeeze_release(high: Value, low: Value, close: Value) -> Value:
    """A Bollinger squeeze ends with this candle.

    The side of the mean on which it closes gives the sign.
    """
    upper, middle, lower = ta.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    calm = squeeze(upper, lower, high, low, close)
    ended = above(lag(calm, 1), calm)
    return ended * where(above(close, middle), 1.0, where(above(middle, close), -1.0, 0.0))


@chart("inside_bar", inputs=HLC, warmup=1)
def inside_bar(high: Value, low: Value, close: Value) -> Value:
    """Range within the range before.

    The half of the earlier range in which it closes gives the sign.
    """
    before_high, before_low = lag(high, 1), lag(low, 1)
    inside = above(before_high, high) * above(low, before_low)
    middle = (before_high + before_low) / 2.0
    return inside * where(above(middle, close), -1.0, 1.0)


@chart("narrowest_of_7", inputs=HLC, warmup=6)
def narrowest_of_7(high: Value, low: Value, close: Value) -> Value:
    """Smallest range of seven: a move is near.

    The half of its own range in which it closes gives the sign.
    """
    span = high - low
    narrow = 1.0 - above(span, ta.MIN(span, timeperiod=7))
    return narrow * where(above((high + low) / 2.0, close), -1.0, 1.0)


_SIDE = 3
"""Candles on each side that a swing must top (or undercut) before it counts."""
_EQUAL = 0.75
"""Two swings count as equal within this many mean true ranges."""
_SWING_FIRST = 14


def _swings(extreme: Value, highs: bool) -> tuple[Value, Value]:
    """Whether a swing is confirmed by this candle, and its price."""
    best = (ta.MAX if highs else ta.MIN)(extreme, timeperiod=2 * _SIDE + 1)
    candidate = lag(extreme, _SIDE)
    earlier = lag(candidate, 1)
    fresh = above(candidate, earlier) if highs else above(earlier, candidate)
    confirmed = (1.0 - above(magnitude(candidate - best), 0.0)) * fresh
    return known(confirmed, 0.0), candidate


def _double(
    peaks: Value, troughs: Value, close: Value, reach: Value, opened_at: Value, tops: bool
) -> Value:
    """1 when the close crosses the neckline between two equal swings, else 0."""
    peak, price = _swings(peaks, tops)
    trough, depth = _swings(troughs, not tops)
    last = held(price, peak)
    before = held(lag(last, 1), peak)
    # The swing between the two must itself be confirmed after the first and before the second.
    peaked_at = held(lag(held(opened_at, peak), 1), peak)
    between_at = held(held(opened_at, trough), peak)
    neck = held(held(depth, trough), peak)
    between = above(between_at, peaked_at)
    equal = above(reach * _EQUAL, magnitude(last - before))
    crossed = above(neck, close) if tops else above(close, neck)
    first_time = crossed * (1.0 - known(lag(crossed, 1), 1.0))
    standing = above(last, close) if tops else above(close, last)
    return known(first_time * equal * between * standing, 0.0)


@chart("double_top", inputs=("opened_at", *HLC), warmup=_SWING_FIRST)
def double_top(opened_at: Value, high: Value, low: Value, close: Value) -> Value:
    """Bearish: two equal swing highs, and the close falls below the low between them."""
    reach = atr(high, low, close, _SWING_FIRST)
    return from_candle(0.0 - _double(high, low, close, reach, opened_at, True), _SWING_FIRST)


@chart("double_bottom", inputs=("opened_at", *HLC), warmup=_SWING_FIRST)
def double_bottom(opened_at: Value, high: Value, low: Value, close: Value) -> Value:
    """Bullish: two equal swing lows, and the close rises above the high between them."""
    reach = atr(high, low, close, _SWING_FIRST)
    return from_candle(_double(low, high, close, reach, opened_at, False), _SWING_FIRST)


@chart("swing_trend", inputs=("high", "low"), warmup=_SWING_FIRST)
def swing_trend(high: Value, low: Value) -> Value:
    """Confirmed swing highs and lows both rise, or both fall."""
    tops, top = _swings(high, True)
    bottoms, bottom = _swings(low, False)
    last_top, last_bottom = held(top, tops), held(bottom, bottoms)
    top_before, bottom_before = held(lag(last_top, 1), tops), held(lag(last_bottom, 1), bottoms)
    rising = above(last_top, top_before) * above(last_bottom, bottom_before)
    falling = above(top_before, last_top) * above(bottom_before, last_bottom)
    return from_candle(known(rising, 0.0) - known(falling, 0.0), _SWING_FIRST)


@chart("failed_breakout_20", inputs=HLC, warmup=20)
def failed_breakout(high: Value, low: Value, close: Value) -> Value:
    """The range of 20 was left within the candle and regained at its close: a trap."""
    upper, _, lower = donchian(high, low, 20)
    top, bottom = lag(upper, 1), lag(lower, 1)
    trap_above = above(high, top) * above(top, close)
    trap_below = above(bottom, low) * above(close, bottom)
    return trap_below - trap_above


def compute_patterns(
    candles: Candles, names: Iterable[str] | None = None
) -> dict[str, FloatArray]:
    """Pattern name → strength per candle, NaN while warming up."""
    chosen = list(PATTERNS) if names is None else list(names)
    return evaluate({n: PATTERNS[n].node() for n in chosen}, inputs_of(candles))
