// The emulator (xterm.js), loaded only when a terminal is opened. Decides what a program may ask of the page.

import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";
import { allowedLink, cleanTitle, clipboardWrite } from "./escapes";
import { keyMeaning, withCtrl } from "./keys";
import type { Screen } from "./link";
import { adoptStyles } from "./styles";

export interface EmulatorEvents {
  typed(bytes: Uint8Array<ArrayBuffer>): void;
  resized(): void;
  title(title: string): void;
  /** The target of the link under the pointer; undefined when it leaves. */
  hovered(target: string | undefined): void;
  /** The person wants the keyboard back for the page. */
  left(): void;
  /** A program wants to write this to the clipboard. */
  clipboard(text: string): void;
}

export interface Emulator extends Screen {
  focus(): void;
  fit(): void;
  /** Keys that a phone has not. */
  press(key: Key): void;
  /** The next character counts as typed with Ctrl. */
  holdCtrl(held: boolean): void;
  paste(text: string): void;
  setScreenReader(on: boolean): void;
  dispose(): void;
}

export type Key = "escape" | "tab" | "up" | "down" | "left" | "right";

const arrows: Readonly<Record<string, string>> = { up: "A", down: "B", right: "C", left: "D" };
const SCROLLBACK_LINES = 5_000;

export function createEmulator(place: HTMLElement, screenReader: boolean, events: EmulatorEvents): Emulator {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const terminal = new Terminal({
    scrollback: SCROLLBACK_LINES,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    fontSize: 14,
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    theme: theme(),
    screenReaderMode: screenReader,
    rightClickSelectsWord: true,
    macOptionIsMeta: true,
    linkHandler: {
      allowNonHttpProtocols: true,
      activate: (_, text) => {
        const url = allowedLink(text);
        if (url) window.open(url.href, "_blank", "noopener,noreferrer");
      },
      hover: (_, text) => events.hovered(allowedLink(text)?.href ?? `Not opened: ${cleanTitle(text)}`),
      leave: () => events.hovered(undefined),
    },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  // Taken, and with that no other handler: a question is never answered.
  terminal.parser.registerOscHandler(52, (data) => {
    const text = clipboardWrite(data);
    if (text !== undefined) events.clipboard(text);
    return true;
  });
  terminal.open(place);
  const leaveStyles = adoptStyles(place);

  terminal.attachCustomKeyEventHandler((event) => {
    switch (keyMeaning(event, terminal.hasSelection())) {
      case "copy":
        // The browser copies; the next Ctrl-C is for the program again.
        setTimeout(() => terminal.clearSelection());
        return false;
      case "leave":
        event.preventDefault();
        events.left();
        return false;
      case "program":
        return true;
    }
  });

  let ctrl = false;
  const encoder = new TextEncoder();
  terminal.onData((data) => {
    const held = ctrl && data.length === 1;
    ctrl = false;
    events.typed(encoder.encode(held ? withCtrl(data) : data));
  });
  terminal.onBinary((data) => events.typed(Uint8Array.from(data, (each) => each.charCodeAt(0) & 0xff)));
  terminal.onTitleChange((title) => events.title(cleanTitle(title)));
  terminal.onResize(() => events.resized());
  const repaint = () => {
    terminal.options.theme = theme();
  };
  dark.addEventListener("change", repaint);
  const observer = new ResizeObserver(() => fitNow());
  observer.observe(place);

  function fitNow(): void {
    // A hidden terminal has no size; it keeps the one it had.
    if (place.clientWidth > 0 && place.clientHeight > 0) fit.fit();
  }
  fitNow();

  return {
    size: () => ({ cols: Math.min(1000, terminal.cols), rows: Math.min(500, terminal.rows) }),
    write: (bytes, shown) => terminal.write(bytes, shown),
    // In its turn: what was written before is drawn before.
    reset: () => terminal.write("", () => terminal.reset()),
    focus: () => terminal.focus(),
    fit: fitNow,
    press(key) {
      const arrow = arrows[key];
      terminal.input(arrow ? (terminal.modes.applicationCursorKeysMode ? `\x1bO${arrow}` : `\x1b[${arrow}`) : key === "tab" ? "\t" : "\x1b");
    },
    holdCtrl: (held) => {
      ctrl = held;
    },
    paste: (text) => terminal.paste(text),
    setScreenReader: (on) => {
      terminal.options.screenReaderMode = on;
    },
    dispose() {
      observer.disconnect();
      dark.removeEventListener("change", repaint);
      terminal.dispose();
      leaveStyles();
    },
  };
}

function theme(): ITheme {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return {
    background: token("--surface"),
    foreground: token("--ink"),
    cursor: token("--accent"),
    cursorAccent: token("--surface"),
    selectionBackground: dark ? "#2f5f57" : "#b9ded6",
    ...(dark ? darkColours : lightColours),
  };
}

/** Readable on the surface of either scheme: 4.5 to 1, but for what a program means to be faint. */
const lightColours: ITheme = {
  black: "#1e2422",
  red: "#a93226",
  green: "#22733f",
  yellow: "#8f5606",
  blue: "#24599c",
  magenta: "#86398d",
  cyan: "#0f6d60",
  white: "#636966",
  brightBlack: "#59605d",
  brightRed: "#c0392b",
  brightGreen: "#1f7a43",
  brightYellow: "#8a6100",
  brightBlue: "#2f6ab5",
  brightMagenta: "#9a45a2",
  brightCyan: "#0f7769",
  brightWhite: "#1e2422",
};

const darkColours: ITheme = {
  black: "#454d4a",
  red: "#f08c7e",
  green: "#79c98f",
  yellow: "#e8b45c",
  blue: "#84b3ee",
  magenta: "#d69be0",
  cyan: "#59c3b0",
  white: "#e9ece9",
  brightBlack: "#8d9592",
  brightRed: "#f7a89c",
  brightGreen: "#97dca9",
  brightYellow: "#f2c981",
  brightBlue: "#a5c8f3",
  brightMagenta: "#e3b7ea",
  brightCyan: "#7dd6c6",
  brightWhite: "#ffffff",
};
