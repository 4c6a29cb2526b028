//! The trash: `<base>/.trash/<slug>.<when>.<part of the id>`. Folders are moved there and back, and removed for good only
//! by a name of exactly this form.

use std::sync::atomic::{AtomicBool, Ordering};

use catalyst_ssh::Lane;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::lister::Place;
use super::listing::{meta, sections};
use super::{Idea, Ideas, IdeasError, NAMES_TRIED, Slug, files::Attempt, folder, last_line};

const WHEN: &str = "%Y%m%dT%H%M%S";
/// The rest of the name needs room below the 255 bytes of a file system.
const LONGEST_SLUG: usize = 200;
/// First what is kept of its runs and terminals beside the ideas: if that fails, the folder is still there to be removed.
const REMOVE: &str = r#"[ -d "$1" ] && [ ! -L "$1" ] || exit 3
kept=$HOME/.local/state/catalyst/$2
[ -d "$kept/runs" ] || [ -d "$kept/recordings" ] || kept=
[ -z "$2" ] || [ -z "$kept" ] || [ -L "$kept" ] || rm -rf -- "$kept" || exit 1
rm -rf -- "$1""#;

/// A folder's name in the trash; the only way from a request to a path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashName {
    name: String,
    slug: Slug,
    deleted_at: Timestamp,
}

impl TrashName {
    /// Accepts the names that [`Ideas::delete`] gives, and nothing else.
    pub fn accept(name: &str) -> Option<TrashName> {
        let mut parts = name.split('.');
        let (slug, when, id) = (parts.next()?, parts.next()?, parts.next()?);
        let id_is_plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        // strptime skips blanks.
        let when_is_plain = when.bytes().all(|b| b.is_ascii_digit() || b == b'T');
        if parts.next().is_some() || !id_is_plain || !when_is_plain || name.len() > 255 {
            return None;
        }
        let deleted_at = DateTime::strptime(WHEN, when).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        Some(TrashName { name: name.to_owned(), slug: Slug::accept(slug)?, deleted_at })
    }

    fn of(idea: &Idea, slug: &Slug, now: Timestamp) -> String {
        let slug: String = slug.as_str().chars().take(LONGEST_SLUG).collect();
        let id: String = idea.id.chars().take(8).collect();
        format!("{slug}.{}.{id}", now.strftime(WHEN))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// A folder in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trashed {
    /// What restores or removes it.
    pub name: String,
    /// ISO 8601, UTC, whole seconds.
    pub deleted_at: String,
    /// The folder's name when it was an idea, possibly shortened.
    pub slug: String,
    /// The idea's id, if its `meta.json` can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its title, if its `meta.json` can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is wrong with its `meta.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Ideas {
    /// Moves an idea's folder to the trash.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], or when the VM cannot be asked or refuses.
    pub async fn delete(&self, id_or_slug: &str) -> Result<TrashName, IdeasError> {
        let idea = self.get(id_or_slug).await?;
        let base = self.remote.base().await?;
        let slug = folder(&idea)?;
        let name = TrashName::of(&idea, &slug, Timestamp::now());
        let trash = format!("{base}/{}", Place::Trash.folder());
        let (from, to) = (format!("{base}/{slug}"), format!("{trash}/{name}"));
        self.files
            .with("move the idea to the trash", async |sftp| {
                let _existing = sftp.create_dir(trash.clone()).await;
                match sftp.rename(&from, &to).await {
                    Err(_) if sftp.try_exists(&to).await? => Ok(()),
                    other => Ok(other?),
                }
            })
            .await?
            .ok_or(IdeasError::NotFound)?;
        self.slugs().remove(&idea.id);
        TrashName::accept(&name).ok_or(IdeasError::NotFound)
    }

    /// What is in the trash, last deleted first. Folders with other names are not ours and not shown.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn trash(&self) -> Result<Vec<Trashed>, IdeasError> {
        let answer = self.lister.ask(Place::Trash).await?;
        let mut all: Vec<Trashed> = sections(&answer)
            .into_iter()
            .filter_map(|(name, text)| {
                let name = TrashName::accept(name)?;
                let read = meta(text).and_then(|text| Idea::from_meta(&name.slug, text));
                let (idea, problem) = match read {
                    Ok(idea) => (Some(idea), None),
                    Err(problem) => (None, Some(problem)),
                };
                let (id, title) = idea.map(|idea| (idea.id, idea.title)).unzip();
                let deleted_at = name.deleted_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                Some(Trashed { slug: name.slug.to_string(), name: name.name, deleted_at, id, title, problem })
            })
            .collect();
        all.sort_by(|a, b| b.deleted_at.cmp(&a.deleted_at).then_with(|| a.name.cmp(&b.name)));
        Ok(all)
    }

