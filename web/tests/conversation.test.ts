import { describe, expect, it } from "vitest";
import { type AssistantEntry, type Conversation, emptyConversation, isAsking, isBusy, type Part, type PendingMessage } from "../src/conversation/model";
import { type Action, reduce } from "../src/conversation/reduce";
import type { LogEvent, LogFrame, Notice } from "../src/protocol";

const frame = (run: number, seq: string, event: LogEvent): LogFrame => ({ position: { run, seq }, event });
const text = (value: string): LogEvent => ({ type: "claude:text", text: value });
const user = (value: string, messageId?: string): LogEvent => ({ type: "claude:user", text: value, ...(messageId && { messageId }) });
const result = (fields: Partial<Extract<LogEvent, { type: "claude:result" }>> = {}): LogEvent => ({ type: "claude:result", result: "x", interrupted: false, ...fields });
const fold = (...actions: Action[]): Conversation => actions.reduce(reduce, emptyConversation);
const frames = (...all: LogFrame[]): Action => ({ type: "frames", frames: all });
const notice = (value: Notice): Action => ({ type: "notice", notice: value });
const message = (messageId: string, value = "hello"): PendingMessage => ({ messageId, mode: "chat", text: value, state: "waiting" });
const parts = (state: Conversation): readonly Part[] => state.entries.filter((entry): entry is AssistantEntry => entry.kind === "assistant").flatMap((entry) => entry.parts);
const said = (state: Conversation): string => parts(state).flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("|");

/** A turn with everything in it. */
const turn: readonly LogFrame[] = [
  frame(1, "10.0", { type: "claude:system", sessionId: "s", model: "m" }),
  frame(1, "20.0", user("do it", "u1")),
  frame(1, "30.0", { type: "claude:thinking", text: "hm" }),
  frame(1, "40.0", text("Let ")),
  frame(1, "50.0", text("me ")),
  frame(1, "50.1", text("look.")),
  frame(1, "90.0", { type: "claude:tool_use", toolUseId: "t1", name: "Bash", input: { command: "ls" } }),
  frame(1, "100.0", { type: "claude:permission", requestId: "r1", toolUseId: "t1", name: "Bash", input: { command: "ls" } }),
  frame(1, "110.0", { type: "claude:permission_closed", requestId: "r1", decision: "allow" }),
  frame(1, "1000.0", { type: "claude:tool_result", toolUseId: "t1", content: "a\nb", isError: false }),
  frame(1, "1010.0", text("Two files.")),
  frame(1, "1020.0", result({ costUsd: 0.1, durationMs: 5, turns: 2 })),
  frame(2, "15.0", user("again", "u2")),
  frame(2, "25.0", text("Yes.")),
  frame(2, "35.0", result()),
];

