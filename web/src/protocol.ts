// The messages of /ws. Decoding keeps what this client knows and drops the rest, so that a newer server can say
// more. A frame with a `position` comes from the run's log on the VM; one without is the server's own word.

/** A place in an idea's history: `seq` is "offset.sub" within the log of run `run`. */
export interface Position {
  readonly run: number;
  readonly seq: string;
}

export type Mode = "chat" | "build";
/** How far a build may go without asking. */
export type BuildMode = "ask" | "acceptEdits" | "all" | "plan";
/** `always`: this, and whatever the rules that the request names cover. */
export type Decision = "allow" | "always" | "deny";

/** What a person says to a request. */
export interface Answer {
  readonly decision: Decision;
  /** Of a denial: what Claude is told. */
  readonly message?: string;
  /** Of questions, by their full text. */
  readonly answers?: Readonly<Record<string, string | readonly string[]>>;
}

/** What the log says: replayed identically to every viewer. */
export type LogEvent =
  | { readonly type: "claude:system"; readonly sessionId: string; readonly model: string }
  | {
      readonly type: "claude:user";
      readonly text: string;
      readonly messageId?: string;
      readonly mode?: Mode;
      readonly buildMode?: BuildMode;
      /** Who said it, where people are known by name. */
      readonly by?: string;
    }
  | { readonly type: "claude:text"; readonly text: string }
  | { readonly type: "claude:thinking"; readonly text: string }
  | { readonly type: "claude:tool_use"; readonly toolUseId: string; readonly name: string; readonly input: unknown }
  | { readonly type: "claude:tool_result"; readonly toolUseId: string; readonly content: string; readonly isError: boolean }
  | {
      readonly type: "claude:permission";
      readonly requestId: string;
      readonly toolUseId: string;
      readonly name: string;
      readonly input: unknown;
      /** The rules that "always" would set, as the CLI writes them. */
      readonly always?: readonly string[];
    }
  | { readonly type: "claude:permission_closed"; readonly requestId: string; readonly decision?: Decision }
  | {
      readonly type: "claude:result";
      readonly result: string;
      readonly error?: string;
      /** The user ended the turn: no failure, although `error` may say so for older clients. */
      readonly interrupted: boolean;
      readonly costUsd?: number;
      readonly durationMs?: number;
      readonly turns?: number;
    }
  | { readonly type: "claude:error"; readonly error: string; readonly messageId?: string }
  /** A line of the log too long to be sent: where it starts, and its length in bytes. */
  | { readonly type: "claude:large"; readonly start: number; readonly length: number }
  /** A remark of the server for the person. */
  | { readonly type: "claude:note"; readonly text: string }
  | { readonly type: "run:exit"; readonly code?: number; readonly reason?: ExitReason };

/** Why a run ended, as the server counts it: the log lies where the agent writes, so any other word is "other". */
export const exitReasons = ["ended", "idle", "switched", "revoked", "stopped", "silent", "overtime", "full", "lost", "rebooted", "missing", "other"] as const;
export type ExitReason = (typeof exitReasons)[number];

export interface LogFrame {
  readonly position: Position;
  readonly event: LogEvent;
}

/** What the server says about the connection and the run, outside the log. */
export type Notice =
  /** Without `after` the server begins with what it has, whatever was asked for. */
  | { readonly type: "subscribed"; readonly run?: number; readonly after?: string; readonly before?: Position; readonly live: boolean }
  | { readonly type: "history"; readonly frames: readonly LogFrame[]; readonly before?: Position }
  | { readonly type: "accepted"; readonly messageId: string; readonly run: number }
  | { readonly type: "run:state"; readonly running: boolean }
  /** Answered on the way to Claude: the log does not say so. Without a decision it is only known that it was answered. */
  | { readonly type: "claude:permission_closed"; readonly requestId: string; readonly decision?: Decision }
  | { readonly type: "permissions"; readonly rules: readonly string[] }
  | { readonly type: "runs"; readonly runs: readonly Run[]; readonly before?: number }
  /** Says what failed where the client named it. */
  | { readonly type: "claude:error"; readonly error: string; readonly messageId?: string; readonly requestId?: string };

/** One process of Claude, with what it did and cost. What is not known is absent. */
export interface Run {
  readonly run: number;
  readonly live: boolean;
  readonly mode?: "chat" | BuildMode;
  /** In ms since 1970. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  /** Messages that were answered, and the time that took in ms. */
  readonly turns?: number;
  readonly durationMs?: number;
  readonly costUsd?: number;
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly code?: number;
  readonly reason?: ExitReason;
  /** Of its log. */
  readonly bytes?: number;
}

