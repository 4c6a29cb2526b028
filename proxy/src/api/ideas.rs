//! The ideas: list, create, read, change, delete.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Serialize;

use super::{Body, Envelope, IdeaId, data, done};
use crate::app::App;
use crate::error::ApiError;
use crate::remote::ideas::{Change, Idea, Status, is_identifier};

const LONGEST_TITLE: usize = 500;

/// An idea with its text.
#[derive(Debug, Serialize)]
pub struct WithContent {
    #[serde(flatten)]
    idea: Idea,
    content: String,
}

/// GET /api/ideas.
///
/// # Errors
/// When the VM cannot be asked.
pub async fn list(State(app): State<App>) -> Result<Json<Envelope<Vec<Idea>>>, ApiError> {
    let listing = app.ideas.list().await?;
    if !listing.damaged.is_empty() {
        tracing::warn!(folders = listing.damaged.join(", "), "ideas with a damaged meta.json are left out of the list");
    }
    Ok(data(listing.ideas.clone()))
}

/// POST /api/ideas `{title, content}`.
///
/// # Errors
/// 400 without both, or when the VM cannot be asked.
pub async fn create(State(app): State<App>, body: Body) -> Result<impl IntoResponse, ApiError> {
    let given = |name| body.text(name).map(str::trim).filter(|text| !text.is_empty());
    let (Some(title), Some(content)) = (given("title"), given("content")) else {
        return Err(ApiError::BadRequest("Title and content required".to_owned()));
    };
    let title = read_title(title)?;
    let idea = app.ideas.create(&title, content).await?;
    tracing::info!(idea = idea.slug, "idea created");
    Ok((StatusCode::CREATED, data(WithContent { idea, content: content.to_owned() })))
}

/// GET /api/ideas/:idOrSlug.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn read(State(app): State<App>, IdeaId(id): IdeaId) -> Result<Json<Envelope<WithContent>>, ApiError> {
    let idea = app.ideas.get(&id).await?;
    let content = app.ideas.content(&idea).await?;
    Ok(data(WithContent { idea, content }))
}

/// PATCH /api/ideas/:idOrSlug `{title?, status?, sessionId?}`.
///
/// # Errors
/// 400 for a value that cannot be, 404, or when the VM cannot be asked.
pub async fn change(State(app): State<App>, IdeaId(id): IdeaId, body: Body) -> Result<Json<Envelope<Idea>>, ApiError> {
    let change = read_change(&body)?;
    Ok(data(app.ideas.update(&id, &change).await?))
}

/// DELETE /api/ideas/:idOrSlug: into the trash; its run is ended first.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn delete(State(app): State<App>, IdeaId(id): IdeaId) -> Result<Json<Envelope<()>>, ApiError> {
    let idea = app.ideas.get(&id).await?;
    if let Err(error) = app.runs.end(&crate::observer::reference(&idea)).await {
        tracing::warn!(idea = idea.slug, cause = %error, "the idea is deleted though its run may still be there");
    }
    app.ideas.delete(&idea.slug).await?;
    tracing::info!(idea = idea.slug, "idea moved to the trash");
    Ok(done())
}

fn read_change(body: &Body) -> Result<Change, ApiError> {
    let refuse = |text: &str| Err(ApiError::BadRequest(text.to_owned()));
    let mut change = Change::default();
    if body.member("title").is_some() {
        match body.text("title").map(str::trim) {
            Some(title) if !title.is_empty() => change.title = Some(read_title(title)?),
            _ => return refuse("title must be a text that is not empty"),
        }
    }
    if let Some(status) = body.member("status") {
        match serde_json::from_value::<Status>(status.clone()) {
            Ok(status) => change.status = Some(status),
            Err(_) => return refuse("status must be captured, chatting, building or done"),
        }
    }
    if let Some(session) = body.member("sessionId") {
        match session.as_str() {
            None if session.is_null() => change.session_id = Some(None),
            Some(id) if is_identifier(id) => change.session_id = Some(Some(id.to_owned())),
            _ => return refuse("sessionId must be letters, digits, - and _"),
        }
    }
    if change == Change::default() {
        return refuse("Nothing to change: send title, status or sessionId");
    }
    Ok(change)
}

/// A title is one line: white space of any kind, line ends included, becomes one space. Other control characters are
/// refused, for nobody types them and terminals obey them.
fn read_title(given: &str) -> Result<String, ApiError> {
    let title = given.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(control) = title.chars().find(|c| c.is_control()) {
        let code = u32::from(control);
        return Err(ApiError::BadRequest(format!("title has the control character U+{code:04X}; remove it")));
    }
    if title.chars().count() > LONGEST_TITLE {
        return Err(ApiError::BadRequest(format!("title is longer than {LONGEST_TITLE} characters; shorten it")));
    }
    Ok(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_without_control_characters() {
        assert_eq!(read_title("Tea\n\ttimer  \u{a0}☕").unwrap(), "Tea timer ☕");
        for (bad, code) in [("a\0b", "U+0000"), ("a\u{1b}[31m", "U+001B"), ("a\u{7f}", "U+007F")] {
            let refused = read_title(bad).unwrap_err().to_string();
            assert!(refused.contains("title") && refused.contains(code), "{refused}");
        }
        assert!(read_title(&"x".repeat(LONGEST_TITLE + 1)).is_err());
    }
}
