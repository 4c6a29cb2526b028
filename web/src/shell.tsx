// The bar at the top, the state of the connection, the banner that says what is wrong and what to do.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Health } from "./api";
import type { Connection } from "./connection";
import { Icon, Mark } from "./icons";
import { hasNavigated, Link } from "./router";
import type { ConnectionState } from "./socket";
import { useStore } from "./store";
import { explainAway } from "./vm-reasons";

interface ShellProps {
  readonly connection: Connection;
  readonly title?: string;
  readonly back?: string;
  /** Something waits for the user: the tab says so. */
  readonly attention?: boolean;
  /** Beside the title. */
  readonly badge?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Shell({ connection, title, back, attention, badge, actions, children }: ShellProps) {
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = `${attention ? "● " : ""}${title ? `${title} – ` : ""}Catalyst`;
  }, [title, attention]);
  // After a step inside the application the keyboard and the screen reader begin at the new screen.
  useEffect(() => {
    if (hasNavigated() && document.activeElement === document.body) main.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to content
      </a>
      <div class="top">
        <header class="bar">
          {back ? (
            <Link to={back} class="icon-button" label="Back to all ideas">
              <Icon name="back" />
            </Link>
          ) : (
            <Mark />
          )}
          <h1 class="bar-title">{title ?? "Catalyst"}</h1>
          {badge}
          <span class="bar-space" />
          <ConnectionPill connection={connection} />
          {actions}
        </header>
        <Banner connection={connection} />
      </div>
      <main id="main" class="page" ref={main} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

const stateNames: Record<ConnectionState, string> = { connected: "Connected", connecting: "Connecting", offline: "Offline" };

function ConnectionPill({ connection }: { readonly connection: Connection }) {
  const state = useStore(connection.state);
  return (
    <span class="pill" data-testid="connection" data-state={state} role="status" title={stateNames[state]}>
      <span class="pill-dot" aria-hidden="true" />
      <span class="pill-name">{stateNames[state]}</span>
    </span>
  );
}

/** Short interruptions mend themselves unseen: the banner waits this long. */
const PATIENCE_MS = 1500;

function Banner({ connection }: { readonly connection: Connection }) {
  const state = useStore(connection.state);
  const health = useStore(connection.health);
  const draining = useStore(connection.draining);
  const [patient, setPatient] = useState(true);
  const up = state === "connected";
  useEffect(() => {
    setPatient(true);
    if (up) return;
    const timer = setTimeout(() => setPatient(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [up]);

  const text = bannerText(up, patient, draining, health);
  return (
    <div role="status" class="banner-place">
      {text && (
        <div class={`banner banner-${text.tone}`} data-testid="banner" data-cause={text.cause}>
          <Icon name={text.tone === "calm" ? "clock" : "alert"} />
          <p>
            <strong>{text.title}</strong> {text.body}
          </p>
          {!up && (
            <button type="button" class="small" onClick={() => connection.retryNow()}>
              Try now
            </button>
          )}
        </div>
      )}
    </div>
  );
}

interface BannerText {
  readonly cause: "draining" | "vm-away" | "no-server" | "disconnected";
  readonly tone: "calm" | "warn";
  readonly title: string;
  readonly body: string;
}

/** What the banner says, if it says anything: a function of what is known of the way to the server and to the VM. */
export function bannerText(up: boolean, patient: boolean, draining: boolean, health: Health): BannerText | undefined {
  if (draining) return { cause: "draining", tone: "calm", title: "The server is being replaced.", body: "Reconnecting; nothing is lost." };
  if (health.state === "vm-away") return { cause: "vm-away", tone: "warn", title: "The dev-VM is away.", body: explainAway(health) };
  // An open socket says nothing here: the ingress keeps it though it sends nobody new to a pod that has lost its VM.
  if (health.state === "no-server" && (up || !patient)) {
    return {
      cause: "no-server",
      tone: "warn",
      title: "The server takes no requests.",
      body: "Most often this is because the dev-VM cannot be reached. Claude goes on working on the VM if it runs; this page catches up by itself.",
    };
  }
  if (up || patient) return undefined;
  return { cause: "disconnected", tone: "warn", title: "No connection.", body: "Trying again. What you type is kept, and nothing that Claude does meanwhile is lost." };
}

export function Toast({ text, onClose }: { readonly text: string; readonly onClose: () => void }) {
  useEffect(() => {
    const timer = setTimeout(onClose, 10_000);
    return () => clearTimeout(timer);
  }, [text, onClose]);
  return (
    <div class="toast" role="status" data-testid="toast">
      <p>{text}</p>
      <button type="button" class="icon-button" aria-label="Close" onClick={onClose}>
        <Icon name="cross" />
      </button>
    </div>
  );
}
