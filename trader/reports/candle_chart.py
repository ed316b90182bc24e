"""The chart of an analysis: one HTML file with everything inside, opens offline."""

from __future__ import annotations

import html
import json
import math
from importlib.resources import files
from typing import Any

import numpy as np

from trader.domain.candles import FloatArray
from trader.domain.signals import Approval, Signal, Snapshot
from trader.indicators.context import others_of, timeframes_of
from trader.indicators.crossmarket import LEADER
from trader.patterns import NEUTRAL, PATTERNS
from trader.reports.figures import GAIN, GRID, INK, LOSS, MUTED, moments, packed
from trader.reports.readings import (
    Group,
    groups_of,
    others_group,
    price_text,
    timeframes_group,
)

SHOWN = 1000
"""Candles in the file; the newest of them are in view at first."""
IN_VIEW = 180
_MARKED = ("chart", "candlestick")
_UP_FAINT, _DOWN_FAINT = "#7fb8a8", "#d9a39c"

# name, label, colour, dash, shown at once
_LINES: tuple[tuple[str, str, str, str, bool], ...] = (
    ("ema_20", "EMA 20", "#0a6c8f", "solid", True),
    ("ema_50", "EMA 50", "#c98a1b", "solid", True),
    ("ema_200", "EMA 200", "#6f4fa0", "solid", True),
    ("bb_upper", "Bollinger", "#8a94a0", "dot", True),
    ("bb_lower", "Bollinger", "#8a94a0", "dot", True),
    ("supertrend", "SuperTrend", "#13806a", "dash", False),
    ("vwap_20", "VWAP 20", "#b0558f", "solid", False),
    ("ichimoku_senkou_a", "Ichimoku cloud", "#7fb8a8", "solid", False),
    ("ichimoku_senkou_b", "Ichimoku cloud", "#d9a39c", "solid", False),
    ("donchian_upper_55", "Channel of 55", "#5d6a76", "dash", False),
    ("donchian_lower_55", "Channel of 55", "#5d6a76", "dash", False),
)


def chart_page(
    snapshot: Snapshot, signal: Signal | None = None, plan: Approval | None = None
) -> str:
    """The page as text.

    Args:
        snapshot: the analysis; candles after it are not drawn.
        signal: written above the chart.
        plan: its entry, stop and target are drawn as levels.
    """
    figure = chart_figure(snapshot, plan)
    title = f"{snapshot.pair} {snapshot.timeframe}, closed {snapshot.closed_at:%Y-%m-%d %H:%M} UTC"
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return (
        _PAGE.replace("{{title}}", html.escape(title))
        .replace("{{price}}", f"{price_text(snapshot.price)} {snapshot.pair.quote}")
        .replace("{{signal}}", "" if signal is None else _signal_line(signal))
        .replace("{{groups}}", _groups(snapshot))
        .replace("{{figure}}", json.dumps(figure, separators=(",", ":")).replace("</", "<\\/"))
        .replace("{{plotly}}", script.replace("</script", "<\\/script"))
    )


def chart_figure(snapshot: Snapshot, plan: Approval | None = None) -> dict[str, Any]:
    """Candles with their lines, volume, RSI and MACD as a Plotly dictionary."""
    rows = slice(max(0, snapshot.index + 1 - SHOWN), snapshot.index + 1)
    candles = snapshot.analysis.candles[rows]
    x = moments(candles.opened_at)
    columns = {name: v[rows] for name, v in snapshot.analysis.indicators.items()}
    data = [
        {
            "type": "candlestick", "name": str(snapshot.pair), "x": x,
            "open": packed(candles.open), "high": packed(candles.high),
            "low": packed(candles.low), "close": packed(candles.close), "showlegend": False,
            "increasing": {"line": {"color": GAIN, "width": 1}},
            "decreasing": {"line": {"color": LOSS, "width": 1}},
        },
        *_price_lines(x, columns),
        *_pattern_marks(snapshot, rows),
        *_panels(x, columns, candles.volume, np.asarray(candles.close >= candles.open)),
    ]  # fmt: skip
    return {"data": data, "layout": _layout(snapshot, rows, plan)}


