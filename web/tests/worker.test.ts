import { describe, expect, it } from "vitest";
import { openPage } from "../src/worker/open-page";
import { PATIENCE_MS, type Release, Shell } from "../src/worker/shell";

const ORIGIN = "https://catalyst.test";

/** Caches as a browser keeps them: in order of creation. */
class FakeCaches {
  readonly all = new Map<string, Map<string, Response>>();
  async open(name: string) {
    const entries = this.all.get(name) ?? new Map<string, Response>();
    this.all.set(name, entries);
    return {
      match: async (key: Request | string) => entries.get(pathOf(key))?.clone(),
      put: async (key: Request | string, response: Response) => void entries.set(pathOf(key), response),
    };
  }
  async match(key: Request) {
    for (const entries of this.all.values()) {
      const found = entries.get(pathOf(key));
      if (found) return found.clone();
    }
    return undefined;
  }
  keys = async () => [...this.all.keys()];
  delete = async (name: string) => this.all.delete(name);
  /** Every path that is kept, in whichever cache. */
  paths = () => new Set([...this.all.values()].flatMap((entries) => [...entries.keys()]));
}

const pathOf = (key: Request | string) => new URL(typeof key === "string" ? key : key.url, ORIGIN).pathname;

/** A server of one release at a time; `status` other than 200 is the ingress in its place. */
class FakeServer {
  status = 200;
  files: Readonly<Record<string, string>> = {};
  asked: string[] = [];
  hangs = false;

  deploy(name: string): Release {
    this.files = { "/": `page ${name}`, [`/assets/index-${name}.js`]: `code ${name}`, [`/assets/terminal-${name}.js`]: `late ${name}` };
    const file = (path: string) => ({ path, integrity: this.files[path] ?? "" });
    return { id: name, page: file("/"), files: [file(`/assets/index-${name}.js`)] };
  }
  async fetch(request: Request | string, init?: RequestInit): Promise<Response> {
    const path = pathOf(request);
    this.asked.push(path);
    if (this.hangs) return new Promise(() => undefined);
    if (this.status === 0) throw new TypeError("Failed to fetch");
    if (this.status !== 200) return new Response("503 Service Temporarily Unavailable", { status: this.status });
    const body = path.startsWith("/assets/") ? this.files[path] : path.startsWith("/api") ? "{}" : this.files["/"];
    if (body === undefined) return new Response("", { status: 404 });
    // As a browser does with integrity; here the integrity is the content.
    if (init?.integrity !== undefined && init.integrity !== body) throw new TypeError("integrity");
    return new Response(body);
  }
}

function browser() {
  const server = new FakeServer();
  const caches = new FakeCaches();
  const waits: number[] = [];
  let pass: () => void = () => {};
  const worker = (release: Release) =>
    new Shell(release, {
      caches: caches as unknown as CacheStorage,
      fetch: (request, init) => server.fetch(request, init),
      after: (ms) => {
        waits.push(ms);
        return new Promise((done) => (pass = done));
      },
    });
  const update = async (name: string) => {
    const shell = worker(server.deploy(name));
    await shell.install();
    await shell.activate();
    return shell;
  };
  return { server, caches, worker, update, waits, runOut: () => pass() };
}

/** Node's Request has no navigations. */
const visit = (path: string) => ({ url: ORIGIN + path, method: "GET", mode: "navigate" }) as Request;
const load = (path: string, method = "GET") => ({ url: ORIGIN + path, method, mode: "cors" }) as Request;
const text = async (answer: Promise<Response> | undefined) => (await answer)?.text();

