//! The ideas: folders on the VM, `<base>/<slug>/{meta.json,idea.md,project/}`.
//!
//! A path is only ever made of the base, a [`Slug`] and names of ours, or of a checked [`ProjectPath`]. A folder without
//! a readable `meta.json` is left alone and reported. An idea gets its folder's name when all of it is there. Files are replaced by
//! rename, so a reader sees the old or the new one, and only if they still are what they were read as, so no writer undoes another's. The list is fetched anew for
//! every reader, but one fetch serves all who asked before it began.

mod edit;
mod error;
mod files;
mod idea;
mod lister;
mod listing;
mod project;
#[cfg(test)]
mod scripts;
mod slug;
mod trash;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use catalyst_ssh::Lane;

pub use edit::Edit;
pub use error::IdeasError;
pub use idea::{Change, Idea, Status, WithContent, is_identifier};
pub use listing::{Damaged, Listing};
pub use project::{Changed, Changes, Entry, FileHead, Folder, Kind, PIECE, ProjectPath};
pub use slug::Slug;
pub use trash::{TrashName, Trashed};

use super::Remote;
use files::{Attempt, Files};
use lister::{Lister, Place};

const META_LIMIT: u64 = 256 * 1024;
const CONTENT_LIMIT: u64 = 8 * 1024 * 1024;
const NAMES_TRIED: u32 = 1000;

