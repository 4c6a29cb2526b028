// What differs from the last commit of the project, or what a run changed: the files, and the change of each.

import { useEffect, useState } from "preact/hooks";
import { explain } from "../http";
import { Icon } from "../icons";
import { type Changes, project } from "../project";
import { ideaPath, Link } from "../router";
import { DiffLines } from "../session/diff";
import { splitDiff } from "../session/unified-diff";
import { parseSpan, type Span } from "../span";

interface ChangesProps {
  readonly slug: string;
  /** Of a run, or empty. */
  readonly path: string;
  /** A turn that ends may have changed something. */
  readonly turnOpen: boolean;
}

export function ChangesView({ slug, path, turnOpen }: ChangesProps) {
  const [changes, setChanges] = useState<Changes>();
  const [problem, setProblem] = useState<string>();
  const [round, setRound] = useState(0);

  useEffect(() => {
    let live = true;
    project.changes(slug, parseSpan(path)).then(
      (found) => live && (setChanges(found), setProblem(undefined)),
      (caught: unknown) => live && setProblem(explain(caught)),
    );
    return () => {
      live = false;
    };
  }, [slug, path, turnOpen, round]);

  const files = changes?.files ?? [];
  const span = parseSpan(path);
  return (
    <section class="files" aria-label="Changes" aria-busy={!changes && !problem}>
      <div class="files-head">
        <h2>{summary(changes, span)}</h2>
        <span class="bar-space" />
        {span && (
          <Link to={ideaPath(slug, "changes")} class="button small" testId="all-changes">
            Since the last commit
          </Link>
        )}
        <button type="button" class="icon-button" aria-label="Read again" title="Read again" onClick={() => setRound(round + 1)}>
          <Icon name="refresh" />
        </button>
      </div>
      {problem && (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{problem}</p>
        </div>
      )}
      {!changes && !problem && <p class="muted" role="status">Reading…</p>}
      {changes && !changes.git && (
        <p class="muted">
          The project is no git repository, so there is nothing to compare with. Ask Claude to begin one, or run <code>git init</code> in the terminal.
        </p>
      )}
      {files.length > 0 && (
        <ul class="file-list">
          {files.map((file) => (
            <li key={file.path}>
              <Link to={ideaPath(slug, "files", file.path)} class="file-entry">
                <span class="change" data-change={file.change}>
                  {file.change}
                </span>
                <span class="file-name">{file.path}</span>
              </Link>
            </li>
          ))}
        </ul>
      )}
      {changes?.diff &&
        splitDiff(changes.diff).map((file) => (
          <details key={file.name} class="brief" open data-testid="file-diff">
            <summary>
              <Icon name="chevron" /> {file.name}
            </summary>
            <DiffLines lines={file.lines} label={`Change of ${file.name}`} />
          </details>
        ))}
      {changes?.truncated && <p class="muted">The change is larger than is shown here; <code>git diff</code> in the terminal shows all.</p>}
    </section>
  );
}

function summary(changes: Changes | undefined, span: Span | undefined): string {
  if (!changes?.git) return "Changes";
  const count = changes.files?.length ?? 0;
  const files = count === 0 ? "Nothing" : `${count} ${count === 1 ? "file" : "files"}`;
  const where = changes.branch ? ` on ${changes.branch}` : "";
  if (span?.until !== undefined) return `${files} changed by what was committed in run ${span.run}${where}`;
  return span ? `${files} changed since the commit that run ${span.run} began with${where}` : `${files} changed since the last commit${where}`;
}
