// @vitest-environment happy-dom
import { render } from "preact";
import { describe, expect, it } from "vitest";
import { emptyConversation } from "../src/conversation/model";
import { reduce } from "../src/conversation/reduce";
import { decode } from "../src/protocol";
import { UserMessage } from "../src/session/timeline";

/** What the page shows of a message that the server sends with these members. */
function shown(members: object): HTMLElement {
  const incoming = decode(JSON.stringify({ ideaId: "x", type: "claude:user", run: 1, seq: "10.0", text: "hello", ...members }));
  if (incoming?.kind !== "log") throw new Error("it is not of the log");
  const entry = reduce(emptyConversation, { type: "frames", frames: [incoming.frame] }).entries[0];
  if (entry?.kind !== "user") throw new Error("it is not shown as a message");
  const root = document.createElement("div");
  render(<UserMessage entry={entry} />, root);
  return root;
}

describe("who said a message", () => {
  const name = (root: HTMLElement) => root.querySelector("[data-testid=said-by]");
  const label = (root: HTMLElement) => root.querySelector("article")?.getAttribute("aria-label");

  it("is shown above it", () => {
    const root = shown({ by: "Zoë O'Neil", mode: "build" });
    expect(name(root)?.textContent).toBe("Zoë O'Neil");
    expect(name(root)?.nextElementSibling?.className).toBe("build-mark");
    expect(root.querySelector(".user-text")?.textContent).toBe("hello");
    expect(label(root)).toBe("Zoë O'Neil");
  });

  it("is text, whatever the name is", () => {
    const root = shown({ by: "<img src=x onerror=alert(1)>" });
    expect(name(root)?.textContent).toBe("<img src=x onerror=alert(1)>");
    expect(root.querySelector("img")).toBeNull();
  });

  it("is not shown where people share the secret, and of what older servers sent", () => {
    for (const members of [{}, { by: "" }, { by: null }, { by: 7 }]) {
      const root = shown(members);
      expect(name(root), JSON.stringify(members)).toBeNull();
      expect(label(root)).toBe("You");
    }
  });
});
