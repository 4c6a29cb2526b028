// When a person who looks elsewhere should be called: Claude begins to ask, or a turn ends. Replays of what was there
// before the page was opened call nobody.

import { useEffect, useRef, useState } from "preact/hooks";
import { type Conversation, isAsking } from "../conversation/model";
import { notify } from "../notify";
import { ideaPath } from "../router";

export type Attention = "asking" | "ended" | undefined;

/** What changed between two looks at a conversation that is followed live. */
export function newsOf(before: Conversation, now: Conversation): Attention {
  if (!before.subscribed || !now.subscribed) return undefined;
  if (isAsking(now)) return isAsking(before) ? undefined : "asking";
  return before.turnOpen && !now.turnOpen ? "ended" : undefined;
}

/** What the tab's title shows: that Claude asks, as long as it does; that it has ended, until somebody looks. */
export function useAttention(conversation: Conversation, slug: string, title: string): Attention {
  const before = useRef(conversation);
  const [ended, setEnded] = useState(false);

  useEffect(() => {
    const news = newsOf(before.current, conversation);
    before.current = conversation;
    if (news === "asking") void notify(title, "Claude asks for your permission.", `${slug}:asking`, ideaPath(slug));
    if (news !== "ended") return;
    void notify(title, "Claude has ended its turn.", `${slug}:ended`, ideaPath(slug));
    if (document.visibilityState === "hidden") setEnded(true);
  }, [conversation, slug, title]);

  useEffect(() => {
    const look = () => document.visibilityState === "visible" && setEnded(false);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);

  return isAsking(conversation) ? "asking" : ended ? "ended" : undefined;
}
