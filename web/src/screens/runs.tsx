// The idea's runs with what they took and cost, and what is always allowed in it.

import { useEffect, useState } from "preact/hooks";
import { logUrl } from "../api";
import { ConfirmDialog } from "../dialog";
import { ago, cost, duration, size } from "../format";
import type { IdeaSession } from "../idea-session";
import type { ExitReason, Run } from "../protocol";
import { ideaPath, Link } from "../router";
import { type Span, spanOf, spanPath } from "../span";
import { useStore } from "../store";

interface RunsProps {
  readonly session: IdeaSession;
  readonly connected: boolean;
  /** A turn that begins or ends changes the figures. */
  readonly turnOpen: boolean;
}

const KEEP = 10;

export function RunsView({ session, connected, turnOpen }: RunsProps) {
  const list = useStore(session.runs);
  const rules = useStore(session.rules);
  const [trimming, setTrimming] = useState(false);
  useEffect(() => {
    session.watchRuns();
    session.watchRules();
  }, [session, turnOpen]);

  return (
    <>
      <section aria-label="Runs" class="runs">
        <div class="files-head">
          <h2>Runs</h2>
          <span class="bar-space" />
          {list && list.runs.length > KEEP && (
            <button type="button" class="small" disabled={!connected} onClick={() => setTrimming(true)}>
              Remove old logs…
            </button>
          )}
        </div>
        {!list && <p class="muted" role="status">{connected ? "Reading…" : "Shown when there is a connection."}</p>}
        {list?.runs.length === 0 && <p class="muted">Claude has not run for this idea yet.</p>}
        {list && list.runs.length > 0 && <RunTable slug={session.slug} runs={list.runs} whole={list.before === undefined} />}
        {list?.before !== undefined && (
          <button type="button" class="small" disabled={!connected} onClick={() => session.loadEarlierRuns()}>
            Show earlier runs
          </button>
        )}
      </section>
      <section aria-label="Always allowed" class="runs">
        <h2>Always allowed</h2>
        {rules?.length === 0 && <p class="muted">Nothing. What you allow for always in a request appears here.</p>}
        {rules && rules.length > 0 && (
          <>
            <p class="muted">Builds of this idea do this without asking. What you take back is asked for again from the next message on.</p>
            <ul class="file-list">
              {rules.map((rule) => (
                <li key={rule} class="rule" data-testid="rule">
                  <code>{rule}</code>
                  <button type="button" class="small" disabled={!connected} data-testid="rule-revoke" onClick={() => session.revoke(rule)}>
                    Take back
                  </button>
                </li>
              ))}
            </ul>
          </>
        )}
      </section>
      {trimming && (
        <ConfirmDialog
          title="Remove old logs?"
          body={`The logs of all but the latest ${KEEP} runs are removed for good, and with them that part of the conversation. What was built stays.`}
          confirm="Remove"
          keep="Keep all"
          onClose={() => setTrimming(false)}
          onConfirm={async () => session.trimRuns(KEEP)}
        />
      )}
    </>
  );
}

const modes: Readonly<Record<NonNullable<Run["mode"]>, string>> = { chat: "Chat", plan: "Build, plan first", ask: "Build, asking", acceptEdits: "Build", all: "Build, asking nothing" };

/** How a run ended, where that is worth a word. */
const endings: Readonly<Record<ExitReason, string | undefined>> = {
  ended: undefined,
  idle: undefined,
  switched: undefined,
  revoked: undefined,
  stopped: "stopped",
  silent: "ended: silent",
  overtime: "ended: too long",
  full: "disk full",
  lost: "killed",
  rebooted: "VM restarted",
  missing: "not started",
  other: undefined,
};

export function RunTable({ slug, runs, whole }: { readonly slug: string; readonly runs: readonly Run[]; readonly whole: boolean }) {
  const sum = (of: (run: Run) => number | undefined) => runs.reduce((all, run) => all + (of(run) ?? 0), 0);
  return (
    <div class="table-place">
      <table class="run-table">
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Began</th>
            <th scope="col">Kind</th>
            <th scope="col">Cost</th>
            <th scope="col">Time</th>
            <th scope="col">Turns</th>
            <th scope="col">Tokens in</th>
            <th scope="col">out</th>
            <th scope="col">Changes</th>
            <th scope="col">Log</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run, at) => (
            <tr key={run.run} data-testid="run">
              <th scope="row">{run.run}</th>
              <td>{run.startedAt !== undefined && ago(new Date(run.startedAt).toISOString())}</td>
              <td>
                {run.mode && modes[run.mode]}
                {run.live ? <span class="run-live"> · live</span> : run.reason !== undefined && endings[run.reason] && ` · ${endings[run.reason]}`}
              </td>
              <td>{run.costUsd !== undefined && cost(run.costUsd)}</td>
              <td>{run.durationMs !== undefined && duration(run.durationMs)}</td>
              <td>{run.turns}</td>
              <td>{tokens(run.inputTokens)}</td>
              <td>{tokens(run.outputTokens)}</td>
              <td>
                <ChangesLink slug={slug} span={spanOf(runs, at)} />
              </td>
              <td>
                {run.bytes !== undefined && (
                  <a href={logUrl(slug, run.run)} download="" aria-label={`Download the log of run ${run.run}, ${size(run.bytes)}`}>
                    {size(run.bytes)}
                  </a>
                )}
              </td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row" colSpan={3}>
              {whole ? "All runs" : "Shown"}
            </th>
            <td>{cost(sum(({ costUsd }) => costUsd))}</td>
            <td>{duration(sum(({ durationMs }) => durationMs))}</td>
            <td>{sum(({ turns }) => turns)}</td>
            <td>{tokens(sum(({ inputTokens }) => inputTokens))}</td>
            <td>{tokens(sum(({ outputTokens }) => outputTokens))}</td>
            <td />
            <td>{size(sum(({ bytes }) => bytes))}</td>
          </tr>
        </tfoot>
      </table>
    </div>
  );
}

function ChangesLink({ slug, span }: { readonly slug: string; readonly span: Span | undefined }) {
  if (!span) return null;
  return (
    <Link to={ideaPath(slug, "changes", spanPath(span))} label={`What run ${span.run} changed`} testId="run-changes">
      Show
    </Link>
  );
}

function tokens(count: number | undefined): string {
  if (count === undefined) return "";
  return count < 1000 ? String(count) : count < 1_000_000 ? `${(count / 1000).toFixed(1)} k` : `${(count / 1_000_000).toFixed(1)} M`;
}
