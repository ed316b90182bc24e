import { belief, chartOptions, colours, decimals, decimalsByPair, done, el, fill, get, live, price, table, verdict, when } from "./common.js";

const L = () => LightweightCharts;
const query = new URLSearchParams(location.search);
const PALETTE = ["#4c9be8", "#e0a030", "#b07cf0", "#2fb5a0", "#e0709a", "#9aa860"];
let chosen = query.get("pair"), names = (query.get("indicators") ?? "ema_20,ema_50").split(",").filter(Boolean);
let chart = null, series = null, volume = null, marks = null, sure = null, lines = [], drawn = new Map(), stops = [], fitted = "";

function remember() {
  const now = new URLSearchParams({ ...(chosen ? { pair: chosen } : {}), indicators: names.join(",") });
  history.replaceState(null, "", `?${now}`);
}

function tabs(pairs, again) {
  if (!chosen && pairs.length) chosen = pairs[0];
  fill("pairs", ...pairs.map((pair) => {
    const button = el("button", { type: "button", text: pair, "aria-pressed": pair === chosen ? "true" : "false" });
    button.addEventListener("click", () => { chosen = pair; remember(); again(); });
    return button;
  }));
}

async function choices(again) {
  const { indicators, most } = await get("/api/indicators");
  fill("names", ...indicators.map((i) => el("option", { value: i.name, text: `${i.group}: ${i.meaning}` })));
  const known = new Set(indicators.map((i) => i.name)), box = document.getElementById("add");
  names = names.filter((name) => known.has(name)).slice(0, most);
  const take = () => {
    if (!known.has(box.value)) return;
    if (!names.includes(box.value) && names.length < most) names.push(box.value);
    box.value = ""; remember(); again();
  };
  box.addEventListener("input", take);
  document.getElementById("choose").addEventListener("submit", (event) => { event.preventDefault(); take(); });
  document.getElementById("patterns").addEventListener("change", again);
}

function tags(again) {
  fill("chosen", ...names.map((name, place) => {
    const dot = el("i"); dot.style.background = PALETTE[place % PALETTE.length];
    const off = el("button", { type: "button", text: "×", "aria-label": `remove ${name}` });
    off.addEventListener("click", () => { names = names.filter((other) => other !== name); remember(); again(); });
    return el("span", { class: "tag" }, dot, name, off);
  }));
}

function open(box, c) {
  chart = L().createChart(box, chartOptions());
  series = chart.addSeries(L().CandlestickSeries, { upColor: c.good, downColor: c.bad, wickUpColor: c.good, wickDownColor: c.bad, borderVisible: false });
  volume = chart.addSeries(L().HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
  marks = L().createSeriesMarkers(series, []);
  sure = chart.addSeries(L().BaselineSeries, {
    baseValue: { type: "price", price: 0.5 }, topLineColor: c.good, bottomLineColor: c.bad, topFillColor1: c.good + "44", topFillColor2: c.good + "08", bottomFillColor1: c.bad + "08", bottomFillColor2: c.bad + "44",
    lineWidth: 1, priceLineVisible: false, title: "belief", priceFormat: { type: "custom", formatter: (v) => `${Math.round(v * 100)} %`, minMove: 0.001 },
    autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }) }, 1);
}

function overlays(data) {
  for (const old of drawn.values()) chart.removeSeries(old);
  drawn = new Map();
  let pane = 2;
  data.indicators.forEach((one, place) => {
    const where = one.on_price ? 0 : pane++;
    const line = chart.addSeries(L().LineSeries, { color: PALETTE[place % PALETTE.length], lineWidth: 1.5, priceLineVisible: false, lastValueVisible: !one.on_price, crosshairMarkerVisible: false, title: one.on_price ? "" : one.name }, where);
    line.setData(one.points);
    drawn.set(one.name, line);
  });
  const panes = chart.panes();
  panes.forEach((one, place) => one.setStretchFactor(place === 0 ? 5 : 1.1));
}

// Each protective stop is a red step from the moment it was placed to the moment it ended.
function stopLines(data, c) {
  for (const old of stops) chart.removeSeries(old);
  const first = data.candles[0].time, last = data.candles.at(-1).time, snap = (t) => t - (t % data.seconds);
  stops = data.stops.filter((s) => (s.to ?? last) >= first).slice(-40).map((s) => {
    const from = Math.max(first, snap(s.from)), to = Math.max(from + data.seconds, Math.min(last, snap(s.to ?? last)));
    const line = chart.addSeries(L().LineSeries, { color: c.bad, lineWidth: 1, lineStyle: 2, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, autoscaleInfoProvider: () => null });
    line.setData([{ time: from, value: s.price }, { time: to, value: s.price }]);
    return line;
  });
}

