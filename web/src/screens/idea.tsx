// One idea: what it is about, the conversation, and where to write.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, ApiError, explain, type Idea } from "../api";
import type { Connection } from "../connection";
import { isAsking, isBusy } from "../conversation/model";
import { drafts } from "../drafts";
import { IdeaSession } from "../idea-session";
import { Icon } from "../icons";
import { Markdown } from "../markdown";
import { Link, navigate } from "../router";
import { Composer } from "../session/composer";
import { Timeline } from "../session/timeline";
import { Shell } from "../shell";
import { useStore } from "../store";
import { StatusChip } from "../status-chip";

interface IdeaProps {
  readonly slug: string;
  readonly connection: Connection;
  readonly say: (text: string) => void;
}

export function IdeaScreen({ slug, connection, say }: IdeaProps) {
  const [idea, setIdea] = useState<Idea>();
  const [problem, setProblem] = useState<{ readonly missing: boolean; readonly text: string }>();
  const session = useMemo(() => new IdeaSession(connection, slug), [connection, slug]);
  const conversation = useStore(session.conversation);
  const connected = useStore(connection.state) === "connected";

  const load = useCallback(async () => {
    try {
      setIdea(await api.idea(slug));
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

  if (problem?.missing) {
    return (
      <Shell connection={connection} title="Not found" back="/">
        <div class="empty" data-testid="error">
          <h2>This idea is not here</h2>
          <p class="muted">It may have been deleted; deleted ideas lie in the trash folder on the dev-VM.</p>
          <Link to="/" class="button">
            All ideas
          </Link>
        </div>
      </Shell>
    );
  }

  const fresh = idea?.status === "captured" && conversation.entries.length === 0 && conversation.pending.length === 0;
  return (
    <Shell
      connection={connection}
      title={idea?.title ?? slug}
      back="/"
      attention={isAsking(conversation)}
      badge={idea && <StatusChip status={idea.status} />}
      actions={idea && <DeleteButton idea={idea} say={say} />}
    >
      <div class="session">
        {idea?.content && <Brief content={idea.content} open={fresh} />}
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
    </Shell>
  );
}

function Brief({ content, open }: { readonly content: string; readonly open: boolean }) {
  return (
    <details class="brief" open={open}>
      <summary>
        <Icon name="chevron" /> The idea
      </summary>
      <Markdown text={content} />
    </details>
  );
}

function DeleteButton({ idea, say }: { readonly idea: Idea; readonly say: (text: string) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();

  const remove = async () => {
    setBusy(true);
    try {
      await api.remove(idea.slug);
      drafts.forget(idea.slug);
      dialog.current?.close();
      say(`“${idea.title}” was moved to the trash folder on the dev-VM. It can be brought back from there.`);
      navigate("/", "replace");
    } catch (caught) {
      setError(explain(caught));
      setBusy(false);
    }
  };

  return (
    <>
      <button type="button" class="icon-button" aria-label="Delete this idea" title="Delete" data-testid="idea-delete" onClick={() => dialog.current?.showModal()}>
        <Icon name="trash" />
      </button>
      <dialog ref={dialog} class="dialog" aria-labelledby="delete-title">
        <h2 id="delete-title">Delete “{idea.title}”?</h2>
        <p>The idea, its conversation and what was built are moved to the trash folder on the dev-VM. Nothing is erased: you can bring it back from there.</p>
        {error && (
          <p class="field-error" role="alert" data-testid="error">
            <Icon name="alert" /> <span>{error}</span>
          </p>
        )}
        <div class="form-actions">
          <button type="button" onClick={() => dialog.current?.close()}>
            Keep it
          </button>
          <button type="button" class="danger" disabled={busy} data-testid="idea-delete-confirm" onClick={() => void remove()}>
            {busy ? "Deleting…" : "Delete"}
          </button>
        </div>
      </dialog>
    </>
  );
}
