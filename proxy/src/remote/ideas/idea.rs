//! An idea as it is kept in `meta.json` (one line) and as the browser gets it. Members that we do not know are kept.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::slug::Slug;

/// How far an idea is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Written down.
    Captured,
    /// Talked about.
    Chatting,
    /// Being built.
    Building,
    /// Built.
    Done,
}

/// An idea without its content; what `meta.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idea {
    /// UUID, given once.
    pub id: String,
    /// Name of its folder; never changes.
    #[serde(default)]
    pub slug: String,
    /// What the person called it.
    pub title: String,
    /// How far it is.
    pub status: Status,
    /// The session that Claude Code resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// ISO 8601, UTC, milliseconds.
    pub created_at: String,
    /// ISO 8601, UTC, milliseconds.
    pub updated_at: String,
    /// What others wrote there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a request changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A new title; the folder keeps its name.
    pub title: Option<String>,
    /// A new status.
    pub status: Option<Status>,
    /// A new session; `Some(None)` forgets it.
    pub session_id: Option<Option<String>>,
    /// A new text.
    pub content: Option<String>,
}

/// An idea with its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithContent {
    /// What `meta.json` holds.
    #[serde(flatten)]
    pub idea: Idea,
    /// What `idea.md` holds, trimmed; empty when there is none.
    pub content: String,
}

impl WithContent {
    /// Puts the parts together.
    pub fn new(idea: Idea, content: Option<&[u8]>) -> WithContent {
        let content = String::from_utf8_lossy(content.unwrap_or_default()).trim().to_owned();
        WithContent { idea, content }
    }

    /// Changes when title or text do: what people edit. Status and session, which runs set, do not count.
    pub fn tag(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(self.idea.title.len() as u64).to_be_bytes());
        context.update(self.idea.title.as_bytes());
        context.update(self.content.as_bytes());
        let short = context.finish().as_ref().iter().take(12).copied().collect::<Vec<u8>>();
        format!("\"{}\"", URL_SAFE_NO_PAD.encode(short))
    }
}

impl Idea {
    /// A new idea.
    pub fn new(slug: &Slug, title: &str) -> Idea {
        let now = timestamp();
        Idea {
            id: uuid::Uuid::new_v4().to_string(),
            slug: slug.as_str().to_owned(),
            title: title.to_owned(),
            status: Status::Captured,
            session_id: None,
            created_at: now.clone(),
            updated_at: now,
            extra: Map::new(),
        }
    }

    /// Reads `meta.json` of the folder `slug`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn from_meta(slug: &Slug, bytes: &[u8]) -> Result<Idea, String> {
        let mut idea: Idea = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if !is_identifier(&idea.id) {
            return Err("its id has characters other than letters, digits, - and _".to_owned());
        }
        // Where it lies is what counts: a copied folder must not lead to the original.
        idea.slug = slug.as_str().to_owned();
        idea.extra.remove("content");
        idea.session_id = idea.session_id.filter(|session| is_identifier(session));
        Ok(idea)
    }

    /// One line for `meta.json`.
    pub fn to_meta(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Applies a change; `false` when nothing differs (then `updatedAt` stays).
    pub fn apply(&mut self, change: &Change) -> bool {
        let before = self.clone();
        if let Some(title) = &change.title {
            self.title.clone_from(title);
        }
        if let Some(status) = change.status {
            self.status = status;
        }
        if let Some(session) = &change.session_id {
            self.session_id.clone_from(session);
        }
        *self != before
    }

    /// Sets `updatedAt`.
    pub fn touch(&mut self) {
        self.updated_at = timestamp();
    }
}

/// Letters, digits, `-` and `_`: what may be part of a command or a path.
pub fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn timestamp() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug() -> Slug {
        Slug::accept("my-idea").unwrap()
    }

    #[test]
    fn a_folder_of_the_existing_application_opens_unchanged() {
        let meta = br#"{"id":"0b4bb9ce-5d0a-4a53-8a25-9a2d5e8a2c11","slug":"my-idea","title":"My idea","status":"chatting","sessionId":"s-1","createdAt":"2025-01-02T03:04:05.678Z","updatedAt":"2025-01-02T03:04:05.678Z"}"#;
        let idea = Idea::from_meta(&slug(), meta).unwrap();
        assert_eq!(idea.status, Status::Chatting);
        let again: Value = serde_json::from_slice(&idea.to_meta()).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(meta).unwrap());
    }

    #[test]
    fn meta_is_one_line_and_keeps_what_it_does_not_know() {
        let mut idea = Idea::new(&slug(), "two\nlines \u{2028} ☃");
        idea.extra.insert("tags".into(), Value::from(vec!["a"]));
        let line = idea.to_meta();
        assert!(!line.contains(&b'\n'));
        assert_eq!(Idea::from_meta(&slug(), &line).unwrap(), idea);
    }

    #[test]
    fn a_damaged_or_hostile_meta_is_an_error_not_an_idea() {
        for bad in [
            "",
            "null",
            "[]",
            "{",
            "{\"id\":\"../x\",\"title\":\"t\",\"status\":\"done\",\"createdAt\":\"\",\"updatedAt\":\"\"}",
        ] {
            assert!(Idea::from_meta(&slug(), bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_with_milliseconds_in_utc() {
        let now = timestamp();
        assert_eq!(now.len(), "2025-01-02T03:04:05.678Z".len(), "{now}");
        assert!(now.ends_with('Z') && now.parse::<Timestamp>().is_ok());
    }
}
