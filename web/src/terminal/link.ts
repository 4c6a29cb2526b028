// One terminal's way to the server: connects, resumes after the last byte received, keeps to the credit of both
// directions, tries again with growing pauses. What is not yet on the screen is never counted as consumed, so a slow
// screen slows the program and not the page.

import { decodeControl, type Opened, type ToServer } from "./protocol";

export interface TerminalSocket {
  binaryType: BinaryType;
  onopen: (() => void) | null;
  onclose: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** What of the browser the link needs; tests give their own. */
export interface TerminalHost {
  open(): TerminalSocket;
  after(ms: number, run: () => void): () => void;
  random(): number;
}

export interface Screen {
  size(): { readonly cols: number; readonly rows: number };
  /** `shown` is called when the bytes have been drawn. */
  write(bytes: Uint8Array, shown: () => void): void;
  /** After all that was written so far. */
  reset(): void;
}

export type LinkState =
  | { readonly kind: "connecting" }
  | { readonly kind: "open"; readonly keeper: string; readonly newShell: boolean; readonly recorded: boolean }
  | { readonly kind: "waiting"; readonly error?: string }
  | { readonly kind: "failed"; readonly error: string }
  | { readonly kind: "over"; readonly reason: string; readonly code?: number; readonly signal?: string };

export interface LinkEvents {
  state(state: LinkState): void;
  /** A sentence about something that did not work while the terminal goes on. */
  problem(error: string): void;
}

/** Consumed output is told to the server in pieces of this size. */
export const CREDIT_STEP = 32 * 1024;
/** Input on the way that the VM has not taken. */
export const INPUT_WINDOW = 256 * 1024;
export const INPUT_PART = 64 * 1024;
/** A paste beyond this is refused. */
export const INPUT_LIMIT = 8 * 1024 * 1024;
const SILENCE_MS = 60_000;
const CONNECT_DEADLINE_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export class TerminalLink {
  private socket: TerminalSocket | undefined;
  private state: LinkState = { kind: "connecting" };
  /** The shell that is on the screen, and how many of its bytes were received. */
  private place: { session: string; received: number } | undefined;
  private consumed = 0;
  private replayLeft = 0;
  private underway = 0;
  private input: Uint8Array<ArrayBuffer>[] = [];
  private inputBytes = 0;
  private failures = 0;
  private told = { cols: 0, rows: 0 };
  private cancelTimer: () => void = () => {};
  private cancelSilence: () => void = () => {};

  constructor(
    private readonly screen: Screen,
    private readonly events: LinkEvents,
    private readonly host: TerminalHost,
  ) {}

  connect(): void {
    this.abandon();
    this.become({ kind: "connecting" });
    let socket: TerminalSocket;
    try {
      socket = this.host.open();
    } catch {
      this.lost();
      return;
    }
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.cancelTimer = this.host.after(CONNECT_DEADLINE_MS, () => this.lost());
    socket.onopen = () => {
      this.heard();
      this.told = this.screen.size();
      const { place } = this;
      this.tell({ type: "open", ...this.told, ...(place && { session: place.session, after: place.received }) });
    };
    socket.onclose = () => this.lost();
    socket.onmessage = ({ data }) => {
      this.heard();
      if (typeof data === "string") this.control(data);
      else if (data instanceof ArrayBuffer) this.output(new Uint8Array(data), socket);
    };
  }

  /** Leaves; the terminal goes on without a viewer. */
  detach(): void {
    this.abandon();
  }

  /** Does nothing while it is connected, or over. */
  retryNow(): void {
    if (this.state.kind === "waiting" || this.state.kind === "failed") this.connect();
  }

  resized(): void {
    const { cols, rows } = this.screen.size();
    if (this.state.kind !== "open" || (cols === this.told.cols && rows === this.told.rows)) return;
    this.told = { cols, rows };
    this.tell({ type: "resize", cols, rows });
  }

  /** Keys and pastes; false when they were not taken, because nobody is there or it is too much. */
  type(bytes: Uint8Array<ArrayBuffer>): boolean {
    if (this.state.kind !== "open") return false;
    if (this.inputBytes + bytes.length > INPUT_LIMIT) {
      this.events.problem("This is too long to be pasted: at most 8 MiB at once.");
      return false;
    }
    for (let at = 0; at < bytes.length; at += INPUT_PART) this.input.push(bytes.slice(at, at + INPUT_PART));
    this.inputBytes += bytes.length;
    this.sendInput();
    return true;
  }

  private sendInput(): void {
    for (let next = this.input[0]; next && this.underway + next.length <= INPUT_WINDOW; next = this.input[0]) {
      this.input.shift();
      this.inputBytes -= next.length;
      this.underway += next.length;
      this.socket?.send(next);
    }
  }

  private control(text: string): void {
    const message = decodeControl(text);
    switch (message?.type) {
      case "opened":
        return this.opened(message);
      case "credit":
        this.underway = Math.max(0, this.underway - message.bytes);
        return this.sendInput();
      case "exit": {
        const { type: _, ...how } = message;
        this.abandon();
        this.place = undefined;
        return this.become({ kind: "over", ...how });
      }
      case "error":
        if (message.retry === undefined) return this.events.problem(message.error);
        if (message.retry) return this.lost(message.error);
        this.abandon();
        return this.become({ kind: "failed", error: message.error });
      case "draining":
        // Its successor is there already; the close would come within a second.
        return this.lost();
      case "alive":
      case undefined:
        return;
    }
  }

  private opened({ session, lost, offset, replay, resumed, keeper, recorded }: Opened): void {
    this.cancelTimer();
    this.failures = 0;
    const before = this.place;
    if (before && !(before.session === session && !lost)) this.screen.reset();
    this.place = { session, received: offset };
    this.replayLeft = replay;
    this.become({ kind: "open", keeper, newShell: before !== undefined && !resumed, recorded });
    this.resized();
  }

  private output(bytes: Uint8Array, socket: TerminalSocket): void {
    if (!this.place) return;
    this.place.received += bytes.length;
    this.screen.write(bytes, () => {
      // Bytes of an earlier connection are no credit on this one.
      if (this.socket !== socket) return;
      this.consumed += bytes.length;
      if (this.consumed < CREDIT_STEP && this.replayLeft === 0) return;
      this.replayLeft = Math.max(0, this.replayLeft - this.consumed);
      this.tell({ type: "credit", bytes: this.consumed });
      this.consumed = 0;
    });
  }

  private tell(message: ToServer): void {
    this.socket?.send(JSON.stringify(message));
  }

  private heard(): void {
    this.cancelSilence();
    this.cancelSilence = this.host.after(SILENCE_MS, () => this.lost());
  }

  private lost(error?: string): void {
    this.abandon();
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures) * (0.5 + this.host.random() / 2);
    this.failures++;
    this.cancelTimer = this.host.after(pause, () => this.connect());
    this.become({ kind: "waiting", ...(error !== undefined && { error }) });
  }

  private abandon(): void {
    this.cancelTimer();
    this.cancelSilence();
    const { socket } = this;
    this.socket = undefined;
    this.consumed = this.replayLeft = this.underway = this.inputBytes = 0;
    this.input = [];
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }

  private become(state: LinkState): void {
    this.state = state;
    this.events.state(state);
  }
}

/** The browser's own parts. */
export function browserTerminalHost(slug: string, terminal: number): TerminalHost {
  return {
    open() {
      const url = new URL("/ws/terminal", location.href);
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      url.searchParams.set("idea", slug);
      url.searchParams.set("terminal", String(terminal));
      return new WebSocket(url) as unknown as TerminalSocket;
    },
    after(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    random: Math.random,
  };
}
