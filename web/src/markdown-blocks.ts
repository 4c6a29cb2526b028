// Splits markdown into its top-level blocks. While a text grows only its end is read again, or a long answer would
// cost more with every word.

import { marked, type Token } from "marked";

export interface Blocks {
  readonly text: string;
  readonly tokens: readonly Token[];
}

/** So many blocks at the end may still change by what follows; one would do, two are sure. */
const UNSETTLED = 2;

export function readBlocks(text: string): Blocks {
  const plain = text.replace(/\r\n?/g, "\n");
  return { text: plain, tokens: marked.lexer(plain) };
}

/** The blocks of `text`, which mostly is `before` with more at its end. Links by reference are resolved only by `readBlocks`. */
export function growBlocks(before: Blocks, text: string): Blocks {
  const plain = text.replace(/\r\n?/g, "\n");
  if (!plain.startsWith(before.text)) return readBlocks(text);
  let keep = before.tokens.length;
  let open = before.text.length;
  for (let unsettled = 0; keep > 0 && unsettled < UNSETTLED; ) {
    keep--;
    const token = before.tokens[keep];
    open -= token?.raw.length ?? 0;
    if (token?.type !== "space") unsettled++;
  }
  const end = before.tokens[keep];
  // The sources of the blocks make up the text; where they do not, all is read.
  if (!end || open < 0 || !plain.startsWith(end.raw, open)) return readBlocks(text);
  return { text: plain, tokens: [...before.tokens.slice(0, keep), ...marked.lexer(plain.slice(open))] };
}
