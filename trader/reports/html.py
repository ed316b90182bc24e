"""The report of a backtest: one HTML file that opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import numpy as np

from trader.performance import drawdowns
from trader.reports import figures as fig
from trader.reports.lots import Holding, Sale, holdings
from trader.simulation.backtest import BacktestResult
from trader.simulation.runs import AccountRun

_ACCOUNTS = ("strategy", "buy_and_hold", "vol_target_hold", "trend")

# name, how it is shown, what it means to a person
METRICS: tuple[tuple[str, str, str], ...] = (
    ("total_return", "+.1%", "Total return: what the account gained or lost, after all costs"),
    ("cagr", "+.1%", "Per year: the steady yearly growth with the same end"),
    ("volatility", ".1%", "Volatility: how much the worth swings in a year"),
    (
        "sharpe",
        ".2f",
        "Sharpe: return for each unit of swing; above 1 is rare, above 2 suspicious",
    ),
    ("sortino", ".2f", "Sortino: the same, counting only falls"),
    ("calmar", ".2f", "Calmar: yearly growth over the deepest fall"),
    ("max_drawdown", ".1%", "Deepest fall below an earlier peak"),
    ("trades", ",.0f", "Closed trades"),
    ("hit_rate", ".0%", "Winners among them"),
    ("profit_factor", ".2f", "Profit factor: money won for each unit lost"),
    ("exposure", ".0%", "Exposure: share of the account in the market, on average"),
    ("turnover", ".1f", "Turnover: times the account was traded in a year"),
    ("fees_quote", ",.0f", "Fees paid"),
    ("psr", ".0%", "Chance that the true Sharpe is above zero, were this the only try"),
    ("dsr", ".0%", "The same after counting all tries made on this data; believe it from 95 % on"),
)


def render_report(result: BacktestResult) -> str:
    """The whole page as text."""
    charts: dict[str, fig.Figure] = {}
    body = "\n".join(_sections(result, charts))
    title = f"{', '.join(map(str, result.pairs))} {result.timeframe}: {result.strategy}"
    return (
        _PAGE.replace("{{title}}", html.escape(title))
        .replace("{{style}}", _STYLE)
        .replace("{{body}}", body)
        .replace("{{charts}}", _script_safe(json.dumps(charts, separators=(",", ":"))))
        .replace("{{plotly}}", _plotly())
    )


def _sections(result: BacktestResult, charts: dict[str, fig.Figure]) -> list[str]:
    runs = {"strategy": result.run, **yardsticks(result)}
    costs = result.run.costs(result.slippage_quote)

    def chart(name: str, figure: fig.Figure | None) -> str:
        if figure is None:
            return ""
        charts[name] = figure
        return f'<div class="chart" id="{name}"></div>'

    parts = [
        _head(result),
        _cards(result),
        _section("Worth of the account", chart("equity", fig.equity_figure(runs, result.quote)),
                 "After fees and slippage, marked at every candle's close. The yardsticks ran "
                 "through the same engine with the same costs."),
        _section("Trades on candles", _trade_charts(result, chart),
                 "Drag to zoom, double-click to go back; click a triangle to read why. A click "
                 "on a row of the table of trades below shows that trade here."),
        _section("Numbers", _metrics_table(result),
                 "In small print the range that holds nine of ten resampled histories "
                 "(stationary bootstrap)."),
        _section("Month by month", chart("months", fig.months_figure(result.run)),
                 "Return in per cent."),
        '<div class="pair">',
        _section("Where the money went", chart("costs", fig.costs_figure(costs, result.quote))),
        _section("Had fees been different", chart("feescale", fig.fee_figure(result.run)),
                 "The same trades with 0 to 2 times the fees."),
        "</div>",
        _section("How much was in the market", chart("exposure", fig.exposure_figure(result.run))),
        '<div class="pair">',
        _optional("Sharpe of the last 90 days",
                  chart("rolling", fig.rolling_sharpe_figure(result.run)),
                  "The band is what luck alone moves it by."),
        _optional("How trades ended", chart("outcomes", fig.outcomes_figure(result.run)),
                  "Per trade, after costs."),
        "</div>",
        _calibration(result, chart),
        _section("Deepest falls", _falls_table(result.run)),
        _optional("Trades", _trades_table(result)),
        _section("What to think of it", _caveats(result)),
    ]  # fmt: skip
    return [part for part in parts if part]


def _section(title: str, content: str, note: str = "") -> str:
    told = f'<p class="note">{html.escape(note)}</p>' if note else ""
    return f"<section><h2>{html.escape(title)}</h2>{told}{content}</section>"


def _optional(title: str, content: str, note: str = "") -> str:
    return _section(title, content, note) if content else ""


def _head(result: BacktestResult) -> str:
    pairs = ", ".join(map(str, result.pairs))
    costs = result.document["costs"]
    return (
        f"<header><p class='kicker'>Backtest · PAPER · not a promise</p><h1>{html.escape(pairs)}"
        f" <span>{result.timeframe} candles, {html.escape(result.strategy)}</span></h1>"
        f"<p class='note'>{result.span.start:%d %b %Y} to {result.span.last:%d %b %Y} (UTC) · "
        f"{result.document['candles']:,} candles · starts with {result.run.cash:,.0f} "
        f"{result.quote} · fees {_bp(costs['maker_bp'])} maker, {_bp(costs['taker_bp'])} taker, "
        f"slippage {_bp(costs['slippage_bp'])}</p></header>"
    )


def _bp(value: float | None) -> str:
    return "by the table of the date" if value is None else f"{value:g} bp"


def shown(value: Any, form: str) -> str:
    """A number as people read it; an en dash where there is none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    return format(value, form).replace("-", "−")