export type Incoming =
  | { readonly kind: "log"; readonly ideaId: string; readonly frame: LogFrame }
  | { readonly kind: "notice"; readonly ideaId: string; readonly notice: Notice }
  | { readonly kind: "draining" };

export type Outgoing =
  | { readonly type: "chat"; readonly ideaId: string; readonly message: string; readonly messageId: string }
  | { readonly type: "build"; readonly ideaId: string; readonly instructions: string; readonly messageId: string; readonly mode?: BuildMode }
  | { readonly type: "cancel"; readonly ideaId: string }
  | { readonly type: "subscribe"; readonly ideaId: string; readonly run?: number; readonly after?: string }
  | { readonly type: "unsubscribe"; readonly ideaId: string }
  | { readonly type: "page"; readonly ideaId: string; readonly before: Position }
  | ({ readonly type: "answer"; readonly ideaId: string; readonly requestId: string } & Answer)
  | { readonly type: "permissions"; readonly ideaId: string }
  | { readonly type: "revoke"; readonly ideaId: string; readonly rule: string }
  | { readonly type: "runs"; readonly ideaId: string; readonly before?: number }
  | { readonly type: "trim"; readonly ideaId: string; readonly keep: number };

/** Negative when `a` lies before `b`, 0 when equal. */
export function comparePositions(a: Position, b: Position): number {
  if (a.run !== b.run) return a.run - b.run;
  const [aOffset, aSub] = splitSeq(a.seq);
  const [bOffset, bSub] = splitSeq(b.seq);
  return aOffset !== bOffset ? aOffset - bOffset : aSub - bSub;
}

function splitSeq(seq: string): [number, number] {
  const dot = seq.indexOf(".");
  return dot < 0 ? [Number(seq), 0] : [Number(seq.slice(0, dot)), Number(seq.slice(dot + 1))];
}

/** Reads one frame; undefined for what is malformed or unknown. */
export function decode(text: string): Incoming | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const frame = record(value);
  if (!frame) return undefined;
  if (frame["type"] === "server:draining") return { kind: "draining" };
  const ideaId = frame["ideaId"];
  if (typeof ideaId !== "string") return undefined;
  const logged = logFrame(frame);
  if (logged) return { kind: "log", ideaId, frame: logged };
  const notice = decodeNotice(frame);
  return notice && { kind: "notice", ideaId, notice };
}

function decodeNotice(frame: Fields): Notice | undefined {
  switch (frame["type"]) {
    case "subscribed":
      return { type: "subscribed", live: frame["live"] === true, ...maybe("run", number(frame["run"])), ...maybe("after", string(frame["after"])), ...maybe("before", position(frame["before"])) };
    case "history": {
      const frames = Array.isArray(frame["frames"]) ? frame["frames"] : [];
      return {
        type: "history",
        frames: frames.map(record).flatMap((each) => (each && logFrame(each)) ?? []),
        ...maybe("before", position(frame["before"])),
      };
    }
    case "accepted":
      return { type: "accepted", messageId: string(frame["messageId"]) ?? "", run: number(frame["run"]) ?? 0 };
    case "run:state":
      return { type: "run:state", running: frame["running"] === true };
    case "claude:permission_closed":
      return { type: "claude:permission_closed", requestId: string(frame["requestId"]) ?? "", ...maybe("decision", decision(frame["decision"])) };
    case "permissions":
      return { type: "permissions", rules: strings(frame["rules"]) };
    case "runs": {
      const runs = Array.isArray(frame["runs"]) ? frame["runs"] : [];
      return { type: "runs", runs: runs.map(record).flatMap((each) => (each && decodeRun(each)) ?? []), ...maybe("before", number(frame["before"])) };
    }
    case "claude:error":
      return {
        type: "claude:error",
        error: string(frame["error"]) ?? "The server reported an error.",
        ...maybe("messageId", string(frame["messageId"])),
        ...maybe("requestId", string(frame["requestId"])),
      };
    default:
      return undefined;
  }
}

