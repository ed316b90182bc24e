"""The charts of the report as plain Plotly dictionaries (`data`, `layout`).

Plain dictionaries instead of Plotly's Python objects: importing those takes longer than most
backtests. Arrays travel as base64, so a page of many years stays small.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trader.domain.candles import Candles, FloatArray, IntArray, Timeframe
from trader.domain.markets import Pair
from trader.domain.orders import Side
from trader.performance import DAY, drawdowns, first_day
from trader.simulation.runs import AccountRun, CostBreakdown, Execution

Figure: TypeAlias = dict[str, Any]

INK, MUTED, GRID = "#17212b", "#687583", "#e6eaee"
STRATEGY, HOLD, TREND = "#0a6c8f", "#c98a1b", "#8a94a0"
GAIN, LOSS = "#13806a", "#c8493a"
COLOURS = {
    "strategy": STRATEGY, "buy_and_hold": HOLD, "trend": TREND, "vol_target_hold": "#e0bd7d",
}  # fmt: skip
NAMES = {
    "strategy": "this strategy",
    "buy_and_hold": "buy and hold",
    "vol_target_hold": "hold, steady volatility",
    "trend": "plain trend rule",
}
MOST_POINTS = 4000
MOST_CANDLES = 1500
_STEPS = [Timeframe.parse(t) for t in ("5m", "15m", "30m", "1h", "2h", "4h", "12h", "1d", "2d",
                                       "1w", "2w", "4w")]  # fmt: skip


def packed(values: npt.NDArray[Any]) -> dict[str, str]:
    """An array as Plotly takes it in binary form."""
    data = np.ascontiguousarray(values, dtype="<f8")
    return {"dtype": "f8", "bdata": base64.b64encode(data.tobytes()).decode()}


def moments(seconds: npt.NDArray[Any]) -> dict[str, str]:
    """Unix seconds as the milliseconds of a date axis."""
    return packed(np.asarray(seconds, dtype=np.float64) * 1000)


def thinned(values: FloatArray, most: int = MOST_POINTS) -> IntArray:
    """Rows that keep the shape of a curve: first, last, and each bucket's lowest and highest."""
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(np.int64)
    rows = {0, len(values) - 1}
    for start, end in itertools.pairwise(edges):
        part = values[start:end]
        rows |= {int(start + np.argmin(part)), int(start + np.argmax(part))}
    return np.array(sorted(rows), dtype=np.int64)


def layout(**more: Any) -> dict[str, Any]:
    """The look all charts share."""
    axis: dict[str, Any] = {
        "gridcolor": GRID, "zerolinecolor": "#b9c2cb", "linecolor": GRID, "automargin": True,
        "tickfont": {"color": MUTED, "size": 11},
        "title": {"font": {"size": 11, "color": MUTED}, "standoff": 6},
    }  # fmt: skip
    base: dict[str, Any] = {
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "color": INK,
                 "size": 12},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hovermode": "x unified",
        "modebar": {"bgcolor": "rgba(255,255,255,0.85)", "color": MUTED, "activecolor": STRATEGY},
        "hoverlabel": {"bgcolor": "white", "bordercolor": GRID, "font": {"size": 12}},
        "height": 340,
    }  # fmt: skip
    for key, value in more.items():
        if key.startswith(("xaxis", "yaxis")):
            base[key] = {**axis, **value}
            if "title" in value:
                base[key]["title"] = {**axis["title"], **value["title"]}
        else:
            base[key] = value
    base.setdefault("xaxis", dict(axis))
    base.setdefault("yaxis", dict(axis))
    return base


_STEPS_OF = {"log": "D2", "linear": None}
"""Where an axis is labelled: at 1, 2 and 5 of every power of ten, or where Plotly likes."""


