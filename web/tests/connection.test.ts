// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { api, type Health } from "../src/api";
import { Connection } from "../src/connection";

class FakeWebSocket {
  static all: FakeWebSocket[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  constructor() {
    FakeWebSocket.all.push(this);
  }
  send(): void {}
  close(): void {}
}

let health: Health;
let visibility: DocumentVisibilityState;
let connection: Connection;
let signedIn: boolean;
const signedOut = vi.fn();

beforeEach(() => {
  vi.useFakeTimers();
  FakeWebSocket.all = [];
  health = { state: "ok" };
  visibility = "visible";
  signedIn = true;
  signedOut.mockClear();
  vi.stubGlobal("WebSocket", FakeWebSocket);
  vi.spyOn(document, "visibilityState", "get").mockImplementation(() => visibility);
  vi.spyOn(api, "health").mockImplementation(() => Promise.resolve({ ...health }));
  vi.spyOn(api, "authenticated").mockImplementation(() => Promise.resolve(signedIn));
  connection = new Connection(signedOut);
});

afterEach(() => {
  connection.stop();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const latest = () => FakeWebSocket.all.at(-1);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("the connection", () => {
  it("tries again as soon as the server answers, whatever is left of the pause", async () => {
    connection.start();
    latest()?.onopen?.();
    health = { state: "unreachable" };
    // Several failures, so that the pause is long.
    for (let n = 0; n < 6; n++) {
      latest()?.onclose?.();
      await pass(0);
      if (n < 5) await pass(15_000);
    }
    expect(connection.state.get()).toBe("offline");
    const before = FakeWebSocket.all.length;
    health = { state: "vm-away" };
    await pass(4_000);
    expect(FakeWebSocket.all).toHaveLength(before + 1);
  });

  it("does not hammer a server that answers and refuses the socket", async () => {
    connection.start();
    for (let n = 0; n < 5; n++) {
      const before = FakeWebSocket.all.length;
      latest()?.onclose?.();
      await pass(200 * 2 ** n);
      expect(FakeWebSocket.all).toHaveLength(before);
      await pass(300 * 2 ** n);
      expect(FakeWebSocket.all).toHaveLength(before + 1);
    }
  });

  it("keeps the session of a page in the background", async () => {
    connection.start();
    latest()?.onopen?.();
    visibility = "hidden";
    const speak = setInterval(() => latest()?.onmessage?.({ data: '{"ideaId":"","type":"server:alive"}' }), 20_000);
    await pass(3_500_000);
    expect(api.authenticated).not.toHaveBeenCalled();
    await pass(3 * 3_600_000);
    clearInterval(speak);
    expect(vi.mocked(api.authenticated).mock.calls.length).toBe(3);
    expect(signedOut).not.toHaveBeenCalled();
  });
});
