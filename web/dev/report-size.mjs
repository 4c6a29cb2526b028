// Says what a browser loads, so that growth is noticed.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

let total = 0;
for (const name of readdirSync("dist/assets")) {
  const size = gzipSync(readFileSync(`dist/assets/${name}`)).length;
  total += size;
  console.log(`${name}: ${(size / 1024).toFixed(1)} KiB gzip`);
}
console.log(`all assets: ${(total / 1024).toFixed(1)} KiB gzip`);
