// The calls about the session, ideas, terminals and health; docs/api.md of the proxy says what they answer.

import { ApiError, call, type Enveloped, enveloped, json, required } from "./http";

export type IdeaStatus = "captured" | "chatting" | "building" | "done";

export interface Idea {
  readonly id: string;
  readonly slug: string;
  readonly title: string;
  readonly status: IdeaStatus;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly content?: string;
}

/** An enumerated reason, and the server's own sentence for those who are signed in. */
export interface Trouble {
  readonly reason?: string;
  readonly message?: string;
}

export type Health =
  /** `warning`: the VM is reached, and yet something there cannot be used. */
  | { readonly state: "ok"; readonly warning?: Trouble }
  | ({ readonly state: "vm-away" } & Trouble)
  /** Something between browser and server answered: no pod is ready. */
  | { readonly state: "no-server" }
  | { readonly state: "unreachable" };

const HEALTH_DEADLINE_MS = 8_000;

/** An idea as it was read, and the name of that state of it. */
export interface Versioned {
  readonly idea: Idea;
  readonly etag?: string;
}

export type Saved = { readonly kind: "saved"; readonly now: Versioned } | { readonly kind: "conflict"; readonly now: Versioned };

/** A folder whose idea cannot be read. */
export interface Damaged {
  readonly slug: string;
  readonly problem: string;
}

export const api = {
  async authenticated(): Promise<boolean> {
    return (await api.session()).authenticated;
  },
  /** `user`: the name that a trusted proxy gave. */
  async session(): Promise<{ readonly authenticated: boolean; readonly user?: string }> {
    return (await call<{ authenticated: boolean; user?: string }>("GET", "/api/auth/check")) ?? { authenticated: false };
  },
  async signIn(secret: string): Promise<void> {
    await call("POST", "/api/login", { secret });
  },
  async signOut(): Promise<void> {
    await call("POST", "/api/logout");
  },
  /** Every session of everybody ends. */
  async signOutEverywhere(): Promise<void> {
    await call("POST", "/api/logout/everywhere");
  },
  async ideas(): Promise<{ readonly ideas: readonly Idea[]; readonly damaged: readonly Damaged[] }> {
    const { envelope } = await enveloped({ method: "GET", path: "/api/ideas" });
    return { ideas: (envelope["data"] ?? []) as readonly Idea[], damaged: (envelope["damaged"] ?? []) as readonly Damaged[] };
  },
  async idea(slug: string): Promise<Versioned> {
    return versioned(await enveloped({ method: "GET", path: ideaUrl(slug) }));
  },
  /** Writes only if the idea is still the one that `etag` names; else nothing is written, and what is there comes back. */
  async update(slug: string, change: { readonly title?: string; readonly content?: string }, etag: string | undefined): Promise<Saved> {
    const answer = await enveloped({ method: "PATCH", path: ideaUrl(slug), body: change, ...(etag !== undefined && { headers: { "if-match": etag } }) }, [412]);
    return { kind: answer.response.status === 412 ? "conflict" : "saved", now: versioned(answer) };
  },
  create(title: string, content: string): Promise<Idea> {
    return required(call<Idea>("POST", "/api/ideas", { title, content }));
  },
  async remove(slug: string): Promise<void> {
    await call("DELETE", ideaUrl(slug));
  },
  /** The numbers of the terminals that are there. */
  async terminals(slug: string): Promise<readonly number[]> {
    const found = (await call<readonly { readonly terminal: number }[]>("GET", `${ideaUrl(slug)}/terminals`)) ?? [];
    return found.map(({ terminal }) => terminal);
  },
  /** Ends it and what runs in it; that it has ended already is as good. */
  async endTerminal(slug: string, terminal: number): Promise<void> {
    await enveloped({ method: "DELETE", path: `${ideaUrl(slug)}/terminals/${terminal}` }, [404]);
  },
  async health(): Promise<Health> {
    let body: Readonly<Record<string, unknown>> | undefined;
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), HEALTH_DEADLINE_MS);
    try {
      body = await json(await fetch("/api/health", { cache: "no-store", signal: deadline.signal }));
    } catch {
      return { state: "unreachable" };
    } finally {
      clearTimeout(timer);
    }
    if (body?.["status"] === "ok") {
      const warning = body["warning"];
      return { state: "ok", ...(typeof warning === "object" && warning !== null && { warning: trouble(warning as Record<string, unknown>) }) };
    }
    if (body?.["status"] !== "degraded") return { state: "no-server" };
    // A server that has just started does not know yet.
    return body["reason"] === "Checking" ? { state: "ok" } : { state: "vm-away", ...trouble(body) };
  },
};

function trouble({ reason, message }: Readonly<Record<string, unknown>>): Trouble {
  return { ...(typeof reason === "string" && { reason }), ...(typeof message === "string" && { message }) };
}

export function ideaUrl(slug: string): string {
  return `/api/ideas/${encodeURIComponent(slug)}`;
}

/** A run's log, or a piece of it, to be downloaded. */
export function logUrl(slug: string, run: number, piece?: { readonly start: number; readonly length: number }): string {
  const all = `${ideaUrl(slug)}/runs/${run}/log`;
  return piece ? `${all}?start=${piece.start}&length=${piece.length}` : all;
}

function versioned({ response, envelope }: Enveloped): Versioned {
  const idea = envelope["data"] as Idea | undefined;
  if (!idea) throw new ApiError("unavailable", "The server's answer was incomplete. Try again.");
  const etag = response.headers.get("etag");
  return { idea, ...(etag !== null && { etag }) };
}
