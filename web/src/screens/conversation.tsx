// The conversation of an idea: what it is about, what was said, where to write.

import type { Idea } from "../api";
import { type Conversation, isBusy } from "../conversation/model";
import { Icon } from "../icons";
import type { IdeaSession } from "../idea-session";
import { Markdown } from "../markdown";
import { Composer } from "../session/composer";
import { Timeline } from "../session/timeline";

interface ConversationProps {
  readonly slug: string;
  readonly idea: Idea | undefined;
  readonly session: IdeaSession;
  readonly conversation: Conversation;
  readonly connected: boolean;
}

export function ConversationView({ slug, idea, session, conversation, connected }: ConversationProps) {
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
      <Timeline session={session} conversation={conversation} connected={connected} />
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
