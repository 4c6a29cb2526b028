// The views of an idea.

import { Icon, type IconName } from "../icons";
import { ideaPath, Link, type View } from "../router";

const names: Readonly<Record<View, { readonly name: string; readonly icon: IconName }>> = {
  chat: { name: "Conversation", icon: "chat" },
  terminal: { name: "Terminal", icon: "terminal" },
  files: { name: "Files", icon: "folder" },
  changes: { name: "Changes", icon: "edit" },
  runs: { name: "History", icon: "history" },
};

interface NavProps {
  readonly slug: string;
  readonly view: View;
  readonly asking: boolean;
}

export function IdeaNav({ slug, view, asking }: NavProps) {
  return (
    <nav class="idea-nav" aria-label="Views of this idea">
      {(Object.keys(names) as View[]).map((each) => (
        <Link key={each} to={ideaPath(slug, each)} current={each === view} testId={`view-${each}`}>
          <Icon name={names[each].icon} />
          <span>{names[each].name}</span>
          {each === "chat" && asking && view !== "chat" && (
            <span class="nav-dot">
              <span class="visually-hidden">Claude asks</span>
            </span>
          )}
        </Link>
      ))}
    </nav>
  );
}
