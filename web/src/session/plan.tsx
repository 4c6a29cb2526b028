// A plan that waits for approval (ExitPlanMode).

import { useState } from "preact/hooks";
import type { Answer } from "../protocol";
import { DenyForm, waitingText } from "./permission";

interface PlanProps {
  readonly requestId: string;
  readonly given: Answer | undefined;
  readonly connected: boolean;
  readonly onAnswer: (answer: Answer) => void;
}

export function PlanApproval({ requestId, given, connected, onAnswer }: PlanProps) {
  const [refusing, setRefusing] = useState(false);
  const busy = given !== undefined;
  return (
    <div class="permission" role="group" aria-label="The plan" data-testid="plan-approval" data-request={requestId}>
      <p>
        <strong>Claude has a plan.</strong> {busy ? waitingText(given, connected) : "It begins when you approve."}
      </p>
      {refusing && !busy ? (
        <DenyForm label="What should be different?" confirm="Send back" onCancel={() => setRefusing(false)} onDeny={onAnswer} />
      ) : (
        <div class="permission-actions">
          <button type="button" disabled={busy} data-testid="plan-refuse" onClick={() => setRefusing(true)}>
            Keep planning…
          </button>
          <button type="button" class="primary" disabled={busy} data-testid="plan-approve" onClick={() => onAnswer({ decision: "allow" })}>
            Approve and build
          </button>
        </div>
      )}
    </div>
  );
}
