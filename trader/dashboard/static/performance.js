import { el, fill, get, live, minus, money, percent, signed, table, tone } from "./common.js";

const NAMES = { total_return: ["Return", "since the first candle"], cagr: ["Per year", "compounded"], sharpe: ["Sharpe", "daily, × √365"], sortino: ["Sortino", "falls only"], max_drawdown: ["Deepest fall", "from a peak"], hit_rate: ["Winners", "of closed trades"], profit_factor: ["Profit factor", "gains / losses"], exposure: ["In the market", "mean share"], psr: ["Sharpe above zero", "chance; earlier tries not counted"] };
const YEARLY = new Set(["cagr", "sharpe", "sortino", "psr"]);
const FRACTIONS = new Set(["total_return", "cagr", "max_drawdown", "hit_rate", "exposure", "psr"]);

function figures(metrics) {
  if (!metrics) { fill("figures", el("p", { class: "empty", text: "Figures begin with the second closed candle." })); return; }
  fill("figures", ...Object.entries(NAMES).map(([key, [title, note]]) => {
    const value = metrics[key];
    const text = value === null ? "–" : FRACTIONS.has(key) ? percent(value) : minus(value.toFixed(2));
    return el("dl", { class: "card" }, el("dt", { text: title }), el("dd", { class: ["total_return", "cagr"].includes(key) ? tone(value) : "", text }, el("small", { text: value === null && YEARLY.has(key) ? "says something after 30 days" : note })));
  }));
}

function rows(list, empty) {
  return table([
    { title: "From", t: true, show: (p) => p.begins }, { title: "Profit", n: true, show: (p) => signed(p.profit), tone: (p) => tone(p.profit) },
    { title: "%", n: true, show: (p) => percent(p.profit_fraction, 2), tone: (p) => tone(p.profit) }, { title: "Holding", n: true, show: (p) => percent(p.hold_return, 2) },
    { title: "Fees", n: true, show: (p) => money(p.fees) }, { title: "Trades", n: true, show: (p) => `${p.winners} of ${p.trades}` },
  ], [...list].reverse().slice(0, 60), empty, "stack grid");
}

function heat(months) {
  if (!months.length) return el("p", { class: "empty", text: "No month has been traded yet." });
  const years = [...new Set(months.map((m) => m.begins.slice(0, 4)))];
  const names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const head = el("tr", {}, el("th", { scope: "col", text: "Year" }), ...names.map((n) => el("th", { class: "n", scope: "col", text: n })));
  const body = years.map((year) => el("tr", {}, el("th", { scope: "row", text: year }), ...names.map((_, i) => {
    const found = months.find((m) => m.begins.startsWith(`${year}-${String(i + 1).padStart(2, "0")}`));
    const strength = found ? Math.min(4, Math.ceil(Math.abs(found.profit_fraction) / 0.02)) : 0;
    return el("td", { class: found ? `n heat ${found.profit_fraction < 0 ? "loss" : "gain"}-${strength}` : "n", "data-title": names[i], text: found ? percent(found.profit_fraction) : "" });
  })));
  return el("table", { class: "stack grid" }, el("thead", {}, head), el("tbody", {}, ...body));
}

live(async () => {
  const data = await get("/api/performance");
  figures(data.metrics);
  fill("months", heat(data.periods.month));
  fill("weeks", rows(data.periods.week, "No week yet."));
  fill("days", rows(data.periods.day, "No day yet."));
});
