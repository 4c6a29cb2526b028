import { beforeEach, describe, expect, it, vi } from "vitest";
import { CREDIT_STEP, INPUT_LIMIT, INPUT_PART, INPUT_WINDOW, type LinkState, TerminalLink, type TerminalSocket } from "../src/terminal/link";
import type { ToServer } from "../src/terminal/protocol";

class FakeSocket implements TerminalSocket {
  binaryType: BinaryType = "blob";
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  control: ToServer[] = [];
  bytes: Uint8Array[] = [];
  closed = false;
  send(data: string | Uint8Array): void {
    if (typeof data === "string") this.control.push(JSON.parse(data) as ToServer);
    else this.bytes.push(data);
  }
  close(): void {
    this.closed = true;
  }
  say(message: Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  print(length: number, fill = 0x61): void {
    this.onmessage?.({ data: new Uint8Array(length).fill(fill).buffer });
  }
  sentBytes = () => this.bytes.reduce((all, each) => all + each.length, 0);
}

/** A screen that draws when it is told to. */
class FakeScreen {
  cols = 80;
  drawn: (() => void)[] = [];
  log: string[] = [];
  size = () => ({ cols: this.cols, rows: 24 });
  write(bytes: Uint8Array, shown: () => void): void {
    this.log.push(`write ${bytes.length}`);
    this.drawn.push(shown);
  }
  reset(): void {
    this.log.push("reset");
  }
  draw(): void {
    for (const shown of this.drawn.splice(0)) shown();
  }
}

let sockets: FakeSocket[];
let screen: FakeScreen;
let states: LinkState[];
let problems: string[];
let link: TerminalLink;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  screen = new FakeScreen();
  states = [];
  problems = [];
  link = new TerminalLink(
    screen,
    { state: (state) => states.push(state), problem: (error) => problems.push(error) },
    {
      open: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
      random: () => 1,
    },
  );
  return () => vi.useRealTimers();
});

const socket = () => {
  const last = sockets.at(-1);
  if (!last) throw new Error("no socket");
  return last;
};
const opened = (more: Record<string, unknown> = {}) => socket().say({ type: "opened", terminal: 1, keeper: "tmux", session: "s", resumed: true, lost: false, offset: 0, replay: 0, window: 262144, ...more });
const connect = (more: Record<string, unknown> = {}) => {
  link.connect();
  socket().onopen?.();
  opened(more);
};
const credits = () => socket().control.flatMap((each) => (each.type === "credit" ? [each.bytes] : []));
const state = () => states.at(-1);

describe("output", () => {
  it("is credited when it is drawn, not when it arrives", () => {
    connect();
    for (let n = 0; n < 8; n++) socket().print(CREDIT_STEP);
    expect(credits()).toEqual([]);
    screen.draw();
    expect(credits().reduce((all, each) => all + each, 0)).toBe(8 * CREDIT_STEP);
  });

  it("is credited in large steps, and at once as long as it is a replay", () => {
    connect({ replay: 10 });
    socket().print(10);
    screen.draw();
    expect(credits()).toEqual([10]);
    socket().print(10);
    screen.draw();
    expect(credits()).toEqual([10]);
    socket().print(CREDIT_STEP);
    screen.draw();
    expect(credits()).toEqual([10, CREDIT_STEP + 10]);
  });

  it("of an earlier connection gives no credit on a later one", () => {
    connect();
    socket().print(CREDIT_STEP);
    socket().onclose?.();
    vi.advanceTimersByTime(500);
    socket().onopen?.();
    opened({ offset: CREDIT_STEP });
    screen.draw();
    expect(credits()).toEqual([]);
  });
});