describe("the service worker", () => {
  it("gives the page of the app when the ingress or nobody answers, at every address of it", async () => {
    const { server, update } = browser();
    const shell = await update("one");
    for (const status of [502, 503, 504, 0]) {
      server.status = status;
      for (const path of ["/", "/ideas/balcony"]) expect(await text(shell.answer(visit(path), ORIGIN)), `${status} ${path}`).toBe("page one");
      expect(await text(shell.answer(load("/assets/index-one.js"), ORIGIN))).toBe("code one");
    }
  });

  it("gives it also when the server hangs, after a while", async () => {
    const { server, update, runOut, waits } = browser();
    const shell = await update("one");
    server.hangs = true;
    const answer = shell.answer(visit("/"), ORIGIN);
    runOut();
    expect(await text(answer)).toBe("page one");
    expect(waits).toEqual([PATIENCE_MS]);
  });

  it("never shows an old page while the server is there, though the worker is still the old one", async () => {
    const { server, update } = browser();
    const shell = await update("one");
    server.deploy("two");
    expect(await text(shell.answer(visit("/"), ORIGIN))).toBe("page two");
    expect(await text(shell.answer(load("/assets/index-two.js"), ORIGIN))).toBe("code two");
  });

  it("has the new page alone once the new release is installed", async () => {
    const { server, update } = browser();
    await update("one");
    const shell = await update("two");
    server.status = 503;
    expect(await text(shell.answer(visit("/ideas/x"), ORIGIN))).toBe("page two");
  });

  it("keeps one release before this one, for pages that are still open, and no more", async () => {
    const { server, caches, update } = browser();
    await update("one");
    await update("two");
    const shell = await update("three");
    expect(await caches.keys()).toEqual(["catalyst-shell-two", "catalyst-shell-three"]);
    expect(await text(shell.answer(load("/assets/index-two.js"), ORIGIN))).toBe("code two");
    await update("two");
    server.status = 503;
    expect(await caches.keys()).toEqual(["catalyst-shell-three", "catalyst-shell-two"]);
  });

  it("leaves the caches of others alone", async () => {
    const { caches, update } = browser();
    await caches.open("somebody-else");
    await update("one");
    await update("two");
    await update("three");
    expect(await caches.keys()).toContain("somebody-else");
  });

  it("takes no release whose parts come from different ones, or from an error page", async () => {
    const { server, caches, worker, update } = browser();
    await update("one");
    const two = server.deploy("two");
    // A rollout: the worker's script came from a new replica, the page comes from an old one.
    server.files = { ...server.files, "/": "page one" };
    await expect(worker(two).install()).rejects.toThrow("integrity");
    server.status = 503;
    await expect(worker(two).install()).rejects.toThrow("503");
    expect(await caches.keys()).toEqual(["catalyst-shell-one"]);
  });

  it("has nothing to do with the interface, with writing, and with other origins", async () => {
    const { server, caches, update } = browser();
    const shell = await update("one");
    for (const path of ["/api/ideas", "/api/health", "/api", "/ws", "/ws/terminal", "/readyz", "/sw.js", "/favicon.svg"]) expect(shell.answer(load(path), ORIGIN), path).toBeUndefined();
    // A download is a navigation.
    expect(shell.answer(visit("/api/ideas/x/project/file"), ORIGIN)).toBeUndefined();
    expect(shell.answer(load("/assets/index-one.js", "POST"), ORIGIN)).toBeUndefined();
    expect(shell.answer(load("/assets/index-one.js"), "https://elsewhere.test")).toBeUndefined();
    await text(shell.answer(visit("/ideas/secret-name"), ORIGIN));
    expect(caches.paths()).toEqual(new Set(["/", "/assets/index-one.js"]));
    expect(server.asked.filter((path) => path.startsWith("/api"))).toEqual([]);
  });

  it("keeps a part that is loaded late, but no failure of it", async () => {
    const { server, update } = browser();
    const shell = await update("one");
    server.status = 503;
    expect((await shell.answer(load("/assets/terminal-one.js"), ORIGIN))?.status).toBe(503);
    server.status = 200;
    expect(await text(shell.answer(load("/assets/terminal-one.js"), ORIGIN))).toBe("late one");
    server.status = 0;
    expect(await text(shell.answer(load("/assets/terminal-one.js"), ORIGIN))).toBe("late one");
  });

  it("passes on what a server that is there says, be it a refusal or a sign-in elsewhere", async () => {
    const { server, update } = browser();
    const shell = await update("one");
    for (const status of [401, 403, 404, 500]) {
      server.status = status;
      expect((await shell.answer(visit("/"), ORIGIN))?.status).toBe(status);
    }
  });
});

describe("a tap on a notification", () => {
  const tap = async (data: unknown, ...open: string[]) => {
    const done: string[] = [];
    const clients = {
      claim: () => Promise.resolve(),
      matchAll: () => Promise.resolve(open.map((path) => ({ url: ORIGIN + path, focus: () => Promise.resolve(done.push(`focus ${path}`)) }))),
      openWindow: (path: string) => Promise.resolve(done.push(`open ${path}`)),
    };
    await openPage(clients, ORIGIN, data);
    return done;
  };

  it("leads to the window that shows the idea, else to a new one", async () => {
    const data = { path: "/ideas/a" };
    expect(await tap(data, "/", "/ideas/ab", "/ideas/a/terminal")).toEqual(["focus /ideas/a/terminal"]);
    expect(await tap(data, "/", "/ideas/ab")).toEqual(["open /ideas/a"]);
  });

  it("never leads elsewhere", async () => {
    for (const odd of [{ path: "https://elsewhere.test/x" }, { path: "//elsewhere.test/x" }, { path: 7 }, null, "x"]) expect(await tap(odd)).toEqual(["open /"]);
  });
});
