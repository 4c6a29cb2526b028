import { defineConfig } from "vite";

// `npm run dev` talks to the mock (npm run mock), or to a running proxy when CATALYST_URL names one.
const backend = process.env["CATALYST_URL"] ?? "http://127.0.0.1:3999";

export default defineConfig({
  build: {
    target: "es2022",
    // Inlined assets become data: URLs and the preload polyfill is for browsers we do not serve; the
    // content security policy allows neither inline scripts nor inline styles.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": { target: backend },
      "/ws": { target: backend, ws: true },
    },
  },
});
