// A new idea: a title and what it is about. What was typed survives a reload until it is saved.

import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api";
import type { Connection } from "../connection";
import { drafts } from "../drafts";
import { explain } from "../http";
import { Icon } from "../icons";
import { ideaPath, Link, navigate } from "../router";
import { Shell } from "../shell";

const TITLE_LIMIT = 200;
/** Not slugs, so that no idea's draft is met. */
const TITLE_DRAFT = "/new/title";
const CONTENT_DRAFT = "/new/content";

export function NewIdeaScreen({ connection }: { readonly connection: Connection }) {
  const [title, setTitle] = useState(() => drafts.load(TITLE_DRAFT).text);
  const [content, setContent] = useState(() => drafts.load(CONTENT_DRAFT).text);
  const [missing, setMissing] = useState<"title" | "content">();
  const [error, setError] = useState<string>();
  const [busy, setBusy] = useState(false);
  const titleField = useRef<HTMLInputElement>(null);
  const contentField = useRef<HTMLTextAreaElement>(null);

  useEffect(() => titleField.current?.focus(), []);
  useEffect(() => drafts.saveText(TITLE_DRAFT, title), [title]);
  useEffect(() => drafts.saveText(CONTENT_DRAFT, content), [content]);

  const save = async () => {
    if (title.trim() === "") {
      setMissing("title");
      titleField.current?.focus();
      return;
    }
    if (content.trim() === "") {
      setMissing("content");
      contentField.current?.focus();
      return;
    }
    setBusy(true);
    setError(undefined);
    try {
      const idea = await api.create(title.trim(), content.trim());
      drafts.forget(TITLE_DRAFT);
      drafts.forget(CONTENT_DRAFT);
      navigate(ideaPath(idea.slug), "replace");
    } catch (problem) {
      setError(explain(problem));
      setBusy(false);
    }
  };

  return (
    <Shell connection={connection} title="New idea" back="/">
      <form
        class="stack new-idea"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (!busy) void save();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !busy) void save();
        }}
      >
        <div class="field">
          <label for="title">Title</label>
          <input
            id="title"
            ref={titleField}
            value={title}
            maxLength={TITLE_LIMIT}
            autocomplete="off"
            placeholder="A weather station for the balcony"
            aria-invalid={missing === "title"}
            aria-describedby={missing === "title" ? "title-missing" : undefined}
            data-testid="idea-title"
            onInput={(event) => {
              setTitle(event.currentTarget.value);
              setMissing(undefined);
            }}
          />
          {missing === "title" && <FieldError id="title-missing" text="Give the idea a title." />}
        </div>
        <div class="field">
          <label for="content">What is it about?</label>
          <textarea
            id="content"
            ref={contentField}
            rows={9}
            value={content}
            placeholder="What should it do, for whom, and what do you know already? Markdown is fine."
            aria-invalid={missing === "content"}
            aria-describedby={missing === "content" ? "content-missing" : undefined}
            data-testid="idea-content"
            onInput={(event) => {
              setContent(event.currentTarget.value);
              setMissing(undefined);
            }}
          />
          {missing === "content" && <FieldError id="content-missing" text="Write a few words about it: this is what Claude starts from." />}
        </div>
        {error && (
          <div class="notice notice-error" role="alert" data-testid="error">
            <Icon name="alert" />
            <p>{error} What you typed is kept.</p>
          </div>
        )}
        <div class="form-actions">
          <Link to="/" class="button">
            Cancel
          </Link>
          <button type="submit" class="primary" disabled={busy} data-testid="idea-save">
            {busy ? "Saving…" : "Save idea"}
          </button>
        </div>
      </form>
    </Shell>
  );
}

function FieldError({ id, text }: { readonly id: string; readonly text: string }) {
  return (
    <p class="field-error" id={id} role="alert" data-testid="field-error">
      <Icon name="alert" /> <span>{text}</span>
    </p>
  );
}
