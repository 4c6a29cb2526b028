// Since when the server or its VM has been away, as far as this browser has seen: kept over reloads, because whoever
// opens the app in the middle of an outage can ask nobody else. Holds times and an enumerated reason, no text.

import type { Health } from "./api";

export interface Outage {
  /** When this browser first saw it, in ms since 1970. */
  readonly since?: number;
  /** When all was well the last time. */
  readonly lastWell?: number;
  /** The last reason that the server gave before it was taken out of service. */
  readonly reason?: string;
}

const KEY = "catalyst:outage";
/** The time of the last good answer need not be kept more precisely than this. */
const PRECISION_MS = 60_000;

export function readOutage(): Outage {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Record<keyof Outage, unknown>> | null;
    return {
      ...(typeof stored?.since === "number" && { since: stored.since }),
      ...(typeof stored?.lastWell === "number" && { lastWell: stored.lastWell }),
      ...(typeof stored?.reason === "string" && { reason: stored.reason }),
    };
  } catch {
    return {};
  }
}

/** What an answer of the health check adds to what is known. */
export function nextOutage(known: Outage, health: Health, now: number): Outage {
  if (health.state === "ok") {
    const recent = known.since === undefined && known.lastWell !== undefined && now - known.lastWell < PRECISION_MS;
    return recent ? known : { lastWell: now };
  }
  // Perhaps it is only this device that has no network.
  if (health.state === "unreachable") return known;
  const reason = health.state === "vm-away" ? health.reason : known.reason;
  if (known.since !== undefined && reason === known.reason) return known;
  return { ...known, since: known.since ?? now, ...(reason !== undefined && { reason }) };
}

/** Remembers it; returns what is known now. */
export function noteHealth(health: Health, now: number = Date.now()): Outage {
  const known = readOutage();
  const next = nextOutage(known, health, now);
  if (next !== known) {
    try {
      localStorage.setItem(KEY, JSON.stringify(next));
    } catch {
      // Forbidden or full: then only this moment is known.
    }
  }
  return next;
}
