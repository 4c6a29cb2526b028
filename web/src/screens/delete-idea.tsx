// Moves an idea to the trash, after asking.

import { useState } from "preact/hooks";
import { api, type Idea } from "../api";
import { ConfirmDialog } from "../dialog";
import { drafts } from "../drafts";
import { Icon } from "../icons";
import { navigate } from "../router";

export function DeleteButton({ idea, say }: { readonly idea: Idea; readonly say: (text: string) => void }) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <button type="button" class="icon-button" aria-label="Delete this idea" title="Delete" data-testid="idea-delete" onClick={() => setAsking(true)}>
        <Icon name="trash" />
      </button>
      {asking && (
        <ConfirmDialog
          title={`Delete “${idea.title}”?`}
          body="The idea, its conversation and what was built are moved to the trash. A run that is under way is ended. Nothing is erased: you can bring it back."
          confirm="Delete"
          keep="Keep it"
          testId="idea-delete-confirm"
          onClose={() => setAsking(false)}
          onConfirm={async () => {
            await api.remove(idea.slug);
            drafts.forget(idea.slug);
            say(`“${idea.title}” was moved to the trash. It can be brought back from there.`);
            navigate("/", "replace");
          }}
        />
      )}
    </>
  );
}