def _price_lines(x: Any, columns: dict[str, FloatArray]) -> list[dict[str, Any]]:
    lines, named = [], set[str]()
    for name, label, colour, dash, visible in _LINES:
        lines.append({
            "type": "scatter", "mode": "lines", "name": label, "x": x, "y": packed(columns[name]),
            "line": {"color": colour, "width": 1.4, "dash": dash}, "legendgroup": label,
            "showlegend": label not in named, "visible": True if visible else "legendonly",
            "hovertemplate": f"{label} %{{y:,.6~g}}<extra></extra>",
        })  # fmt: skip
        named.add(label)
    return lines


def _pattern_marks(snapshot: Snapshot, rows: slice) -> list[dict[str, Any]]:
    """One mark per candle and direction; hovering names the shapes."""
    candles = snapshot.analysis.candles[rows]
    marks = []
    for group in _MARKED:
        told: dict[tuple[int, bool], list[str]] = {}
        for name, entry in PATTERNS.items():
            if entry.group != group or name in NEUTRAL or name in _EVERYWHERE:
                continue
            strength = snapshot.analysis.patterns[name][rows]
            for i in np.flatnonzero(np.nan_to_num(strength)).tolist():
                text = f"{name.replace('_', ' ')} {strength[i]:+.2f}: {entry.meaning}"
                told.setdefault((i, bool(strength[i] > 0)), []).append(text)
        for bullish in (True, False):
            found = sorted((i, words) for (i, up), words in told.items() if up is bullish)
            marks.append(_mark(candles, found, bullish, group))
    return marks


_EVERYWHERE = frozenset({"swing_trend", "long_line", "short_line", "closing_marubozu", "belt_hold",
                         "inside_bar", "narrowest_of_7"})  # fmt: skip
"""Shapes too common to mark each of them."""


def _mark(
    candles: Any, found: list[tuple[int, list[str]]], bullish: bool, group: str
) -> dict[str, Any]:
    places = np.array([i for i, _ in found], dtype=np.int64)
    edge = candles.low[places] * 0.997 if bullish else candles.high[places] * 1.003
    side = "bullish" if bullish else "bearish"
    return {
        "type": "scatter", "mode": "markers", "name": f"{side} {group} patterns",
        "x": moments(candles.opened_at[places]), "y": packed(edge),
        "text": ["<br>".join(words) for _, words in found],
        "hovertemplate": "%{text}<extra></extra>",
        "visible": True if group == "chart" else "legendonly",
        "marker": {"symbol": "triangle-up" if bullish else "triangle-down",
                   "color": GAIN if bullish else LOSS, "size": 10 if group == "chart" else 7,
                   "line": {"color": "white", "width": 1}},
    }  # fmt: skip


def _panels(
    x: Any, columns: dict[str, FloatArray], volume: FloatArray, rising: Any
) -> list[dict[str, Any]]:
    colours = np.where(rising, _UP_FAINT, _DOWN_FAINT).tolist()
    hist = columns["macd_hist"]
    return [
        {"type": "bar", "name": "volume", "x": x, "y": packed(volume), "yaxis": "y2",
         "marker": {"color": colours}, "showlegend": False,
         "hovertemplate": "volume %{y:,.4~g}<extra></extra>"},
        {"type": "scatter", "mode": "lines", "name": "RSI 14", "x": x, "yaxis": "y3",
         "y": packed(columns["rsi_14"]), "line": {"color": "#0a6c8f", "width": 1.4},
         "showlegend": False, "hovertemplate": "RSI %{y:.1f}<extra></extra>"},
        {"type": "bar", "name": "MACD histogram", "x": x, "y": packed(hist), "yaxis": "y4",
         "marker": {"color": np.where(hist >= 0, _UP_FAINT, _DOWN_FAINT).tolist()},
         "showlegend": False, "hovertemplate": "histogram %{y:,.4~g}<extra></extra>"},
        {"type": "scatter", "mode": "lines", "name": "MACD", "x": x, "yaxis": "y4",
         "y": packed(columns["macd"]), "line": {"color": INK, "width": 1.2},
         "showlegend": False, "hovertemplate": "MACD %{y:,.4~g}<extra></extra>"},
        {"type": "scatter", "mode": "lines", "name": "signal", "x": x, "yaxis": "y4",
         "y": packed(columns["macd_signal"]), "line": {"color": "#c98a1b", "width": 1.2},
         "showlegend": False, "hovertemplate": "signal %{y:,.4~g}<extra></extra>"},
    ]  # fmt: skip


