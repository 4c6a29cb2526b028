// What was typed and not yet taken by the server, kept in this browser: the text in the composer, messages waiting for
// a connection, answers to requests. Storage can be full or forbidden; then only this tab remembers.

import type { PendingMessage } from "./conversation/model";
import { type Answer, type BuildMode, buildMode, type Mode } from "./protocol";

export interface Draft {
  readonly text: string;
  readonly mode: Mode;
  /** How far builds of this idea may go. */
  readonly buildMode: BuildMode;
}

/** What the server does when it is not told. */
export const defaultBuildMode: BuildMode = "acceptEdits";

const DRAFT = "catalyst:draft:";
const OUTBOX = "catalyst:outbox:";
const ANSWERS = "catalyst:answers:";

export const drafts = {
  load(slug: string): Draft {
    const stored = read(DRAFT + slug) as Partial<Draft> | undefined;
    return {
      text: typeof stored?.text === "string" ? stored.text : "",
      mode: stored?.mode === "build" ? "build" : "chat",
      buildMode: buildMode(stored?.buildMode) ?? defaultBuildMode,
    };
  },
  save(slug: string, draft: Draft): void {
    if (draft.text === "" && draft.mode === "chat" && draft.buildMode === defaultBuildMode) erase(DRAFT + slug);
    else write(DRAFT + slug, draft);
  },
  /** For fields that have no mode. */
  saveText(name: string, text: string): void {
    drafts.save(name, { text, mode: "chat", buildMode: defaultBuildMode });
  },
  loadOutbox(slug: string): readonly PendingMessage[] {
    const stored = read(OUTBOX + slug);
    if (!Array.isArray(stored)) return [];
    return stored.flatMap((each: Partial<PendingMessage> | null) => {
      const chosen = buildMode(each?.buildMode);
      return typeof each?.messageId === "string" && typeof each.text === "string"
        ? [
            {
              messageId: each.messageId,
              text: each.text,
              mode: each.mode === "build" ? "build" : "chat",
              ...(chosen && { buildMode: chosen }),
              ...(typeof each.error === "string" ? { state: "failed", error: each.error } : { state: "waiting" }),
              ...(typeof each.run === "number" && { run: each.run }),
            } as const,
          ]
        : [];
    });
  },
  /**
   * Keeps what the server has not confirmed, and what failed until a person sends it again or discards it; a resend
   * carries the same id, so it cannot run twice.
   */
  saveOutbox(slug: string, pending: readonly PendingMessage[]): void {
    const unconfirmed = pending.filter((each) => each.state !== "accepted");
    if (unconfirmed.length === 0) erase(OUTBOX + slug);
    else write(OUTBOX + slug, unconfirmed.map(({ messageId, text, mode, buildMode: chosen, error, run }) => ({ messageId, text, mode, buildMode: chosen, error, run })));
  },
  loadAnswers(slug: string): Readonly<Record<string, Answer>> {
    const stored = read(ANSWERS + slug);
    if (typeof stored !== "object" || stored === null) return {};
    const answers = Object.entries(stored as Record<string, Partial<Answer> | null>);
    return Object.fromEntries(answers.filter((each): each is [string, Answer] => ["allow", "always", "deny"].includes(each[1]?.decision ?? "")));
  },
  /** An answer given while the connection was gone is not lost with the page. */
  saveAnswers(slug: string, answers: Readonly<Record<string, Answer>>): void {
    if (Object.keys(answers).length === 0) erase(ANSWERS + slug);
    else write(ANSWERS + slug, answers);
  },
  forget(slug: string): void {
    erase(DRAFT + slug);
    erase(OUTBOX + slug);
    erase(ANSWERS + slug);
  },
  /** On sign-out: the next person at this browser sees nothing of it. */
  forgetAll(): void {
    try {
      for (const key of Object.keys(localStorage)) if (key.startsWith("catalyst:")) localStorage.removeItem(key);
    } catch {
      // Nothing is stored where storage is forbidden.
    }
  },
};

function read(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the page itself still holds the text.
  }
}

function erase(key: string): void {
  try {
    localStorage.removeItem(key);
  } catch {
    // As above.
  }
}
