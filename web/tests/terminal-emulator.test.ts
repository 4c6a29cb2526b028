// @vitest-environment happy-dom
import { Terminal } from "@xterm/xterm";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createEmulator, type Emulator, type EmulatorEvents } from "../src/terminal/emulator";

/** What a program asked of the page, and what was typed to the program. */
let asked: string[];
let emulator: Emulator;
let terminal: Terminal;
const open = vi.fn();

beforeEach(() => {
  asked = [];
  const ask = (what: string) => (value?: unknown) => void asked.push(value === undefined ? what : `${what} ${value instanceof Uint8Array ? new TextDecoder().decode(value) : String(value)}`);
  const events: EmulatorEvents = { typed: ask("typed"), resized: () => {}, title: ask("title"), hovered: ask("hovered"), left: ask("left"), clipboard: ask("clipboard") };
  const place = document.createElement("div");
  document.body.replaceChildren(place);
  vi.stubGlobal("open", open);
  // It reads what is printed without a place to draw it in, and there is none here that has a size.
  vi.spyOn(Terminal.prototype, "open").mockImplementation(function (this: Terminal) {
    terminal = this;
  });
  emulator = createEmulator(place, false, events);
});
afterEach(() => {
  emulator.dispose();
  open.mockClear();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const print = (text: string) => new Promise<void>((shown) => emulator.write(new TextEncoder().encode(text), shown));
const base64 = (text: string) => Buffer.from(text).toString("base64");

it("a program may write to the clipboard by OSC 52, and is never answered when it asks what is in it", async () => {
  await print(`\x1b]52;c;${base64("hällo")}\x07`);
  expect(asked).toEqual(["clipboard hällo"]);
  await print("\x1b]52;c;?\x07\x1b]52;c;%%%\x1b\\");
  expect(asked).toEqual(["clipboard hällo"]);
});

it("a title is one harmless line, and neither it nor the window is told to who asks", async () => {
  await print("\x1b]2;vim\u202eevil\x07");
  expect(asked).toEqual(["title vimevil"]);
  await print("\x1b[21t\x1b[14t\x1b[18t");
  expect(asked).toEqual(["title vimevil"]);
  await print("\x1b[6n");
  expect(asked, "what else it asks is answered").toEqual(["title vimevil", "typed \x1b[1;1R"]);
});

it("a link is shown before it is opened, apart from this page, and one of another kind is not opened", async () => {
  await print("\x1b]8;;https://example.com/a\x07here\x1b]8;;\x07");
  const links = terminal.options.linkHandler;
  if (!links?.hover || !links.leave) throw new Error("links are left to the emulator");
  const [event, range] = [new MouseEvent("click"), { start: { x: 1, y: 1 }, end: { x: 5, y: 1 } }];
  for (const target of ["https://example.com/a", "javascript:alert(1)"]) {
    links.hover(event, target, range);
    links.activate(event, target, range);
  }
  links.leave(event, "https://example.com/a", range);
  expect(asked).toEqual(["hovered https://example.com/a", "hovered Not opened: javascript:alert(1)", "hovered"]);
  expect(open.mock.calls).toEqual([["https://example.com/a", "_blank", "noopener,noreferrer"]]);
});
