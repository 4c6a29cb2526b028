// The conversation of an idea: what it is about, what was said, where to write.

import { useEffect, useState } from "preact/hooks";
import type { Idea } from "../api";
import { type Conversation, isBusy } from "../conversation/model";
import { Icon } from "../icons";
import type { IdeaSession } from "../idea-session";
import { Markdown } from "../markdown";
import { Composer } from "../session/composer";
import { Found } from "../session/found";
import { Timeline } from "../session/timeline";

interface ConversationProps {
  readonly slug: string;
  readonly idea: Idea | undefined;
  readonly session: IdeaSession;
  readonly conversation: Conversation;
  readonly connected: boolean;
}

export function ConversationView({ slug, idea, session, conversation, connected }: ConversationProps) {
  const [search, setSearch] = useState("");
  // Who sends something wants to see it.
  const own = conversation.pending.length;
  useEffect(() => {
    if (own > 0) setSearch("");
  }, [own]);
  const fresh = idea?.status === "captured" && conversation.entries.length === 0 && conversation.pending.length === 0;
  return (
    <div class="session">
      {idea?.content && (
        <details class="brief" open={fresh}>
          <summary>
            <Icon name="chevron" /> The idea
          </summary>
          <Markdown text={idea.content} />
        </details>
      )}
      {conversation.entries.length > 0 && (
        <label class="search conversation-search">
          <Icon name="search" />
          <span class="visually-hidden">Search this conversation</span>
          <input type="search" value={search} placeholder="Search this conversation" data-testid="conversation-search" onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
      )}
      {search.trim() === "" ? (
        <Timeline session={session} conversation={conversation} connected={connected} />
      ) : (
        <Found session={session} conversation={conversation} connected={connected} search={search} />
      )}
      <Composer
        slug={slug}
        session={session}
        connected={connected}
        busy={isBusy(conversation)}
        turnOpen={conversation.turnOpen}
        turn={conversation.entries.findLast((entry) => entry.kind === "user")?.key}
        fresh={fresh}
        notice={conversation.notice}
      />
    </div>
  );
}