def equity_figure(runs: Mapping[str, AccountRun], quote: str) -> Figure:
    """Worth of each account, and below it how far each is under its peak."""
    data: list[dict[str, Any]] = []
    for key, run in runs.items():
        times, equity = run.curve()
        rows = thinned(equity)
        own = key == "strategy"
        line = {"color": COLOURS.get(key, MUTED), "width": 2.2 if own else 1.3}
        common = {"type": "scatter", "mode": "lines", "name": NAMES.get(key, key),
                  "x": moments(times[rows]), "legendgroup": key}  # fmt: skip
        data.append({
            **common, "y": packed(equity[rows]), "line": line,
            "hovertemplate": f"%{{y:,.0f}} {quote}",
        })  # fmt: skip
        fall = -drawdowns(equity)
        rows = thinned(fall)
        data.append({
            **common, "x": moments(times[rows]), "y": packed(fall[rows]), "yaxis": "y2",
            "line": {**line, "width": 1.4 if own else 0.9}, "showlegend": False,
            "fill": "tozeroy" if own else "none", "fillcolor": "rgba(10,108,143,0.14)",
            "hovertemplate": "%{y:.1%}",
        })  # fmt: skip
    data.sort(key=lambda trace: trace["legendgroup"] == "strategy")  # ours is drawn on top
    worths = [float(w) for run in runs.values() if len(run.equity) for w in
              (run.equity.min(), run.equity.max())]  # fmt: skip
    # Where one account leaves the others far behind, only ratios show all of them.
    far = bool(worths) and min(worths) > 0 and max(worths) / min(worths) > 5
    kinds = ("log", "linear") if far else ("linear", "log")
    return {"data": data, "layout": layout(
        height=480,
        xaxis={"type": "date", "anchor": "y2"},
        yaxis={"domain": [0.36, 1], "tickformat": ",.3~s", "title": {"text": quote},
               "type": kinds[0], "dtick": _STEPS_OF[kinds[0]]},
        yaxis2={"domain": [0, 0.3], "tickformat": ".0%", "title": {"text": "below peak"}},
        updatemenus=[{
            "type": "buttons", "direction": "right", "x": 1, "xanchor": "right", "y": 1.02,
            "yanchor": "bottom", "bgcolor": "white", "bordercolor": GRID, "pad": {"r": 0},
            "font": {"size": 11, "color": MUTED},
            "buttons": [
                {"label": kind, "method": "relayout",
                 "args": [{"yaxis.type": kind, "yaxis.dtick": _STEPS_OF[kind]}]}
                for kind in kinds
            ],
        }],
    )}  # fmt: skip


def trades_figure(pair: Pair, candles: Candles, executions: Sequence[Execution]) -> Figure:
    """A pair's candles with every buy and sale on them; hovering says why."""
    shown = shown_candles(candles)
    data: list[dict[str, Any]] = [{
        "type": "candlestick", "name": f"{pair} {shown.timeframe}", "x": moments(shown.opened_at),
        "open": packed(shown.open), "high": packed(shown.high), "low": packed(shown.low),
        "close": packed(shown.close), "showlegend": False,
        "increasing": {"line": {"color": "#7fb8a8", "width": 1}},
        "decreasing": {"line": {"color": "#d9a39c", "width": 1}},
    }]  # fmt: skip
    for side, colour, symbol in (
        (Side.BUY, GAIN, "triangle-up"),
        (Side.SELL, LOSS, "triangle-down"),
    ):
        fills = [e for e in executions if e.fill.pair == pair and e.fill.side is side]
        data.append({
            "type": "scatter", "mode": "markers", "name": "bought" if side is Side.BUY else "sold",
            "x": moments(np.array([e.fill.filled_at.timestamp() for e in fills])),
            "y": packed(np.array([float(e.fill.price) for e in fills])),
            "marker": {"color": colour, "symbol": symbol, "size": 10 if len(fills) < 60 else 7,
                       "line": {"color": "white", "width": 1}},
            "text": [_told(e) for e in fills], "hovertemplate": "%{text}<extra></extra>",
            # Read by the page when one of them is clicked.
            "customdata": [_why(e) for e in fills],
        })  # fmt: skip
    spread = float(shown.high.max() / shown.low.min()) if len(shown) else 1.0
    return {"data": data, "layout": layout(
        height=460, hovermode="closest",
        xaxis={"type": "date", "rangeslider": {"visible": False}},
        yaxis={**({"type": "log", "dtick": "D2"} if spread > 4 else {}), "tickformat": ",.5~g",
               "title": {"text": pair.quote}},
    )}  # fmt: skip


