"""The report of a sweep: one HTML file that opens offline, with heat maps."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Row: TypeAlias = Mapping[str, Any]
_MOST_ROWS = 200
_MOST_CELLS = 24
"""A tuned range is shown in so many steps at most."""
NO_NEIGHBOURS = "names have no neighbours, so nothing tells a plateau from luck"


def render_sweep(document: Mapping[str, Any]) -> str:
    """The whole page as text."""
    title = f"{', '.join(document['pairs'])}: {len(document['runs']):,} variants"
    body = "\n".join(
        [_head(document, title), _verdict(document), *_maps(document), _table(document)]
    )
    return _PAGE.format(title=html.escape(title), style=_STYLE, body=body)


def _head(document: Mapping[str, Any], title: str) -> str:
    facts = (
        f"{document['strategy']}, {document['timeframe']} candles, "
        f"{document['start']} to {document['end']}, PAPER"
    )
    return f"<h1>{html.escape(title)}</h1><p class=facts>{html.escape(facts)}</p>"


def _verdict(document: Mapping[str, Any]) -> str:
    cards = [
        *_choices(document),
        ("Overfitting", _percent(document["pbo"]), document["pbo_unknown"] or
         "chance that the best one is below the median elsewhere; 50 % is no skill in choosing"),
        ("Tries", f"{document['trials']:,}", document["trials_counted"]["words"]),
    ]  # fmt: skip
    parts = "".join(
        f"<section class=card><h2>{html.escape(name)}</h2><b>{html.escape(value)}</b>"
        f"<p>{html.escape(words)}</p></section>"
        for name, value, words in cards
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in document["notes"])
    return f"<div class=cards>{parts}</div>" + (f"<ul>{notes}</ul>" if notes else "")


def _choices(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Plateau and peak; where no value has neighbours there is only a best one."""
    plateau, best = document["plateau"], document["best"]
    if not document["neighbours_in"]:
        words = f"Sharpe {_number(best['metrics']['sharpe'])}; {NO_NEIGHBOURS}"
        return [("Best", _named(best["values"]), words)]
    return [
        (title, _named(row["values"]), f"Sharpe {_number(row['metrics']['sharpe'])}, with its "
         f"neighbours {_number(row['neighbourhood_sharpe'])}")
        for title, row in (("Plateau: take this", plateau), ("Peak: probably luck", best))
    ]  # fmt: skip


def _maps(document: Mapping[str, Any]) -> Iterator[str]:
    """A heat map for each two names, or one line of cells for a single one."""
    axes = {name: _steps(document, name) for name in document["sweep"]}
    names = [name for name, steps in axes.items() if len(steps) > 1]
    pairs: list[tuple[str, str]] = list(itertools.combinations(names, 2))
    if len(names) == 1:
        pairs = [(names[0], "")]
    for across, down in pairs:
        yield _map(document, across, down, axes)


def _steps(document: Mapping[str, Any], name: str) -> list[str]:
    listed = document["sweep"][name]
    if isinstance(listed, list):
        return [str(value) for value in listed]
    found = sorted({float(row["values"][name]) for row in document["runs"]})
    edges = np.linspace(found[0], found[-1], min(len(found), _MOST_CELLS))
    return [f"{edge:.4g}" for edge in edges]


def _map(
    document: Mapping[str, Any], across: str, down: str, axes: Mapping[str, Sequence[str]]
) -> str:
    cells: dict[tuple[int, int], list[float]] = {}
    for row in document["runs"]:
        sharpe = row["metrics"]["sharpe"]
        here = _place(row, across, axes), _place(row, down, axes) if down else 0
        cells.setdefault(here, []).append(0.0 if sharpe is None else sharpe)
    means = {here: sum(found) / len(found) for here, found in cells.items()}
    low, high = min(means.values()), max(means.values())
    chosen = document["plateau"]
    mark = _place(chosen, across, axes), _place(chosen, down, axes) if down else 0
    head = "".join(f"<th scope=col>{html.escape(value)}</th>" for value in axes[across])
    lines = []
    for j, value in enumerate(axes[down] if down else ["Sharpe"]):
        drawn = "".join(
            _cell(means.get((i, j)), low, high, marked=(i, j) == mark)
            for i in range(len(axes[across]))
        )
        lines.append(f"<tr><th scope=row>{html.escape(value)}</th>{drawn}</tr>")
    title = f"{across.lower()} →" + (f"  {down.lower()} ↓" if down else "")
    return (
        f"<h2>Sharpe: {html.escape(title)}</h2><div class=wide><table class=map><thead><tr>"
        f"<td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        "<p class=facts>Mean over all other settings; the chosen one is framed.</p>"
    )


