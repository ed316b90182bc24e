import { belief, decimalsByPair, done, el, fill, get, live, outcome, price, when } from "./common.js";

const $ = (id) => document.getElementById(id);
const TITLES = ["Candle closed (UTC)", "Pair", "Says", "How sure", "Price", "Why", "What came of it"];
let most = 60;
const opened = new Set(), stories = new Map();

// The way of one decision through the gates, asked for when it is opened.
async function unfold(row, body) {
  const key = `${row.pair}|${row.closed_at}`;
  if (!stories.has(key)) stories.set(key, await get(`/api/decision?pair=${encodeURIComponent(row.pair)}&at=${encodeURIComponent(row.closed_at)}`));
  const story = stories.get(key);
  body.replaceChildren(el("p", {}, el("b", { text: story.outcome })), el("ol", { class: "gates" }, ...story.gates.map((g) => el("li", { class: g.state }, el("b", { text: g.gate }), el("span", { text: g.detail })))));
}

function rows(row, digits) {
  const key = `${row.pair}|${row.closed_at}`;
  const open = el("button", { type: "button", class: "link", text: when(row.closed_at), "aria-expanded": opened.has(key) ? "true" : "false" });
  const body = el("td", { colspan: 7 }), more = el("tr", { class: "more", hidden: !opened.has(key) }, body);
  const show = () => unfold(row, body).catch((fault) => body.replaceChildren(el("p", { class: "bad", text: fault.message })));
  if (opened.has(key)) show();
  open.addEventListener("click", () => {
    more.hidden = !more.hidden;
    open.setAttribute("aria-expanded", String(!more.hidden));
    if (more.hidden) opened.delete(key); else { opened.add(key); show(); }
  });
  let place = 0;
  const cell = (content, kind = "") => { const td = el("td", { class: kind, "data-title": TITLES[place++] }); td.append(content ?? "–"); return td; };
  return [el("tr", {}, cell(open, "t"), cell(row.pair, "t"), cell(done(row)), cell(belief(row), "t"), cell(price(row.price, digits[row.pair]), "n"), cell(row.reasons.join("; ")), cell(outcome(row), row.verdict === "refused" ? "warn" : "")), more];
}

const again = live(async (o) => {
  if ($("pair").options.length === 1) for (const name of o.pairs) $("pair").append(el("option", { value: name, text: name }));
  const query = new URLSearchParams({ limit: most + 1, pair: $("pair").value, verdict: $("verdict").value, q: $("q").value });
  const found = await get(`/api/decisions?${query}`);
  if (!found.decisions.length) { fill("list", el("p", { class: "empty", text: $("q").value || $("verdict").value ? "No decision is like that. Try less: a time such as 14:00, or a word of a rule." : "No candle has been decided yet." })); return; }
  const digits = decimalsByPair(found.decisions);
  const more = found.decisions.length > most ? el("button", { type: "button", class: "quiet", text: "Show older ones" }) : null;
  more?.addEventListener("click", () => { most = Math.min(999, most + 240); again(); });
  fill("list", el("table", { class: "stack" }, el("thead", {}, el("tr", {}, ...TITLES.map((title) => el("th", { scope: "col", class: title === "Price" ? "n" : "", text: title })))), el("tbody", {}, ...found.decisions.slice(0, most).flatMap((row) => rows(row, digits)))), more ?? "");
});
for (const [id, event] of [["pair", "change"], ["verdict", "change"], ["q", "input"]]) $(id).addEventListener(event, again);
$("filter").addEventListener("submit", (event) => event.preventDefault());
const asked = new URLSearchParams(location.search).get("q");
if (asked) { $("q").value = asked; again(); }
