// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from "vitest";
import type { Health } from "../src/api";
import { nextOutage, noteHealth, readOutage } from "../src/outage";
import { pauseBefore } from "../src/screens/away";
import { explainReason } from "../src/vm-reasons";
import { judgeWay } from "../src/way";

const ok: Health = { state: "ok" };
const cause = (...args: Parameters<typeof judgeWay>) => judgeWay(...args).banner?.cause;

describe("the way to the server and the VM", () => {
  it("tells that nobody new is let in, though the socket of this page is still open", () => {
    expect(cause("connected", true, false, { state: "no-server" })).toBe("no-server");
  });

  it("is patient with an interruption that has just begun", () => {
    expect(cause("offline", true, false, { state: "no-server" })).toBeUndefined();
    expect(cause("offline", false, false, { state: "no-server" })).toBe("no-server");
    expect(cause("offline", true, false, { state: "unreachable" })).toBeUndefined();
    expect(cause("offline", false, false, { state: "unreachable" })).toBe("disconnected");
  });

  it("is called connected exactly when there is nothing to tell", () => {
    for (const socket of ["connected", "connecting", "offline"] as const) {
      for (const health of [ok, { state: "ok", warning: { reason: "IdeasPathUnwritable" } }, { state: "vm-away", reason: "TimedOut" }, { state: "no-server" }, { state: "unreachable" }] as const) {
        for (const patient of [true, false]) {
          for (const draining of [true, false]) {
            const way = judgeWay(socket, patient, draining, health);
            if (way.pill.state === "connected") expect(way.banner).toBeUndefined();
            if (way.banner) expect(way.pill.state).not.toBe("connected");
          }
        }
      }
    }
    expect(judgeWay("connected", true, false, ok)).toEqual({ pill: { state: "connected", name: "Connected" } });
    expect(cause("connected", true, false, { state: "ok", warning: { reason: "IdeasPathUnwritable" } })).toBe("vm-trouble");
    expect(judgeWay("connected", true, false, { state: "vm-away" }).pill).toEqual({ state: "away", name: "VM away" });
  });
});

describe("an outage", () => {
  beforeEach(() => localStorage.clear());
  const away: Health = { state: "vm-away", reason: "TimedOut" };

  it("began when it was first seen, whatever is seen of it later", () => {
    noteHealth(ok, 1_000_000);
    noteHealth(away, 2_000_000);
    noteHealth({ state: "no-server" }, 3_000_000);
    expect(readOutage()).toEqual({ lastWell: 1_000_000, since: 2_000_000, reason: "TimedOut" });
    noteHealth({ state: "vm-away", reason: "AuthRejected" }, 4_000_000);
    expect(readOutage()).toMatchObject({ since: 2_000_000, reason: "AuthRejected" });
  });

  it("is over when all is well, and the next one is another", () => {
    noteHealth(away, 1);
    noteHealth(ok, 2);
    expect(readOutage()).toEqual({ lastWell: 2 });
    noteHealth({ state: "no-server" }, 100_000);
    expect(readOutage()).toEqual({ lastWell: 2, since: 100_000 });
  });

  it("does not begin when this device has no network", () => {
    noteHealth({ state: "unreachable" }, 1);
    expect(readOutage()).toEqual({});
  });

  it("is not written for every answer", () => {
    const known = { lastWell: 1_000_000 };
    expect(nextOutage(known, ok, 1_030_000)).toBe(known);
    const lasting = { since: 5, reason: "TimedOut" };
    expect(nextOutage(lasting, away, 10)).toBe(lasting);
  });

  it("is not broken by what somebody else wrote there", () => {
    for (const odd of ["null", "[]", "{", '{"since":"x"}', "7"]) {
      localStorage.setItem("catalyst:outage", odd);
      expect(readOutage(), odd).toEqual({});
    }
  });

  it("is asked about less and less often, but at least every 36 s", () => {
    expect(pauseBefore(0, 0.5)).toBe(2000);
    expect(pauseBefore(3, 0.5)).toBeGreaterThan(pauseBefore(2, 0.5));
    expect(pauseBefore(1000, 1)).toBeCloseTo(36_000);
  });

  it("is explained by its reason", () => {
    expect(explainReason("ConnectionRefused")).toBe("Its dev-VM cannot be used. The VM refuses connections. Start sshd on the VM, or check ssh.port.");
    expect(explainReason("Newer")).toBeUndefined();
  });
});
