// What a person chose for all terminals, kept in this browser.

export interface Preferences {
  /** Programs may write to the clipboard (OSC 52). Off unless turned on. */
  readonly clipboard: boolean;
  /** The screen is read out. */
  readonly screenReader: boolean;
}

const KEY = "catalyst:terminal";

export function loadPreferences(): Preferences {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Record<keyof Preferences, unknown>> | null;
    return { clipboard: stored?.clipboard === true, screenReader: stored?.screenReader === true };
  } catch {
    return { clipboard: false, screenReader: false };
  }
}

export function savePreferences(preferences: Preferences): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // Full or forbidden: it holds for this page.
  }
}
