// What of a conversation a search finds: of what was said, thought and done, as far as it is loaded.

import type { Entry, Part } from "./model";

/** Entries that have every word of `search` somewhere, whatever its case. */
export function find(entries: readonly Entry[], search: string): readonly Entry[] {
  const words = search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => {
    const text = said(entry).toLocaleLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function said(entry: Entry): string {
  return entry.kind === "user" ? `${entry.by ?? ""}\n${entry.text}` : entry.parts.map(told).join("\n");
}

function told(part: Part): string {
  switch (part.kind) {
    case "text":
    case "thinking":
    case "note":
      return part.text;
    case "error":
      return part.error;
    case "tool":
      return `${part.name}\n${values(part.input)}\n${part.result?.content ?? ""}`;
    default:
      return "";
  }
}

/** The texts in a tool's input, as they are and not as JSON writes them. */
function values(input: unknown): string {
  if (typeof input === "string") return input;
  return typeof input === "object" && input !== null ? Object.values(input).map(values).join("\n") : String(input ?? "");
}
