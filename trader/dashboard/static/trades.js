import { el, fill, get, live, money, percent, price, signed, table, tone, when } from "./common.js";

live(async () => {
  const data = await get("/api/trades"), c = data.costs, q = data.quote;
  const card = (title, value, note, mood = "") => el("dl", { class: "card" }, el("dt", { text: title }), el("dd", { class: mood, text: value }, el("small", { text: note })));
  const share = (part) => (Number(c.traded) ? `${((Number(part) / Number(c.traded)) * 1e4).toFixed(1)} bp of what was traded` : "nothing traded yet");
  fill("costs",
    card("Closed trades", String(data.trades.length), `${data.trades.filter((t) => Number(t.profit_quote) > 0).length} earned money`),
    card("Profit of these", signed(c.profit, q), "after all fees", tone(c.profit)),
    card("Fees", money(c.fees, q), share(c.fees)),
    card("Slippage", money(c.slippage, q), `${share(c.slippage)}; against the price decided on`),
    card("Traded", money(c.traded, q, 0), c.maker_share === null ? "" : `${percent(c.maker_share, 0)} as maker`));
  fill("trades", table([
    { title: "Pair", t: true, show: (t) => t.pair }, { title: "Bought", t: true, show: (t) => when(t.entry_at) }, { title: "at", full: "Bought at", n: true, show: (t) => price(t.entry_price) },
    { title: "Sold", t: true, show: (t) => when(t.exit_at) }, { title: "at", full: "Sold at", n: true, show: (t) => price(t.exit_price) }, { title: "Quantity", n: true, show: (t) => t.quantity },
    { title: "Fees", n: true, show: (t) => money(t.fees_quote) }, { title: `Profit ${q}`, n: true, show: (t) => signed(t.profit_quote), tone: (t) => tone(t.profit_quote) },
    { title: "%", n: true, show: (t) => percent(t.return, 2), tone: (t) => tone(t.return) }, { title: "Held", n: true, show: (t) => (t.hours < 48 ? `${t.hours.toFixed(1)} h` : `${(t.hours / 24).toFixed(1)} d`) }, { title: "Ended by", show: (t) => t.exit_purpose },
  ], data.trades, "No trade has been closed yet."));
});
