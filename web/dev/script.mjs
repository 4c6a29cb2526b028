// The mock's Claude. What it does depends on words of the message: "tools", "permission", "question", "plan", "several",
// "fail", "long", "crash". PACE_MS is the pause between two words,
// SIGNED_IN_AS the name of who says what, as a trusted proxy would give it.
import { randomUUID } from "node:crypto";

const PACE_MS = Number(process.env.PACE_MS ?? 25);

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

export async function turn(entry, mode, text, messageId, buildMode) {
  entry.stopped = false;
  const started = Date.now();
  emit(entry, { type: "claude:system", sessionId: entry.idea.id, model: "claude-sonnet-4-5" });
  await sleep(PACE_MS * 4);
  emit(entry, { type: "claude:user", text, messageId, mode, ...(process.env.SIGNED_IN_AS && { by: process.env.SIGNED_IN_AS }) });
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
