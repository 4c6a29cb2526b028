// Where one writes to Claude: chat or build, send, stop. What is typed is kept in this browser until it is sent.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { drafts } from "../drafts";
import { Icon } from "../icons";
import type { IdeaSession } from "../idea-session";
import type { Mode } from "../protocol";
import { BuildModeChoice, buildModes } from "./build-mode";

interface ComposerProps {
  readonly slug: string;
  readonly session: IdeaSession;
  readonly connected: boolean;
  readonly busy: boolean;
  readonly turnOpen: boolean;
  /** Names the turn that is running, so that a stop is of this turn and not of the next. */
  readonly turn: string | undefined;
  /** Nothing has been said about this idea yet. */
  readonly fresh: boolean;
  /** What failed last; it may be the stop. */
  readonly notice: string | undefined;
}

const modes: Readonly<Record<Mode, { readonly name: string; readonly hint: string; readonly placeholder: string }>> = {
  chat: { name: "Chat", hint: "Claude reads and answers; it changes nothing.", placeholder: "Ask Claude about this idea" },
  build: { name: "Build", hint: "Claude may write files and run commands on the dev-VM.", placeholder: "What should Claude build?" },
};

/** What the server takes. */
const LONGEST_BYTES = 8 * 1024 * 1024;

/** A character is at most three bytes long, two of its halves four: most texts need not be measured. */
export function isTooLong(text: string): boolean {
  return text.length > LONGEST_BYTES / 3 && new Blob([text]).size > LONGEST_BYTES;
}

const starters: readonly { readonly mode: Mode; readonly text: string }[] = [
  { mode: "chat", text: "What is missing in this idea? Ask me the three questions that matter most." },
  { mode: "chat", text: "Suggest the smallest first version that is worth having." },
  { mode: "build", text: "Build the smallest first version, with a README that says how to run it." },
];

export function Composer({ slug, session, connected, busy, turnOpen, turn, fresh, notice }: ComposerProps) {
  const [draft, setDraft] = useState(() => drafts.load(slug));
  const [stopping, setStopping] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => drafts.save(slug, draft), [slug, draft]);
  useEffect(() => setStopping(false), [busy, connected, turn]);
  useEffect(() => {
    if (notice) setStopping(false);
  }, [notice]);
  useEffect(() => {
    // A keyboard that pops up unasked hides half of a phone's screen.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, []);

  // Grows with its text, up to the limit that the style sheet sets.
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [draft.text]);

  const tooLong = isTooLong(draft.text);
  const send = () => {
    const text = draft.text.trim();
    if (text === "" || tooLong) return;
    session.send(draft.mode, text, draft.buildMode);
    setDraft({ ...draft, text: "" });
    field.current?.focus();
  };

  const { placeholder } = modes[draft.mode];
  const hint = draft.mode === "build" ? buildModes[draft.buildMode].hint : modes.chat.hint;
  return (
    <div class="composer-place">
      {fresh && (
        <div class="starters" aria-label="Ways to begin">
          {starters.map((starter) => (
            <button
              key={starter.text}
              type="button"
              class="starter"
              onClick={() => {
                setDraft({ ...draft, ...starter });
                field.current?.focus();
              }}
            >
              <Icon name={starter.mode} />
              {starter.text}
            </button>
          ))}
        </div>
      )}
      <form
        class="composer"
        data-mode={draft.mode}
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label class="visually-hidden" for="message">
          {placeholder}
        </label>
        <textarea
          id="message"
          ref={field}
          rows={1}
          value={draft.text}
          placeholder={placeholder}
          enterkeyhint="send"
          aria-describedby="composer-hint"
          data-testid="chat-input"
          onInput={(event) => setDraft({ ...draft, text: event.currentTarget.value })}
          onKeyDown={(event) => {
            // Enter that ends the composition of a character (Japanese, Chinese …) does not send.
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <div class="composer-row">
          <div class="modes" role="group" aria-label="What Claude may do">
            {(Object.keys(modes) as Mode[]).map((mode) => (
              <button
                key={mode}
                type="button"
                class="mode"
                aria-pressed={draft.mode === mode}
                title={modes[mode].hint}
                data-testid={`mode-${mode}`}
                onClick={() => setDraft({ ...draft, mode })}
              >
                <Icon name={mode} />
                {modes[mode].name}
              </button>
            ))}
          </div>
          {draft.mode === "build" && <BuildModeChoice value={draft.buildMode} onChange={(buildMode) => setDraft({ ...draft, buildMode })} />}
          <span class="composer-hint" id="composer-hint">
            {tooLong ? "This is too long: a message can be 8 MiB at most. Put it into a file on the dev-VM instead." : connected ? hint : "Not connected: what you send waits here until it can go."}
          </span>
          {busy && (
            <button
              type="button"
              class="stop"
              disabled={!connected || stopping}
              data-testid="stop"
              onClick={() => {
                setStopping(true);
                session.stop();
              }}
            >
              <Icon name="stop" />
              <span class="stop-name">{stopping ? "Stopping…" : "Stop"}</span>
            </button>
          )}
          <button type="submit" class="send" disabled={draft.text.trim() === "" || tooLong} aria-label={turnOpen ? "Send; Claude reads it after this answer" : "Send"} data-testid="chat-send">
            <Icon name="send" />
          </button>
        </div>
      </form>
    </div>
  );
}
