// Lines of a change, added and removed.

import type { DiffLine } from "./tool-input";

const LINE_LIMIT = 400;

export function DiffLines({ lines, label }: { readonly lines: readonly DiffLine[]; readonly label: string }) {
  return (
    <pre class="tool-pre diff" tabIndex={0} aria-label={label}>
      {lines.slice(0, LINE_LIMIT).map((line, index) => (
        <span key={index} class={`diff-${line.sign}`}>
          <span class="diff-sign" aria-hidden="true">
            {line.sign === "added" ? "+" : line.sign === "removed" ? "−" : " "}
          </span>
          {line.text}
          {"\n"}
        </span>
      ))}
      {lines.length > LINE_LIMIT && `… ${lines.length - LINE_LIMIT} more lines`}
    </pre>
  );
}
