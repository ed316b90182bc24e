import { el, fill, get, live, percent, svg, table, when } from "./common.js";

const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : Number(value).toFixed(digits));
const share = (value, digits = 2) => (value === null || value === undefined ? "–" : percent(value, digits));
// How much each member counts, the loudest first.
const voices = (h) => Object.entries(h.voices).sort((a, b) => b[1] - a[1]).map(([name, voice]) => `${name.replaceAll("_", " ")} ${percent(voice, 0)}`).join(", ") || "–";

function newest(model) {
  const box = document.getElementById("newest");
  box.hidden = !model;
  if (!model) return;
  const badge = document.getElementById("licence");
  badge.textContent = model.licence.granted ? "licence granted" : "licence refused";
  badge.className = `action ${model.licence.granted ? "buy" : "sell"}`;
  document.getElementById("about").textContent = `${model.id}: ${model.type}, ${model.features.length} features, ${model.timeframe} candles of ${model.pairs.join(", ")} (${model.source}), ${when(model.trained_from)} to ${when(model.known_through)} UTC`;
  fill("reasons", ...model.licence.reasons.map((reason) => el("li", { text: reason })));
  fill("scores", table([
    { title: "Horizon", show: (h) => `${h.hours} h` }, { title: "Predictions", n: true, show: (h) => h.scores?.n?.toLocaleString("en") },
    { title: "Base rate", n: true, show: (h) => share(h.scores?.base_rate, 1) }, { title: "AUC", n: true, show: (h) => figure(h.scores?.auc) },
    { title: "Log-loss skill", n: true, show: (h) => share(h.scores?.log_loss_skill) }, { title: "its 90 % interval", n: true, show: (h) => `${share(h.scores?.skill_low)} to ${share(h.scores?.skill_high)}` },
    { title: "Brier skill", n: true, show: (h) => share(h.scores?.brier_skill) }, { title: "Calibration error", n: true, show: (h) => `${figure(h.scores?.ece)} (noise ${figure(h.scores?.ece_noise_95)})` },
    { title: "The vote", show: voices }, { title: "Verdict", show: (h) => (h.skilled ? "knows something" : "no better than the base rate") },
  ], model.horizons, "No horizon was scored."));
}

// What was said (across) against how often it came true (up); on the dashed line they agree.
function diagram(one) {
  const points = one.reliability;
  if (!points.length) return el("p", { class: "empty", text: `${one.horizon_hours} h: drawn from the hundredth scored forecast on.` });
  const all = points.flatMap((p) => [p.predicted, p.observed]), low = Math.max(0, Math.min(...all) - 0.05), high = Math.min(1, Math.max(...all) + 0.05);
  const x = (v) => 42 + ((v - low) / (high - low)) * 240, y = (v) => 250 - ((v - low) / (high - low)) * 230;
  const ticks = [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
  const most = Math.max(...points.map((p) => p.count));
  return svg("svg", { viewBox: "0 0 300 285", class: "reliability", role: "img", "aria-label": `Reliability over ${one.horizon_hours} h: ${points.map((p) => `said ${percent(p.predicted, 0)}, came ${percent(p.observed, 0)}`).join("; ")}` },
    ...ticks.flatMap((t) => [svg("line", { class: "grid", x1: 42, x2: 282, y1: y(t), y2: y(t) }), svg("text", { x: 38, y: y(t) + 4, "text-anchor": "end", text: percent(t, 0) }), svg("text", { x: x(t), y: 266, "text-anchor": "middle", text: percent(t, 0) })]),
    svg("line", { class: "ideal", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }),
    svg("polyline", { class: "curve", points: points.map((p) => `${x(p.predicted)},${y(p.observed)}`).join(" ") }),
    ...points.map((p) => svg("circle", { cx: x(p.predicted), cy: y(p.observed), r: 2.5 + 3 * Math.sqrt(p.count / most) })),
    svg("text", { x: 162, y: 282, "text-anchor": "middle", text: `said, over ${one.horizon_hours} h` }));
}

function record(data) {
  const scores = new Map((data.models[0]?.horizons ?? []).map((h) => [h.hours, h.scores]));
  const state = { ok: "as promised", watch: "watched", doubted: "doubted" };
  fill("live", table([
    { title: "Horizon", t: true, show: (h) => `${h.horizon_hours} h` }, { title: "Scored", n: true, show: (h) => `${h.n.toLocaleString("en")} (${h.independent.toFixed(0)} independent)` },
    { title: "Brier, live", n: true, show: (h) => figure(h.brier, 4) }, { title: "in validation", n: true, show: (h) => figure(scores.get(h.horizon_hours)?.brier, 4) },
    { title: "Brier skill, live", n: true, show: (h) => share(h.brier_skill) }, { title: "in validation", n: true, show: (h) => share(scores.get(h.horizon_hours)?.brier_skill) },
    { title: "Said", n: true, show: (h) => share(h.said, 1) }, { title: "Came", n: true, show: (h) => `${share(h.came, 1)} ± ${share(h.gap_error, 1)}` },
    { title: "Alarm at 100 %", n: true, show: (h) => share(h.evidence, 0) }, { title: "State", show: (h) => el("span", { class: `action ${{ ok: "buy", doubted: "sell" }[h.state] ?? ""}`, text: state[h.state] ?? h.state }) },
  ], data.live, "No forecast has been scored yet: its horizon has to pass first."));
  fill("reliability", ...(data.live.length ? data.live.map(diagram) : [el("p", { class: "empty", text: "Drawn from the hundredth scored forecast on." })]));
}

function bars(id, rows, show, empty) {
  const most = Math.max(...rows.map((row) => row.size), 1e-12);
  fill(id, ...(rows.length ? rows.map((row) => el("div", { class: "bar" }, el("span", { text: row.name, title: row.note }),
    svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { width: (100 * row.size) / most, height: 8 })), el("span", { text: show(row.size) }))) : [el("p", { class: "empty", text: empty })]));
}

