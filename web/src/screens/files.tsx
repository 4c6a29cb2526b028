// What was built, to look at: folders, and files as text. A file is never shown as a page; it is read as bytes and drawn
// as text, or downloaded.

import { useEffect, useState } from "preact/hooks";
import { ago, size } from "../format";
import { explain } from "../http";
import { Icon, type IconName } from "../icons";
import { type FileView, type Listing, project, type ProjectEntry } from "../project";
import { ideaPath, Link } from "../router";

type Shown =
  | { readonly kind: "loading" }
  | { readonly kind: "folder"; readonly listing: Listing }
  | { readonly kind: "file"; readonly file: FileView }
  | { readonly kind: "problem"; readonly text: string };

export function FilesView({ slug, path }: { readonly slug: string; readonly path: string }) {
  const [shown, setShown] = useState<Shown>({ kind: "loading" });
  const [round, setRound] = useState(0);

  useEffect(() => {
    let live = true;
    setShown({ kind: "loading" });
    void look(slug, path).then((found) => live && setShown(found));
    return () => {
      live = false;
    };
  }, [slug, path, round]);

  return (
    <section class="files" aria-label="Files" aria-busy={shown.kind === "loading"}>
      <div class="files-head">
        <Crumbs slug={slug} path={path} />
        <span class="bar-space" />
        {shown.kind === "file" && (
          <a class="button small" href={project.fileUrl(slug, path)} download="" data-testid="file-download">
            <Icon name="download" /> Download
          </a>
        )}
        <button type="button" class="icon-button" aria-label="Read again" title="Read again" onClick={() => setRound(round + 1)}>
          <Icon name="refresh" />
        </button>
      </div>
      <Content slug={slug} path={path} shown={shown} />
    </section>
  );
}

/** The address does not say whether it names a folder or a file: its folder does. */
async function look(slug: string, path: string): Promise<Shown> {
  try {
    const at = path.lastIndexOf("/");
    const [parent, name] = at < 0 ? ["", path] : [path.slice(0, at), path.slice(at + 1)];
    if (name === "") return { kind: "folder", listing: sorted(await project.list(slug, "")) };
    const entry = (await project.list(slug, parent)).entries.find((each) => each.name === name);
    if (entry?.kind === "file") return { kind: "file", file: await project.view(slug, path) };
    if (entry?.kind === "link") return { kind: "problem", text: "This is a link. Links are not followed here; the terminal can." };
    return { kind: "folder", listing: sorted(await project.list(slug, path)) };
  } catch (problem) {
    return { kind: "problem", text: explain(problem) };
  }
}

function sorted(listing: Listing): Listing {
  const rank = (each: ProjectEntry) => (each.kind === "folder" ? 0 : 1);
  return { ...listing, entries: listing.entries.toSorted((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name)) };
}

function Crumbs({ slug, path }: { readonly slug: string; readonly path: string }) {
  const parts = path === "" ? [] : path.split("/");
  return (
    <nav class="crumbs" aria-label="Folders">
      <Link to={ideaPath(slug, "files")} current={parts.length === 0}>
        project
      </Link>
      {parts.map((part, index) => (
        <span key={index}>
          <span aria-hidden="true"> / </span>
          <Link to={ideaPath(slug, "files", parts.slice(0, index + 1).join("/"))} current={index === parts.length - 1}>
            {part}
          </Link>
        </span>
      ))}
    </nav>
  );
}

const icons: Readonly<Record<ProjectEntry["kind"], IconName>> = { folder: "folder", file: "file", link: "globe", other: "question" };

function Content({ slug, path, shown }: { readonly slug: string; readonly path: string; readonly shown: Shown }) {
  switch (shown.kind) {
    case "loading":
      return <p class="muted" role="status">Reading…</p>;
    case "problem":
      return (
        <div class="notice notice-error" role="alert" data-testid="error">
          <Icon name="alert" />
          <p>{shown.text}</p>
        </div>
      );
    case "file":
      return <FileContent file={shown.file} />;
    case "folder":
      if (shown.listing.entries.length === 0) return <p class="empty muted">{path === "" ? "Nothing was built yet." : "This folder is empty."}</p>;
      return (
        <>
          <ul class="file-list">
            {shown.listing.entries.map((entry) => (
              <li key={entry.name}>
                <Link to={ideaPath(slug, "files", path === "" ? entry.name : `${path}/${entry.name}`)} class="file-entry" testId="file-entry">
                  <Icon name={icons[entry.kind]} />
                  <span class="file-name">{entry.name}</span>
                  <span class="file-facts">
                    {entry.kind === "file" && entry.size !== undefined && <span>{size(entry.size)}</span>}
                    {entry.modifiedAt && <time dateTime={entry.modifiedAt}>{ago(entry.modifiedAt)}</time>}
                  </span>
                </Link>
              </li>
            ))}
          </ul>
          {shown.listing.truncated && <p class="muted">There is more in this folder than is shown here; the terminal shows all.</p>}
        </>
      );
  }
}

function FileContent({ file }: { readonly file: FileView }) {
  if (file.text === undefined) return <p class="empty muted">This is no text ({size(file.size)}). Download it to look at it.</p>;
  return (
    <>
      <pre class="file-text" tabIndex={0} aria-label="Content" data-testid="file-text">
        {file.text === "" ? <span class="muted">The file is empty.</span> : file.text}
      </pre>
      {file.truncated && <p class="muted">The beginning of {size(file.size)}. Download it to see all.</p>}
    </>
  );
}
