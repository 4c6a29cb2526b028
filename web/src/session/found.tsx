// What a search finds in the part of the conversation that is loaded. It only shows: what runs goes on beside it.

import { useMemo } from "preact/hooks";
import type { Conversation } from "../conversation/model";
import { find } from "../conversation/search";
import type { IdeaSession } from "../idea-session";
import { useStore } from "../store";
import { Answer } from "./answer";
import { UserMessage } from "./timeline";

interface FoundProps {
  readonly session: IdeaSession;
  readonly conversation: Conversation;
  readonly connected: boolean;
  readonly search: string;
}

export function Found({ session, conversation: { entries, before }, connected, search }: FoundProps) {
  const paging = useStore(session.paging);
  const found = useMemo(() => find(entries, search), [entries, search]);
  return (
    <section class="timeline" aria-label="Found">
      <p class="muted" role="status" data-testid="found">
        {found.length === 0 ? "Nothing" : found.length} found{before && " in what is loaded; earlier messages are not"}.
      </p>
      {before && (
        <button type="button" class="earlier small" disabled={paging || !connected} data-testid="history-earlier" onClick={() => session.loadEarlier()}>
          {paging ? "Loading…" : "Load earlier messages"}
        </button>
      )}
      {found.map((entry) =>
        entry.kind === "user" ? (
          <UserMessage key={entry.key} entry={entry} />
        ) : (
          <Answer key={entry.key} entry={entry} live={false} connected={false} session={session} answers={noAnswers} />
        ),
      )}
    </section>
  );
}

const noAnswers = {};