function decodeRun(fields: Fields): Run | undefined {
  const run = number(fields["run"]);
  if (run === undefined) return undefined;
  const mode: Run["mode"] = fields["mode"] === "chat" ? "chat" : buildMode(fields["mode"]);
  const figures = ["startedAt", "endedAt", "turns", "durationMs", "costUsd", "inputTokens", "outputTokens", "code", "bytes"] as const;
  const known = figures.flatMap((name) => {
    const value = number(fields[name]);
    return value === undefined ? [] : [[name, value] as const];
  });
  return { run, live: fields["live"] === true, ...maybe("mode", mode), ...maybe("reason", exitReason(fields["reason"])), ...Object.fromEntries(known) };
}

function logFrame(frame: Fields): LogFrame | undefined {
  const at = position(frame);
  const event = at && decodeEvent(frame);
  return event && { position: at, event };
}

function decodeEvent(frame: Fields): LogEvent | undefined {
  const text = string(frame["text"]) ?? "";
  const toolUseId = string(frame["toolUseId"]) ?? "";
  switch (frame["type"]) {
    case "claude:system":
      return { type: "claude:system", sessionId: string(frame["sessionId"]) ?? "", model: string(frame["model"]) ?? "" };
    case "claude:user":
      return {
        type: "claude:user",
        text,
        ...maybe("messageId", string(frame["messageId"])),
        ...maybe("mode", mode(frame["mode"])),
        ...maybe("buildMode", buildMode(frame["buildMode"])),
        ...maybe("by", string(frame["by"]) || undefined),
      };
    case "claude:text":
      return { type: "claude:text", text };
    case "claude:thinking":
      return { type: "claude:thinking", text };
    case "claude:tool_use":
      return { type: "claude:tool_use", toolUseId, name: string(frame["name"]) ?? "", input: frame["input"] };
    case "claude:tool_result":
      return { type: "claude:tool_result", toolUseId, content: string(frame["content"]) ?? "", isError: frame["isError"] === true };
    case "claude:permission":
      return { type: "claude:permission", requestId: string(frame["requestId"]) ?? "", toolUseId, name: string(frame["name"]) ?? "", input: frame["input"], ...maybe("always", frame["always"] === undefined ? undefined : strings(frame["always"])) };
    case "claude:permission_closed":
      return { type: "claude:permission_closed", requestId: string(frame["requestId"]) ?? "", ...maybe("decision", decision(frame["decision"])) };
    case "claude:result":
      return {
        type: "claude:result",
        result: string(frame["result"]) ?? "",
        interrupted: frame["interrupted"] === true,
        ...maybe("error", string(frame["error"]) || undefined),
        ...maybe("costUsd", number(frame["costUsd"])),
        ...maybe("durationMs", number(frame["durationMs"])),
        ...maybe("turns", number(frame["turns"])),
      };
    case "claude:error":
      return { type: "claude:error", error: string(frame["error"]) ?? "The run reported an error.", ...maybe("messageId", string(frame["messageId"])) };
    case "claude:large":
      return { type: "claude:large", start: number(frame["start"]) ?? 0, length: number(frame["length"]) ?? 0 };
    case "claude:other": {
      const event = record(frame["event"]);
      const note = event?.["type"] === "catalyst_note" ? string(event["text"]) : undefined;
      return note === undefined ? undefined : { type: "claude:note", text: note };
    }
    case "run:exit":
      return { type: "run:exit", ...maybe("code", number(frame["code"])), ...maybe("reason", exitReason(frame["reason"])) };
    default:
      return undefined;
  }
}

type Fields = Readonly<Record<string, unknown>>;

function record(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function position(value: unknown): Position | undefined {
  const fields = record(value);
  const run = number(fields?.["run"]);
  const seq = string(fields?.["seq"]);
  return run !== undefined && seq !== undefined && /^\d+(\.\d+)?$/.test(seq) ? { run, seq } : undefined;
}

function mode(value: unknown): Mode | undefined {
  return value === "chat" || value === "build" ? value : buildMode(value) && "build";
}

export function buildMode(value: unknown): BuildMode | undefined {
  return value === "ask" || value === "acceptEdits" || value === "all" || value === "plan" ? value : undefined;
}

function decision(value: unknown): Decision | undefined {
  return value === "allow" || value === "always" || value === "deny" ? value : undefined;
}

function exitReason(value: unknown): ExitReason | undefined {
  const word = string(value);
  return word === undefined ? undefined : (exitReasons.find((known) => known === word) ?? "other");
}

/** `{[key]: value}`, or nothing when the value is undefined: absent fields stay absent. */
function maybe<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: V });
}
