import { describe, expect, it } from "vitest";
import type { Incoming } from "../src/protocol";
import { Socket, type ConnectionState, type SocketHost, type WebSocketLike } from "../src/socket";

class FakeWebSocket implements WebSocketLike {
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly sent: string[] = [];
  closed = false;
  send(text: string): void {
    this.sent.push(text);
  }
  close(): void {
    this.closed = true;
  }
}

/** A clock that moves when told. */
class World implements SocketHost {
  readonly sockets: FakeWebSocket[] = [];
  readonly states: ConnectionState[] = [];
  readonly received: Incoming[] = [];
  chance = 1;
  private now = 0;
  private timers: { at: number; run: () => void }[] = [];
  readonly socket = new Socket({ state: (state) => this.states.push(state), incoming: (message) => this.received.push(message) }, this);

  open(): WebSocketLike {
    const socket = new FakeWebSocket();
    this.sockets.push(socket);
    return socket;
  }
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.now + ms, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((each) => each !== timer);
    };
  }
  random(): number {
    return this.chance;
  }
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.now = next.at;
      this.timers = this.timers.filter((timer) => timer !== next);
      next.run();
    }
    this.now = until;
  }
  get latest(): FakeWebSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }
}

function connected(): World {
  const world = new World();
  world.socket.start();
  world.latest.onopen?.();
  return world;
}

describe("the socket", () => {
  it("connects, and sends only when connected", () => {
    const world = new World();
    world.socket.start();
    expect(world.socket.send({ type: "cancel", ideaId: "x" })).toBe(false);
    world.latest.onopen?.();
    expect(world.socket.send({ type: "cancel", ideaId: "x" })).toBe(true);
    expect(world.latest.sent).toEqual(['{"type":"cancel","ideaId":"x"}']);
    expect(world.states).toEqual(["connecting", "connected"]);
  });

  it("tries again with pauses that double up to a limit", () => {
    const world = new World();
    world.socket.start();
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      const before = world.sockets.length;
      world.latest.onclose?.();
      let waited = 0;
      while (world.sockets.length === before) {
        world.pass(100);
        waited += 100;
      }
      pauses.push(waited);
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  });

  it("spreads its attempts by chance", () => {
    const world = new World();
    world.chance = 0;
    world.socket.start();
    world.latest.onclose?.();
    world.pass(250);
    expect(world.sockets).toHaveLength(2);
  });

  it("pauses shortly again only after a connection that held", () => {
    const world = connected();
    // A server that accepts and hangs up at once is not hammered.
    for (const pause of [500, 1000, 2000]) {
      world.latest.onclose?.();
      const before = world.sockets.length;
      world.pass(pause - 1);
      expect(world.sockets).toHaveLength(before);
      world.pass(1);
      world.latest.onopen?.();
    }
    world.pass(6000);
    world.latest.onclose?.();
    const before = world.sockets.length;
    world.pass(500);
    expect(world.sockets).toHaveLength(before + 1);
  });

  it("gives up an attempt that hangs", () => {
    const world = new World();
    world.socket.start();
    const hanging = world.latest;
    world.pass(10_500);
    expect(hanging.closed).toBe(true);
    expect(world.sockets).toHaveLength(2);
  });

  it("hears nothing from a socket that it has left", () => {
    const world = connected();
    const old = world.latest;
    const late = old.onmessage;
    world.socket.reset();
    expect(old.onmessage).toBeNull();
    expect(old.closed).toBe(true);
    expect(late).not.toBeNull();
    expect(world.states).toEqual(["connecting", "connected", "connecting"]);
  });

  it("leaves a draining server for its successor, at a time of its own", () => {
    const world = connected();
    world.chance = 0.5;
    world.latest.onmessage?.({ data: '{"ideaId":"","type":"server:draining"}' });
    expect(world.received).toEqual([{ kind: "draining" }]);
    world.pass(700);
    expect(world.sockets).toHaveLength(1);
    world.pass(100);
    expect(world.sockets).toHaveLength(2);
  });

  it("tries at once when asked, but leaves a connection that works alone", () => {
    const world = connected();
    world.socket.retryNow();
    expect(world.sockets).toHaveLength(1);
    world.latest.onclose?.();
    world.socket.retryNow();
    expect(world.sockets).toHaveLength(2);
  });

  it("stays closed once stopped", () => {
    const world = connected();
    world.socket.stop();
    world.pass(120_000);
    expect(world.sockets).toHaveLength(1);
    expect(world.states.at(-1)).toBe("offline");
  });

  it("leaves a connection on which it hears nothing any more", () => {
    const world = connected();
    for (let n = 0; n < 5; n++) {
      world.pass(20_000);
      world.latest.onmessage?.({ data: '{"ideaId":"","type":"server:alive"}' });
    }
    expect(world.sockets).toHaveLength(1);
    expect(world.received).toEqual([]);
    const blind = world.latest;
    world.pass(49_000);
    expect(blind.closed).toBe(false);
    world.pass(1_000);
    expect(blind.closed).toBe(true);
    expect(world.sockets).toHaveLength(2);
    expect(world.states.at(-1)).toBe("connecting");
  });

  it("survives frames that are no messages", () => {
    const world = connected();
    for (const data of ["null", "{", new ArrayBuffer(1)]) world.latest.onmessage?.({ data });
    expect(world.received).toEqual([]);
  });
});
