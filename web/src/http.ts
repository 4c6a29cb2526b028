// One request to the server. Every failure becomes an ApiError whose message can be shown to the user as it is.

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

const DEADLINE_MS = 20_000;

let onSignedOut: () => void = () => {};

/** Called when a call finds that the session has ended. */
export function whenSignedOut(run: () => void): void {
  onSignedOut = run;
}

export interface Call {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The answer's `data`. */
export async function call<T>(method: Call["method"], path: string, body?: unknown): Promise<T | undefined> {
  const { envelope } = await enveloped({ method, path, ...(body !== undefined && { body }) });
  return envelope["data"] as T | undefined;
}

export interface Enveloped {
  readonly response: Response;
  readonly envelope: Readonly<Record<string, unknown>>;
}

/** The whole answer, where its headers or a status besides success matter: those listed are no failure. */
export async function enveloped(request: Call, expected: readonly number[] = []): Promise<Enveloped> {
  const response = await send(request);
  const envelope = await json(response);
  if (envelope && ((response.ok && envelope["ok"] === true) || expected.includes(response.status))) return { response, envelope };
  throw failure(request.path, response, envelope);
}

/** An answer that is no envelope when it succeeds. */
export async function raw(request: Call, expected: readonly number[] = []): Promise<Response> {
  const response = await send(request);
  if (response.ok || expected.includes(response.status)) return response;
  throw failure(request.path, response, await json(response));
}

async function send({ method, path, body, headers }: Call): Promise<Response> {
  try {
    return await fetch(path, {
      method,
      cache: "no-store",
      signal: AbortSignal.timeout(DEADLINE_MS),
      headers: { ...headers, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  } catch (problem) {
    const slow = problem instanceof DOMException && problem.name === "TimeoutError";
    throw new ApiError("unreachable", slow ? "The server did not answer in time. Try again in a moment." : "The server cannot be reached. Check your connection, then try again.");
  }
}

function failure(path: string, response: Response, envelope: Readonly<Record<string, unknown>> | undefined): ApiError {
  const said = typeof envelope?.["error"] === "string" ? envelope["error"] : undefined;
  if (response.status === 401) {
    if (path !== "/api/login") onSignedOut();
    return new ApiError("signed-out", said ?? "You are signed out.");
  }
  if (response.status === 429) {
    const seconds = Number(response.headers.get("retry-after"));
    return new ApiError("too-many", said ?? "Too many attempts.", seconds > 0 ? seconds : undefined);
  }
  if (response.status === 404 && said) return new ApiError("not-found", said);
  // Without our envelope it was not our server that answered, but the ingress in its place.
  if (!envelope) return new ApiError("unavailable", "The server takes no requests at the moment; most often because the dev-VM cannot be reached. It comes back on its own.");
  return new ApiError(response.status >= 500 ? "unavailable" : "refused", said ?? `The server answered with status ${response.status}.`);
}

export async function required<T>(answer: Promise<T | undefined>): Promise<T> {
  const value = await answer;
  if (value === undefined) throw new ApiError("unavailable", "The server's answer was incomplete. Try again.");
  return value;
}

export async function json(response: Response): Promise<Readonly<Record<string, unknown>> | undefined> {
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
