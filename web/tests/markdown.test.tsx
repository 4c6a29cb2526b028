// @vitest-environment happy-dom
import { render } from "preact";
import { describe, expect, it } from "vitest";
import { isSafeLink, Markdown } from "../src/markdown";
import { growBlocks, readBlocks } from "../src/markdown-blocks";

function draw(text: string): HTMLElement {
  const root = document.createElement("div");
  render(<Markdown text={text} />, root);
  return root;
}

describe("markdown", () => {
  it("becomes elements", () => {
    const root = draw("# Title\n\nSome **bold** and `a < b`.\n\n- one\n- [x] two\n\n```js\nlet a = 1 < 2;\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |");
    expect(root.querySelector("h3")?.textContent).toBe("Title");
    expect(root.querySelector("strong")?.textContent).toBe("bold");
    expect(root.querySelector("p code")?.textContent).toBe("a < b");
    expect(root.querySelectorAll("li")).toHaveLength(2);
    expect(root.querySelector<HTMLInputElement>("li input")?.checked).toBe(true);
    expect(root.querySelector("pre")?.textContent).toBe("let a = 1 < 2;");
    expect(root.querySelector("td.align-right")?.textContent).toBe("2");
  });

  it("shows HTML as text", () => {
    for (const hostile of ["<script>alert(1)</script>", "a <img src=x onerror=alert(1)> b", "<svg onload=alert(1)>", "<a href='javascript:alert(1)'>x</a>", "<style>*{display:none}</style>", "<iframe src=//x>"]) {
      const root = draw(hostile);
      expect(root.querySelector("script, img, svg, a, style, iframe"), hostile).toBeNull();
      expect(root.textContent).toContain(hostile.slice(hostile.indexOf("<")).split("\n")[0]);
    }
  });

  it("links to harmless schemes alone, in a window that cannot reach back", () => {
    const link = draw("[x](https://example.com/a?b=1&c=2)").querySelector("a");
    expect(link?.getAttribute("href")).toBe("https://example.com/a?b=1&c=2");
    expect(link?.rel).toContain("noopener");
    for (const bad of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "\u0001javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "/api/logout", "//evil.example"]) {
      expect(isSafeLink(bad), bad).toBe(false);
      expect(draw(`[x](${bad})`).querySelector("a"), bad).toBeNull();
    }
  });

  it("loads no images: it links to them", () => {
    const root = draw("![a chart](https://example.com/chart.png)");
    expect(root.querySelector("img")).toBeNull();
    expect(root.querySelector("a")?.textContent).toBe("a chart");
  });

  it("can be cut anywhere while it streams", () => {
    const text = "Hi **you**\n\n1. a\n2. `b`\n\n```py\nx = 1\n```\n\n> q\n\n| a |\n|---|\n| 1 |\n\n[l](https://x.example) &amp; <b>";
    const root = document.createElement("div");
    for (let end = 0; end <= text.length; end++) render(<Markdown text={text.slice(0, end)} growing />, root);
    const whole = draw(text);
    expect(root.innerHTML).toBe(whole.innerHTML);
    expect(whole.textContent).toContain("& <b>");
  });

  it("reads a growing text as it reads the whole", () => {
    const texts = [
      "# a\n\npara\nmore\n===\n\n- a\n\n- b\n\n  c\n- d\n\n1. x\n2. y\n\n    code\n\n    code\n\nlast",
      "a\n    b\n\n```\nx\n\ny\n```\n\n> q\nlazy\n\n> r\n\n| a | b |\n|--|--|\n| 1 | 2 |\n| 3 | 4 |\n\n<div>\n\nx\n</div>\n\n***\nend\r\n\r\nof it",
      "~~~md\n```\n~~~\n\n* a\n* * *\n* b\n\n\n\n+ c\n\ttab\n",
    ];
    for (const text of texts) {
      let blocks = readBlocks("");
      for (let end = 0; end <= text.length; end++) {
        blocks = growBlocks(blocks, text.slice(0, end));
        expect(blocks.tokens.map((token) => [token.type, token.raw]), JSON.stringify(text.slice(0, end))).toEqual(readBlocks(text.slice(0, end)).tokens.map((token) => [token.type, token.raw]));
      }
    }
  });

  it("costs the same for the end of a long text as for the end of a short one", () => {
    const long = readBlocks("Some **text** that goes on.\n\n".repeat(5000));
    const grown = growBlocks(long, `${long.text}More.`);
    // Blocks that were read before are taken over, not read again.
    expect(grown.tokens.length).toBeGreaterThan(9000);
    expect(grown.tokens.filter((token, at) => token !== long.tokens[at]).length).toBeLessThan(8);
  });
});
