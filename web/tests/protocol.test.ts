import { describe, expect, it } from "vitest";
import { comparePositions, decode } from "../src/protocol";

describe("decoding", () => {
  it("knows a frame of the log by its position", () => {
    expect(decode('{"type":"claude:text","ideaId":"x","run":3,"seq":"120.1","text":"hi"}')).toEqual({
      kind: "log",
      ideaId: "x",
      frame: { position: { run: 3, seq: "120.1" }, event: { type: "claude:text", text: "hi" } },
    });
  });

  it("takes an error without a position as the server's own word", () => {
    expect(decode('{"type":"claude:error","ideaId":"x","error":"gone"}')).toEqual({ kind: "notice", ideaId: "x", notice: { type: "claude:error", error: "gone" } });
  });

  it("takes what comes beside the log as the server's own word: which request was answered, what failed", () => {
    expect(decode('{"type":"claude:permission_closed","ideaId":"x","requestId":"r","decision":"allow"}')).toEqual({
      kind: "notice",
      ideaId: "x",
      notice: { type: "claude:permission_closed", requestId: "r", decision: "allow" },
    });
    expect(decode('{"type":"claude:error","ideaId":"x","error":"gone","requestId":"r"}')).toMatchObject({ notice: { requestId: "r" } });
    expect(decode('{"type":"claude:error","ideaId":"x","error":"gone","messageId":"m"}')).toMatchObject({ notice: { messageId: "m" } });
    expect(decode('{"type":"subscribed","ideaId":"x","run":1,"after":"5.0","before":null,"live":false}')).toMatchObject({ notice: { after: "5.0" } });
  });

  it("reads null as absent", () => {
    expect(decode('{"type":"subscribed","ideaId":"x","run":null,"after":null,"before":null,"live":false}')).toEqual({
      kind: "notice",
      ideaId: "x",
      notice: { type: "subscribed", live: false },
    });
  });

  it("reads a page of history and leaves out what it does not know", () => {
    const page = {
      type: "history",
      ideaId: "x",
      before: { run: 1, seq: "5.0" },
      frames: [
        { type: "claude:user", ideaId: "x", run: 1, seq: "9.0", text: "q", messageId: "m" },
        { type: "claude:later", ideaId: "x", run: 1, seq: "10.0" },
        null,
      ],
    };
    expect(decode(JSON.stringify(page))).toMatchObject({ notice: { before: { run: 1, seq: "5.0" }, frames: [{ event: { type: "claude:user", text: "q", messageId: "m" } }] } });
  });

  it("hears that the server drains", () => {
    expect(decode('{"ideaId":"","type":"server:draining"}')).toEqual({ kind: "draining" });
  });

  it("drops what is malformed or unknown", () => {
    for (const bad of ["", "null", "[]", "1", "{", "{}", '{"type":"claude:text"}', '{"type":"claude:text","ideaId":"x","run":1,"seq":"x","text":"a"}', '{"type":"new","ideaId":"x"}']) {
      expect(decode(bad), bad).toBeUndefined();
    }
  });
});

it("orders positions by run, offset and place in the line", () => {
  const at = (run: number, seq: string) => ({ run, seq });
  const sorted = [at(1, "2.0"), at(1, "10.0"), at(1, "10.2"), at(1, "10.10"), at(2, "1.0")];
  expect(sorted.toReversed().sort(comparePositions)).toEqual(sorted);
});

it("reads what a build was sent with, a piece too large to be sent, and a remark for the person", () => {
  const event = (frame: Record<string, unknown>) => {
    const message = decode(JSON.stringify({ ideaId: "x", run: 3, seq: "7.0", ...frame }));
    return message?.kind === "log" ? message.frame.event : undefined;
  };
  expect(event({ type: "claude:user", text: "t", mode: "build", buildMode: "plan" })).toEqual({ type: "claude:user", text: "t", mode: "build", buildMode: "plan" });
  expect(event({ type: "claude:user", text: "t", mode: "chat" })).toEqual({ type: "claude:user", text: "t", mode: "chat" });
  expect(event({ type: "claude:large", kind: "user", start: 5, length: 2_000_000 })).toEqual({ type: "claude:large", start: 5, length: 2_000_000 });
  expect(event({ type: "claude:other", event: { type: "catalyst_note", text: "It may end." } })).toEqual({ type: "claude:note", text: "It may end." });
  expect(event({ type: "claude:other", event: { type: "rate_limit_event" } })).toBeUndefined();
});
