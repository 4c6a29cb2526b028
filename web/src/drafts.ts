// What was typed and not yet taken by the server, kept in this browser: the text in the composer and messages
// waiting for a connection. Storage can be full or forbidden; then only this tab remembers.

import type { PendingMessage } from "./conversation";
import type { Mode } from "./protocol";

export interface Draft {
  readonly text: string;
  readonly mode: Mode;
}

const DRAFT = "catalyst:draft:";
const OUTBOX = "catalyst:outbox:";

export const drafts = {
  load(slug: string): Draft {
    const stored = read(DRAFT + slug) as Partial<Draft> | undefined;
    return { text: typeof stored?.text === "string" ? stored.text : "", mode: stored?.mode === "build" ? "build" : "chat" };
  },
  save(slug: string, draft: Draft): void {
    if (draft.text === "" && draft.mode === "chat") erase(DRAFT + slug);
    else write(DRAFT + slug, draft);
  },
  loadOutbox(slug: string): readonly PendingMessage[] {
    const stored = read(OUTBOX + slug);
    if (!Array.isArray(stored)) return [];
    return stored.flatMap((each: Partial<PendingMessage> | null) =>
      typeof each?.messageId === "string" && typeof each.text === "string"
        ? [
            {
              messageId: each.messageId,
              text: each.text,
              mode: each.mode === "build" ? "build" : "chat",
              ...(typeof each.error === "string" ? { state: "failed", error: each.error } : { state: "waiting" }),
              ...(typeof each.run === "number" && { run: each.run }),
            } as const,
          ]
        : [],
    );
  },
  /**
   * Keeps what the server has not confirmed, and what failed until a person sends it again or discards it; a resend
   * carries the same id, so it cannot run twice.
   */
  saveOutbox(slug: string, pending: readonly PendingMessage[]): void {
    const unconfirmed = pending.filter((each) => each.state !== "accepted");
    if (unconfirmed.length === 0) erase(OUTBOX + slug);
    else write(OUTBOX + slug, unconfirmed.map(({ messageId, text, mode, error, run }) => ({ messageId, text, mode, error, run })));
  },
  forget(slug: string): void {
    erase(DRAFT + slug);
    erase(OUTBOX + slug);
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
