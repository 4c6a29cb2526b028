// The conversation, oldest first. Stays at the end while an answer grows, unless the reader has scrolled up.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Conversation, Entry, PendingMessage } from "../conversation/model";
import { defaultBuildMode } from "../drafts";
import { Icon } from "../icons";
import type { IdeaSession } from "../idea-session";
import { memo } from "../memo";
import type { BuildMode } from "../protocol";
import { useStore } from "../store";
import { Answer } from "./answer";
import { buildModes } from "./build-mode";
import { useSpoken } from "./spoken";
import { Working } from "./working";

interface TimelineProps {
  readonly session: IdeaSession;
  readonly conversation: Conversation;
  readonly connected: boolean;
}

/** So near the end counts as being at the end. */
const NEAR_END_PX = 120;

export function Timeline({ session, conversation, connected }: TimelineProps) {
  const { entries, pending, before, turnOpen, notice, answers } = conversation;
  const paging = useStore(session.paging);
  const away = useStayAtEnd(conversation);
  const spoken = useSpoken(conversation);
  const waiting = !turnOpen && pending.some((each) => each.state === "sent" || each.state === "accepted");

  return (
    <>
      <section class="timeline" aria-label="Conversation" aria-busy={turnOpen}>
        {before && (
          <button type="button" class="earlier small" disabled={paging || !connected} data-testid="history-earlier" onClick={() => session.loadEarlier()}>
            {paging ? "Loading…" : "Show earlier messages"}
          </button>
        )}
        {entries.map((entry, index) => {
          const live = turnOpen && index === entries.length - 1;
          return entry.kind === "user" ? (
            <UserMessage key={entry.key} entry={entry} />
          ) : (
            <Answer key={entry.key} entry={entry} live={live} connected={connected || !live} session={session} answers={live ? answers : noAnswers} />
          );
        })}
        {turnOpen && entries.at(-1)?.kind === "user" && <Working text="Claude is reading…" />}
        {pending.map((message) => (
          <Pending key={message.messageId} message={message} queued={turnOpen} session={session} />
        ))}
        {waiting && <Working text="Starting…" />}
        {notice && (
          <div class="notice notice-error" role="alert" data-testid="error">
            <Icon name="alert" />
            <p>{notice}</p>
            <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => session.dismissNotice()}>
              <Icon name="cross" />
            </button>
          </div>
        )}
      </section>
      <p class="visually-hidden" role="status" data-testid="announcement">
        {announce(conversation)}
      </p>
      <p class="visually-hidden" aria-live="polite" aria-atomic="true" data-testid="spoken">
        {spoken}
      </p>
      {away && (
        <div class="to-end-place">
          <button type="button" class="to-end" aria-label="Go to the newest message" onClick={scrollToEnd}>
            <Icon name="down" />
          </button>
        </div>
      )}
    </>
  );
}

const noAnswers = {};

/** What a screen reader hears of the steps of a turn; the text is for `spoken`. */
function announce({ turnOpen, entries }: Conversation): string {
  const end = entries.at(-1);
  if (turnOpen) {
    const asking = end?.kind === "assistant" && end.parts.findLast((part) => part.kind === "tool" && part.permission?.state === "open");
    return asking && asking.kind === "tool" ? `Claude asks for permission to use ${asking.name}.` : "Claude is working.";
  }
  if (end?.kind !== "assistant") return "";
  return end.parts.some((part) => part.kind === "error") ? "Claude's turn ended with an error." : "Claude has answered.";
}

type UserEntry = Extract<Entry, { kind: "user" }>;

/** Without a name, all who share the secret are one. */
export const UserMessage = memo(({ entry }: { readonly entry: UserEntry }) => (
  <article class="user" data-testid="message" data-role="user" aria-label={entry.by ?? "You"}>
    {entry.by && (
      <span class="user-name" title={entry.by} data-testid="said-by">
        <bdi>{entry.by}</bdi>
      </span>
    )}
    {entry.mode === "build" && <BuildMark how={entry.buildMode} />}
    <p class="user-text">{entry.text}</p>
  </article>
));

function BuildMark({ how }: { readonly how: BuildMode | undefined }) {
  return (
    <span class="build-mark">
      <Icon name="build" /> Build{how && how !== defaultBuildMode && ` · ${buildModes[how].name.toLowerCase()}`}
    </span>
  );
}

interface PendingProps {
  readonly message: PendingMessage;
  /** Another turn is running. */
  readonly queued: boolean;
  readonly session: IdeaSession;
}

function Pending({ message, queued, session }: PendingProps) {
  return (
    <article class="user" data-testid="message" data-role="user" data-state={message.state} aria-label="You">
      {message.mode === "build" && <BuildMark how={message.buildMode} />}
      <p class="user-text">{message.text}</p>
      {message.state === "waiting" && (
        <p class="user-note">
          <Icon name="clock" /> Waiting for the connection
          <button type="button" class="link" onClick={() => session.discard(message.messageId)}>
            Discard
          </button>
        </p>
      )}
      {queued && (message.state === "sent" || message.state === "accepted") && (
        <p class="user-note" data-testid="queued">
          <Icon name="clock" /> Claude reads it after this answer
        </p>
      )}
      {message.state === "failed" && (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{message.error}</p>
          <span class="notice-actions">
            <button type="button" class="small" onClick={() => session.sendAgain(message.messageId)}>
              Send again
            </button>
            <button type="button" class="small quiet" onClick={() => session.discard(message.messageId)}>
              Discard
            </button>
          </span>
        </div>
      )}
    </article>
  );
}

/** Follows the end of the page; holds still what is read when older messages come in above. True when the end is out of sight. */
function useStayAtEnd(conversation: Conversation): boolean {
  const atEnd = useRef(true);
  const [away, setAway] = useState(false);
  const drawn = useRef({ first: conversation.first, own: 0, height: 0 });

  useEffect(() => {
    const look = () => {
      const page = document.documentElement;
      atEnd.current = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_END_PX;
      setAway(!atEnd.current);
    };
    // A banner, a keyboard, a turned phone must not take the end out of sight.
    const keep = () => (atEnd.current ? scrollToEnd() : look());
    // Who opens a card reads there.
    const read = (event: Event) => {
      if (event.target instanceof Element && event.target.closest("summary")) atEnd.current = false;
    };
    const observer = new ResizeObserver(keep);
    observer.observe(document.body);
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", keep);
    document.addEventListener("click", read);
    return () => {
      observer.disconnect();
      removeEventListener("scroll", look);
      removeEventListener("resize", keep);
      document.removeEventListener("click", read);
    };
  }, []);

  useLayoutEffect(() => {
    const page = document.documentElement;
    const { first, own, height } = drawn.current;
    const said = conversation.pending.length > own;
    const prepended = first !== undefined && conversation.first !== undefined && first !== conversation.first;
    if (said) atEnd.current = true;
    if (prepended) page.scrollTop += page.scrollHeight - height;
    else if (atEnd.current && conversation.entries.length + conversation.pending.length > 0) scrollToEnd();
    drawn.current = { first: conversation.first, own: conversation.pending.length, height: page.scrollHeight };
  }, [conversation]);

  return away;
}

function scrollToEnd(): void {
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
}