def shown_candles(candles: Candles, most: int = MOST_CANDLES) -> Candles:
    """The candles in the finest timeframe in which a browser still draws them quickly."""
    if len(candles) <= most:
        return candles
    for step in _STEPS:
        if step.seconds % candles.timeframe.seconds == 0 and step > candles.timeframe:
            coarse = candles.resampled(step)
            if len(coarse) <= most:
                return coarse
    return candles[-most:]


def _told(execution: Execution) -> str:
    fill = execution.fill
    why = f"<br>{execution.reason}" if execution.reason else ""
    words = why if len(why) < 240 else why[:240] + " …"
    return (
        f"<b>{fill.side} {float(fill.quantity):,.6g} {fill.pair.base} at "
        f"{float(fill.price):,.8g}</b> ({execution.purpose})<br>"
        f"{fill.filled_at:%Y-%m-%d %H:%M} UTC, {fill.liquidity}, fee "
        f"{float(fill.fee_quote):,.2f} {fill.pair.quote}{_wrapped(words)}"
    )


def _why(execution: Execution) -> list[str | float]:
    """Title, facts and the whole reason as plain text, and the moment in Unix seconds."""
    fill = execution.fill
    return [
        f"{fill.side} {float(fill.quantity):,.6g} {fill.pair.base} at {float(fill.price):,.8g} "
        f"({execution.purpose})",
        f"{fill.filled_at:%Y-%m-%d %H:%M} UTC · {fill.liquidity} · worth "
        f"{float(fill.cost_quote):,.2f} {fill.pair.quote} · fee {float(fill.fee_quote):,.2f} "
        f"{fill.pair.quote}",
        _GIVEN.get(str(execution.purpose)) or execution.reason or "No reason was noted.",
        fill.filled_at.timestamp(),
    ]


_GIVEN = {
    "stop": "The price fell to the protective stop, which lay at the exchange.",
    "target": "The price rose to the target.",
    "flatten": "Everything was sold: an emergency stop.",
}
"""Why what nobody decided anew happened."""


def _wrapped(text: str, width: int = 70) -> str:
    lines, line = [], ""
    for word in text.split(" "):
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line += ("" if not line else " ") + word
    return "<br>".join([*lines, line])


def monthly_returns(run: AccountRun) -> dict[tuple[int, int], float]:
    """(year, month) → return of the account in that month (UTC), as a fraction."""
    if not len(run.times):
        return {}
    worth: dict[tuple[int, int], float] = {}
    for second, equity in zip(run.times - 1, run.equity, strict=True):
        day = datetime.fromtimestamp(int(second), UTC)
        worth[(day.year, day.month)] = float(equity)
    result, before = {}, run.cash
    for month, equity in worth.items():
        result[month] = equity / before - 1 if before > 0 else 0.0
        before = equity
    return result


def months_figure(run: AccountRun) -> Figure:
    """Return of each month, years downwards, with the year's return at the end of its row."""
    by_month = monthly_returns(run)
    years = sorted({year for year, _ in by_month})
    cells = [[by_month.get((year, m)) for m in range(1, 13)] for year in years]
    whole = [float(np.prod([1 + c for c in row if c is not None]) - 1) for row in cells]
    most = max([abs(c) for row in cells for c in row if c is not None], default=0.01) or 0.01
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    shown = [
        [("" if c is None else f"{100 * c:+.1f}") for c in [*row, total]]
        for row, total in zip(cells, whole, strict=True)
    ]
    # The year's own column is coloured on the same scale, cut at its ends.
    values = [
        [*row, max(-most, min(most, total))] for row, total in zip(cells, whole, strict=True)
    ]
    return {"data": [{
        "type": "heatmap", "x": [*names, "year"], "y": [str(y) for y in years], "z": values,
        "text": shown, "texttemplate": "%{text}", "textfont": {"size": 11}, "zmid": 0,
        "zmin": -most, "zmax": most, "showscale": False, "xgap": 2, "ygap": 2,
        "colorscale": [[0, "#d9786b"], [0.5, "#f6f7f8"], [1, "#3fa08a"]],
        "hovertemplate": "%{x} %{y}: %{text} %<extra></extra>",
    }], "layout": layout(
        height=90 + 34 * len(years), hovermode="closest",
        xaxis={"type": "category", "side": "top", "showgrid": False},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )}  # fmt: skip


