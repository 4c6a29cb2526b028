// The terminals of an idea as tabs. One that was opened stays connected while another is shown.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import { ConfirmDialog } from "../dialog";
import { Icon } from "../icons";
import { TerminalPane } from "../terminal/pane";
import { loadPreferences, type Preferences, savePreferences } from "../terminal/preferences";
import { mergeTabs, neighbour, nextTab } from "../terminal/tabs";

interface TerminalsProps {
  readonly slug: string;
  /** The page itself has a connection. */
  readonly connected: boolean;
}

export function Terminals({ slug, connected }: TerminalsProps) {
  const [tabs, setTabs] = useState<readonly number[]>([1]);
  const [visited, setVisited] = useState<readonly number[]>([1]);
  const [current, setCurrent] = useState(1);
  const [titles, setTitles] = useState<Readonly<Record<number, string>>>({});
  const [asking, setAsking] = useState<number>();
  const bar = useRef<HTMLDivElement>(null);
  const [preferences, setPreferences] = useState(loadPreferences);

  useEffect(() => {
    api.terminals(slug).then(
      (there) => setTabs((open) => mergeTabs(open, there)),
      // Without the list the first one can be opened all the same.
      () => undefined,
    );
  }, [slug]);

  const show = (number: number) => {
    setVisited((all) => mergeTabs(all, [number]));
    setCurrent(number);
  };
  const remove = (number: number) => {
    const next = neighbour(tabs, number);
    setTabs(tabs.filter((each) => each !== number));
    setVisited(visited.filter((each) => each !== number));
    if (number === current && next !== undefined) show(next);
  };
  const change = (changed: Preferences) => {
    setPreferences(changed);
    savePreferences(changed);
  };
  const free = nextTab(tabs);

  return (
    <div class="terminals">
      <div class="terminal-bar">
        <div class="terminal-tabs" ref={bar} role="group" aria-label="Terminals">
          {tabs.map((number) => (
            <span key={number} class="terminal-tab" data-current={number === current ? "true" : undefined}>
              <button type="button" aria-pressed={number === current} data-testid="terminal-tab" onClick={() => show(number)}>
                {number}
                {titles[number] && <span class="terminal-title">{titles[number]}</span>}
              </button>
              <button type="button" class="terminal-close" aria-label={`End terminal ${number}`} title="End" onClick={() => setAsking(number)}>
                <Icon name="cross" />
              </button>
            </span>
          ))}
          {free !== undefined && (
            <button
              type="button"
              class="icon-button"
              aria-label="New terminal"
              title="New terminal"
              data-testid="terminal-new"
              onClick={() => {
                setTabs(mergeTabs(tabs, [free]));
                show(free);
              }}
            >
              <Icon name="plus" />
            </button>
          )}
        </div>
        <details class="terminal-options">
          <summary>Options</summary>
          <div>
            <label>
              <input type="checkbox" checked={preferences.clipboard} onChange={(event) => change({ ...preferences, clipboard: event.currentTarget.checked })} />
              Programs may write to my clipboard
            </label>
            <label>
              <input type="checkbox" checked={preferences.screenReader} onChange={(event) => change({ ...preferences, screenReader: event.currentTarget.checked })} />
              Read the screen out
            </label>
            <p class="muted">Ctrl+F6 leaves the terminal. Ctrl+C copies while something is selected.</p>
          </div>
        </details>
      </div>
      {visited.map((number) => (
        <TerminalPane
          key={number}
          slug={slug}
          number={number}
          shown={number === current}
          connected={connected}
          preferences={preferences}
          onTitle={(title) => setTitles((all) => ({ ...all, [number]: title }))}
          onOver={() => remove(number)}
          onLeave={() => bar.current?.querySelector<HTMLElement>("[aria-pressed=true]")?.focus()}
        />
      ))}
      {tabs.length === 0 && <p class="empty muted">No terminal is open. The plus above opens one.</p>}
      {asking !== undefined && (
        <ConfirmDialog
          title={`End terminal ${asking}?`}
          body="The shell and all that runs in it are ended. Leaving the page instead keeps them."
          confirm="End it"
          keep="Keep it"
          onClose={() => setAsking(undefined)}
          onConfirm={async () => {
            await api.endTerminal(slug, asking);
            remove(asking);
          }}
        />
      )}
    </div>
  );
}
