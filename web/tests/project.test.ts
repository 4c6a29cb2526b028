import { afterEach, describe, expect, it, vi } from "vitest";
import { api } from "../src/api";
import { ApiError } from "../src/http";
import { asText, project, trash } from "../src/project";
import { splitDiff } from "../src/session/unified-diff";

const answers = (...all: Response[]) => {
  const fetch = vi.fn((_: string, __?: RequestInit) => Promise.resolve(all.shift() ?? new Response("", { status: 500 })));
  vi.stubGlobal("fetch", fetch);
  return fetch;
};
const envelope = (data: unknown, status = 200, headers: Record<string, string> = {}) => new Response(JSON.stringify({ ok: status < 400, data, ...(status >= 400 && { error: "no" }) }), { status, headers });
afterEach(() => vi.unstubAllGlobals());

describe("a file", () => {
  it("is text when it is UTF-8 without NUL, also when the end of the part cuts a character", () => {
    const euro = new TextEncoder().encode("a€");
    expect(asText(euro, false)).toBe("a€");
    expect(asText(euro.subarray(0, 3), true)).toBe("a");
    expect(asText(euro.subarray(0, 3), false)).toBeUndefined();
    expect(asText(new Uint8Array([0x50, 0x4e, 0]), false)).toBeUndefined();
  });

  it("is read from its beginning only, and its whole size is told", async () => {
    const fetch = answers(new Response("abc", { status: 206, headers: { "content-range": "bytes 0-2/1000" } }), new Response("", { status: 416 }), new Response("abc"));
    expect(await project.view("x y", "ö/a b")).toEqual({ text: "abc", size: 1000, truncated: true });
    expect(fetch.mock.calls[0]?.[0]).toBe("/api/ideas/x%20y/project/file?path=%C3%B6%2Fa%20b");
    expect(fetch.mock.calls[0]?.[1]?.headers).toMatchObject({ range: "bytes=0-262143" });
    // An empty one has no range; a server may give all of a small one.
    expect(await project.view("x", "a")).toEqual({ text: "", size: 0, truncated: false });
    expect(await project.view("x", "a")).toEqual({ text: "abc", size: 3, truncated: false });
  });
});

describe("an edit", () => {
  const idea = { id: "1", slug: "x", title: "T", content: "theirs" };
  it("names the state that it began from, and gets back what is there when that is another", async () => {
    const fetch = answers(envelope(idea, 412, { etag: '"2"' }), envelope(idea, 200, { etag: '"3"' }), envelope(undefined, 400));
    expect(await api.update("x", { content: "mine" }, '"1"')).toEqual({ kind: "conflict", now: { idea, etag: '"2"' } });
    expect(fetch.mock.calls[0]?.[1]?.headers).toMatchObject({ "if-match": '"1"' });
    expect(await api.update("x", { content: "mine" }, '"2"')).toMatchObject({ kind: "saved", now: { etag: '"3"' } });
    await expect(api.update("x", { content: "" }, '"3"')).rejects.toThrow(ApiError);
  });
});

it("what is in the trash is named in the address as it is", async () => {
  const fetch = answers(envelope({ slug: "x" }));
  await trash.restore("a/../b");
  expect(fetch.mock.calls[0]?.[0]).toBe("/api/trash/a%2F..%2Fb/restore");
});

describe("a diff", () => {
  it("is cut into files; lines that begin with a sign are told from the header", () => {
    const diff = "diff --git a/x.sql b/x.sql\nindex 1..2 100644\n--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@\n a\n--- a comment\n+++ b\n\\ No newline at end of file\ndiff --git a/new b/new\nnew file mode 100644\nBinary files /dev/null and b/new differ\n";
    expect(splitDiff(diff)).toEqual([
      {
        name: "x.sql",
        lines: [
          { sign: "same", text: "@@ -1,2 +1,2 @@" },
          { sign: "same", text: "a" },
          { sign: "removed", text: "-- a comment" },
          { sign: "added", text: "++ b" },
          { sign: "same", text: "\\ No newline at end of file" },
        ],
      },
      {
        name: "new",
        lines: [
          { sign: "same", text: "new file mode 100644" },
          { sign: "same", text: "Binary files /dev/null and b/new differ" },
        ],
      },
    ]);
    expect(splitDiff("")).toEqual([]);
  });
});