def exactly(amount: Decimal) -> str:
    """All digits of a price or quantity; only what has no end, such as a mean, is rounded.

    >>> exactly(Decimal("62728.25")), exactly(Decimal("1E-8")), exactly(Decimal(200) / 3)
    ('62,728.25', '0.00000001', '66.6666667')
    """
    if len(amount.normalize().as_tuple().digits) > 12:
        amount = Decimal(f"{amount:.9g}")
    return f"{amount:,f}"


def _cards(result: BacktestResult) -> str:
    m = result.document["metrics"]
    hold = result.document["baselines"].get("buy_and_hold", {})
    own, held = m.get("total_return") or 0.0, hold.get("total_return")
    cards = [
        ("Total return", shown(m.get("total_return"), "+.1%"),
         f"buy and hold {shown(held, '+.1%')}", "good" if own >= 0 else "bad"),
        ("Deepest fall", shown(m.get("max_drawdown"), ".1%"),
         f"buy and hold {shown(hold.get('max_drawdown'), '.1%')}", ""),
        ("Sharpe", shown(m.get("sharpe"), ".2f"), _interval(result.document), ""),
        ("Trades", shown(m.get("trades"), ",.0f"), f"{shown(m.get('hit_rate'), '.0%')} won", ""),
        ("Fees", f"{shown(m.get('fees_quote'), ',.0f')} {result.quote}",
         f"{shown((m.get('fees_quote') or 0) / result.run.cash, '.1%')} of the start", ""),
        ("Likely more than luck", shown(m.get("dsr"), ".0%"),
         f"after {result.document['trials']:,} tries", ""),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f'<div class="card {tone}"><p>{html.escape(name)}</p><b>{html.escape(value)}</b>'
        f"<small>{html.escape(more)}</small></div>"
        for name, value, more, tone in cards
    ) + "</div>"  # fmt: skip


def _interval(document: Mapping[str, Any]) -> str:
    low, high = (document.get("intervals") or {}).get("sharpe", (None, None))
    if low is None:
        return f"buy and hold {shown(document['baselines']['buy_and_hold'].get('sharpe'), '.2f')}"
    return f"90 %: {shown(low, '.2f')} to {shown(high, '.2f')}"


