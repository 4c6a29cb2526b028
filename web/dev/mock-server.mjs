// A stand-in of the proxy for working on the UI: same REST and WebSocket, a scripted Claude, everything in memory.
//
//   npm run build && npm run mock        http://127.0.0.1:3999, secret "correct horse battery"
//   npm run mock + npm run dev           the same with hot reload
//
// Faults: POST /mock/vm?away=HostUnreachable (or away=), /mock/drop (cut all sockets), /mock/drain, /mock/refuse?on=1
// (the ingress's 503 for everything), /mock/sign-out, /mock/edit (somebody else edits every idea).
// What the scripted Claude does depends on words of the message: see script.mjs.
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { WebSocketServer } from "ws";
import { changes, list, sendFile } from "./project.mjs";
import { turn } from "./script.mjs";
import { endTerminal, endTerminals, openTerminals, terminal } from "./terminal.mjs";

const PORT = Number(process.env.PORT ?? 3999);
const SECRET = "correct horse battery";
const WINDOW = 40;
const dist = process.env.DIST ?? join(import.meta.dirname, "../dist");

const world = { sessions: new Set(), failures: 0, away: "", refuse: false, ideas: new Map(), trash: [] };
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json" };
const csp = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

function addIdea(title, content, status = "captured", age = 0) {
  const slug = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "idea";
  const unique = world.ideas.has(slug) ? `${slug}-${world.ideas.size}` : slug;
  const at = new Date(Date.now() - age).toISOString();
  const idea = { id: randomUUID(), slug: unique, title, status, createdAt: at, updatedAt: at, content };
  world.ideas.set(unique, { idea, log: [], run: 1, offset: 0, viewers: new Set(), seen: new Map(), answers: new Map(), rules: [], runs: [], version: 1, stopped: false, busy: Promise.resolve() });
  return world.ideas.get(unique);
}

const find = (id) => world.ideas.get(id) ?? [...world.ideas.values()].find(({ idea }) => idea.id === id);

// ---- WebSocket

const ALIVE = JSON.stringify({ ideaId: "", type: "server:alive" });

function incoming(socket, text) {
  let frame;
  try {
    frame = JSON.parse(text);
  } catch {
    return socket.send(JSON.stringify({ type: "claude:error", ideaId: "", error: "Invalid message format" }));
  }
  const { ideaId } = frame;
  const answer = (body) => socket.send(JSON.stringify({ ideaId, ...body }));
  const entry = find(ideaId);
  if (!entry) return answer({ type: "claude:error", error: `Idea not found: ${ideaId}` });
  if (world.away) return answer({ type: "claude:error", error: "The dev-VM cannot be reached. Try again when it is back." });
  const after = ({ run, seq }) => (other) => other.run > run || (other.run === run && Number.parseFloat(other.seq) > Number.parseFloat(seq));
  switch (frame.type) {
    case "subscribe": {
      const from = frame.after === undefined ? Math.max(0, entry.log.length - WINDOW) : entry.log.findIndex(after({ run: frame.run, seq: frame.after }));
      const replay = from < 0 ? [] : entry.log.slice(from);
      const before = frame.after === undefined && from > 0 ? { run: replay[0].run, seq: replay[0].seq } : null;
      answer({ type: "subscribed", run: entry.log.length ? entry.run : null, after: frame.after ?? null, before, live: true });
      for (const each of replay) answer(each);
      for (const viewer of entry.viewers) if (viewer[0] === socket) entry.viewers.delete(viewer);
      entry.viewers.add([socket, ideaId]);
      return;
    }
    case "unsubscribe":
      for (const viewer of entry.viewers) if (viewer[0] === socket) entry.viewers.delete(viewer);
      return;
    case "page": {
      const end = entry.log.findIndex((each) => !after(frame.before)(each) && each.seq === frame.before.seq && each.run === frame.before.run);
      const start = Math.max(0, end - WINDOW);
      const frames = entry.log.slice(start, end);
      answer({ type: "history", frames: frames.map((each) => ({ ideaId, ...each })), before: start > 0 ? { run: frames[0].run, seq: frames[0].seq } : null });
      return;
    }
    case "chat":
    case "build": {
      const body = frame.message ?? frame.instructions;
      if (!entry.seen.has(frame.messageId)) {
        entry.seen.set(frame.messageId, entry.run);
        entry.idea.status = frame.type === "build" ? "building" : "chatting";
        entry.idea.updatedAt = new Date().toISOString();
        entry.busy = entry.busy.then(() => turn(entry, frame.type, body, frame.messageId, frame.mode ?? "acceptEdits"));
      }
      answer({ type: "accepted", messageId: frame.messageId, run: entry.seen.get(frame.messageId) });
      return;
    }
    case "cancel":
      entry.stopped = true;
      for (const answered of entry.answers.values()) answered();
      entry.answers.clear();
      return;
    case "answer":
      if (!entry.answers.has(frame.requestId)) return answer({ type: "claude:error", error: "Somebody else has answered already.", requestId: frame.requestId });
      entry.answers.get(frame.requestId)(frame);
      entry.answers.delete(frame.requestId);
      return;
    case "revoke":
      entry.rules = entry.rules.filter((rule) => rule !== frame.rule);
      return answer({ type: "permissions", rules: entry.rules });
    case "permissions":
      return answer({ type: "permissions", rules: entry.rules });
    case "trim":
      entry.runs = entry.runs.filter(({ live }, index) => live || index < frame.keep);
      return answer({ type: "runs", runs: entry.runs, before: null });
    case "runs":
      return answer({ type: "runs", runs: entry.runs, before: null });
  }
}

