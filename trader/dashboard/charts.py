"""The market chart's data: candles, indicators to choose, patterns, and what the bot did there."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trader.dashboard import documents
from trader.dashboard.reading import Reading
from trader.domain.candles import Candles, FloatArray, Timeframe
from trader.domain.errors import HistoryError, UsageError
from trader.domain.markets import Pair
from trader.indicators import INDICATORS, Unit, compute
from trader.patterns import PATTERNS, compute_patterns, direction
from trader.storage.history import HistoryStore

SHOWN = 1500
"""Candles in an answer."""
WARM = 1000
"""Candles before the first one shown, for indicators that need a past."""
MOST_INDICATORS = 6
MOST_PATTERNS = 80
_TOO_COMMON = frozenset({
    "swing_trend", "long_line", "short_line", "closing_marubozu", "belt_hold", "inside_bar",
    "narrowest_of_7", "doji", "spinning_top", "high_wave", "rickshaw_man", "long_legged_doji",
})  # fmt: skip


def choices() -> dict[str, Any]:
    """The indicators a chart can show, with what they mean and where they belong."""
    return {
        "most": MOST_INDICATORS,
        "indicators": [
            {
                "name": entry.name,
                "group": entry.group,
                "unit": entry.unit.value,
                "meaning": entry.meaning,
                "on_price": entry.unit is Unit.PRICE,
            }
            for entry in INDICATORS.values()
        ],
    }


def chart(reading: Reading, pair: Pair, data_dir: Path, names: list[str]) -> dict[str, Any]:
    """Candles of a pair and everything that is drawn on and below them.

    Raises:
        UsageError: if an indicator is unknown or there are too many.
    """
    _check(names)
    session = reading.view.session
    timeframe = Timeframe.parse(session.timeframe) if session else Timeframe.parse("1h")
    candles = _known(reading, pair, timeframe, data_dir)
    shown = candles[-SHOWN:] if len(candles) > SHOWN else candles
    return {
        "pair": str(pair),
        "timeframe": str(timeframe),
        "seconds": timeframe.seconds,
        "candles": _rows(shown),
        "indicators": _indicators(candles, len(shown), names),
        "patterns": pattern_marks(candles, len(shown)),
        **documents.markers(reading.view, pair),
    }


def _check(names: list[str]) -> None:
    unknown = [name for name in names if name not in INDICATORS]
    if unknown:
        raise UsageError(
            f"there is no indicator '{unknown[0][:40]}'", "/api/indicators has the names."
        )
    if len(names) > MOST_INDICATORS:
        raise UsageError(f"at most {MOST_INDICATORS} indicators at once, not {len(names)}")


def _known(reading: Reading, pair: Pair, timeframe: Timeframe, data_dir: Path) -> Candles:
    """The newest candles that the loop knows of, with a past for the indicators."""
    store = HistoryStore(data_dir, str(reading.state.get("history") or "kraken"))
    try:
        found = store.load(pair, timeframe)
    except HistoryError:
        return Candles.empty(timeframe)
    at = reading.state.get("at")
    if at:
        found = found.known_at(datetime.fromisoformat(str(at)))
    return found[-(SHOWN + WARM) :] if len(found) > SHOWN + WARM else found


def _rows(candles: Candles) -> list[dict[str, Any]]:
    columns = (
        candles.opened_at, candles.open, candles.high, candles.low, candles.close, candles.volume
    )  # fmt: skip
    return [
        {"time": int(t), "open": o, "high": h, "low": low, "close": c, "volume": v}
        for t, o, h, low, c, v in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _indicators(candles: Candles, shown: int, names: list[str]) -> list[dict[str, Any]]:
    if not names or not len(candles):
        return []
    values = compute(candles, names)
    times = candles.opened_at[-shown:].tolist()
    return [
        {
            "name": name,
            "on_price": INDICATORS[name].unit is Unit.PRICE,
            "meaning": INDICATORS[name].meaning,
            "points": _points(times, values[name][-shown:]),
        }
        for name in names
    ]


def _points(times: list[int], values: FloatArray) -> list[dict[str, float]]:
    known = np.isfinite(values)
    return [
        {"time": int(t), "value": float(f"{v:.8g}")}
        for t, v, there in zip(times, values.tolist(), known.tolist(), strict=True)
        if there
    ]


def pattern_marks(candles: Candles, shown: int) -> list[dict[str, Any]]:
    """The newest shapes, one mark for each candle and direction."""
    if not len(candles):
        return []
    names = [name for name in PATTERNS if name not in _TOO_COMMON]
    told: dict[tuple[int, str], list[str]] = {}
    for name, strength in compute_patterns(candles, names).items():
        part = np.nan_to_num(strength[-shown:])
        for place in np.flatnonzero(np.abs(part) >= 1.0).tolist():
            way = direction(name, float(part[place]))
            told.setdefault((place, way), []).append(name.replace("_", " "))
    times = candles.opened_at[-shown:].tolist()
    newest = sorted(told.items())[-MOST_PATTERNS:]
    return [
        {"time": int(times[place]), "direction": way, "names": found}
        for (place, way), found in newest
    ]
