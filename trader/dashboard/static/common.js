// What every page shares: fetching, formatting, live updates, the stop button.
const $ = (id) => document.getElementById(id);
const token = document.querySelector('meta[name="csrf"]').content;

export async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (answer.status === 401) { location.href = "/login"; return new Promise(() => {}); }
  const body = await answer.json();
  if (answer.status === 503 && body?.error?.category === "reading") {
    toast(body.error.message);
    await new Promise((go) => setTimeout(go, 700));
    return get(path);
  }
  if (!answer.ok) throw new Error(body?.error?.message ?? `the page answered ${answer.status}`);
  return body;
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
  });
  if (!answer.ok) throw new Error(`the page answered ${answer.status}`);
  return answer.json();
}

// Elements are built, never written as HTML: names and log lines are other people's text.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) { if (key === "text") node.textContent = value; else node.setAttribute(key, value); }
  node.append(...children);
  return node;
}

/** A half circle that fills up; `share` from 0 to 1. */
export function gauge(share, mood, label) {
  const arc = "M 10 54 A 40 40 0 0 1 90 54", part = Math.max(0, Math.min(1, share || 0)) * 100;
  return svg("svg", { viewBox: "0 0 100 60", class: "gauge", role: "img", "aria-label": label },
    svg("path", { d: arc, class: "track", pathLength: 100 }),
    ...(part > 0 ? [svg("path", { d: arc, class: `fill ${mood}`, pathLength: 100, "stroke-dasharray": `${part} 200` })] : []));
}

