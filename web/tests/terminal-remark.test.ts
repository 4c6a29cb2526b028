// @vitest-environment happy-dom
import { expect, it } from "vitest";
import { remark } from "../src/terminal/pane";
import { decodeControl } from "../src/terminal/protocol";

it("who looks at a terminal that is recorded is told so, and nobody else", () => {
  const told = (members: object) => {
    const opened = decodeControl(JSON.stringify({ type: "opened", session: "s", keeper: "tmux", resumed: true, ...members }));
    if (opened?.type !== "opened") throw new Error("it is not understood");
    return [true, false].map((newShell) => remark({ kind: "open", keeper: opened.keeper, newShell, recorded: opened.recorded }));
  };
  for (const line of told({ recorded: true })) expect(line).toContain("recorded on the dev-VM");
  for (const members of [{}, { recorded: false }, { recorded: "true" }]) for (const line of told(members)) expect(line).not.toContain("recorded");
});
