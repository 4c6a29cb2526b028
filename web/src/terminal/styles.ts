// The styles of xterm.js as constructed sheets, which a policy without inline styles allows: the build gives it
// <terminal-style> elements in place of <style> (dev/xterm-policy.mjs), whose text is followed here.

/** Follows what is in `place` now and what changes in it. Returns how to stop. */
export function adoptStyles(place: HTMLElement): () => void {
  const sheets = new Map<Element, CSSStyleSheet>();
  const read = () => {
    const found = new Set(place.querySelectorAll("terminal-style"));
    for (const element of found) {
      const sheet = sheets.get(element) ?? new CSSStyleSheet();
      sheets.set(element, sheet);
      sheet.replaceSync(element.textContent ?? "");
    }
    const gone = [...sheets].filter(([element]) => !found.has(element));
    for (const [element] of gone) sheets.delete(element);
    const dropped = new Set(gone.map(([, sheet]) => sheet));
    const others = document.adoptedStyleSheets.filter((sheet) => !dropped.has(sheet) && ![...sheets.values()].includes(sheet));
    document.adoptedStyleSheets = [...others, ...sheets.values()];
  };
  const concerns = ({ target, addedNodes }: MutationRecord) =>
    target.nodeName === "TERMINAL-STYLE" || target.parentNode?.nodeName === "TERMINAL-STYLE" || [...addedNodes].some((node) => node.nodeName === "TERMINAL-STYLE");
  // Rows change with every line that is printed: they are not watched.
  const watch = new MutationObserver((changes) => changes.some(concerns) && read());
  for (const element of place.querySelectorAll("terminal-style")) watch.observe(element, { childList: true, characterData: true, subtree: true });
  for (const screen of place.querySelectorAll(".xterm-screen")) watch.observe(screen, { childList: true });
  read();
  return () => {
    watch.disconnect();
    const own = new Set(sheets.values());
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => !own.has(sheet));
  };
}
