// Deleted ideas: bring them back, or erase them for good.

import { useCallback, useEffect, useState } from "preact/hooks";
import type { Connection } from "../connection";
import { ConfirmDialog } from "../dialog";
import { ago } from "../format";
import { explain } from "../http";
import { Icon } from "../icons";
import { trash, type Trashed } from "../project";
import { ideaPath, navigate } from "../router";
import { Shell } from "../shell";

interface TrashProps {
  readonly connection: Connection;
  readonly say: (text: string) => void;
}

export function TrashScreen({ connection, say }: TrashProps) {
  const [all, setAll] = useState<readonly Trashed[]>();
  const [problem, setProblem] = useState<string>();
  const [erasing, setErasing] = useState<Trashed>();
  const [busy, setBusy] = useState<string>();

  const load = useCallback(async () => {
    try {
      setAll(await trash.list());
      setProblem(undefined);
    } catch (caught) {
      setProblem(explain(caught));
    }
  }, []);
  useEffect(() => void load(), [load]);

  const restore = async (each: Trashed) => {
    setBusy(each.name);
    try {
      const idea = await trash.restore(each.name);
      say(idea.slug === each.slug ? `“${idea.title}” is back.` : `“${idea.title}” is back, at a new address: its old one was taken.`);
      navigate(ideaPath(idea.slug));
    } catch (caught) {
      setProblem(explain(caught));
      setBusy(undefined);
    }
  };

  return (
    <Shell connection={connection} title="Trash" back="/">
      {problem && (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{problem}</p>
          <button type="button" class="small" onClick={() => void load()}>
            Try again
          </button>
        </div>
      )}
      {!all && !problem && <p class="muted" role="status">Reading…</p>}
      {all?.length === 0 && <p class="empty muted">The trash is empty.</p>}
      {all && all.length > 0 && (
        <ul class="file-list">
          {all.map((each) => (
            <li key={each.name} class="rule" data-testid="trash-item">
              <span class="trash-title">
                <strong>{each.title ?? each.slug}</strong>
                <span class="muted">
                  deleted {ago(each.deletedAt)}
                  {each.problem && `; ${each.problem}`}
                </span>
              </span>
              <button type="button" class="small" disabled={busy !== undefined} data-testid="trash-restore" onClick={() => void restore(each)}>
                {busy === each.name ? "One moment…" : "Bring back"}
              </button>
              <button type="button" class="small quiet" disabled={busy !== undefined} onClick={() => setErasing(each)}>
                Erase…
              </button>
            </li>
          ))}
        </ul>
      )}
      {erasing && (
        <ConfirmDialog
          title={`Erase “${erasing.title ?? erasing.slug}” for good?`}
          body="The idea, its conversation and what was built are removed from the dev-VM. This cannot be undone."
          confirm="Erase"
          keep="Keep it"
          onClose={() => setErasing(undefined)}
          onConfirm={async () => {
            await trash.erase(erasing.name);
            await load();
          }}
        />
      )}
    </Shell>
  );
}
