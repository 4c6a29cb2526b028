// What a screen reader hears of an answer that is being written: whole sentences, some seconds apart, and not every
// word as it comes. Nothing of what was there before the reader came is read out.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Conversation } from "../conversation/model";

/** Between two readings, so that one can be heard before the next replaces it. */
const PAUSE_MS = 4_000;
/** A sentence without an end is cut at a word. */
const LONGEST = 600;

/** The part of `text` after `from` that is complete; empty when there is none. */
export function completePart(text: string, from: number, ended: boolean): string {
  const fresh = text.slice(from);
  if (ended) return fresh;
  const end = fresh.search(/[.!?:…](?=\s[^]*$)(?![^]*[.!?:…]\s)|\n(?![^]*\n)/);
  if (end >= 0) return fresh.slice(0, end + 1);
  return fresh.length > LONGEST ? fresh.slice(0, fresh.lastIndexOf(" ", LONGEST) + 1 || LONGEST) : "";
}

/** Markdown as it is said: without its signs, a block of code as a mention. */
export function plain(markdown: string): string {
  return markdown
    .replace(/```[^]*?(```|$)/g, " (code) ")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/^\s*[#>|]+\s*|[*_`|~]+/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** The text of the answer at the end, as far as it is written. */
function endText({ entries }: Conversation): { readonly key: string; readonly text: string } | undefined {
  const end = entries.at(-1);
  if (end?.kind !== "assistant") return undefined;
  const text = end.parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("\n");
  return { key: end.key, text };
}

export function useSpoken(conversation: Conversation): string {
  const [spoken, setSpoken] = useState("");
  const latest = useRef(conversation);
  latest.current = conversation;
  const read = useRef<{ key: string; upTo: number } | undefined>(undefined);
  const { turnOpen } = conversation;

  useEffect(() => {
    const begun = endText(latest.current);
    // What was written before the turn was seen to be open is not news.
    read.current = begun && { key: begun.key, upTo: begun.text.length };
    if (!turnOpen) return;
    const say = (ended: boolean) => {
      const now = endText(latest.current);
      if (!now) return;
      const from = read.current?.key === now.key ? read.current.upTo : 0;
      const part = completePart(now.text, from, ended);
      if (part.trim() === "") return;
      read.current = { key: now.key, upTo: from + part.length };
      setSpoken(plain(part));
    };
    const timer = setInterval(() => say(false), PAUSE_MS);
    return () => {
      clearInterval(timer);
      say(true);
    };
  }, [turnOpen]);

  return spoken;
}