function signs(data, c) {
  const first = data.candles[0].time, snap = (t) => t - (t % data.seconds), buy = (f) => f.side === "buy";
  const fills = data.fills.filter((f) => f.time >= first).map((f) => ({
    time: snap(f.time), position: buy(f) ? "belowBar" : "aboveBar", color: buy(f) ? c.good : c.bad,
    shape: buy(f) ? "arrowUp" : "arrowDown", size: 1.4, text: f.purpose || f.side }));
  let named = -Infinity;
  const shapes = document.getElementById("patterns").checked ? data.patterns.map((p) => {
    // Names that would lie on each other are left to the list below.
    const room = p.time - named >= 24 * data.seconds && !fills.some((f) => Math.abs(f.time - p.time) < 12 * data.seconds);
    if (room) named = p.time;
    return { time: p.time, position: p.direction === "bullish" ? "belowBar" : "aboveBar", color: { bullish: c.good, bearish: c.bad }[p.direction] ?? c.ink, shape: "circle", size: 0.4, text: room ? p.names[0] : "" };
  }) : [];
  marks.setMarkers([...fills, ...shapes].sort((a, b) => a.time - b.time));
}

function draw(data) {
  const box = document.getElementById("candles"), c = colours();
  document.getElementById("candles-empty").hidden = data.candles.length > 0;
  box.hidden = !data.candles.length;
  if (!data.candles.length) return;
  if (!chart) open(box, c);
  const digits = decimals(data.candles.slice(-200).map((k) => k.close));
  series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
  series.setData(data.candles);
  volume.setData(data.candles.map((k) => ({ time: k.time, value: k.volume, color: (k.close >= k.open ? c.good : c.bad) + "44" })));
  const opened = new Map(data.beliefs.map((b) => [b.time - data.seconds, b.value]));
  sure.setData(data.candles.map((k) => (opened.has(k.time) ? { time: k.time, value: opened.get(k.time) } : { time: k.time })));
  overlays(data); stopLines(data, c); signs(data, c);
  for (const line of lines) series.removePriceLine(line);
  lines = Object.entries(data.lines).filter(([, value]) => value !== null).map(([name, value]) => series.createPriceLine({
    price: value, color: { entry: c.accent, stop: c.bad, target: c.good }[name], lineStyle: 2, title: name, axisLabelVisible: true }));
  if (fitted !== data.pair) { fitted = data.pair; chart.timeScale().setVisibleLogicalRange({ from: data.candles.length - (innerWidth < 640 ? 70 : 160), to: data.candles.length + 4 }); }
}

let ready = null;
const again = live(async (o) => {
  ready ??= choices(() => again());
  await ready;
  tabs(o.pairs, () => again());
  tags(() => again());
  if (!chosen) { document.getElementById("candles-empty").hidden = false; document.getElementById("candles").hidden = true; return; }
  const pair = encodeURIComponent(chosen);
  const [data, said] = await Promise.all([get(`/api/candles?pair=${pair}&indicators=${encodeURIComponent(names.join(","))}`), get(`/api/decisions?limit=12&pair=${pair}`)]);
  const model = data.beliefs.some((b) => b.model);
  document.getElementById("legend").textContent = `${data.pair} · ${data.timeframe} candles, UTC · arrows: what the bot bought and sold · red dashes: its stops · below: ${model ? "the model's probability of a rise" : "how much of the rule agrees"}`;
  draw(data);
  document.body.dataset.series = String(data.indicators.length);
  fill("shapes", ...(data.patterns.length ? data.patterns.slice(-8).reverse().map((p) => el("li", {}, el("span", { class: `action ${{ bullish: "buy", bearish: "sell" }[p.direction] ?? ""}`, text: p.direction }), ` ${when(new Date(p.time * 1000).toISOString())}: ${p.names.join(", ")}`)) : [el("li", { class: "empty", text: "None in view." })]));
  const digits = decimalsByPair(said.decisions);
  fill("said", table([
    { title: "Candle closed", t: true, show: (d) => when(d.closed_at) }, { title: "Says", show: done },
    { title: "How sure", t: true, show: belief }, { title: "Price", n: true, show: (d) => price(d.price, digits[d.pair]) },
    { title: "Why", show: (d) => d.reasons.join("; ") }, { title: "What came of it", show: verdict },
  ], said.decisions, "Nothing has been decided on this pair yet."));
});
