import { belief, done, el, fill, get, live, outcome, price, table, when } from "./common.js";

const pair = document.getElementById("pair"), q = document.getElementById("q");
const again = live(async (o) => {
  if (pair.options.length === 1) for (const name of o.pairs) pair.append(el("option", { value: name, text: name }));
  const found = await get(`/api/decisions?limit=200&pair=${encodeURIComponent(pair.value)}&q=${encodeURIComponent(q.value)}`);
  fill("list", table([
    { title: "Candle closed (UTC)", t: true, show: (d) => when(d.closed_at) }, { title: "Pair", t: true, show: (d) => d.pair }, { title: "Says", show: done },
    { title: "How sure", t: true, show: belief }, { title: "Price", n: true, show: (d) => price(d.price) },
    { title: "Why", show: (d) => d.reasons.join("; ") }, { title: "What came of it", show: outcome, tone: (d) => (d.verdict === "refused" ? "warn" : "") },
  ], found.decisions, q.value ? "No decision contains that." : "No candle has been decided yet."));
});
for (const [node, event] of [[pair, "change"], [q, "input"]]) node.addEventListener(event, again);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
