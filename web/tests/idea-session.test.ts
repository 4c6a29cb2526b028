// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Connection, Listener } from "../src/connection";
import type { Permission } from "../src/conversation/model";
import { IdeaSession } from "../src/idea-session";
import { decode, type Outgoing } from "../src/protocol";

/** A server end that records what it gets and says what it is told. */
class FakeConnection {
  readonly sent: Outgoing[] = [];
  up = false;
  private after: string | null = null;
  private listener: Listener | undefined;

  listen(_: string, listener: Listener): () => void {
    this.listener = listener;
    if (this.up) listener.connected();
    return () => {};
  }
  send(message: Outgoing): boolean {
    if (this.up) this.sent.push(message);
    if (message.type === "subscribe") this.after = message.after ?? null;
    return this.up;
  }
  connect(): void {
    this.up = true;
    this.listener?.connected();
  }
  drop(): void {
    this.up = false;
    this.listener?.disconnected();
  }
  say(frame: Record<string, unknown>): void {
    const message = decode(JSON.stringify({ ideaId: "idea", ...frame }));
    if (!message) throw new Error("not a frame");
    this.listener?.incoming(message);
  }
  /** Goes on where the client asked for. */
  subscribed(): void {
    this.say({ type: "subscribed", run: 1, after: this.after, before: null, live: true });
  }
  take(): Outgoing[] {
    return this.sent.splice(0);
  }
}

function open(connection = new FakeConnection()) {
  const session = new IdeaSession(connection as unknown as Connection, "idea");
  session.open();
  return { session, connection };
}

const request: Permission = { key: "1:r", requestId: "r", state: "open" };
const ask = { type: "claude:permission", run: 1, seq: "5.0", requestId: "r", toolUseId: "t", name: "Write", input: {} };

beforeEach(() => localStorage.clear());

