// The page's side of the service worker. There is none where the page is not secure (plain http that is not
// localhost): then the app works as before, without the shell.

import { Store } from "../store";

/** Another release than the one that runs here has been installed. */
export const newRelease = new Store(false);

const UPDATE_PERIOD_MS = 3_600_000;
let registration: ServiceWorkerRegistration | undefined;
let looked = 0;

export async function registerWorker(): Promise<void> {
  const workers = navigator.serviceWorker as ServiceWorkerContainer | undefined;
  if (!workers) return;
  // The first worker takes over a page that was loaded without one: that is no news.
  let controlled = workers.controller !== null;
  workers.addEventListener("controllerchange", () => {
    if (controlled) newRelease.set(true);
    controlled = true;
  });
  try {
    registration = await workers.register(trusted("/sw.js") as string, { updateViaCache: "none" });
    looked = Date.now();
  } catch {
    // Forbidden, or the server went away meanwhile; the next load tries again.
  }
}

/** The server may have been replaced: look for another release. Asks at most once an hour unless it is `due`. */
export function lookForRelease(due: boolean): void {
  if (!registration || (!due && Date.now() - looked < UPDATE_PERIOD_MS)) return;
  looked = Date.now();
  registration.update().catch(() => undefined);
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): unknown };
}

/** The policy requires trusted types: a script's address is only taken from a policy like this, which knows one. */
function trusted(url: "/sw.js"): unknown {
  const types = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
  return types ? types.createPolicy("catalyst-worker", { createScriptURL: (each) => each }).createScriptURL(url) : url;
}
