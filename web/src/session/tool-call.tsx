// A tool call as a card: one line that says what is done, and opened, its input, its result and the request for
// permission. A card that waits for an answer is open; the rest are closed.

import { useLayoutEffect, useRef } from "preact/hooks";
import type { Permission, ToolPart } from "../conversation/model";
import { size } from "../format";
import { Icon, type IconName } from "../icons";
import type { IdeaSession } from "../idea-session";
import { Markdown } from "../markdown";
import type { Answer } from "../protocol";
import { DiffLines } from "./diff";
import { PermissionRequest } from "./permission";
import { PlanApproval } from "./plan";
import { parseQuestions, Questions } from "./questions";
import { describeTool, type ToolInput } from "./tool-input";

interface ToolCallProps {
  readonly part: ToolPart;
  readonly live: boolean;
  readonly connected: boolean;
  readonly given: Answer | undefined;
  readonly session: IdeaSession;
}

/** Drawing more of a result would make the page slow; the rest is in the log on the VM. */
const RESULT_LIMIT = 60_000;

export function ToolCall({ part, live, connected, given, session }: ToolCallProps) {
  const card = useRef<HTMLDetailsElement>(null);
  const asking = part.permission?.state === "open";
  // Before the page is measured: a request for permission must come into sight.
  useLayoutEffect(() => {
    if (card.current) card.current.open = asking;
  }, [asking]);

  const tool = describeTool(part.name, part.input);
  const title = tool.title ?? part.name;
  const state = toolState(part, live);
  return (
    <details class="tool" ref={card} data-testid="tool-call" data-name={part.name} data-state={state}>
      <summary>
        <Icon name={tool.icon} />
        <span class="tool-name">{title || "Tool"}</span>
        {tool.summary && <span class="tool-summary">{tool.summary}</span>}
        <StateMark state={state} permission={part.permission} />
      </summary>
      <div class="tool-body">
        <InputView input={tool.input} />
        {part.permission && asking && <Request part={part} permission={part.permission} connected={connected} given={given} session={session} />}
        {part.result && <Result content={part.result.content} isError={part.result.isError} />}
      </div>
    </details>
  );
}

type ToolState = "asking" | "running" | "done" | "failed" | "unfinished";

function toolState(part: ToolPart, live: boolean): ToolState {
  if (part.result) return part.result.isError ? "failed" : "done";
  if (!live) return "unfinished";
  return part.permission?.state === "open" ? "asking" : "running";
}

const marks: Readonly<Record<ToolState, { readonly name: string; readonly icon?: IconName }>> = {
  asking: { name: "asks for permission", icon: "question" },
  running: { name: "running" },
  done: { name: "done", icon: "check" },
  failed: { name: "failed", icon: "cross" },
  unfinished: { name: "not finished", icon: "stop" },
};

function StateMark({ state, permission }: { readonly state: ToolState; readonly permission: Permission | undefined }) {
  const verdict = permission?.state === "denied" ? "denied" : permission?.state === "allowed" ? "allowed" : undefined;
  const name = verdict === "denied" ? verdict : verdict && state === "done" ? "allowed, done" : marks[state].name;
  const { icon } = marks[state];
  return (
    <span class="tool-state" title={name}>
      {verdict && permission?.elsewhere ? (
        <span class="tool-verdict" data-testid="permission-elsewhere">
          {verdict === "denied" ? "Denied" : "Allowed"} by somebody else
        </span>
      ) : (
        verdict === "denied" && <span class="tool-verdict">Denied</span>
      )}
      {icon ? <Icon name={icon} /> : <span class="spinner" aria-hidden="true" />}
      <span class="visually-hidden">{name}</span>
    </span>
  );
}

interface RequestProps extends Pick<ToolCallProps, "part" | "connected" | "given" | "session"> {
  readonly permission: Permission;
}

/** Most requests are a yes or no; two are more. */
function Request({ part, permission, connected, given, session }: RequestProps) {
  const answering = { given, connected, onAnswer: (answer: Answer) => session.answer(permission, answer) };
  const questions = part.name === "AskUserQuestion" ? parseQuestions(part.input) : [];
  if (questions.length > 0) return <Questions requestId={permission.requestId} questions={questions} {...answering} />;
  if (part.name === "ExitPlanMode") return <PlanApproval requestId={permission.requestId} {...answering} />;
  return <PermissionRequest permission={permission} name={part.name} {...answering} />;
}

function InputView({ input }: { readonly input: ToolInput }) {
  switch (input.kind) {
    case "none":
      return null;
    case "code":
      return (
        <pre class="tool-pre" tabIndex={0} aria-label="Input">
          <code>{input.text.slice(0, RESULT_LIMIT)}</code>
        </pre>
      );
    case "prose":
      return (
        <div class="tool-prose">
          <Markdown text={input.text} />
        </div>
      );
    case "change":
      return <DiffLines lines={input.lines} label="Change" />;
  }
}

function Result({ content, isError }: { readonly content: string; readonly isError: boolean }) {
  const shown = content.length > RESULT_LIMIT ? content.slice(0, RESULT_LIMIT) : content;
  return (
    <div class="tool-result" data-testid="tool-result" data-error={isError ? "true" : "false"}>
      <p class="tool-label">{isError ? "Failed" : "Result"}</p>
      {shown.trim() === "" ? (
        <p class="muted">No output.</p>
      ) : (
        <pre class="tool-pre" tabIndex={0} aria-label="Result">
          {shown}
        </pre>
      )}
      {shown.length < content.length && <p class="muted">The first {size(shown.length)} of {size(content.length)} are shown.</p>}
    </div>
  );
}
