import type { IdeaStatus } from "./api";

export const statusNames: Readonly<Record<IdeaStatus, string>> = { captured: "Captured", chatting: "Chatting", building: "Building", done: "Done" };

export function StatusChip({ status }: { readonly status: IdeaStatus }) {
  return (
    <span class="chip" data-status={status}>
      {statusNames[status] ?? status}
    </span>
  );
}
