// Questions of Claude (AskUserQuestion) as a form: one choice or several, and words of one's own.

import { useState } from "preact/hooks";
import type { Answer } from "../protocol";

export interface Question {
  readonly question: string;
  readonly header: string;
  readonly options: readonly { readonly label: string; readonly description: string }[];
  readonly multiSelect: boolean;
}

/** Reads the tool's input; what has no question in it gives none. */
export function parseQuestions(input: unknown): readonly Question[] {
  const list = fields(input)["questions"];
  if (!Array.isArray(list)) return [];
  return list.flatMap((each) => {
    const { question, header, options, multiSelect } = fields(each);
    if (typeof question !== "string" || question === "") return [];
    return [
      {
        question,
        header: typeof header === "string" ? header : "",
        multiSelect: multiSelect === true,
        options: (Array.isArray(options) ? options : []).flatMap((option) => {
          const { label, description } = fields(option);
          return typeof label === "string" ? [{ label, description: typeof description === "string" ? description : "" }] : [];
        }),
      },
    ];
  });
}

/** What was chosen for a question: labels, and one's own words. */
export interface Choice {
  readonly labels: readonly string[];
  readonly other: string;
}

/** Undefined while a question has no answer. */
export function toAnswer(questions: readonly Question[], choices: Readonly<Record<string, Choice>>): Answer | undefined {
  const answers: Record<string, string | readonly string[]> = {};
  for (const { question, multiSelect } of questions) {
    const { labels = [], other = "" } = choices[question] ?? {};
    const all = other.trim() === "" ? labels : [...labels, other.trim()];
    if (all.length === 0) return undefined;
    answers[question] = multiSelect ? all : (all.at(-1) ?? "");
  }
  return { decision: "allow", answers };
}

interface QuestionsProps {
  readonly requestId: string;
  readonly questions: readonly Question[];
  readonly given: Answer | undefined;
  readonly connected: boolean;
  readonly onAnswer: (answer: Answer) => void;
}

const nothing: Choice = { labels: [], other: "" };

export function Questions({ requestId, questions, given, connected, onAnswer }: QuestionsProps) {
  const [choices, setChoices] = useState<Readonly<Record<string, Choice>>>({});
  const busy = given !== undefined;
  const answer = toAnswer(questions, choices);
  return (
    <form
      class="questions"
      data-testid="questions"
      data-request={requestId}
      onSubmit={(event) => {
        event.preventDefault();
        if (answer && !busy) onAnswer(answer);
      }}
    >
      {questions.map((question, index) => (
        <QuestionField
          key={question.question}
          name={`${requestId}-${index}`}
          question={question}
          choice={choices[question.question] ?? nothing}
          disabled={busy}
          onChange={(choice) => setChoices({ ...choices, [question.question]: choice })}
        />
      ))}
      <div class="permission-actions">
        {busy && <span class="muted">{given.decision === "deny" ? "Declining…" : connected ? "Sending…" : "Kept; it goes out as soon as there is a connection."}</span>}
        <button type="button" class="quiet" disabled={busy} data-testid="questions-decline" onClick={() => onAnswer({ decision: "deny" })}>
          Decline to answer
        </button>
        <button type="submit" class="primary" disabled={busy || !answer} data-testid="questions-send">
          {questions.length === 1 ? "Send answer" : "Send answers"}
        </button>
      </div>
    </form>
  );
}

interface FieldProps {
  readonly name: string;
  readonly question: Question;
  readonly choice: Choice;
  readonly disabled: boolean;
  readonly onChange: (choice: Choice) => void;
}

function QuestionField({ name, question, choice, disabled, onChange }: FieldProps) {
  const { multiSelect, options } = question;
  const choose = (label: string, on: boolean) => {
    if (!multiSelect) return onChange({ labels: [label], other: "" });
    onChange({ ...choice, labels: on ? [...choice.labels, label] : choice.labels.filter((each) => each !== label) });
  };
  return (
    <fieldset class="question" disabled={disabled}>
      <legend>
        {question.header && <span class="question-header">{question.header}</span>}
        {question.question}
        {multiSelect && <span class="muted"> (any number)</span>}
      </legend>
      {options.map(({ label, description }) => (
        <label key={label} class="option">
          <input
            type={multiSelect ? "checkbox" : "radio"}
            name={name}
            checked={choice.labels.includes(label)}
            data-testid="question-option"
            onChange={(event) => choose(label, event.currentTarget.checked)}
          />
          <span>
            <span class="option-label">{label}</span>
            {description && <span class="option-text">{description}</span>}
          </span>
        </label>
      ))}
      <label class="option-other">
        <span class="visually-hidden">Your own answer to: {question.question}</span>
        <input
          type="text"
          value={choice.other}
          placeholder={options.length > 0 ? "Something else" : "Your answer"}
          data-testid="question-other"
          onInput={(event) => onChange({ labels: multiSelect ? choice.labels : [], other: event.currentTarget.value })}
        />
      </label>
    </fieldset>
  );
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
