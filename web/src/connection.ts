// What all screens share of the way to the server: the socket, its state, the server's health, and which opened
// conversation each frame belongs to.

import { api, type Health } from "./api";
import { noteHealth, type Outage, readOutage } from "./outage";
import type { Incoming, Outgoing } from "./protocol";
import { browserHost, Socket, type ConnectionState } from "./socket";
import { Store } from "./store";
import { lookForRelease } from "./worker/register";

export interface Listener {
  connected(): void;
  disconnected(): void;
  incoming(message: Incoming): void;
}

/** An open socket does not show that the pod has left the Service: only asking does. */
const HEALTH_PERIOD_MS = 6_000;
const HEALTH_PERIOD_TROUBLED_MS = 4_000;
/** A page in the background asks for nothing; the session is renewed by asking, long before it ends. */
const RENEWAL_PERIOD_MS = 3_600_000;

export class Connection {
  readonly state = new Store<ConnectionState>("offline");
  readonly health = new Store<Health>({ state: "ok" });
  readonly draining = new Store(false);
  readonly outage = new Store<Outage>(readOutage());
  private readonly listeners = new Map<string, Listener>();
  private healthTimer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private asked = Date.now();
  private connectedBefore = false;

  private readonly socket = new Socket(
    {
      state: (state) => this.changed(state),
      incoming: (message) => {
        if (message.kind === "draining") {
          this.draining.set(true);
          return;
        }
        this.listeners.get(message.ideaId)?.incoming(message);
        // Whatever failed, the VM may be why; the next look would be seconds away.
        if (message.kind === "notice" && message.notice.type === "claude:error") void this.checkHealth();
      },
    },
    browserHost,
  );

  constructor(private readonly onSignedOut: () => void) {}

  start(): void {
    if (this.running) return;
    this.running = true;
    this.socket.start();
    addEventListener("online", this.wake);
    addEventListener("offline", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    void this.checkHealth();
  }

  stop(): void {
    if (!this.running) return;
    this.running = false;
    clearTimeout(this.healthTimer);
    removeEventListener("online", this.wake);
    removeEventListener("offline", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.socket.stop();
  }

  retryNow(): void {
    this.socket.retryNow();
    void this.checkHealth();
  }

  send(message: Outgoing): boolean {
    return this.socket.send(message);
  }

  /** One listener an idea; returns how to leave. */
  listen(ideaId: string, listener: Listener): () => void {
    this.listeners.set(ideaId, listener);
    if (this.state.get() === "connected") listener.connected();
    return () => {
      if (this.listeners.get(ideaId) === listener) this.listeners.delete(ideaId);
      this.send({ type: "unsubscribe", ideaId });
    };
  }

  private readonly wake = () => {
    if (document.visibilityState === "visible") this.retryNow();
  };

  private changed(state: ConnectionState): void {
    const before = this.state.get();
    this.state.set(state);
    if (state === "connected") {
      this.draining.set(false);
      // Who was away may have come back as another release.
      lookForRelease(this.connectedBefore);
      this.connectedBefore = true;
      for (const listener of this.listeners.values()) listener.connected();
    } else if (before === "connected") {
      for (const listener of this.listeners.values()) listener.disconnected();
    }
    if (state === "offline") void this.lookCloser();
  }

  /** A browser does not say why an upgrade failed: ask whether the session ended, and how the server is. */
  private async lookCloser(): Promise<void> {
    void this.checkHealth();
    try {
      if (!(await api.authenticated())) this.onSignedOut();
    } catch {
      // Unreachable: the health check tells it.
    }
  }

  private async renew(): Promise<void> {
    this.asked = Date.now();
    lookForRelease(false);
    try {
      if (!(await api.authenticated())) this.onSignedOut();
    } catch {
      // Asked again in an hour; until then the session lasts.
    }
  }

  private async checkHealth(): Promise<void> {
    clearTimeout(this.healthTimer);
    if (!this.running) return;
    const before = this.health.get();
    const health = document.visibilityState === "visible" ? await api.health() : before;
    if (!this.running) return;
    if (health !== before) this.asked = Date.now();
    else if (Date.now() - this.asked >= RENEWAL_PERIOD_MS && this.state.get() === "connected") void this.renew();
    this.health.set(health);
    if (health !== before) this.outage.set(noteHealth(health));
    // Back within reach: no need to sit out the pause. Only news counts, or a refused socket would be tried without end.
    if (!reachable(before) && reachable(health)) this.socket.retryNow();
    // The server does not answer, yet the socket looks open: its other end is gone.
    if (health.state === "unreachable" && this.state.get() === "connected") this.socket.reset();
    clearTimeout(this.healthTimer);
    const calm = health.state === "ok" && this.state.get() === "connected";
    this.healthTimer = setTimeout(() => void this.checkHealth(), calm ? HEALTH_PERIOD_MS : HEALTH_PERIOD_TROUBLED_MS);
  }
}

function reachable(health: Health): boolean {
  return health.state === "ok" || health.state === "vm-away";
}
