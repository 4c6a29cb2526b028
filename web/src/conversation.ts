// An idea's conversation as a pure fold: frames in, what the screen shows out. Frames of the log are taken at most
// once and in the order of their (run, seq), however often a reconnect replays them; a page of older history is put
// before them and all is folded anew, so the view never depends on the order of arrival.

import { comparePositions, type Decision, type LogEvent, type LogFrame, type Mode, type Notice, type Position } from "./protocol";

export type PermissionState = "open" | "allowed" | "denied" | "withdrawn";

export interface Permission {
  readonly requestId: string;
  readonly state: PermissionState;
}

export type Part =
  | { readonly kind: "text"; readonly key: string; readonly text: string }
  | { readonly kind: "thinking"; readonly key: string; readonly text: string }
  | ToolPart
  | { readonly kind: "error"; readonly key: string; readonly error: string }
  | ResultPart
  | { readonly kind: "large"; readonly key: string; readonly size: number }
  | { readonly kind: "exit"; readonly key: string; readonly code?: number; readonly reason: string };

export interface ToolPart {
  readonly kind: "tool";
  readonly key: string;
  readonly toolUseId: string;
  readonly name: string;
  readonly input: unknown;
  readonly result?: { readonly content: string; readonly isError: boolean };
  readonly permission?: Permission;
}

export interface ResultPart {
  readonly kind: "result";
  readonly key: string;
  readonly outcome: "done" | "failed" | "stopped";
  readonly costUsd?: number;
  readonly durationMs?: number;
  readonly turns?: number;
}

export type Entry =
  | { readonly kind: "user"; readonly key: string; readonly text: string; readonly mode?: Mode }
  | AssistantEntry;

export interface AssistantEntry {
  readonly kind: "assistant";
  readonly key: string;
  readonly parts: readonly Part[];
}

/** A message of this browser that the log has not shown yet. */
export interface PendingMessage {
  readonly messageId: string;
  readonly mode: Mode;
  readonly text: string;
  /** waiting: for a connection; sent: on this connection; accepted: the VM has it; failed: a person must act. */
  readonly state: "waiting" | "sent" | "accepted" | "failed";
  readonly run?: number;
  readonly error?: string;
}

export interface Conversation {
  readonly frames: readonly LogFrame[];
  readonly first?: Position;
  readonly last?: Position;
  readonly entries: readonly Entry[];
  /** A turn has begun and not ended. */
  readonly turnOpen: boolean;
  readonly model?: string;
  readonly pending: readonly PendingMessage[];
  /** Decisions given here that the log has not confirmed. */
  readonly answers: Readonly<Record<string, Decision>>;
  /** What the server said beside the log of requests in it, by run and request; kept for folding anew. */
  readonly closed: Readonly<Record<string, PermissionState>>;
  /** Where older history begins; absent when all is shown. */
  readonly before?: Position;
  readonly subscribed: boolean;
  /** The last failure that belongs to no message and no run. */
  readonly notice?: string;
}

export type Action =
  | { readonly type: "frames"; readonly frames: readonly LogFrame[] }
  | { readonly type: "notice"; readonly notice: Notice }
  | { readonly type: "compose"; readonly message: PendingMessage }
  | { readonly type: "sent"; readonly messageId: string }
  | { readonly type: "discard"; readonly messageId: string }
  | { readonly type: "retry"; readonly messageId: string }
  | { readonly type: "answer"; readonly requestId: string; readonly decision: Decision }
  | { readonly type: "disconnected" }
  | { readonly type: "dismiss" };

export const emptyConversation: Conversation = {
  frames: [],
  entries: [],
  turnOpen: false,
  pending: [],
  answers: {},
  closed: {},
  subscribed: false,
};

/** Something of this conversation is under way: a turn, or a message on its way to one. */
export function isBusy(conversation: Conversation): boolean {
  return conversation.turnOpen || conversation.pending.some((each) => each.state === "sent" || each.state === "accepted");
}

/** Claude waits for a decision that has not been given. */
export function isAsking({ entries, turnOpen, answers }: Conversation): boolean {
  const end = entries.at(-1);
  return (
    turnOpen &&
    end?.kind === "assistant" &&
    end.parts.some((part) => part.kind === "tool" && part.permission?.state === "open" && !(part.permission.requestId in answers))
  );
}

