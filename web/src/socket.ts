// The one WebSocket to the server: connects, says what state it is in, tries again with growing, jittered pauses.
// It knows nothing of conversations; whoever listens re-subscribes on every "connected".

import { decode, type Incoming, type Outgoing } from "./protocol";

export type ConnectionState = "connecting" | "connected" | "offline";

export interface SocketEvents {
  state(state: ConnectionState): void;
  incoming(message: Incoming): void;
}

/** What of the browser the socket needs; tests give their own. */
export interface SocketHost {
  open(): WebSocketLike;
  after(ms: number, run: () => void): () => void;
  random(): number;
}

export interface WebSocketLike {
  onopen: (() => void) | null;
  onclose: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  send(text: string): void;
  close(): void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** An upgrade that takes longer than this hangs somewhere on the way. */
const CONNECT_DEADLINE_MS = 10_000;
/** A connection that stays up this long makes the next pause short again. */
const STEADY_MS = 5_000;
/** The server says something at least every 20 s; after this long without a word its end of the connection is gone. */
const SILENCE_MS = 50_000;
/** Spreads the viewers of a server that goes away over its successor. */
const DRAIN_SPREAD_MS = 1_500;

export class Socket {
  private current: WebSocketLike | undefined;
  private state: ConnectionState = "offline";
  private failures = 0;
  private cancelTimer: () => void = () => {};
  private cancelSteady: () => void = () => {};
  private cancelSilence: () => void = () => {};
  private wanted = false;

  constructor(
    private readonly events: SocketEvents,
    private readonly host: SocketHost,
  ) {}

  start(): void {
    if (this.wanted) return;
    this.wanted = true;
    this.failures = 0;
    this.connect();
  }

  /** Closes for good, until `start`. */
  stop(): void {
    this.wanted = false;
    this.abandon();
    this.become("offline");
  }

  /** Tries at once: the network came back, or the user asked. Does nothing while a connection is open. */
  retryNow(): void {
    if (!this.wanted || this.state !== "offline") return;
    this.connect();
  }

  /** Gives up a connection that looks open but is known to be dead. */
  reset(): void {
    if (!this.wanted) return;
    this.abandon();
    this.connect();
  }

  /** True when the frame was handed to the browser; it may still be lost with the connection. */
  send(message: Outgoing): boolean {
    if (this.state !== "connected" || !this.current) return false;
    this.current.send(JSON.stringify(message));
    return true;
  }

  private connect(): void {
    this.abandon();
    this.become("connecting");
    let socket: WebSocketLike;
    try {
      socket = this.host.open();
    } catch {
      this.lost();
      return;
    }
    this.current = socket;
    this.cancelTimer = this.host.after(CONNECT_DEADLINE_MS, () => {
      this.abandon();
      this.lost();
    });
    socket.onopen = () => {
      this.cancelTimer();
      this.cancelSteady = this.host.after(STEADY_MS, () => {
        this.failures = 0;
      });
      this.heard();
      this.become("connected");
    };
    socket.onclose = () => {
      this.abandon();
      this.lost();
    };
    socket.onmessage = ({ data }) => {
      this.heard();
      const message = typeof data === "string" ? decode(data) : undefined;
      if (!message) return;
      this.events.incoming(message);
      if (message.kind === "draining") this.moveOn();
    };
  }

  private heard(): void {
    this.cancelSilence();
    this.cancelSilence = this.host.after(SILENCE_MS, () => this.reset());
  }

  /** The server is going: leave it before it closes, so that its successor gets us at a time of our choosing. */
  private moveOn(): void {
    this.cancelTimer();
    this.cancelTimer = this.host.after(this.host.random() * DRAIN_SPREAD_MS, () => this.reset());
  }

  private lost(): void {
    if (!this.wanted) return;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures);
    this.failures++;
    this.cancelTimer = this.host.after(pause * (0.5 + this.host.random() / 2), () => this.connect());
    this.become("offline");
  }

  private abandon(): void {
    this.cancelTimer();
    this.cancelSteady();
    this.cancelSilence();
    const socket = this.current;
    this.current = undefined;
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  private become(state: ConnectionState): void {
    if (this.state === state) return;
    this.state = state;
    this.events.state(state);
  }
}

/** The browser's own parts. */
export const browserHost: SocketHost = {
  open() {
    const url = new URL("/ws", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return new WebSocket(url) as unknown as WebSocketLike;
  },
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
};
