// Shown when the app was opened while its server takes no requests: what is the matter, since when, what to do. Tries
// again by itself, and loads the page anew once the server is back, because this one may be of an earlier release.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, type Health } from "../api";
import { since } from "../format";
import { Icon, Mark } from "../icons";
import { noteHealth, type Outage, readOutage } from "../outage";
import { explainReason } from "../vm-reasons";

/** Pauses between tries: 2 s, growing by half to half a minute, with a little chance so that tabs do not try together. */
export function pauseBefore(attempt: number, random: number): number {
  return Math.min(30_000, 2_000 * 1.5 ** attempt) * (0.8 + 0.4 * random);
}

interface AwayProps {
  /** Whether the server answers again. */
  readonly tryAgain: () => Promise<boolean>;
  readonly onBack: () => void;
}

export function AwayScreen({ tryAgain, onBack }: AwayProps) {
  const [health, setHealth] = useState<Health>();
  const [outage, setOutage] = useState<Outage>(readOutage);
  const [due, setDue] = useState(() => Date.now() + pauseBefore(0, Math.random()));
  const [trying, setTrying] = useState(false);
  const attempt = useRef(0);
  const now = useClock();

  const look = async () => {
    setTrying(true);
    const [found, back] = await Promise.all([api.health(), tryAgain()]);
    setHealth(found);
    setOutage(noteHealth(found));
    setTrying(false);
    if (back) return onBack();
    attempt.current++;
    setDue(Date.now() + pauseBefore(attempt.current, Math.random()));
  };

  useEffect(() => {
    document.title = "Away – Catalyst";
    void api.health().then((found) => {
      setHealth(found);
      setOutage(noteHealth(found));
    });
  }, []);

  useEffect(() => {
    if (trying) return;
    const timer = setTimeout(() => void look(), Math.max(0, due - Date.now()));
    return () => clearTimeout(timer);
  }, [due, trying]);

  // The network is back, or somebody looks at the tab again: begin with short pauses.
  useEffect(() => {
    const wake = () => {
      if (document.visibilityState !== "visible") return;
      attempt.current = 0;
      setDue(Date.now());
    };
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
    return () => {
      removeEventListener("online", wake);
      document.removeEventListener("visibilitychange", wake);
    };
  }, []);

  const offline = !navigator.onLine;
  const reason = explainReason(health?.state === "vm-away" ? health.reason : outage.reason);
  const seconds = Math.ceil((due - now) / 1000);
  return (
    <main class="centered">
      <div class="card notice-card away" data-testid="away" data-cause={offline ? "offline" : (health?.state ?? "unknown")}>
        <div class="brand">
          <Mark />
          <h1>{offline ? "You are offline" : reason ? "The dev-VM is away" : "Catalyst is away"}</h1>
        </div>
        {offline ? (
          <p>This device has no network. Catalyst comes back as soon as it has.</p>
        ) : (
          <p>
            Catalyst takes no requests at the moment. {reason ?? "Almost always this means that its dev-VM cannot be reached: until it can, the server is kept out of service."}
          </p>
        )}
        <p class="away-since" data-testid="away-since">
          <Icon name="clock" /> {duration(outage, now)}
        </p>
        {!offline && (
          <>
            <h2>What to do</h2>
            <ol>
              <li>See that the dev-VM is switched on, reachable, and that its SSH server runs.</li>
              <li>
                Whoever runs the cluster finds the reason and the remedy with <code>kubectl describe catalystinstance</code>.
              </li>
            </ol>
          </>
        )}
        <p class="muted">What Claude is doing on the VM goes on if the VM runs. What you typed here is kept.</p>
        <div class="away-again">
          <button type="button" class="primary" disabled={trying} onClick={() => void look()} data-testid="away-retry">
            {trying ? "Trying…" : "Try now"}
          </button>
          <span class="muted">{trying || seconds <= 0 ? "Trying again…" : `Tries again by itself in ${seconds} s`}</span>
        </div>
      </div>
    </main>
  );
}

function duration({ since: began, lastWell }: Outage, now: number): string {
  if (began !== undefined) return `Away since ${since(began, now)}.`;
  if (lastWell !== undefined) return `Last seen well ${since(lastWell, now)}.`;
  return "Since when is not known: this browser has not seen it well before.";
}

function useClock(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