live(async (o) => {
  const data = await get("/api/models");
  fill("use", table([
    { title: "Pair", t: true, show: ([pair]) => pair }, { title: "Speaks", show: ([, id]) => id || "the plain trend rule" }, { title: "Why", show: ([pair]) => o.models[pair]?.reason },
    { title: "Doubt", show: ([, id]) => data.doubts[id] ?? "none" },
  ], Object.entries(data.in_use), "No pair has been decided yet."));
  newest(data.models[0]);
  record(data);
  bars("importance", data.importance.map((f) => ({ name: f.text, note: f.feature, size: f.moved })), (v) => `${(v * 100).toFixed(2)} pt`, "Shown once a model is in use.");
  bars("worth", (data.models[0]?.importance ?? []).map((i) => ({ name: i.text, note: `${i.feature}: helped in ${percent(i.folds_helped, 0)} of the folds`, size: i.lost })), (v) => `${(v * 1000).toFixed(2)} mnat`, "Measured when a model is trained.");
  const drift = data.drift;
  document.getElementById("drift-note").textContent = drift ? `Mean index ${figure(drift.mean)}; the highest of any month of the training was ${figure(drift.limit)}: ${drift.unusual ? "UNUSUAL" : "usual"}.` : "";
  bars("drift", (drift?.furthest ?? []).map((f) => ({ name: f.feature, note: f.feature, size: f.index })), (v) => v.toFixed(2), "Shown after a month of forecasts of the model in use.");
  fill("promotions", table([
    { title: "When (UTC)", t: true, show: (p) => when(p.at) }, { title: "Pair", t: true, show: (p) => p.pair }, { title: "Model", show: (p) => p.model || "the plain trend rule" }, { title: "What", t: true, show: (p) => p.what }, { title: "Why", show: (p) => p.reason },
  ], data.promotions, "No model has been put to use yet."));
  fill("all", table([
    { title: "Model", t: true, show: (m) => m.id }, { title: "Pairs", show: (m) => m.pairs.join(", ") }, { title: "Candles", t: true, show: (m) => `${m.timeframe}, ${m.source}` }, { title: "Type", show: (m) => m.type },
    { title: "Knows until", t: true, show: (m) => when(m.known_through) }, { title: "Trained, bot's clock", t: true, show: (m) => when(m.trained_at) }, { title: "Written, real time", t: true, show: (m) => when(m.written_at) },
    { title: "AUC per horizon", show: (m) => m.horizons.map((h) => `${h.hours} h ${figure(h.scores?.auc)}`).join(", ") }, { title: "Licence", show: (m) => (m.licence.granted ? "granted" : "refused") },
    { title: "In use for", show: (m) => Object.keys(data.in_use).filter((pair) => data.in_use[pair] === m.id).join(", ") || "–" },
  ], data.models, "No model has been trained yet: run_trader.py train."));
});