describe("taking frames", () => {
  it("shows a turn with its text, tool call and result", () => {
    const state = fold(frames(...turn.slice(0, 12)));
    expect(state.entries.map((entry) => entry.kind)).toEqual(["user", "assistant"]);
    expect(parts(state)).toEqual([
      { kind: "thinking", key: "1:30.0", text: "hm" },
      { kind: "text", key: "1:40.0", text: "Let me look." },
      { kind: "tool", key: "1:90.0", toolUseId: "t1", name: "Bash", input: { command: "ls" }, permission: { key: "1:r1", requestId: "r1", state: "allowed" }, result: { content: "a\nb", isError: false } },
      { kind: "text", key: "1:1010.0", text: "Two files." },
      { kind: "result", key: "1:1020.0", outcome: "done", costUsd: 0.1, durationMs: 5, turns: 2 },
    ]);
    expect(state.turnOpen).toBe(false);
    expect(state.model).toBe("m");
  });

  it("compares offsets as numbers: 1000 comes after 90", () => {
    expect(said(fold(frames(frame(1, "90.0", text("a"))), frames(frame(1, "1000.0", text("b")))))).toBe("ab");
    expect(said(fold(frames(frame(1, "9.9", text("a"))), frames(frame(1, "9.10", text("b")))))).toBe("ab");
  });

  it("gives the same, however the frames are cut and however much of them is replayed", () => {
    const whole = fold(frames(...turn));
    let seed = 7;
    const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    for (let round = 0; round < 300; round++) {
      let state = emptyConversation;
      for (let at = 0; at < turn.length; ) {
        const to = at + 1 + random(4);
        state = reduce(state, frames(...turn.slice(random(at + 1), to)));
        at = to;
      }
      expect(state).toEqual(whole);
    }
  });

  it("gives the same when the beginning comes later, as pages of history", () => {
    const whole = fold(frames(...turn));
    for (let cut = 1; cut < turn.length; cut++) {
      for (let page = 1; page <= cut; page++) {
        const edge = turn[cut]?.position;
        const inner = turn[cut - page]?.position;
        if (!edge || !inner) throw new Error("a cut lies inside");
        const state = fold(
          notice({ type: "subscribed", live: true, before: edge }),
          frames(...turn.slice(cut)),
          notice({ type: "history", frames: turn.slice(cut - page, cut), before: inner }),
          // A page that overlaps what is there already.
          notice({ type: "history", frames: turn.slice(0, Math.min(turn.length, cut + 1)) }),
        );
        expect(state.entries.map(({ kind }) => kind)).toEqual(whole.entries.map(({ kind }) => kind));
        expect(parts(state).map(({ key: _, ...part }) => part)).toEqual(parts(whole).map(({ key: _, ...part }) => part));
        expect(state.before).toBeUndefined();
      }
    }
  });

  it("takes a call of another run for another call, whatever its id", () => {
    const call = (run: number): LogFrame => frame(run, "5.0", { type: "claude:tool_use", toolUseId: "t", name: `Tool${run}`, input: {} });
    const state = fold(frames(frame(1, "1.0", user("a")), call(1), frame(1, "6.0", result()), frame(2, "1.0", user("b")), call(2)));
    expect(parts(state).flatMap((part) => (part.kind === "tool" ? [part.name] : []))).toEqual(["Tool1", "Tool2"]);
  });

  it("keeps a long text as one frame", () => {
    const state = fold(...Array.from({ length: 500 }, (_, n) => frames(frame(1, `${n + 1}.0`, text("x")))));
    expect(state.frames).toHaveLength(1);
    expect(said(state)).toBe("x".repeat(500));
    expect(state.last).toEqual({ run: 1, seq: "500.0" });
  });

  it("leaves what was drawn before untouched, so that only what changed is drawn again", () => {
    const before = fold(frames(...turn.slice(0, 12)));
    const after = reduce(before, frames(...turn.slice(12)));
    expect(after.entries[0]).toBe(before.entries[0]);
    expect(after.entries[1]).toBe(before.entries[1]);
    expect(before.entries).toHaveLength(2);
  });
});

describe("the end of a turn", () => {
  it("takes the text from the result when no text came before it", () => {
    expect(said(fold(frames(frame(1, "1.0", user("q")), frame(1, "2.0", result({ result: "whole answer" })))))).toBe("whole answer");
  });

  it("does not repeat the text in the result", () => {
    expect(said(fold(frames(frame(1, "1.0", text("answer")), frame(1, "2.0", result({ result: "answer" })))))).toBe("answer");
  });

  it("shows a failure once, though it is told twice, in either order", () => {
    const failure = frame(1, "3.0", result({ error: "no key" }));
    for (const order of [
      [failure, frame(1, "4.0", { type: "claude:error", error: "no key" } as const)],
      [frame(1, "2.0", { type: "claude:error", error: "no key" } as const), failure],
    ]) {
      const state = fold(frames(frame(1, "1.0", user("q")), ...order));
      expect(parts(state).map((part) => part.kind)).toEqual(["error", "result"]);
    }
  });

  it("calls a turn that the user ended stopped, not failed", () => {
    const stop = result({ error: "Stopped", interrupted: true });
    const state = fold(frames(frame(1, "1.0", text("a")), frame(1, "2.0", stop), frame(1, "3.0", { type: "claude:error", error: "Stopped" })));
    expect(parts(state).map((part) => (part.kind === "result" ? part.outcome : part.kind))).toEqual(["text", "stopped"]);
  });

  it("withdraws a request that nobody answered", () => {
    const asked = frame(1, "1.0", { type: "claude:permission", requestId: "r", toolUseId: "t", name: "Write", input: {} });
    const open = fold(frames(asked), { type: "answer", key: "1:r", answer: { decision: "allow" } });
    expect(open.answers).toEqual({ "1:r": { decision: "allow" } });
    expect([isAsking(fold(frames(asked))), isAsking(open)]).toEqual([true, false]);
    const ended = reduce(open, frames(frame(1, "2.0", result())));
    expect(parts(ended)[0]).toMatchObject({ permission: { state: "withdrawn" } });
    expect(ended.answers).toEqual({});
  });

  it("closes the turn when the process dies or a later run begins", () => {
    const open = fold(frames(frame(1, "1.0", user("q")), frame(1, "2.0", text("a"))));
    expect(open.turnOpen).toBe(true);
    const dead = reduce(open, frames(frame(1, "3.0", { type: "run:exit", code: 137, reason: "lost" })));
    expect(dead.turnOpen).toBe(false);
    expect(parts(dead).at(-1)).toMatchObject({ kind: "exit", code: 137, reason: "lost" });
    expect(reduce(open, frames(frame(2, "1.0", { type: "claude:system", sessionId: "s", model: "m" }))).turnOpen).toBe(false);
  });

  it("says nothing of a process that ended between turns, however it ended", () => {
    for (const event of [
      { type: "run:exit", code: 0, reason: "ended" },
      { type: "run:exit", code: 143, reason: "idle" },
      { type: "run:exit", code: -1, reason: "rebooted" },
    ] as const) {
      expect(parts(fold(frames(...turn.slice(0, 12), frame(1, "1030.0", event)))).at(-1)?.kind).toBe("result");
    }
  });

  it("says once why a process died in mid-turn, as the server tells it: error, result, exit", () => {
    const state = fold(
      frames(
        frame(1, "1.0", user("q")),
        frame(1, "2.0", { type: "claude:error", error: "killed" }),
        frame(1, "2.1", result({ error: "killed" })),
        frame(1, "2.2", { type: "run:exit", code: 137, reason: "lost" }),
      ),
    );
    expect(parts(state).map((part) => part.kind)).toEqual(["error", "result"]);
  });

  it("shows several open requests, each with its own answer", () => {
    const ask = (id: string, seq: string) => frame(1, seq, { type: "claude:permission", requestId: id, toolUseId: `t-${id}`, name: "Write", input: {} });
    const state = fold(frames(ask("a", "1.0"), ask("b", "2.0")), frames(frame(1, "3.0", { type: "claude:permission_closed", requestId: "b", decision: "deny" })));
    expect(parts(state).map((part) => part.kind === "tool" && part.permission?.state)).toEqual(["open", "denied"]);
  });
});

