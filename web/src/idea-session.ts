// One opened idea: joins its conversation, the connection and what is kept in the browser. Re-subscribes after the
// last frame it has, resends what the server has not confirmed, and gathers a burst of frames into one change.

import type { Connection } from "./connection";
import { type Conversation, emptyConversation, openRequests, type Permission } from "./conversation/model";
import { type Action, reduce } from "./conversation/reduce";
import { drafts } from "./drafts";
import type { Answer, BuildMode, Incoming, LogFrame, Mode, Notice } from "./protocol";
import { Store } from "./store";

/** A failed subscription (the VM is away, or others send very much) is tried again this often. */
const RESUBSCRIBE_MS = 4_000;
/** The longest pause before a list that was not given is asked for again; each is twice as long as the one before. */
const LONGEST_PAUSE_MS = 60_000;

type List = "permissions" | "runs";

export class IdeaSession {
  readonly conversation: Store<Conversation>;
  readonly paging = new Store(false);
  /** What is always allowed in this idea; unknown until asked for. */
  readonly rules = new Store<readonly string[] | undefined>(undefined);
  readonly runs = new Store<RunList | undefined>(undefined);
  /** Tells that a turn ended or began, so that the idea's status is read again. */
  onTurn: () => void = () => {};
  private gathered: LogFrame[] = [];
  private flushing: ReturnType<typeof setTimeout> | number | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private leave: () => void = () => {};
  /** Answers handed to this connection, by the request's key. */
  private readonly transmitted = new Set<string>();
  private readonly asked = new Set<List>();
  /** Those of them for which there is no answer yet. */
  private readonly unanswered = new Set<List>();
  /** How often one of them was asked for again since there was an answer. */
  private repeated = 0;

  constructor(
    private readonly connection: Connection,
    readonly slug: string,
  ) {
    this.conversation = new Store<Conversation>({ ...emptyConversation, pending: drafts.loadOutbox(slug), answers: drafts.loadAnswers(slug) });
  }

  open(): void {
    this.leave = this.connection.listen(this.slug, {
      connected: () => this.subscribe(),
      disconnected: () => {
        this.flush();
        clearTimeout(this.again);
        this.paging.set(false);
        this.transmitted.clear();
        this.dispatch({ type: "disconnected" });
      },
      incoming: (message) => this.incoming(message),
    });
  }

  close(): void {
    this.leave();
    clearTimeout(this.again);
    this.cancelFlush();
  }

  send(mode: Mode, text: string, buildMode?: BuildMode): void {
    const messageId = newId();
    this.dispatch({ type: "compose", message: { messageId, mode, text, state: "waiting", ...(mode === "build" && buildMode && { buildMode }) } });
    this.transmitWaiting();
  }

  /**
   * The first try may have reached the VM although it failed: the same id keeps it from running twice. Only an id that
   * a run has taken and ended with is spent.
   */
  sendAgain(messageId: string): void {
    const message = this.conversation.get().pending.find((each) => each.messageId === messageId);
    if (!message) return;
    if (message.run === undefined) {
      this.dispatch({ type: "retry", messageId });
      this.transmitWaiting();
      return;
    }
    this.discard(messageId);
    this.send(message.mode, message.text, message.buildMode);
  }

  discard(messageId: string): void {
    this.dispatch({ type: "discard", messageId });
  }

  stop(): void {
    // If it fails as it did before, that is news again.
    this.dispatch({ type: "dismiss" });
    this.connection.send({ type: "cancel", ideaId: this.slug });
  }

  answer({ key }: Permission, answer: Answer): void {
    this.transmitted.delete(key);
    this.dispatch({ type: "answer", key, answer });
    this.transmitAnswers();
  }

  /** Asks for it now and after every reconnect. */
  watchRules(): void {
    this.ask("permissions");
  }

  revoke(rule: string): void {
    this.connection.send({ type: "revoke", ideaId: this.slug, rule });
  }

  watchRuns(): void {
    this.ask("runs");
  }

  loadEarlierRuns(): void {
    const before = this.runs.get()?.before;
    if (before !== undefined) this.connection.send({ type: "runs", ideaId: this.slug, before });
  }

  trimRuns(keep: number): void {
    this.runs.set(undefined);
    this.unanswered.add("runs");
    this.connection.send({ type: "trim", ideaId: this.slug, keep });
  }

  loadEarlier(): void {
    const { before } = this.conversation.get();
    if (!before || this.paging.get()) return;
    if (this.connection.send({ type: "page", ideaId: this.slug, before })) this.paging.set(true);
  }

  dismissNotice(): void {
    this.dispatch({ type: "dismiss" });
  }

  private ask(list: List): void {
    this.asked.add(list);
    this.unanswered.add(list);
    this.connection.send({ type: list, ideaId: this.slug });
  }

