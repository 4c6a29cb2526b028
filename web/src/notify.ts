// Tells a person who looks elsewhere that Claude asks or has ended: by the tab's title always, by a notification if
// they turned it on.

import { Store } from "./store";

const KEY = "catalyst:notify";

export const notifying = new Store(allowed() && read());

function allowed(): boolean {
  return "Notification" in globalThis && Notification.permission === "granted";
}

function read(): boolean {
  try {
    return localStorage.getItem(KEY) === "on";
  } catch {
    return false;
  }
}

/** Whether this browser could, at this address: it must be secure, and must not have been told never to. */
export function canNotify(): boolean {
  return "Notification" in globalThis && isSecureContext;
}

/** Turns it on or off; gives a sentence when the browser will not. */
export async function setNotifying(on: boolean): Promise<string | undefined> {
  const granted = !on || (await Notification.requestPermission()) === "granted";
  notifying.set(on && granted);
  try {
    localStorage.setItem(KEY, notifying.get() ? "on" : "off");
  } catch {
    // It holds for this page.
  }
  return granted ? undefined : "The browser does not allow notifications from this page. Its site settings can change that.";
}

/** Says it to whoever does not look at the page; `path` is where a tap on it leads. */
export async function notify(title: string, body: string, tag: string, path: string): Promise<void> {
  if (!notifying.get() || document.visibilityState === "visible") return;
  const options = { body, tag, icon: "/favicon.svg", data: { path } };
  // Phones show notifications of a service worker alone.
  const registration = await navigator.serviceWorker?.getRegistration();
  try {
    if (registration) await registration.showNotification(title, options);
    else new Notification(title, options).onclick = () => focus();
  } catch {
    // The title of the tab says it too.
  }
}
