import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";
import { withoutInlineStyles } from "./dev/xterm-policy.mjs";
import type { Release, ShellFile } from "./src/worker/shell";

// `npm run dev` talks to the mock (npm run mock), or to a running proxy when CATALYST_URL names one.
const backend = process.env["CATALYST_URL"] ?? "http://127.0.0.1:3999";

/** Tells the built service worker which files its release has, and puts beside each file of text what the server sends of it to most browsers. */
function release(): Plugin {
  let out = "";
  return {
    name: "catalyst-release",
    apply: "build",
    configResolved: (config) => {
      out = config.build.outDir;
    },
    closeBundle: () => {
      writeFileSync(join(out, "sw.js"), stamped(readFileSync(join(out, "sw.js"), "utf8"), describe(out)));
      for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
        if (/\.(html|js|css|svg|webmanifest)$/.test(name)) writeFileSync(join(out, `${name}.gz`), gzipSync(readFileSync(join(out, name)), { level: 9 }));
      }
    },
  };
}

function xtermPolicy(): Plugin {
  return {
    name: "catalyst-xterm-policy",
    apply: "build",
    transform: (code, id) => (/@xterm\/xterm\/lib\/xterm\.m?js$/.test(id) ? { code: withoutInlineStyles(code), map: null } : undefined),
  };
}

function describe(out: string): Release {
  const file = (name: string): ShellFile => ({
    path: name === "index.html" ? "/" : `/${name}`,
    integrity: `sha256-${createHash("sha256").update(readFileSync(join(out, name))).digest("base64")}`,
  });
  const page = file("index.html");
  // What the page names is loaded at once; all else is loaded when it is needed.
  const html = readFileSync(join(out, "index.html"), "utf8");
  const files = readdirSync(join(out, "assets"))
    .map((name) => `assets/${name}`)
    .filter((name) => html.includes(`/${name}"`))
    .map(file);
  const id = createHash("sha256").update(JSON.stringify([page, files])).digest("hex").slice(0, 16);
  return { id, page, files };
}

function stamped(code: string, release: Release): string {
  if (/^\s*(import|export)\b/m.test(code)) throw new Error("sw.js must be one file: it runs as a classic script");
  const parts = code.split("__RELEASE__");
  if (parts.length !== 2) throw new Error("sw.js must name its release once");
  return parts.join(JSON.stringify(release));
}

export default defineConfig({
  plugins: [release(), xtermPolicy()],
  build: {
    target: "es2022",
    // Inlined assets become data: URLs and the preload polyfill is for browsers we do not serve; the
    // content security policy allows neither inline scripts nor inline styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", sw: "src/worker/sw.ts" },
      output: { entryFileNames: (chunk) => (chunk.name === "sw" ? "sw.js" : "assets/[name]-[hash].js") },
    },
  },
  server: {
    proxy: {
      "/api": { target: backend },
      "/ws": { target: backend, ws: true },
    },
  },
});
