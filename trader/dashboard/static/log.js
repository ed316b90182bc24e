import { el, fill, get, live } from "./common.js";

const q = document.getElementById("q");
const again = live(async () => {
  const box = document.getElementById("lines");
  const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const { lines } = await get(`/api/log?limit=400&q=${encodeURIComponent(q.value)}`);
  fill("lines", ...lines.map((line) => el("span", { class: line.split(" ")[1] ?? "", text: `${line}\n` })));
  if (!lines.length) fill("lines", el("span", { text: q.value ? "No line contains that." : "The log is empty." }));
  if (below) box.scrollTop = box.scrollHeight;
});
q.addEventListener("input", again);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