describe("a request that was answered, which only the server says", () => {
  const ask = (run: number, id = "r") => frame(run, "10.0", { type: "claude:permission", requestId: id, toolUseId: "t", name: "Write", input: {} });
  const closed = (decision?: "allow" | "deny") => notice({ type: "claude:permission_closed", requestId: "r", ...(decision && { decision }) });
  const shown = (state: Conversation) => parts(state).map((part) => part.kind === "tool" && part.permission?.state);

  it("is shown with its answer, and asks no more", () => {
    expect(shown(fold(frames(ask(1)), closed("allow")))).toEqual(["allowed"]);
    expect(shown(fold(frames(ask(1)), closed("deny")))).toEqual(["denied"]);
    // One that was answered before this server looked.
    expect(isAsking(fold(frames(ask(1)), closed()))).toBe(false);
    expect(fold(frames(ask(1)), { type: "answer", key: "1:r", answer: { decision: "allow" } }, closed("allow")).answers).toEqual({});
  });

  it("tells when it was somebody else who answered", () => {
    const elsewhere = (...actions: Action[]) => parts(fold(frames(ask(1)), ...actions)).map((part) => part.kind === "tool" && part.permission?.elsewhere === true);
    const own = (decision: "allow" | "always" | "deny"): Action => ({ type: "answer", key: "1:r", answer: { decision } });
    expect(elsewhere(closed("allow"))).toEqual([true]);
    expect(elsewhere(own("always"), closed("allow"))).toEqual([false]);
    expect(elsewhere(own("deny"), closed("deny"))).toEqual([false]);
    expect(elsewhere(own("deny"), closed("allow"))).toEqual([true]);
    // Withdrawn, or answered before this server looked: nobody knows.
    expect(elsewhere(closed())).toEqual([false]);
  });

  it("asks no more once its call has a result, though nobody said how it was answered", () => {
    const result = (isError: boolean) => frames(frame(1, "12.0", { type: "claude:tool_result", toolUseId: "t", content: "x", isError }));
    expect(shown(fold(frames(ask(1)), result(false)))).toEqual(["allowed"]);
    const refused = fold(frames(ask(1)), { type: "answer", key: "1:r", answer: { decision: "deny" } }, result(true));
    expect([shown(refused), refused.answers]).toEqual([["withdrawn"], {}]);
  });

  it("stays answered when earlier frames come, and when the frames come again", () => {
    const state = fold(frames(ask(3)), closed("allow"));
    const paged = reduce(state, notice({ type: "history", frames: [frame(1, "1.0", user("q"))] }));
    expect(shown(paged)).toEqual(["allowed"]);
    expect(shown(reduce(reduce(state, notice({ type: "subscribed", live: true })), frames(ask(3))))).toEqual(["allowed"]);
    // Another process counts from the beginning.
    expect(shown(reduce(state, frames(ask(4))))).toContain("open");
  });

  it("says nothing of a request that is over or was never shown", () => {
    const ended = fold(frames(ask(1), frame(1, "20.0", result())));
    expect(reduce(ended, closed("allow"))).toBe(ended);
    const other = fold(frames(ask(1, "other")));
    expect(reduce(other, closed("allow"))).toBe(other);
  });

  it("drops the failure of an answer that came too late", () => {
    const late = reduce(fold(frames(ask(1)), { type: "answer", key: "1:r", answer: { decision: "deny" } }, closed("allow")), notice({ type: "claude:error", error: "already answered", requestId: "r" }));
    expect(late.notice).toBeUndefined();
    expect(shown(late)).toEqual(["allowed"]);
  });
});

