// Frames of the log in, entries out. Entries of the state it began with are replaced, never changed, so that only what
// is new is drawn anew.

import type { Answer, Decision, LogEvent, LogFrame, Position } from "../protocol";
import type { AssistantEntry, Closing, Conversation, Entry, Part, PendingMessage, Permission, ToolPart } from "./model";

/** Requests are numbered anew by every process. */
export function requestKey(run: number, requestId: string): string {
  return `${run}:${requestId}`;
}

export function closing(decision: Decision | undefined): Closing {
  return { state: decision === undefined ? "withdrawn" : decision === "deny" ? "denied" : "allowed" };
}

export function omit<T>(all: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(all).filter(([each]) => each !== key));
}

/** Takes events one after another; entries of the state it began with are replaced, never changed. */
export class Fold {
  private readonly entries: Entry[];
  private readonly owned = new Set<Entry>();
  private turnOpen: boolean;
  private run: number | undefined;
  private model: string | undefined;
  private pending: readonly PendingMessage[];
  private answers: Readonly<Record<string, Answer>>;
  private readonly closed: Readonly<Record<string, Closing>>;

  constructor(from: Conversation) {
    this.entries = [...from.entries];
    this.turnOpen = from.turnOpen;
    this.run = from.last?.run;
    this.model = from.model;
    this.pending = from.pending;
    this.answers = from.answers;
    this.closed = from.closed;
  }

  outcome(): Pick<Conversation, "entries" | "turnOpen" | "model" | "pending" | "answers"> {
    return {
      entries: this.entries,
      turnOpen: this.turnOpen,
      ...(this.model && { model: this.model }),
      pending: this.pending,
      answers: this.answers,
    };
  }

  /** Closes a request; false when it is not open. */
  close(key: string, how: Closing): boolean {
    let found = false;
    this.eachTool((part) => {
      if (part.permission?.key !== key || part.permission.state !== "open") return part;
      found = true;
      return { ...part, permission: { ...part.permission, ...how } };
    });
    if (found) this.forget(key);
    return found;
  }

  take({ position, event }: LogFrame): void {
    // A later run means that the earlier one is over, whether or not its end was written.
    if (this.run !== undefined && this.run !== position.run) this.endTurn();
    this.run = position.run;
    this.event(event, `${position.run}:${position.seq}`, position);
  }

  private event(event: LogEvent, key: string, position: Position): void {
    switch (event.type) {
      case "claude:system":
        if (event.model) this.model = event.model;
        return;
      case "claude:user":
        this.turnOpen = true;
        this.user(event, key);
        return;
      case "claude:text":
        this.turnOpen = true;
        this.grow("text", event.text, key);
        return;
      case "claude:thinking":
        this.turnOpen = true;
        this.grow("thinking", event.text, key);
        return;
      case "claude:tool_use":
        this.turnOpen = true;
        this.tool(event.toolUseId, key, (part) => ({ ...part, name: event.name, input: event.input }));
        return;
      case "claude:tool_result":
        this.toolResult(event, key);
        return;
      case "claude:permission":
        this.turnOpen = true;
        this.tool(event.toolUseId, key, (part) => ({
          ...part,
          name: event.name || part.name,
          input: event.input ?? part.input,
          permission: this.permission(event, position.run),
        }));
        return;
      case "claude:permission_closed":
        this.closePermission(requestKey(position.run, event.requestId), event.decision);
        return;
      case "claude:result":
        this.result(event, key);
        return;
      case "claude:error":
        this.error(event.error, key);
        return;
      case "claude:large":
        this.assistant(key).push({ kind: "large", key, run: position.run, start: event.start, length: event.length });
        return;
      case "claude:note":
        this.assistant(key).push({ kind: "note", key, text: event.text });
        return;
      case "run:exit":
        this.exit(event, key, position.run);
        this.endTurn();
        return;
    }
  }

  private user(event: Extract<LogEvent, { type: "claude:user" }>, key: string): void {
    const own =
      this.pending.find((each) => each.messageId === event.messageId) ??
      (event.messageId === undefined ? this.pending.find((each) => each.state !== "failed" && each.text.trim() === event.text.trim()) : undefined);
    if (own) this.pending = this.pending.filter((each) => each !== own);
    const mode = event.mode ?? own?.mode;
    const buildMode = event.buildMode ?? (mode === "build" ? own?.buildMode : undefined);
    this.entries.push({ kind: "user", key, text: event.text, ...(mode && { mode }), ...(buildMode && { buildMode }), ...(event.by && { by: event.by }) });
  }

  private grow(kind: "text" | "thinking", text: string, key: string): void {
    const parts = this.assistant(key);
    const end = parts.at(-1);
    if (end?.kind === kind) parts[parts.length - 1] = { ...end, text: end.text + text };
    else if (text !== "") parts.push({ kind, key, text });
  }

  /** Finds the run's tool call, or opens one: a window may begin after the call and before its result. */
  private tool(toolUseId: string, key: string, change: (part: ToolPart) => ToolPart): void {
    for (let at = this.entries.length - 1; at >= 0; at--) {
      const entry = this.entries[at];
      if (entry?.kind !== "assistant") continue;
      const index = entry.parts.findLastIndex((part) => part.kind === "tool" && part.toolUseId === toolUseId && part.key.startsWith(`${this.run}:`));
      const part = entry.parts[index];
      if (part?.kind !== "tool") continue;
      this.own(at, entry)[index] = change(part);
      return;
    }
    this.assistant(key).push(change({ kind: "tool", key, toolUseId, name: "", input: undefined }));
  }