describe("a drop", () => {
  it("goes on after the last byte that came, and keeps the screen", () => {
    connect({ offset: 1000 });
    socket().print(234);
    socket().onclose?.();
    expect(state()?.kind).toBe("waiting");
    vi.advanceTimersByTime(500);
    socket().onopen?.();
    expect(socket().control).toEqual([{ type: "open", cols: 80, rows: 24, session: "s", after: 1234 }]);
    opened({ offset: 1234 });
    expect(screen.log).toEqual(["write 234"]);
    expect(state()).toEqual({ kind: "open", keeper: "tmux", newShell: false, recorded: false });
  });

  it("draws the screen anew when the output between was lost, or it is another session", () => {
    for (const more of [{ lost: true }, { session: "other" }]) {
      connect();
      socket().print(5);
      socket().onclose?.();
      vi.advanceTimersByTime(500);
      socket().onopen?.();
      screen.log = [];
      opened({ offset: 77, ...more });
      socket().print(3);
      expect(screen.log).toEqual(["reset", "write 3"]);
      socket().onclose?.();
      vi.advanceTimersByTime(500);
      socket().onopen?.();
      expect(socket().control[0]).toMatchObject({ after: 80 });
      link.detach();
    }
  });

  it("says that it is a new shell when the one before is gone", () => {
    connect();
    socket().onclose?.();
    vi.advanceTimersByTime(500);
    socket().onopen?.();
    opened({ session: "new", resumed: false });
    expect(state()).toMatchObject({ kind: "open", newShell: true });
  });

  it("is also a silence, and is tried again with growing pauses until it is open", () => {
    connect();
    for (let n = 0; n < 2; n++) {
      vi.advanceTimersByTime(59_000);
      socket().say({ type: "alive" });
    }
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(60_000);
    expect(state()?.kind).toBe("waiting");
    for (const pause of [500, 1000, 2000, 4000]) {
      const before = sockets.length;
      vi.advanceTimersByTime(pause - 1);
      expect(sockets).toHaveLength(before);
      vi.advanceTimersByTime(1);
      expect(sockets).toHaveLength(before + 1);
      socket().onclose?.();
    }
  });

  it("takes no keys: they would go to nobody", () => {
    connect();
    socket().onclose?.();
    expect(link.type(new Uint8Array([1]))).toBe(false);
  });
});

describe("input", () => {
  it("keeps to what the server has not taken yet, in parts, in order", () => {
    connect();
    const paste = new Uint8Array(INPUT_WINDOW + 100_000).map((_, index) => index % 251);
    expect(link.type(paste)).toBe(true);
    expect(socket().sentBytes()).toBeLessThanOrEqual(INPUT_WINDOW);
    while (socket().sentBytes() < paste.length) {
      const before = socket().sentBytes();
      socket().say({ type: "credit", bytes: INPUT_PART });
      expect(socket().sentBytes()).toBeGreaterThan(before);
    }
    expect(Math.max(...socket().bytes.map(({ length }) => length))).toBe(INPUT_PART);
    expect(Buffer.concat(socket().bytes).equals(Buffer.from(paste))).toBe(true);
  });

  it("that is far too much is refused as a whole", () => {
    connect();
    expect(link.type(new Uint8Array(INPUT_LIMIT + 1))).toBe(false);
    expect([socket().bytes, problems.length]).toEqual([[], 1]);
  });
});

describe("the server's word", () => {
  it("on what cannot be retried is the end, until a person tries again", () => {
    link.connect();
    socket().onopen?.();
    socket().say({ type: "error", error: "No shell.", retry: false });
    expect(state()).toEqual({ kind: "failed", error: "No shell." });
    vi.advanceTimersByTime(100_000);
    expect(sockets).toHaveLength(1);
    link.retryNow();
    expect(sockets).toHaveLength(2);
  });

  it("on what can is followed by another try", () => {
    link.connect();
    socket().onopen?.();
    socket().say({ type: "error", error: "The VM is away.", reason: "TimedOut", retry: true });
    expect(state()).toEqual({ kind: "waiting", error: "The VM is away." });
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  it("on a bad frame leaves the terminal as it is", () => {
    connect();
    socket().say({ type: "error", error: "Bad size." });
    expect([problems, state()?.kind, socket().closed]).toEqual([["Bad size."], "open", false]);
  });

  it("on the end is final; what comes after is another terminal", () => {
    connect();
    socket().say({ type: "exit", reason: "ended", code: 3, signal: null });
    expect(state()).toEqual({ kind: "over", reason: "ended", code: 3 });
    vi.advanceTimersByTime(100_000);
    expect(sockets).toHaveLength(1);
    link.connect();
    socket().onopen?.();
    expect(socket().control).toEqual([{ type: "open", cols: 80, rows: 24 }]);
  });

  it("that cannot be read is nothing", () => {
    connect();
    for (const odd of ["", "null", "[]", "{}", '{"type":"opened"}', '{"type":"later"}', '{"type":"credit","bytes":-5}']) socket().onmessage?.({ data: odd });
    expect(states.map(({ kind }) => kind)).toEqual(["connecting", "open"]);
  });
});

it("tells a new size once", () => {
  connect();
  link.resized();
  screen.cols = 100;
  link.resized();
  link.resized();
  expect(socket().control.slice(1)).toEqual([{ type: "resize", cols: 100, rows: 24 }]);
});
