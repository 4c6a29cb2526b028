// What the screen shows of an idea's conversation. Values never change: what is new is a new object.

import type { Answer, BuildMode, ExitReason, LogFrame, Mode, Position } from "../protocol";

export type PermissionState = "open" | "allowed" | "denied" | "withdrawn";

export interface Permission {
  /** Names it among all requests of the idea: processes number theirs anew. */
  readonly key: string;
  readonly requestId: string;
  readonly state: PermissionState;
  /** The rules that "always" would set; absent when it cannot be allowed for always. */
  readonly always?: readonly string[];
  /** Closed before our eyes by an answer that was not given here. */
  readonly elsewhere?: boolean;
}

export type Closing = Pick<Permission, "state" | "elsewhere">;

export type Part =
  | { readonly kind: "text"; readonly key: string; readonly text: string }
  | { readonly kind: "thinking"; readonly key: string; readonly text: string }
  | ToolPart
  | { readonly kind: "error"; readonly key: string; readonly error: string }
  | ResultPart
  | { readonly kind: "large"; readonly key: string; readonly run: number; readonly start: number; readonly length: number }
  | { readonly kind: "note"; readonly key: string; readonly text: string }
  | { readonly kind: "exit"; readonly key: string; readonly code?: number; readonly reason: ExitReason };

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
  | {
      readonly kind: "user";
      readonly key: string;
      readonly text: string;
      readonly mode?: Mode;
      readonly buildMode?: BuildMode;
      /** Who said it, where people are known by name. */
      readonly by?: string;
    }
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
  readonly buildMode?: BuildMode;
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
  /** Answers given here that nobody has confirmed, by the request's key. */
  readonly answers: Readonly<Record<string, Answer>>;
  /** What the server said beside the log of requests in it, by key; kept for folding anew. */
  readonly closed: Readonly<Record<string, Closing>>;
  /** Where older history begins; absent when all is shown. */
  readonly before?: Position;
  readonly subscribed: boolean;
  /** The last failure that belongs to no message and no run. */
  readonly notice?: string;
}

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

/** The requests that wait for somebody, oldest first. */
export function openRequests({ entries, turnOpen }: Conversation): readonly Permission[] {
  const end = entries.at(-1);
  if (!turnOpen || end?.kind !== "assistant") return [];
  return end.parts.flatMap((part) => (part.kind === "tool" && part.permission?.state === "open" ? [part.permission] : []));
}

/** Claude waits for a decision that has not been given. */
export function isAsking(conversation: Conversation): boolean {
  return openRequests(conversation).some(({ key }) => !(key in conversation.answers));
}
