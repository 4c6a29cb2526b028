// What a tool call is about, in one line and in full, for the tools that Claude Code has; any other tool shows its
// input as JSON.

import type { IconName } from "../icons";

export interface DiffLine {
  readonly sign: "same" | "added" | "removed";
  readonly text: string;
}

export type ToolInput =
  | { readonly kind: "none" }
  | { readonly kind: "code"; readonly text: string }
  /** Markdown. */
  | { readonly kind: "prose"; readonly text: string }
  | { readonly kind: "change"; readonly lines: readonly DiffLine[] };

export interface ToolDescription {
  /** In place of the tool's own name. */
  readonly title?: string;
  readonly icon: IconName;
  readonly summary: string;
  readonly input: ToolInput;
}

export function describeTool(name: string, input: unknown): ToolDescription {
  const fields = (typeof input === "object" && input !== null ? input : {}) as Readonly<Record<string, unknown>>;
  const field = (key: string) => (typeof fields[key] === "string" ? fields[key] : "");
  switch (name) {
    case "Bash":
      return { icon: "terminal", summary: field("description") || oneLine(field("command")), input: code(field("command")) };
    case "Read":
      return { icon: "file", summary: shortPath(field("file_path")), input: json(fields) };
    case "Write":
      return { icon: "edit", summary: shortPath(field("file_path")), input: { kind: "change", lines: lines(field("content")).map((text) => ({ sign: "added", text })) } };
    case "Edit":
      return { icon: "edit", summary: shortPath(field("file_path")), input: { kind: "change", lines: changedLines(field("old_string"), field("new_string")) } };
    case "MultiEdit":
      return { icon: "edit", summary: shortPath(field("file_path")), input: { kind: "change", lines: edits(fields["edits"]) } };
    case "NotebookEdit":
      return { icon: "edit", summary: shortPath(field("notebook_path")), input: { kind: "change", lines: lines(field("new_source")).map((text) => ({ sign: "added", text })) } };
    case "AskUserQuestion":
      return { icon: "question", title: "Question", summary: firstQuestion(fields["questions"]), input: { kind: "none" } };
    case "ExitPlanMode":
      return { icon: "check", title: "Plan", summary: oneLine(field("plan")).replace(/^#+\s*/, ""), input: field("plan") === "" ? json(fields) : { kind: "prose", text: field("plan") } };
    case "TodoWrite":
      return { icon: "check", title: "To do", summary: "", input: todos(fields["todos"]) };
    case "Grep":
    case "Glob":
      return { icon: "search", summary: field("pattern"), input: json(fields) };
    case "WebFetch":
      return { icon: "globe", summary: field("url"), input: json(fields) };
    case "WebSearch":
      return { icon: "globe", summary: field("query"), input: json(fields) };
    case "Task":
      return { icon: "spark", summary: field("description"), input: code(field("prompt")) };
    default:
      return { icon: "tool", summary: "", input: json(fields) };
  }
}

/** What is common at both ends is kept as context, three lines of it. */
export function changedLines(before: string, after: string): readonly DiffLine[] {
  const old = lines(before);
  const now = lines(after);
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
  const context = 3;
  return [
    ...old.slice(Math.max(0, head - context), head).map((text) => ({ sign: "same", text }) as const),
    ...old.slice(head, old.length - tail).map((text) => ({ sign: "removed", text }) as const),
    ...now.slice(head, now.length - tail).map((text) => ({ sign: "added", text }) as const),
    ...old.slice(old.length - tail, old.length - tail + context).map((text) => ({ sign: "same", text }) as const),
  ];
}

function edits(value: unknown): readonly DiffLine[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each: { old_string?: unknown; new_string?: unknown } | null) =>
    typeof each?.old_string === "string" && typeof each.new_string === "string" ? changedLines(each.old_string, each.new_string) : [],
  );
}

function firstQuestion(value: unknown): string {
  const first: unknown = Array.isArray(value) ? value[0] : undefined;
  const question = typeof first === "object" && first !== null ? (first as { question?: unknown }).question : undefined;
  return typeof question === "string" ? question : "";
}

function todos(value: unknown): ToolInput {
  if (!Array.isArray(value)) return { kind: "none" };
  const marks: Readonly<Record<string, string>> = { completed: "✓", in_progress: "→" };
  const text = value.map((each: { content?: unknown; status?: unknown } | null) => `${marks[String(each?.status)] ?? "·"} ${String(each?.content ?? "")}`);
  return code(text.join("\n"));
}

function lines(text: string): string[] {
  if (text === "") return [];
  return (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
}

function code(text: string): ToolInput {
  return text === "" ? { kind: "none" } : { kind: "code", text };
}

function json(fields: Readonly<Record<string, unknown>>): ToolInput {
  return Object.keys(fields).length === 0 ? { kind: "none" } : { kind: "code", text: JSON.stringify(fields, null, 2) };
}

function oneLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}

/** The end of a path says most; the start is the same for all files of an idea. */
function shortPath(path: string): string {
  const parts = path.split("/").filter((part) => part !== "");
  return parts.length > 3 ? `…/${parts.slice(-3).join("/")}` : path;
}
