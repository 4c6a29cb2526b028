//! Changes of an idea. Both files are replaced under one lock on the VM, and only if they still are what they were read
//! as; whoever was slower looks again. So no writer undoes another's change, on whatever replica.

use aws_lc_rs::digest;
use catalyst_ssh::Lane;

use super::{Change, Idea, Ideas, IdeasError, Slug, WithContent, folder, last_line};

const REPLACE: &str = include_str!("../vm/replace.sh");
/// Exit statuses of `replace.sh`.
const CHANGED_MEANWHILE: u32 = 7;
const HELD: u32 = 5;
const TRIES: u32 = 6;

/// How an edit ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// It was written; this is the idea now.
    Done(WithContent),
    /// Somebody else changed title or text first; this is the idea now, and nothing was written.
    Conflict(WithContent),
}

impl Ideas {
    /// Changes an idea; `updatedAt` is set, the folder keeps its name. With `expected`, tags as
    /// [`WithContent::tag`] gives them, only if one of them is that of title and text as they are.
    ///
    /// # Errors
    /// [`IdeasError::NotFound`], or when the VM cannot be asked or refuses to write.
    pub async fn edit(&self, id_or_slug: &str, change: &Change, expected: Option<&[&str]>) -> Result<Edit, IdeasError> {
        for _ in 0..TRIES {
            let (idea, meta) = self.get_with_meta(id_or_slug).await?;
            let text = self.content(&folder(&idea)?).await?;
            let before = WithContent::new(idea, text.as_deref());
            if expected.is_some_and(|expected| !expected.contains(&before.tag().as_str())) {
                return Ok(Edit::Conflict(before));
            }
            let written = self.replace(&before.idea, change, &meta, Some(text.as_deref())).await?;
            if let Some(idea) = written {
                let content = change.content.clone().unwrap_or(before.content);
                return Ok(Edit::Done(WithContent { idea, content }));
            }
        }
        Err(IdeasError::Contended)
    }

    /// Changes an idea by what it is at that moment; `None` from `decide` leaves it. `decide` is asked again when
    /// somebody else was faster.
    ///
    /// # Errors
    /// As [`Ideas::edit`].
    pub async fn update_if(
        &self,
        id_or_slug: &str,
        decide: impl Fn(&Idea) -> Option<Change>,
    ) -> Result<Idea, IdeasError> {
        let _one_of_ours = self.writing.lock().await;
        for _ in 0..TRIES {
            let (idea, meta) = self.get_with_meta(id_or_slug).await?;
            let Some(change) = decide(&idea) else { return Ok(idea) };
            if let Some(idea) = self.replace(&idea, &change, &meta, None).await? {
                return Ok(idea);
            }
        }
        Err(IdeasError::Contended)
    }

    async fn get_with_meta(&self, id_or_slug: &str) -> Result<(Idea, Vec<u8>), IdeasError> {
        let slug = folder(&self.get(id_or_slug).await?)?;
        self.read_meta(&slug).await?.ok_or(IdeasError::NotFound)
    }

    /// `None` when `meta`, or `text` where it counts, is no longer what is there.
    async fn replace(
        &self,
        idea: &Idea,
        change: &Change,
        meta: &[u8],
        text: Option<Option<&[u8]>>,
    ) -> Result<Option<Idea>, IdeasError> {
        let mut changed = idea.clone();
        changed.apply(change);
        changed.touch();
        let slug: Slug = folder(idea)?;
        let folder = format!("{}/{slug}", self.remote.base().await?);
        let mut input = changed.to_meta();
        let meta_length = input.len().to_string();
        let text_length = change.content.as_ref().map_or_else(|| "keep".to_owned(), |text| text.len().to_string());
        input.extend_from_slice(change.content.as_deref().unwrap_or_default().as_bytes());
        let text_was = match text {
            None => "any".to_owned(),
            Some(None) => "none".to_owned(),
            Some(Some(text)) => sha256(text),
        };
        let args = [folder.as_str(), &sha256(meta), &text_was, &meta_length, &text_length];
        let done = self.remote.sh(Lane::Interactive, REPLACE, &args, &input).await?;
        match done.status {
            Some(0) => Ok(Some(changed)),
            Some(CHANGED_MEANWHILE) => Ok(None),
            Some(HELD) => Err(IdeasError::Contended),
            _ => Err(IdeasError::refused("write the idea", &last_line(&done.stderr))),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
