import { ago, belief, chartOptions, colours, done, el, fill, gauge, get, live, money, outcome, percent, price, signed, table, tone, when } from "./common.js";

let chart = null, own = null, hold = null, due = null;

// The four questions everybody comes with, answered before anything else.
function answers(o) {
  const answer = (question, value, mood, ...notes) => el("article", { class: `answer ${mood}` },
    el("h2", { text: question }), el("p", { class: "value" }, value), ...notes.filter(Boolean).map((text) => el("p", { class: "muted", text })));
  const m = o.money, q = o.quote;
  const held = o.positions.map((p) => p.pair.split("/")[0]).join(", ");
  fill("answers",
    answer("Is it healthy?", ...healthy(o)),
    answer("What does it hold?", o.positions.length ? `${held} · ${percent(m.exposure, 0)}` : o.mode ? "Cash only" : "–", "",
      o.mode && `worth ${money(m.equity, q)}, of it ${money(m.cash)} cash`,
      o.positions.length ? (o.positions.every((p) => p.stop) ? "every position has its stop at the exchange" : "a position has NO STOP") : ""),
    answer("What did it earn?", o.mode ? signed(m.profit_today, q) : "–", tone(m.profit_today),
      o.mode && `today, after fees · ${signed(m.profit)} since the start`, o.mode && `just holding: ${signed(m.hold_profit)} · fees so far ${money(m.fees)}`),
    answer("What next, and why?", el("span", { id: "next", text: "–" }), "", ...intentions(o)));
}

function healthy(o) {
  if (!o.mode) return ["Not started", "quiet", "nothing has run yet"];
  if (o.stopped) return ["Stopped", "bad", o.stopped.reason, `since ${when(o.stopped.at)} UTC, by ${o.stopped.who}`];
  const bad = o.health.filter((h) => h.state === "fail"), odd = o.health.filter((h) => h.state === "warn");
  const told = [...bad, ...odd].map((h) => `${h.check}: ${h.detail}`).slice(0, 2);
  if (!o.running) return ["Not running", bad.length ? "bad" : "warn", `last sign of life ${ago(o.beat_age_seconds)}`];
  if (bad.length) return ["Needs you", "bad", ...told];
  if (odd.length) return [odd.length === 1 ? "One warning" : `${odd.length} warnings`, "warn", ...told];
  return ["Healthy", "good", `${o.health.length} checks passed`, `last sign of life ${ago(o.beat_age_seconds)}`];
}

function intentions(o) {
  if (!o.decisions.length) return ["no candle has been decided yet"];
  return o.decisions.slice(0, 3).map((d) => {
    const word = d.verdict === "held" ? "hold" : d.verdict === "refused" ? `${d.action} refused` : d.action;
    return `${d.pair.split("/")[0]} ${word}: ${d.verdict === "refused" ? d.refusals[0]?.rule : d.reasons[0] ?? "no reason given"}`;
  });
}

function cards(o) {
  const m = o.money, q = o.quote;
  const card = (title, value, note, mood = "") =>
    el("dl", { class: "card" }, el("dt", { text: title }), el("dd", { class: mood, text: value }, el("small", { text: note })));
  fill("cards",
    card("Equity", money(m.equity, q), `${money(m.cash)} in cash`),
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
    { title: "Stop", n: true, show: (p) => price(p.stop), tone: (p) => (p.stop ? "" : "bad") }, { title: "Target", n: true, show: (p) => price(p.take_profit) },
  ], o.positions, "Nothing is held."));
  fill("orders", table([
    { title: "Pair", show: (r) => r.pair }, { title: "What", show: (r) => `${r.purpose}: ${r.side} ${r.type}` },
    { title: "Quantity", n: true, show: (r) => r.quantity }, { title: "Price", n: true, show: (r) => price(r.price) }, { title: "State", show: (r) => r.state },
  ], o.open_orders, "No order is open."));
}

const plainName = (rule) => rule.replaceAll("-", " ").replaceAll("_", " ");
const COUNTED = new Set(["emergency stop", "losing streak", "max open positions", "open positions"]);
const show = (l, v) => (v === null || v === undefined ? "–" : COUNTED.has(plainName(l.rule)) ? String(v) : percent(v));

function limits(list) {
  fill("limits", ...(list.length ? list.map((l) => {
    const share = Number(l.used) / (Number(l.limit) || 1), name = plainName(l.rule);
    const mood = l.tripped ? "bad" : share > 0.8 ? "warn" : "good";
    const text = `${show(l, l.used)} of ${show(l, l.limit)}${l.tripped ? ", reached" : ""}`;
    return el("div", { class: "limit" }, gauge(share, mood, `${name}: ${text}`), el("b", { text: show(l, l.used) }), el("span", { text: name }), el("span", { class: l.tripped ? "bad" : "muted", text: `of ${show(l, l.limit)}${l.tripped ? ", reached" : ""}` }));
  }) : [el("p", { class: "empty", text: "Shown while the bot runs." })]));
}

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
  if (!node) return;
  if (!due) { node.textContent = "–"; return; }
  const left = Math.max(0, Math.round((due - Date.now()) / 1000));
  const span = left > 5400 ? `${Math.round(left / 3600)} h` : left > 90 ? `${Math.round(left / 60)} min` : `${left} s`;
  node.textContent = `decides in ${span}`;
}
setInterval(countdown, 1000);

live(async (o) => {
  health(o.health); answers(o); cards(o); thoughts(o); positions(o); limits(o.limits); model(o);
  due = o.running && !o.stopped && o.next_decision_in_seconds !== null && o.next_decision_in_seconds !== undefined ? Date.now() + o.next_decision_in_seconds * 1000 : null;
  countdown();
  await curve();
});
