//! The ideas: list, create, read, change, delete.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::{Body, IdeaId, data};
use crate::app::App;
use crate::audit;
use crate::auth::cookie::Session;
use crate::error::ApiError;
use crate::remote::ideas::{Change, Damaged, Edit, Idea, Status, WithContent, is_identifier};

const LONGEST_TITLE: usize = 500;

/// GET /api/ideas: beside `data` the folders that cannot be read, where there are any.
///
/// # Errors
/// When the VM cannot be asked.
pub async fn list(State(app): State<App>) -> Result<Response, ApiError> {
    let listing = app.ideas.list().await?;
    let body = listing.rendered(|listing| {
        let damaged: Vec<&str> = listing.damaged.iter().map(|damaged| damaged.slug.as_str()).collect();
        if !damaged.is_empty() {
            tracing::warn!(folders = damaged.join(", "), "ideas with a damaged meta.json cannot be shown");
        }
        let listed = Listed { ok: true, data: &listing.ideas, damaged: &listing.damaged };
        serde_json::to_vec(&listed).unwrap_or_default().into()
    });
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

#[derive(Serialize)]
struct Listed<'a> {
    ok: bool,
    data: &'a [Idea],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    damaged: &'a [Damaged],
}

/// POST /api/ideas `{title, content}`.
///
/// # Errors
/// 400 without both, or when the VM cannot be asked.
pub async fn create(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    body: Body,
) -> Result<Response, ApiError> {
    let given = |name| body.text(name).map(str::trim).filter(|text| !text.is_empty());
    let (Some(title), Some(content)) = (given("title"), given("content")) else {
        return Err(ApiError::BadRequest("Title and content required".to_owned()));
    };
    let title = read_title(title)?;
    let idea = app.ideas.create(&title, content).await?;
    audit::act(&who, "create", &idea.slug);
    let created = WithContent { idea, content: content.to_owned() };
    Ok((StatusCode::CREATED, [(header::ETAG, created.tag())], data(created)).into_response())
}

/// GET /api/ideas/:idOrSlug.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn read(State(app): State<App>, IdeaId(id): IdeaId) -> Result<Response, ApiError> {
    let found = app.ideas.get_with_content(&id).await?;
    Ok(([(header::ETAG, found.tag())], data(found)).into_response())
}

/// PATCH /api/ideas/:idOrSlug `{title?, status?, sessionId?, content?}`, with `If-Match` only if nobody else edited it.
///
/// # Errors
/// 400 for a value that cannot be, 404, 412 with the idea as it is now, or when the VM cannot be asked.
pub async fn change(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    IdeaId(id): IdeaId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let expected = expected_tags(&headers)?;
    let change = read_change(&body)?;
    match app.ideas.edit(&id, &change, expected.as_deref()).await? {
        Edit::Done(now) => {
            audit::act(&who, "change", &now.idea.slug);
            let tag = now.tag();
            // As the existing server: the text comes back only to those who sent one.
            let answer = match change.content {
                Some(_) => data(now).into_response(),
                None => data(now.idea).into_response(),
            };
            Ok(([(header::ETAG, tag)], answer).into_response())
        }
        Edit::Conflict(now) => Err(ApiError::Changed(Box::new(now))),
    }
}

/// DELETE /api/ideas/:idOrSlug: into the trash; its run is ended first.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn delete(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    IdeaId(id): IdeaId,
) -> Result<impl IntoResponse, ApiError> {
    let idea = app.ideas.get(&id).await?;
    if let Err(error) = app.runs.end(&crate::observer::reference(&idea)).await {
        tracing::warn!(idea = idea.slug, cause = %error, "the idea is deleted though its run may still be there");
    }
    let trashed = app.ideas.delete(&idea.slug).await?;
    // Only now: what runs in them cannot be brought back.
    if let Err(error) = app.terminals.close_all(&idea).await {
        tracing::warn!(idea = idea.slug, cause = %error, "the idea is deleted though its terminals may still be there");
    }
    audit::act(&who, "delete", trashed.as_str());
    Ok(data(json!({"trash": trashed.as_str()})))
}

/// The tags of `If-Match`; none if any will do. A proxy that compresses (nginx) makes tags weak, which is `W/` before them:
/// ours are of what the idea says and not of the bytes that were sent, so that they mean the same.
fn expected_tags(headers: &HeaderMap) -> Result<Option<Vec<&str>>, ApiError> {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let value = value
            .to_str()
            .map_err(|_| ApiError::BadRequest("If-Match must be an ETag that this server gave".to_owned()))?;
        // There is no comma in ours.
        tags.extend(value.split(',').map(|tag| tag.trim()).map(|tag| tag.strip_prefix("W/").unwrap_or(tag)));
    }
    let any = tags.is_empty() || tags.contains(&"*");
    Ok((!any).then_some(tags))
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
    if body.member("content").is_some() {
        match body.text("content").map(str::trim) {
            Some(content) if !content.is_empty() => change.content = Some(content.to_owned()),
            _ => return refuse("content must be a text that is not empty"),
        }
    }
    if change == Change::default() {
        return refuse("Nothing to change: send title, content, status or sessionId");
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
