import { belief, chartOptions, colours, done, el, fill, get, live, money, outcome, percent, price, signed, table, tone, when } from "./common.js";

let chart = null, own = null, hold = null, due = null;

function cards(o) {
  const m = o.money, q = o.quote;
  const card = (title, value, note, mood = "") =>
    el("dl", { class: "card" }, el("dt", { text: title }), el("dd", { class: mood, text: value }, el("small", { text: note })));
  fill("cards",
    card("Equity", money(m.equity, q), `${money(m.cash)} in cash`),
    card("Today", signed(m.profit_today, q), "realised and open, UTC day", tone(m.profit_today)),
    card("Since the start", signed(m.profit, q), `just holding: ${signed(m.hold_profit)}`, tone(m.profit)),
    card("Fees paid", money(m.fees, q), `${m.trades} closed trades`),
    card("Drawdown", percent(m.drawdown), "from the highest equity", m.drawdown > 0.1 ? "warn" : ""),
    card("Exposure", percent(m.exposure), "of the equity is in the market"));
}

function health(list) {
  fill("health", ...list.map((h) => el("li", { class: `chip ${h.state}`, title: h.detail }, el("b", { text: h.check }), el("span", { text: h.detail }))));
}

function thoughts(o) {
  const tiles = o.decisions.map((d) => el("article", { class: "tile" },
    el("header", {}, el("h3", { text: d.pair }), el("span", { class: "muted", text: price(d.price) }), done(d)),
    el("p", { class: "muted", text: `candle closed ${when(d.closed_at)} UTC · ${belief(d)}` }),
    el("meter", { min: 0, max: 1, value: d.confidence, "aria-label": belief(d) }),
    el("ul", {}, ...d.reasons.map((r) => el("li", { text: r }))),
    el("p", { class: `verdict ${d.verdict === "refused" ? "warn" : ""}`, text: outcome(d) })));
  fill("decisions", ...(tiles.length ? tiles : [el("p", { class: "empty", text: "No candle has been decided yet." })]));
}

function positions(o) {
  fill("positions", table([
    { title: "Pair", show: (p) => p.pair }, { title: "Quantity", n: true, show: (p) => p.quantity },
    { title: "Entry", n: true, show: (p) => price(p.entry_price) }, { title: "Now", n: true, show: (p) => price(p.price) },
    { title: "Profit", n: true, show: (p) => signed(p.unrealised), tone: (p) => tone(p.unrealised) },
    { title: "Stop", n: true, show: (p) => price(p.stop) }, { title: "Target", n: true, show: (p) => price(p.take_profit) },
  ], o.positions, "Nothing is held."));
  fill("orders", table([
    { title: "Pair", show: (r) => r.pair }, { title: "What", show: (r) => `${r.purpose}: ${r.side} ${r.type}` },
    { title: "Quantity", n: true, show: (r) => r.quantity }, { title: "Price", n: true, show: (r) => price(r.price) }, { title: "State", show: (r) => r.state },
  ], o.open_orders, "No order is open."));
}

function limits(list) {
  fill("limits", ...(list.length ? list.map((l) => el("div", { class: "limit" },
    el("div", {}, el("span", { text: l.rule }), el("span", { class: l.tripped ? "bad" : "muted", text: `${show(l, l.used)} of ${show(l, l.limit)}${l.tripped ? ", reached" : ""}` })),
    el("meter", { min: 0, max: Number(l.limit) || 1, high: (Number(l.limit) || 1) * 0.8, optimum: 0, value: Number(l.used) || 0, "aria-label": l.rule }))) : [el("p", { class: "empty", text: "Shown while the bot runs." })]));
}
const COUNTED = new Set(["emergency-stop", "losing-streak", "max-open-positions"]);
const show = (l, v) => (v === null || v === undefined ? "–" : COUNTED.has(l.rule) ? String(v) : percent(v));

function model(o) {
  const rows = Object.entries(o.models).map(([pair, m]) => el("p", {}, el("b", { text: `${pair}: ` }), document.createTextNode(`${m.model_id || "plain trend rule"}. ${m.reason}`)));
  if (o.training) rows.push(el("p", { text: `Training: ${o.training.stage ?? o.training}` }), el("progress", { max: 1, value: o.training.fraction ?? null, "aria-label": "training" }));
  fill("model", ...(rows.length ? rows : [el("p", { class: "empty", text: "No model speaks yet: the plain trend rule decides." })]));
}

async function curve() {
  const data = await get("/api/equity");
  const empty = data.equity.length < 2;
  document.getElementById("equity-empty").hidden = !empty;
  document.getElementById("equity").hidden = empty;
  if (empty) return;
  const c = colours();
  if (!chart) {
    chart = LightweightCharts.createChart(document.getElementById("equity"), chartOptions());
    hold = chart.addSeries(LightweightCharts.LineSeries, { color: c.ink, lineWidth: 1, priceLineVisible: false, lastValueVisible: false });
    own = chart.addSeries(LightweightCharts.LineSeries, { color: c.accent, lineWidth: 2, priceLineVisible: false });
  }
  own.setData(data.equity);
  hold.setData(data.hold);
  chart.timeScale().fitContent();
}

function countdown() {
  const node = document.getElementById("next");
  if (!due) { node.textContent = ""; return; }
  const left = Math.max(0, Math.round((due - Date.now()) / 1000));
  node.textContent = left > 5400 ? `next candle closes in ${Math.round(left / 3600)} h` : left > 90 ? `next candle closes in ${Math.round(left / 60)} min` : `next candle closes in ${left} s`;
}
setInterval(countdown, 1000);

live(async (o) => {
  cards(o); health(o.health); thoughts(o); positions(o); limits(o.limits); model(o);
  due = o.running && o.next_decision_in_seconds !== null && o.next_decision_in_seconds !== undefined ? Date.now() + o.next_decision_in_seconds * 1000 : null;
  countdown();
  await curve();
});
