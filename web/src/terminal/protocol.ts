// The messages of /ws/terminal. Binary frames are the terminal's bytes; text frames are control, one JSON object each.

export type ToServer =
  | { readonly type: "open"; readonly cols: number; readonly rows: number; readonly session?: string; readonly after?: number }
  | { readonly type: "resize"; readonly cols: number; readonly rows: number }
  | { readonly type: "credit"; readonly bytes: number };

export interface Opened {
  readonly type: "opened";
  /** What keeps the terminal while nobody looks: tmux, screen or plain. */
  readonly keeper: string;
  readonly session: string;
  readonly resumed: boolean;
  readonly lost: boolean;
  /** The first byte that follows is this one of `session`. */
  readonly offset: number;
  /** So many of the bytes that follow were printed before. */
  readonly replay: number;
  /** What it prints is recorded on the VM. */
  readonly recorded: boolean;
}

export type FromServer =
  | Opened
  | { readonly type: "credit"; readonly bytes: number }
  | { readonly type: "exit"; readonly reason: string; readonly code?: number; readonly signal?: string }
  | { readonly type: "error"; readonly error: string; readonly retry?: boolean }
  | { readonly type: "alive" }
  | { readonly type: "draining" };

/** Reads one control frame; undefined for what is malformed or unknown. */
export function decodeControl(text: string): FromServer | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const text_ = (key: string) => (typeof fields[key] === "string" ? fields[key] : undefined);
  const count = (key: string) => (typeof fields[key] === "number" && Number.isSafeInteger(fields[key]) && fields[key] >= 0 ? fields[key] : undefined);
  switch (fields["type"]) {
    case "opened": {
      const session = text_("session");
      if (session === undefined) return undefined;
      return {
        type: "opened",
        keeper: text_("keeper") ?? "plain",
        session,
        resumed: fields["resumed"] === true,
        lost: fields["lost"] === true,
        offset: count("offset") ?? 0,
        replay: count("replay") ?? 0,
        recorded: fields["recorded"] === true,
      };
    }
    case "credit":
      return { type: "credit", bytes: count("bytes") ?? 0 };
    case "exit": {
      const [code, signal] = [count("code"), text_("signal")];
      return { type: "exit", reason: text_("reason") ?? "ended", ...(code !== undefined && { code }), ...(signal !== undefined && { signal }) };
    }
    case "error":
      return { type: "error", error: text_("error") ?? "The terminal reported an error.", ...(typeof fields["retry"] === "boolean" && { retry: fields["retry"] }) };
    case "alive":
    case "draining":
      return { type: fields["type"] };
    default:
      return undefined;
  }
}
