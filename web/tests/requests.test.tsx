// @vitest-environment happy-dom
import { render } from "preact";
import { act } from "preact/test-utils";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { ToolPart } from "../src/conversation/model";
import type { IdeaSession } from "../src/idea-session";
import type { Answer } from "../src/protocol";
import { parseQuestions, toAnswer } from "../src/session/questions";
import { ToolCall } from "../src/session/tool-call";

const answer = vi.fn();
let root: HTMLElement;
beforeEach(() => {
  answer.mockClear();
  root = document.createElement("div");
  document.body.replaceChildren(root);
});

const part = (name: string, input: unknown, always?: readonly string[]): ToolPart => ({
  kind: "tool",
  key: "1:1.0",
  toolUseId: "t",
  name,
  input,
  permission: { key: "1:r", requestId: "r", state: "open", ...(always && { always }) },
});
const draw = (tool: ToolPart, given?: Answer, connected = true) =>
  act(() => render(<ToolCall part={tool} live connected={connected} given={given} session={{ answer } as unknown as IdeaSession} />, root));
const find = <E extends HTMLElement>(testId: string) => root.querySelector<E>(`[data-testid=${testId}]`);
const press = (testId: string) => act(() => find(testId)?.click());
const submit = () => act(() => void root.querySelector("form")?.dispatchEvent(new Event("submit", { cancelable: true, bubbles: true })));
const given = () => answer.mock.calls.map(([, each]) => each as Answer);

describe("a request for permission", () => {
  it("is allowed, or denied", async () => {
    await draw(part("Bash", { command: "make" }));
    expect(root.textContent).toContain("make");
    await press("permission-allow");
    await press("permission-deny");
    expect(given()).toEqual([{ decision: "allow" }, { decision: "deny" }]);
    expect(find("permission-always")).toBeNull();
  });

  it("is denied with words for Claude", async () => {
    await draw(part("Bash", { command: "make" }));
    await press("permission-deny-with");
    const field = find<HTMLTextAreaElement>("permission-message");
    if (field) field.value = " use ninja ";
    await submit();
    expect(given()).toEqual([{ decision: "deny", message: "use ninja" }]);
  });

  it("can be allowed for always only where the server says what that would be, and says it", async () => {
    await draw(part("Bash", { command: "npm run build" }, ["Bash(npm run *)"]));
    expect(root.textContent).toContain("Bash(npm run *)");
    await press("permission-always");
    expect(given()).toEqual([{ decision: "always" }]);
  });

  it("takes one answer, and says what becomes of it without a connection", async () => {
    await draw(part("Bash", { command: "make" }, ["Bash(make)"]), { decision: "allow" }, false);
    expect([...root.querySelectorAll("button")].every((each) => each.disabled)).toBe(true);
    expect(root.textContent).toContain("as soon as there is a connection");
  });

  it("is shown as answered by somebody else", async () => {
    const tool = part("Bash", { command: "make" });
    await draw({ ...tool, permission: { key: "1:r", requestId: "r", state: "denied", elsewhere: true } });
    expect(find("permission-elsewhere")?.textContent).toContain("Denied by somebody else");
    expect(find("permission-allow")).toBeNull();
  });
});

describe("a plan", () => {
  const plan = part("ExitPlanMode", { plan: "# First\n\n- one" });
  it("is shown as text and approved, or sent back with words", async () => {
    await draw(plan);
    expect(root.querySelector("li")?.textContent).toBe("one");
    await press("plan-approve");
    await press("plan-refuse");
    const field = find<HTMLTextAreaElement>("permission-message");
    if (field) field.value = "smaller";
    await submit();
    expect(given()).toEqual([{ decision: "allow" }, { decision: "deny", message: "smaller" }]);
  });
});

describe("questions", () => {
  const input = {
    questions: [
      { question: "Which colour?", header: "Colour", options: [{ label: "Blue", description: "calm" }, { label: "Red" }], multiSelect: false },
      { question: "Which sizes?", options: [{ label: "S" }, { label: "L" }], multiSelect: true },
    ],
  };
  const questions = parseQuestions(input);

  it("are answered by label, several labels, or one's own words", () => {
    const choice = (labels: string[], other = "") => ({ labels, other });
    expect(toAnswer(questions, {})).toBeUndefined();
    expect(toAnswer(questions, { "Which colour?": choice(["Blue"]) })).toBeUndefined();
    expect(toAnswer(questions, { "Which colour?": choice(["Blue"]), "Which sizes?": choice(["S"], " XL ") })).toEqual({
      decision: "allow",
      answers: { "Which colour?": "Blue", "Which sizes?": ["S", "XL"] },
    });
    expect(toAnswer(questions, { "Which colour?": choice([], "green"), "Which sizes?": choice(["S", "L"]) })).toMatchObject({ answers: { "Which colour?": "green" } });
  });

  it("are a form that is sent when it is complete", async () => {
    await draw(part("AskUserQuestion", input));
    expect(find<HTMLButtonElement>("questions-send")?.disabled).toBe(true);
    const [blue, , small, large] = root.querySelectorAll<HTMLInputElement>("[data-testid=question-option]");
    for (const option of [blue, small, large]) await act(() => option?.click());
    await submit();
    expect(given()).toEqual([{ decision: "allow", answers: { "Which colour?": "Blue", "Which sizes?": ["S", "L"] } }]);
    await press("questions-decline");
    expect(given().at(-1)).toEqual({ decision: "deny" });
  });

  it("that cannot be read are a request like any other", async () => {
    for (const odd of [null, {}, { questions: "x" }, { questions: [{ question: 1 }] }]) {
      await draw(part("AskUserQuestion", odd));
      expect(find("permission-allow")).not.toBeNull();
    }
  });
});
