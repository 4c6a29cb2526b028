// The REST calls. Every failure becomes an ApiError whose message can be shown to the user as it is.

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

export type ApiErrorKind = "unreachable" | "unavailable" | "signed-out" | "too-many" | "not-found" | "refused";

export class ApiError extends Error {
  constructor(
    readonly kind: ApiErrorKind,
    message: string,
    /** Seconds until another attempt makes sense, when the server said so. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

export type Health =
  | { readonly state: "ok" }
  | { readonly state: "vm-away"; readonly reason?: string; readonly message?: string }
  /** Something between browser and server answered: no pod is ready. */
  | { readonly state: "no-server" }
  | { readonly state: "unreachable" };

const DEADLINE_MS = 20_000;
const HEALTH_DEADLINE_MS = 8_000;

let onSignedOut: () => void = () => {};

/** Called when a call finds that the session has ended. */
export function whenSignedOut(run: () => void): void {
  onSignedOut = run;
}

export const api = {
  async authenticated(): Promise<boolean> {
    const data = await call<{ authenticated: boolean }>("GET", "/api/auth/check");
    return data?.authenticated === true;
  },
  async signIn(secret: string): Promise<void> {
    await call("POST", "/api/login", { secret });
  },
  async signOut(): Promise<void> {
    await call("POST", "/api/logout");
  },
  async ideas(): Promise<readonly Idea[]> {
    return (await call<readonly Idea[]>("GET", "/api/ideas")) ?? [];
  },
  idea(slug: string): Promise<Idea> {
    return required(call<Idea>("GET", `/api/ideas/${encodeURIComponent(slug)}`));
  },
  create(title: string, content: string): Promise<Idea> {
    return required(call<Idea>("POST", "/api/ideas", { title, content }));
  },
  async remove(slug: string): Promise<void> {
    await call("DELETE", `/api/ideas/${encodeURIComponent(slug)}`);
  },
  async health(): Promise<Health> {
    let response: Response;
    try {
      response = await fetch("/api/health", { cache: "no-store", signal: AbortSignal.timeout(HEALTH_DEADLINE_MS) });
    } catch {
      return { state: "unreachable" };
    }
    const body = await json(response);
    if (body?.["status"] === "ok") return { state: "ok" };
    if (body?.["status"] !== "degraded") return { state: "no-server" };
    const { reason, message } = body;
    // A server that has just started does not know yet.
    if (reason === "Checking") return { state: "ok" };
    return {
      state: "vm-away",
      ...(typeof reason === "string" && { reason }),
      ...(typeof message === "string" && { message }),
    };
  },
};

async function call<T>(method: string, path: string, body?: unknown): Promise<T | undefined> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      cache: "no-store",
      signal: AbortSignal.timeout(DEADLINE_MS),
      ...(body !== undefined && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  } catch (problem) {
    const slow = problem instanceof DOMException && problem.name === "TimeoutError";
    throw new ApiError("unreachable", slow ? "The server did not answer in time. Try again in a moment." : "The server cannot be reached. Check your connection, then try again.");
  }
  const envelope = await json(response);
  if (response.ok && envelope?.["ok"] === true) return envelope["data"] as T | undefined;
  const said = typeof envelope?.["error"] === "string" ? envelope["error"] : undefined;
  if (response.status === 401) {
    if (path !== "/api/login") onSignedOut();
    throw new ApiError("signed-out", said ?? "You are signed out.");
  }
  if (response.status === 429) {
    const seconds = Number(response.headers.get("retry-after"));
    throw new ApiError("too-many", said ?? "Too many attempts.", seconds > 0 ? seconds : undefined);
  }
  if (response.status === 404 && said) throw new ApiError("not-found", said);
  // Without our envelope it was not our server that answered, but the ingress in its place.
  if (!envelope) throw new ApiError("unavailable", "The server takes no requests at the moment; most often because the dev-VM cannot be reached. It comes back on its own.");
  throw new ApiError(response.status >= 500 ? "unavailable" : "refused", said ?? `The server answered with status ${response.status}.`);
}

async function required<T>(answer: Promise<T | undefined>): Promise<T> {
  const value = await answer;
  if (value === undefined) throw new ApiError("unavailable", "The server's answer was incomplete. Try again.");
  return value;
}

async function json(response: Response): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const value: unknown = await response.json();
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The sentence for a caught failure. */
export function explain(problem: unknown): string {
  return problem instanceof ApiError ? problem.message : "Something went wrong in this page. Reload it and try again.";
}
