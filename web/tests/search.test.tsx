// @vitest-environment happy-dom
import { render } from "preact";
import { expect, it, vi } from "vitest";
import { type Conversation, emptyConversation, type Entry } from "../src/conversation/model";
import { find } from "../src/conversation/search";
import type { IdeaSession } from "../src/idea-session";
import { Found } from "../src/session/found";
import { Store } from "../src/store";

const entries: readonly Entry[] = [
  { kind: "user", key: "1", text: "Make the Timer red", by: "Zoë" },
  {
    kind: "assistant",
    key: "2",
    parts: [
      { kind: "thinking", key: "a", text: "Colours are in a file" },
      { kind: "tool", key: "b", toolUseId: "t", name: "Edit", input: { path: "src/a b.css", edits: [{ "new": 'say "red"' }] }, result: { content: "1 place", isError: false } },
      { kind: "text", key: "c", text: "It is **red** now" },
      { kind: "error", key: "d", error: "Stopped." },
    ],
  },
  { kind: "user", key: "3", text: "thanks" },
];
const keys = (search: string) => find(entries, search).map((entry) => entry.key);

it("finds what was said, thought and done, by all words and whatever their case", () => {
  expect(keys("TIMER")).toEqual(["1"]);
  expect(keys("red")).toEqual(["1", "2"]);
  expect(keys("zoë red")).toEqual(["1"]);
  expect(keys("colours")).toEqual(["2"]);
  expect(keys('b.css "red" place')).toEqual(["2"]);
  expect(keys("stopped")).toEqual(["2"]);
  expect(keys("edits")).toEqual([]);
  expect(keys("timer thanks")).toEqual([]);
});

it("shows what is found, and says that earlier messages are not loaded and loads them", () => {
  const loadEarlier = vi.fn();
  const session = { paging: new Store(false), loadEarlier } as unknown as IdeaSession;
  const root = document.createElement("div");
  const shown = (conversation: Partial<Conversation>, search: string) => {
    render(<Found session={session} conversation={{ ...emptyConversation, entries, ...conversation }} connected search={search} />, root);
    return [...root.querySelectorAll("[data-testid=message]")].map((each) => each.getAttribute("data-role"));
  };
  const told = () => root.querySelector("[data-testid=found]")?.textContent;
  expect(shown({}, "red")).toEqual(["user", "assistant"]);
  expect(told()).toBe("2 found.");
  expect(root.querySelector("[data-testid=history-earlier]")).toBeNull();
  expect(shown({ before: { run: 1, seq: "10.0" } }, "nowhere")).toEqual([]);
  expect(told()).toBe("Nothing found in what is loaded; earlier messages are not.");
  root.querySelector<HTMLButtonElement>("[data-testid=history-earlier]")?.click();
  expect(loadEarlier).toHaveBeenCalledOnce();
});
