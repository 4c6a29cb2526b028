// Which terminals an idea has open: a pure list, so that numbers are never doubled and nine is the end.

export const MOST_TERMINALS = 9;

/** What is there on the VM together with what is open here, in order. */
export function mergeTabs(open: readonly number[], there: readonly number[]): readonly number[] {
  const all = [...new Set([...open, ...there])].filter((each) => Number.isInteger(each) && each >= 1 && each <= MOST_TERMINALS);
  return all.toSorted((a, b) => a - b);
}

/** The lowest free number; undefined when all are taken. */
export function nextTab(open: readonly number[]): number | undefined {
  for (let number = 1; number <= MOST_TERMINALS; number++) if (!open.includes(number)) return number;
  return undefined;
}

/** Which to show when `closed` goes: the one after it, else the one before. */
export function neighbour(open: readonly number[], closed: number): number | undefined {
  return open.find((each) => each > closed) ?? open.findLast((each) => each < closed);
}