// ---- REST and files

const cookie = (request) => /catalyst_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
const signedIn = (request) => world.sessions.has(cookie(request));

const server = createServer(async (request, response) => {
  const url = new URL(request.url, "http://mock");
  const reply = (status, body, headers = {}) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
  if (url.pathname.startsWith("/mock/")) {
    fault(url);
    return reply(200, { ok: true });
  }
  if (world.refuse) {
    response.writeHead(503, { "content-type": "text/html" });
    return response.end("<html><h1>503 Service Temporarily Unavailable</h1></html>");
  }
  let text = "";
  for await (const chunk of request) text += chunk;
  const body = text ? JSON.parse(text) : {};
  const call = `${request.method} ${url.pathname}`;
  if (call === "POST /api/login") {
    if (world.failures >= 5) return reply(429, { ok: false, error: "Too many attempts" }, { "retry-after": "12" });
    if (body.secret !== SECRET) {
      world.failures++;
      return reply(401, { ok: false, error: "Invalid secret" });
    }
    const id = randomUUID();
    world.sessions.add(id);
    return reply(200, { ok: true }, { "set-cookie": `catalyst_session=${id}; Path=/; HttpOnly; SameSite=Strict` });
  }
  if (call === "POST /api/logout") {
    world.sessions.delete(cookie(request));
    return reply(200, { ok: true });
  }
  if (call === "GET /api/auth/check") return reply(200, { ok: true, data: { authenticated: signedIn(request) } });
  if (call === "GET /api/health") return world.away ? reply(503, { status: "degraded", ssh: false, uptime: 1, reason: world.away }) : reply(200, { status: "ok", ssh: true, uptime: 1 });
  if (url.pathname.startsWith("/api/")) {
    if (!signedIn(request)) return reply(401, { ok: false, error: "Unauthorized" });
    if (world.away) return reply(503, { ok: false, error: "The dev-VM cannot be reached. Try again when it is back." });
    const [, slug = "", rest = ""] = (/^\/api\/ideas\/([^/]+)(?:\/(.*))?$/.exec(url.pathname) ?? []).map((part) => part && decodeURIComponent(part));
    if (call === "GET /api/ideas") {
      const all = [...world.ideas.values()].map(({ idea }) => ({ ...idea, content: undefined }));
      return reply(200, { ok: true, data: all.toSorted((a, b) => b.updatedAt.localeCompare(a.updatedAt)) });
    }
    if (call === "POST /api/ideas") return reply(201, { ok: true, data: addIdea(body.title, body.content).idea });
    if (call === "GET /api/trash") return reply(200, { ok: true, data: world.trash.map(({ entry: _, ...each }) => each) });
    const [, trashed, action] = /^\/api\/trash\/([^/]+)(\/restore)?$/.exec(url.pathname) ?? [];
    if (trashed) {
      const found = world.trash.find(({ name }) => name === trashed);
      world.trash = world.trash.filter((each) => each !== found);
      if (action) world.ideas.set(found.slug, found.entry);
      return reply(200, { ok: true, data: found.entry.idea });
    }
    const entry = find(slug);
    if (!entry) return reply(404, { ok: false, error: "Idea not found" });
    const path = url.searchParams.get("path") ?? "";
    if (rest === "project") return list(path) ? reply(200, { ok: true, data: list(path) }) : reply(404, { ok: false, error: "There is no such folder." });
    if (rest === "project/file") return sendFile(request, response, path) || reply(404, { ok: false, error: "There is no such file." });
    if (rest === "changes") return reply(200, { ok: true, data: changes });
    if (rest === "terminals") return reply(200, { ok: true, data: openTerminals(slug) });
    const number = /^terminals\/(\d)$/.exec(rest)?.[1];
    if (number) return endTerminal(slug, number) ? reply(200, { ok: true, data: {} }) : reply(404, { ok: false, error: "There is no such terminal." });
    const tagged = (status, body) => reply(status, body, { etag: `"${entry.version}"` });
    if (request.method === "PATCH") {
      if (request.headers["if-match"] && request.headers["if-match"] !== `"${entry.version}"`) return tagged(412, { ok: false, error: "Changed meanwhile", data: entry.idea });
      Object.assign(entry.idea, body);
      entry.version++;
    }
    if (request.method === "DELETE") {
      world.ideas.delete(entry.idea.slug);
      world.trash.unshift({ name: `${entry.idea.slug}-${Date.now()}`, deletedAt: new Date().toISOString(), slug: entry.idea.slug, title: entry.idea.title, entry });
    }
    return tagged(200, { ok: true, data: entry.idea });
  }
  const wanted = join(dist, normalize(url.pathname));
  const file = url.pathname !== "/" && existsSync(wanted) ? wanted : join(dist, "index.html");
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream", "content-security-policy": csp, "cache-control": file.includes("/assets/") ? "public, max-age=31536000, immutable" : "no-cache" });
  response.end(readFileSync(file));
});

const sockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  if (world.refuse || !signedIn(request)) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
  const url = new URL(request.url, "http://mock");
  sockets.handleUpgrade(request, socket, head, (client) => {
    if (url.pathname === "/ws/terminal") return terminal(client, url);
    client.on("message", (data) => incoming(client, data.toString()));
    const alive = setInterval(() => client.send(ALIVE), 20_000);
    client.on("close", () => {
      clearInterval(alive);
      for (const { viewers } of world.ideas.values()) for (const viewer of viewers) if (viewer[0] === client) viewers.delete(viewer);
    });
  });
});

function fault(url) {
  const name = url.pathname.slice("/mock/".length);
  if (name === "vm") world.away = url.searchParams.get("away") ?? "";
  if (name === "refuse") world.refuse = url.searchParams.get("on") === "1";
  if (name === "sign-out") world.sessions.clear();
  if (name === "edit") {
    for (const entry of world.ideas.values()) {
      entry.idea.content += "\n\nSomebody else wrote this line.";
      entry.version++;
    }
  }
  if (name === "forgive") world.failures = 0;
  if (name === "empty") world.ideas.clear();
  if (name === "drain") for (const client of sockets.clients) client.send(JSON.stringify({ type: "server:draining" }));
  if (name === "drop" || name === "refuse" || name === "sign-out") for (const client of sockets.clients) client.terminate();
}

const HOUR = 3_600_000;
addIdea("Pantry that plans meals", "Knows what is in the pantry and proposes dinners.", "chatting", 5 * HOUR);
addIdea("Weather station for the balcony", "Temperature and humidity on **my own** page.\n\n- cheap\n- battery for a year", "captured", 60_000);
addIdea("A very long title that somebody wrote because they wanted to say everything at once and then some more", "x", "building", 30 * HOUR);
addIdea("Bookmarks as plain text files", "One file a bookmark.", "done", 200 * HOUR);
server.listen(PORT, "127.0.0.1", () => console.log(`mock: http://127.0.0.1:${PORT}  secret: ${SECRET}`));
process.on("exit", endTerminals);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit());