export function reduce(state: Conversation, action: Action): Conversation {
  switch (action.type) {
    case "frames":
      return append(state, action.frames);
    case "notice":
      return applyNotice(state, action.notice);
    case "compose":
      return { ...without(state, "notice"), pending: [...state.pending, action.message] };
    case "sent":
      return withPending(state, action.messageId, (each) => ({ ...each, state: "sent" }));
    case "discard":
      return { ...state, pending: state.pending.filter((each) => each.messageId !== action.messageId) };
    case "retry":
      return withPending(state, action.messageId, ({ messageId, mode, text }) => ({ messageId, mode, text, state: "waiting" }));
    case "answer":
      return { ...state, answers: { ...state.answers, [action.requestId]: action.decision } };
    case "disconnected":
      return {
        ...state,
        subscribed: false,
        pending: state.pending.map((each) => (each.state === "sent" ? { ...each, state: "waiting" } : each)),
      };
    case "dismiss":
      return without(state, "notice");
  }
}

function applyNotice(state: Conversation, notice: Notice): Conversation {
  switch (notice.type) {
    case "subscribed":
      return subscribed(state, notice.after, notice.before);
    case "history":
      return prepend(state, notice.frames, notice.before);
    case "accepted":
      return withPending(state, notice.messageId, (each) => ({ ...each, state: "accepted", run: notice.run }));
    case "run:state":
      return state;
    case "claude:error":
      return failed(state, notice);
    case "claude:permission_closed":
      return answered(state, notice.requestId, notice.decision);
  }
}

/** The server replays from where we stopped; if it cannot reach back that far we start afresh from what it has. */
function subscribed(state: Conversation, after: string | undefined, before: Position | undefined): Conversation {
  const gap = after === undefined || (before !== undefined && state.last !== undefined && comparePositions(before, state.last) > 0);
  if (state.last && !gap) return { ...without(state, "notice"), subscribed: true };
  const fresh: Conversation = {
    ...emptyConversation,
    subscribed: true,
    pending: state.pending.filter((each) => each.state !== "accepted"),
    answers: state.answers,
    closed: state.closed,
  };
  return before ? { ...fresh, before } : fresh;
}

/** Only what the error names has failed: another message may well be delivered. */
function failed(state: Conversation, { error, messageId, requestId }: Extract<Notice, { type: "claude:error" }>): Conversation {
  if (requestId !== undefined) {
    // Answered meanwhile, here or elsewhere: what came of it is shown already.
    if (!(requestId in state.answers)) return state;
    return { ...state, answers: omit(state.answers, requestId), notice: error };
  }
  if (!state.pending.some((each) => each.messageId === messageId)) return { ...state, notice: error };
  return withPending(state, messageId ?? "", (each) => ({ ...each, state: "failed", error }));
}

/** Closes a request that is still open, and remembers it for whenever the frames are folded anew. */
function answered(state: Conversation, requestId: string, decision: Decision | undefined): Conversation {
  const run = state.last?.run;
  if (run === undefined || !state.turnOpen) return state;
  const closed = { ...state.closed, [closedKey(run, requestId)]: closedState(decision) };
  const fold = new Fold({ ...state, closed });
  return fold.close(requestId, decision) ? { ...state, closed, ...fold.outcome() } : state;
}

/** Requests are numbered anew by every process. */
function closedKey(run: number, requestId: string): string {
  return `${run}:${requestId}`;
}

function closedState(decision: Decision | undefined): PermissionState {
  return decision === "allow" ? "allowed" : decision === "deny" ? "denied" : "withdrawn";
}

function omit<T>(all: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(all).filter(([each]) => each !== key));
}

function withPending(state: Conversation, messageId: string, change: (each: PendingMessage) => PendingMessage): Conversation {
  if (!state.pending.some((each) => each.messageId === messageId)) return state;
  return { ...state, pending: state.pending.map((each) => (each.messageId === messageId ? change(each) : each)) };
}

function append(state: Conversation, frames: readonly LogFrame[]): Conversation {
  const fresh: LogFrame[] = [];
  let last = state.last;
  for (const frame of frames) {
    if (last && comparePositions(frame.position, last) <= 0) continue;
    last = frame.position;
    fresh.push(frame);
  }
  const firstFresh = fresh[0];
  if (!firstFresh || !last) return state;
  const fold = new Fold(state);
  for (const frame of fresh) fold.take(frame);
  return {
    ...state,
    ...fold.outcome(),
    frames: merge(state.frames, fresh),
    first: state.first ?? firstFresh.position,
    last,
  };
}

