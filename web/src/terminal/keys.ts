// What keys mean before a program gets them.

/** Tab belongs to the program, so there must be another way out of the terminal. */
export function keyMeaning(event: Pick<KeyboardEvent, "type" | "key" | "ctrlKey" | "metaKey">, selected: boolean): "copy" | "leave" | "program" {
  if (event.type !== "keydown") return "program";
  if (selected && (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "c") return "copy";
  return event.ctrlKey && event.key === "F6" ? "leave" : "program";
}

/** Ctrl-A is 1, and so on; what has no control character stays as it is. */
export function withCtrl(character: string): string {
  const code = character.toUpperCase().charCodeAt(0);
  if (code >= 0x40 && code < 0x60) return String.fromCharCode(code & 0x1f);
  return character === " " ? "\0" : character;
}
