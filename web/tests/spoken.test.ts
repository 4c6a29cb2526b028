// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { emptyConversation, type Conversation, type Entry } from "../src/conversation/model";
import { newsOf } from "../src/session/attention";
import { completePart, plain } from "../src/session/spoken";

describe("an answer that is being written", () => {
  it("is read in whole sentences, up to the last that has ended", () => {
    expect(completePart("One. Two! Three is", 0, false)).toBe("One. Two!");
    expect(completePart("One. Two! Three is", 9, false)).toBe("");
    expect(completePart("One. Two! Three is", 9, true)).toBe(" Three is");
    expect(completePart("- a list\n- that gro", 0, false)).toBe("- a list\n");
    expect(completePart("Version 1.5 of", 0, false)).toBe("");
  });

  it("is read to the end, whatever pieces it came in", () => {
    const text = "It begins here. Then\n\n- one thing: yes\n- another\n\nIs 3.14 enough? It is.";
    for (const step of [1, 3, 7]) {
      let from = 0;
      let heard = "";
      for (let end = step; end <= text.length + step; end += step) {
        const part = completePart(text.slice(0, end), from, end >= text.length);
        heard += part;
        from += part.length;
      }
      expect(heard).toBe(text);
    }
  });

  it("is cut at a word when it has no end", () => {
    const part = completePart("word ".repeat(500), 0, false);
    expect(part.length).toBeLessThanOrEqual(601);
    expect(part.endsWith("word ")).toBe(true);
  });

  it("is said without the signs of markdown", () => {
    expect(plain("## A **first** [version](https://x.y)\n\n- `ls`\n```sh\nrm\n```\nend")).toBe("A first version - ls (code) end");
  });
});

describe("whoever looks elsewhere is called", () => {
  const live: Conversation = { ...emptyConversation, subscribed: true };
  const asking: readonly Entry[] = [{ kind: "assistant", key: "k", parts: [{ kind: "tool", key: "t", toolUseId: "t", name: "Bash", input: {}, permission: { key: "1:r", requestId: "r", state: "open" } }] }];
  const open = { ...live, turnOpen: true };

  it("when Claude begins to ask, and when a turn ends", () => {
    expect(newsOf(open, { ...open, entries: asking })).toBe("asking");
    expect(newsOf({ ...open, entries: asking }, { ...open, entries: asking })).toBeUndefined();
    expect(newsOf(open, live)).toBe("ended");
    expect(newsOf(live, open)).toBeUndefined();
  });

  it("but not by what a page meets when it is opened or comes back", () => {
    expect(newsOf(emptyConversation, { ...open, entries: asking })).toBeUndefined();
    expect(newsOf({ ...open, subscribed: false }, live)).toBeUndefined();
  });
});