  private answered(list: List): void {
    this.unanswered.delete(list);
    this.repeated = 0;
  }

  /** An error does not say which question it refuses: what has no answer a while after it is asked once more. */
  private askAgain(): void {
    clearTimeout(this.again);
    if (!this.conversation.get().subscribed) {
      this.again = setTimeout(() => this.subscribe(), RESUBSCRIBE_MS);
    } else if (this.unanswered.size > 0) {
      this.again = setTimeout(
        () => {
          this.repeated++;
          for (const list of this.unanswered) this.ask(list);
        },
        Math.min(LONGEST_PAUSE_MS, RESUBSCRIBE_MS * 2 ** this.repeated),
      );
    }
  }

  private subscribe(): void {
    clearTimeout(this.again);
    const { last } = this.conversation.get();
    this.connection.send({ type: "subscribe", ideaId: this.slug, ...(last && { run: last.run, after: last.seq }) });
  }

  private incoming(message: Incoming): void {
    if (message.kind === "log") {
      this.gathered.push(message.frame);
      this.flushing ??= nextFrame(() => this.flush());
      return;
    }
    if (message.kind !== "notice") return;
    // What was said before the notice is taken before it.
    this.flush();
    const { notice } = message;
    this.dispatch({ type: "notice", notice });
    if (notice.type === "subscribed") {
      this.transmitWaiting();
      this.transmitAnswers();
      for (const list of this.asked) this.ask(list);
    }
    if (notice.type === "permissions") {
      this.answered("permissions");
      this.rules.set(notice.rules);
    }
    if (notice.type === "runs") {
      this.answered("runs");
      this.runs.set(joinRuns(this.runs.get(), notice));
    }
    if (notice.type === "history") this.paging.set(false);
    if (notice.type === "accepted") this.onTurn();
    if (notice.type === "claude:error") {
      this.paging.set(false);
      this.askAgain();
    }
  }

  private flush(): void {
    this.cancelFlush();
    if (this.gathered.length === 0) return;
    const frames = this.gathered;
    this.gathered = [];
    const wasOpen = this.conversation.get().turnOpen;
    this.dispatch({ type: "frames", frames });
    this.transmitAnswers();
    if (this.conversation.get().turnOpen !== wasOpen) this.onTurn();
  }

  private cancelFlush(): void {
    if (this.flushing !== undefined) cancelFrame(this.flushing);
    this.flushing = undefined;
  }

  private transmitWaiting(): void {
    if (!this.conversation.get().subscribed) return;
    for (const { messageId, mode, text, state, buildMode } of this.conversation.get().pending) {
      if (state !== "waiting") continue;
      const sent = this.connection.send(
        mode === "chat"
          ? { type: "chat", ideaId: this.slug, message: text, messageId }
          : { type: "build", ideaId: this.slug, instructions: text, messageId, ...(buildMode && { mode: buildMode }) },
      );
      if (sent) this.dispatch({ type: "sent", messageId });
    }
  }

  /** Once a connection, and only while the request is seen to be open: a number may name another one by now. */
  private transmitAnswers(): void {
    const conversation = this.conversation.get();
    if (!conversation.subscribed) return;
    for (const { key, requestId } of openRequests(conversation)) {
      const answer = conversation.answers[key];
      if (!answer || this.transmitted.has(key)) continue;
      if (this.connection.send({ type: "answer", ideaId: this.slug, requestId, ...answer })) this.transmitted.add(key);
    }
  }

  private dispatch(action: Action): void {
    const before = this.conversation.get();
    const after = reduce(before, action);
    if (after.pending !== before.pending) drafts.saveOutbox(this.slug, after.pending);
    if (after.answers !== before.answers) drafts.saveAnswers(this.slug, after.answers);
    this.conversation.set(after);
  }
}

/** The idea's runs, newest first; `before` when there are older ones. */
export type RunList = Pick<Extract<Notice, { type: "runs" }>, "runs" | "before">;

/** A page of older runs is put behind what is there; the newest page takes the place of all. */
function joinRuns(known: RunList | undefined, { runs, before }: RunList): RunList {
  const newest = runs[0]?.run;
  const above = (known?.runs ?? []).filter(({ run }) => newest === undefined || run > newest);
  return { runs: [...above, ...runs], ...(before !== undefined && { before }) };
}

/** The next drawing; a hidden tab draws nothing, but must go on taking frames. */
function nextFrame(run: () => void): number | ReturnType<typeof setTimeout> {
  return document.visibilityState === "visible" ? requestAnimationFrame(run) : setTimeout(run, 100);
}

function cancelFrame(handle: number | ReturnType<typeof setTimeout>): void {
  if (typeof handle === "number") cancelAnimationFrame(handle);
  clearTimeout(handle);
}

/** A v4 UUID; crypto.randomUUID exists only where the page is secure, which plain http in a cluster is not. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
