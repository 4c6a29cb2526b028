// The bar at the top, the state of the connection, the banner that says what is wrong and what to do.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Connection } from "./connection";
import { since } from "./format";
import { Icon, Mark } from "./icons";
import { hasNavigated, Link } from "./router";
import type { Attention } from "./session/attention";
import { useStore } from "./store";
import { newRelease } from "./worker/register";
import { type Banner, useWay, type Way } from "./way";

interface ShellProps {
  readonly connection: Connection;
  readonly title?: string;
  readonly back?: string;
  /** Something waits for the user, or has ended: the tab says so. */
  readonly attention?: Attention;
  /** Not a column of text. */
  readonly wide?: boolean;
  /** As high as the window, and no higher. */
  readonly fill?: boolean;
  /** Below the bar. */
  readonly nav?: ComponentChildren;
  /** Beside the title. */
  readonly badge?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Shell({ connection, title, back, attention, wide, fill, nav, badge, actions, children }: ShellProps) {
  const main = useRef<HTMLElement>(null);
  const way = useWay(connection);
  const outage = useStore(connection.outage);
  useEffect(() => {
    document.title = `${attention === "asking" ? "● " : attention === "ended" ? "✓ " : ""}${title ? `${title} – ` : ""}Catalyst`;
  }, [title, attention]);
  // After a step inside the application the keyboard and the screen reader begin at the new screen.
  useEffect(() => {
    if (hasNavigated() && document.activeElement === document.body) main.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div class="shell" data-wide={wide ? "true" : undefined} data-fill={fill ? "true" : undefined}>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <div class="top">
        <header class="bar">
          {back ? (
            <Link to={back} class="icon-button" label="Back to all ideas">
              <Icon name="back" />
            </Link>
          ) : (
            <Mark />
          )}
          <h1 class="bar-title">{title ?? "Catalyst"}</h1>
          {badge}
          <span class="bar-space" />
          <ConnectionPill pill={way.pill} />
          {actions && <div class="bar-actions">{actions}</div>}
        </header>
        {nav}
        <BannerPlace banner={way.banner} since={outage.since} onRetry={() => connection.retryNow()} />
      </div>
      <main id="main" class="page" ref={main} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function ConnectionPill({ pill }: { readonly pill: Way["pill"] }) {
  return (
    <span class="pill" data-testid="connection" data-state={pill.state} role="status" title={pill.name}>
      <span class="pill-dot" aria-hidden="true" />
      <span class="pill-name">{pill.name}</span>
    </span>
  );
}

function BannerPlace({ banner, since: began, onRetry }: { readonly banner: Banner | undefined; readonly since: number | undefined; readonly onRetry: () => void }) {
  const away = banner?.cause === "vm-away" || banner?.cause === "no-server";
  return (
    <div role="status" class="banner-place">
      {banner && (
        <div class={`banner banner-${banner.tone}`} data-testid="banner" data-cause={banner.cause}>
          <Icon name={banner.tone === "calm" ? "clock" : "alert"} />
          <p>
            <strong>{banner.title}</strong> {banner.body} {away && began !== undefined && <span class="banner-since">Since {since(began, Date.now())}.</span>}
          </p>
          {banner.cause !== "draining" && (
            <button type="button" class="small" onClick={onRetry}>
              Try now
            </button>
          )}
        </div>
      )}
    </div>
  );
}

export function Toast({ text, onClose }: { readonly text: string; readonly onClose: () => void }) {
  useEffect(() => {
    const timer = setTimeout(onClose, 10_000);
    return () => clearTimeout(timer);
  }, [text, onClose]);
  return (
    <div class="toast" role="status" data-testid="toast">
      <p>{text}</p>
      <button type="button" class="icon-button" aria-label="Close" onClick={onClose}>
        <Icon name="cross" />
      </button>
    </div>
  );
}

/** A page that stays open for days runs the code of that day; what is typed survives a reload. */
export function NewReleaseNote() {
  if (!useStore(newRelease)) return null;
  return (
    <div class="toast" role="status" data-testid="new-release">
      <p>A newer version of this page is ready.</p>
      <button type="button" class="small" onClick={() => location.reload()}>
        Reload
      </button>
      <button type="button" class="icon-button" aria-label="Later" onClick={() => newRelease.set(false)}>
        <Icon name="cross" />
      </button>
    </div>
  );
}
