// Markdown as elements, never as HTML: the text is parsed to tokens and each token becomes a node, so what Claude (or
// a file that it read) writes cannot bring markup, scripts or remote content into the page. HTML shows as text,
// links go to http, https and mailto alone, images become links.

import type { MarkedToken, Token, Tokens } from "marked";
import { Component, type ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "./icons";
import { type Blocks, growBlocks, readBlocks } from "./markdown-blocks";

interface MarkdownProps {
  readonly text: string;
  /** More may follow. */
  readonly growing?: boolean;
}

export function Markdown({ text, growing = false }: MarkdownProps) {
  const last = useRef<Blocks | undefined>(undefined);
  const blocks = useMemo(() => (growing && last.current ? growBlocks(last.current, text) : readBlocks(text)), [text, growing]);
  last.current = blocks;
  return (
    <div class="prose">
      {blocks.tokens.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
}

/** While text streams only its last block changes: the others are known by their source and not drawn again. */
class Block extends Component<{ readonly token: Token }> {
  override shouldComponentUpdate(next: { readonly token: Token }): boolean {
    return next.token.raw !== this.props.token.raw || next.token.type !== this.props.token.type;
  }
  override render() {
    return <>{node(this.props.token)}</>;
  }
}

function nodes(tokens: readonly Token[] | undefined): ComponentChildren {
  return tokens?.map(node);
}

function node(generic: Token): ComponentChildren {
  const token = generic as MarkedToken;
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "paragraph":
      return <p>{nodes(token.tokens)}</p>;
    case "heading":
      return heading(token);
    case "code":
      return <CodeBlock code={token.text} language={token.lang?.split(/\s/)[0] ?? ""} />;
    case "blockquote":
      return <blockquote>{nodes(token.tokens)}</blockquote>;
    case "hr":
      return <hr />;
    case "list":
      return token.ordered ? <ol start={token.start || 1}>{token.items.map(item)}</ol> : <ul>{token.items.map(item)}</ul>;
    case "table":
      return table(token);
    case "checkbox":
      return <input type="checkbox" checked={token.checked} disabled aria-label={token.checked ? "done" : "to do"} />;
    case "text":
      return token.tokens ? nodes(token.tokens) : unescape(token.text);
    case "escape":
      return token.text;
    case "strong":
      return <strong>{nodes(token.tokens)}</strong>;
    case "em":
      return <em>{nodes(token.tokens)}</em>;
    case "del":
      return <del>{nodes(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "br":
      return <br />;
    case "link":
      return link(token.href, nodes(token.tokens));
    case "image":
      return link(token.href, token.text || token.href);
    default:
      return generic.raw;
  }
}

/** Headings begin at h3: the page's own titles come before them. */
function heading(token: Tokens.Heading): ComponentChildren {
  const Level = token.depth <= 1 ? "h3" : token.depth === 2 ? "h4" : token.depth === 3 ? "h5" : "h6";
  return <Level>{nodes(token.tokens)}</Level>;
}

function item(token: Tokens.ListItem): ComponentChildren {
  return <li class={token.task ? "task" : undefined}>{nodes(token.tokens)}</li>;
}

function table(token: Tokens.Table): ComponentChildren {
  const align = (at: number) => (token.align[at] ? `align-${token.align[at]}` : undefined);
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {token.header.map((cell, at) => (
              <th class={align(at)}>{nodes(cell.tokens)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row) => (
            <tr>
              {row.map((cell, at) => (
                <td class={align(at)}>{nodes(cell.tokens)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function link(href: string, children: ComponentChildren): ComponentChildren {
  if (!isSafeLink(href)) return <span>{children}</span>;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** Only absolute addresses of harmless schemes; a relative one would point into this application. */
export function isSafeLink(href: string): boolean {
  try {
    return ["http:", "https:", "mailto:"].includes(new URL(href).protocol);
  } catch {
    return false;
  }
}

/** The lexer leaves entities as written; a browser would have resolved these. */
function unescape(text: string): string {
  const known: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (whole, name: string) => known[name] ?? whole);
}

export function CodeBlock({ code, language }: { readonly code: string; readonly language: string }) {
  return (
    <div class="code-block">
      <div class="code-head">
        <span>{language || "text"}</span>
        <CopyButton text={code} />
      </div>
      <pre tabIndex={0}>
        <code>{code}</code>
      </pre>
    </div>
  );
}

export function CopyButton({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  // The clipboard is there only on a secure page; a button that cannot work is not offered.
  if (!navigator.clipboard) return null;
  return (
    <button type="button" class="quiet small" onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true), () => {})}>
      <Icon name={copied ? "check" : "copy"} />
      {copied ? "Copied" : "Copy"}
    </button>
  );
}
