// One terminal: its emulator, its link, what is to be told about both, and the keys that a phone has not.

import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../icons";
import type { Emulator, Key } from "./emulator";
import { browserTerminalHost, type LinkState, TerminalLink } from "./link";
import type { Preferences } from "./preferences";

interface PaneProps {
  readonly slug: string;
  readonly number: number;
  readonly shown: boolean;
  /** The page itself has a connection. */
  readonly connected: boolean;
  readonly preferences: Preferences;
  readonly onTitle: (title: string) => void;
  readonly onOver: () => void;
  /** The keyboard goes back to the page. */
  readonly onLeave: () => void;
}

export function TerminalPane({ slug, number, shown, connected, preferences, onTitle, onOver, onLeave }: PaneProps) {
  const place = useRef<HTMLDivElement>(null);
  const emulator = useRef<Emulator | undefined>(undefined);
  const link = useRef<TerminalLink | undefined>(undefined);
  const current = useRef({ preferences, onTitle, onLeave });
  current.current = { preferences, onTitle, onLeave };
  const [state, setState] = useState<LinkState>({ kind: "connecting" });
  const [note, setNote] = useState<string>();
  const [target, setTarget] = useState<string>();
  const [ctrl, setCtrl] = useState(false);
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    let live = true;
    void import("./emulator").then(
      ({ createEmulator }) => {
        if (!live || !place.current) return;
        const made = createEmulator(place.current, current.current.preferences.screenReader, {
          typed: (bytes) => {
            setCtrl(false);
            link.current?.type(bytes);
          },
          resized: () => link.current?.resized(),
          title: (title) => current.current.onTitle(title),
          hovered: setTarget,
          left: () => current.current.onLeave(),
          clipboard: (text) => {
            if (!current.current.preferences.clipboard) return setNote("A program wanted to write to your clipboard. Options can allow it.");
            void navigator.clipboard?.writeText(text).then(
              () => setNote("A program wrote to your clipboard."),
              () => setNote("A program wanted to write to your clipboard; the browser refused."),
            );
          },
        });
        emulator.current = made;
        link.current = new TerminalLink(made, { state: setState, problem: setNote }, browserTerminalHost(slug, number));
        link.current.connect();
        made.focus();
      },
      () => setFailed(true),
    );
    const wake = () => document.visibilityState === "visible" && link.current?.retryNow();
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    return () => {
      live = false;
      removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", wake);
      link.current?.detach();
      emulator.current?.dispose();
    };
  }, [slug, number]);

  useEffect(() => {
    // The server is there again: no need to sit out the pause.
    if (connected) link.current?.retryNow();
  }, [connected]);
  useEffect(() => emulator.current?.setScreenReader(preferences.screenReader), [preferences.screenReader]);
  useEffect(() => {
    if (!shown) return;
    emulator.current?.fit();
    emulator.current?.focus();
  }, [shown]);
  useEffect(() => {
    if (state.kind === "over" && state.reason === "closed") onOver();
  }, [state]);
  useEffect(() => {
    if (!note) return;
    const timer = setTimeout(() => setNote(undefined), 8_000);
    return () => clearTimeout(timer);
  }, [note]);

  const press = (key: Key) => {
    emulator.current?.press(key);
    emulator.current?.focus();
  };
  const hold = (held: boolean) => {
    setCtrl(held);
    emulator.current?.holdCtrl(held);
    emulator.current?.focus();
  };

  return (
    <section class="terminal-pane" hidden={!shown} aria-label={`Terminal ${number}`} data-testid="terminal" data-state={state.kind} data-number={number}>
      <div class="terminal-place">
        <div class="terminal-screen" ref={place} />
        {failed ? (
          <Overlay title="The terminal could not be loaded." body="Check your connection, then reload the page." />
        ) : (
          <StateOverlay state={state} onRetry={() => link.current?.retryNow()} onAnew={() => link.current?.connect()} onOver={onOver} />
        )}
        {target && <p class="terminal-target">{target}</p>}
      </div>
      <p class="terminal-note" role="status">
        {note ?? (state.kind === "open" ? remark(state) : "")}
      </p>
      <div class="keys" role="group" aria-label="Keys">
        <button type="button" onClick={() => press("escape")}>
          Esc
        </button>
        <button type="button" onClick={() => press("tab")}>
          Tab
        </button>
        <button type="button" aria-pressed={ctrl} onClick={() => hold(!ctrl)}>
          Ctrl
        </button>
        {(["left", "up", "down", "right"] as const).map((key) => (
          <button key={key} type="button" aria-label={`Arrow ${key}`} onClick={() => press(key)}>
            <Icon name={`arrow-${key}`} />
          </button>
        ))}
        {navigator.clipboard && (
          <button
            type="button"
            onClick={() =>
              void navigator.clipboard.readText().then(
                (text) => emulator.current?.paste(text),
                () => setNote("The browser gave no text to paste."),
              )
            }
          >
            Paste
          </button>
        )}
      </div>
    </section>
  );
}

/** What is to be known of a terminal that is open. Of a recording before all else: it concerns whoever looks. */
export function remark({ keeper, newShell, recorded }: Extract<LinkState, { kind: "open" }>): string {
  if (recorded) return newShell ? "The shell of before is gone; this is a new one. What it prints is recorded on the dev-VM." : "What this terminal prints is recorded on the dev-VM.";
  if (newShell) return "The shell of before is gone; this is a new one.";
  return keeper === "plain" ? "Kept for 30 minutes without a viewer. Install tmux on the dev-VM to keep terminals for longer." : "";
}

interface StateOverlayProps {
  readonly state: LinkState;
  readonly onRetry: () => void;
  readonly onAnew: () => void;
  readonly onOver: () => void;
}

const ends: Readonly<Record<string, string>> = {
  ended: "The shell has ended.",
  idle: "It was ended after 24 hours in which nothing happened.",
  taken: "It was opened elsewhere.",
  detached: "It was detached.",
};

function StateOverlay({ state, onRetry, onAnew, onOver }: StateOverlayProps) {
  switch (state.kind) {
    case "open":
      return null;
    case "connecting":
      return <p class="terminal-veil" role="status">Connecting…</p>;
    case "waiting":
      return (
        <Overlay title="No connection." body={`${state.error ?? "Trying again; the screen goes on where it was."} Keys are not taken meanwhile.`}>
          <button type="button" class="small" onClick={onRetry}>
            Try now
          </button>
        </Overlay>
      );
    case "failed":
      return (
        <Overlay title="The terminal could not be opened." body={state.error}>
          <button type="button" class="small" onClick={onRetry}>
            Try again
          </button>
        </Overlay>
      );
    case "over":
      return (
        <Overlay title={ends[state.reason] ?? "The terminal is over."} body={endBody(state)}>
          <button type="button" class="small" onClick={onOver}>
            Close
          </button>
          <button type="button" class="small primary" onClick={onAnew} data-testid="terminal-anew">
            {state.reason === "taken" ? "Bring it here" : "New shell"}
          </button>
        </Overlay>
      );
  }
}

function endBody({ code, signal }: Extract<LinkState, { kind: "over" }>): string {
  if (signal !== undefined) return `By signal ${signal}.`;
  return code ? `With status ${code}.` : "";
}

interface OverlayProps {
  readonly title: string;
  readonly body: string;
  readonly children?: preact.ComponentChildren;
}

function Overlay({ title, body, children }: OverlayProps) {
  return (
    <div class="terminal-overlay" role="status" data-testid="terminal-overlay">
      <p>
        <strong>{title}</strong> {body}
      </p>
      <span class="notice-actions">{children}</span>
    </div>
  );
}