def _place(row: Row, name: str, axes: Mapping[str, Sequence[str]]) -> int:
    value = row["values"][name]
    if value in axes[name]:
        return axes[name].index(value)
    return int(np.argmin([abs(float(step) - float(value)) for step in axes[name]]))


def _cell(value: float | None, low: float, high: float, *, marked: bool) -> str:
    if value is None:
        return "<td class=none>·</td>"
    share = 0.5 if high <= low else (value - low) / (high - low)
    # From a dark blue to a light yellow: the order shows in grey too, and to the colour-blind.
    colour = f"hsl({230 - 175 * share:.0f} {55 + 25 * share:.0f}% {26 + 52 * share:.0f}%)"
    ink = "#101418" if share > 0.45 else "#f4f6f8"
    frame = " class=chosen" if marked else ""
    return f'<td{frame} style="background:{colour};color:{ink}">{value:.2f}</td>'


def _table(document: Mapping[str, Any]) -> str:
    names = list(document["sweep"])
    rows = sorted(document["runs"], key=lambda r: r["metrics"]["sharpe"] or 0.0, reverse=True)
    head = "".join(
        f"<th scope=col>{html.escape(text)}</th>"
        for text in [*(n.lower() for n in names), "Sharpe", "return", "deepest fall", "trades",
                     "DSR"]
    )  # fmt: skip
    lines = "".join(_line(row, names) for row in rows[:_MOST_ROWS])
    shown = min(len(rows), _MOST_ROWS)
    return (
        f"<h2>The best {shown} of {len(rows):,}</h2><div class=wide><table class=list><thead><tr>"
        f"{head}</tr></thead><tbody>{lines}</tbody></table></div>"
        "<p class=facts>DSR: chance that the true Sharpe ratio is above what the best of all "
        "tries gets by luck. sweep.csv has every variant.</p>"
    )


def _line(row: Row, names: Sequence[str]) -> str:
    m = row["metrics"]
    named = [row["values"][name] for name in names]
    figures = [_number(m["sharpe"]), _percent(m["total_return"]), _percent(m["max_drawdown"])]
    texts = [*named, *figures, f"{m['trades']:,}", _percent(m["dsr"])]
    return "<tr>" + "".join(f"<td>{html.escape(str(text))}</td>" for text in texts) + "</tr>"


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name.lower()} {value}" for name, value in values.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


_STYLE = """
:root { color-scheme: light dark; --ink: #14181d; --soft: #5b6673; --line: #d9dee4; --bg: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --soft: #9aa6b2; --line: #2c343d; --bg: #12161a; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--bg);
  max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.facts { color: var(--soft); margin: .25rem 0; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr));
  margin-top: 1.25rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }
.card h2 { margin: 0; font-size: .85rem; color: var(--soft); font-weight: 600; }
.card b { font-size: 1.15rem; } .card p { margin: .25rem 0 0; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; } th, td { padding: .3rem .6rem; text-align: right; }
.map td { min-width: 3.6rem; border: 1px solid var(--bg); } .map td.none { color: var(--soft); }
.map td.chosen { outline: 3px solid #d9480f; outline-offset: -3px; font-weight: 700; }
.list { width: 100%; } .list td, .list th { border-bottom: 1px solid var(--line); }
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>{style}</style></head><body><main>
{body}
</main></body></html>
"""
