// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { ago, cost, duration } from "../src/format";
import { ideaPath, parseRoute } from "../src/router";
import { changedLines, describeTool } from "../src/session/tool-input";

describe("addresses", () => {
  it("name a screen each", () => {
    expect(parseRoute("/")).toEqual({ screen: "ideas" });
    expect(parseRoute("/ideas/")).toEqual({ screen: "ideas" });
    expect(parseRoute("/ideas/new")).toEqual({ screen: "new" });
    expect(parseRoute("/ideas/my-idea")).toEqual({ screen: "idea", slug: "my-idea", view: "chat", path: "" });
    expect(parseRoute("/ideas/my-idea/files/a/b%2Fc.txt")).toEqual({ screen: "idea", slug: "my-idea", view: "files", path: "a/b/c.txt" });
    expect(parseRoute("/trash")).toEqual({ screen: "trash" });
    for (const path of ["/x", "/ideas/a/b", "/ideas/%E0%A4%A", "/ideas/a/runs/1", "/ideas/a/files/%E0%A4%A"]) expect(parseRoute(path), path).toEqual({ screen: "missing" });
  });

  it("survive any slug", () => {
    for (const slug of ["a", "ä b", "50%", "a/b"]) expect(parseRoute(ideaPath(slug, "files", "ö/50% x"))).toEqual({ screen: "idea", slug, view: "files", path: "ö/50% x" });
  });
});

it("durations, costs and ages are short", () => {
  expect([400, 4200, 42_400, 60_000, 61_000, 3_900_000].map(duration)).toEqual(["400 ms", "4.2 s", "42 s", "1 min", "1 min 1 s", "1 h 5 min"]);
  expect([0, 0.00001, 0.0021, 1.5].map(cost)).toEqual(["$0", "<$0.0001", "$0.0021", "$1.50"]);
  const now = Date.parse("2030-06-15T12:00:00Z");
  expect(ago("2030-06-15T11:59:30Z", now)).toBe("just now");
  expect(ago("2030-06-15T11:55:00Z", now)).toBe("5 minutes ago");
  expect(ago("2030-06-14T11:00:00Z", now)).toBe("yesterday");
  expect(ago("nonsense", now)).toBe("");
});

describe("tool calls", () => {
  it("say in a line what they are about", () => {
    expect(describeTool("Bash", { command: "ls -l\npwd", description: "" }).summary).toBe("ls -l");
    expect(describeTool("Read", { file_path: "/home/dev/catalyst/ideas/x/project/a.py" }).summary).toBe("…/x/project/a.py");
    expect(describeTool("mcp__thing", { a: 1 }).input).toEqual({ kind: "code", text: '{\n  "a": 1\n}' });
    for (const odd of [null, undefined, "text", 7, [1]]) expect(() => describeTool("Edit", odd)).not.toThrow();
  });

  it("show of an edit what changed, with some context", () => {
    expect(changedLines("a\nb\nc\nd\ne\nOLD\nf", "a\nb\nc\nd\ne\nNEW\nf")).toEqual([
      { sign: "same", text: "c" },
      { sign: "same", text: "d" },
      { sign: "same", text: "e" },
      { sign: "removed", text: "OLD" },
      { sign: "added", text: "NEW" },
      { sign: "same", text: "f" },
    ]);
    expect(changedLines("", "new\n")).toEqual([{ sign: "added", text: "new" }]);
  });
});
