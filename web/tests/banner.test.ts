// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { bannerText } from "../src/shell";

describe("the banner", () => {
  it("tells that nobody new is let in, though the socket of this page is still open", () => {
    expect(bannerText(true, true, false, { state: "no-server" })?.cause).toBe("no-server");
  });

  it("is patient with an interruption that has just begun", () => {
    expect(bannerText(false, true, false, { state: "no-server" })).toBeUndefined();
    expect(bannerText(false, false, false, { state: "no-server" })?.cause).toBe("no-server");
    expect(bannerText(false, true, false, { state: "unreachable" })).toBeUndefined();
    expect(bannerText(false, false, false, { state: "unreachable" })?.cause).toBe("disconnected");
  });

  it("says nothing when all is well", () => {
    expect(bannerText(true, true, false, { state: "ok" })).toBeUndefined();
  });
});
