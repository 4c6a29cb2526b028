// A question that must be answered before something is ended, deleted or replaced.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { explain } from "./http";
import { Icon } from "./icons";

interface ConfirmProps {
  readonly title: string;
  readonly body: ComponentChildren;
  readonly confirm: string;
  readonly keep: string;
  readonly testId?: string;
  /** A failure is shown, and the dialog stays. */
  readonly onConfirm: () => Promise<void>;
  readonly onClose: () => void;
}

export function ConfirmDialog({ title, body, confirm, keep, testId, onConfirm, onClose }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);

  const carryOut = async () => {
    setBusy(true);
    try {
      await onConfirm();
      onClose();
    } catch (problem) {
      setError(explain(problem));
      setBusy(false);
    }
  };

  return (
    <dialog ref={dialog} class="dialog" aria-labelledby={id} onClose={onClose}>
      <h2 id={id}>{title}</h2>
      <div class="dialog-body">{body}</div>
      {error && (
        <p class="field-error" role="alert" data-testid="error">
          <Icon name="alert" /> <span>{error}</span>
        </p>
      )}
      <div class="form-actions">
        <button type="button" onClick={onClose}>
          {keep}
        </button>
        <button type="button" class="danger" disabled={busy} data-testid={testId ?? "confirm"} onClick={() => void carryOut()}>
          {busy ? "One moment…" : confirm}
        </button>
      </div>
    </dialog>
  );
}
