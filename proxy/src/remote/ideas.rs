//! The ideas: folders on the VM, `<base>/<slug>/{meta.json,idea.md,project/}`, read and written over SFTP.
//!
//! A path is only ever made of the base, a [`Slug`] and names of ours. A folder without a readable `meta.json` is left
//! alone and reported. `meta.json` is replaced by rename, so a reader sees the old or the new one. The list is fetched
//! anew for every reader, but one fetch serves all who asked before it began.

mod files;
mod idea;
mod slug;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use catalyst_ssh::{Failure, Lane};
use futures::StreamExt;

pub use idea::{Change, Idea, Status, is_identifier};
pub use slug::Slug;

use super::{Remote, RemoteError};
use files::{Attempt, Files};

const META_LIMIT: u64 = 256 * 1024;
const CONTENT_LIMIT: u64 = 8 * 1024 * 1024;
const READS_AT_ONCE: usize = 32;
const NAMES_TRIED: u32 = 1000;
const TRASH: &str = ".trash";

/// Replaces a file by what comes on stdin; a reader sees the old or the new one, never a part.
const REPLACE: &str = r#"umask 077
cat >"$1.new.$$" && mv -f -- "$1.new.$$" "$1" && exit 0
rm -f -- "$1.new.$$"; exit 1"#;

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

/// Why something with ideas failed; the text is for the person who asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdeasError {
    /// No idea has this id or slug.
    #[error("Idea not found")]
    NotFound,
    /// The idea's `meta.json` cannot be read.
    #[error("The idea {slug} cannot be read: its meta.json is damaged ({problem}). Repair or remove {path} on the VM")]
    Damaged {
        /// The folder's name.
        slug: String,
        /// Where the file is.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The VM said no.
    #[error("The dev-VM could not {what}: {cause}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the VM said.
        cause: String,
    },
    /// No answer in time.
    #[error("The dev-VM did not {what} in time. It may be overloaded or frozen")]
    TimedOut {
        /// What was tried.
        what: String,
    },
    /// The connection broke, and again when tried anew.
    #[error("The connection to the dev-VM broke while it should {what}. Try again")]
    Broken {
        /// What was tried.
        what: String,
    },
    /// The way to the VM is closed.
    #[error(transparent)]
    Ssh(#[from] Failure),
    /// A script on the VM could not be run.
    #[error("{0}")]
    Remote(RemoteError),
}

impl From<RemoteError> for IdeasError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Ssh(failure) => IdeasError::Ssh(failure),
            other => IdeasError::Remote(other),
        }
    }
}

impl IdeasError {
    fn refused(what: &str, cause: &str) -> IdeasError {
        IdeasError::Refused { what: what.to_owned(), cause: cause.to_owned() }
    }
}

/// All ideas that can be read, newest change first, and the folders that cannot.
#[derive(Debug, Default, PartialEq)]
pub struct Listing {
    /// Newest `updatedAt` first.
    pub ideas: Vec<Idea>,
    /// Folders whose `meta.json` is damaged.
    pub damaged: Vec<String>,
}

