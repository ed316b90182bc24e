import { el, fill, get, live } from "./common.js";

const $ = (id) => document.getElementById(id);
// Days rush by in a replay at full speed: only the journal is written then, no log of the day.
const empty = (overview) => (overview.mode && !overview.running ? "The log is empty. A replay at full speed writes none: all it did stands under Decisions and Orders." : "The log is empty.");
const again = live(async (overview) => {
  const box = $("lines");
  const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const { lines } = await get(`/api/log?${new URLSearchParams({ limit: 500, q: $("q").value, level: $("level").value })}`);
  fill("lines", ...lines.map((line) => el("span", { class: line.split(" ")[1] ?? "", text: `${line}\n` })));
  if (!lines.length) fill("lines", el("span", { text: $("q").value || $("level").value ? "No line is like that." : empty(overview) }));
  if (below && $("follow").checked) box.scrollTop = box.scrollHeight;
});
for (const [id, event] of [["q", "input"], ["level", "change"], ["follow", "change"]]) $(id).addEventListener(event, () => { if (id === "follow") $("lines").scrollTop = $("lines").scrollHeight; again(); });
$("filter").addEventListener("submit", (event) => event.preventDefault());
