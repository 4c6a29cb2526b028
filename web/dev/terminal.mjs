// The mock's terminals: a real shell under script(1), for want of a PTY in Node, so there is no resize. Keeps 256 KiB of
// output for whoever comes back, and holds to the credit of the viewer, as the proxy does.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";

const KEPT = 256 * 1024;
const WINDOW = 256 * 1024;
const shells = new Map();

function shell(key) {
  const known = shells.get(key);
  if (known) return { shell: known, resumed: true };
  const child = spawn("script", ["-qfc", "bash --norc -i", "/dev/null"], { cwd: "/tmp", env: { ...process.env, TERM: "xterm-256color", PS1: "\\[\\e[32m\\]dev\\[\\e[0m\\]:\\w$ " } });
  const made = { child, session: randomUUID(), kept: Buffer.alloc(0), end: 0, viewer: undefined };
  child.stdout.on("data", (data) => {
    made.kept = Buffer.concat([made.kept, data]).subarray(-KEPT);
    made.end += data.length;
    made.viewer?.output(data);
  });
  child.on("exit", (code) => {
    shells.delete(key);
    made.viewer?.over(code);
  });
  shells.set(key, made);
  return { shell: made, resumed: false };
}

export function terminal(client, url) {
  const key = `${url.searchParams.get("idea")}/${url.searchParams.get("terminal")}`;
  const say = (message) => client.readyState === 1 && client.send(JSON.stringify(message));
  let mine;
  let credit = WINDOW;
  const viewer = {
    output(data) {
      client.send(data);
      credit -= data.length;
      if (credit <= 0) mine.child.stdout.pause();
    },
    over(code) {
      say({ type: "exit", reason: mine.closed ? "closed" : "ended", code });
      client.close(1000);
    },
  };
  const alive = setInterval(() => say({ type: "alive" }), 20_000);
  client.on("message", (data, binary) => {
    if (binary) {
      mine?.child.stdin.write(data);
      return say({ type: "credit", bytes: data.length });
    }
    const message = JSON.parse(data.toString());
    if (message.type === "open") {
      const found = shell(key);
      mine = found.shell;
      mine.viewer = viewer;
      const begin = mine.end - mine.kept.length;
      const same = message.session === mine.session && message.after >= begin;
      const offset = same ? message.after : begin;
      const replay = mine.kept.subarray(offset - begin);
      say({ type: "opened", terminal: 1, keeper: "plain", session: mine.session, resumed: found.resumed, lost: false, offset, replay: replay.length, window: WINDOW });
      if (replay.length > 0) viewer.output(replay);
    }
    if (message.type === "credit") {
      credit += message.bytes;
      if (credit > 0) mine?.child.stdout.resume();
    }
  });
  client.on("close", () => {
    clearInterval(alive);
    if (mine?.viewer === viewer) mine.viewer = undefined;
    mine?.child.stdout.resume();
  });
}

export const openTerminals = (idea) => [...shells.keys()].filter((key) => key.startsWith(`${idea}/`)).map((key) => ({ terminal: Number(key.split("/")[1]), keeper: "plain", attached: 0 }));

export function endTerminal(idea, number) {
  const found = shells.get(`${idea}/${number}`);
  if (!found) return false;
  found.closed = true;
  return found.child.kill("SIGKILL");
}

export function endTerminals() {
  for (const { child } of shells.values()) child.kill("SIGKILL");
}
