// Changes an idea's title and text. Whoever saves second sees both versions and decides; neither is lost.

import { useEffect, useRef, useState } from "preact/hooks";
import { api, type Versioned } from "../api";
import { explain } from "../http";
import { Icon } from "../icons";
import { DiffLines } from "../session/diff";
import { changedLines } from "../session/tool-input";

interface EditProps {
  readonly known: Versioned;
  readonly onSaved: (now: Versioned) => void;
}

export function EditButton(props: EditProps) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="icon-button" aria-label="Edit this idea" title="Edit" data-testid="idea-edit" onClick={() => setOpen(true)}>
        <Icon name="edit" />
      </button>
      {open && <EditDialog {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

function EditDialog({ known, onSaved, onClose }: EditProps & { readonly onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  // What the text was when the editing began, and what somebody else has made of it since.
  const [base, setBase] = useState(known);
  const [theirs, setTheirs] = useState<Versioned>();
  const [title, setTitle] = useState(known.idea.title);
  const [content, setContent] = useState(known.idea.content ?? "");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  useEffect(() => dialog.current?.showModal(), []);

  const changed = title !== base.idea.title || content !== (base.idea.content ?? "");
  const mayLeave = () => !changed || confirm("Discard what you changed?");
  const save = async () => {
    if (title.trim() === "" || content.trim() === "") return setError("An idea needs a title and a text.");
    setBusy(true);
    setError(undefined);
    try {
      const saved = await api.update(base.idea.slug, { title: title.trim(), content }, base.etag);
      if (saved.kind === "saved") {
        onSaved(saved.now);
        onClose();
        return;
      }
      // Saving again now means: over what is there, which the person has before their eyes.
      setTheirs(saved.now);
      setBase(saved.now);
    } catch (problem) {
      setError(explain(problem));
    }
    setBusy(false);
  };

  return (
    <dialog
      ref={dialog}
      class="dialog dialog-wide"
      aria-labelledby="edit-title"
      onCancel={(event) => {
        if (!mayLeave()) event.preventDefault();
      }}
      onClose={onClose}
    >
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void save();
        }}
      >
        <h2 id="edit-title">Edit the idea</h2>
        {theirs && <Conflict theirs={theirs} title={title} content={content} onTake={(taken) => (setTitle(taken.idea.title), setContent(taken.idea.content ?? ""))} />}
        <div class="field">
          <label for="edit-name">Title</label>
          <input id="edit-name" value={title} maxLength={500} data-testid="edit-title" onInput={(event) => setTitle(event.currentTarget.value)} />
        </div>
        <div class="field">
          <label for="edit-content">What is it about?</label>
          <textarea id="edit-content" rows={10} value={content} data-testid="edit-content" onInput={(event) => setContent(event.currentTarget.value)} />
        </div>
        {error && (
          <p class="field-error" role="alert" data-testid="error">
            <Icon name="alert" /> <span>{error}</span>
          </p>
        )}
        <div class="form-actions">
          <button type="button" onClick={() => mayLeave() && onClose()}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={busy || !changed} data-testid="edit-save">
            {busy ? "Saving…" : theirs ? "Save mine over it" : "Save"}
          </button>
        </div>
      </form>
    </dialog>
  );
}

interface ConflictProps {
  readonly theirs: Versioned;
  readonly title: string;
  readonly content: string;
  readonly onTake: (theirs: Versioned) => void;
}

function Conflict({ theirs, title, content, onTake }: ConflictProps) {
  const { idea } = theirs;
  return (
    <section class="conflict" role="alert" data-testid="conflict">
      <p>
        <strong>Somebody else has saved meanwhile.</strong> Nothing of yours was written yet. Below is how yours differs from theirs; yours is still in the fields.
      </p>
      {idea.title !== title && (
        <p>
          Their title: <em>{idea.title}</em>
        </p>
      )}
      <DiffLines lines={changedLines(idea.content ?? "", content)} label="Theirs, changed to yours" />
      <details>
        <summary class="link">Their whole text</summary>
        <pre class="tool-pre" tabIndex={0} data-testid="conflict-theirs">
          {idea.content}
        </pre>
      </details>
      <button type="button" class="small" onClick={() => onTake(theirs)}>
        Put theirs into the fields
      </button>
    </section>
  );
}
