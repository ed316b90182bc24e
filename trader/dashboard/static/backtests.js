import { chartOptions, el, fill, get, live, percent, table, tone, when } from "./common.js";

const MOST = 4, COLOURS = ["#4c9be8", "#e0a030", "#b07cf0", "#2fb5a0"];
const chosen = new Set((new URLSearchParams(location.search).get("id") ?? "").split(",").filter(Boolean).slice(0, MOST));
let chart = null, curves = [];
const figure = (value, digits = 2) => (value === null || value === undefined ? "–" : Number(value).toFixed(digits));
const share = (value) => (value === null || value === undefined ? "–" : percent(value));
const days = (run) => `${(run.start ?? "").slice(0, 10)} to ${(run.end ?? "").slice(0, 10)}`;
const title = (run) => `${run.strategy ?? run.name} ${(run.pairs ?? []).join(", ")} ${run.timeframe ?? ""}`;

function pick(run, again) {
  const box = el("input", { type: "checkbox", "aria-label": `compare ${title(run)}` });
  box.checked = chosen.has(run.id);
  box.disabled = !box.checked && chosen.size >= MOST;
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(run.id); else chosen.delete(run.id);
    history.replaceState(null, "", chosen.size ? `?id=${[...chosen].join(",")}` : location.pathname);
    again();
  });
  return box;
}

const FIGURES = [["Return", "total_return", share], ["a year", "cagr", share], ["Sharpe", "sharpe", figure], ["Sortino", "sortino", figure], ["Deepest fall", "max_drawdown", share], ["Trades", "trades", (v) => figure(v, 0)],
  ["Winners", "hit_rate", share], ["Profit factor", "profit_factor", figure], ["In the market", "exposure", share], ["Fees", "fees_quote", (v) => figure(v, 0)], ["Luck alone excluded", "dsr", share]];

function compare(runs) {
  document.getElementById("compare").hidden = !runs.length;
  if (!runs.length) return;
  const head = el("tr", {}, el("th", { scope: "col", text: "Figure" }), ...runs.map((run, i) => { const dot = el("i"); dot.style.background = COLOURS[i]; return el("th", { scope: "col", class: "n" }, el("span", { class: "tag" }, dot, title(run))); }));
  const body = FIGURES.map(([name, key, show]) => el("tr", {}, el("th", { scope: "row", text: name }), ...runs.map((run) => el("td", { "data-title": title(run), class: `n ${key === "total_return" ? tone(run.metrics[key]) : ""}`, text: `${show(run.metrics[key])}${run.hold[key] !== null && run.hold[key] !== undefined && ["total_return", "sharpe", "max_drawdown"].includes(key) ? ` (held ${show(run.hold[key])})` : ""}` }))));
  const spans = el("tr", {}, el("th", { scope: "row", text: "Days" }), ...runs.map((run) => el("td", { class: "n", "data-title": title(run), text: days(run) })));
  fill("side", el("table", { class: "stack grid" }, el("thead", {}, head), el("tbody", {}, spans, ...body)));
  if (!chart) chart = LightweightCharts.createChart(document.getElementById("curves"), chartOptions());
  for (const old of curves) chart.removeSeries(old);
  curves = runs.map((run, i) => {
    const line = chart.addSeries(LightweightCharts.LineSeries, { color: COLOURS[i], lineWidth: 2, priceLineVisible: false, priceFormat: { type: "custom", formatter: (v) => `× ${v.toFixed(2)}`, minMove: 0.01 } });
    line.setData(run.curve);
    return line;
  });
  chart.timeScale().fitContent();
}

const again = live(async () => {
  const { runs } = await get("/api/backtests");
  for (const id of [...chosen]) if (!runs.some((run) => run.id === id)) chosen.delete(id);
  fill("list", table([
    { title: "Compare", show: (run) => pick(run, () => again()) },
    { title: "Run", show: (run) => el("a", { href: `/backtests/${run.id}/report`, target: "_blank", rel: "noopener", text: title(run) }) },
    { title: "Days", t: true, show: days }, { title: "Return", n: true, show: (run) => share(run.metrics.total_return), tone: (run) => tone(run.metrics.total_return) }, { title: "Held", n: true, show: (run) => share(run.hold.total_return) },
    { title: "Sharpe", n: true, show: (run) => figure(run.metrics.sharpe) }, { title: "Deepest fall", n: true, show: (run) => share(run.metrics.max_drawdown) }, { title: "Trades", n: true, show: (run) => figure(run.metrics.trades, 0) },
    { title: "Tries", n: true, show: (run) => run.trials ?? "–" }, { title: "Licence", show: (run) => (run.licensed === null || run.licensed === undefined ? "–" : run.licensed ? "granted" : "refused") }, { title: "Made", t: true, show: (run) => when(run.at) },
  ], runs, "No backtest was written yet: python scripts/backtest.py --pair BTC/USD --out runs/first"));
  compare(chosen.size ? (await get(`/api/backtests/compare?id=${[...chosen].join(",")}`)).runs : []);
});