/// Says what is wrong with the folder `$1`, or with the nearest one above it that exists; writes nothing. A folder that
/// is not there yet is fine where it can be made.
const LOOK: &str = r#"at=$1
while [ ! -e "$at" ] && [ ! -L "$at" ]; do
  case $at in */*) at=${at%/*} ;; *) break ;; esac
  at=${at:-/}
done
if [ ! -d "$at" ]; then echo "$at is not a folder"
elif [ ! -w "$at" ] || [ ! -x "$at" ]; then echo "$(id -un 2>/dev/null) may not write in $at"
fi"#;

/// Removes `$1`, of which nothing came, and those like it below `$2` that were left by whoever could not. It loses its name before: it may
/// still be on its way to its final one, where the disk hangs, which then has all of it or finds nothing.
const CLEAR: &str = r#"mv -- "$1" "$1.gone" && rm -rf -- "$1.gone"
find "$2" -maxdepth 1 -type d -name '.new-*' -mmin +60 -exec rm -rf {} +"#;

/// The ideas on one VM.
pub struct Ideas {
    remote: Arc<Remote>,
    files: Files,
    asked: AtomicU64,
    fetched: tokio::sync::Mutex<Option<Fetched>>,
    lister: Lister,
    latest: Mutex<Option<Arc<Listing>>>,
    slug_of: Mutex<HashMap<String, Slug>>,
    writing: tokio::sync::Mutex<()>,
}

/// The outcome of a fetch that began after `asked` requests had been made: good for all of those.
#[derive(Clone)]
struct Fetched {
    asked: u64,
    outcome: Result<Arc<Listing>, IdeasError>,
}

impl Ideas {
    /// Nothing is read yet.
    pub fn new(remote: Arc<Remote>) -> Arc<Ideas> {
        Arc::new(Ideas {
            files: Files::new(remote.clone()),
            lister: Lister::new(remote.clone()),
            latest: Mutex::default(),
            remote,
            asked: AtomicU64::new(0),
            fetched: tokio::sync::Mutex::new(None),
            slug_of: Mutex::default(),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// All ideas, as they are on the VM at a moment after the call.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn list(&self) -> Result<Arc<Listing>, IdeasError> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let mut fetched = self.fetched.lock().await;
        if let Some(done) = fetched.as_ref().filter(|done| done.asked >= mine) {
            return done.outcome.clone();
        }
        let asked = self.asked.load(Ordering::SeqCst);
        let outcome = self.fetch().await;
        *fetched = Some(Fetched { asked, outcome: outcome.clone() });
        outcome
    }

    /// One idea by id or slug.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`] also for everything that could not be an id.
    pub async fn get(&self, id_or_slug: &str) -> Result<Idea, IdeasError> {
        let slug = Slug::accept(id_or_slug);
        if slug.is_none() && !is_identifier(id_or_slug) {
            return Err(IdeasError::NotFound);
        }
        // No folder that is made of a title looks like a UUID, so that one is looked for by its id first.
        let is_uuid = uuid::Uuid::parse_str(id_or_slug).is_ok();
        if is_uuid && let Some(idea) = self.remembered(id_or_slug).await? {
            return Ok(idea);
        }
        if let Some(slug) = slug
            && let Some(idea) = self.read(&slug).await?
        {
            return Ok(idea);
        }
        if !is_uuid && let Some(idea) = self.remembered(id_or_slug).await? {
            return Ok(idea);
        }
        let listing = self.list().await?;
        listing.ideas.iter().find(|idea| idea.id == id_or_slug).cloned().ok_or(IdeasError::NotFound)
    }

    /// The idea of this id, if it still lies where it was seen last.
    async fn remembered(&self, id: &str) -> Result<Option<Idea>, IdeasError> {
        let Some(slug) = self.slugs().get(id).cloned() else { return Ok(None) };
        Ok(self.read(&slug).await?.filter(|idea| idea.id == id))
    }

    /// One idea by id or slug, with its text.
    ///
    /// # Errors
    /// As [`Ideas::get`].
    pub async fn get_with_content(&self, id_or_slug: &str) -> Result<WithContent, IdeasError> {
        let idea = self.get(id_or_slug).await?;
        let content = self.content(&folder(&idea)?).await?;
        Ok(WithContent::new(idea, content.as_deref()))
    }

    /// The bytes of `idea.md`; `None` when there is none.
    async fn content(&self, slug: &Slug) -> Result<Option<Vec<u8>>, IdeasError> {
        let path = format!("{}/{slug}/idea.md", self.remote.base().await?);
        self.files.with("read idea.md", async |sftp| files::read(&sftp, &path, CONTENT_LIMIT).await).await
    }

    /// A new idea in a folder of its own.
    ///
    /// # Errors
    /// When the VM cannot be asked or refuses to write. Nothing of it is left then, or only what no reader takes for an idea; after
    /// [`IdeasError::TimedOut`] and [`IdeasError::Broken`] all of it may be there, as carried out after nobody waited any more.
    pub async fn create(&self, title: &str, content: &str) -> Result<Idea, IdeasError> {
        let base = self.remote.base().await?;
        self.make_base(&base).await?;
        let made = format!("{base}/.new-{}", uuid::Uuid::new_v4());
        match self.create_in(&base, &made, title, content).await {
            Ok((idea, slug)) => {
                self.slugs().insert(idea.id.clone(), slug);
                Ok(idea)
            }
            Err(error) => {
                let error = self.explained(error).await;
                let remote = Arc::clone(&self.remote);
                // Nobody waits for that: the VM may be away.
                tokio::spawn(async move {
                    let cleared = remote.sh(Lane::Bulk, CLEAR, &[&made, &base], b"").await;
                    tracing::debug!(?cleared, "what was made of a new idea is cleared away");
                });
                Err(error)
            }
        }
    }

    /// Makes all of the idea in the hidden folder `made`, which then gets its name: it is there at once or not at all, and uses up no
    /// name until then.
    async fn create_in(&self, base: &str, made: &str, title: &str, content: &str) -> Result<(Idea, Slug), IdeasError> {
        let gone = || IdeasError::refused("write the idea", "its folder has gone");
        let written = self.files.with("write the idea", async |sftp| {
            match sftp.create_dir(made).await {
                // An attempt whose session broke may have made it.
                Err(_) if sftp.try_exists(made).await? => {}
                other => other?,
            }
            files::write(&sftp, &format!("{made}/idea.md"), content.as_bytes()).await?;
            let _existing = sftp.create_dir(format!("{made}/project")).await;
            Ok(())
        });
        written.await?.ok_or_else(gone)?;
        let mut idea = None;
        for attempt in 0..NAMES_TRIED {
            let slug = Slug::of_title(title, attempt);
            let idea = idea.get_or_insert_with(|| Idea::new(&slug, title));
            slug.as_str().clone_into(&mut idea.slug);
            let (place, meta) = (format!("{base}/{slug}"), idea.to_meta());
            let named = self.files.with("write the idea", async |sftp| {
                if sftp.symlink_metadata(&place).await.is_ok() {
                    // Somebody else's, unless an attempt whose session broke was carried out.
                    return Ok(!sftp.try_exists(made).await?);
                }
                files::write(&sftp, &format!("{made}/meta.json"), &meta).await?;
                match sftp.rename(made, &place).await {
                    // Taken meanwhile: two who create the same title at once get two folders.
                    Err(_) if sftp.symlink_metadata(&place).await.is_ok() => Ok(!sftp.try_exists(made).await?),
                    other => Ok(other.map(|()| true)?),
                }
            });
            if named.await?.ok_or_else(gone)? {
                return Ok((idea.clone(), slug));
            }
        }
        Err(IdeasError::refused("create the idea's folder", "too many ideas have this title; choose another"))
    }

    /// The VM's refusal, with what is wrong with the folder if that is why: over SFTP it says only that it failed.
    async fn explained(&self, error: IdeasError) -> IdeasError {
        let IdeasError::Refused { what, cause } = error else { return error };
        let cause = self.folder_problem().await.ok().flatten().unwrap_or(cause);
        IdeasError::Refused { what, cause }
    }

    /// What keeps ideas from being written, with the remedy; `None` when nothing does. Nothing is written to find out.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn folder_problem(&self) -> Result<Option<String>, IdeasError> {
        let base = self.remote.base().await?;
        let looked = self.remote.sh(Lane::Interactive, LOOK, &[&base], b"").await?;
        let seen = String::from_utf8_lossy(&looked.stdout);
        let seen: String = seen.trim().chars().filter(|c| !c.is_control()).take(300).collect();
        Ok((!seen.is_empty()).then(|| {
            format!(
                "The ideas folder {base} cannot be used: {seen}. Correct IDEAS_BASE_PATH (ssh.ideasBasePath), or the \
                 folder's owner and mode on the VM."
            )
        }))
    }

    async fn fetch(&self) -> Result<Arc<Listing>, IdeasError> {
        let answer = self.lister.ask(Place::Ideas).await?;
        if let Some(same) = self.latest().filter(|listing| listing.is_of(&answer)) {
            return Ok(same);
        }
        let listing = Arc::new(Listing::read(answer));
        *self.slugs() = listing.slugs();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(listing.clone());
        Ok(listing)
    }

    fn latest(&self) -> Option<Arc<Listing>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The idea in a folder; `None` when there is no folder or no `meta.json`.
    async fn read(&self, slug: &Slug) -> Result<Option<Idea>, IdeasError> {
        Ok(self.read_meta(slug).await?.map(|(idea, _)| idea))
    }

    /// The same with the bytes of `meta.json`.
    async fn read_meta(&self, slug: &Slug) -> Result<Option<(Idea, Vec<u8>)>, IdeasError> {
        let folder = format!("{}/{slug}", self.remote.base().await?);
        let path = format!("{folder}/meta.json");
        let read = self.files.with("read the idea", async |sftp| {
            // A link could lead anywhere. All is asked for at once.
            let (kind, meta_kind, read) = futures::join!(
                sftp.symlink_metadata(&folder),
                sftp.symlink_metadata(&path),
                files::read(&sftp, &path, META_LIMIT)
            );
            if !kind?.is_dir() || meta_kind?.file_type().is_symlink() {
                return Err(Attempt::Missing);
            }
            match read {
                Err(Attempt::Refused(cause)) => Ok(Err(cause)),
                other => other.map(Ok),
            }
        });
        let damaged = |problem: String| IdeasError::Damaged { slug: slug.to_string(), path: path.clone(), problem };
        match read.await? {
            None => Ok(None),
            Some(Err(cause)) => Err(damaged(cause)),
            Some(Ok(bytes)) => Idea::from_meta(slug, &bytes).map(|idea| Some((idea, bytes))).map_err(damaged),
        }
    }

    async fn make_base(&self, base: &str) -> Result<(), IdeasError> {
        let there = self.files.with("look for the ideas folder", async |sftp| Ok(sftp.try_exists(base).await?)).await?;
        if there == Some(true) {
            return Ok(());
        }
        let done = self.remote.sh(Lane::Interactive, r#"mkdir -p -- "$1""#, &[base], b"").await?;
        if done.status == Some(0) {
            return Ok(());
        }
        let cause = String::from_utf8_lossy(&done.stderr).trim().chars().take(200).collect::<String>();
        Err(IdeasError::refused(&format!("create the ideas folder {base} (IDEAS_BASE_PATH)"), &cause))
    }

    fn slugs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slug>> {
        self.slug_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The idea's folder, checked once more where a path is made of it.
fn folder(idea: &Idea) -> Result<Slug, IdeasError> {
    Slug::accept(&idea.slug).ok_or(IdeasError::NotFound)
}

/// What the VM said when it refused: its last line, without what terminals obey.
fn last_line(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let line = said.lines().next_back().unwrap_or("no reason given");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}