def _trade_charts(result: BacktestResult, chart: Any) -> str:
    parts = []
    for pair, candles in result.histories.items():
        name = f"trades-{pair.slug}"
        parts.append(f"<h3>{pair}</h3>" if len(result.histories) > 1 else "")
        parts.append(chart(name, fig.trades_figure(pair, candles, result.run.executions)))
        parts.append(f'<div class="why" id="why-{name}" aria-live="polite"></div>')
    return "".join(parts)


def yardsticks(result: BacktestResult) -> dict[str, AccountRun]:
    """The baselines to show: a strategy that is one of them is not shown twice."""
    return {key: run for key, run in result.baselines.items() if run is not result.run}


def _metrics_table(result: BacktestResult) -> str:
    document = result.document
    columns = {"strategy": document["metrics"], **document["baselines"]}
    keys = [key for key in _ACCOUNTS if key == "strategy" or key in yardsticks(result)]
    titles = [fig.NAMES[key] for key in keys]
    rows = []
    for name, form, words in METRICS:
        title, _, rest = words.partition(": ")
        explained = f"<small>{html.escape(rest)}</small>" if rest else ""
        figures = [
            f"{shown(columns[key].get(name), form)}"
            f"{_range(document, name, form) if key == 'strategy' else ''}"
            for key in keys
        ]
        cells = _cells(titles, figures)
        rows.append(f"<tr><th>{html.escape(title)}{explained}</th>{cells}</tr>")
    return _table(["", *titles], rows)


def _range(document: Mapping[str, Any], name: str, form: str) -> str:
    """The 90 % range of a figure, and what the share of winners had to be, in small print."""
    even = document.get("break_even_hit_rate")
    if name == "hit_rate" and even is not None:
        return f"<small>{shown(even, form)} needed to break even</small>"
    found = (document.get("intervals") or {}).get(name)
    if found is None:
        return ""
    return f"<small>{shown(found[0], form)} to {shown(found[1], form)}</small>"


def _table(titles: Sequence[str], rows: list[str], *, long: bool = False) -> str:
    kind = "scroll long" if long else "scroll"
    head = "".join(f"<th>{title}</th>" for title in titles)
    return (
        f'<div class="{kind}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(titles: Sequence[str], contents: Sequence[str], tones: Sequence[str] = ()) -> str:
    """Cells that bear the title of their column: on a phone there are no columns."""
    tones = tones or [""] * len(contents)
    return "".join(
        f'<td data-title="{title}" class="{tone}">{content}</td>'
        for title, content, tone in zip(titles, contents, tones, strict=True)
    )


def worst_falls(run: AccountRun, most: int = 5) -> list[tuple[int, int, int | None, float]]:
    """(peak, bottom, recovery or None, depth) of the deepest falls; moments in Unix seconds."""
    times, equity = run.curve()
    under = drawdowns(equity)
    edges = np.diff(np.concatenate([[0], (under > 0).astype(np.int8), [0]]))
    falls: list[tuple[int, int, int | None, float]] = []
    starts, ends = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    for begin, end in zip(starts, ends, strict=True):
        bottom = int(begin + np.argmax(under[begin:end]))
        back = int(times[end]) if end < len(times) else None
        falls.append((int(times[begin - 1]), int(times[bottom]), back, float(under[bottom])))
    falls.sort(key=lambda fall: -fall[3])
    return falls[:most]


def _falls_table(run: AccountRun) -> str:
    def day(second: int) -> str:
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d}"

    titles = ("peak", "bottom", "recovered", "depth", "length")
    rows = []
    for peak, bottom, back, depth in worst_falls(run):
        length = f"{(back - peak) / 86400:,.0f} days" if back else "not yet recovered"
        facts = (day(peak), day(bottom), day(back) if back else "–", shown(-depth, ".1%"), length)
        rows.append(f"<tr>{_cells(titles, facts)}</tr>")
    return (
        _table(titles, rows) if rows else "<p>The account never fell below an earlier worth.</p>"
    )


