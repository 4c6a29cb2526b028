// One idea: the frame around its views. The conversation is followed and terminals stay connected whichever is shown.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { api, type Versioned } from "../api";
import type { Connection } from "../connection";
import { ApiError, explain } from "../http";
import { IdeaSession } from "../idea-session";
import { Icon } from "../icons";
import { canNotify, notifying, setNotifying } from "../notify";
import { Link, type View } from "../router";
import { useAttention } from "../session/attention";
import { Shell } from "../shell";
import { useStore } from "../store";
import { StatusChip } from "../status-chip";
import { ChangesView } from "./changes";
import { ConversationView } from "./conversation";
import { DeleteButton } from "./delete-idea";
import { EditButton } from "./edit-idea";
import { FilesView } from "./files";
import { IdeaNav } from "./idea-nav";
import { RunsView } from "./runs";
import { Terminals } from "./terminals";

interface IdeaProps {
  readonly slug: string;
  readonly view: View;
  readonly path: string;
  readonly connection: Connection;
  readonly say: (text: string) => void;
}

export function IdeaScreen({ slug, view, path, connection, say }: IdeaProps) {
  const [known, setKnown] = useState<Versioned>();
  const [problem, setProblem] = useState<{ readonly missing: boolean; readonly text: string }>();
  const [terminals, setTerminals] = useState(view === "terminal");
  const session = useMemo(() => new IdeaSession(connection, slug), [connection, slug]);
  const conversation = useStore(session.conversation);
  const connected = useStore(connection.state) === "connected";
  const idea = known?.idea;
  const attention = useAttention(conversation, slug, idea?.title ?? slug);

  const load = useCallback(async () => {
    try {
      setKnown(await api.idea(slug));
      setProblem(undefined);
    } catch (caught) {
      setProblem({ missing: caught instanceof ApiError && caught.kind === "not-found", text: explain(caught) });
    }
  }, [slug]);

  useEffect(() => void load(), [load, connected]);
  useEffect(() => {
    session.onTurn = () => void load();
    session.open();
    return () => session.close();
  }, [session, load]);
  useEffect(() => {
    if (view === "terminal") setTerminals(true);
  }, [view]);

  if (problem?.missing) {
    return (
      <Shell connection={connection} title="Not found" back="/">
        <div class="empty" data-testid="error">
          <h2>This idea is not here</h2>
          <p class="muted">It may have been deleted; then it is in the trash.</p>
          <Link to="/trash" class="button">
            Look in the trash
          </Link>
        </div>
      </Shell>
    );
  }

  return (
    <Shell
      connection={connection}
      title={idea?.title ?? slug}
      back="/"
      wide={view !== "chat"}
      fill={view === "terminal"}
      attention={attention}
      badge={idea && <StatusChip status={idea.status} />}
      actions={
        idea && (
          <>
            {canNotify() && <NotifyButton say={say} />}
            <EditButton known={known} onSaved={setKnown} />
            <DeleteButton idea={idea} say={say} />
          </>
        )
      }
      nav={<IdeaNav slug={slug} view={view} asking={attention === "asking"} />}
    >
      {/* Without a connection the banner says it. */}
      {problem && (connected || !idea) && (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{problem.text}</p>
          <button type="button" class="small" onClick={() => void load()}>
            Try again
          </button>
        </div>
      )}
      {view === "chat" && <ConversationView slug={slug} idea={idea} session={session} conversation={conversation} connected={connected} />}
      {view === "files" && <FilesView slug={slug} path={path} />}
      {view === "changes" && <ChangesView key={path} slug={slug} path={path} turnOpen={conversation.turnOpen} />}
      {view === "runs" && <RunsView session={session} connected={connected} turnOpen={conversation.turnOpen} />}
      {terminals && (
        <div class="terminals-place" hidden={view !== "terminal"}>
          <Terminals slug={slug} connected={connected} />
        </div>
      )}
    </Shell>
  );
}

function NotifyButton({ say }: { readonly say: (text: string) => void }) {
  const on = useStore(notifying);
  const name = on ? "Notifications are on" : "Notify me when Claude asks or ends";
  return (
    <button
      type="button"
      class="icon-button"
      aria-pressed={on}
      aria-label={name}
      title={name}
      data-testid="notify"
      onClick={() => void setNotifying(!on).then((refused) => say(refused ?? (on ? "Notifications are off." : "You are told when Claude asks or ends while you look elsewhere.")))}
    >
      <Icon name="bell" />
    </button>
  );
}
