// A stand-in of the proxy for working on the UI: same REST and WebSocket, a scripted Claude, everything in memory.
//
//   npm run build && npm run mock        http://127.0.0.1:3999, secret "correct horse battery"
//   npm run mock + npm run dev           the same with hot reload
//
// Faults: POST /mock/vm?away=HostUnreachable (or away=), /mock/drop (cut all sockets), /mock/drain, /mock/refuse?on=1
// (the ingress's 503 for everything), /mock/sign-out, /mock/edit (somebody else edits every idea).
// What the scripted Claude does depends on words of the message: "tools", "permission", "question", "plan",
// "several", "fail", "long", "crash".
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { WebSocketServer } from "ws";
import { changes, list, sendFile } from "./project.mjs";
import { endTerminal, endTerminals, openTerminals, terminal } from "./terminal.mjs";

const PORT = Number(process.env.PORT ?? 3999);
const PACE_MS = Number(process.env.PACE_MS ?? 25);
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

// ---- the scripted run

function emit(entry, frame) {
  entry.offset += 40 + JSON.stringify(frame).length;
  const whole = { type: frame.type, run: entry.run, seq: `${entry.offset}.0`, ...frame };
  entry.log.push(whole);
  for (const [socket, ideaId] of entry.viewers) socket.send(JSON.stringify({ ideaId, ...whole }));
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function say(entry, type, text) {
  for (const piece of text.match(/\s*\S+\s*/g) ?? []) {
    if (entry.stopped) return;
    emit(entry, { type, text: piece });
    if (PACE_MS) await sleep(PACE_MS);
  }
}

/** Asks and waits; whoever answers first counts. Gives the answer, or undefined when it was withdrawn. */
async function request(entry, toolUseId, name, input, always) {
  if (always?.every((rule) => entry.rules.includes(rule))) return { decision: "always" };
  const requestId = randomUUID();
  emit(entry, { type: "claude:permission", requestId, toolUseId, name, input, ...(always && { always }) });
  const answer = await new Promise((answered) => entry.answers.set(requestId, answered));
  const closed = { type: "claude:permission_closed", requestId, ...(answer && { decision: answer.decision === "deny" ? "deny" : "allow" }) };
  for (const [socket, ideaId] of entry.viewers) socket.send(JSON.stringify({ ideaId, ...closed }));
  if (answer?.decision === "always") entry.rules.push(...always.filter((rule) => !entry.rules.includes(rule)));
  return answer;
}

async function tool(entry, name, input, content, { isError = false, ask = false, always } = {}) {
  if (entry.stopped) return;
  const toolUseId = `toolu_${randomUUID().slice(0, 8)}`;
  emit(entry, { type: "claude:tool_use", toolUseId, name, input });
  if (ask) {
    const answer = await request(entry, toolUseId, name, input, always);
    if (!answer || answer.decision === "deny") {
      emit(entry, { type: "claude:tool_result", toolUseId, content: answer?.message ?? "The user does not want to proceed with this tool use.", isError: true });
      return answer;
    }
    if (answer.answers) content = Object.entries(answer.answers).map(([question, each]) => `${question} ${[each].flat().join(", ")}`).join("\n");
  }
  await sleep(PACE_MS * 20);
  emit(entry, { type: "claude:tool_result", toolUseId, content, isError });
}

const answerText = `A balcony station needs surprisingly little. The **smallest version worth having** is:

1. a sensor that reports temperature and humidity every minute,
2. one page with the current values and a chart of the last day,
3. nothing else.

### What I would leave out

- rain and wind: they triple the hardware
- accounts and sharing

| Part | Choice | Cost |
|---|---|---:|
| Sensor | BME280 | €6 |
| Board | ESP32-C3 | €5 |
| Server | your dev-VM | – |

\`\`\`python
def dew_point(t: float, rh: float) -> float:
    """Magnus formula, good from -45 to 60 °C."""
    gamma = math.log(rh / 100) + 17.62 * t / (243.12 + t)
    return 243.12 * gamma / (17.62 - gamma)
\`\`\`

The readings go through \`POST /readings\`; see the [BME280 data sheet](https://www.bosch-sensortec.com/). Shall I sketch the page? <script>alert("text, not markup")</script>`;

const questions = [
  {
    question: "Where should the readings be kept?",
    header: "Storage",
    multiSelect: false,
    options: [
      { label: "SQLite", description: "One file on the dev-VM; nothing to run." },
      { label: "InfluxDB", description: "Made for series; one more service to keep alive." },
    ],
  },
  { question: "Which charts matter to you?", header: "Charts", multiSelect: true, options: [{ label: "Temperature" }, { label: "Humidity" }, { label: "Dew point", description: "Computed from both." }] },
];

const plan = `## A first version in three steps

1. **Sensor**: read the BME280 every minute, \`station.py\`
2. **Storage**: one SQLite file, one table
3. **Page**: current values and a chart of the last day

I leave out rain and wind.`;

async function turn(entry, mode, text, messageId, buildMode) {
  entry.stopped = false;
  const started = Date.now();
  emit(entry, { type: "claude:system", sessionId: entry.idea.id, model: "claude-sonnet-4-5" });
  await sleep(PACE_MS * 4);
  emit(entry, { type: "claude:user", text, messageId, mode });
  const record = { run: entry.run, live: true, mode: mode === "chat" ? "chat" : buildMode, startedAt: started, endedAt: null, turns: 0, costUsd: null, durationMs: null, inputTokens: null, outputTokens: null, code: null, reason: null, bytes: 0 };
  entry.runs.unshift(record);
  const failed = (error) => {
    emit(entry, { type: "claude:result", result: error, error, sessionId: entry.idea.id, costUsd: 0.0012, durationMs: Date.now() - started, turns: 1 });
    emit(entry, { type: "claude:error", error });
  };
  await say(entry, "claude:thinking", "The user wants to know what matters first. I should look at what is there before I answer, and keep the first version small.");
  if (/fail/.test(text)) return failed("The Claude service answered 401: the API key is not valid. Sign in on the dev-VM with “claude login”, then send again.");
  if (/crash/.test(text)) {
    await say(entry, "claude:text", "I will start by looking at");
    emit(entry, { type: "run:exit", code: 143, reason: "Claude was ended by a signal" });
    entry.run++;
    entry.offset = 0;
    return;
  }
  if (/question/.test(text)) {
    await tool(entry, "AskUserQuestion", { questions }, "", { ask: true });
    await say(entry, "claude:text", "Thank you, that settles it.");
  } else if (/plan/.test(text)) {
    await tool(entry, "ExitPlanMode", { plan }, "The plan is approved.", { ask: true });
    await say(entry, "claude:text", "I begin with the sensor.");
  } else if (/several/.test(text)) {
    const command = (each) => tool(entry, "Bash", { command: each }, "done", { ask: true, always: [`Bash(${each.split(" ").slice(0, 2).join(" ")} *)`] });
    await Promise.all(["npm run build -- --mode production", "git push origin main", "rm -rf build"].map(command));
    await say(entry, "claude:text", "All three are settled.");
  } else if (mode === "build" || /tools|permission/.test(text)) {
    await say(entry, "claude:text", "Let me look at what is there first.");
    await tool(entry, "Glob", { pattern: "**/*.py" }, "project/station.py\nproject/test_station.py");
    await tool(entry, "Read", { file_path: "/home/dev/catalyst/ideas/balcony/project/station.py" }, "import math\n\n\ndef read():\n    return {}\n");
    await tool(entry, "Bash", { command: "python3 -m pytest -q project", description: "Run the tests" }, "E   ModuleNotFoundError: No module named 'station'\n1 error in 0.04s", { isError: true });
    await tool(
      entry,
      "Edit",
      { file_path: "/home/dev/catalyst/ideas/balcony/project/station.py", old_string: "def read():\n    return {}\n", new_string: 'def read(bus):\n    """One reading, in °C and %."""\n    return bus.sample()\n' },
      "The file has been updated.",
      { ask: /permission/.test(text) },
    );
    await say(entry, "claude:text", "Done: `read` takes the bus as an argument, so the tests can give it one of their own.");
  } else if (/long/.test(text)) {
    for (let n = 0; n < 30 && !entry.stopped; n++) await say(entry, "claude:text", `Paragraph ${n + 1}. ${"Words that go on and on, so that the page must scroll. ".repeat(5)}\n\n`);
  } else {
    await say(entry, "claude:text", answerText);
  }
  if (entry.stopped) {
    emit(entry, { type: "claude:result", result: "Stopped.", error: "Stopped.", interrupted: true, sessionId: entry.idea.id, costUsd: 0.0012, durationMs: Date.now() - started, turns: 1 });
    emit(entry, { type: "claude:error", error: "Stopped." });
    return;
  }
  emit(entry, { type: "claude:result", result: "…", sessionId: entry.idea.id, costUsd: 0.0184, durationMs: Date.now() - started, turns: 3 });
  Object.assign(record, { live: false, endedAt: Date.now(), turns: 1, costUsd: 0.0184, durationMs: Date.now() - started, inputTokens: 18_400, outputTokens: 912, code: 0, reason: "idle", bytes: entry.offset });
  entry.run++;
  entry.offset = 0;
  entry.idea.status = mode === "build" ? "done" : entry.idea.status;
}

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
