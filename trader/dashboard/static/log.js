import { el, fill, get, live } from "./common.js";

const $ = (id) => document.getElementById(id);
const again = live(async () => {
  const box = $("lines");
  const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const { lines } = await get(`/api/log?${new URLSearchParams({ limit: 500, q: $("q").value, level: $("level").value })}`);
  fill("lines", ...lines.map((line) => el("span", { class: line.split(" ")[1] ?? "", text: `${line}\n` })));
  if (!lines.length) fill("lines", el("span", { text: $("q").value || $("level").value ? "No line is like that." : "The log is empty." }));
  if (below && $("follow").checked) box.scrollTop = box.scrollHeight;
});
for (const [id, event] of [["q", "input"], ["level", "change"], ["follow", "change"]]) $(id).addEventListener(event, () => { if (id === "follow") $("lines").scrollTop = $("lines").scrollHeight; again(); });
$("filter").addEventListener("submit", (event) => event.preventDefault());
