// The service worker: joins the browser's events to `shell`. The build puts the release in (vite.config.ts), so that
// every release has a worker that differs, which is how a browser notices it.

import { openPage, type WindowClients } from "./open-page";
import { type Release, Shell } from "./shell";

/** Of the worker's own scope; the page's types do not have it. */
interface WorkerScope {
  readonly location: Location;
  readonly clients: WindowClients;
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", run: (event: { waitUntil(work: Promise<unknown>): void }) => void): void;
  addEventListener(type: "notificationclick", run: (event: { readonly notification: Notification; waitUntil(work: Promise<unknown>): void }) => void): void;
  addEventListener(type: "fetch", run: (event: { readonly request: Request; respondWith(response: Promise<Response>): void }) => void): void;
}

declare const __RELEASE__: Release;

const scope = globalThis as unknown as WorkerScope;
const shell = new Shell(__RELEASE__, {
  caches,
  fetch: (request, init) => fetch(request, init),
  after: (ms) => new Promise((done) => setTimeout(done, ms)),
});

scope.addEventListener("install", (event) => event.waitUntil(shell.install().then(() => scope.skipWaiting())));
scope.addEventListener("activate", (event) => event.waitUntil(shell.activate().then(() => scope.clients.claim())));
scope.addEventListener("fetch", (event) => {
  const answer = shell.answer(event.request, scope.location.origin);
  if (answer) event.respondWith(answer);
});
scope.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openPage(scope.clients, scope.location.origin, event.notification.data));
});