def _axis(low: float, high: float, title: str, **more: Any) -> dict[str, Any]:
    return {
        "domain": [low, high], "gridcolor": GRID, "zerolinecolor": GRID, "side": "right",
        "tickfont": {"color": MUTED, "size": 11}, "title": {"text": title, "font": {"size": 11}},
        "automargin": True, **more,
    }  # fmt: skip


def _layout(snapshot: Snapshot, rows: slice, plan: Approval | None) -> dict[str, Any]:
    candles = snapshot.analysis.candles[rows]
    view = candles[-IN_VIEW:]
    step = snapshot.timeframe.seconds
    first, last = int(view.opened_at[0]), int(view.opened_at[-1]) + 6 * step
    low, high = float(view.low.min()), float(view.high.max())
    room = (high - low) * 0.08 or high * 0.01
    return {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "height": 860, "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "white", "font": {"size": 12}}, "dragmode": "pan",
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
        "xaxis": {"type": "date", "range": [first * 1000, last * 1000], "gridcolor": GRID,
                  "rangeslider": {"visible": False}, "anchor": "y4", "showspikes": True,
                  "spikemode": "across", "spikethickness": 1, "spikecolor": MUTED,
                  "tickfont": {"color": MUTED, "size": 11}},
        "yaxis": _axis(0.44, 1, snapshot.pair.quote, range=[low - room, high + room],
                       tickformat=",.6~g"),
        "yaxis2": _axis(0.32, 0.42, snapshot.pair.base, tickformat="~s"),
        "yaxis3": _axis(0.17, 0.30, "RSI 14", range=[0, 100], tickvals=[30, 50, 70]),
        "yaxis4": _axis(0, 0.15, "MACD", tickformat="~s"),
        "shapes": _levels(plan), "annotations": _level_names(plan),
    }  # fmt: skip


def _plan_levels(plan: Approval | None) -> list[tuple[str, float, str]]:
    if plan is None:
        return []
    found = [("entry", plan.entry, INK), ("stop", plan.stop, LOSS),
             ("target", plan.take_profit, GAIN)]  # fmt: skip
    return [(name, float(price), colour) for name, price, colour in found if price is not None]


def _levels(plan: Approval | None) -> list[dict[str, Any]]:
    band = {
        "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y3", "y0": 30, "y1": 70,
        "fillcolor": "#0a6c8f", "opacity": 0.05, "line": {"width": 0},
    }  # fmt: skip
    lines = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": price, "y1": price,
         "line": {"color": colour, "width": 1.2, "dash": "dash"}}
        for _, price, colour in _plan_levels(plan)
    ]  # fmt: skip
    return [band, *lines]


def _level_names(plan: Approval | None) -> list[dict[str, Any]]:
    return [
        {"xref": "paper", "x": 0.005, "yref": "y", "y": price, "text": name, "showarrow": False,
         "yanchor": "bottom", "font": {"color": colour, "size": 11}}
        for name, price, colour in _plan_levels(plan)
    ]  # fmt: skip


def _signal_line(signal: Signal) -> str:
    reasons = "; ".join(signal.reasons)
    return (
        f'<p class="signal {signal.action}"><b>{str(signal.action).upper()}</b> '
        f"confidence {signal.confidence:.2f}: {html.escape(reasons)}</p>"
    )


def _groups(snapshot: Snapshot) -> str:
    cards = []
    for group in (*groups_of(snapshot), *_beside(snapshot)):
        rows = "".join(
            f'<tr class="{row.tone}"><th>{html.escape(row.name)}</th>'
            f"<td>{html.escape(row.value)}</td><td>{html.escape(row.words)}</td></tr>"
            for row in group.rows
        )
        cards.append(
            f'<section><h2>{group.title} <span class="{group.tone}">'
            f"{html.escape(group.summary)}</span></h2><table>{rows}</table></section>"
        )
    return "".join(cards)


