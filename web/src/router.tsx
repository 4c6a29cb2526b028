// Addresses by the History API: every path can be reloaded, shared and gone back to.

import type { ComponentChildren } from "preact";
import { Store } from "./store";

export type Route = { readonly screen: "ideas" } | { readonly screen: "new" } | { readonly screen: "idea"; readonly slug: string } | { readonly screen: "missing" };

export function parseRoute(path: string): Route {
  const trimmed = path.replace(/\/+$/, "");
  if (trimmed === "") return { screen: "ideas" };
  if (trimmed === "/ideas") return { screen: "ideas" };
  if (trimmed === "/ideas/new") return { screen: "new" };
  const slug = /^\/ideas\/([^/]+)$/.exec(trimmed)?.[1];
  if (slug === undefined) return { screen: "missing" };
  try {
    return { screen: "idea", slug: decodeURIComponent(slug) };
  } catch {
    return { screen: "missing" };
  }
}

export function ideaPath(slug: string): string {
  return `/ideas/${encodeURIComponent(slug)}`;
}

export const route = new Store<Route>(parseRoute(location.pathname));

let navigated = false;

/** Whether a screen was reached from within, not by loading the page. */
export function hasNavigated(): boolean {
  return navigated;
}

export function navigate(path: string, how: "push" | "replace" = "push"): void {
  navigated = true;
  if (how === "push") history.pushState(null, "", path);
  else history.replaceState(null, "", path);
  route.set(parseRoute(path));
  scrollTo(0, 0);
}

addEventListener("popstate", () => route.set(parseRoute(location.pathname)));

interface LinkProps {
  readonly to: string;
  readonly class?: string;
  readonly label?: string;
  readonly testId?: string;
  readonly slug?: string;
  readonly children: ComponentChildren;
}

/** An ordinary link: opening it in a new tab, copying it and the keyboard work as ever. */
export function Link({ to, children, label, testId, slug, ...rest }: LinkProps) {
  return (
    <a
      class={rest.class}
      href={to}
      aria-label={label}
      data-testid={testId}
      data-slug={slug}
      onClick={(event) => {
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        navigate(to);
      }}
    >
      {children}
    </a>
  );
}