  /** A call that has its result asks no more, whether or not anybody said how it was answered. */
  private toolResult({ toolUseId, content, isError }: Extract<LogEvent, { type: "claude:tool_result" }>, key: string): void {
    this.tool(toolUseId, key, ({ permission, ...part }) => {
      if (permission?.state === "open") this.forget(permission.key);
      const settled: Permission | undefined = permission?.state === "open" ? { ...permission, state: isError ? "withdrawn" : "allowed" } : permission;
      return { ...part, result: { content, isError }, ...(settled && { permission: settled }) };
    });
  }

  private permission({ requestId, always }: Extract<LogEvent, { type: "claude:permission" }>, run: number): Permission {
    const key = requestKey(run, requestId);
    return { key, requestId, ...(always && always.length > 0 && { always }), ...(this.closed[key] ?? { state: "open" }) };
  }

  /** The log's word counts, whatever was believed before. */
  private closePermission(key: string, decision: Decision | undefined): void {
    const { state } = closing(decision);
    this.eachTool((part) => (part.permission?.key === key ? { ...part, permission: { ...part.permission, state } } : part));
    this.forget(key);
  }

  private result(event: Extract<LogEvent, { type: "claude:result" }>, key: string): void {
    const parts = this.assistant(key);
    const since = parts.findLastIndex((part) => part.kind === "result");
    const turn = parts.slice(since + 1);
    const { error, interrupted, costUsd, durationMs, turns } = event;
    // The text of an answer that came in one piece is only in the result.
    if (!error && !interrupted && event.result.trim() && !turn.some((part) => part.kind === "text")) {
      parts.push({ kind: "text", key: `${key}:text`, text: event.result });
    }
    const end = parts.at(-1);
    if (interrupted && end?.kind === "error") parts.pop();
    if (error && !interrupted && !turn.some((part) => part.kind === "error")) parts.push({ kind: "error", key: `${key}:error`, error });
    parts.push({
      kind: "result",
      key,
      outcome: interrupted ? "stopped" : error ? "failed" : "done",
      ...(costUsd !== undefined && { costUsd }),
      ...(durationMs !== undefined && { durationMs }),
      ...(turns !== undefined && { turns }),
    });
    this.endTurn();
  }

  /** A turn that ended early says so twice, for older clients: in its result and as an error. It is shown once. */
  private error(error: string, key: string): void {
    const parts = this.assistant(key);
    const end = parts.at(-1);
    if (end?.kind === "result" && end.outcome !== "done") return;
    if (end?.kind === "error" && end.error === error) return;
    parts.push({ kind: "error", key, error });
  }

  /** A process that ends between turns is no news: the next message starts another. */
  private exit(event: Extract<LogEvent, { type: "run:exit" }>, key: string, run: number): void {
    this.pending = this.pending.map((each) =>
      each.state === "accepted" && each.run === run ? { ...each, state: "failed", error: "The run ended before it read this message." } : each,
    );
    const { code, reason = "ended" } = event;
    if (!this.turnOpen) return;
    const parts = this.assistant(key);
    if (parts.at(-1)?.kind === "error") return;
    parts.push({ kind: "exit", key, reason, ...(code !== undefined && { code }) });
  }

  /** What was asked and not answered can no longer be. */
  private endTurn(): void {
    if (!this.turnOpen) return;
    this.turnOpen = false;
    this.eachTool((part) => {
      if (part.permission?.state !== "open") return part;
      this.forget(part.permission.key);
      return { ...part, permission: { ...part.permission, state: "withdrawn" } };
    });
  }

  private eachTool(change: (part: ToolPart) => ToolPart): void {
    // Requests are open in the last turn alone.
    const at = this.entries.findLastIndex((entry) => entry.kind === "assistant");
    const entry = this.entries[at];
    if (entry?.kind !== "assistant") return;
    entry.parts.forEach((part, index) => {
      if (part.kind !== "tool") return;
      const changed = change(part);
      if (changed !== part) {
        const current = this.entries[at];
        if (current?.kind === "assistant") this.own(at, current)[index] = changed;
      }
    });
  }

  private forget(key: string): void {
    if (!(key in this.answers)) return;
    this.answers = omit(this.answers, key);
  }

  /** The parts of the answer being written; opens one after a message of the user. */
  private assistant(key: string): Part[] {
    const at = this.entries.length - 1;
    const end = this.entries[at];
    if (end?.kind === "assistant") return this.own(at, end);
    const entry: AssistantEntry = { kind: "assistant", key, parts: [] };
    this.entries.push(entry);
    this.owned.add(entry);
    return entry.parts as Part[];
  }

  private own(at: number, entry: AssistantEntry): Part[] {
    if (this.owned.has(entry)) return entry.parts as Part[];
    const copy: AssistantEntry = { ...entry, parts: [...entry.parts] };
    this.entries[at] = copy;
    this.owned.add(copy);
    return copy.parts as Part[];
  }
}

