// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { render } from "preact";
import { expect, it } from "vitest";
import { emptyConversation } from "../src/conversation/model";
import { reduce } from "../src/conversation/reduce";
import type { IdeaSession } from "../src/idea-session";
import { decode, exitReasons } from "../src/protocol";
import { RunTable } from "../src/screens/runs";
import { Answer } from "../src/session/answer";

/** What the conversation says of a run that ended so in mid-turn. */
function said(reason: unknown): string | undefined {
  const frames = [{ type: "claude:text", seq: "10.0", text: "so far" }, { type: "run:exit", seq: "20.0", code: 1, reason }].map((members) => {
    const incoming = decode(JSON.stringify({ ideaId: "x", run: 1, ...members }));
    if (incoming?.kind !== "log") throw new Error("it is not of the log");
    return incoming.frame;
  });
  const entry = reduce(emptyConversation, { type: "frames", frames }).entries.at(-1);
  if (entry?.kind !== "assistant") throw new Error("it is not shown as an answer");
  const root = document.createElement("div");
  render(<Answer entry={entry} live={false} connected session={{ slug: "x" } as IdeaSession} answers={{}} />, root);
  return root.querySelector("[data-testid=run-exit]")?.textContent ?? undefined;
}

/** What the list says of a run that ended so. */
function listed(reason: unknown): string | undefined {
  const incoming = decode(JSON.stringify({ ideaId: "x", type: "runs", runs: [{ run: 1, live: false, mode: "chat", reason }] }));
  if (incoming?.kind !== "notice" || incoming.notice.type !== "runs") throw new Error("it is no list of runs");
  const root = document.createElement("div");
  render(<RunTable slug="x" runs={incoming.notice.runs} whole />, root);
  return root.querySelectorAll("[data-testid=run] td")[1]?.textContent ?? undefined;
}

it("every ending of a run that the server knows is known to the page", () => {
  const server = /RUN_ENDINGS: &\[&str; \d+\] = &\[([^\]]*)\]/.exec(readFileSync("../proxy/src/run/mod.rs", "utf8"))?.[1];
  expect(exitReasons).toEqual(server?.match(/\w+/g));
});

it("each has a sentence of its own, and one that is not known another", () => {
  const sentences = exitReasons.map(said);
  expect(sentences.every((sentence) => sentence?.includes("(exit code 1) Your next message"))).toBe(true);
  expect(new Set(sentences).size).toBe(exitReasons.length);
  expect(said("full")).toContain("disk is full");
  for (const unknown of ["what the agent wrote", "constructor", ""]) expect(said(unknown), unknown).toBe(said("other"));
});

it("the list names those that should not have been, a full disk among them", () => {
  const words = Object.fromEntries(exitReasons.map((reason) => [reason, listed(reason)]));
  expect(words["full"]).toBe("Chat · disk full");
  for (const usual of ["ended", "idle", "switched", "revoked", "other"]) expect(words[usual], usual).toBe("Chat");
  for (const bad of ["stopped", "silent", "overtime", "lost", "rebooted", "missing"]) expect(words[bad], bad).toContain("Chat · ");
  expect(listed("constructor")).toBe("Chat");
});
