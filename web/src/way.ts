// The one judgement of the way from this page to the server and on to the dev-VM. The pill, the banner and the screen
// shown while nothing can be reached all read it, so that they cannot contradict each other.

import { useEffect, useState } from "preact/hooks";
import type { Health } from "./api";
import type { Connection } from "./connection";
import type { ConnectionState } from "./socket";
import { useStore } from "./store";
import { explainAway, explainTrouble } from "./vm-reasons";

export type Cause = "draining" | "vm-away" | "vm-trouble" | "no-server" | "disconnected";

export interface Banner {
  readonly cause: Cause;
  readonly tone: "calm" | "warn";
  readonly title: string;
  readonly body: string;
}

export interface Way {
  readonly pill: { readonly state: "connected" | "connecting" | "away" | "offline"; readonly name: string };
  readonly banner?: Banner;
}

/** `patient`: the interruption has just begun; most mend themselves unseen. */
export function judgeWay(socket: ConnectionState, patient: boolean, draining: boolean, health: Health): Way {
  const up = socket === "connected";
  if (draining) {
    return {
      pill: { state: "connecting", name: "Moving" },
      banner: { cause: "draining", tone: "calm", title: "The server is being replaced.", body: "Reconnecting; nothing is lost." },
    };
  }
  if (health.state === "vm-away") {
    return {
      pill: { state: "away", name: "VM away" },
      banner: { cause: "vm-away", tone: "warn", title: "The dev-VM is away.", body: explainAway(health) },
    };
  }
  // An open socket says nothing here: the ingress keeps it though it sends nobody new to a pod that has lost its VM.
  if (health.state === "no-server" && (up || !patient)) {
    return {
      pill: { state: "away", name: "Server away" },
      banner: {
        cause: "no-server",
        tone: "warn",
        title: "The server takes no requests.",
        body: "Most often this is because the dev-VM cannot be reached. Claude goes on working on the VM if it runs; this page catches up by itself.",
      },
    };
  }
  if (up && health.state === "ok" && health.warning) {
    return {
      pill: { state: "away", name: "VM trouble" },
      banner: { cause: "vm-trouble", tone: "warn", title: "Something is wrong on the dev-VM.", body: explainTrouble(health.warning) },
    };
  }
  if (up) return { pill: { state: "connected", name: "Connected" } };
  if (patient) return { pill: { state: "connecting", name: "Connecting" } };
  return {
    pill: { state: "offline", name: "Offline" },
    banner: { cause: "disconnected", tone: "warn", title: "No connection.", body: "Trying again. What you type is kept, and nothing that Claude does meanwhile is lost." },
  };
}

/** Short interruptions mend themselves unseen: the banner waits this long. */
const PATIENCE_MS = 1500;

export function useWay(connection: Connection): Way {
  const socket = useStore(connection.state);
  const health = useStore(connection.health);
  const draining = useStore(connection.draining);
  const [patient, setPatient] = useState(true);
  const up = socket === "connected";
  useEffect(() => {
    setPatient(true);
    if (up) return;
    const timer = setTimeout(() => setPatient(false), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [up]);
  return judgeWay(socket, patient, draining, health);
}
