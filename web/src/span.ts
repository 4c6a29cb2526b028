// Which changes are shown: those of one run, as the address names it.

import type { Run } from "./protocol";

/** The time in which a run may have changed something, in ms since 1970. Without an end it goes on to now, and what is not committed counts too. */
export interface Span {
  readonly run: number;
  readonly since: number;
  readonly until?: number;
}

/** As an address says it. */
export function spanPath({ run, since, until }: Span): string {
  return until === undefined ? `${run}/${since}` : `${run}/${since}/${until}`;
}

export function parseSpan(path: string): Span | undefined {
  const [, run, since, until] = /^(\d{1,9})\/(\d{1,15})(?:\/(\d{1,15}))?$/.exec(path) ?? [];
  if (run === undefined || since === undefined) return undefined;
  return { run: Number(run), since: Number(since), ...(until !== undefined && { until: Number(until) }) };
}

/** That of a run in a list, newest first. What lies uncommitted is not told apart by runs: it is shown with the latest one. */
export function spanOf(runs: readonly Run[], at: number): Span | undefined {
  const run = runs[at];
  if (run?.startedAt === undefined || run.mode === "chat") return undefined;
  const next = runs[at - 1];
  const until = next && (run.endedAt ?? next.startedAt);
  return { run: run.run, since: run.startedAt, ...(until !== undefined && { until }) };
}
