// One answer of Claude: its text, thinking, tool calls and how it ended.

import type { AssistantEntry, Part, ResultPart } from "../conversation/model";
import { logUrl } from "../api";
import { cost, duration, size } from "../format";
import { Icon, type IconName } from "../icons";
import type { IdeaSession } from "../idea-session";
import { Markdown } from "../markdown";
import { memo } from "../memo";
import type { ExitReason, Answer as Given } from "../protocol";
import { ToolCall } from "./tool-call";
import { Working } from "./working";

interface AnswerProps {
  readonly entry: AssistantEntry;
  /** This answer is being written. */
  readonly live: boolean;
  readonly connected: boolean;
  readonly session: IdeaSession;
  readonly answers: Readonly<Record<string, Given>>;
}

export const Answer = memo(({ entry, live, connected, session, answers }: AnswerProps) => (
  <article class="answer" data-testid="message" data-role="assistant" aria-label="Claude" aria-busy={live}>
    {entry.parts.map((part, index) => (
      <AnswerPart key={part.key} part={part} growing={live && index === entry.parts.length - 1} live={live} connected={connected} session={session} given={givenAnswer(part, answers)} />
    ))}
    {live && <Working text={activity(entry.parts.at(-1))} />}
  </article>
));

function givenAnswer(part: Part, answers: Readonly<Record<string, Given>>): Given | undefined {
  return part.kind === "tool" && part.permission ? answers[part.permission.key] : undefined;
}

function activity(part: Part | undefined): string {
  if (part?.kind === "thinking") return "Thinking…";
  if (part?.kind === "text") return "Writing…";
  if (part?.kind !== "tool") return "Working…";
  if (part.permission?.state === "open") return "Waiting for your answer";
  return part.result ? "Working…" : `Running ${part.name}…`;
}

interface AnswerPartProps {
  readonly part: Part;
  readonly growing: boolean;
  readonly live: boolean;
  readonly connected: boolean;
  readonly session: IdeaSession;
  readonly given: Given | undefined;
}

const AnswerPart = memo(({ part, growing, live, connected, session, given }: AnswerPartProps) => {
  switch (part.kind) {
    case "text":
      return (
        <div class="answer-text" data-testid="assistant-text" data-growing={growing ? "true" : undefined}>
          <Markdown text={part.text} growing={growing} />
        </div>
      );
    case "thinking":
      return (
        <details class="thinking" data-testid="thinking">
          <summary>
            <Icon name="chevron" /> Thoughts
          </summary>
          <p>{part.text}</p>
        </details>
      );
    case "tool":
      return <ToolCall part={part} live={live} connected={connected} given={given} session={session} />;
    case "error":
      return (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{part.error}</p>
        </div>
      );
    case "result":
      return <RunResult part={part} />;
    case "large":
      return (
        <p class="exit">
          <span>
            A piece of {size(part.length)} is too large to be shown here.{" "}
            <a href={logUrl(session.slug, part.run, part)} download="" data-testid="large-download">
              Download it
            </a>
          </span>
        </p>
      );
    case "note":
      return (
        <p class="exit" data-testid="note">
          <Icon name="alert" /> <span>{part.text}</span>
        </p>
      );
    case "exit":
      return (
        <p class="exit" data-testid="run-exit" data-reason={part.reason}>
          <Icon name="alert" />
          <span>
            {exits[part.reason]}
            {part.code ? ` (exit code ${part.code})` : ""} Your next message starts it again and goes on from here.
          </span>
        </p>
      );
  }
});

/** Why a run ended that should not have. */
const exits: Readonly<Record<ExitReason, string>> = {
  ended: "Claude ended before the answer was complete.",
  silent: "Claude gave no sign of life for too long and was ended.",
  lost: "Claude's process was killed on the dev-VM.",
  rebooted: "The dev-VM was restarted in the middle of this run.",
  stopped: "It was stopped.",
  overtime: "It took longer than a run may and was ended.",
  full: "The dev-VM's disk is full, so it was ended. Make room there.",
  switched: "It was ended to begin anew with other permissions.",
  revoked: "It was ended because a permission was taken back.",
  idle: "It was ended because nothing had happened for a while.",
  missing: "Claude could not be started on the dev-VM. Is it installed for the SSH user?",
  other: "Claude ended unexpectedly.",
};

const outcomes: Readonly<Record<ResultPart["outcome"], { readonly name: string; readonly icon: IconName }>> = {
  done: { name: "Done", icon: "check" },
  failed: { name: "Failed", icon: "cross" },
  stopped: { name: "Stopped", icon: "stop" },
};

function RunResult({ part }: { readonly part: ResultPart }) {
  const facts = [
    part.durationMs !== undefined && duration(part.durationMs),
    part.costUsd !== undefined && cost(part.costUsd),
    part.turns !== undefined && `${part.turns} ${part.turns === 1 ? "turn" : "turns"}`,
  ].filter((fact): fact is string => fact !== false);
  return (
    <p class="result" data-testid="run-result" data-outcome={part.outcome}>
      <Icon name={outcomes[part.outcome].icon} />
      <span>{outcomes[part.outcome].name}</span>
      {facts.map((fact) => (
        <span key={fact}>{fact}</span>
      ))}
    </p>
  );
}