describe("own messages", () => {
  it("shows a message once: the local one gives way to that of the log", () => {
    const state = fold(
      { type: "compose", message: message("u1") },
      { type: "sent", messageId: "u1" },
      notice({ type: "accepted", messageId: "u1", run: 1 }),
    );
    expect(state.pending).toMatchObject([{ state: "accepted", run: 1 }]);
    expect(isBusy(state)).toBe(true);
    const delivered = reduce(state, frames(frame(1, "1.0", user("hello", "u1"))));
    expect(delivered.pending).toEqual([]);
    expect(delivered.entries).toEqual([{ kind: "user", key: "1:1.0", text: "hello", mode: "chat" }]);
  });

  it("keeps a second message of the same text", () => {
    const state = fold({ type: "compose", message: message("u1") }, { type: "compose", message: message("u2") }, frames(frame(1, "1.0", user("hello", "u2"))));
    expect(state.pending.map((each) => each.messageId)).toEqual(["u1"]);
  });

  it("waits again when the connection goes before the server confirmed", () => {
    const sent = fold({ type: "compose", message: message("u1") }, { type: "sent", messageId: "u1" });
    expect(reduce(sent, { type: "disconnected" }).pending[0]?.state).toBe("waiting");
    const accepted = reduce(sent, notice({ type: "accepted", messageId: "u1", run: 1 }));
    expect(reduce(accepted, { type: "disconnected" }).pending[0]?.state).toBe("accepted");
  });

  it("gives an error to the message that it names, else to the page", () => {
    const sent = fold(...["u1", "u2"].flatMap((id): Action[] => [{ type: "compose", message: message(id) }, { type: "sent", messageId: id }]));
    const failed = reduce(sent, notice({ type: "claude:error", error: "disk full", messageId: "u2" }));
    expect(failed.pending).toMatchObject([{ state: "sent" }, { state: "failed", error: "disk full" }]);
    expect(failed.notice).toBeUndefined();
    const other = reduce(sent, notice({ type: "claude:error", error: "no stop" }));
    expect(other.pending).toEqual(sent.pending);
    expect(other.notice).toBe("no stop");
    expect(fold(notice({ type: "claude:error", error: "gone" })).notice).toBe("gone");
  });

  it("tells when a run ended before it read an accepted message", () => {
    const state = fold(
      { type: "compose", message: message("u1") },
      notice({ type: "accepted", messageId: "u1", run: 3 }),
      frames(frame(3, "9.0", { type: "run:exit", code: 1, reason: "ended" })),
    );
    expect(state.pending).toMatchObject([{ state: "failed" }]);
  });
});

describe("subscribing again", () => {
  it("goes on where it was", () => {
    const state = fold(frames(...turn.slice(0, 5)), { type: "disconnected" }, notice({ type: "subscribed", live: true, after: "50.0", before: { run: 1, seq: "50.0" } }), frames(...turn.slice(5)));
    expect(state).toEqual({ ...fold(frames(...turn)), subscribed: true });
  });

  it("starts afresh when the server can no longer reach back to where it was", () => {
    const state = fold(
      frames(...turn.slice(0, 5)),
      { type: "compose", message: message("u9") },
      notice({ type: "subscribed", live: true, after: "50.0", before: { run: 2, seq: "15.0" } }),
      frames(...turn.slice(12)),
    );
    expect(said(state)).toBe("Yes.");
    expect(state.before).toEqual({ run: 2, seq: "15.0" });
    expect(state.pending).toHaveLength(1);
  });

  it("starts afresh when the server does not have the place where it was: the log is another", () => {
    const state = fold(frames(...turn), notice({ type: "subscribed", live: false }), frames(...turn.slice(0, 12)));
    expect(state).toEqual({ ...fold(frames(...turn.slice(0, 12))), subscribed: true });
  });
});
