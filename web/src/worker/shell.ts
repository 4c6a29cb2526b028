// What the service worker keeps and what it answers with: the page of one release and its files, so that somebody who
// opens the app while its server is away meets an explanation and not the ingress's error page. The server is always
// asked first for the page; only files whose name carries their hash are taken from the cache without asking. The
// interface (/api, /ws) is never answered from here.

/** One file of a release: its path, and what its content must be. */
export interface ShellFile {
  readonly path: string;
  /** Subresource integrity, `sha256-…`. */
  readonly integrity: string;
}

export interface Release {
  /** Differs whenever any file differs. */
  readonly id: string;
  readonly page: ShellFile;
  /** What the page loads at once. */
  readonly files: readonly ShellFile[];
}

/** What of the browser this needs; tests give their own. */
export interface ShellHost {
  readonly caches: CacheStorage;
  fetch(request: Request | string, init?: RequestInit): Promise<Response>;
  after(ms: number): Promise<void>;
}

const PREFIX = "catalyst-shell-";
/** A page that the server has not sent by then is answered from the cache. */
export const PATIENCE_MS = 6_000;
/** What a gateway says in the place of a server that is not there. */
const AWAY: readonly number[] = [502, 503, 504];

export class Shell {
  private readonly name: string;

  constructor(
    private readonly release: Release,
    private readonly host: ShellHost,
  ) {
    this.name = PREFIX + release.id;
  }

  /** Takes a whole release or nothing: a file of another one (two replicas in a rollout) fails its integrity. */
  async install(): Promise<void> {
    const all = [this.release.page, ...this.release.files];
    const responses = await Promise.all(all.map(({ path, integrity }) => this.host.fetch(path, { integrity, cache: "no-cache", credentials: "same-origin" })));
    const broken = responses.findIndex((response) => !response.ok);
    if (broken >= 0) throw new Error(`${all[broken]?.path}: status ${responses[broken]?.status}`);
    // After a return to an earlier release this one is the newest again.
    await this.host.caches.delete(this.name);
    const cache = await this.host.caches.open(this.name);
    await Promise.all(responses.map((response, index) => cache.put(all[index]?.path ?? "", withoutRedirect(response))));
  }

  /** Forgets what came before, but for the last release: its pages are still open and may load a file late. */
  async activate(): Promise<void> {
    const earlier = (await this.host.caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== this.name);
    await Promise.all(earlier.slice(0, -1).map((name) => this.host.caches.delete(name)));
  }

  /** Undefined: none of ours; the browser asks the server as if there were no worker. */
  answer(request: Request, origin: string): Promise<Response> | undefined {
    const url = new URL(request.url);
    if (request.method !== "GET" || url.origin !== origin) return undefined;
    if (isInterface(url.pathname)) return undefined;
    if (request.mode === "navigate") return this.page(request);
    if (url.pathname.startsWith("/assets/")) return this.asset(request);
    return undefined;
  }

  private async page(request: Request): Promise<Response> {
    const asked = this.host.fetch(request);
    const served = asked.then(
      (response) => (AWAY.includes(response.status) ? undefined : response),
      () => undefined,
    );
    const response = await Promise.race([served, this.host.after(PATIENCE_MS)]);
    if (response) return response;
    const kept = await (await this.host.caches.open(this.name)).match(this.release.page.path);
    // Without a copy there is nothing better than what the server says, however late.
    return kept ?? asked;
  }

  private async asset(request: Request): Promise<Response> {
    const kept = await this.host.caches.match(request);
    if (kept) return kept;
    const response = await this.host.fetch(request);
    // A part loaded late (the terminal) is kept too, so that it opens while the server is away.
    if (response.ok) {
      const cache = await this.host.caches.open(this.name);
      await cache.put(request, response.clone()).catch(() => undefined);
    }
    return response;
  }
}

function isInterface(path: string): boolean {
  return /^\/(api|ws|livez|readyz)(\/|$)/.test(path);
}

/** A browser refuses to answer a navigation with a response that was redirected. */
function withoutRedirect(response: Response): Response {
  return response.redirected ? new Response(response.body, { status: response.status, headers: response.headers }) : response;
}
