// What a program in the terminal may ask of the page by escape sequences. The answer to all that is not listed is no.

/** Of a link (OSC 8, or an address in the text); undefined when it must not be opened. */
export function allowedLink(text: string): URL | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  return ["http:", "https:", "mailto:"].includes(url.protocol) ? url : undefined;
}

/** Longer texts are not put into the clipboard by a program. */
const CLIPBOARD_LIMIT = 1024 * 1024;

/** The text that an OSC 52 sequence wants to write; undefined for a question ("?"), which is never answered, and for nonsense. */
export function clipboardWrite(data: string): string | undefined {
  const at = data.indexOf(";");
  const payload = data.slice(at + 1);
  if (at < 0 || payload === "" || payload === "?" || payload.length > (CLIPBOARD_LIMIT * 4) / 3) return undefined;
  try {
    const bytes = Uint8Array.from(atob(payload), (each) => each.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** A title that a program set, fit to be shown: one line, no control characters or direction overrides. */
export function cleanTitle(title: string): string {
  return title.replace(/[\p{Cc}\p{Cf}]/gu, "").slice(0, 80);
}
