// A unified diff as git prints it, cut into files and lines.

import type { DiffLine } from "./tool-input";

export interface FileDiff {
  readonly name: string;
  readonly lines: readonly DiffLine[];
}

export function splitDiff(diff: string): readonly FileDiff[] {
  const files: { name: string; lines: DiffLine[] }[] = [];
  let inHunk = false;
  for (const line of diff.replace(/\n$/, "").split("\n")) {
    const begun = /^diff --git (?:"?a\/.*?"?) "?b\/(.*?)"?$/.exec(line);
    if (begun) {
      files.push({ name: begun[1] ?? "", lines: [] });
      inHunk = false;
      continue;
    }
    const file = files.at(-1);
    if (!file) continue;
    if (line.startsWith("@@")) {
      inHunk = true;
      file.lines.push({ sign: "same", text: line });
    } else if (!inHunk) {
      // Of the header, only what is no mere repetition of the name.
      if (/^(Binary files|rename |new file|deleted file|old mode|new mode)/.test(line)) file.lines.push({ sign: "same", text: line });
    } else if (line.startsWith("+")) file.lines.push({ sign: "added", text: line.slice(1) });
    else if (line.startsWith("-")) file.lines.push({ sign: "removed", text: line.slice(1) });
    else file.lines.push({ sign: "same", text: line.startsWith(" ") ? line.slice(1) : line });
  }
  return files;
}