/// The ideas on one VM.
pub struct Ideas {
    remote: Arc<Remote>,
    files: Files,
    asked: AtomicU64,
    fetched: tokio::sync::Mutex<Option<Fetched>>,
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
        let outcome = self.fetch().await.map(Arc::new);
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
        if let Some(slug) = slug
            && let Some(idea) = self.read(&slug).await?
        {
            return Ok(idea);
        }
        let remembered = self.slugs().get(id_or_slug).cloned();
        if let Some(slug) = remembered
            && let Some(idea) = self.read(&slug).await?
            && idea.id == id_or_slug
        {
            return Ok(idea);
        }
        let listing = self.list().await?;
        listing.ideas.iter().find(|idea| idea.id == id_or_slug).cloned().ok_or(IdeasError::NotFound)
    }

    /// The idea's text, trimmed; empty when it has none.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn content(&self, idea: &Idea) -> Result<String, IdeasError> {
        let path = format!("{}/{}/idea.md", self.remote.base().await?, folder(idea)?);
        let bytes = self
            .files
            .with("read idea.md", async |sftp| files::read(&sftp, &path, CONTENT_LIMIT).await)
            .await?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A new idea in a folder of its own.
    ///
    /// # Errors
    /// When the VM cannot be asked or refuses to write.
    pub async fn create(&self, title: &str, content: &str) -> Result<Idea, IdeasError> {
        let base = self.remote.base().await?;
        self.make_base(&base).await?;
        let slug = self.claim_folder(&base, title).await?;
        let idea = Idea::new(&slug, title);
        let (folder, meta) = (format!("{base}/{slug}"), idea.to_meta());
        // meta.json comes last and by rename: until then the folder is no idea to any reader.
        self.files
            .with("write the idea", async |sftp| {
                files::write(&sftp, &format!("{folder}/idea.md"), content.as_bytes()).await?;
                let _existing = sftp.create_dir(format!("{folder}/project")).await;
                let (new, place) = (format!("{folder}/meta.json.new"), format!("{folder}/meta.json"));
                files::write(&sftp, &new, &meta).await?;
                match sftp.rename(&new, &place).await {
                    // After a broken session the rename may have been carried out already.
                    Err(_) if sftp.try_exists(&place).await? => Ok(()),
                    other => Ok(other?),
                }
            })
            .await?
            .ok_or_else(|| IdeasError::refused("write the idea", "its folder has gone"))?;
        self.slugs().insert(idea.id.clone(), slug);
        Ok(idea)
    }

    /// Changes an idea; `updatedAt` is set, the folder keeps its name.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], or when the VM cannot be asked or refuses to write.
    pub async fn update(&self, id_or_slug: &str, change: &Change) -> Result<Idea, IdeasError> {
        self.update_if(id_or_slug, |_| Some(change.clone())).await
    }

    /// Changes an idea by what it is at that moment; `None` from `decide` leaves it.
    ///
    /// # Errors
    /// As [`Ideas::update`].
    pub async fn update_if(
        &self,
        id_or_slug: &str,
        decide: impl FnOnce(&Idea) -> Option<Change>,
    ) -> Result<Idea, IdeasError> {
        let _one_writer = self.writing.lock().await;
        let mut idea = self.get(id_or_slug).await?;
        let Some(change) = decide(&idea) else { return Ok(idea) };
        idea.apply(&change);
        idea.touch();
        let path = format!("{}/{}/meta.json", self.remote.base().await?, folder(&idea)?);
        let done = self.remote.sh(Lane::Interactive, REPLACE, &[&path], &idea.to_meta()).await?;
        if done.status != Some(0) {
            let cause = String::from_utf8_lossy(&done.stderr);
            let cause = cause.lines().next_back().unwrap_or("no reason given").chars().take(200).collect::<String>();
            return Err(IdeasError::refused("write meta.json", &cause));
        }
        Ok(idea)
    }

    /// Moves an idea's folder to the trash (`<base>/.trash/`), from where it can be moved back.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], or when the VM cannot be asked or refuses.
    pub async fn delete(&self, id_or_slug: &str) -> Result<(), IdeasError> {
        let idea = self.get(id_or_slug).await?;
        let base = self.remote.base().await?;
        let slug = folder(&idea)?;
        let when = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S");
        let (from, to) = (format!("{base}/{slug}"), format!("{base}/{TRASH}/{slug}.{when}.{}", short(&idea.id)));
        self.files
            .with("move the idea to the trash", async |sftp| {
                let _existing = sftp.create_dir(format!("{base}/{TRASH}")).await;
                match sftp.rename(&from, &to).await {
                    Err(_) if sftp.try_exists(&to).await? => Ok(()),
                    other => Ok(other?),
                }
            })
            .await?
            .ok_or(IdeasError::NotFound)?;
        self.slugs().remove(&idea.id);
        Ok(())
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

    async fn fetch(&self) -> Result<Listing, IdeasError> {
        let base = self.remote.base().await?;
        let folders = self
            .files
            .with("list the ideas", async |sftp| {
                let entries = sftp.read_dir(&base).await?;
                Ok(entries.filter(|e| e.file_type().is_dir()).filter_map(|e| Slug::accept(&e.file_name())).collect())
            })
            .await?;
        let folders: Vec<Slug> = folders.unwrap_or_default();
        let reads = folders.into_iter().map(async |slug| (slug.clone(), self.read(&slug).await));
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        let mut listing = Listing::default();
        let mut slugs = HashMap::new();
        while let Some((slug, outcome)) = reads.next().await {
            match outcome {
                Ok(None) => {} // being made, or just deleted
                Ok(Some(idea)) => {
                    slugs.insert(idea.id.clone(), slug);
                    listing.ideas.push(idea);
                }
                Err(IdeasError::Damaged { .. } | IdeasError::Refused { .. }) => {
                    listing.damaged.push(slug.to_string());
                }
                Err(other) => return Err(other),
            }
        }
        listing.ideas.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.slug.cmp(&b.slug)));
        listing.damaged.sort();
        *self.slugs() = slugs;
        Ok(listing)
    }

    /// The idea in a folder; `None` when there is no folder or no `meta.json`.
    async fn read(&self, slug: &Slug) -> Result<Option<Idea>, IdeasError> {
        let folder = format!("{}/{slug}", self.remote.base().await?);
        let path = format!("{folder}/meta.json");
        let read = self.files.with("read the idea", async |sftp| {
            // A link could lead anywhere. Both are asked for at once.
            let (kind, read) = futures::join!(sftp.symlink_metadata(&folder), files::read(&sftp, &path, META_LIMIT));
            if !kind?.is_dir() {
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
            Some(Ok(bytes)) => Idea::from_meta(slug, &bytes).map(Some).map_err(damaged),
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

    /// Making the folder is what claims the name: two who create the same title at once get two folders.
    async fn claim_folder(&self, base: &str, title: &str) -> Result<Slug, IdeasError> {
        for attempt in 0..NAMES_TRIED {
            let slug = Slug::of_title(title, attempt);
            let path = format!("{base}/{slug}");
            let claimed =
                self.files.with("create the idea's folder", async |sftp| match sftp.create_dir(&path).await {
                    Ok(()) => Ok(true),
                    Err(_) if sftp.try_exists(&path).await? => Ok(false),
                    Err(error) => Err(Attempt::from(error)),
                });
            match claimed.await? {
                Some(true) => return Ok(slug),
                Some(false) => {}
                None => return Err(IdeasError::refused("create the idea's folder", "the ideas folder has gone")),
            }
        }
        Err(IdeasError::refused("create the idea's folder", "too many ideas have this title; choose another"))
    }

    fn slugs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slug>> {
        self.slug_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The idea's folder, checked once more where a path is made of it.
fn folder(idea: &Idea) -> Result<Slug, IdeasError> {
    Slug::accept(&idea.slug).ok_or(IdeasError::NotFound)
}

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
