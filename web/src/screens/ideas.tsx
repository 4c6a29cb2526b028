// All ideas, newest first; searched and filtered here in the browser.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { api, type Damaged, type Idea, type IdeaStatus } from "../api";
import type { Connection } from "../connection";
import { ConfirmDialog } from "../dialog";
import { ago } from "../format";
import { explain } from "../http";
import { Icon } from "../icons";
import { ideaPath, Link } from "../router";
import { Shell } from "../shell";
import { useStore } from "../store";
import { statusNames, StatusChip } from "../status-chip";

interface IdeasProps {
  readonly connection: Connection;
  /** The name of whoever is signed in, where it is known. */
  readonly user: string | undefined;
  readonly signOut: (everywhere: boolean) => Promise<void>;
}

/** Kept over visits of single ideas: going back shows the list at once and refreshes it behind. */
let lastSeen: readonly Idea[] | undefined;

export function forgetIdeas(): void {
  lastSeen = undefined;
}

export function IdeasScreen({ connection, user, signOut }: IdeasProps) {
  const [ideas, setIdeas] = useState(lastSeen);
  const [leaving, setLeaving] = useState(false);
  const [damaged, setDamaged] = useState<readonly Damaged[]>([]);
  const [error, setError] = useState<string>();
  const [search, setSearch] = useState("");
  const [status, setStatus] = useState<IdeaStatus>();
  const connected = useStore(connection.state) === "connected";

  const load = useCallback(async () => {
    try {
      const found = await api.ideas();
      lastSeen = found.ideas;
      setIdeas(found.ideas);
      setDamaged(found.damaged);
      setError(undefined);
    } catch (problem) {
      setError(explain(problem));
    }
  }, []);

  // Also after a reconnect: meanwhile the list may have changed.
  useEffect(() => void load(), [load, connected]);
  useEffect(() => {
    const refresh = () => document.visibilityState === "visible" && void load();
    document.addEventListener("visibilitychange", refresh);
    const timer = setInterval(refresh, 30_000);
    return () => {
      document.removeEventListener("visibilitychange", refresh);
      clearInterval(timer);
    };
  }, [load]);

  const shown = useMemo(() => ideas?.filter((idea) => matches(idea, search, status)), [ideas, search, status]);
  const present = useMemo(() => (Object.keys(statusNames) as IdeaStatus[]).filter((each) => ideas?.some((idea) => idea.status === each)), [ideas]);

  return (
    <Shell
      connection={connection}
      actions={
        <button
          type="button"
          class="icon-button"
          aria-label="Sign out"
          title="Sign out"
          data-testid="sign-out"
          onClick={() => {
            forgetIdeas();
            void signOut(false);
          }}
        >
          <Icon name="exit" />
        </button>
      }
    >
      <div class="list-head">
        <h2>Ideas</h2>
        <Link to="/ideas/new" class="button primary" testId="idea-new">
          <Icon name="plus" /> New idea
        </Link>
      </div>

      {ideas && ideas.length > 0 && (
        <div class="list-tools">
          <label class="search">
            <Icon name="search" />
            <span class="visually-hidden">Search ideas</span>
            <input type="search" value={search} placeholder="Search" data-testid="idea-search" onInput={(event) => setSearch(event.currentTarget.value)} />
          </label>
          {present.length > 1 && (
            <div class="filters" role="group" aria-label="Filter by status">
              <FilterButton name="All" pressed={status === undefined} onClick={() => setStatus(undefined)} />
              {present.map((each) => (
                <FilterButton key={each} name={statusNames[each]} pressed={status === each} onClick={() => setStatus(status === each ? undefined : each)} />
              ))}
            </div>
          )}
        </div>
      )}

      {/* Without a connection the banner says it. */}
      {error && (connected || !ideas) && (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{error}</p>
          <button type="button" class="small" onClick={() => void load()}>
            Try again
          </button>
        </div>
      )}

      {!ideas && !error && <Skeleton />}
      {ideas?.length === 0 && <Empty />}
      {shown && ideas && ideas.length > 0 && (
        <>
          <p class="visually-hidden" role="status">
            {shown.length === 1 ? "1 idea" : `${shown.length} ideas`}
          </p>
          <ul class="ideas">
            {shown.map((idea) => (
              <li key={idea.id}>
                <Link to={ideaPath(idea.slug)} class="idea" testId="idea-item" slug={idea.slug}>
                  <span class="idea-title">{idea.title}</span>
                  <span class="idea-meta">
                    <StatusChip status={idea.status} />
                    <time dateTime={idea.updatedAt}>{ago(idea.updatedAt)}</time>
                  </span>
                </Link>
              </li>
            ))}
          </ul>
          {shown.length === 0 && <p class="empty muted">No idea matches.</p>}
        </>
      )}
      {damaged.map(({ slug, problem }) => (
        <p key={slug} class="damaged" data-testid="damaged">
          <Icon name="alert" />
          <span>
            <strong>{slug}</strong> cannot be read and is left alone: {problem}
          </span>
        </p>
      ))}
      {ideas && (
        <p class="list-foot">
          <Link to="/trash" testId="trash">
            Trash
          </Link>
          <button type="button" class="link" data-testid="sign-out-everywhere" onClick={() => setLeaving(true)}>
            Sign out everywhere…
          </button>
          {user && <span class="muted">Signed in as {user}</span>}
        </p>
      )}
      {leaving && (
        <ConfirmDialog
          title="Sign out everywhere?"
          body="Every session in every browser ends, also those of others. Runs that are under way go on."
          confirm="Sign out everywhere"
          keep="Stay"
          onClose={() => setLeaving(false)}
          onConfirm={async () => {
            forgetIdeas();
            await signOut(true);
          }}
        />
      )}
    </Shell>
  );
}

function matches(idea: Idea, search: string, status: IdeaStatus | undefined): boolean {
  if (status && idea.status !== status) return false;
  const text = `${idea.title} ${idea.slug}`.toLocaleLowerCase();
  return search
    .toLocaleLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

interface FilterButtonProps {
  readonly name: string;
  readonly pressed: boolean;
  readonly onClick: () => void;
}

function FilterButton({ name, pressed, onClick }: FilterButtonProps) {
  return (
    <button type="button" class="filter" aria-pressed={pressed} onClick={onClick}>
      {name}
    </button>
  );
}

function Empty() {
  return (
    <div class="empty">
      <div class="empty-art" aria-hidden="true">
        <Icon name="spark" />
      </div>
      <h3>What would you like to make?</h3>
      <p class="muted">Write an idea down, however rough. Then talk it over with Claude, and let it build a first version on your dev-VM.</p>
      <Link to="/ideas/new" class="button primary">
        <Icon name="plus" /> Write the first idea
      </Link>
    </div>
  );
}

function Skeleton() {
  return (
    <ul class="ideas" aria-label="Loading" role="status">
      {[0, 1, 2].map((each) => (
        <li key={each} class="idea skeleton" aria-hidden="true" />
      ))}
    </ul>
  );
}
