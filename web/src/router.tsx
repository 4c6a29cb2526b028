// Addresses by the History API: every path can be reloaded, shared and gone back to.

import type { ComponentChildren } from "preact";
import { parseSpan } from "./span";
import { Store } from "./store";

/** What is shown of an idea. */
export type View = "chat" | "terminal" | "files" | "changes" | "runs";

export type Route =
  | { readonly screen: "ideas" | "new" | "trash" | "missing" }
  /** `path`: of a file or folder in the project, for the view of files; of a run, for that of changes. */
  | { readonly screen: "idea"; readonly slug: string; readonly view: View; readonly path: string };

const views: readonly View[] = ["terminal", "files", "changes", "runs"];

export function parseRoute(path: string): Route {
  const trimmed = path.replace(/\/+$/, "");
  if (trimmed === "") return { screen: "ideas" };
  if (trimmed === "/ideas") return { screen: "ideas" };
  if (trimmed === "/ideas/new") return { screen: "new" };
  if (trimmed === "/trash") return { screen: "trash" };
  const [, slug, named, rest = ""] = /^\/ideas\/([^/]+)(?:\/([^/]+)(?:\/(.*))?)?$/.exec(trimmed) ?? [];
  const view = named === undefined ? "chat" : views.find((each) => each === named);
  const hasPath = view === "files" || (view === "changes" && parseSpan(rest) !== undefined);
  if (slug === undefined || view === undefined || (rest !== "" && !hasPath)) return { screen: "missing" };
  try {
    return { screen: "idea", slug: decodeURIComponent(slug), view, path: rest.split("/").map(decodeURIComponent).join("/") };
  } catch {
    return { screen: "missing" };
  }
}

export function ideaPath(slug: string, view: View = "chat", path = ""): string {
  const idea = `/ideas/${encodeURIComponent(slug)}`;
  if (view === "chat") return idea;
  return path === "" ? `${idea}/${view}` : `${idea}/${view}/${path.split("/").map(encodeURIComponent).join("/")}`;
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
  /** The screen that is shown. */
  readonly current?: boolean;
  readonly children: ComponentChildren;
}

/** An ordinary link: opening it in a new tab, copying it and the keyboard work as ever. */
export function Link({ to, children, label, testId, slug, current, ...rest }: LinkProps) {
  return (
    <a
      class={rest.class}
      href={to}
      aria-label={label}
      data-testid={testId}
      data-slug={slug}
      aria-current={current ? "page" : undefined}
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
