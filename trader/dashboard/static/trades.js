import { fill, get, live, money, price, signed, table, tone, when } from "./common.js";

live(async () => {
  const data = await get("/api/trades");
  fill("trades", table([
    { title: "Pair", t: true, show: (t) => t.pair }, { title: "Bought", t: true, show: (t) => when(t.entry_at) }, { title: "at", n: true, show: (t) => price(t.entry_price) },
    { title: "Sold", t: true, show: (t) => when(t.exit_at) }, { title: "at", n: true, show: (t) => price(t.exit_price) }, { title: "Quantity", n: true, show: (t) => t.quantity },
    { title: "Fees", n: true, show: (t) => money(t.fees_quote) }, { title: `Profit ${data.quote}`, n: true, show: (t) => signed(t.profit_quote), tone: (t) => tone(t.profit_quote) }, { title: "Ended by", show: (t) => t.exit_purpose },
  ], data.trades, "No trade has been closed yet."));
  fill("all", table([
    { title: "Time (UTC)", t: true, show: (o) => when(o.at) }, { title: "Pair", t: true, show: (o) => o.pair }, { title: "What", show: (o) => `${o.purpose}: ${o.side} ${o.type}` },
    { title: "Quantity", n: true, show: (o) => o.quantity }, { title: "Price", n: true, show: (o) => price(o.price) }, { title: "Filled", n: true, show: (o) => o.filled },
    { title: "State", show: (o) => o.state }, { title: "Why", show: (o) => [o.reason, o.detail].filter(Boolean).join("; ") },
  ], data.orders, "No order has been sent yet."));
});
