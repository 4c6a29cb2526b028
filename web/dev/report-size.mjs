// Says what a browser loads, so that growth is noticed: at once, and when a part of the app is first opened.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const page = readFileSync("dist/index.html", "utf8");
const totals = { "at once": 0, later: 0 };
for (const name of readdirSync("dist/assets").filter((name) => !name.endsWith(".gz"))) {
  const size = gzipSync(readFileSync(`dist/assets/${name}`)).length;
  const when = page.includes(`/${name}"`) ? "at once" : "later";
  totals[when] += size;
  console.log(`${name}: ${(size / 1024).toFixed(1)} KiB gzip, ${when}`);
}
for (const [when, size] of Object.entries(totals)) console.log(`${when}: ${(size / 1024).toFixed(1)} KiB gzip`);