    /// Moves a folder back to the ideas, under a free name when its own is taken.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], [`IdeasError::Damaged`] (it is back then, and named in the list), or when the VM cannot
    /// be asked or refuses.
    pub async fn restore(&self, name: &TrashName) -> Result<Idea, IdeasError> {
        let base = self.remote.base().await?;
        let from = format!("{base}/{}/{}", Place::Trash.folder(), name.name);
        for attempt in 1..=NAMES_TRIED {
            let slug = if attempt == 1 { name.slug.clone() } else { name.slug.numbered(attempt) };
            let to = format!("{base}/{slug}");
            // An attempt whose session broke may have been carried out.
            let asked = AtomicBool::new(false);
            let moved = self.files.with("move the idea back", async |sftp| {
                match sftp.symlink_metadata(&from).await.map_err(Attempt::from) {
                    Ok(there) if there.is_dir() => {}
                    Err(Attempt::Missing) if asked.load(Ordering::Relaxed) => {
                        return Ok(sftp.symlink_metadata(&to).await?.is_dir());
                    }
                    Ok(_) => return Err(Attempt::Missing),
                    Err(other) => return Err(other),
                }
                if sftp.symlink_metadata(&to).await.is_ok() {
                    return Ok(false);
                }
                asked.store(true, Ordering::Relaxed);
                sftp.rename(&from, &to).await?;
                Ok(true)
            });
            match moved.await? {
                None => return Err(IdeasError::NotFound),
                Some(false) => {}
                Some(true) => return self.read(&slug).await?.ok_or(IdeasError::NotFound),
            }
        }
        Err(IdeasError::refused("move the idea back", "too many ideas have its name"))
    }

    /// Removes a folder in the trash for good, and with it what the VM keeps of its runs (messages, answers, what was
    /// allowed) and the recordings of its terminals. That stays where the folder does not say which idea it was, or another folder says that it is the same.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], or when the VM cannot be asked or refuses.
    pub async fn remove(&self, name: &TrashName) -> Result<(), IdeasError> {
        let path = format!("{}/{}/{}", self.remote.base().await?, Place::Trash.folder(), name.name);
        let id = self.id_of_its_own(name).await?.unwrap_or_default();
        let done = self.remote.sh(Lane::Bulk, REMOVE, &[&path, &id], b"").await?;
        match done.status {
            Some(0) => Ok(()),
            Some(3) => Err(IdeasError::NotFound),
            _ => Err(IdeasError::refused("remove the idea", &last_line(&done.stderr))),
        }
    }

    /// The id of a folder in the trash, an identifier, if no other folder has it.
    async fn id_of_its_own(&self, name: &TrashName) -> Result<Option<String>, IdeasError> {
        let trash = self.trash().await?;
        let Some(id) = trash.iter().find(|each| each.name == name.name).and_then(|each| each.id.clone()) else {
            return Ok(None);
        };
        let twice = trash.iter().any(|each| each.name != name.name && each.id.as_ref() == Some(&id));
        match self.get(&id).await {
            Err(IdeasError::NotFound) => Ok(Some(id).filter(|_| !twice)),
            Err(other) => Err(other),
            Ok(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_deleting_gives_lead_into_the_trash() {
        let slug = Slug::accept(&"a-long-name-".repeat(21)).unwrap();
        let name = TrashName::of(&Idea::new(&slug, "x"), &slug, Timestamp::now());
        assert!(name.len() < 255 && TrashName::accept(&name).is_some(), "{name}");
        assert!(TrashName::accept("my-idea.20260102T030405.0b4bb9ce").is_some());
        for bad in [
            "",
            "..",
            "x",
            "x.20260102T030405",
            "x.20261302T030405.a",
            "x/y.20260102T030405.a",
            "x.20260102T030405.a/b",
            "x.20260102T030405.a.b",
            "x.20260102T030405.",
            ".20260102T030405.a",
            "x.20260102T030405.a\n",
        ] {
            assert_eq!(TrashName::accept(bad), None, "{bad:?}");
        }
    }
}
