"""The quality of the stored histories as a picture: one HTML file, opens offline. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from trader.storage.provenance import Absence
from trader.storage.quality import Quality

_COLOURS = {
    "whole": "#2e7d5b",
    "thin": "#c9b458",
    Absence.DOWN: "#c8553d",
    Absence.NOT_FETCHED: "#6b7280",
    "wrong": "#8e44ad",
}
_WORDS = {
    "whole": "whole, or silent for under a fifth of the time",
    "thin": "nothing traded for a fifth of the time or more",
    Absence.DOWN: "exchange down for 2 % of the time or more",
    Absence.NOT_FETCHED: "some of it never fetched",
    "wrong": "prices that look wrong",
}
_CELL, _GAP, _LEFT = 18, 3, 52
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --back: #fff; --soft: #5b6470; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --back: #14171b; --soft: #9aa4b2; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
       margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .2rem; }
p { margin: .2rem 0; color: var(--soft); } .score { color: var(--ink); font-weight: 600; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; }
li { list-style: none; } ul { padding: 0; }
"""


def page(found: Sequence[Quality], made_at: datetime) -> str:
    """The page: for each series its score in words and a cell for each month.

    Args:
        found: the series.
        made_at: when it was made, for the foot.
    """
    keys = "".join(
        f'<li><span class="key" style="background:{colour}"></span>{_WORDS[kind]}</li>'
        for kind, colour in _COLOURS.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Stored histories</title><style>{_STYLE}</style></head><body>"
        f"<h1>Stored histories</h1><ul>{keys}</ul>"
        + "".join(_series(quality) for quality in found)
        + f"<p>Made {made_at:%Y-%m-%d %H:%M} UTC.</p></body></html>"
    )


def _series(quality: Quality) -> str:
    stored = quality.stored
    name = f"{stored.pair} {stored.timeframe}, {quality.exchange}"
    absent = ", ".join(f"{count:,} {kind}" for kind, count in stored.absences.items() if count)
    sources = ", ".join(dict.fromkeys(entry.source for entry in stored.sources))
    return (
        f'<h2>{escape(name)}: <span class="score">{quality.score:g} of 100</span></h2>'
        f"<p>{stored.candles:,} candles, {stored.first:%Y-%m-%d} to {stored.last:%Y-%m-%d}; "
        f"absent: {absent or 'none'}; from {escape(sources)}</p>"
        f"{_months(quality)}"
    )


def _months(quality: Quality) -> str:
    """A row for each year, a cell for each month."""
    stored = quality.stored
    years = range(stored.first.year, stored.last.year + 1)
    cells = []
    for row, year in enumerate(years):
        y = 16 + row * (_CELL + _GAP)
        cells.append(f'<text x="0" y="{y + 13}">{year}</text>')
        for month in range(1, 13):
            kind, words = _state(quality, year, month)
            if kind:
                x = _LEFT + (month - 1) * (_CELL + _GAP)
                cells.append(
                    f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="3" '
                    f'fill="{_COLOURS[kind]}"><title>{year}-{month:02d}: {words}</title></rect>'
                )
    names = "".join(
        f'<text x="{_LEFT + i * (_CELL + _GAP) + 5}" y="11">{letter}</text>'
        for i, letter in enumerate("JFMAMJJASOND")
    )
    width, height = _LEFT + 12 * (_CELL + _GAP), 18 + len(years) * (_CELL + _GAP)
    return (
        f'<svg role="img" aria-label="quality by month" width="{width}" height="{height}">'
        f"{names}{''.join(cells)}</svg>"
    )


def _state(quality: Quality, year: int, month: int) -> tuple[str, str]:
    """(kind, words) of one month; nothing where the history does not reach."""
    step = quality.stored.timeframe.seconds
    begin = datetime(year, month, 1, tzinfo=UTC).timestamp()
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()
    begin = max(begin, quality.stored.first.timestamp())
    end = min(end, quality.stored.last.timestamp() + step)
    if end <= begin:
        return "", ""
    slots = max(1.0, (end - begin) / step)
    shares = dict.fromkeys(Absence, 0.0)
    for gap in quality.gaps:
        both = min(end, gap.last + step) - max(begin, gap.first)
        if both > 0:
            shares[gap.kind] += both / step / slots
    wrong = int(np.count_nonzero([(begin <= t < end) for t in quality.wrong]))
    words = ", ".join(f"{share:.1%} {kind}" for kind, share in shares.items() if share)
    if wrong:
        words = f"{wrong} candles look wrong, {words}"
    return _worst(shares, wrong), words or "every candle is there"


def _worst(shares: dict[Absence, float], wrong: int) -> str:
    if shares[Absence.NOT_FETCHED] > 0:
        return Absence.NOT_FETCHED
    if wrong:
        return "wrong"
    if shares[Absence.DOWN] >= 0.02:
        return Absence.DOWN
    return "thin" if shares[Absence.NO_TRADE] >= 0.2 else "whole"
