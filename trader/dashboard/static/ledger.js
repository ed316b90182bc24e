import { el, exactly, fill, get, live, table, when } from "./common.js";

live(async () => {
  const data = await get("/api/ledger?limit=500"), t = data.totals, q = data.quote;
  const card = (title, value, note) => el("dl", { class: "card" }, el("dt", { text: title }), el("dd", { text: value }, el("small", { text: note })));
  fill("totals", ...(q ? [
    card("Paid in", exactly(t.transfers), q), card("Bought for", exactly(t.bought), q), card("Sold for", exactly(t.sold), q), card("Fees", exactly(t.fees), q),
    card("Rounding", exactly(t.rounding), `${q}, by the exchange: it books amounts to 4 decimals`),
    card("Balance", exactly(t.balance), `${q} = paid in − bought + sold − fees + rounding`),
    card("Held", Object.entries(t.held).map(([asset, amount]) => `${amount} ${asset}`).join(", ") || "nothing", "by these lines"),
  ] : []));
  fill("lines", table([
    { title: "Time (UTC)", t: true, show: (e) => when(e.time) }, { title: "What", t: true, show: (e) => (e.kind === "fill" ? `${e.side} ${e.pair}` : "transfer") },
    { title: "Quantity", n: true, show: (e) => e.quantity || "–" }, { title: "Price", n: true, show: (e) => (e.price ? exactly(e.price) : "–") }, { title: "Price × quantity", n: true, show: (e) => (e.cost_quote ? exactly(e.cost_quote) : "–") }, { title: "Fee", n: true, show: (e) => e.fee_quote || "–" },
    { title: "Amount", n: true, show: (e) => `${exactly(e.amount)} ${e.asset}` }, { title: `Balance ${q}`, n: true, show: (e) => exactly(e.balance_quote) }, { title: "Why", show: (e) => e.purpose || e.reason }, { title: "Trade", t: true, show: (e) => e.trade_id || "–" },
  ], data.entries, "Nothing has been booked yet."));
  document.getElementById("count").textContent = data.lines > data.entries.length ? `the newest ${data.entries.length} of ${data.lines} lines` : `${data.lines} lines`;
});
