// An idea's conversation as a pure function: frames and deeds in, what the screen shows out. Frames of the log are taken
// at most once and in the order of their (run, seq), however often a reconnect replays them; a page of older history is
// put before them and all is folded anew, so the view never depends on the order of arrival.

import { type Answer, comparePositions, type Decision, type LogFrame, type Notice, type Position } from "../protocol";
import { closing, Fold, omit, requestKey } from "./fold";
import { type Conversation, emptyConversation, type PendingMessage } from "./model";

export type Action =
  | { readonly type: "frames"; readonly frames: readonly LogFrame[] }
  | { readonly type: "notice"; readonly notice: Notice }
  | { readonly type: "compose"; readonly message: PendingMessage }
  | { readonly type: "sent"; readonly messageId: string }
  | { readonly type: "discard"; readonly messageId: string }
  | { readonly type: "retry"; readonly messageId: string }
  /** `key` of the request. */
  | { readonly type: "answer"; readonly key: string; readonly answer: Answer }
  | { readonly type: "disconnected" }
  | { readonly type: "dismiss" };

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
      return withPending(state, action.messageId, ({ error: _, run: __, ...each }) => ({ ...each, state: "waiting" }));
    case "answer":
      return { ...state, answers: { ...state.answers, [action.key]: action.answer } };
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
    // Of the idea, not of its conversation: `idea-session` takes them.
    case "run:state":
    case "permissions":
    case "runs":
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
    const key = state.last && requestKey(state.last.run, requestId);
    if (key === undefined || !(key in state.answers)) return state;
    return { ...state, answers: omit(state.answers, key), notice: error };
  }
  if (!state.pending.some((each) => each.messageId === messageId)) return { ...state, notice: error };
  return withPending(state, messageId ?? "", (each) => ({ ...each, state: "failed", error }));
}

/** Closes a request that is still open, and remembers it for whenever the frames are folded anew. */
function answered(state: Conversation, requestId: string, decision: Decision | undefined): Conversation {
  if (!state.last || !state.turnOpen) return state;
  const key = requestKey(state.last.run, requestId);
  const how = { ...closing(decision), ...(isForeign(state.answers[key], decision) && { elsewhere: true }) };
  const closed = { ...state.closed, [key]: how };
  const fold = new Fold({ ...state, closed });
  return fold.close(key, how) ? { ...state, closed, ...fold.outcome() } : state;
}

/** Whether a closing is of somebody else's answer. */
function isForeign(own: Answer | undefined, decision: Decision | undefined): boolean {
  if (decision === undefined) return false;
  return own === undefined || (own.decision === "deny") !== (decision === "deny");
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

function without<K extends "notice" | "before">(state: Conversation, key: K): Omit<Conversation, K> & { readonly [P in K]?: never } {
  const { [key]: _, ...rest } = state;
  return rest as Omit<Conversation, K> & { readonly [P in K]?: never };
}
