// @vitest-environment happy-dom
import { render } from "preact";
import { afterEach, expect, it, vi } from "vitest";
import { project } from "../src/project";
import type { Run } from "../src/protocol";
import { parseRoute } from "../src/router";
import { RunTable } from "../src/screens/runs";
import { parseSpan, spanOf } from "../src/span";

afterEach(() => vi.unstubAllGlobals());

const runs: readonly Run[] = [
  { run: 4, live: false, mode: "acceptEdits", startedAt: 4000, endedAt: 4500 },
  { run: 3, live: false, mode: "chat", startedAt: 3000, endedAt: 3500 },
  { run: 2, live: false, mode: "plan", startedAt: 2000 },
  { run: 1, live: false, mode: "all", startedAt: 1000, endedAt: 1500 },
];

it("of the latest run all is shown that has changed since, of an earlier one what was committed by its end", () => {
  expect(spanOf(runs, 0)).toEqual({ run: 4, since: 4000 });
  expect(spanOf(runs, 1), "a chat changes nothing").toBeUndefined();
  expect(spanOf(runs, 2), "one that was lost ended before the next began").toEqual({ run: 2, since: 2000, until: 3000 });
  expect(spanOf(runs, 3)).toEqual({ run: 1, since: 1000, until: 1500 });
  expect(spanOf([{ run: 1, live: true, mode: "all" }], 0), "when it began is not known").toBeUndefined();
});

it("the list of runs leads to the changes of each, and the address is asked for", async () => {
  const root = document.createElement("div");
  render(<RunTable slug="a b" runs={runs} whole />, root);
  const links = [...root.querySelectorAll("[data-testid=run-changes]")];
  expect(links.map((link) => link.getAttribute("href"))).toEqual(["/ideas/a%20b/changes/4/4000", "/ideas/a%20b/changes/2/2000/3000", "/ideas/a%20b/changes/1/1000/1500"]);
  expect(links[2]?.getAttribute("aria-label")).toBe("What run 1 changed");
  const fetch = vi.fn((_: string) => Promise.resolve(new Response(JSON.stringify({ ok: true, data: { git: true } }))));
  vi.stubGlobal("fetch", fetch);
  for (const link of links) {
    const route = parseRoute(link.getAttribute("href") ?? "");
    if (route.screen !== "idea") throw new Error("it is no address of an idea");
    expect([route.slug, route.view]).toEqual(["a b", "changes"]);
    await project.changes(route.slug, parseSpan(route.path));
  }
  await project.changes("a b");
  expect(fetch.mock.calls.map(([url]) => decodeURIComponent(url))).toEqual([
    "/api/ideas/a b/changes?since=1970-01-01T00:00:04.000Z",
    "/api/ideas/a b/changes?since=1970-01-01T00:00:02.000Z&until=1970-01-01T00:00:03.000Z",
    "/api/ideas/a b/changes?since=1970-01-01T00:00:01.000Z&until=1970-01-01T00:00:01.500Z",
    "/api/ideas/a b/changes",
  ]);
});

it("an address that names no run is none", () => {
  for (const path of ["x", "1", "1/x", "1/2/3/4", "1/2/", "-1/2", "1/9999999999999999"]) expect(parseSpan(path), path).toBeUndefined();
  expect(parseRoute("/ideas/x/changes/1/x").screen).toBe("missing");
});