def _trades_table(result: BacktestResult, most: int = 400) -> str:
    sold = [(h, h.sale) for h in holdings(result.run.executions) if h.sale is not None]
    if not sold:
        return "<p>No trade was closed in this time.</p>"
    titles = (
        "pair", "bought", "bought at", "sold", "sold at", "quantity", f"result {result.quote}",
        "%", "ended by",
    )  # fmt: skip
    note = (
        "A row is what was bought at one moment and sold at one other, first in, first out: "
        f"{len(sold):,} for {len(result.run.trades):,} closed trades. A trade is all that one "
        "order sold, held against the mean cost of its position."
    )
    if len(sold) > most:
        note += f" Shown are the last {most}; all are in trades.csv."
    rows = [_sale_row(titles, holding, sale) for holding, sale in reversed(sold[-most:])]
    return f'<p class="note">{note}</p>' + _table(titles, rows, long=True)


def _sale_row(titles: Sequence[str], holding: Holding, sale: Sale) -> str:
    profit = float(sale.profit_quote)
    cost = float(holding.entry_price) * float(holding.quantity)
    share = profit / cost if cost else None
    tone = "good" if profit >= 0 else "bad"
    span = f"{holding.entry_at.timestamp():.0f} {sale.at.timestamp():.0f}"
    facts = (
        str(holding.pair), f"{holding.entry_at:%Y-%m-%d %H:%M}", exactly(holding.entry_price),
        f"{sale.at:%Y-%m-%d %H:%M}", exactly(sale.price), exactly(holding.quantity),
        shown(profit, "+,.2f"), shown(share, "+.1%"), str(sale.purpose),
    )  # fmt: skip
    cells = _cells(titles, facts, ("",) * 6 + (tone, tone, ""))
    return (
        f'<tr class="trade" tabindex="0" data-chart="trades-{holding.pair.slug}" '
        f'data-span="{span}">{cells}</tr>'
    )


def _calibration(result: BacktestResult, chart: Any) -> str:
    known = [p for p in result.predictions if p.label is not None]
    measured = result.document.get("calibration")
    if len(known) < 50 or not measured:
        return ""
    probability = np.array([p.probability for p in known])
    label = np.array([float(p.label or 0) for p in known])
    facts = [
        ("forecasts", shown(measured.get("n"), ",.0f")),
        ("came true", shown(measured.get("base_rate"), ".1%")),
        ("AUC (0.5 is none)", shown(measured.get("auc"), ".3f")),
        (
            "skill over the base rate known at the time",
            shown(measured.get("log_loss_skill"), "+.2%"),
        ),
        ("calibration error", shown(measured.get("ece"), ".3f")),
        ("of which noise alone", shown(measured.get("ece_noise_95"), ".3f")),
    ]
    line = " · ".join(f"{name} <b>{value}</b>" for name, value in facts)
    figure = chart("reliability", fig.reliability_figure(probability, label))
    return _section(
        "Does a forecast of 60 % come true 60 % of the time?", f"<p>{line}</p>{figure}",
        "Out of sample only: each forecast was made by a model that could not have seen it.",
    )  # fmt: skip


def _caveats(result: BacktestResult) -> str:
    document = result.document
    lines = [
        "Past prices are one path among many. Halve the Sharpe ratio before planning with it.",
        f"Counted: {document['trials_counted']['words']}. The deflated figure above takes the "
        "best of that many lucky coins into account.",
        "Decisions see closed candles only and are filled from the next one on, at the worse of "
        "the prices in doubt: inside a candle the stop is met before the target.",
        *result.notes,
    ]
    licence = document.get("licence") or {}
    for reason in licence.get("reasons", []):
        lines.append(f"Licence: {reason}")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul><p class='note'>Digest of all decisions, orders and fills: " + (
        f"<code>{document['digest']}</code></p>"
    )