/** Puts frames behind frames; neighbouring pieces of one text become one, or a long answer would be kept as thousands. */
function merge(frames: readonly LogFrame[], fresh: readonly LogFrame[]): readonly LogFrame[] {
  const merged = [...frames];
  for (const frame of fresh) {
    const end = merged.at(-1);
    if (end && end.position.run === frame.position.run) {
      const [before, event] = [end.event, frame.event];
      if ((before.type === "claude:text" || before.type === "claude:thinking") && before.type === event.type) {
        merged[merged.length - 1] = { position: end.position, event: { type: before.type, text: before.text + event.text } };
        continue;
      }
    }
    merged.push(frame);
  }
  return merged;
}

function prepend(state: Conversation, frames: readonly LogFrame[], before: Position | undefined): Conversation {
  const edge = state.first ?? state.before;
  const older = frames.filter((frame) => !edge || comparePositions(frame.position, edge) < 0);
  older.sort((a, b) => comparePositions(a.position, b.position));
  const all = merge(merge([], older), state.frames);
  const first = all[0]?.position;
  const fold = new Fold({ ...emptyConversation, pending: state.pending, answers: state.answers, closed: state.closed });
  for (const frame of all) fold.take(frame);
  return {
    ...without(state, "before"),
    ...(before && { before }),
    ...(first && { first }),
    ...fold.outcome(),
    frames: all,
  };
}

/** Takes events one after another; entries of the state it began with are replaced, never changed. */
class Fold {
  private readonly entries: Entry[];
  private readonly owned = new Set<Entry>();
  private turnOpen: boolean;
  private run: number | undefined;
  private model: string | undefined;
  private pending: readonly PendingMessage[];
  private answers: Readonly<Record<string, Decision>>;
  private readonly closed: Readonly<Record<string, PermissionState>>;

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
  close(requestId: string, decision: Decision | undefined): boolean {
    let found = false;
    this.eachTool((part) => {
      if (part.permission?.requestId !== requestId || part.permission.state !== "open") return part;
      found = true;
      return { ...part, permission: { requestId, state: closedState(decision) } };
    });
    if (found) this.forget(requestId);
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
        this.tool(event.toolUseId, key, (part) => ({ ...part, result: { content: event.content, isError: event.isError } }));
        return;
      case "claude:permission":
        this.turnOpen = true;
        this.tool(event.toolUseId, key, (part) => ({
          ...part,
          name: event.name || part.name,
          input: event.input ?? part.input,
          permission: { requestId: event.requestId, state: this.closed[closedKey(position.run, event.requestId)] ?? "open" },
        }));
        return;
      case "claude:permission_closed":
        this.closePermission(event.requestId, event.decision);
        return;
      case "claude:result":
        this.result(event, key);
        return;
      case "claude:error":
        this.error(event.error, key);
        return;
      case "claude:large":
        this.assistant(key).push({ kind: "large", key, size: event.size });
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
    this.entries.push({ kind: "user", key, text: event.text, ...(mode && { mode }) });
  }

  private grow(kind: "text" | "thinking", text: string, key: string): void {
    const parts = this.assistant(key);
    const end = parts.at(-1);
    if (end?.kind === kind) parts[parts.length - 1] = { ...end, text: end.text + text };
    else if (text !== "") parts.push({ kind, key, text });
  }

  /** Finds the tool call, or opens one: a window may begin after the call and before its result. */
  private tool(toolUseId: string, key: string, change: (part: ToolPart) => ToolPart): void {
    for (let at = this.entries.length - 1; at >= 0; at--) {
      const entry = this.entries[at];
      if (entry?.kind !== "assistant") continue;
      const index = entry.parts.findLastIndex((part) => part.kind === "tool" && part.toolUseId === toolUseId);
      const part = entry.parts[index];
      if (part?.kind !== "tool") continue;
      this.own(at, entry)[index] = change(part);
      return;
    }
    this.assistant(key).push(change({ kind: "tool", key, toolUseId, name: "", input: undefined }));
  }

  private closePermission(requestId: string, decision: Decision | undefined): void {
    const state = closedState(decision);
    this.eachTool((part) => (part.permission?.requestId === requestId ? { ...part, permission: { requestId, state } } : part));
    this.forget(requestId);
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
      this.forget(part.permission.requestId);
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

  private forget(requestId: string): void {
    if (!(requestId in this.answers)) return;
    this.answers = omit(this.answers, requestId);
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

function without<K extends "notice" | "before">(state: Conversation, key: K): Omit<Conversation, K> & { readonly [P in K]?: never } {
  const { [key]: _, ...rest } = state;
  return rest as Omit<Conversation, K> & { readonly [P in K]?: never };
}
