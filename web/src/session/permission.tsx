// A request for permission: what would be done stands above it in the tool's card; here it is answered. Several may be
// open; each is answered by itself. What somebody else answered is shown as such.

import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Permission } from "../conversation/model";
import type { Answer } from "../protocol";

interface RequestProps {
  readonly permission: Permission;
  readonly name: string;
  /** Answered here, and not yet confirmed. */
  readonly given: Answer | undefined;
  readonly connected: boolean;
  readonly onAnswer: (answer: Answer) => void;
}

export function PermissionRequest({ permission, name, given, connected, onAnswer }: RequestProps) {
  const [refusing, setRefusing] = useState(false);
  const busy = given !== undefined;
  return (
    <div class="permission" role="group" aria-label={`Permission for ${name}`} data-testid="permission" data-request={permission.requestId}>
      <p>
        <strong>Claude asks to use {name}.</strong> {busy ? waitingText(given, connected) : "It waits until somebody answers."}
      </p>
      {refusing && !busy ? (
        <DenyForm label="Tell Claude why, or what to do instead" confirm="Deny" onCancel={() => setRefusing(false)} onDeny={onAnswer} />
      ) : (
        <div class="permission-actions">
          <button type="button" disabled={busy} data-testid="permission-deny" onClick={() => onAnswer({ decision: "deny" })}>
            Deny
          </button>
          <button type="button" class="primary" disabled={busy} data-testid="permission-allow" onClick={() => onAnswer({ decision: "allow" })}>
            Allow
          </button>
        </div>
      )}
      {!refusing && (
        <div class="permission-more">
          {permission.always && (
            <>
              <button type="button" class="small" disabled={busy} data-testid="permission-always" onClick={() => onAnswer({ decision: "always" })}>
                Always allow in this idea
              </button>
              <span class="rules">
                {permission.always.map((rule) => (
                  <code key={rule}>{rule}</code>
                ))}
              </span>
            </>
          )}
          <button type="button" class="small quiet" disabled={busy} data-testid="permission-deny-with" onClick={() => setRefusing(true)}>
            Deny and say why…
          </button>
        </div>
      )}
    </div>
  );
}

export function waitingText({ decision }: Answer, connected: boolean): string {
  if (!connected) return "Your answer is kept and goes out as soon as there is a connection.";
  return decision === "deny" ? "Denying…" : "Allowing…";
}

interface DenyFormProps {
  readonly label: string;
  readonly confirm: string;
  readonly onCancel: () => void;
  readonly onDeny: (answer: Answer) => void;
}

/** A refusal with words for Claude. */
export function DenyForm({ label, confirm, onCancel, onDeny }: DenyFormProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  useEffect(() => field.current?.focus(), []);
  return (
    <form
      class="deny-form"
      onSubmit={(event) => {
        event.preventDefault();
        const message = field.current?.value.trim();
        onDeny({ decision: "deny", ...(message && { message }) });
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") onCancel();
      }}
    >
      <label for={id}>{label}</label>
      <textarea id={id} ref={field} rows={2} data-testid="permission-message" />
      <div class="permission-actions">
        <button type="button" class="quiet" onClick={onCancel}>
          Back
        </button>
        <button type="submit" data-testid="permission-deny-send">
          {confirm}
        </button>
      </div>
    </form>
  );
}
