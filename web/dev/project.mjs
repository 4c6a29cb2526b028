// The mock's project of every idea: a few files in memory, and what git would say of them.
const at = (hours) => new Date(Date.now() - hours * 3_600_000).toISOString();
const python = `import math


def dew_point(t: float, rh: float) -> float:
    """Magnus formula, good from -45 to 60 °C."""
    gamma = math.log(rh / 100) + 17.62 * t / (243.12 + t)
    return 243.12 * gamma / (17.62 - gamma)
`;
const files = {
  "README.md": "# Weather station\n\nRun it with `python3 station.py`.\n",
  "station.py": python,
  "empty.txt": "",
  "page/index.html": "<!doctype html>\n<title>Weather</title>\n<script>alert('text, not a page')</script>\n",
  "page/icon.png": "\x89PNG\r\n\x1a\n\0\0\0",
  "data/readings.csv": `time,temperature,humidity\n${Array.from({ length: 20_000 }, (_, n) => `${n},21.${n % 10},48\n`).join("")}`,
};

const diff = `diff --git a/station.py b/station.py
index 83db48f..bf269f4 100644
--- a/station.py
+++ b/station.py
@@ -1,5 +1,8 @@
 import math
 
 
-def read():
-    return {}
+def dew_point(t: float, rh: float) -> float:
+    """Magnus formula, good from -45 to 60 °C."""
+    gamma = math.log(rh / 100) + 17.62 * t / (243.12 + t)
+    return 243.12 * gamma / (17.62 - gamma)
diff --git a/page/index.html b/page/index.html
new file mode 100644
index 0000000..5f3a1c2
--- /dev/null
+++ b/page/index.html
@@ -0,0 +1,2 @@
+<!doctype html>
+<title>Weather</title>
`;

export const changes = { git: true, branch: "main", files: [{ path: "station.py", change: "modified" }, { path: "page/index.html", change: "added" }, { path: "notes.txt", change: "deleted" }], diff, truncated: false };

/** Undefined when there is no such folder. */
export function list(path) {
  const prefix = path === "" ? "" : `${path}/`;
  const names = Object.keys(files).filter((name) => name.startsWith(prefix));
  if (names.length === 0) return undefined;
  const seen = new Map();
  for (const name of names) {
    const [first, ...more] = name.slice(prefix.length).split("/");
    seen.set(first, more.length > 0 ? { name: first, kind: "folder", modifiedAt: at(3) } : { name: first, kind: "file", size: Buffer.byteLength(files[name]), modifiedAt: at(1) });
  }
  if (path === "") seen.set("latest", { name: "latest", kind: "link" });
  return { path, entries: [...seen.values()], truncated: false };
}

export function sendFile(request, response, path) {
  const content = files[path];
  if (content === undefined) return false;
  const bytes = Buffer.from(content, path.endsWith(".png") ? "latin1" : "utf8");
  const headers = { "content-type": "application/octet-stream", "content-disposition": `attachment; filename="${path.split("/").pop()}"`, "content-security-policy": "sandbox", "x-content-type-options": "nosniff" };
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (range && Number(range[1]) >= bytes.length) response.writeHead(416, { ...headers, "content-range": `bytes */${bytes.length}` }).end();
  else if (range) {
    const part = bytes.subarray(Number(range[1]), Number(range[2]) + 1);
    response.writeHead(206, { ...headers, "content-range": `bytes ${range[1]}-${Number(range[1]) + part.length - 1}/${bytes.length}` }).end(part);
  } else response.writeHead(200, headers).end(bytes);
  return true;
}
