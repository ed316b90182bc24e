import { el, fill, get, live, price, table, when } from "./common.js";

const state = document.getElementById("state");
const again = live(async () => {
  const data = await get(`/api/orders?state=${state.value}`);
  fill("all", table([
    { title: "Time (UTC)", t: true, show: (o) => when(o.at) }, { title: "Pair", t: true, show: (o) => o.pair }, { title: "What", t: true, show: (o) => `${o.purpose}: ${o.side} ${o.type}` },
    { title: "Quantity", n: true, show: (o) => o.quantity }, { title: "Price", n: true, show: (o) => price(o.price) }, { title: "Filled", n: true, show: (o) => o.filled },
    { title: "Slippage", n: true, show: (o) => (o.slippage_bp === null ? "–" : `${o.slippage_bp.toFixed(1)} bp`), tone: (o) => (o.slippage_bp > 15 ? "warn" : "") },
    { title: "State", show: (o) => el("span", { class: `action ${{ open: "buy", rejected: "sell", unknown: "sell" }[o.state] ?? ""}`, text: o.state }) },
    { title: "Why", show: (o) => [o.reason, o.detail].filter(Boolean).join("; ") }, { title: "At the exchange", show: (o) => o.exchange_id || "–" },
  ], data.orders, state.value === "open" ? "No order is open." : "No order has been sent yet."));
});
state.addEventListener("change", again);
