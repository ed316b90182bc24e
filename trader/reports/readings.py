"""What the numbers of an analysis mean, in plain words: the rows people read.

A row has a name, a value with its unit, perhaps a place on a scale, and words with a tone:
`up` and `down` for what favours buyers or sellers, `warn` for extremes, `plain` for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trader.domain.candles import Timeframe
from trader.domain.signals import Snapshot
from trader.indicators.registry import INDICATORS
from trader.patterns import PATTERNS, direction

UP, DOWN, WARN, PLAIN = "up", "down", "warn", "plain"
YEAR = 365 * 86400


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        scale: where the value is between its extremes, in [0, 1]; None where there is no scale.
        tone: `up`, `down`, `warn` or `plain`.
    """

    name: str
    value: str
    words: str
    tone: str = PLAIN
    scale: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows about one thing, and the sum of them in a word."""

    title: str
    summary: str
    tone: str
    rows: tuple[Row, ...]


Values = Mapping[str, float]


def groups_of(snapshot: Snapshot) -> tuple[Group, ...]:
    """The analysis as groups of rows; a row whose value is not known yet says so."""
    values = snapshot.indicators
    makers = (_trend, _momentum, _volatility, _volume)
    return (*(make(values, snapshot) for make in makers), _patterns(snapshot), _mood(snapshot))


def price_text(price: float) -> str:
    """A price with as many digits as it needs to be read.

    >>> price_text(31784.5), price_text(0.3341271), price_text(0.0000123456)
    ('31,784.5', '0.33413', '0.000012346')
    """
    if price != price:
        return "not yet"
    if abs(price) >= 1000:
        return f"{price:,.1f}"
    digits = 5 if price == 0 else max(2, 5 - 1 - math.floor(math.log10(abs(price))))
    return f"{price:,.{min(digits, 12)}f}"


def _percent(fraction: float, digits: int = 1) -> str:
    return "not yet" if fraction != fraction else f"{fraction * 100:+.{digits}f} %"


def _number(value: float, form: str = ".1f") -> str:
    return "not yet" if value != value else format(value, form)


def _band(value: float, *steps: tuple[float, str, str], last: tuple[str, str]) -> tuple[str, str]:
    """The words and tone of the first step whose limit is above the value."""
    if value != value:
        return "warming up", PLAIN
    for limit, words, tone in steps:
        if value < limit:
            return words, tone
    return last


def _scaled(value: float, low: float, high: float) -> float | None:
    return None if value != value else min(max((value - low) / (high - low), 0.0), 1.0)


def _trend(v: Values, snapshot: Snapshot) -> Group:
    price = snapshot.price
    means = [v["ema_20"], v["ema_50"], v["ema_200"]]
    below = sum(price > m for m in means if m == m)
    known = sum(m == m for m in means)
    side = v["supertrend_side"]
    cloud = v["ichimoku_side"]
    ahead = v["di_difference_14"]
    rows = (
        _averages(price, means),
        Row("ADX 14", _number(v["adx_14"]),
            *_band(v["adx_14"], (20, "no trend to speak of", PLAIN), (25, "a trend begins", PLAIN),
                   (40, f"clear trend {_way(ahead)}", _tone(ahead)),
                   last=(f"strong trend {_way(ahead)}", _tone(ahead))),
            _scaled(v["adx_14"], 0, 60)),
        Row("MACD 12/26/9", price_text(v["macd"]), *_macd(v)),
        Row("SuperTrend 10/3", price_text(v["supertrend"]),
            "warming up" if side != side else "below the price: rising" if side > 0
            else "above the price: falling", _tone(side)),
        Row("Ichimoku cloud", price_text(v["ichimoku_senkou_a"]),
            {1.0: "price above the cloud", -1.0: "price below the cloud",
             0.0: "price inside the cloud"}.get(cloud, "warming up"), _tone(cloud)),
        Row("Channel of 55", _percent(v["donchian_position_55"], 0).lstrip("+"),
            *_band(v["donchian_position_55"], (0.05, "at the bottom", DOWN),
                   (0.35, "in the lower part", DOWN), (0.65, "in the middle", PLAIN),
                   (0.95, "in the upper part", UP), last=("at the top", UP)),
            v["donchian_position_55"] if v["donchian_position_55"] == v["donchian_position_55"]
            else None),
    )  # fmt: skip
    votes = sum(_vote(r.tone) for r in rows)
    return Group("trend", *_sum_up(votes, known + below, "up", "down", "no clear direction"), rows)


def _averages(price: float, means: list[float]) -> Row:
    known = [m for m in means if m == m]
    above = sum(price > m for m in known)
    if not known:
        return Row("EMA 20 50 200", "not yet", "warming up")
    words = {0: "above price", len(known): "below price"}.get(above, "mixed")
    tone = UP if above == len(known) else DOWN if above == 0 else PLAIN
    listed = " ".join(_short(m) for m in means)
    return Row("EMA 20 50 200", f"{above} of {len(known)}", f"{words}: {listed}", tone)


def _short(price: float) -> str:
    return "-" if price != price else f"{price:,.0f}" if price >= 1000 else price_text(price)


def _macd(v: Values) -> tuple[str, str]:
    hist = v["macd_hist"]
    if hist != hist:
        return "warming up", PLAIN
    where = "above" if hist > 0 else "below"
    return f"{where} its signal line", UP if hist > 0 else DOWN


def _momentum(v: Values, _: Snapshot) -> Group:
    rsi, stoch, willr = v["rsi_14"], v["stoch_k"], v["willr_14"]
    rows = (
        Row("RSI 14", _number(rsi),
            *_band(rsi, (30, "oversold", WARN), (45, "sellers ahead", DOWN),
                   (55, "balanced", PLAIN), (70, "buyers ahead", UP), last=("overbought", WARN)),
            _scaled(rsi, 0, 100)),
        Row("Stochastic 14/3/3", _number(stoch),
            *_band(stoch, (20, "oversold", WARN), (80, "in its range", PLAIN),
                   last=("overbought", WARN)), _scaled(stoch, 0, 100)),
        Row("Williams %R 14", _number(willr),
            *_band(willr, (-80, "oversold", WARN), (-20, "in its range", PLAIN),
                   last=("overbought", WARN)), _scaled(willr, -100, 0)),
        Row("CCI 20", _number(v["cci_20"], "+.0f"),
            *_band(v["cci_20"], (-100, "unusually low", DOWN), (100, "ordinary", PLAIN),
                   last=("unusually high", UP)), _scaled(v["cci_20"], -200, 200)),
        Row("MFI 14", _number(v["mfi_14"]),
            *_band(v["mfi_14"], (20, "money has fled", WARN), (80, "ordinary flow", PLAIN),
                   last=("money has crowded in", WARN)), _scaled(v["mfi_14"], 0, 100)),
        Row("Change over 20", _percent(v["roc_20"] / 100),
            *_band(v["roc_20"], (0, "lower than 20 candles ago", DOWN),
                   last=("higher than 20 candles ago", UP))),
    )  # fmt: skip
    return Group("momentum", *_sum_up(sum(_vote(r.tone) for r in rows), 1, "buyers ahead",
                                      "sellers ahead", _extreme(rows)), rows)  # fmt: skip


def _extreme(rows: tuple[Row, ...]) -> str:
    high = any(r.words == "overbought" for r in rows)
    low = any(r.words == "oversold" for r in rows)
    return "overbought" if high and not low else "oversold" if low and not high else "balanced"


def _volatility(v: Values, snapshot: Snapshot) -> Group:
    rank = v["vol_rank_100"]
    yearly = v["realised_vol_20"] * math.sqrt(snapshot.timeframe.per_year)
    state = _band(rank, (20, "calm", PLAIN), (80, "ordinary", PLAIN), last=("wild", WARN))
    rows = (
        Row("ATR 14", price_text(v["atr_14"]),
            f"{_number(v['natr_14'], '.2f')} % of the price, each candle"),
        Row("Volatility 20", _percent(yearly, 0).lstrip("+"), "a year, from the last 20 closes"),
        Row("Range rank", _number(rank, ".0f") + (" %" if rank == rank else ""),
            "of 100 candles were calmer", state[1], _scaled(rank, 0, 100)),
        Row("Bollinger 20/2", _percent(v["bb_percent"], 0).lstrip("+"),
            *_band(v["bb_percent"], (0, "below the lower band", WARN), (0.2, "near the lower band",
                   DOWN), (0.8, "inside the bands", PLAIN), (1, "near the upper band", UP),
                   last=("above the upper band", WARN)), _scaled(v["bb_percent"], 0, 1)),
        Row("Squeeze", "on" if v["squeeze"] == 1 else "off",
            "a move gathers" if v["squeeze"] == 1 else "no squeeze",
            WARN if v["squeeze"] == 1 else PLAIN),
    )  # fmt: skip
    return Group("volatility", *state, rows)


def _volume(v: Values, _: Snapshot) -> Group:
    rows = (
        Row("Volume", _number(v["rvol_20"], ".2f") + " x",
            *_band(v["rvol_20"], (0.5, "quiet for the last 20", PLAIN),
                   (1.5, "ordinary for the last 20", PLAIN),
                   (3, "busy for the last 20", WARN),
                   last=("very busy for the last 20", WARN)),
            _scaled(v["rvol_20"], 0, 3)),
        Row("CMF 20", _number(v["cmf_20"], "+.2f"),
            *_band(v["cmf_20"], (-0.05, "money flows out", DOWN), (0.05, "balanced", PLAIN),
                   last=("money flows in", UP)), _scaled(v["cmf_20"], -0.5, 0.5)),
        Row("OBV, change of 20", _number(v["obv_flow_20"], "+.2f"),
            *_band(v["obv_flow_20"], (-0.1, "volume on falls", DOWN), (0.1, "balanced", PLAIN),
                   last=("volume on rises", UP)), _scaled(v["obv_flow_20"], -1, 1)),
        Row("VWAP 20", price_text(v["vwap_20"]),
            *_band(v["vwap_gap_20"], (0, f"price {_percent(v['vwap_gap_20'])} from it", DOWN),
                   last=(f"price {_percent(v['vwap_gap_20'])} from it", UP))),
    )  # fmt: skip
    votes = sum(_vote(r.tone) for r in rows)
    return Group("volume", *_sum_up(votes, 1, "money flows in", "money flows out", "balanced"),
                 rows)  # fmt: skip


def _patterns(snapshot: Snapshot) -> Group:
    found = {n: s for n, s in snapshot.patterns.items() if s == s and s != 0}
    rows = []
    for name, strength in sorted(found.items(), key=lambda item: -abs(item[1])):
        sign = direction(name, strength)
        tone = {"bullish": UP, "bearish": DOWN}.get(sign, PLAIN)
        meaning = PATTERNS[name].meaning
        words = (
            meaning if meaning.startswith(sign) else f"{sign}: {meaning[0].lower()}{meaning[1:]}"
        )
        rows.append(Row(name.replace("_", " "), f"{strength:+.2f}", words, tone))
    if not rows:
        return Group("patterns", "none in this candle", PLAIN, ())
    votes = sum(_vote(r.tone) for r in rows)
    return Group("patterns", *_sum_up(votes, 0, "bullish", "bearish", "undecided"), tuple(rows))


_MOOD_ROWS: tuple[tuple[str, str, Callable[[float], str], bool], ...] = (
    ("book_imbalance", "Order book", lambda x: f"{x:+.2f}", True),
    ("spread_bp", "Spread", lambda x: f"{x:.1f} bp", False),
    ("depth_quote", "Depth within 1 %", lambda x: f"{x:,.0f}", False),
    ("taker_flow", "Takers", lambda x: f"{x:+.2f}", True),
    ("volume_flow", "Candle volume", lambda x: f"{x:+.2f}", True),
    ("fear_and_greed", "Fear and greed", lambda x: f"{x:+.2f}", False),
    ("volatility_regime", "Nervousness", lambda x: f"{x:+.2f}", False),
)


def _mood(snapshot: Snapshot) -> Group:
    rows = []
    for key, name, form, directed in _MOOD_ROWS:
        value = snapshot.sentiment.get(key)
        if value is None:
            continue
        tone = PLAIN
        if directed:
            tone = UP if value > 0.1 else DOWN if value < -0.1 else PLAIN
        words = {UP: "buyers press", DOWN: "sellers press"}.get(tone, "")
        rows.append(Row(name, form(value), words or _PLAIN_WORDS.get(key, "balanced"), tone,
                        _scaled(value, -1, 1) if directed else None))  # fmt: skip
    mood = snapshot.sentiment.get("mood")
    if mood is None:
        return Group("sentiment", "unknown: no order book, no trades", PLAIN, tuple(rows))
    words, tone = _band(
        mood, (-0.1, "sellers press", DOWN), (0.1, "balanced", PLAIN), last=("buyers press", UP)
    )
    return Group("sentiment", words, tone, tuple(rows))


_PLAIN_WORDS = {
    "spread_bp": "between best bid and ask",
    "depth_quote": "quote currency waiting",
    "fear_and_greed": "-1 fear, +1 greed",
    "volatility_regime": "-1 calmest, +1 wildest of 100",
}


def _way(direction: float) -> str:
    return "upwards" if direction > 0 else "downwards"


def _tone(direction: float) -> str:
    return UP if direction > 0 else DOWN if direction < 0 else PLAIN


def _vote(tone: str) -> int:
    return {UP: 1, DOWN: -1}.get(tone, 0)


def _sum_up(votes: int, doubt: int, up: str, down: str, between: str) -> tuple[str, str]:
    least = 1 if doubt <= 1 else 2
    if votes >= least:
        return up, UP
    return (down, DOWN) if votes <= -least else (between, PLAIN)


def timeframes_group(view: Mapping[Timeframe, Values]) -> Group:
    """One row for each coarser timeframe: is its trend up or down, is it stretched."""
    rows = []
    for timeframe, v in view.items():
        rsi, adx, gap = v["rsi_14"], v["adx_14"], v["close_to_sma_50"]
        words, tone = _band(
            gap, (-0.005, "below its mean of 50", DOWN), (0.005, "at its mean of 50", PLAIN),
            last=("above its mean of 50", UP),
        )  # fmt: skip
        if adx == adx:
            words += f", ADX {adx:.0f}"
        stretched = ", overbought" if rsi >= 70 else ", oversold" if rsi <= 30 else ""
        value = f"RSI {_number(rsi, '.0f')}"
        rows.append(Row(f"closed {timeframe}", value, words + stretched, tone))
    votes = sum(_vote(r.tone) for r in rows)
    return Group("timeframes", *_sum_up(votes, 0, "up", "down", "divided"), tuple(rows))


def others_group(v: Values, leader: str) -> Group:
    """This market among the others; rows only for what is known."""
    strength, breadth = v["relative_strength_24"], v["breadth_24"]
    lead = v["leader_lead_60"]
    rows = [
        Row("Strength over 24", _percent(strength), f"against {leader}", _tone(strength)),
        Row("Correlation 60", _number(v["leader_corr_60"], "+.2f"),
            f"with {leader}, moves x {_number(v['leader_beta_60'], '.2f')}"),
        Row("Lead", _number(lead, "+.2f"), f"{leader} moves first" if lead > 0.2 else
            f"moves before {leader}" if lead < -0.2 else "nobody leads"),
        Row("Breadth", _percent(breadth, 0).lstrip("+"), "of the markets rose over 24 candles",
            UP if breadth > 0.6 else DOWN if breadth < 0.4 else PLAIN),
    ]  # fmt: skip
    known = tuple(row for row in rows if row.value != "not yet")
    words = {UP: "stronger", DOWN: "weaker"}.get(_tone(strength), "even")
    return Group("among others", f"{words} than {leader}", _tone(strength), known)


def unknown_names(snapshot: Snapshot) -> list[str]:
    """Indicators that are still warming up at this candle."""
    return [n for n in INDICATORS if math.isnan(snapshot.indicator(n))]
