// @vitest-environment happy-dom
import { render } from "preact";
import { act } from "preact/test-utils";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { IdeaSession } from "../src/idea-session";
import { Composer, isTooLong } from "../src/session/composer";

beforeEach(() => localStorage.clear());

describe("the composer", () => {
  const session = { send: vi.fn(), stop: vi.fn() };
  const root = document.createElement("div");
  const draw = (notice?: string) =>
    act(() =>
      render(
        <Composer slug="x" session={session as unknown as IdeaSession} connected busy turnOpen turn="1:1.0" fresh={false} notice={notice} />,
        root,
      ),
    );
  const stop = () => root.querySelector<HTMLButtonElement>("[data-testid=stop]");

  it("can stop again when the first try failed", async () => {
    await draw();
    await act(() => stop()?.click());
    expect(stop()).toMatchObject({ disabled: true, textContent: "Stopping…" });
    await draw("The run could not be stopped.");
    expect(stop()).toMatchObject({ disabled: false, textContent: "Stop" });
    expect(session.stop).toHaveBeenCalledTimes(1);
  });

  it("refuses what the server would not take, counted in bytes", () => {
    const limit = 8 * 1024 * 1024;
    expect(isTooLong("a".repeat(limit))).toBe(false);
    expect(isTooLong("a".repeat(limit + 1))).toBe(true);
    expect(isTooLong("€".repeat(limit / 3 + 1))).toBe(true);
    expect(isTooLong("€".repeat(limit / 4))).toBe(false);
  });
});