def costs_figure(costs: CostBreakdown, quote: str) -> Figure:
    """From what the prices gave to what was kept."""
    return {"data": [{
        "type": "waterfall", "orientation": "v",
        "x": ["before costs", "fees", "slippage", "kept"],
        "measure": ["absolute", "relative", "relative", "total"],
        "y": [costs.gross, -costs.fees, -costs.slippage, costs.net],
        "text": [f"{v:+,.0f}" for v in (costs.gross, -costs.fees, -costs.slippage, costs.net)],
        "textposition": "outside", "cliponaxis": False,
        "connector": {"line": {"color": "#b9c2cb"}},
        "increasing": {"marker": {"color": GAIN}}, "decreasing": {"marker": {"color": LOSS}},
        "totals": {"marker": {"color": STRATEGY}},
        "hovertemplate": f"%{{x}}: %{{y:,.2f}} {quote}<extra></extra>",
    }], "layout": layout(
        height=320, hovermode="closest", showlegend=False,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        yaxis={"title": {"text": quote}, "tickformat": ",.3~s"},
    )}  # fmt: skip


def exposure_figure(run: AccountRun) -> Figure:
    """How much of the account was in the market."""
    rows = thinned(run.invested, MOST_POINTS // 2)
    return {"data": [{
        "type": "scatter", "mode": "lines", "x": moments(run.times[rows]),
        "y": packed(run.invested[rows]), "fill": "tozeroy", "fillcolor": "rgba(10,108,143,0.18)",
        "line": {"color": STRATEGY, "width": 1, "shape": "hv"}, "name": "invested",
        "hovertemplate": "%{y:.0%}<extra></extra>",
    }], "layout": layout(
        height=220, showlegend=False, xaxis={"type": "date"},
        yaxis={"tickformat": ".0%", "range": [0, 1.02]},
    )}  # fmt: skip


def rolling_sharpe_figure(run: AccountRun, days: int = 90) -> Figure | None:
    """Sharpe ratio of the last days, annualised, with the band luck alone may cause.

    The band is ± 1.96 standard errors of a Sharpe ratio over so many independent days (Lo 2002,
    without the small term in the ratio itself). None when the run is too short.
    """
    returns = run.daily_returns()
    if len(returns) < days + 20:
        return None
    sums = np.concatenate([[0.0], np.cumsum(returns)])
    squares = np.concatenate([[0.0], np.cumsum(returns**2)])
    mean = (sums[days:] - sums[:-days]) / days
    variance = np.maximum((squares[days:] - squares[:-days]) / days - mean**2, 0.0)
    spread = np.sqrt(variance)
    flat = spread < 1e-9
    # Days without any swing have no ratio; zero keeps the band whole.
    sharpe = np.where(flat, 0.0, mean / np.where(flat, 1, spread) * np.sqrt(365))
    error = 1.96 * np.sqrt(365 / days)
    first = first_day(run.times, run.began) + 1
    times = moments((first + np.arange(days - 1, len(returns))) * DAY)
    hidden = {"type": "scatter", "mode": "lines", "x": times, "line": {"width": 0},
              "hoverinfo": "skip", "showlegend": False}  # fmt: skip
    return {"data": [
        {**hidden, "y": packed(sharpe - error)},
        {**hidden, "y": packed(sharpe + error), "fill": "tonexty",
         "fillcolor": "rgba(10,108,143,0.10)"},
        {"type": "scatter", "mode": "lines", "x": times, "y": packed(sharpe), "name": "Sharpe",
         "line": {"color": STRATEGY, "width": 1.6}, "hovertemplate": "%{y:.2f}<extra></extra>"},
    ], "layout": layout(
        height=260, showlegend=False, xaxis={"type": "date"}, yaxis={"tickformat": ".1f"},
    )}  # fmt: skip


def outcomes_figure(run: AccountRun) -> Figure | None:
    """How the closed trades ended, in per cent after costs; None without trades."""
    if not run.trades:
        return None
    ends = np.array([
        float(t.profit_quote) / (float(t.entry_price) * float(t.quantity)) for t in run.trades
    ])  # fmt: skip
    size = max(0.0025, float(np.ptp(ends)) / 40)
    # Bins begin at zero, so that no bar holds winners and losers.
    number = np.floor(ends / size).astype(np.int64)
    bins, counts = np.unique(number, return_counts=True)
    return {
        "data": [
            {
                "type": "bar",
                "x": packed((bins + 0.5) * size),
                "y": packed(counts),
                "width": size * 0.92,
                "marker": {"color": [GAIN if b >= 0 else LOSS for b in bins]},
                "customdata": [[f"{b * size:+.1%}", f"{(b + 1) * size:+.1%}"] for b in bins],
                "hovertemplate": "%{customdata[0]} to %{customdata[1]}: %{y}<extra></extra>",
            }
        ],
        "layout": layout(
            height=260,
            hovermode="closest",
            showlegend=False,
            xaxis={"tickformat": "+.1%"},
            yaxis={"title": {"text": "trades"}},
        ),
    }


def reliability_figure(probability: FloatArray, label: FloatArray, bins: int = 10) -> Figure:
    """Forecast against what came: a calibrated model lies on the diagonal."""
    order = np.argsort(probability, kind="stable")
    groups = [g for g in np.array_split(order, bins) if len(g)]
    said = np.array([probability[g].mean() for g in groups])
    came = np.array([label[g].mean() for g in groups])
    error = np.array([1.96 * np.sqrt(max(c * (1 - c), 1e-9) / len(g))
                      for c, g in zip(came, groups, strict=True)])  # fmt: skip
    low, high = float(min(said.min(), came.min())), float(max(said.max(), came.max()))
    return {"data": [
        {"type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high],
         "line": {"color": "#b9c2cb", "dash": "dot"}, "hoverinfo": "skip", "showlegend": False},
        {"type": "scatter", "mode": "markers+lines", "x": packed(said), "y": packed(came),
         "error_y": {"type": "data", "array": packed(error), "color": "#9fb8c6"},
         "marker": {"color": STRATEGY, "size": 8}, "line": {"color": STRATEGY, "width": 1},
         "text": [f"{len(g):,} forecasts" for g in groups], "showlegend": False,
         "hovertemplate": "said %{x:.1%}, came %{y:.1%} (%{text})<extra></extra>"},
    ], "layout": layout(
        height=320, hovermode="closest",
        xaxis={"tickformat": ".0%", "title": {"text": "probability the model gave"}},
        yaxis={"tickformat": ".0%", "title": {"text": "how often it came true"}},
    )}  # fmt: skip


def fee_figure(run: AccountRun) -> Figure:
    """What would have been left had every fee been 0 to 2 times as high, the trades unchanged."""
    fees = sum(float(e.fill.fee_quote) for e in run.executions)
    net = (float(run.equity[-1]) if len(run.equity) else run.cash) - run.cash
    times = np.linspace(0, 2, 9)
    left = (net + fees - times * fees) / run.cash
    return {"data": [{
        "type": "scatter", "mode": "lines+markers", "x": packed(times), "y": packed(left),
        "line": {"color": STRATEGY, "width": 2}, "marker": {"size": 6},
        "hovertemplate": "fees × %{x:.2f}: %{y:+.1%}<extra></extra>",
    }], "layout": layout(
        height=260, hovermode="closest", showlegend=False,
        xaxis={"title": {"text": "fees, as a multiple of those paid"}},
        yaxis={"tickformat": "+.0%", "rangemode": "tozero", "title": {"text": "total return"}},
    )}  # fmt: skip
