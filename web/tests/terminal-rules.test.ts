import { describe, expect, it } from "vitest";
import { withoutInlineStyles } from "../dev/xterm-policy.mjs";
import { allowedLink, cleanTitle, clipboardWrite } from "../src/terminal/escapes";
import { keyMeaning, withCtrl } from "../src/terminal/keys";
import { mergeTabs, neighbour, nextTab } from "../src/terminal/tabs";

const base64 = (text: string) => Buffer.from(text).toString("base64");

describe("what a program may ask of the page", () => {
  it("opens links of three schemes", () => {
    for (const good of ["https://example.com/a", "HTTP://example.com", "mailto:a@example.com"]) expect(allowedLink(good), good).toBeDefined();
    for (const bad of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vscode://x", " ", "//example.com", "java\nscript:alert(1)"]) expect(allowedLink(bad), bad).toBeUndefined();
  });

  it("writes text to the clipboard and never reads it", () => {
    expect(clipboardWrite(`c;${base64("hällo")}`)).toBe("hällo");
    expect(clipboardWrite(`;${base64("x")}`)).toBe("x");
    for (const bad of ["c;?", "c;", "?", "c;%%%", `c;${base64("x".repeat(2_000_000))}`, `c;${Buffer.from([0xff, 0xfe]).toString("base64")}`]) expect(clipboardWrite(bad), bad.slice(0, 20)).toBeUndefined();
  });

  it("sets a title of one harmless line", () => {
    expect(cleanTitle("vim\u001b[31m\n\u202eevil.txt")).toBe("vim[31mevil.txt");
    expect(cleanTitle("x".repeat(1000))).toHaveLength(80);
  });
});

describe("keys", () => {
  const press = (key: string, more: Partial<KeyboardEvent> = {}) => ({ type: "keydown", key, ctrlKey: true, metaKey: false, ...more });
  it("are the program's, but for copying what is selected and for leaving", () => {
    expect(keyMeaning(press("c"), false)).toBe("program");
    expect(keyMeaning(press("c"), true)).toBe("copy");
    expect(keyMeaning(press("c", { ctrlKey: false }), true)).toBe("program");
    expect(keyMeaning(press("F6"), false)).toBe("leave");
    expect(keyMeaning(press("Tab", { ctrlKey: false }), false)).toBe("program");
  });

  it("with Ctrl are control characters where there are any", () => {
    expect(["c", "C", "[", " ", "1", "é"].map(withCtrl)).toEqual(["\x03", "\x03", "\x1b", "\0", "1", "é"]);
  });
});

describe("tabs", () => {
  it("are those here and those on the VM, once each, from 1 to 9", () => {
    expect(mergeTabs([1], [3, 1, 12, 0, 2.5])).toEqual([1, 3]);
    expect(nextTab([1, 3])).toBe(2);
    expect(nextTab([1, 2, 3, 4, 5, 6, 7, 8, 9])).toBeUndefined();
  });

  it("leave the next one, else the one before", () => {
    expect([neighbour([1, 3, 4], 3), neighbour([1, 3], 3), neighbour([3], 3)]).toEqual([4, 1, undefined]);
  });
});

it("a release of xterm.js with other places for styles is refused", () => {
  expect(() => withoutInlineStyles("nothing of it")).toThrow("look at dev/xterm-policy.mjs");
});
