import { fill, get, live, table } from "./common.js";

live(async () => {
  const { settings } = await get("/api/settings");
  fill("list", table([
    { title: "Setting", t: true, show: (s) => s.name }, { title: "Value", show: (s) => s.value }, { title: "From", t: true, show: (s) => s.source }, { title: "Meaning", show: (s) => s.meaning },
  ], settings, "The settings were not handed over."));
});