def _plotly() -> str:
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return _script_safe(script)


def _script_safe(text: str) -> str:
    # Inside a <script> only this sequence could end it early.
    return text.replace("</script", "<\\/script")


_STYLE = """
:root{color-scheme:light;--ink:#17212b;--muted:#5d6a76;--line:#e1e6ea;--paper:#fff;--back:#f3f5f7;
--good:#13806a;--bad:#b83a2c;--own:#0a6c8f}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);line-height:1.5;
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 60px}
header{margin:0 0 20px}
.kicker{margin:0;color:var(--own);font-weight:600;font-size:13px;letter-spacing:.02em}
h1{margin:2px 0 4px;font-size:32px;line-height:1.15;letter-spacing:-.01em}
h1 span{color:var(--muted);font-weight:400;font-size:.62em;white-space:nowrap}
h2{margin:0 0 4px;font-size:18px}h3{margin:14px 0 0;font-size:15px}
.note{margin:0 0 8px;color:var(--muted);font-size:13.5px}
section,.card{background:var(--paper);border:1px solid var(--line);border-radius:10px}
section{padding:18px 20px;margin:0 0 16px;min-width:0}
.cards{display:grid;grid-template-columns:repeat(6,1fr);gap:12px;margin:0 0 16px}
.card{padding:12px 14px;min-width:0}
.card p{margin:0;color:var(--muted);font-size:13px}
.card b{display:block;font-size:23px;line-height:1.3;font-variant-numeric:tabular-nums;
white-space:nowrap}
.card small{color:var(--muted);font-size:12.5px}
.good b,td.good{color:var(--good)}.bad b,td.bad{color:var(--bad)}
tbody td small{display:block;color:var(--muted);font-size:12px}
tr.trade{cursor:pointer}tr.trade:hover,tr.trade:focus-visible{background:var(--back)}
.why:empty{display:none}.why{margin:8px 0 0;padding:10px 14px;border-left:3px solid var(--own);
background:var(--back);border-radius:0 8px 8px 0}
.why p{margin:0;overflow-wrap:anywhere}.why p+p{color:var(--muted);font-size:13.5px}
.why p.reason{color:var(--ink);font-size:14px;margin-top:4px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px}
.pair:empty{display:none}.pair>:only-child{grid-column:1/-1}
.scroll{overflow-x:auto;background:
linear-gradient(90deg,var(--paper) 40%,transparent) left/2.4rem 100% local,
linear-gradient(-90deg,var(--paper) 40%,transparent) right/2.4rem 100% local,
linear-gradient(90deg,#17212b44,transparent) left/.7rem 100% scroll,
linear-gradient(-90deg,#17212b44,transparent) right/.7rem 100% scroll;background-repeat:no-repeat}
.scroll.long{max-height:560px;overflow-y:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
thead th{position:sticky;top:0;background:var(--paper);color:var(--muted);font-weight:600;
font-size:13px;white-space:nowrap}
th,td{padding:7px 10px;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0}
tbody th{font-weight:500}tbody td{white-space:nowrap}
tbody th small{display:block;color:var(--muted);font-weight:400;font-size:12.5px}
code{font-size:12px;overflow-wrap:anywhere}
li{margin:4px 0}
footer{color:var(--muted);font-size:13px}
@media(max-width:900px){.cards{grid-template-columns:repeat(3,1fr)}.pair{grid-template-columns:
minmax(0,1fr)}}
@media(max-width:520px){main{padding:18px 12px 40px}h1{font-size:25px}h1 span{display:block;
white-space:normal}section{padding:14px 12px}.cards{grid-template-columns:repeat(2,1fr);gap:8px}
.card b{font-size:20px}th,td{padding:6px 7px}table{font-size:13px}tbody th small{font-size:11.5px}
thead{display:none}
tbody tr{display:grid;grid-template-columns:1fr 1fr;gap:4px 12px;padding:9px 0;
border-bottom:1px solid var(--line)}tbody tr>th{grid-column:1/-1;border:0;
padding:0;font-weight:600}
tbody td{border:0;padding:0;text-align:left;white-space:normal;overflow-wrap:anywhere}
tbody td::before{content:attr(data-title);display:block;color:var(--muted);font-size:11.5px}}
@media print{body{background:#fff}section{break-inside:avoid}}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{title}}</title><style>{{style}}</style></head>
<body><main>{{body}}</main>
<script>{{plotly}}</script>
<script type="application/json" id="charts">{{charts}}</script>
<script>
(function () {
  var charts = JSON.parse(document.getElementById('charts').textContent);
  var small = window.matchMedia('(max-width:520px)').matches;
  Object.keys(charts).forEach(function (id) {
    var c = charts[id];
    if (small && c.layout.height > 300) c.layout.height = Math.max(260, c.layout.height * 0.78);
    if (small && c.layout.updatemenus) delete c.layout.updatemenus;
    if (small && id === 'months') {
      c.data[0].textfont.size = 9;
      c.data[0].text = c.data[0].text.map(function (row) {
        return row.map(function (t) { return t === '' ? '' : String(Math.round(parseFloat(t))); });
      });
      c.data[0].x = ['J', 'F', 'M', 'A', 'M ', 'J ', 'J  ', 'A ', 'S', 'O', 'N', 'D', 'year'];
    }
    Plotly.newPlot(id, c.data, c.layout, {responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ['lasso2d', 'select2d'], displayModeBar: small ? false : 'hover'});
  });
  function tell(id, parts) {
    var box = document.getElementById('why-' + id);
    box.textContent = '';
    parts.slice(0, 3).forEach(function (part, i) {
      var line = document.createElement('p');
      if (i === 0) { var b = document.createElement('b'); b.textContent = part; line.append(b); }
      else line.textContent = part;
      if (i === 2) line.className = 'reason';
      box.append(line);
    });
  }
  function show(row) {
    var id = row.dataset.chart, chart = document.getElementById(id);
    var span = row.dataset.span.split(' ').map(function (s) { return 1000 * Number(s); });
    var room = Math.max(0.6 * (span[1] - span[0]), 8 * 3600000);
    var seen = [span[0] - room, span[1] + room], candles = chart._fullData[0];
    var low = Infinity, high = 0;
    for (var i = 0; i < candles.x.length; i++) {
      var at = +new Date(candles.x[i]);
      if (at < seen[0] || at > seen[1]) continue;
      low = Math.min(low, candles.low[i]);
      high = Math.max(high, candles.high[i]);
    }
    var change = {'xaxis.range': seen};
    if (high > 0) {
      var scale = chart.layout.yaxis.type === 'log' ? Math.log10 : Number;
      var edge = 0.05 * (scale(high) - scale(low));
      change['yaxis.range'] = [scale(low) - edge, scale(high) + edge];
    }
    Plotly.relayout(chart, change);
    chart.scrollIntoView({behavior: 'smooth', block: 'center'});
    chart.data.forEach(function (trace) {
      if (!trace.customdata) return;
      trace.customdata.forEach(function (parts) {
        if (trace.name === 'sold' && Math.abs(1000 * parts[3] - span[1]) < 1000) tell(id, parts);
      });
    });
  }
  Object.keys(charts).forEach(function (id) {
    if (id.indexOf('trades-') === 0)
      document.getElementById(id).on('plotly_click', function (event) {
        var point = event.points.find(function (p) { return p.customdata; });
        if (point) tell(id, point.customdata);
      });
  });
  document.querySelectorAll('tr.trade').forEach(function (row) {
    row.addEventListener('click', function () { show(row); });
    row.addEventListener('keydown', function (e) {
      if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); show(row); }
    });
  });
})();
</script></body></html>
"""
