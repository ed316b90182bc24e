import { belief, chartOptions, colours, done, el, fill, get, live, price, table, verdict, when } from "./common.js";

let chosen = new URLSearchParams(location.search).get("pair"), chart = null, series = null, volume = null, marks = null, lines = [], fitted = "";

function tabs(pairs, again) {
  if (!chosen && pairs.length) chosen = pairs[0];
  fill("pairs", ...pairs.map((pair) => {
    const button = el("button", { type: "button", text: pair, "aria-pressed": pair === chosen ? "true" : "false" });
    button.addEventListener("click", () => { chosen = pair; history.replaceState(null, "", `?pair=${encodeURIComponent(pair)}`); again(); });
    return button;
  }));
}

function draw(data) {
  const box = document.getElementById("candles"), c = colours(), L = LightweightCharts;
  document.getElementById("candles-empty").hidden = data.candles.length > 0;
  box.hidden = !data.candles.length;
  if (!data.candles.length) return;
  if (!chart) {
    chart = L.createChart(box, chartOptions());
    series = chart.addSeries(L.CandlestickSeries, { upColor: c.good, downColor: c.bad, wickUpColor: c.good, wickDownColor: c.bad, borderVisible: false });
    volume = chart.addSeries(L.HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    marks = L.createSeriesMarkers(series, []);
  }
  const newest = data.candles.at(-1).close, digits = newest >= 1000 ? 1 : newest >= 10 ? 2 : newest >= 0.1 ? 4 : 7;
  series.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
  series.setData(data.candles);
  volume.setData(data.candles.map((k) => ({ time: k.time, value: k.volume, color: (k.close >= k.open ? c.good : c.bad) + "55" })));
  const first = data.candles[0].time, step = data.candles.length > 1 ? data.candles[1].time - first : 60;
  marks.setMarkers(data.fills.filter((f) => f.time >= first).map((f) => ({
    time: f.time - (f.time % step), position: f.side === "buy" ? "belowBar" : "aboveBar", color: f.side === "buy" ? c.good : c.bad,
    shape: f.side === "buy" ? "arrowUp" : "arrowDown", text: `${f.side} ${f.quantity}`,
  })));
  for (const line of lines) series.removePriceLine(line);
  lines = Object.entries(data.lines).filter(([, value]) => value !== null).map(([name, value]) => series.createPriceLine({
    price: value, color: { entry: c.accent, stop: c.bad, target: c.good }[name], lineStyle: 2, title: name, axisLabelVisible: true }));
  if (fitted !== data.pair) { fitted = data.pair; chart.timeScale().setVisibleLogicalRange({ from: data.candles.length - 160, to: data.candles.length + 4 }); }
}

const again = live(async (o) => {
  tabs(o.pairs, () => again());
  if (!chosen) { document.getElementById("candles-empty").hidden = false; document.getElementById("candles").hidden = true; return; }
  const [data, said] = await Promise.all([get(`/api/candles?pair=${encodeURIComponent(chosen)}`), get(`/api/decisions?limit=12&pair=${encodeURIComponent(chosen)}`)]);
  document.getElementById("legend").textContent = `${data.pair} · ${data.timeframe} candles · times in UTC`;
  draw(data);
  fill("said", table([
    { title: "Candle closed", t: true, show: (d) => when(d.closed_at) }, { title: "Says", show: done },
    { title: "How sure", t: true, show: belief }, { title: "Price", n: true, show: (d) => price(d.price) },
    { title: "Why", show: (d) => d.reasons.join("; ") }, { title: "What came of it", show: verdict },
  ], said.decisions, "Nothing has been decided on this pair yet."));
});