describe("a session", () => {
  it("subscribes anew after the last frame it has", async () => {
    const { session, connection } = open();
    connection.connect();
    expect(connection.take()).toEqual([{ type: "subscribe", ideaId: "idea" }]);
    connection.subscribed();
    connection.say({ type: "claude:text", run: 1, seq: "40.0", text: "half " });
    // The connection goes before the frame was drawn: it counts all the same.
    connection.drop();
    connection.connect();
    expect(connection.take()).toEqual([{ type: "subscribe", ideaId: "idea", run: 1, after: "40.0" }]);
    connection.subscribed();
    connection.say({ type: "claude:text", run: 1, seq: "50.0", text: "whole" });
    await vi.waitFor(() => expect(session.conversation.get().entries).toMatchObject([{ parts: [{ text: "half whole" }] }]));
  });

  it("keeps what is sent offline, over a reload too, and resends under the same id until it is confirmed", () => {
    const first = open();
    first.session.send("build", "make it");
    expect(first.connection.take()).toEqual([]);

    const { session, connection } = open();
    expect(session.conversation.get().pending).toMatchObject([{ text: "make it", mode: "build", state: "waiting" }]);
    connection.connect();
    connection.take();
    connection.subscribed();
    const [sent] = connection.take();
    expect(sent).toMatchObject({ type: "build", instructions: "make it" });
    connection.drop();
    connection.connect();
    connection.take();
    connection.subscribed();
    expect(connection.take()).toEqual([sent]);
    const messageId = sent?.type === "build" ? sent.messageId : "";
    expect(messageId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    connection.say({ type: "accepted", messageId, run: 1 });
    connection.drop();
    connection.connect();
    connection.take();
    connection.subscribed();
    expect(connection.take()).toEqual([]);
    expect(open().session.conversation.get().pending).toEqual([]);
  });

  it("repeats an answer that may have been lost with the connection", () => {
    const { session, connection } = open();
    connection.connect();
    connection.subscribed();
    connection.say({ type: "claude:permission", run: 1, seq: "5.0", requestId: "r", toolUseId: "t", name: "Write", input: {} });
    session.answer(request, { decision: "allow" });
    connection.drop();
    connection.connect();
    connection.take();
    connection.subscribed();
    expect(connection.take()).toEqual([{ type: "answer", ideaId: "idea", requestId: "r", decision: "allow" }]);
  });

  it("keeps an answer over a reload, and gives it to the request that it was meant for alone", async () => {
    const before = open();
    before.connection.connect();
    before.connection.subscribed();
    before.connection.say(ask);
    before.connection.drop();
    before.session.answer(request, { decision: "deny", message: "not there" });
    expect(before.connection.take().filter(({ type }) => type === "answer")).toEqual([]);

    // Another process numbers its requests anew: its "r" is another question.
    const other = open();
    other.connection.connect();
    other.connection.subscribed();
    other.connection.say({ ...ask, run: 2 });
    other.connection.say({ type: "run:state", running: true });
    expect(other.session.conversation.get().entries).toMatchObject([{ parts: [{ permission: { state: "open" } }] }]);
    expect(other.connection.take().filter(({ type }) => type === "answer")).toEqual([]);

    const { connection } = open();
    connection.connect();
    connection.subscribed();
    connection.take();
    connection.say(ask);
    await vi.waitFor(() => expect(connection.take()).toEqual([{ type: "answer", ideaId: "idea", requestId: "r", decision: "deny", message: "not there" }]));
  });

  it("sends an answer once on one connection", async () => {
    const { session, connection } = open();
    connection.connect();
    connection.subscribed();
    connection.say(ask);
    connection.say({ type: "run:state", running: true });
    connection.take();
    session.answer(request, { decision: "always" });
    for (const seq of ["6.0", "7.0"]) {
      connection.say({ type: "claude:text", run: 1, seq, text: "x" });
      connection.say({ type: "run:state", running: true });
    }
    expect(connection.take()).toEqual([{ type: "answer", ideaId: "idea", requestId: "r", decision: "always" }]);
    connection.say({ type: "claude:permission_closed", requestId: "r", decision: "allow" });
    expect(localStorage.getItem("catalyst:answers:idea")).toBeNull();
  });

  it("tells how far a build may go, over a reload too", () => {
    open().session.send("build", "make it", "plan");
    const { connection } = open();
    connection.connect();
    connection.subscribed();
    expect(connection.take().at(-1)).toMatchObject({ type: "build", instructions: "make it", mode: "plan" });
  });

  it("asks again after a reconnect for the lists that are looked at", () => {
    const { session, connection } = open();
    connection.connect();
    connection.subscribed();
    session.watchRuns();
    session.watchRules();
    connection.say({ type: "permissions", rules: ["Bash(ls *)"] });
    connection.say({ type: "runs", runs: [{ run: 3, live: true, mode: "plan" }, { run: 2, live: false, costUsd: 1 }], before: 2 });
    expect(session.rules.get()).toEqual(["Bash(ls *)"]);
    connection.take();
    session.loadEarlierRuns();
    expect(connection.take()).toEqual([{ type: "runs", ideaId: "idea", before: 2 }]);
    connection.say({ type: "runs", runs: [{ run: 1, live: false }], before: null });
    expect(session.runs.get()).toEqual({
      runs: [
        { run: 3, live: true, mode: "plan" },
        { run: 2, live: false, costUsd: 1 },
        { run: 1, live: false },
      ],
    });
    connection.drop();
    connection.connect();
    connection.subscribed();
    expect(connection.take().map(({ type }) => type)).toEqual(["subscribe", "runs", "permissions"]);
  });

  it("sends a failed message again under its id, so that it cannot run twice, over a reload too", () => {
    const before = open();
    before.connection.connect();
    before.connection.subscribed();
    before.session.send("chat", "hello");
    const first = before.connection.take().at(-1);
    const messageId = first?.type === "chat" ? first.messageId : "";
    before.connection.say({ type: "claude:error", error: "The VM's disk is full.", messageId });
    expect(before.session.conversation.get().pending).toMatchObject([{ state: "failed" }]);

    const { session, connection } = open();
    expect(session.conversation.get().pending).toMatchObject([{ messageId, text: "hello", state: "failed", error: "The VM's disk is full." }]);
    connection.connect();
    connection.take();
    connection.subscribed();
    // A person decides, not the reload.
    expect(connection.take()).toEqual([]);
    session.sendAgain(messageId);
    expect(connection.take()).toEqual([first]);
    expect(session.conversation.get().pending).toMatchObject([{ messageId, state: "sent" }]);
  });

  it("sends a message again under a new id when a run had taken it and ended", () => {
    const { session, connection } = open();
    connection.connect();
    connection.subscribed();
    session.send("chat", "hello");
    const first = connection.take().at(-1);
    const messageId = first?.type === "chat" ? first.messageId : "";
    connection.say({ type: "accepted", messageId, run: 1 });
    connection.say({ type: "run:exit", run: 1, seq: "9.0", code: 1, reason: "ended" });
    connection.say({ type: "run:state", running: false });
    session.sendAgain(messageId);
    const second = connection.take().at(-1);
    expect(second).toMatchObject({ type: "chat", message: "hello" });
    expect(second).not.toEqual(first);
    expect(session.conversation.get().pending).toHaveLength(1);
  });

  it("takes a failure for what it names alone", () => {
    const { session, connection } = open();
    connection.connect();
    connection.subscribed();
    connection.say({ type: "claude:permission", run: 1, seq: "5.0", requestId: "r", toolUseId: "t", name: "Write", input: {} });
    session.send("chat", "hello");
    session.answer(request, { decision: "allow" });
    connection.say({ type: "claude:error", error: "The run could not be stopped." });
    connection.say({ type: "claude:error", error: "Not ours.", messageId: "of-another" });
    expect(session.conversation.get().pending).toMatchObject([{ state: "sent" }]);
    expect(session.conversation.get()).toMatchObject({ answers: { "1:r": { decision: "allow" } }, notice: "Not ours." });
    connection.say({ type: "claude:error", error: "It did not arrive.", requestId: "r" });
    // Allow and Deny can be pressed again.
    expect(session.conversation.get()).toMatchObject({ answers: {}, notice: "It did not arrive." });
  });

  it("asks for one page at a time", () => {
    const { session, connection } = open();
    connection.connect();
    connection.say({ type: "subscribed", run: 1, after: null, before: { run: 1, seq: "100.0" }, live: false });
    connection.take();
    session.loadEarlier();
    session.loadEarlier();
    expect(connection.take()).toEqual([{ type: "page", ideaId: "idea", before: { run: 1, seq: "100.0" } }]);
    connection.say({ type: "history", frames: [], before: null });
    expect(session.paging.get()).toBe(false);
    expect(session.conversation.get().before).toBeUndefined();
  });

  it("subscribes again by itself when the VM was away, or others sent very much, and says so until it is let in", () => {
    vi.useFakeTimers();
    try {
      const { session, connection } = open();
      connection.connect();
      connection.take();
      for (const error of ["The dev-VM cannot be reached.", "Others send very much at the moment", "Others send very much at the moment"]) {
        connection.say({ type: "claude:error", error });
        expect(session.conversation.get()).toMatchObject({ subscribed: false, notice: error });
        expect(connection.take()).toEqual([]);
        vi.advanceTimersByTime(4000);
        expect(connection.take()).toEqual([{ type: "subscribe", ideaId: "idea" }]);
      }
      connection.subscribed();
      expect(session.conversation.get().notice).toBeUndefined();
      vi.advanceTimersByTime(60_000);
      expect(connection.take()).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  it("asks again for a list that it was not given, ever less often, and for none that it has", () => {
    vi.useFakeTimers();
    try {
      const { session, connection } = open();
      connection.connect();
      connection.subscribed();
      session.watchRuns();
      session.watchRules();
      connection.say({ type: "permissions", rules: [] });
      connection.take();
      for (const pause of [4000, 8000, 16_000, 32_000, 60_000, 60_000]) {
        connection.say({ type: "claude:error", error: "Too much waits on this connection" });
        vi.advanceTimersByTime(pause - 1);
        expect(connection.take()).toEqual([]);
        vi.advanceTimersByTime(1);
        expect(connection.take()).toEqual([{ type: "runs", ideaId: "idea" }]);
      }
      connection.say({ type: "runs", runs: [{ run: 1, live: false }], before: null });
      // One that failed after it took what was there away brings it back.
      session.trimRuns(10);
      connection.take();
      connection.say({ type: "claude:error", error: "Others send very much at the moment" });
      vi.advanceTimersByTime(4000);
      expect(connection.take()).toEqual([{ type: "runs", ideaId: "idea" }]);
      connection.say({ type: "runs", runs: [{ run: 1, live: false }], before: null });
      connection.say({ type: "claude:error", error: "The run could not be stopped." });
      vi.advanceTimersByTime(60_000);
      expect(connection.take()).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });
});