export function ago(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

export function fill(id, ...nodes) { $(id).replaceChildren(...nodes); }

/** A minus as wide as the plus beside it, so that columns of signed numbers stand straight. */
export const minus = (text) => text.replace("-", "\u2212");

export const money = (value, quote = "", digits = 2) => {
  const text = minus(Number(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return quote ? `${text} ${quote}` : text;
};
export const signed = (value, quote = "") => (Number(value) > 0 ? "+" : "") + money(value, quote);

/** A price with all its digits; only the mean of several fills, which has no end, is rounded. */
export const price = (value, least = 0) => {
  if (value === null || value === undefined || value === "") return "–";
  let text = String(value);
  if (/e/i.test(text)) text = Number(text).toFixed(15).replace(/0+$/, "").replace(/\.$/, "");
  if (text.replace(/^-?0*\.?0*|\./g, "").length > 12) text = String(Number(Number(text).toPrecision(9)));
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text;
  const [whole, part = ""] = text.split("."), all = part.padEnd(least, "0");
  return exactly(all ? `${whole}.${all}` : whole);
};

/** The decimals that a pair's own prices have, at most 10. */
export const decimals = (values) => Math.min(10, Math.max(0, ...values.map((value) => (price(value).split(".")[1] ?? "").length)));

/** Pair → the decimals of its prices in these rows, so that they stand straight in a column. */
export const decimalsByPair = (rows) => Object.fromEntries([...new Set(rows.map((row) => row.pair))].map((pair) => [pair, decimals(rows.filter((row) => row.pair === pair).map((row) => row.price))]));
export const percent = (value, digits = 1) => {
  const part = Number(value) * 100;
  // A little is not nothing: one digit more before it is called 0, and nothing has no sign.
  const small = digits > 0 && Math.abs(part) < 0.5 * 10 ** -digits;
  const text = part.toFixed(part !== 0 && small ? digits + 1 : digits);
  return minus(`${text.replace(/^-(?=[0.]+$)/, "")} %`);
};

/** Every decimal of an exact amount, with separators: 12471.85100 is 12,471.85100. */
export const exactly = (text) => {
  const [whole, part] = text.split(".");
  return minus(BigInt(whole).toLocaleString("en").padStart(whole === "-0" ? 2 : 0, "-") + (part ? `.${part}` : ""));
};
export const when = (text) => (text ? text.replace("T", " ").slice(0, 16) : "–");
export const tone = (value) => (Number(value) > 0 ? "good" : Number(value) < 0 ? "bad" : "");

/** On a phone a table becomes a list of cards; `stack` may say how ("stack grid" sets several values side by side). */
export function table(columns, rows, empty, stack = columns.length > 3 ? "stack" : "") {
  if (!rows.length) return el("p", { class: "empty", text: empty });
  const head = el("tr", {}, ...columns.map((c) => el("th", { class: c.n ? "n" : "", scope: "col", text: c.title })));
  const body = rows.map((row) => el("tr", {}, ...columns.map((c) => {
    const value = c.show(row);
    const cell = el("td", { class: [c.n ? "n" : c.t ? "t" : "", c.tone ? c.tone(row) : ""].join(" ").trim(), "data-title": c.full ?? c.title });
    cell.append(value instanceof Node ? value : document.createTextNode(value ?? "–"));
    return cell;
  })));
  return el("table", { class: stack }, el("thead", {}, head), el("tbody", {}, ...body));
}

// A rule's agreement with itself is not a probability, and is not called one.
export const belief = (d) => (d.probability === null || d.probability === undefined ? `rule agreement ${percent(d.confidence, 0)}` : `probability ${percent(d.probability, 0)}`);

export const action = (name) => el("span", { class: `action ${name}`, text: name });

/** What was done in the end: a position at its limit is held, though the signal says buy. */
export const done = (row) => action(row.verdict === "held" ? "hold" : row.action);

export const outcome = (row) => (row.verdict === "held" && row.refusals.length ? verdict(row) : `${row.verdict}: ${verdict(row)}`);

export function verdict(row) {
  if (row.verdict === "approved") {
    const plan = row.plan;
    const stop = plan.stop ? `, stop ${price(plan.stop)}` : "";
    return `${plan.side} ${plan.quantity} at about ${price(plan.entry)}${stop}, ${money(plan.risk_quote)} at risk`;
  }
  if (row.verdict === "refused") return row.refusals.map((r) => `${r.rule}: ${r.reason}`).join("; ");
  return row.refusals.length ? row.refusals.map((r) => r.reason).join("; ") : "nothing to do";
}

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: of("muted"), line: of("line"), accent: of("accent"), good: of("good"), bad: of("bad"), warn: of("warn"), panel: of("panel") };
}

export function chartOptions() {
  const c = colours();
  return {
    autoSize: true,
    layout: { background: { color: "transparent" }, textColor: c.ink, attributionLogo: false },
    grid: { vertLines: { color: c.line }, horzLines: { color: c.line } },
    rightPriceScale: { borderColor: c.line },
    timeScale: { borderColor: c.line, timeVisible: true, secondsVisible: false },
  };
}

function banner(o) {
  const mode = $("mode");
  mode.textContent = o.mode ?? "NOT STARTED";
  mode.className = `badge ${(o.mode ?? "").toLowerCase()}`;
  const feed = $("feed");
  feed.hidden = !o.feed;
  feed.textContent = o.feed ? `Prices: ${o.feed} · strategy ${o.strategy} · ${o.timeframe} candles` : "";
  feed.classList.toggle("unreal", /simulat|replay|not real/i.test(o.feed ?? ""));
  const halt = $("halt");
  halt.hidden = !o.stopped;
  if (o.stopped) halt.textContent = `Trading is stopped since ${when(o.stopped.at)} UTC: ${o.stopped.reason} (${o.stopped.who})`;
  $("resume").hidden = !o.stopped;
  $("link").dataset.running = o.running ? "1" : "";
  link(true);
  const down = $("down");
  down.hidden = o.running;
  if (!o.running) down.textContent = o.mode
    ? `The bot is not running. This is how it was left ${ago(o.beat_age_seconds)}${o.ended ? ` (${o.ended})` : ""}; stops stay at the exchange. Start it: run_trader.py start`
    : "The bot has not been started yet. Start it: run_trader.py start";
}

// Green only while what is shown is live: a page that listens to a bot at rest is not.
function link(connected) {
  const node = $("link"), running = node.dataset.running;
  node.className = `dot ${connected ? (running ? "on" : "idle") : "off"}`;
  node.title = connected ? (running ? "live" : "the bot is not running") : "no connection: what you see may be old";
}

export function toast(text) {
  const node = $("toast");
  node.textContent = text;
  node.classList.add("on");
  setTimeout(() => node.classList.remove("on"), 4000);
}

function buttons() {
  $("stop").addEventListener("click", () => $("confirm").showModal());
  $("confirm").addEventListener("close", async () => {
    if ($("confirm").returnValue !== "yes") return;
    try {
      const done = await post("/api/stop", { flatten: $("flatten").checked, reason: $("reason").value });
      toast(done.running ? "Stop is set. The bot obeys within a second." : "Stop is set. The bot is not running; it will not trade when started.");
    } catch (fault) { toast(`Stop could not be set: ${fault.message}. Use: run_trader.py stop`); }
  });
  $("resume").addEventListener("click", async () => {
    if (!confirm("Let the bot trade again?")) return;
    try { await post("/api/resume", {}); toast("Trading is allowed again."); } catch (fault) { toast(fault.message); }
  });
}

// Keys: digits and g + letter go to pages, / to the search, ? shows them all.
function keys() {
  const links = [...document.querySelectorAll("nav a")];
  let armed = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { if (event.key === "Escape") event.target.blur(); return; }
    const go = (link) => { if (link) { event.preventDefault(); location.href = link.href; } };
    if (armed) { armed = false; go(links.find((link) => link.dataset.key === event.key)); return; }
    if (event.key === "g") { armed = true; setTimeout(() => { armed = false; }, 1500); }
    else if (event.key === "?") $("keys").showModal();
    else if (event.key === "/") { const box = document.querySelector("input[type=search]"); if (box) { event.preventDefault(); box.focus(); } }
    else if (event.key === "[" || event.key === "]") {
      const here = links.findIndex((link) => link.hasAttribute("aria-current"));
      go(links[(here + (event.key === "]" ? 1 : links.length - 1)) % links.length]);
    }
  });
  fill("key-list", ...links.flatMap((link) => [el("dt", {}, el("kbd", { text: "g" }), el("kbd", { text: link.dataset.key })), el("dd", { text: link.textContent.trim() })]));
  $("keys-open").addEventListener("click", () => $("keys").showModal());
  document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

// Shows the page now and again whenever the bot has something new.
export function live(show) {
  let busy = false, again = false, shownAt = 0, due = null;
  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const overview = await get("/api/overview");
      banner(overview);
      await show(overview);
      document.body.dataset.ready = "1";
    } catch (fault) { toast(fault.message); }
    busy = false;
    shownAt = Date.now();
    if (again) { again = false; await refresh(); }
  };
  // However fast candles come: a page that jumps more often than once a second is not read.
  const changed = () => { due ??= setTimeout(() => { due = null; refresh(); }, Math.max(0, shownAt + 1000 - Date.now())); };
  buttons();
  keys();
  refresh();
  const stream = new EventSource("/api/stream");
  stream.addEventListener("change", changed);
  stream.onopen = () => link(true);
  stream.onerror = () => link(false);
  return refresh;
}
