// xterm.js under a content security policy without inline styles: where it writes a style attribute it is made to use
// the element's style object, and in place of <style> elements it gets ones that `terminal/styles.ts` turns into
// constructed sheets. The build fails when a release of xterm.js does not have exactly these places.

const PLACES = [
  { find: '.setAttribute("style",`${t.getAttribute("style")||""}${e};`)', write: ".style.cssText+=`${e};`", times: 1 },
  { find: 'createElement("style")', write: 'createElement("terminal-style")', times: 3 },
];

export function withoutInlineStyles(code) {
  let result = code;
  for (const { find, write, times } of PLACES) {
    const parts = result.split(find);
    if (parts.length !== times + 1) throw new Error(`xterm.js has ${parts.length - 1} times ${find}, not ${times}: look at dev/xterm-policy.mjs`);
    result = parts.join(write);
  }
  if (/setAttribute\(["'`]style/.test(result)) throw new Error("xterm.js sets style attributes elsewhere too: look at dev/xterm-policy.mjs");
  return result;
}
