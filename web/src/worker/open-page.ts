// Where a tap on a notification leads: to a window that shows the idea, else to a new one.

export interface WindowClients {
  claim(): Promise<void>;
  matchAll(options: { type: "window" }): Promise<readonly { readonly url: string; focus(): Promise<unknown> }[]>;
  openWindow(url: string): Promise<unknown>;
}

/** `data` is what the page put into the notification; anything but a path of ours leads to the list of ideas. */
export async function openPage(clients: WindowClients, origin: string, data: unknown): Promise<void> {
  const given = typeof data === "object" && data !== null ? (data as { path?: unknown }).path : undefined;
  const url = new URL(typeof given === "string" ? given : "/", origin);
  const path = url.origin === origin ? url.pathname : "/";
  const windows = await clients.matchAll({ type: "window" });
  const shown = windows.find((each) => {
    const at = new URL(each.url).pathname;
    return at === path || at.startsWith(`${path}/`);
  });
  await (shown && path !== "/" ? shown.focus() : clients.openWindow(path));
}