def _beside(snapshot: Snapshot) -> list[Group]:
    """Coarser timeframes and other markets, where they are known."""
    if not snapshot.context:
        return []
    found, timeframes = others_of(snapshot), timeframes_of(snapshot)
    groups = [timeframes_group(timeframes)] if timeframes else []
    known = not math.isnan(found["leader_lead_60"])
    return [*groups, others_group(found, LEADER)] if known else groups


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{{title}}</title>
<style>
body{margin:0;background:#f3f5f7;color:#17212b;font:14px/1.5 system-ui,-apple-system,'Segoe UI',
sans-serif}
main{max-width:1280px;margin:0 auto;padding:20px 20px 48px}
h1{margin:0;font-size:22px}h1 b{font-variant-numeric:tabular-nums;margin-left:10px}
h2{margin:0 0 6px;font-size:15px;text-transform:capitalize}
h2 span{font-weight:500;text-transform:none;color:#5d6a76}
section,.chart{background:#fff;border:1px solid #e1e6ea;border-radius:10px}
.chart{margin:14px 0;padding:10px}section{padding:14px 16px}
.groups{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:14px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:4px 8px 4px 0;text-align:left;vertical-align:top;font-weight:400}
th{color:#5d6a76;white-space:nowrap}td:nth-child(2){text-align:right;white-space:nowrap}
.up td:last-child,h2 .up{color:#13806a}.down td:last-child,h2 .down{color:#b83a2c}
.warn td:last-child,h2 .warn{color:#8a5a00}
.signal{margin:8px 0 0}.buy b{color:#13806a}.sell b{color:#b83a2c}
.hint{color:#5d6a76;margin:4px 0 0}
</style></head>
<body><main><h1>{{title}}<b>{{price}}</b></h1>{{signal}}
<p class="hint">Click a name in the legend to show or hide it; scroll to zoom, drag to move.</p>
<div class="chart" id="chart"></div><div class="groups">{{groups}}</div></main>
<script>{{plotly}}</script>
<script type="application/json" id="figure">{{figure}}</script>
<script>
var figure = JSON.parse(document.getElementById('figure').textContent);
var layout = figure.layout;
if (window.matchMedia('(max-width:600px)').matches) {
  // A narrow screen: fewer candles, and the names below instead of in their place.
  layout.height = 880;
  layout.legend = {orientation: 'h', x: 0, y: -0.05, yanchor: 'top', font: {size: 11}};
  var range = layout.xaxis.range;
  layout.xaxis.range = [range[1] - (range[1] - range[0]) * 0.4, range[1]];
}
var chart = document.getElementById('chart');
function instant(x) { return typeof x === 'number' ? x : Date.parse(x.replace(' ', 'T') + 'Z'); }
function fit() {
  // The heights of price, volume and MACD follow what is in view.
  var seen = chart._fullLayout.xaxis.range.map(instant), ends = {};
  chart._fullData.forEach(function (trace) {
    var name = trace.yaxis || 'y', lows = trace.low || trace.y, highs = trace.high || trace.y;
    if (name === 'y3' || (name === 'y' && trace.type !== 'candlestick')) { return; }
    var end = ends[name] = ends[name] || [Infinity, -Infinity];
    if (trace.type === 'bar') { end[0] = Math.min(end[0], 0); end[1] = Math.max(end[1], 0); }
    for (var i = 0; i < trace.x.length; i++) {
      var x = instant(trace.x[i]);
      if (x < seen[0] || x > seen[1]) { continue; }
      if (lows[i] < end[0]) { end[0] = lows[i]; }
      if (highs[i] > end[1]) { end[1] = highs[i]; }
    }
  });
  var change = {};
  Object.keys(ends).forEach(function (name) {
    var low = ends[name][0], high = ends[name][1], room = (high - low) * 0.08;
    if (high > low) {
      change['yaxis' + name.slice(1) + '.range'] = [low < 0 || name === 'y' ? low - room : low,
        high + room];
    }
  });
  Plotly.relayout(chart, change);
}
var waiting;
Plotly.newPlot(chart, figure.data, layout,
  {responsive: true, displaylogo: false, scrollZoom: true,
   modeBarButtonsToRemove: ['lasso2d', 'select2d']}).then(function () {
  fit();
  chart.on('plotly_relayout', function (change) {
    if (Object.keys(change).some(function (key) { return key.indexOf('xaxis') === 0; })) {
      clearTimeout(waiting);
      waiting = setTimeout(fit, 60);
    }
  });
});
</script></body></html>
"""
