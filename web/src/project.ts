// The calls about what was built (an idea's `project/`) and about the trash.

import { type Idea, ideaUrl } from "./api";
import { call, raw, required } from "./http";
import type { Span } from "./span";

export interface ProjectEntry {
  readonly name: string;
  readonly kind: "folder" | "file" | "link" | "other";
  readonly size?: number;
  readonly modifiedAt?: string;
}

export interface Listing {
  readonly path: string;
  readonly entries: readonly ProjectEntry[];
  readonly truncated: boolean;
}

/** The beginning of a file: its text, unless it has none. */
export interface FileView {
  readonly text?: string;
  /** Of the whole file, in bytes. */
  readonly size: number;
  readonly truncated: boolean;
}

export interface Changes {
  readonly git: boolean;
  readonly branch?: string;
  readonly files?: readonly { readonly path: string; readonly change: "added" | "modified" | "deleted" | "renamed" | "untracked" }[];
  /** Unified. */
  readonly diff?: string;
  readonly truncated?: boolean;
}

export interface Trashed {
  readonly name: string;
  readonly deletedAt: string;
  readonly slug: string;
  readonly title?: string;
  readonly problem?: string;
}

const VIEW_BYTES = 256 * 1024;

export const project = {
  list(slug: string, path: string): Promise<Listing> {
    return required(call<Listing>("GET", `${ideaUrl(slug)}/project?path=${encodeURIComponent(path)}`));
  },
  /** Where a browser downloads a file from; it is never shown as a page of ours. */
  fileUrl(slug: string, path: string): string {
    return `${ideaUrl(slug)}/project/file?path=${encodeURIComponent(path)}`;
  },
  async view(slug: string, path: string): Promise<FileView> {
    const response = await raw({ method: "GET", path: project.fileUrl(slug, path), headers: { range: `bytes=0-${VIEW_BYTES - 1}` } }, [416]);
    // An empty file has no range.
    if (response.status === 416) return { size: 0, truncated: false, text: "" };
    const bytes = new Uint8Array(await response.arrayBuffer());
    const whole = Number(/\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1] ?? bytes.length);
    const shown = bytes.subarray(0, VIEW_BYTES);
    const text = asText(shown, whole > shown.length);
    return { size: whole, truncated: whole > shown.length, ...(text !== undefined && { text }) };
  },
  /** Since the last commit, or of a run. */
  changes(slug: string, span?: Span): Promise<Changes> {
    const time = (ms: number) => encodeURIComponent(new Date(ms).toISOString());
    const until = span?.until === undefined ? "" : `&until=${time(span.until)}`;
    return required(call<Changes>("GET", `${ideaUrl(slug)}/changes${span ? `?since=${time(span.since)}${until}` : ""}`));
  },
};

export const trash = {
  async list(): Promise<readonly Trashed[]> {
    return (await call<readonly Trashed[]>("GET", "/api/trash")) ?? [];
  },
  restore(name: string): Promise<Idea> {
    return required(call<Idea>("POST", `/api/trash/${encodeURIComponent(name)}/restore`));
  },
  async erase(name: string): Promise<void> {
    await call("DELETE", `/api/trash/${encodeURIComponent(name)}`);
  },
};

/** Undefined for what is no text in UTF-8; a character that the cut has halved does not count. */
export function asText(bytes: Uint8Array, cut: boolean): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: cut });
  } catch {
    return undefined;
  }
}
