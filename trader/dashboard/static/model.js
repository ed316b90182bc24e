import { el, fill, get, live, percent, table, when } from "./common.js";

const figure = (value, digits = 3) => (value === null || value === undefined ? "–" : Number(value).toFixed(digits));

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
    { title: "Horizon", show: (h) => `${h.hours} h` }, { title: "Predictions", n: true, show: (h) => h.scores.n?.toLocaleString("en") },
    { title: "Base rate", n: true, show: (h) => percent(h.scores.base_rate) }, { title: "AUC", n: true, show: (h) => figure(h.scores.auc) },
    { title: "Log-loss skill", n: true, show: (h) => percent(h.scores.log_loss_skill, 2) }, { title: "its 90 % interval", n: true, show: (h) => `${percent(h.scores.skill_low, 2)} to ${percent(h.scores.skill_high, 2)}` },
    { title: "Brier skill", n: true, show: (h) => percent(h.scores.brier_skill, 2) }, { title: "Calibration error", n: true, show: (h) => `${figure(h.scores.ece)} (noise ${figure(h.scores.ece_noise_95)})` },
    { title: "Verdict", show: (h) => (h.skilled ? "knows something" : "no better than the base rate") },
  ], model.horizons, "No horizon was scored."));
}

live(async (o) => {
  const data = await get("/api/models");
  fill("use", table([
    { title: "Pair", t: true, show: ([pair]) => pair }, { title: "Speaks", show: ([, id]) => id || "the plain trend rule" }, { title: "Since it was adopted", show: ([pair]) => o.models[pair]?.reason },
  ], Object.entries(data.in_use), "No pair has been decided yet."));
  newest(data.models[0]);
  fill("all", table([
    { title: "Model", t: true, show: (m) => m.id }, { title: "Knows until (UTC)", t: true, show: (m) => when(m.known_through) }, { title: "Trained at", t: true, show: (m) => when(m.trained_at) },
    { title: "AUC per horizon", show: (m) => m.horizons.map((h) => `${h.hours} h ${figure(h.scores.auc)}`).join(", ") }, { title: "Licence", show: (m) => (m.licence.granted ? "granted" : "refused") },
  ], data.models, "No model has been trained yet: run_trader.py train."));
});
